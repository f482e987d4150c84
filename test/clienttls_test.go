package test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// clientPort are the files of a member whose clients speak TLS, and of those clients.
type clientPort struct {
	t   *testing.T
	ca  *authority
	dir string
}

func newClientPort(t *testing.T) *clientPort {
	t.Helper()
	p := &clientPort{t: t, ca: newAuthority(t, "ours"), dir: t.TempDir()}
	p.ca.trust(p.dir)
	p.ca.issueAs(p.dir, "server", "n1")
	p.ca.issueAs(p.dir, "alice", "alice")
	return p
}

func (p *clientPort) file(name string) string { return filepath.Join(p.dir, name) }

// flags are those of a member, of etcd too, that asks its clients for certificates.
func (p *clientPort) flags() []string {
	return []string{
		"--cert-file", p.file("server.crt"), "--key-file", p.file("server.key"), "--client-cert-auth", "--trusted-ca-file", p.file("ca.crt"),
	}
}

// as is for a client that shows a certificate by the name of its files, or none.
func (p *clientPort) as(names ...string) *tls.Config {
	p.t.Helper()
	cfg := &tls.Config{RootCAs: x509.NewCertPool()}
	cfg.RootCAs.AddCert(p.ca.cert)
	for _, name := range names {
		pair, err := tls.LoadX509KeyPair(p.file(name+".crt"), p.file(name+".key"))
		if err != nil {
			p.t.Fatal(err)
		}
		cfg.Certificates = append(cfg.Certificates, pair)
	}
	return cfg
}

// ctlFlags are those by which etcdctl and chainfire speak as a client.
func (p *clientPort) ctlFlags(name string) []string {
	out := []string{"--cacert", p.file("ca.crt")}
	if name != "" {
		out = append(out, "--cert", p.file(name+".crt"), "--key", p.file(name+".key"))
	}
	return out
}

// revoke writes a revocation list, as etcd takes it.
func (p *clientPort) revoke(certs ...*x509.Certificate) {
	p.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour)}
	for _, c := range certs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, p.ca.cert, p.ca.key)
	if err == nil {
		err = os.WriteFile(p.file("crl.new"), der, 0o600)
	}
	if err == nil {
		err = os.Rename(p.file("crl.new"), p.file("crl"))
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// member makes one whose clients speak TLS, and starts it.
func (p *clientPort) member(args ...string) *member {
	p.t.Helper()
	m := here.newMember(p.t, "a", args...)
	m.tls = p.as("alice")
	m.start()
	m.awaitServing()
	return m
}

// ask reads a page, with HTTP/2 or without.
func (p *clientPort) ask(cfg *tls.Config, two bool, method, url, body string) (*http.Response, string, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), soon)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	tr := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: two}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), errors.Join(err, resp.Body.Close())
}

