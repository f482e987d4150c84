package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chainfire/internal/disk"
)

func portOptions(f Files, log *bytes.Buffer) PortOptions {
	return PortOptions{FS: disk.OS(), Files: f, Now: time.Now, Log: slog.New(slog.NewTextHandler(log, nil))}
}

func loadPort(t *testing.T, o PortOptions) *Port {
	t.Helper()
	p, err := LoadPort(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// crl writes a revocation list with the certificates of the files, in PEM or DER.
func (c *ca) crl(path string, asPEM bool, next time.Time, of ...Files) {
	c.t.Helper()
	tmpl := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: next}
	for _, f := range of {
		tmpl.RevokedCertificateEntries = append(tmpl.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: leafOf(c.t, f).SerialNumber, RevocationTime: time.Now().Add(-time.Minute),
		})
	}
	issuer := *c.cert
	issuer.KeyUsage |= x509.KeyUsageCRLSign
	der, err := x509.CreateRevocationList(rand.Reader, tmpl, &issuer, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	if asPEM {
		der = pem.EncodeToMemory(&pem.Block{Type: blockCRL, Bytes: der})
	}
	c.write(path, der)
}

func leafOf(t *testing.T, f Files) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

// shake lets a client without, or with a certificate of its own, speak to the port, and
// returns what the two sides saw.
func shake(t *testing.T, p *Port, client *tls.Config, own ...Files) (state tls.ConnectionState, server, shown error) {
	t.Helper()
	return shakeWith(t, p.ServerTLS(), client, own...)
}

func shakeWith(t *testing.T, config, client *tls.Config, own ...Files) (state tls.ConnectionState, server, shown error) {
	t.Helper()
	for _, f := range own {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			t.Fatal(err)
		}
		client.Certificates = append(client.Certificates, pair)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	s := tls.Server(a, config)
	go func() {
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("!")) // the client's side ends with the first word
		}
		done <- err
	}()
	c := tls.Client(b, client)
	_, shown = c.Read(make([]byte, 1))
	b.Close() // the server may still wait to be read
	server = <-done
	return s.ConnectionState(), server, shown
}

func trusting(c *ca) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return &tls.Config{RootCAs: pool, ServerName: "localhost", NextProtos: []string{"h2", "http/1.1"}}
}

func TestOpenPortAsksNobodyForACertificate(t *testing.T) {
	servers, clients := newCA(t, "servers"), newCA(t, "clients")
	f, alice := servers.issue("n1", nil), clients.issue("alice", nil)
	p := loadPort(t, portOptions(Files{Cert: f.Cert, Key: f.Key, Authorities: alice.Authorities}, &bytes.Buffer{}))
	if _, err, _ := shakeWith(t, p.ServerTLS(), trusting(servers)); err == nil {
		t.Fatal("the port of clients with certificates takes one without")
	}
	for name, own := range map[string][]Files{"without a certificate": nil, "with one": {alice}} {
		state, err, shown := shakeWith(t, p.OpenTLS(), trusting(servers), own...)
		if err != nil || shown != nil || state.NegotiatedProtocol != "http/1.1" || len(state.PeerCertificates) != 0 {
			t.Errorf("a client %s: %+v, %v, %v", name, state, err, shown)
		}
	}
	if _, err, _ := shakeWith(t, p.OpenTLS(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
}

func TestPortAsksForACertificateOfItsAuthorities(t *testing.T) {
	servers, clients, others := newCA(t, "servers"), newCA(t, "clients"), newCA(t, "others")
	f, alice, mallory := servers.issue("n1", nil), clients.issue("alice", nil), others.issue("mallory", nil)

	open := loadPort(t, portOptions(Files{Cert: f.Cert, Key: f.Key}, &bytes.Buffer{}))
	state, err, shown := shake(t, open, trusting(servers), alice)
	if err != nil || shown != nil || state.NegotiatedProtocol != "h2" || len(state.PeerCertificates) != 0 {
		t.Errorf("a port that asks for none: %+v, %v, %v", state, err, shown)
	}
	if _, err, _ := shake(t, open, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}

	f.Authorities = alice.Authorities
	p := loadPort(t, portOptions(f, &bytes.Buffer{}))
	state, err, shown = shake(t, p, trusting(servers), alice)
	if err != nil || shown != nil || len(state.VerifiedChains) != 1 || state.VerifiedChains[0][0].Subject.CommonName != "alice" {
		t.Errorf("with a certificate: %v, %v, chains %v", err, shown, state.VerifiedChains)
	}
	for name, own := range map[string][]Files{
		"certificate required": nil, "tls: ": {mallory},
		// One for servers alone is none of a client.
		"bad certificate": {clients.issue("bob", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] })},
	} {
		_, err, shown := shake(t, p, trusting(servers), own...)
		if err == nil || shown == nil || !strings.Contains(shown.Error(), name) {
			t.Errorf("%s: the server says %v, the client hears %v", name, err, shown)
		}
	}
}

