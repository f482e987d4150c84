package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chainfire/internal/disk"
)

// ca is an operator's authority.
type ca struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T, name string) *ca {
	t.Helper()
	c := &ca{t: t}
	c.key = newKey(t)
	serial, err := newSerial()
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	c.cert = c.create(tmpl, tmpl, &c.key.PublicKey)
	return c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (c *ca) create(tmpl, parent *x509.Certificate, public *ecdsa.PublicKey) *x509.Certificate {
	c.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, public, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	return cert
}

func certPEM(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: blockCert, Bytes: c.Raw})...)
	}
	return out
}

// issue writes a certificate for localhost as change leaves it, with its key and
// the authority, into a folder of its own.
func (c *ca) issue(name string, change func(*x509.Certificate)) Files {
	c.t.Helper()
	dir := c.t.TempDir()
	f := Files{filepath.Join(dir, "member.crt"), filepath.Join(dir, "member.key"), filepath.Join(dir, "ca.crt")}
	c.issueInto(f, name, change)
	c.write(f.Authorities, certPEM(c.cert))
	return f
}

func (c *ca) issueInto(f Files, name string, change func(*x509.Certificate)) {
	c.t.Helper()
	serial, err := newSerial()
	if err != nil {
		c.t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if change != nil {
		change(tmpl)
	}
	key := newKey(c.t)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(f.Cert, certPEM(c.create(tmpl, c.cert, &key.PublicKey)))
	c.write(f.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func (c *ca) write(path string, data []byte) {
	c.t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// load loads what must be good; the log goes to the buffer.
func load(t *testing.T, f Files) (*Own, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	o, err := LoadOwn(ownOptions(f, log))
	if err != nil {
		t.Fatal(err)
	}
	return o, log
}

func ownOptions(f Files, log *bytes.Buffer) OwnOptions {
	return OwnOptions{FS: disk.OS(), Files: f, Now: time.Now, Log: slog.New(slog.NewTextHandler(log, nil))}
}

func TestOwnCertificateThatNobodyWouldBelieveIsRefusedWithTheFileAndTheReason(t *testing.T) {
	a, other := newCA(t, "ours"), newCA(t, "theirs")
	good := a.issue("n1", nil)
	for name, x := range map[string]struct {
		files Files
		words []string
	}{
		"no certificate file": {Files{good.Cert + "x", good.Key, good.Authorities}, []string{"--peer-cert-file", good.Cert + "x", "no such file"}},
		"no key file":         {Files{good.Cert, good.Key + "x", good.Authorities}, []string{"--peer-key-file", good.Key + "x", "no such file"}},
		"no authority file":   {Files{good.Cert, good.Key, good.Authorities + "x"}, []string{"--peer-trusted-ca-file", "no such file"}},
		"another's key":       {Files{good.Cert, a.issue("n2", nil).Key, good.Authorities}, []string{"--peer-key-file", "is not the key of the certificate in --peer-cert-file " + good.Cert}},
		"a certificate as key": {
			Files{good.Cert, good.Cert, good.Authorities},
			[]string{"--peer-key-file", "is not the key"},
		},
		"another authority":   {Files{good.Cert, good.Key, other.issue("x", nil).Authorities}, []string{good.Cert, "of CN=n1, issued by CN=ours", "is not signed by an authority in --peer-trusted-ca-file"}},
		"a key among the CAs": {Files{good.Cert, good.Key, good.Key}, []string{"--peer-trusted-ca-file", "it holds a PRIVATE KEY"}},
		"ended": {
			a.issue("n1", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
			[]string{"--peer-cert-file", "ended at", "make a new one"},
		},
		"not begun": {
			a.issue("n1", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }),
			[]string{"begins at", "set the clock"},
		},
		"for servers only": {
			a.issue("n1", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }),
			[]string{"--peer-cert-file", "serverAuth and clientAuth"},
		},
		"for clients only": {
			a.issue("n1", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }),
			[]string{"--peer-cert-file", "serverAuth and clientAuth"},
		},
	} {
		_, err := LoadOwn(ownOptions(x.files, &bytes.Buffer{}))
		if err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		for _, w := range x.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: the error does not say %q: %v", name, w, err)
			}
		}
	}
	o, log := load(t, good)
	if err := o.Expect("127.0.0.1"); err != nil {
		t.Error(err)
	}
	if err := o.Expect("10.0.0.1"); err == nil || !strings.Contains(err.Error(), "is not for 10.0.0.1: it is for localhost, 127.0.0.1") {
		t.Errorf("a host that the certificate does not name: %v", err)
	}
	if log.Len() > 0 {
		t.Errorf("it warns of %s", log)
	}
	if err := os.Chmod(good.Key, fs.FileMode(0o644)); err != nil {
		t.Fatal(err)
	}
	if _, log := load(t, good); !strings.Contains(log.String(), "can be read by others") {
		t.Errorf("a key that others can read: %s", log)
	}
}

