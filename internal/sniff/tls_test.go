package sniff

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// testTLS is for a server whose clients believe everybody.
func testTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12,
	}
}

// openTLS is a port whose TLS ends in it.
func openTLS(t *testing.T, cfg *tls.Config, opts Options) (p *port, h2, mixed net.Listener) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p = &port{Listener: New(lis, opts), served: make(chan error, 1)}
	h2, mixed = p.TLS(cfg)
	p.h1, p.h2 = p.HTTP1(), p.HTTP2()
	go func() { p.served <- p.Serve() }()
	return p, h2, mixed
}

func TestConnectionOverTLSGoesWhereItsProtocolsLead(t *testing.T) {
	defer goleak.VerifyNone(t)
	cfg := testTLS(t)
	for _, inner := range []*tls.Config{cfg, {GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return cfg, nil }}} {
		p, h2, mixed := openTLS(t, inner, Options{})
		for _, x := range []struct {
			offers []string
			to     net.Listener
			speaks string
		}{
			{[]string{"h2"}, h2, "h2"},
			{[]string{"grpc-exp", "h2"}, h2, "h2"},
			{[]string{"h2", "http/1.1"}, mixed, "h2"},
			{[]string{"http/1.1"}, mixed, "http/1.1"},
			{nil, mixed, ""},
		} {
			c := tls.Client(p.dial(t), &tls.Config{InsecureSkipVerify: true, NextProtos: x.offers})
			said := make(chan error, 1)
			go func() {
				_, err := c.Write([]byte("!"))
				said <- err
			}()
			got, err := x.to.Accept()
			if err != nil {
				t.Fatal(err)
			}
			tc, ok := got.(*tls.Conn)
			if !ok || !tc.ConnectionState().HandshakeComplete || tc.ConnectionState().NegotiatedProtocol != x.speaks {
				t.Errorf("%v: handed over is %T", x.offers, got)
			}
			b := make([]byte, 1)
			if n, err := got.Read(b); n != 1 || b[0] != '!' {
				t.Errorf("%v: read %q, %v", x.offers, b[:n], err)
			}
			if err := <-said; err != nil {
				t.Errorf("%v: %v", x.offers, err)
			}
			got.Close()
		}
		p.stop(t)
	}
}

func TestHandshakeThatStallsIsEndedAndHoldsNobodyUp(t *testing.T) {
	defer goleak.VerifyNone(t)
	p, h2, _ := openTLS(t, testTLS(t), Options{Timeout: 500 * time.Millisecond})
	defer p.stop(t)
	stalled := p.dial(t)
	// The beginning of a record, whose rest does not come.
	if _, err := stalled.Write([]byte{0x16, 0x03, 0x01, 0x02, 0x00}); err != nil {
		t.Fatal(err)
	}
	c := tls.Client(p.dial(t), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	done := make(chan error, 1)
	go func() { done <- c.Handshake() }()
	got, err := h2.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	got.Close()
	// It may be told why; then it is closed.
	for {
		_, err := stalled.Read(make([]byte, 64))
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Fatal("a handshake that stalls is waited for")
		}
		if err != nil {
			return
		}
	}
}

func TestRefusedHandshakeIsToldWithItsReason(t *testing.T) {
	defer goleak.VerifyNone(t)
	var log bytes.Buffer // read once the port is closed
	p, _, _ := openTLS(t, testTLS(t), Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	old := tls.Client(p.dial(t), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, ServerName: "n1.example"})
	if err := old.Handshake(); err == nil || !strings.Contains(err.Error(), "protocol version not supported") {
		t.Errorf("a client of TLS 1.1 hears %v", err)
	}
	looked := p.dial(t)
	if _, err := looked.Write([]byte{0x16, 0x03}); err != nil {
		t.Fatal(err)
	}
	looked.Close()
	p.stop(t)
	if n := strings.Count(log.String(), "connection over TLS was refused"); n != 1 || !strings.Contains(log.String(), "n1.example") ||
		!strings.Contains(log.String(), "unsupported versions") {
		t.Errorf("the log says\n%s", log.String())
	}
}