func TestPortTakesNoTicketInPlaceOfACertificate(t *testing.T) {
	a := newCA(t, "ours")
	f := a.issue("n1", nil)
	p := loadPort(t, portOptions(f, &bytes.Buffer{}))
	cfg := trusting(a)
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for range 2 {
		state, err, shown := shake(t, p, cfg.Clone(), f)
		if err != nil || shown != nil || state.DidResume {
			t.Errorf("resumed %v: %v, %v", state.DidResume, err, shown)
		}
	}
}

func TestPortRefusesWhoWasRevokedAndWhoIsNotNamed(t *testing.T) {
	a := newCA(t, "ours")
	f, alice, bob := a.issue("n1", nil), a.issue("alice", nil), a.issue("bob", func(c *x509.Certificate) {
		c.DNSNames, c.IPAddresses = []string{"bob.example"}, nil
	})
	for _, asPEM := range []bool{true, false} {
		list := filepath.Join(t.TempDir(), "crl")
		a.crl(list, asPEM, time.Now().Add(time.Hour), alice)
		o := portOptions(f, &bytes.Buffer{})
		o.Only.CRL = list
		p := loadPort(t, o)
		if _, err, shown := shake(t, p, trusting(a), alice); err == nil || shown == nil || !strings.Contains(err.Error(), "was revoked") {
			t.Errorf("revoked: %v, %v", err, shown)
		}
		if _, err, shown := shake(t, p, trusting(a), bob); err != nil || shown != nil {
			t.Errorf("not revoked: %v, %v", err, shown)
		}
		a.crl(list, asPEM, time.Now().Add(2*time.Hour), alice, bob)
		p.Refresh()
		if _, err, _ := shake(t, p, trusting(a), bob); err == nil {
			t.Error("the list was not read again")
		}
	}
	o := portOptions(f, &bytes.Buffer{})
	o.Only.Hosts = []string{"carol.example", "bob.example"}
	p := loadPort(t, o)
	if _, err, shown := shake(t, p, trusting(a), bob); err != nil || shown != nil {
		t.Errorf("named: %v, %v", err, shown)
	}
	if _, err, _ := shake(t, p, trusting(a), alice); err == nil || !strings.Contains(err.Error(), "only those for carol.example, bob.example are") {
		t.Errorf("not named: %v", err)
	}
}