func TestOwnPeersKnowEachOtherByTheirAuthorityAndTheHostThatWasDialed(t *testing.T) {
	a, other := newCA(t, "ours"), newCA(t, "theirs")
	one, _ := load(t, a.issue("n1", nil))
	two, _ := load(t, a.issue("n2", nil))
	foreign, _ := load(t, other.issue("x", nil))
	cluster := member(t, authority(t, 7), 1, time.Now())
	atClient, atServer := meet(t, one.ClientTLS("127.0.0.1:1"), two.ServerTLS())
	if atClient.err != nil || atServer.err != nil {
		t.Fatal(atClient.err, atServer.err)
	}
	said := func(what string, err error, words ...string) {
		t.Helper()
		for _, w := range append(words, "peer certificate refused") {
			if err == nil || !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: it does not say %q: %v", what, w, err)
			}
		}
	}
	atClient, _ = meet(t, one.ClientTLS("10.0.0.1:1"), two.ServerTLS())
	said("another host", atClient.err, "wrong host", "of CN=n2", "is not for 10.0.0.1: it is for localhost, 127.0.0.1")
	atClient, _ = meet(t, one.ClientTLS("127.0.0.1:1"), foreign.ServerTLS())
	said("a server of another authority", atClient.err, "wrong CA", "of CN=x, issued by CN=theirs")
	atClient, _ = meet(t, one.ClientTLS("127.0.0.1:1"), cluster.ServerTLS())
	said("a server of a cluster's authority", atClient.err, "wrong CA", "of CN=ChainFire member 1, issued by CN=ChainFire cluster", "of CN=n1, issued by CN=ours")
	atClient, _ = meet(t, cluster.ClientTLS(), one.ServerTLS())
	said("a member of a cluster's authority that dials", atClient.err, "wrong CA", "of CN=n1, issued by CN=ours", "of CN=ChainFire member 1")

	// Clients that believe everybody: the server decides alone.
	trusting := foreign.ClientTLS("127.0.0.1:1")
	trusting.VerifyConnection = nil
	_, atServer = meet(t, trusting, one.ServerTLS())
	said("a client of another authority", atServer.err, "wrong CA", "of CN=x")
	_, atServer = meet(t, trusting, cluster.ServerTLS())
	said("a client at a cluster's authority", atServer.err, "wrong CA", "of CN=x")
	trusting.GetClientCertificate = nil
	_, atServer = meet(t, trusting, one.ServerTLS())
	said("a client without a certificate", atServer.err, "shows none")
}

func TestChangedFilesAreTakenOverAndBadOnesAreNamedAndLeft(t *testing.T) {
	a := newCA(t, "ours")
	f := a.issue("first", nil)
	o, log := load(t, f)
	if err := o.Expect("127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	peer, _ := load(t, a.issue("peer", nil))
	shown := func() string {
		t.Helper()
		atClient, atServer := meet(t, peer.ClientTLS("127.0.0.1:1"), o.ServerTLS())
		if atClient.err != nil || atServer.err != nil {
			t.Fatal(atClient.err, atServer.err)
		}
		return atClient.state.PeerCertificates[0].Subject.CommonName
	}
	a.issueInto(f, "second", nil)
	if name := shown(); name != "second" {
		t.Errorf("after a change %s is shown", name)
	}
	key, err := os.ReadFile(f.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		word string
		make func()
	}{
		{"is not for 127.0.0.1", func() {
			a.issueInto(f, "elsewhere", func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"elsewhere"}, nil })
		}},
		{"is not the key", func() { a.issueInto(f, "half", nil); a.write(f.Key, key) }},
		{"ended at", func() {
			a.issueInto(f, "ended", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
		}},
		{"no such file", func() {
			if err := os.Remove(f.Cert); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		log.Reset()
		bad.make()
		for range 2 {
			if name := shown(); name != "second" {
				t.Errorf("%s: %s is shown", bad.word, name)
			}
			o.Refresh()
		}
		if n := strings.Count(log.String(), "not taken over"); n != 1 || !strings.Contains(log.String(), bad.word) || !strings.Contains(log.String(), f.Cert) {
			t.Errorf("%s: told %d times: %s", bad.word, n, log)
		}
	}
	log.Reset()
	a.issueInto(f, "third", nil)
	if name := shown(); name != "third" || !strings.Contains(log.String(), "of CN=third") {
		t.Errorf("after the bad ones %s is shown; %s", name, log)
	}
	// A change that no look at the entry shows: same size, same time.
	info, err := os.Stat(f.Authorities)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Authorities)
	if err != nil {
		t.Fatal(err)
	}
	b[0] = '#'
	a.write(f.Authorities, b)
	if err := os.Chtimes(f.Authorities, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	o.Refresh()
	if !strings.Contains(log.String(), "no certificate in PEM form") {
		t.Errorf("a change behind the same entry: %s", log)
	}
}
