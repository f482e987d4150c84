// Package pki is the cluster's own certificate authority: who signs, what a member
// carries, how a newcomer knows the cluster by its join token, and the TLS
// configurations of peers.
//
// A member is named in its certificate by a URI that holds the cluster and its id,
// so that a certificate of another cluster, or of another member, proves nothing.
// Clients of the key-value store never get a certificate here.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Lifetimes. A member renews its certificate when a third of its life is left.
const (
	authorityLife = 20 * 365 * 24 * time.Hour
	memberLife    = 90 * 24 * time.Hour
	// ClockTolerance is how far the clocks of members may differ: certificates begin
	// so much before they are made.
	ClockTolerance = 10 * time.Minute
)

// ErrNotPeer says that a certificate is not that of a member of this cluster.
var ErrNotPeer = errors.New("not a certificate of a member of this cluster")

// Authority signs the certificates of a cluster's members. Every member that may
// lead holds it. It is safe for concurrent use.
type Authority struct {
	cluster uint64
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
}

// Member is who a certificate is for.
type Member struct {
	Cluster, ID uint64
	// Hosts are the names and addresses under which the member is reached. They
	// are for tools that look at certificates; peers go by cluster and id.
	Hosts []string
}

// uri names a member in its certificate.
func (m Member) uri() *url.URL {
	return &url.URL{Scheme: "chainfire", Host: fmt.Sprintf("%016x", m.Cluster), Path: fmt.Sprintf("/member/%d", m.ID)}
}

// NewAuthority makes the authority of a new cluster.
func NewAuthority(cluster uint64, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of the cluster's authority: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: fmt.Sprintf("ChainFire cluster %016x", cluster)},
		NotBefore: now.Add(-ClockTolerance), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of the cluster's authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the certificate of the cluster's authority: %w", err)
	}
	return &Authority{cluster: cluster, cert: cert, key: key}, nil
}

func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	return n, nil
}

// PEM block types of what is stored.
const (
	blockCert = "CERTIFICATE"
	blockKey  = "EC PRIVATE KEY"
)

// CertPEM is the authority's certificate, which everybody may see.
func (a *Authority) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockCert, Bytes: a.cert.Raw})
}

// KeyPEM is the authority's key. Whoever has it can make members; it goes to
// members only, over their own TLS, and into files of mode 0600.
func (a *Authority) KeyPEM() ([]byte, error) { return encodeKey(a.key) }

// ParseAuthority reads what CertPEM and KeyPEM made.
func ParseAuthority(cluster uint64, certPEM, keyPEM []byte) (*Authority, error) {
	cert, err := parseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate of the cluster's authority: %w", err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("key of the cluster's authority: %w", err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("key and certificate of the cluster's authority do not belong together")
	}
	return &Authority{cluster: cluster, cert: cert, key: key}, nil
}

// Sign makes a member's certificate for the key in a request of NewRequest. The
// request proves that its sender has the key; everything else is decided here.
func (a *Authority) Sign(request []byte, m Member, now time.Time) (certPEM []byte, err error) {
	if m.Cluster != a.cluster {
		return nil, fmt.Errorf("the authority of cluster %x signs nothing for cluster %x", a.cluster, m.Cluster)
	}
	public, err := requestKey(request)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: fmt.Sprintf("ChainFire member %d", m.ID)},
		NotBefore: now.Add(-ClockTolerance), NotAfter: now.Add(memberLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{m.uri()},
		DNSNames:    []string{memberName},
	}
	for _, h := range m.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of member %d: %w", m.ID, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockCert, Bytes: der}), nil
}

// requestKey is the key that a request proves its sender to have.
func requestKey(request []byte) (crypto.PublicKey, error) {
	r, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, fmt.Errorf("read certificate request: %w", err)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if k, ok := r.PublicKey.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		return nil, errors.New("certificate request: the key must be ECDSA on P-256")
	}
	return r.PublicKey, nil
}

// identify returns the member that a certificate, which was verified, is for.
func identify(cert *x509.Certificate, cluster uint64) (id uint64, err error) {
	for _, u := range cert.URIs {
		if u.Scheme != "chainfire" {
			continue
		}
		of, err := strconv.ParseUint(u.Host, 16, 64)
		if err != nil || of != cluster {
			return 0, fmt.Errorf("%w: it is for %s, this is cluster %016x", ErrNotPeer, u, cluster)
		}
		name, ok := strings.CutPrefix(u.Path, "/member/")
		id, err := strconv.ParseUint(name, 10, 64)
		if !ok || err != nil || id == 0 {
			return 0, fmt.Errorf("%w: it is for %s", ErrNotPeer, u)
		}
		return id, nil
	}
	return 0, fmt.Errorf("%w: it names no member", ErrNotPeer)
}

// hash identifies an authority by its key.
func hash(cert *x509.Certificate) [sha256.Size]byte {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

func sameHash(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockKey, Bytes: der}), nil
}

func parseKey(b []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != blockKey {
		return nil, errors.New("no key in PEM form")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return key, nil
}

func parseCert(b []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != blockCert {
		return nil, errors.New("no certificate in PEM form")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	return cert, nil
}

// Derive makes a key of n bytes, at most 8160, of the authority's key: always the same for a
// purpose, and nothing of it shows in that for another. Every member comes to it by itself.
func (a *Authority) Derive(purpose string, n int) ([]byte, error) {
	secret, err := a.key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("derive a key for %s: %w", purpose, err)
	}
	key, err := hkdf.Key(sha256.New, secret, nil, purpose, n)
	if err != nil {
		return nil, fmt.Errorf("derive a key for %s: %w", purpose, err)
	}
	return key, nil
}
