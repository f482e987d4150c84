package pki

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"testing"
	"time"

	"chainfire/internal/disk"
)

// member makes credentials that an authority has signed.
func member(t *testing.T, a *Authority, id uint64, now time.Time) *Credentials {
	t.Helper()
	c, err := NewCredentials(now)
	if err != nil {
		t.Fatal(err)
	}
	request, err := c.Request()
	if err != nil {
		t.Fatal(err)
	}
	m := Member{Cluster: a.cluster, ID: id, Hosts: []string{"127.0.0.1", "host.example"}}
	cert, err := a.Sign(request, m, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Adopt(m, cert, a.CertPEM(), now); err != nil {
		t.Fatal(err)
	}
	return c
}

func authority(t *testing.T, cluster uint64) *Authority {
	t.Helper()
	a, err := NewAuthority(cluster, time.Now().Add(-3*memberLife))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// side is what one side of a handshake came to.
type side struct {
	state tls.ConnectionState
	err   error
}

// meet lets a client and a server shake hands and returns what each found.
func meet(t *testing.T, client, server *tls.Config) (atClient, atServer side) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	deadline := time.Now().Add(10 * time.Second)
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := l.Accept()
		if err != nil {
			atServer.err = err
			return
		}
		defer raw.Close()
		sc := tls.Server(raw, server)
		if atServer.err = errors.Join(raw.SetDeadline(deadline), sc.Handshake()); atServer.err == nil {
			_, atServer.err = sc.Write([]byte("x"))
		}
		atServer.state = sc.ConnectionState()
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	cc := tls.Client(raw, client)
	if atClient.err = errors.Join(raw.SetDeadline(deadline), cc.Handshake()); atClient.err == nil {
		_, atClient.err = io.ReadFull(cc, make([]byte, 1))
	}
	atClient.state = cc.ConnectionState()
	raw.Close()
	<-done
	return atClient, atServer
}

func TestMembersOfAClusterKnowEachOther(t *testing.T) {
	a := authority(t, 7)
	one, two := member(t, a, 1, time.Now()), member(t, a, 2, time.Now())
	atClient, atServer := meet(t, one.ClientTLS(), two.ServerTLS())
	if atClient.err != nil || atServer.err != nil {
		t.Fatal(atClient.err, atServer.err)
	}
	if id, err := one.ServerID(atClient.state); err != nil || id != 2 {
		t.Errorf("the client met %d, %v", id, err)
	}
	if id, err := two.PeerID(atServer.state); err != nil || id != 1 {
		t.Errorf("the server met %d, %v", id, err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	a, other := authority(t, 7), authority(t, 7)
	now := time.Now()
	server := member(t, a, 2, now)
	foreign := authority(t, 8)
	ended := member(t, a, 3, now.Add(-2*memberLife))
	notYet := member(t, a, 4, now.Add(time.Hour))
	for name, client := range map[string]*Credentials{
		"same cluster id, other authority": member(t, other, 1, now),
		"other cluster":                    member(t, foreign, 1, now),
		"ended":                            ended,
		"not valid yet":                    notYet,
	} {
		// The stranger believes everybody, so that the server decides alone.
		cfg := client.ClientTLS()
		cfg.VerifyConnection = nil
		atClient, atServer := meet(t, cfg, server.ServerTLS())
		if !errors.Is(atServer.err, ErrStranger) || atClient.err == nil {
			t.Errorf("%s: the server says %v, the client %v", name, atServer.err, atClient.err)
		}
		// And the other way round: a member dials a stranger.
		if atClient, _ := meet(t, server.ClientTLS(), client.ServerTLS()); !errors.Is(atClient.err, ErrNotPeer) {
			t.Errorf("%s: a member that dials it says %v", name, atClient.err)
		}
	}
}

func TestCertificateOfAClientIsNotThatOfAMember(t *testing.T) {
	a := authority(t, 7)
	server := member(t, a, 2, time.Now())
	cfg := server.ClientTLS()
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	atClient, atServer := meet(t, cfg, server.ServerTLS())
	if atClient.err != nil || atServer.err != nil {
		t.Fatal(atClient.err, atServer.err)
	}
	if id, err := server.PeerID(atServer.state); !errors.Is(err, ErrStranger) {
		t.Errorf("a client without a certificate is member %d, %v", id, err)
	}
}

func TestNewcomerKnowsTheClusterByItsToken(t *testing.T) {
	a := authority(t, 7)
	server := member(t, a, 2, time.Now())
	token, err := NewToken(a.CertPEM())
	if err != nil {
		t.Fatal(err)
	}
	newcomer, err := NewCredentials(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if atClient, _ := meet(t, newcomer.ClientTLS(), server.ServerTLS()); atClient.err == nil || !strings.Contains(atClient.err.Error(), "--token") {
		t.Errorf("without a token: %v", atClient.err)
	}
	newcomer.ExpectCluster(token)
	atClient, atServer := meet(t, newcomer.ClientTLS(), server.ServerTLS())
	if atClient.err != nil || atServer.err != nil {
		t.Fatal(atClient.err, atServer.err)
	}
	if id, err := newcomer.ServerID(atClient.state); err != nil || id != 2 {
		t.Errorf("the newcomer met %d, %v", id, err)
	}
	another, err := NewCredentials(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if atClient, _ := meet(t, newcomer.ClientTLS(), another.ServerTLS()); !errors.Is(atClient.err, ErrNewcomer) {
		t.Errorf("another newcomer is met with %v", atClient.err)
	}
	impostor := member(t, authority(t, 7), 2, time.Now())
	if atClient, _ := meet(t, newcomer.ClientTLS(), impostor.ServerTLS()); atClient.err == nil || !strings.Contains(atClient.err.Error(), "another cluster") {
		t.Errorf("an impostor is met with %v", atClient.err)
	}
	// The impostor shows the true authority's certificate behind its own.
	impostor.own.Certificate = [][]byte{impostor.own.Certificate[0], a.cert.Raw}
	if atClient, _ := meet(t, newcomer.ClientTLS(), impostor.ServerTLS()); !errors.Is(atClient.err, ErrNotPeer) {
		t.Errorf("an impostor with a borrowed authority is met with %v", atClient.err)
	}
}

func TestCallBackFindsExactlyThatNewcomer(t *testing.T) {
	newcomer, err := NewCredentials(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	another, err := NewCredentials(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := CallBackTLS(newcomer.NewcomerCert())
	if err != nil {
		t.Fatal(err)
	}
	if atClient, atServer := meet(t, cfg, newcomer.ServerTLS()); atClient.err != nil || atServer.err != nil {
		t.Errorf("the newcomer itself: %v, %v", atClient.err, atServer.err)
	}
	if atClient, _ := meet(t, cfg, another.ServerTLS()); atClient.err == nil {
		t.Error("another newcomer is taken for this one")
	}
	if _, err := CallBackTLS([]byte("no certificate")); err == nil {
		t.Error("what is no certificate is taken for one")
	}
}

func TestAdoptRefusesWhatIsNotForThisMember(t *testing.T) {
	a, other := authority(t, 7), authority(t, 7)
	now := time.Now()
	c, err := NewCredentials(now)
	if err != nil {
		t.Fatal(err)
	}
	token, err := NewToken(a.CertPEM())
	if err != nil {
		t.Fatal(err)
	}
	c.ExpectCluster(token)
	request, err := c.Request()
	if err != nil {
		t.Fatal(err)
	}
	m := Member{Cluster: 7, ID: 3}
	sign := func(a *Authority, request []byte, m Member) []byte {
		cert, err := a.Sign(request, m, now)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	elsewhere, err := NewCredentials(now)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := elsewhere.Request()
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct{ cert, authority []byte }{
		"another authority than the token's": {sign(other, request, m), other.CertPEM()},
		"signed by another authority":        {sign(other, request, m), a.CertPEM()},
		"for another key":                    {sign(a, foreign, m), a.CertPEM()},
		"for another member":                 {sign(a, request, Member{Cluster: 7, ID: 4}), a.CertPEM()},
		"not PEM":                            {[]byte("x"), a.CertPEM()},
	} {
		if err := c.Adopt(m, x.cert, x.authority, now); err == nil {
			t.Errorf("%s: adopted", name)
		}
	}
	if err := c.Adopt(m, sign(a, request, m), a.CertPEM(), now); err != nil {
		t.Error(err)
	}
	if _, err := a.Sign(request, Member{Cluster: 8, ID: 3}, now); err == nil {
		t.Error("the authority signs for another cluster")
	}
	request[len(request)-1] ^= 1
	if _, err := a.Sign(request, m, now); err == nil {
		t.Error("the authority signs a request that does not prove its key")
	}
}

func TestCertificateIsRenewedWhenAThirdOfItsLifeIsLeft(t *testing.T) {
	now := time.Now()
	c := member(t, authority(t, 7), 1, now)
	if c.Renew(now.Add(memberLife / 2)) {
		t.Error("renewed after half its life")
	}
	if !c.Renew(now.Add(memberLife*2/3 + time.Hour)) {
		t.Error("not renewed after two thirds of its life")
	}
	if n, err := NewCredentials(now); err != nil || n.Renew(now.Add(memberLife)) {
		t.Errorf("a newcomer renews: %v", err)
	}
}

func TestSavedCredentialsAreFoundAgain(t *testing.T) {
	a := authority(t, 7)
	f := disk.NewFaultFS()
	if err := f.MkdirAll("pki", 0o700); err != nil {
		t.Fatal(err)
	}
	m := Member{Cluster: 7, ID: 5}
	if _, _, err := Load(f, "pki", m); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("load of nothing: %v", err)
	}
	c := member(t, a, 5, time.Now())
	if err := c.Save(f, "pki", nil); err != nil {
		t.Fatal(err)
	}
	if _, held, err := Load(f, "pki", m); err != nil || held != nil {
		t.Fatalf("loaded %v, %v", held, err)
	}
	if err := c.Save(f, "pki", a); err != nil {
		t.Fatal(err)
	}
	again, held, err := Load(f, "pki", m)
	if err != nil || held == nil {
		t.Fatal(held, err)
	}
	if atClient, atServer := meet(t, again.ClientTLS(), member(t, held, 6, time.Now()).ServerTLS()); atClient.err != nil || atServer.err != nil {
		t.Error(atClient.err, atServer.err)
	}
	if _, _, err := Load(f, "pki", Member{Cluster: 7, ID: 6}); err == nil {
		t.Error("the credentials of member 5 are taken for those of member 6")
	}
	if err := f.FlipBit("pki/member.key", 60, 2); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(f, "pki", m); err == nil {
		t.Error("a rotten key is loaded")
	}
}

func TestTokenSurvivesBeingPassedOnAndNothingElseDoes(t *testing.T) {
	token, err := NewToken(authority(t, 7).CertPEM())
	if err != nil {
		t.Fatal(err)
	}
	text := token.Text()
	again, err := ParseToken(" " + text + "\n")
	if err != nil || again != token {
		t.Fatalf("%v, %v", again, err)
	}
	kept := token.SecretHash()
	if !Matches(token.Secret[:], kept[:]) {
		t.Error("the secret does not match what is kept of it")
	}
	for i := range text {
		bad := []byte(text)
		bad[i] ^= 1
		got, err := ParseToken(string(bad))
		if err == nil && (got == token || Matches(got.Secret[:], kept[:]) && got.Authority == token.Authority) {
			t.Errorf("the token with byte %d changed is as good", i)
		}
		if err != nil && strings.Contains(err.Error(), text[60:]) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
	for _, bad := range []string{"", "cf1", "cf2.a.b", text + "x", text[:len(text)-1], "K10abc::server:x"} {
		if _, err := ParseToken(bad); !errors.Is(err, ErrBadToken) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	secret := text[strings.LastIndexByte(text, '.')+1:]
	for _, shown := range []string{token.String(), fmt.Sprint(token), fmt.Sprintf("%v %+v %#v %s", token, token, token, token)} {
		if strings.Contains(shown, secret) {
			t.Errorf("the secret is shown: %s", shown)
		}
	}
}

// TestWhatIsDerivedOfAnAuthorityIsItsOwn compares what members derive that have an authority
// from different places, for different purposes, and of another authority.
func TestWhatIsDerivedOfAnAuthorityIsItsOwn(t *testing.T) {
	a := authority(t, 7)
	key, err := a.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseAuthority(7, a.CertPEM(), key)
	if err != nil {
		t.Fatal(err)
	}
	derive := func(a *Authority, purpose string) string {
		t.Helper()
		key, err := a.Derive(purpose, 32)
		if err != nil || len(key) != 32 {
			t.Fatalf("%x, %v", key, err)
		}
		return string(key)
	}
	one := derive(a, "one")
	if derive(b, "one") != one {
		t.Error("the same authority derives another key")
	}
	if derive(a, "two") == one || derive(authority(t, 7), "one") == one {
		t.Error("another purpose or authority derives the same key")
	}
	if strings.Contains(string(key), one) {
		t.Error("the key is the authority's")
	}
}