func TestClientsOverTLSFindEverythingOnThePort(t *testing.T) {
	t.Parallel()
	p := newClientPort(t)
	m := p.member(p.flags()...)
	url := "https://" + m.client
	e := newEtcdctl(t, url)
	e.flags = p.ctlFlags("alice")
	e.prints("OK\n", "", "put", "a", "1")
	e.prints("a\n1\n", "", "get", "a")
	e.watches("PUT\na\n1\nPUT\na\n2\n", func() { e.prints("OK\n", "", "put", "a", "2") }, "a", "--rev", "2")
	if out, errOut, code := e.run("", "lock", "l", "echo", "locked"); code != 0 || !strings.Contains(out, "locked") {
		t.Errorf("etcdctl lock: exit code %d, %q, %q", code, out, errOut)
	}
	// Where the cluster says that it is, and health is asked for there.
	e.prints(fmt.Sprintf("%x, started, a, https://%s, https://%s, false\n", m.id(m), m.peer, m.client), "", "member", "list")
	if out, errOut, code := e.run("", "endpoint", "health", "--cluster"); code != 0 || !strings.Contains(out+errOut, url+" is healthy") {
		t.Errorf("etcdctl endpoint health --cluster: exit code %d, %q, %q", code, out, errOut)
	}
	c := etcdClientOver(t, p.as("alice"), m.client)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := c.Sync(ctx); err != nil || !slices.Equal(c.Endpoints(), []string{url}) {
		t.Errorf("a client that asks where members are has %v, %v", c.Endpoints(), err)
	}
	if _, err := c.Get(ctx, "a"); err != nil {
		t.Errorf("and reads there: %v", err)
	}
	for _, two := range []bool{true, false} {
		for _, x := range [][3]string{
			{"GET", "/health", `"health":"true"`},
			{"GET", "/version", `"etcdserver":"3.7.3"`},
			{"GET", "/metrics", "etcd_server_has_leader 1"},
			{"POST", "/v3/kv/range", `"value":"Mg=="`},
		} {
			resp, body, err := p.ask(p.as("alice"), two, x[0], url+x[1], `{"key":"YQ=="}`)
			if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(body, x[2]) || resp.ProtoMajor == 2 != two {
				t.Errorf("%s, HTTP/2 %v: %v, %.300s", x[1], two, err, body)
			}
		}
	}
	if resp, body, err := p.ask(nil, false, "GET", "http://"+m.client+"/health", ""); err != nil || resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "to an HTTPS server") {
		t.Errorf("plain HTTP: %v, %s", err, body)
	}
	file := filepath.Join(t.TempDir(), "s")
	for _, args := range [][]string{
		{"put", "b", "3"},
		{"get", "b"},
		{"status"},
		{"member", "list"},
		{"token", "create"},
		{"snapshot", "save", file},
		{"lease", "grant", "60"},
	} {
		a := runToEnd(t, p.dir, here.binary, slices.Concat(args, []string{"--endpoints", url}, p.ctlFlags("alice"))...)
		if a.code != 0 {
			t.Errorf("chainfire %v: exit code %d, %s%s", args, a.code, a.stdout, a.stderr)
		}
	}
}

func TestClientIsToldWhyTLSDoesNotComeAbout(t *testing.T) {
	t.Parallel()
	p := newClientPort(t)
	secure, plain := p.member(p.flags()...), oneMember(t).members[0]
	other := newAuthority(t, "theirs")
	other.issueAs(p.dir, "mallory", "mallory")
	other.write(p.file("theirs.crt"), "CERTIFICATE", other.cert.Raw)
	at := func(m *member, flags ...string) []string {
		return append([]string{"get", "a", "--endpoints", "https://" + m.client}, flags...)
	}
	for name, x := range map[string]struct {
		args  []string
		words []string
	}{
		"no authority":         {at(secure, "--cert", p.file("alice.crt"), "--key", p.file("alice.key")), []string{"certificate signed by unknown authority", "--cacert"}},
		"another authority":    {at(secure, "--cacert", p.file("theirs.crt")), []string{"certificate signed by unknown authority", "--cacert"}},
		"no certificate":       {at(secure, p.ctlFlags("")...), []string{"certificate required", "give it with --cert and --key"}},
		"another's":            {at(secure, p.ctlFlags("mallory")...), []string{"tls: ", "--cert"}},
		"plain text":           {[]string{"get", "a", "--endpoints", secure.client}, []string{"client port speaks TLS", "https://HOST:PORT"}},
		"TLS to a plain port":  {at(plain, "--cacert", p.file("ca.crt")), []string{"what answers there speaks no TLS", "http://"}},
		"no such file":         {at(secure, "--cacert", p.file("nothing")), []string{"--cacert", "no such file"}},
		"another's key":        {at(secure, "--cacert", p.file("ca.crt"), "--cert", p.file("alice.crt"), "--key", p.file("server.key")), []string{"--cert", "--key", "does not match"}},
		"an address not named": {[]string{"get", "a", "--cacert", p.file("ca.crt"), "--endpoints", "https://" + strings.Replace(secure.client, "127.0.0.1", "localhost", 1)}, []string{"ask at an address that the member's certificate names"}},
	} {
		a := runToEnd(t, p.dir, here.binary, x.args...)
		for _, w := range x.words {
			if a.code != 1 || !strings.Contains(a.stderr, w) {
				t.Errorf("%s: exit code %d, %q, want it to say %q", name, a.code, a.stderr, w)
			}
		}
	}
	secure.awaitLog("connection over TLS was refused", "a client without TLS was refused", "didn't provide a certificate")
	plain.awaitLog("a client began with TLS, which this port does not speak")
}