func TestPortWithFilesThatAreNoGoodSaysWhich(t *testing.T) {
	a := newCA(t, "ours")
	good, other := a.issue("n1", nil), a.issue("n2", nil)
	text := filepath.Join(t.TempDir(), "text")
	a.write(text, []byte("nothing\n"))
	empty := filepath.Join(t.TempDir(), "empty")
	a.write(empty, nil)
	for name, x := range map[string]struct {
		files Files
		crl   string
		words []string
	}{
		"no certificate file": {Files{Cert: good.Cert + "x", Key: good.Key}, "", []string{"--cert-file", "no such file"}},
		"no key file":         {Files{Cert: good.Cert, Key: good.Key + "x"}, "", []string{"--key-file", "no such file"}},
		"another's key":       {Files{Cert: good.Cert, Key: other.Key}, "", []string{"--key-file " + other.Key, "is not the key of the certificate in --cert-file " + good.Cert}},
		"no PEM":              {Files{Cert: text, Key: good.Key}, "", []string{"--cert-file " + text}},
		"no authority":        {Files{Cert: good.Cert, Key: good.Key, Authorities: text}, "", []string{"--trusted-ca-file " + text, "no certificate in PEM form"}},
		"no CRL file":         {good, text + "x", []string{"--client-crl-file", "no such file"}},
		"no list":             {good, text, []string{"--client-crl-file " + text, "no revocation list"}},
		"an empty list":       {good, empty, []string{"--client-crl-file " + empty, "it is empty"}},
		"a certificate":       {good, good.Cert, []string{"--client-crl-file", "it holds a CERTIFICATE"}},
	} {
		o := portOptions(x.files, &bytes.Buffer{})
		o.Only.CRL = x.crl
		_, err := LoadPort(o)
		for _, missing := range []string{good.Cert + "x", good.Key + "x", text + "x"} {
			if err != nil && strings.Count(err.Error(), missing) > 1 {
				t.Errorf("%s: error %v names %s more than once", name, err, missing)
			}
		}
		for _, w := range x.words {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %v, want it to say %q", name, err, w)
			}
		}
	}
}

