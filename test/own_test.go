package test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	"chainfire/api"
)

// authority is an operator's certificate authority.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	a.cert = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil, &a.key.PublicKey)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign makes a certificate; without a parent it signs itself.
func (a *authority) sign(c, parent *x509.Certificate, public *ecdsa.PublicKey) *x509.Certificate {
	a.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = serial, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, a.key)
	if err == nil {
		c, err = x509.ParseCertificate(der)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a *authority) write(path, kind string, ders ...[]byte) {
	a.t.Helper()
	var b []byte
	for _, der := range ders {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	// Whole at once, as who changes certificates does it.
	err := os.WriteFile(path+".new", b, 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// issue writes a certificate for loopback with its key.
func (a *authority) issue(dir, name string) { a.issueAs(dir, "peer", name) }

// issueAs is issue, with the name that the two files begin with.
func (a *authority) issueAs(dir, file, name string) *x509.Certificate {
	a.t.Helper()
	key := newKey(a.t)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a.cert, &key.PublicKey)
	a.write(filepath.Join(dir, file+".key"), "PRIVATE KEY", der)
	a.write(filepath.Join(dir, file+".crt"), "CERTIFICATE", cert.Raw)
	return cert
}

// equip gives a member a certificate of this authority; the authorities that it
// trusts are this one and the others.
func (a *authority) equip(m *member, others ...*authority) *member {
	a.t.Helper()
	dir := filepath.Dir(m.dir)
	a.issue(dir, m.name)
	a.trust(dir, others...)
	m.args = append(m.args, ownFlags(dir)...)
	return m
}

func (a *authority) trust(dir string, others ...*authority) {
	a.t.Helper()
	ders := [][]byte{a.cert.Raw}
	for _, o := range others {
		ders = append(ders, o.cert.Raw)
	}
	a.write(filepath.Join(dir, "ca.crt"), "CERTIFICATE", ders...)
}

func ownFlags(dir string) []string {
	return []string{
		"--peer-cert-file", filepath.Join(dir, "peer.crt"), "--peer-key-file", filepath.Join(dir, "peer.key"),
		"--peer-trusted-ca-file", filepath.Join(dir, "ca.crt"),
	}
}

// ownCluster grows a cluster of members with certificates of an authority.
func ownCluster(t *testing.T, a *authority) *cluster {
	t.Helper()
	c := &cluster{t: t}
	for i := range 3 {
		m := a.equip(here.newMember(t, string(rune('a'+i)), calm()...))
		if i > 0 {
			m.launchWith("", c.members[0].peer)
		} else {
			m.start()
			m.awaitServing()
		}
		c.members = append(c.members, m)
	}
	c.awaitVoters(3, 3)
	return c
}

// shown is the certificate that a member shows to who has one of the authority.
func (a *authority) shown(ctx context.Context, m *member) (string, error) {
	dir := filepath.Dir(m.dir)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "peer.crt"), filepath.Join(dir, "peer.key"))
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	d := tls.Dialer{Config: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}}
	conn, err := d.DialContext(ctx, "tcp", m.peer)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