// TestWhoIsLetInOverTLSIsEtcds lets the same clients ask a member and etcd.
func TestWhoIsLetInOverTLSIsEtcds(t *testing.T) {
	t.Parallel()
	p := newClientPort(t)
	other := newAuthority(t, "theirs")
	other.issueAs(p.dir, "mallory", "mallory")
	p.revoke(p.ca.issueAs(p.dir, "gone", "gone"))
	askNobody := []string{"--cert-file", p.file("server.crt"), "--key-file", p.file("server.key")}
	version := func(cfg *tls.Config, v uint16) *tls.Config {
		cfg.MinVersion, cfg.MaxVersion = v, v
		if v < tls.VersionTLS12 {
			cfg.MinVersion = tls.VersionTLS10
		}
		return cfg
	}
	suite := func(cfg *tls.Config, id uint16) *tls.Config {
		cfg.MaxVersion, cfg.CipherSuites = tls.VersionTLS12, []uint16{id}
		return cfg
	}
	clients := map[string]func() *tls.Config{
		"nobody":    func() *tls.Config { return p.as() },
		"alice":     func() *tls.Config { return p.as("alice") },
		"revoked":   func() *tls.Config { return p.as("gone") },
		"another's": func() *tls.Config { return p.as("mallory") },
		"TLS 1.1":   func() *tls.Config { return version(p.as("alice"), tls.VersionTLS11) },
		"TLS 1.2":   func() *tls.Config { return version(p.as("alice"), tls.VersionTLS12) },
		"TLS 1.3":   func() *tls.Config { return version(p.as("alice"), tls.VersionTLS13) },
		"AES 128":   func() *tls.Config { return suite(p.as("alice"), tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256) },
		"AES 256":   func() *tls.Config { return suite(p.as("alice"), tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384) },
		"ChaCha20":  func() *tls.Config { return suite(p.as("alice"), tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256) },
		"http/1.1":  func() *tls.Config { c := p.as("alice"); c.NextProtos = []string{"http/1.1"}; return c },
	}
	for name, x := range map[string]struct{ flags, refused []string }{
		"asks for nothing":   {askNobody, []string{"TLS 1.1"}},
		"asks clients":       {p.flags(), []string{"nobody", "another's", "TLS 1.1"}},
		"an authority alone": {append(slices.Clone(askNobody), "--trusted-ca-file", p.file("ca.crt")), []string{"nobody", "another's", "TLS 1.1"}},
		"a revocation list":  {append(p.flags(), "--client-crl-file", p.file("crl")), []string{"nobody", "another's", "revoked", "TLS 1.1"}},
		"a host that no certificate names": {
			append(p.flags(), "--client-cert-allowed-hostname", "127.0.0.2,127.0.0.1"),
			[]string{"nobody", "another's", "TLS 1.1"},
		},
		"at least TLS 1.3":  {append(p.flags(), "--tls-min-version", "TLS1.3"), []string{"nobody", "another's", "TLS 1.1", "TLS 1.2", "AES 128", "AES 256", "ChaCha20"}},
		"at most TLS 1.2":   {append(p.flags(), "--tls-max-version", "TLS1.2"), []string{"nobody", "another's", "TLS 1.1", "TLS 1.3"}},
		"two cipher suites": {append(p.flags(), "--cipher-suites", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"), []string{"nobody", "another's", "TLS 1.1", "AES 256"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			able := p.as("alice")
			ours, etcd := here.newMember(t, "a", x.flags...), here.newEtcdOver(t, "https", able, x.flags)
			ours.tls = able
			ours.start()
			for who, cfg := range clients {
				for side, addr := range map[string]string{"etcd": etcd, "chainfire": ours.client} {
					resp, body, err := p.ask(cfg(), who != "http/1.1", "GET", "https://"+addr+"/version", "")
					in := err == nil && resp.StatusCode == http.StatusOK && strings.Contains(body, "etcdserver")
					if in == slices.Contains(x.refused, who) {
						t.Errorf("%s lets %s in: %v; %v %s", side, who, in, err, body)
					}
				}
			}
		})
	}
}

