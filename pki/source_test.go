package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"chainfire/internal/disk"
)

// names are hosts with their addresses, and addresses with what they are called.
type names map[string][]string

func (n names) LookupAddr(_ context.Context, addr string) ([]string, error) { return n.look(addr) }
func (n names) LookupHost(_ context.Context, host string) ([]string, error) { return n.look(host) }

func (n names) look(what string) ([]string, error) {
	if out, ok := n[what]; ok {
		return out, nil
	}
	return nil, errors.New("no such host")
}

func TestACertificateThatNamesHostsIsGoodFromTheirAddresses(t *testing.T) {
	dns := names{"10.0.0.1": {"one.example."}, "one.example": {"10.0.0.1"}, "two.example": {"10.0.0.7", "10.0.0.2"}}
	ip := net.IPv4(10, 0, 0, 1)
	for _, c := range []struct {
		what string
		cert x509.Certificate
		from string
		good bool
	}{
		{"no host", x509.Certificate{}, "10.0.0.9", true},
		{"the address", x509.Certificate{IPAddresses: []net.IP{ip}}, "10.0.0.1", true},
		{"another address", x509.Certificate{IPAddresses: []net.IP{ip}}, "10.0.0.2", false},
		{"what the address is called", x509.Certificate{DNSNames: []string{"one.example"}}, "10.0.0.1", true},
		{"all of a domain", x509.Certificate{DNSNames: []string{"*.example"}}, "10.0.0.1", true},
		{"all of another domain", x509.Certificate{DNSNames: []string{"*.ample"}}, "10.0.0.1", false},
		{"a name that leads there", x509.Certificate{DNSNames: []string{"two.example"}}, "10.0.0.2", true},
		{"a name that leads elsewhere", x509.Certificate{DNSNames: []string{"two.example"}}, "10.0.0.3", false},
		{"another address and a name that leads there", x509.Certificate{IPAddresses: []net.IP{ip}, DNSNames: []string{"two.example"}}, "10.0.0.2", true},
		{"a name that nobody knows", x509.Certificate{DNSNames: []string{"no.example"}}, "10.0.0.2", false},
	} {
		err := namesSource(t.Context(), &c.cert, c.from, dns)
		if (err == nil) != c.good || err != nil && !strings.Contains(err.Error(), "is not for "+c.from) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func TestAMemberIsAskedWhereItComesFromUnlessThatIsLeftOut(t *testing.T) {
	ca := newCA(t, "ours")
	own := func(sources bool, change func(*x509.Certificate)) *Own {
		o, err := LoadOwn(OwnOptions{FS: disk.OS(), Files: ca.issue("member", change), Sources: sources, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	elsewhere := own(false, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{net.IPv4(10, 9, 9, 9)} })
	here := own(false, nil)
	for _, c := range []struct {
		sources bool
		client  *Own
		good    bool
	}{{true, here, true}, {true, elsewhere, false}, {false, elsewhere, true}} {
		refused := agreeAsServer(t, own(c.sources, nil).ServerTLS(), c.client.ClientTLS("127.0.0.1:1"))
		if (refused == nil) != c.good || refused != nil && (!errors.Is(refused, ErrRefused) || !strings.Contains(refused.Error(), "is not for 127.0.0.1: it is for 10.9.9.9")) {
			t.Errorf("sources %t: %v", c.sources, refused)
		}
	}
}

// agreeAsServer is agree as the server sees it.
func agreeAsServer(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed := make(chan struct{})
	go func() {
		defer close(dialed)
		if c, err := tls.Dial("tcp", l.Addr().String(), client); err == nil {
			_, _ = c.Read(make([]byte, 1)) // until the server has judged
			_ = c.Close()
		}
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	err = tls.Server(c, server).Handshake()
	if cerr := c.Close(); cerr != nil {
		t.Error(cerr)
	}
	<-dialed
	return err
}

func TestAMemberShowsACertificateOfItsOwnWhereItConnects(t *testing.T) {
	ca := newCA(t, "ours")
	only := func(usage x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{usage} }
	}
	server, client := ca.issue("server", only(x509.ExtKeyUsageServerAuth)), ca.issue("client", only(x509.ExtKeyUsageClientAuth))
	load := func(server, client Files) (*Own, error) {
		return LoadOwn(OwnOptions{FS: disk.OS(), Files: server, Client: client, Now: time.Now})
	}
	o, err := load(server, client)
	if err != nil {
		t.Fatal(err)
	}
	var shown string
	cfg := o.ServerTLS()
	check := cfg.VerifyConnection
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		shown = s.PeerCertificates[0].Subject.CommonName
		return check(s)
	}
	if err := agreeAsServer(t, cfg, o.ClientTLS("127.0.0.1:1")); err != nil || shown != "client" {
		t.Errorf("showed %q, %v", shown, err)
	}
	soon := time.Now().Add(30 * time.Minute).Truncate(time.Second)
	if o, err := load(server, ca.issue("soon", func(c *x509.Certificate) { c.NotAfter = soon })); err != nil || !o.Ends().Equal(soon) {
		t.Errorf("the first of the two ends at %v, %v", o.Ends(), err)
	}
	for want, files := range map[string][2]Files{
		"--peer-cert-file " + server.Cert + ": the certificate is not for TLS servers and TLS clients": {server, {}},
		"--peer-cert-file " + client.Cert + ": the certificate is not for TLS servers":                 {client, client},
		"--peer-client-cert-file " + server.Cert + ": the certificate is not for TLS clients":          {server, server},
		"--peer-client-key-file": {server, {Cert: client.Cert, Key: server.Key}},
	} {
		if _, err := load(files[0], files[1]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	// A changed one is taken over as the others are.
	fresh := ca.issue("fresh", only(x509.ExtKeyUsageClientAuth))
	for from, to := range map[string]string{fresh.Cert: client.Cert, fresh.Key: client.Key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	o.Refresh()
	if err := agreeAsServer(t, cfg, o.ClientTLS("127.0.0.1:1")); err != nil || shown != "fresh" {
		t.Errorf("showed %q, %v", shown, err)
	}
}
