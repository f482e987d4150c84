package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"
)

// Names that certificates carry for TLS's own check of the server's name. Who a
// member is, its URI says.
const (
	memberName   = "member.chainfire.internal"
	newcomerName = "newcomer.chainfire.internal"
)

// newcomerLife is how long the certificate lasts that a newcomer makes for itself:
// longer than any join.
const newcomerLife = 30 * 24 * time.Hour

// Credentials are what a member proves itself with, and what it asks others to
// prove. Before a member has joined it has a key and a certificate made by itself,
// and knows the cluster at most by the hash in its token. Safe for concurrent use;
// connections made after a change use what is new.
type Credentials struct {
	mu  sync.RWMutex
	key *ecdsa.PrivateKey
	// own is the certificate that the member shows.
	own *tls.Certificate
	// leaf is own, read; nil before the member has joined.
	leaf *x509.Certificate
	// cluster and authority are set once the cluster is known; token before.
	cluster   uint64
	authority *x509.Certificate
	token     *Token
}

// NewCredentials makes the credentials of a newcomer, with its own certificate.
func NewCredentials(now time.Time) (*Credentials, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the member's key: %w", err)
	}
	c := &Credentials{key: key}
	if err := c.signSelf(now); err != nil {
		return nil, err
	}
	return c, nil
}

// signSelf makes the certificate that a newcomer shows until it has a real one.
func (c *Credentials) signSelf(now time.Time) error {
	serial, err := newSerial()
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "ChainFire newcomer"},
		NotBefore: now.Add(-ClockTolerance), NotAfter: now.Add(newcomerLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{newcomerName},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, c.key.Public(), c.key)
	if err != nil {
		return fmt.Errorf("sign the newcomer's certificate: %w", err)
	}
	c.own = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: c.key}
	return nil
}

// ExpectCluster makes the token's authority the only one that is believed until
// Adopt.
func (c *Credentials) ExpectCluster(t Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = &t
}

// NewcomerCert is the certificate that the newcomer shows at its port, in DER, so
// that the leader knows it when it calls back.
func (c *Credentials) NewcomerCert() []byte {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.own.Certificate[0]
}

// Request asks an authority for a certificate of the member's key.
func (c *Credentials) Request() ([]byte, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "ChainFire member"},
	}, c.key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return der, nil
}

// Adopt makes the member one of a cluster: the certificate that the authority
// signed for it, and the authority's own. Both are checked first: against the
// token, if there is one, and against the member's key.
func (c *Credentials) Adopt(m Member, certPEM, authorityPEM []byte, now time.Time) error {
	authority, err := parseCert(authorityPEM)
	if err != nil {
		return fmt.Errorf("certificate of the cluster's authority: %w", err)
	}
	leaf, err := parseCert(certPEM)
	if err != nil {
		return fmt.Errorf("the member's certificate: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := hash(authority); c.token != nil && !sameHash(h[:], c.token.Authority[:]) {
		return errors.New("the cluster's authority is not the one that the join token names")
	}
	if !c.key.PublicKey.Equal(leaf.PublicKey) {
		return errors.New("the member's certificate is not for its key")
	}
	id, err := verifyMember(leaf, authority, m.Cluster, x509.ExtKeyUsageServerAuth, now)
	if err != nil {
		return fmt.Errorf("the member's certificate: %w", err)
	}
	if id != m.ID {
		return fmt.Errorf("the member's certificate is for member %d, this is member %d", id, m.ID)
	}
	c.cluster, c.authority, c.leaf = m.Cluster, authority, leaf
	// The authority is sent too, for those who know it only by its hash.
	c.own = &tls.Certificate{Certificate: [][]byte{leaf.Raw, authority.Raw}, PrivateKey: c.key, Leaf: leaf}
	return nil
}

// verifyMember checks a member's certificate as far as the authority goes, and
// returns whose it is.
func verifyMember(leaf, authority *x509.Certificate, cluster uint64, usage x509.ExtKeyUsage, now time.Time) (uint64, error) {
	if err := inTime(leaf, now); err != nil && ofCluster(leaf) {
		return 0, fmt.Errorf("%w: %w: that %s %w", ErrRefused, ErrNotPeer, presented(leaf), err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}, DNSName: memberName,
	})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotPeer, err)
	}
	return identify(leaf, cluster)
}

// Renew reports whether it is time for a new certificate: when a third of its life
// is left, and from then on.
func (c *Credentials) Renew(now time.Time) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.leaf == nil {
		return false
	}
	life := c.leaf.NotAfter.Sub(c.leaf.NotBefore)
	return now.After(c.leaf.NotAfter.Add(-life / 3))
}

// Member is whose credentials they are; the zero value before it has joined.
func (c *Credentials) Member() Member {
	c.mu.RLock()
	defer c.mu.RUnlock()
	m := Member{Cluster: c.cluster}
	if c.leaf == nil {
		return m
	}
	// It was verified when it was adopted.
	m.ID, _ = identify(c.leaf, c.cluster)
	for _, ip := range c.leaf.IPAddresses {
		m.Hosts = append(m.Hosts, ip.String())
	}
	for _, name := range c.leaf.DNSNames {
		if name != memberName {
			m.Hosts = append(m.Hosts, name)
		}
	}
	return m
}

// Expiry is when the member's certificate ends; zero before it has joined.
func (c *Credentials) Expiry() time.Time {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.leaf == nil {
		return time.Time{}
	}
	return c.leaf.NotAfter
}

// clusterOf is the cluster that a member's certificate names.
func clusterOf(uris []*url.URL) string {
	for _, u := range uris {
		if u.Scheme == "chainfire" {
			return u.Host
		}
	}
	return "none"
}