func TestCertificateOfTheClientPortIsChangedWithoutARestart(t *testing.T) {
	t.Parallel()
	p := newClientPort(t)
	p.revoke()
	m := p.member(append(p.flags(), "--client-crl-file", p.file("crl"))...)
	shown := func(ctx context.Context) (string, error) {
		conn, err := (&tls.Dialer{Config: p.as("alice")}).DialContext(ctx, "tcp", m.client)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName, nil
	}
	mustShow := func(want string) {
		t.Helper()
		m.await("certificate of "+want, soon, func(ctx context.Context) error {
			name, err := shown(ctx)
			if err == nil && name != want {
				err = fmt.Errorf("%s is shown", name)
			}
			return err
		})
	}
	mustShow("n1")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	watching := etcdClientOver(t, p.as("alice"), m.client)
	w := watching.Watch(ctx, "a", clientv3.WithCreatedNotify())
	<-w
	goesOn := func(value string) {
		t.Helper()
		put(t, m, "a", value)
		r := <-w
		if r.Err() != nil || len(r.Events) != 1 || string(r.Events[0].Kv.Value) != value {
			t.Fatalf("the watch that was there says %+v, %v", r, r.Err())
		}
	}
	goesOn("1")
	p.ca.issueAs(p.dir, "server", "n1 again")
	mustShow("n1 again")
	m.awaitLog("client port certificate files read again")
	goesOn("2")

	// What is no good is named, and what was there stays.
	p.ca.write(p.file("server.key"), "PRIVATE KEY", []byte("nothing"))
	m.awaitLog("changed client port certificate files are not taken over", "--key-file "+p.file("server.key"))
	mustShow("n1 again")
	goesOn("3")
	p.ca.issueAs(p.dir, "server", "n1 at last")
	mustShow("n1 at last")

	// Whom a changed list revokes is not let in any more, and stays if it is.
	alice, err := tls.LoadX509KeyPair(p.file("alice.crt"), p.file("alice.key"))
	if err != nil {
		t.Fatal(err)
	}
	p.ca.issueAs(p.dir, "bob", "bob")
	p.revoke(alice.Leaf)
	m.await("the end of alice", soon, func(context.Context) error {
		_, _, err := p.ask(p.as("alice"), false, "GET", "https://"+m.client+"/version", "")
		if err == nil {
			return errors.New("she is let in")
		}
		return nil
	})
	m.awaitLog("was revoked", "of CN=alice, issued by CN=ours")
	goesOn("4")
	if _, _, err := p.ask(p.as("bob"), false, "GET", "https://"+m.client+"/version", ""); err != nil {
		t.Errorf("bob is not let in: %v", err)
	}
}

func TestClusterWhoseClientsSpeakTLSGrowsByTheLinesItPrints(t *testing.T) {
	t.Parallel()
	p := newClientPort(t)
	flags := []string{"--cert-file", p.file("server.crt"), "--key-file", p.file("server.key")}
	c := &cluster{t: t}
	for i := range 3 {
		m := here.newMember(t, string(rune('a'+i)), append(calm(), flags...)...)
		m.tls = p.as()
		if i == 0 {
			m.start()
		} else {
			m.launch(c.members[0].peer)
		}
		c.members = append(c.members, m)
	}
	c.awaitVoters(3, 3)
	c.awaitLeader()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	r, err := c.members[0].kv().MemberList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Members {
		if len(m.GetClientURLs()) != 1 || !strings.HasPrefix(m.GetClientURLs()[0], "https://") {
			t.Errorf("%s is for clients at %v", m.GetName(), m.GetClientURLs())
		}
	}
	if !c.members[1].proc.said(func(e event) bool { return e.Step == "ready" && e.ClientURL == "https://"+c.members[1].client }) {
		t.Error("what it says when it is ready does not name the URL for clients")
	}
}

func TestMemberMakesACertificateForItsClientsIfItIsToldTo(t *testing.T) {
	t.Parallel()
	m := here.newMember(t, "a", "--auto-tls")
	m.tls = &tls.Config{InsecureSkipVerify: true}
	m.start()
	m.awaitServing()
	cert := filepath.Join(m.dir, "auto-tls", "client.crt")
	first, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"client.crt", "client.key"} {
		if info, err := os.Stat(filepath.Join(m.dir, "auto-tls", name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	e := newEtcdctl(t, "https://"+m.client)
	e.flags = []string{"--cacert", cert}
	e.prints("OK\n", "", "put", "a", "1")
	e.flags = []string{"--insecure-transport=false", "--insecure-skip-tls-verify"}
	e.prints("a\n1\n", "", "get", "a")
	m.stop()
	m.start()
	if again, err := os.ReadFile(cert); err != nil || string(again) != string(first) {
		t.Errorf("another certificate after a restart, %v", err)
	}
}
