package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrStranger says that the other side of a connection proved to be no member of
// this cluster, though what it asked for is for members only.
var ErrStranger = errors.New("the other side is no member of this cluster")

// ErrNewcomer says that a newcomer reached what is one itself, and has no certificate
// of the cluster yet. It may have one soon.
var ErrNewcomer = errors.New("what answers there is joining itself and is not ready yet; ask another")

// base is what all of a peer's connections have in common.
func base() *tls.Config { return Limits{}.base() }

// Limits bound the TLS that members speak to each other where their operator says how. The
// zero value is TLS 1.3 alone.
type Limits struct {
	// MinVersion and MaxVersion are as in package crypto/tls, and CipherSuites those that
	// are taken below version 1.3; zero is version 1.3, none, and crypto/tls's choice.
	MinVersion, MaxVersion uint16
	CipherSuites           []uint16
}

func (l Limits) base() *tls.Config {
	c := &tls.Config{
		MinVersion: l.MinVersion, MaxVersion: l.MaxVersion, CipherSuites: l.CipherSuites, NextProtos: []string{"h2", "chainfire"},
	}
	if l.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS13
	}
	return c
}

// ServerTLS is for the peer port. A client may come without a certificate, as
// newcomers do; one that shows a certificate must be a member of this cluster. What
// a client without one may ask for is decided where it asks: see PeerID.
func (c *Credentials) ServerTLS() *tls.Config {
	cfg := base()
	cfg.ClientAuth = tls.RequestClientCert
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		c.mu.RLock()
		defer c.mu.RUnlock()
		return c.own, nil
	}
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return nil
		}
		_, err := c.PeerID(s)
		return err
	}
	return cfg
}

// PeerID is the member at the other side of a connection that was accepted, or
// ErrStranger.
func (c *Credentials) PeerID(s tls.ConnectionState) (uint64, error) {
	c.mu.RLock()
	authority, cluster := c.authority, c.cluster
	c.mu.RUnlock()
	if authority == nil || len(s.PeerCertificates) == 0 {
		return 0, ErrStranger
	}
	id, err := verifyMember(s.PeerCertificates[0], authority, cluster, x509.ExtKeyUsageClientAuth, time.Now())
	if err != nil && !ofCluster(s.PeerCertificates[0]) {
		return 0, fmt.Errorf("%w: %w", ErrStranger, c.wrongCA(s.PeerCertificates[0]))
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrStranger, err)
	}
	return id, nil
}

// wrongCA is the refusal of a certificate that no cluster made by itself.
func (c *Credentials) wrongCA(cert *x509.Certificate) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	mine := "none yet"
	if c.leaf != nil {
		mine = "one " + presented(c.leaf)
	}
	return fmt.Errorf("%w: %w: wrong CA: the other side presents one %s, which no ChainFire cluster made by itself; this member presents %s; all members of a cluster have certificates of one kind: --peer-cert-file, --peer-key-file and --peer-trusted-ca-file at each, or at none",
		ErrRefused, ErrNotPeer, presented(cert), mine)
}

// ClientTLS is for connections to members: the other side must be one of this
// cluster, or, before this member has joined, of the cluster that its token names.
func (c *Credentials) ClientTLS() *tls.Config {
	cfg := base()
	cfg.ServerName = memberName
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		c.mu.RLock()
		defer c.mu.RUnlock()
		if c.leaf == nil {
			return &tls.Certificate{}, nil // nobody yet
		}
		return c.own, nil
	}
	// The name and the chain are checked by verifyServer, which also knows an
	// authority by its hash alone; the check of crypto/tls needs its certificate.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		_, err := c.ServerID(s)
		return err
	}
	return cfg
}

// ServerID is the member that was reached by a connection of ClientTLS.
func (c *Credentials) ServerID(s tls.ConnectionState) (uint64, error) {
	c.mu.RLock()
	authority, cluster, token := c.authority, c.cluster, c.token
	c.mu.RUnlock()
	if len(s.PeerCertificates) == 0 {
		return 0, ErrNotPeer
	}
	leaf := s.PeerCertificates[0]
	switch {
	case authority != nil:
		id, err := verifyMember(leaf, authority, cluster, x509.ExtKeyUsageServerAuth, time.Now())
		if err != nil && !ofCluster(leaf) {
			return 0, c.wrongCA(leaf)
		}
		if err != nil {
			return 0, fmt.Errorf("%w (what answers there is of cluster %s, this is cluster %016x)", err, clusterOf(leaf.URIs), cluster)
		}
		return id, nil
	case token == nil:
		return 0, errors.New("no cluster is known to compare with: give the join token (--token)")
	}
	for _, cert := range s.PeerCertificates[1:] {
		if h := hash(cert); cert.IsCA && sameHash(h[:], token.Authority[:]) {
			return verifyAnyMember(leaf, cert)
		}
	}
	if slices.Contains(leaf.DNSNames, newcomerName) {
		return 0, ErrNewcomer
	}
	if !ofCluster(leaf) {
		return 0, c.wrongCA(leaf)
	}
	return 0, errors.New("the join token is for another cluster: its hash is not that of the authority of what answers there")
}

// verifyAnyMember is for a newcomer, which does not know the cluster's id yet.
func verifyAnyMember(leaf, authority *x509.Certificate) (uint64, error) {
	var cluster uint64
	if _, err := fmt.Sscanf(clusterOf(leaf.URIs), "%x", &cluster); err != nil {
		return 0, fmt.Errorf("%w: it names no cluster", ErrNotPeer)
	}
	return verifyMember(leaf, authority, cluster, x509.ExtKeyUsageServerAuth, time.Now())
}

// CallBackTLS is for the leader's call back to a newcomer: the other side must show
// exactly the certificate, in DER, that came with the newcomer's request.
func CallBackTLS(newcomer []byte) (*tls.Config, error) {
	cert, err := x509.ParseCertificate(newcomer)
	if err != nil {
		return nil, fmt.Errorf("read the newcomer's certificate: %w", err)
	}
	cfg := base()
	cfg.ServerName = newcomerName
	cfg.RootCAs = x509.NewCertPool()
	cfg.RootCAs.AddCert(cert)
	return cfg, nil
}