func TestPortServesWithWhatHasEndedAndSaysSo(t *testing.T) {
	a := newCA(t, "ours")
	ended := a.issue("n1", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	var log bytes.Buffer
	o := portOptions(ended, &log)
	o.Only.CRL = filepath.Join(t.TempDir(), "crl")
	a.crl(o.Only.CRL, true, time.Now().Add(-time.Minute))
	p := loadPort(t, o)
	p.Covers("localhost", "10.9.8.7")
	p.Refresh()
	p.Refresh()
	for words, times := range map[string]int{
		"clients refuse the certificate of the client port": 1, "ended at": 2, "the revocation list is old": 1,
		"is not good any more": 1, "host=10.9.8.7": 1, "is not for 10.9.8.7: it is for localhost, 127.0.0.1": 1,
	} {
		if n := strings.Count(log.String(), words); n != times {
			t.Errorf("%q is %d times in the log, want %d:\n%s", words, n, times, log.String())
		}
	}
	cfg := trusting(a)
	cfg.InsecureSkipVerify = true
	if _, err, shown := shake(t, p, cfg, a.issue("alice", nil)); err != nil || shown != nil {
		t.Errorf("it does not serve: %v, %v", err, shown)
	}
}

func TestPortKeepsWhatItHasUntilAChangeIsGood(t *testing.T) {
	a := newCA(t, "ours")
	f := a.issue("n1", nil)
	var log bytes.Buffer
	p := loadPort(t, portOptions(f, &log))
	shown := func() string {
		t.Helper()
		cfg := trusting(a)
		name := ""
		cfg.VerifyConnection = func(s tls.ConnectionState) error {
			name = s.PeerCertificates[0].Subject.CommonName
			return nil
		}
		if _, err, got := shake(t, p, cfg, a.issue("alice", nil)); err != nil || got != nil {
			t.Fatal(err, got)
		}
		return name
	}
	next := a.issue("n1 again", nil)
	swap := func(to, from string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		a.write(to, b)
	}
	swap(f.Cert, next.Cert)
	if got := shown(); got != "n1" || !strings.Contains(log.String(), "changed client port certificate files are not taken over") {
		t.Errorf("with half of a change %s is shown; the log says\n%s", got, log.String())
	}
	swap(f.Key, next.Key)
	if got := shown(); got != "n1 again" || !strings.Contains(log.String(), "client port certificate files read again") {
		t.Errorf("after the change %s is shown; the log says\n%s", got, log.String())
	}
	ended := a.issue("too late", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	swap(f.Cert, ended.Cert)
	swap(f.Key, ended.Key)
	if got := shown(); got != "n1 again" || !strings.Contains(log.String(), "ended at") {
		t.Errorf("after a change that is no good %s is shown; the log says\n%s", got, log.String())
	}
}

func TestSelfSignedCertificateStaysWhileItIsGood(t *testing.T) {
	dir, now := filepath.Join(t.TempDir(), "auto"), time.Now()
	hosts := []string{"localhost", "10.1.1.1"}
	sign := func(now time.Time, hosts ...string) *x509.Certificate {
		t.Helper()
		f, _, err := SelfSigned(disk.OS(), dir, hosts, 2, now)
		if err != nil {
			t.Fatal(err)
		}
		return leafOf(t, f)
	}
	first := sign(now, hosts...)
	if life := first.NotAfter.Sub(now); life > 2*365*24*time.Hour || life < 2*365*24*time.Hour-time.Minute {
		t.Errorf("it is good for %v", life)
	}
	if second := sign(now.Add(time.Hour), hosts...); !second.Equal(first) {
		t.Error("a certificate that was good was made anew")
	}
	pool := x509.NewCertPool()
	pool.AddCert(first)
	if _, err := first.Verify(x509.VerifyOptions{Roots: pool, DNSName: "10.1.1.1", KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		t.Errorf("who has a copy of it refuses it: %v", err)
	}
	other := sign(now, append(hosts, "n1.example")...)
	if other.Equal(first) || other.VerifyHostname("n1.example") != nil {
		t.Error("another host is not in it")
	}
	if late := sign(now.Add(3*365*24*time.Hour), hosts...); late.Equal(other) {
		t.Error("one that has ended was kept")
	}
	for _, years := range []int{0, 101} {
		if _, _, err := SelfSigned(disk.OS(), dir, hosts, years, now); err == nil {
			t.Errorf("%d years are taken", years)
		}
	}
}

func TestOwnCertificatesAreNarrowedDown(t *testing.T) {
	a := newCA(t, "ours")
	list := filepath.Join(t.TempDir(), "crl")
	gone := a.issue("gone", nil)
	a.crl(list, true, time.Now().Add(time.Hour), gone)
	narrow := func(only Only) *Own {
		t.Helper()
		o := ownOptions(a.issue("n1", nil), &bytes.Buffer{})
		o.Only = only
		own, err := LoadOwn(o)
		if err != nil {
			t.Fatal(err)
		}
		return own
	}
	for name, x := range map[string]struct {
		only   Only
		client Files
		want   string
	}{
		"revoked":              {Only{CRL: list}, gone, "was revoked"},
		"not revoked":          {Only{CRL: list}, a.issue("n2", nil), ""},
		"another name":         {Only{CommonNames: []string{"n2", "n3"}}, a.issue("x", nil), "only those of n2, n3 are"},
		"one of the names":     {Only{CommonNames: []string{"n2", "n3"}}, a.issue("n3", nil), ""},
		"another host":         {Only{Hosts: []string{"n2.example"}}, a.issue("n2", nil), "only those for n2.example are"},
		"one of the hosts":     {Only{Hosts: []string{"n2.example", "localhost"}}, a.issue("n2", nil), ""},
		"no list, name, host":  {Only{}, gone, ""},
		"revoked and the name": {Only{CRL: list, CommonNames: []string{"gone"}}, gone, "was revoked"},
	} {
		client, _ := load(t, x.client)
		_, atServer := meet(t, client.ClientTLS("127.0.0.1:1"), narrow(x.only).ServerTLS())
		if x.want == "" && atServer.err != nil || x.want != "" && (atServer.err == nil || !strings.Contains(atServer.err.Error(), x.want)) {
			t.Errorf("%s: %v, want it to say %q", name, atServer.err, x.want)
		}
	}
	// It dials one that was revoked.
	server, _ := load(t, gone)
	if atClient, _ := meet(t, narrow(Only{CRL: list}).ClientTLS("127.0.0.1:1"), server.ServerTLS()); atClient.err == nil {
		t.Error("a server whose certificate was revoked is taken")
	}
	o := ownOptions(a.issue("n1", nil), &bytes.Buffer{})
	o.Only.CRL = gone.Cert
	if _, err := LoadOwn(o); err == nil || !strings.Contains(err.Error(), "--peer-crl-file "+gone.Cert) {
		t.Errorf("a certificate as a revocation list: %v", err)
	}
}