// TestOwnCertificatesAreChangedUnderLoadWithoutARestart grows a cluster whose
// members are known by certificates of an operator, and changes all of them, and the
// authority, while clients write: no connection is lost, and no write.
func TestOwnCertificatesAreChangedUnderLoadWithoutARestart(t *testing.T) {
	t.Parallel()
	before, after := newAuthority(t, "before"), newAuthority(t, "after")
	c := ownCluster(t, before)
	if _, err := c.members[0].chainfire("token", "create"); err == nil || !strings.Contains(err.Error(), "certificates of their operator") {
		t.Errorf("a token where certificates decide: %v", err)
	}
	l := startLoad(t, loadOptions{endpoints: c.endpoints(), clients: 4, pace: 10 * time.Millisecond})
	l.awaitWrites(50)
	from := map[*member]int{}
	for _, m := range c.members {
		from[m] = len(m.proc.log())
	}
	dir := func(m *member) string { return filepath.Dir(m.dir) }
	for _, step := range []func(*member){
		func(m *member) { before.trust(dir(m), after) },
		func(m *member) { after.issue(dir(m), m.name+" again") },
		func(m *member) { after.trust(dir(m)) },
	} {
		for _, m := range c.members {
			step(m)
		}
		l.awaitWrites(50)
		for _, m := range c.members {
			m.await("the end of the step", soon, func(ctx context.Context) error {
				if n := strings.Count(m.proc.log()[from[m]:], "peer certificate files read again"); n == 0 {
					return errors.New("nothing was read")
				}
				return nil
			})
		}
	}
	for _, m := range c.members {
		m.await("the new certificate", soon, func(ctx context.Context) error {
			name, err := after.shown(ctx, m)
			if err == nil && name != m.name+" again" {
				err = fmt.Errorf("%s is shown", name)
			}
			return err
		})
		if log := m.proc.log()[from[m]:]; strings.Contains(log, "connection of a peer ended") || strings.Contains(log, "not taken over") {
			t.Errorf("%s lost a connection, or a file, over the change:\n%s", m.name, log)
		}
	}
	l.awaitWrites(50)
	l.mustHaveNoErrors()
	d := after.equip(here.newMember(t, "d", calm()...))
	d.launchWith("", c.members[0].peer)
	d.awaitReady()
	c.members = append(c.members, d)
	c.awaitVoters(4, 3)
	d.stop()
	d.start()
	c.awaitVoters(4, 3)
	l.verify(c.members[:3])
}

// TestOwnCertificateIsTheFence is on the peer port of a member with certificates of
// an operator: who has none gets nothing, who has one is a peer.
func TestOwnCertificateIsTheFence(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ours")
	a := ca.equip(here.newMember(t, "a"))
	a.start()
	a.awaitServing()
	open := func(name string, code codes.Code, certs ...tls.Certificate) {
		t.Helper()
		p := api.NewPeerClient(dialWith(t, a.peer, credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, Certificates: certs})))
		mustAnswer(t, name, code, "", func(ctx context.Context) error {
			_, err := p.Learn(ctx, &api.LearnRequest{})
			return err
		})
	}
	open("nothing", codes.Unavailable)
	other := newAuthority(t, "theirs")
	dir := t.TempDir()
	load := func(from *authority) tls.Certificate {
		t.Helper()
		from.issue(dir, "x")
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "peer.crt"), filepath.Join(dir, "peer.key"))
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	open("one of another authority", codes.Unavailable, load(other))
	// It gets so far as to be told that it is of another cluster.
	open("one of the authority", codes.FailedPrecondition, load(ca))
	for _, word := range []string{"refused in its handshake", "peer certificate refused"} {
		if !strings.Contains(a.proc.log(), word) {
			t.Errorf("the log does not say %q", word)
		}
	}
}

// TestMixedCertificatesAreToldAtBothEnds lets newcomers with one kind of certificate
// ask members with another.
func TestMixedCertificatesAreToldAtBothEnds(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	own := ours.equip(here.newMember(t, "own"))
	own.start()
	own.awaitServing()
	made := oneMember(t).members[0]
	_, token := made.newToken()

	b := ours.equip(here.newMember(t, "b"))
	b.launchWith("", made.peer)
	b.mustFail(patience, "wrong CA", "of CN=ChainFire member 1, issued by CN=ChainFire cluster", "of CN=b, issued by CN=ours", "--peer-cert-file")
	made.awaitLog("refused in its handshake", "the other side refuses the certificate of this member", "--peer-cert-file")

	d := here.newMember(t, "d")
	d.launchWith(token, own.peer)
	d.mustFail(patience, "wrong CA", "of CN=own, issued by CN=ours", "--peer-cert-file")
	own.awaitLog("refused in its handshake", "the other side refuses the certificate of this member")

	e := here.newMember(t, "e", "--join", own.peer)
	e.launch()
	e.mustFail(patience, "takes a join token", "--peer-cert-file, --peer-key-file and --peer-trusted-ca-file")

	f := theirs.equip(here.newMember(t, "f"))
	f.launchWith("", own.peer)
	f.mustFail(patience, "wrong CA", "of CN=own, issued by CN=ours", filepath.Join(filepath.Dir(f.dir), "ca.crt"))

	// It trusts the member, and the member does not trust it.
	g := theirs.equip(here.newMember(t, "g"), ours)
	g.launchWith("", own.peer)
	g.mustFail(patience, "the other side refused the certificate of this member", "its log says why")
	own.awaitLog("wrong CA: the other side presents one of CN=g, issued by CN=theirs")

	h := ours.equip(here.newMember(t, "h", "--advertise-peer", "10.1.2.3:2380"))
	h.launchWith("", own.peer)
	h.mustFail(patience, "is not for 10.1.2.3: it is for 127.0.0.1", "--advertise-peer")
	for _, m := range []*member{own, made} {
		(&cluster{t: t, members: []*member{m}}).awaitVoters(1, 1)
	}
}

