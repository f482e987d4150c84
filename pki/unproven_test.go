package pki

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"chainfire/internal/disk"
)

// agree does a handshake between two sides, and returns what was agreed on.
func agree(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
			err = tls.Server(c, server).Handshake()
		}
		served <- err
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	serr := <-served
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	return c.ConnectionState(), serr
}

func unproven(t *testing.T, limits Limits) *Unproven {
	t.Helper()
	dir := t.TempDir()
	files, made, err := SelfSignedPeer(disk.OS(), dir, []string{"127.0.0.1"}, 1, time.Now())
	if err != nil || !made {
		t.Fatal(made, err)
	}
	if _, made, err := SelfSignedPeer(disk.OS(), dir, []string{"127.0.0.1"}, 1, time.Now()); err != nil || made {
		t.Fatalf("another one was made: %t, %v", made, err)
	}
	u, err := NewUnproven(disk.OS(), files, limits)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestMembersWithoutAnAuthoritySpeakTLSToAnybody(t *testing.T) {
	a, b := unproven(t, Limits{}), unproven(t, Limits{})
	s, err := agree(t, a.ServerTLS(), b.ClientTLS())
	if err != nil || s.Version != tls.VersionTLS13 {
		t.Errorf("%x, %v", s.Version, err)
	}
}

func TestVersionsAndSuitesCountBetweenMembers(t *testing.T) {
	const suite = tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
	ca := newCA(t, "ours")
	own := func(l Limits) *Own {
		o, err := LoadOwn(OwnOptions{FS: disk.OS(), Files: ca.issue("member", nil), Limits: l, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	older := Limits{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}}
	both := Limits{MinVersion: tls.VersionTLS12}
	s, err := agree(t, own(older).ServerTLS(), own(both).ClientTLS("127.0.0.1:1"))
	if err != nil || s.Version != tls.VersionTLS12 || s.CipherSuite != suite {
		t.Errorf("version %x, suite %s, %v", s.Version, tls.CipherSuiteName(s.CipherSuite), err)
	}
	if s, err := agree(t, own(both).ServerTLS(), own(both).ClientTLS("127.0.0.1:1")); err != nil || s.Version != tls.VersionTLS13 {
		t.Errorf("version %x, %v", s.Version, err)
	}
	if _, err := agree(t, own(older).ServerTLS(), own(Limits{}).ClientTLS("127.0.0.1:1")); err == nil {
		t.Error("TLS 1.2 is spoken where nobody said so")
	}
	if s, err := agree(t, unproven(t, older).ServerTLS(), unproven(t, both).ClientTLS()); err != nil || s.CipherSuite != suite {
		t.Errorf("suite %s, %v", tls.CipherSuiteName(s.CipherSuite), err)
	}
}
