package etcdapi

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"chainfire"
)

// certificates are an authority with one certificate for loopback, which is that of the
// server and of clients.
type certificates struct {
	pool *x509.CertPool
	pair tls.Certificate
}

func newCertificates(t *testing.T, name string) *certificates {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	c := &certificates{pool: x509.NewCertPool(), pair: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	c.pool.AddCert(cert)
	return c
}

// asking is for a server that asks clients for a certificate.
func (c *certificates) asking(o *Options) {
	o.TLS = &tls.Config{
		Certificates: []tls.Certificate{c.pair}, ClientCAs: c.pool, ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"h2", "http/1.1"},
	}
}

// client is for one that shows the certificate, and offers these protocols.
func (c *certificates) client(protocols ...string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.pair}, RootCAs: c.pool, NextProtos: protocols}
}

func (f *fixture) dial(t *testing.T, cfg *tls.Config) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(f.addr, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// names keeps who put each key, by the certificate.
func (f *fixture) names() func() []string {
	var mu sync.Mutex
	var seen []string
	f.set(func() {
		f.hook = func(ctx context.Context, call string) error {
			if call != "Put" {
				return nil
			}
			name := "nobody"
			if p, ok := peer.FromContext(ctx); ok && p.AuthInfo != nil {
				name = p.AuthInfo.(credentials.TLSInfo).State.VerifiedChains[0][0].Subject.CommonName
			}
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, name)
			return nil
		}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		out := seen
		seen = nil
		return out
	}
}

func (f *fixture) post(t *testing.T, tr *http.Transport, scheme, path, body string) (*http.Response, string) {
	t.Helper()
	defer tr.CloseIdleConnections()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(bounded(t), method, scheme+"://"+f.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: tr}).Do(r)
	if err != nil {
		t.Fatalf("%s over %s: %v", path, scheme, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestCallsOverTLSTellWhoMadeThemAndThoseAsJSONDoNot(t *testing.T) {
	c := newCertificates(t, "alice")
	f := start(t, c.asking)
	names := f.names()
	// A client of gRPC offers HTTP/2 alone; one that offers both is served all the same.
	for _, offered := range [][]string{{"h2"}, {"h2", "http/1.1"}} {
		if _, err := pb.NewKVClient(f.dial(t, c.client(offered...))).Put(bounded(t), &pb.PutRequest{Key: []byte("a")}); err != nil {
			t.Errorf("%v: %v", offered, err)
		}
		if got := names(); len(got) != 1 || got[0] != "alice" {
			t.Errorf("%v: the call is of %v", offered, got)
		}
	}
	for _, offered := range [][]string{{"h2", "http/1.1"}, {"http/1.1"}, nil} {
		tr := &http.Transport{TLSClientConfig: c.client(offered...), ForceAttemptHTTP2: len(offered) == 2}
		resp, body := f.post(t, tr, "https", "/v3/kv/put", `{"key":"YQ=="}`)
		if resp.StatusCode != http.StatusOK || resp.ProtoMajor == 2 != (len(offered) == 2) {
			t.Errorf("%v: %s %s %s", offered, resp.Proto, resp.Status, body)
		}
		if got := names(); len(got) != 1 || got[0] != "nobody" {
			t.Errorf("%v: the JSON is of %v", offered, got)
		}
	}
}

func TestEveryPathIsServedOverTLS(t *testing.T) {
	c := newCertificates(t, "alice")
	f := start(t, c.asking, func(o *Options) { o.Profiles = true })
	for path, word := range map[string]string{
		"/health": `"health":"true"`, "/version": "etcdserver", "/metrics": "go_", "/readyz": "ok", "/debug/pprof/": "goroutine",
	} {
		for _, two := range []bool{true, false} {
			tr := &http.Transport{TLSClientConfig: c.client(), ForceAttemptHTTP2: two}
			resp, body := f.post(t, tr, "https", path, "")
			if path == "/metrics" && resp.StatusCode == http.StatusOK {
				continue // which there are is not this test's
			}
			if resp.StatusCode != http.StatusOK || !strings.Contains(body, word) {
				t.Errorf("%s over %s: %s %s", path, resp.Proto, resp.Status, body)
			}
		}
	}
}

// TestHostNamesAreLeftToTLS: a page that got to the port by another name finds no
// certificate for it.
func TestHostNamesAreLeftToTLS(t *testing.T) {
	c := newCertificates(t, "alice")
	narrow := func(o *Options) { o.HostWhitelist = []string{"db.local"} }
	for scheme, x := range map[string]struct {
		f    *fixture
		code int
	}{
		"http": {start(t, narrow), http.StatusMisdirectedRequest}, "https": {start(t, c.asking, narrow), http.StatusOK},
	} {
		resp, body := x.f.post(t, &http.Transport{TLSClientConfig: c.client()}, scheme, "/version", "")
		if resp.StatusCode != x.code {
			t.Errorf("over %s: %s %s", scheme, resp.Status, body)
		}
	}
}

func TestMemberIsHealthyForWhoIsNoUser(t *testing.T) {
	f := start(t)
	f.set(func() {
		f.hook = func(_ context.Context, call string) error {
			if call == "Range" {
				return chainfire.ErrUserEmpty
			}
			return nil
		}
	})
	for _, path := range []string{"/health", "/livez", "/readyz"} {
		if resp, body := f.post(t, &http.Transport{}, "http", path, ""); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s", path, resp.Status, body)
		}
	}
}

func TestClientWithoutTLSIsToldThatThePortSpeaksIt(t *testing.T) {
	c := newCertificates(t, "alice")
	var log syncBuffer
	f := start(t, c.asking, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	resp, body := f.post(t, &http.Transport{}, "http", "/health", "")
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "Client sent an HTTP request to an HTTPS server.") {
		t.Errorf("plain HTTP: %s %s", resp.Status, body)
	}
	conn, err := grpc.NewClient(f.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = pb.NewKVClient(conn).Put(bounded(t), &pb.PutRequest{Key: []byte("a")})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "https://HOST:PORT") {
		t.Errorf("plain gRPC: %v", err)
	}
	stranger := c.client("h2")
	stranger.Certificates = nil
	_, err = pb.NewKVClient(f.dial(t, stranger)).Put(bounded(t), &pb.PutRequest{Key: []byte("a")})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a certificate: %v", err)
	}
	for _, words := range []string{"a client without TLS was refused: its endpoint is to be https://", "connection over TLS was refused", "didn't provide a certificate"} {
		eventually(t, words+" in the log", func() bool { return strings.Contains(log.String(), words) })
	}
}

func TestClientWithTLSIsToldThatThePortSpeaksNone(t *testing.T) {
	c := newCertificates(t, "alice")
	var log syncBuffer
	f := start(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	_, err := pb.NewKVClient(f.dial(t, c.client())).Put(bounded(t), &pb.PutRequest{Key: []byte("a")})
	if err == nil || !strings.Contains(err.Error(), "first record does not look like a TLS handshake") {
		t.Errorf("it hears %v", err)
	}
	const words = "a client began with TLS, which this port does not speak"
	eventually(t, words, func() bool { return strings.Contains(log.String(), words) })
}

// TestShutdownEndsCallsThatCameOverHTTP has a call and a watch under way from a client
// that offers HTTP/1 too, which a gRPC server cannot let finish.
func TestShutdownEndsCallsThatCameOverHTTP(t *testing.T) {
	c := newCertificates(t, "alice")
	f := start(t, c.asking)
	entered := make(chan struct{})
	f.set(func() {
		f.hook = func(ctx context.Context, call string) error {
			if call == "Put" {
				close(entered)
				<-ctx.Done()
			}
			return ctx.Err()
		}
	})
	conn := f.dial(t, c.client("h2", "http/1.1"))
	w, err := pb.NewWatchClient(conn).Watch(bounded(t))
	if err == nil {
		err = w.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("a")}}})
	}
	if err == nil {
		_, err = w.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	put := make(chan error, 1)
	go func() {
		_, err := pb.NewKVClient(conn).Put(bounded(t), &pb.PutRequest{Key: []byte("a")})
		put <- err
	}()
	<-entered
	f.stop(t)
	if err := <-put; err == nil {
		t.Error("a call that could not end has an answer")
	}
	if _, err := w.Recv(); err == nil {
		t.Error("the watch goes on")
	}
}

// syncBuffer is a buffer for a log.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