// awaitLog waits until the log of this run has all the words.
func (m *member) awaitLog(words ...string) {
	m.t.Helper()
	m.await(fmt.Sprintf("%q in the log", words), soon, func(context.Context) error {
		for _, w := range words {
			if !strings.Contains(m.proc.log(), w) {
				return fmt.Errorf("it does not say %q", w)
			}
		}
		return nil
	})
}

// TestClusterIsTakenToOwnCertificatesWithAllMembersStopped tries the change one by
// one first: the member that has changed and the others refuse each other.
func TestClusterIsTakenToOwnCertificatesWithAllMembersStopped(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ours")
	c := here.newCluster(t, calm()...)
	leader := c.awaitLeader()
	put(t, leader, "before", "the change")
	f := c.followers()[0]
	f.stop()
	made := f.args
	ca.equip(f).launch()
	f.awaitReady()
	f.awaitLog("wrong CA")
	leader.awaitLog("wrong CA")
	put(t, leader, "two", "of three go on")
	f.stop()
	f.args = made
	f.start()
	c.awaitVoters(3, 3)

	for _, m := range c.members {
		m.stop()
		ca.equip(m)
	}
	for _, m := range c.members {
		m.launch()
	}
	c.awaitVoters(3, 3)
	put(t, c.awaitLeader(), "after", "the change")
	c.mustHoldTheSame("")

	// There is no way back for a member that never had one of the cluster's.
	d := ca.equip(here.newMember(t, "d", calm()...))
	d.launchWith("", c.members[0].peer)
	d.awaitReady()
	d.stop()
	d.args = calm()
	d.launch()
	d.mustFail(patience, "has no certificate of this member", "certificates of its operator", "--peer-cert-file")
}

// TestWhoMayBeAMemberIsNarrowedDown has newcomers whose certificates are of the right
// authority, and are not taken all the same.
func TestWhoMayBeAMemberIsNarrowedDown(t *testing.T) {
	t.Parallel()
	p := &clientPort{t: t, ca: newAuthority(t, "ours"), dir: t.TempDir()}
	p.revoke()
	a := p.ca.equip(here.newMember(t, "a", "--peer-crl-file", p.file("crl"), "--peer-cert-allowed-cn", "a,b,c"))
	a.start()
	a.awaitServing()
	b := p.ca.equip(here.newMember(t, "b"))
	gone, err := tls.LoadX509KeyPair(filepath.Join(filepath.Dir(b.dir), "peer.crt"), filepath.Join(filepath.Dir(b.dir), "peer.key"))
	if err != nil {
		t.Fatal(err)
	}
	p.revoke(gone.Leaf)
	b.launchWith("", a.peer)
	b.mustFail(patience, "the other side refused the certificate of this member", "its log says why")
	a.awaitLog("of CN=b, issued by CN=ours is not taken", "was revoked")

	d := p.ca.equip(here.newMember(t, "d"))
	d.launchWith("", a.peer)
	d.mustFail(patience, "the other side refused the certificate of this member")
	a.awaitLog("of CN=d, issued by CN=ours is not taken: only those of a, b, c are")

	c := p.ca.equip(here.newMember(t, "c"))
	c.launchWith("", a.peer)
	c.awaitReady()
	(&cluster{t: t, members: []*member{a, c}}).awaitVoters(2, 1)
}
