package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"chainfire/internal/disk"
)

// Files are the certificates of an operator, in PEM, by which members know each
// other in place of the authority that a cluster makes. The zero value is none.
type Files struct {
	// Cert is the member's certificate, with those between it and the authority
	// after it; Key is its key; Authorities are the certificates of those who sign
	// members.
	Cert, Key, Authorities string
}

// Given reports whether there is any.
func (f Files) Given() bool { return f != Files{} }

// ErrRefused says that the certificate at the other side of a connection is not
// that of a peer here.
var ErrRefused = errors.New("peer certificate refused")

// OwnOptions configure an Own. FS, Files and Now are required.
type OwnOptions struct {
	FS    disk.FS
	Files Files
	// Only narrows down whose certificates are taken.
	Only Only
	// Limits bound what is spoken.
	Limits Limits
	// Client are certificate and key that are shown where this member connects. Without
	// them those of Files are, which must be good for both sides then.
	Client Files
	// Sources takes a certificate that names hosts only from the addresses of these.
	Sources bool
	// Now is the clock by which certificates end.
	Now func() time.Time
	// Log hears what becomes of changed files; nil discards.
	Log *slog.Logger
}

// Own are an operator's credentials: what a member proves itself with, and whom it
// believes. A member is whoever has a certificate that chains to one of the
// authorities and is for TLS clients, or, where it was dialed, for TLS servers and
// for the host that was dialed. The files are read again when they change:
// connections that are there stay, new ones use what is new. Safe for concurrent use.
type Own struct {
	o     OwnOptions
	files kept[*material]
	// hosts are what the certificate must be for; the lock of files guards them.
	hosts []string
}

// material is what the files hold.
type material struct {
	// cert is shown to who connects, client where this member does.
	cert    *tls.Certificate
	client  *tls.Certificate
	roots   *x509.CertPool
	revoked *revoked
}

// LoadOwn reads an operator's credentials and checks that other members could
// believe them. Its errors name the file and what to do.
func LoadOwn(o OwnOptions) (*Own, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Own{o: o}
	key := keptFile{"--peer-key-file", o.Files.Key, maxFile}
	c.files = kept[*material]{
		fs: o.FS, log: o.Log, what: "peer certificate", parse: c.parse,
		files: []keptFile{{"--peer-cert-file", o.Files.Cert, maxFile}, key, {"--peer-trusted-ca-file", o.Files.Authorities, maxAuthorities}},
		taken: func(m *material) {
			o.Log.Info("peer certificate files read again", "cert", presented(m.cert.Leaf), "ends", m.cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
			m.revoked.warn(o.Log, o.Now())
			c.files.warnOfMode(key)
		},
	}
	if o.Only.CRL != "" {
		c.files.files = append(c.files.files, keptFile{"--peer-crl-file", o.Only.CRL, maxCRL})
	}
	clientKey := keptFile{"--peer-client-key-file", o.Client.Key, maxFile}
	if o.Client.Given() {
		c.files.files = append(c.files.files, keptFile{"--peer-client-cert-file", o.Client.Cert, maxFile}, clientKey)
	}
	if err := c.files.load(); err != nil {
		return nil, err
	}
	c.files.use.revoked.warn(o.Log, o.Now())
	c.files.warnOfMode(key)
	if o.Client.Given() {
		c.files.warnOfMode(clientKey)
	}
	return c, nil
}

// Expect demands that the certificate is for the hosts under which this member is
// dialed, now and whenever the files change.
func (c *Own) Expect(hosts ...string) error {
	c.files.mu.Lock()
	defer c.files.mu.Unlock()
	for _, host := range hosts {
		if err := coversHost(c.files.use.cert.Leaf, host); err != nil {
			return fmt.Errorf("the peer certificate %s %w; the other members dial this one there (--advertise-peer): use a certificate that names it", c.o.Files.Cert, err)
		}
	}
	c.hosts = hosts
	return nil
}

// Ends is when the certificate in force ends, or the first of two.
func (c *Own) Ends() time.Time {
	m := c.current()
	if end := m.client.Leaf.NotAfter; end.Before(m.cert.Leaf.NotAfter) {
		return end
	}
	return m.cert.Leaf.NotAfter
}

// Refresh reads the files and takes over what is good of a change. What is not is
// told once in the log, and what was in force stays so. It is to be called now and
// then: a change that a look at the files' entries does not show is found by it.
func (c *Own) Refresh() { c.files.refresh() }

func (c *Own) current() *material { return c.files.current() }

func (c *Own) parse(raw []string) (*material, error) {
	f := c.o.Files
	var m material
	var err error
	if m.roots, err = authorities(raw[2]); err != nil {
		return nil, fmt.Errorf("--peer-trusted-ca-file %s: %w", f.Authorities, err)
	}
	if m.cert, err = keyPair("--peer-cert-file", f.Cert, raw[0], "--peer-key-file", f.Key, raw[1]); err != nil {
		return nil, err
	}
	rest := raw[3:]
	if c.o.Only.CRL != "" {
		if m.revoked, err = revocations(rest[0]); err != nil {
			return nil, fmt.Errorf("--peer-crl-file %s: %w", c.o.Only.CRL, err)
		}
		rest = rest[1:]
	}
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if c.o.Client.Given() {
		if m.client, err = keyPair("--peer-client-cert-file", c.o.Client.Cert, rest[0], "--peer-client-key-file", c.o.Client.Key, rest[1]); err == nil {
			err = c.believable(m.client, m.roots, "--peer-client-cert-file", c.o.Client.Cert, x509.ExtKeyUsageClientAuth)
		}
	} else {
		m.client, usages = m.cert, append(usages, x509.ExtKeyUsageClientAuth)
	}
	if err == nil {
		err = c.believable(m.cert, m.roots, "--peer-cert-file", f.Cert, usages...)
	}
	if err != nil {
		return nil, err
	}
	for _, host := range c.hosts {
		if err := coversHost(m.cert.Leaf, host); err != nil {
			return nil, fmt.Errorf("the peer certificate %s %w", f.Cert, err)
		}
	}
	return &m, nil
}

// believable looks at a certificate as the other members do.
func (c *Own) believable(cert *tls.Certificate, roots *x509.CertPool, flag, file string, usages ...x509.ExtKeyUsage) error {
	leaf, now := cert.Leaf, c.o.Now()
	if err := inTime(leaf, now); err != nil {
		return fmt.Errorf("%s %s: the certificate %w", flag, file, err)
	}
	rest, err := between(cert.Certificate[1:])
	if err != nil {
		return fmt.Errorf("%s %s: %w", flag, file, err)
	}
	for _, usage := range usages {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: rest, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
		var invalid x509.CertificateInvalidError
		switch {
		case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage && len(usages) > 1:
			return fmt.Errorf("%s %s: the certificate is not for TLS servers and TLS clients, and a member is both: make one with the extended key usages serverAuth and clientAuth", flag, file)
		case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage && usage == x509.ExtKeyUsageServerAuth:
			return fmt.Errorf("%s %s: the certificate is not for TLS servers: make one with the extended key usage serverAuth", flag, file)
		case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
			return fmt.Errorf("%s %s: the certificate is not for TLS clients: make one with the extended key usage clientAuth", flag, file)
		case err != nil:
			return fmt.Errorf("%s %s (%s) is not signed by an authority in --peer-trusted-ca-file %s: %w", flag, file, presented(leaf), c.o.Files.Authorities, err)
		}
	}
	return nil
}

// keyPair reads a certificate and its key; its errors tell the two apart.
func keyPair(certFlag, certFile, cert, keyFlag, keyFile, key string) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	switch {
	case err != nil && strings.Contains(strings.ToLower(err.Error()), "private key"), err != nil && strings.Contains(err.Error(), "key input"):
		return nil, fmt.Errorf("%s %s is not the key of the certificate in %s %s, or no key in PEM form (%w)", keyFlag, keyFile, certFlag, certFile, err)
	case err != nil:
		return nil, fmt.Errorf("%s %s, %s %s: %w", certFlag, certFile, keyFlag, keyFile, err)
	}
	return &pair, nil
}

// authorities reads all certificates of a text, of which each must be good.
func authorities(text string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	n := 0
	for rest := []byte(text); ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != blockCert {
			return nil, fmt.Errorf("it holds a %s; only certificates of authorities belong there", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read certificate %d: %w", n+1, err)
		}
		pool.AddCert(cert)
	}
	if n == 0 {
		return nil, errors.New("no certificate in PEM form")
	}
	return pool, nil
}

func between(ders [][]byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for i, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read certificate %d: %w", i+2, err)
		}
		pool.AddCert(cert)
	}
	return pool, nil
}

func inTime(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.After(cert.NotAfter):
		return fmt.Errorf("ended at %s, and it is %s here: make a new one, or set the clock of this machine", cert.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("begins at %s, and it is %s here: wait, or set the clock of this machine", cert.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

func coversHost(cert *x509.Certificate, host string) error {
	if cert.VerifyHostname(host) == nil {
		return nil
	}
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		names = []string{"no host at all"}
	}
	return fmt.Errorf("is not for %s: it is for %s", host, strings.Join(names, ", "))
}

// presented names a certificate: whose it is, and who signed it.
func presented(cert *x509.Certificate) string {
	name := func(s string) string {
		if s == "" {
			return "nobody"
		}
		return strings.ReplaceAll(s, `"`, "'")
	}
	return "of " + name(cert.Subject.String()) + ", issued by " + name(cert.Issuer.String())
}

// ServerTLS is for the peer port: a client must show the certificate of a peer.
func (c *Own) ServerTLS() *tls.Config {
	cfg := c.o.Limits.base()
	cfg.ClientAuth = tls.RequestClientCert
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		c.files.glance()
		return c.current().cert, nil
	}
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		return c.verify(s, x509.ExtKeyUsageClientAuth, "")
	}
	if c.o.Sources {
		return fromSource(cfg, net.DefaultResolver)
	}
	return cfg
}

// ClientTLS is for a connection to HOST:PORT: what answers must show the certificate
// of a peer that is for that host.
func (c *Own) ClientTLS(addr string) *tls.Config {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	cfg := c.o.Limits.base()
	cfg.ServerName = host
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		c.files.glance()
		return c.current().client, nil
	}
	// All is checked by verify, which takes the authorities of this moment.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		c.files.glance()
		return c.verify(s, x509.ExtKeyUsageServerAuth, host)
	}
	return cfg
}

// verify is the check of the other side; host is empty where it was not dialed.
func (c *Own) verify(s tls.ConnectionState, usage x509.ExtKeyUsage, host string) error {
	const all = "all members of a cluster have certificates of one kind: --peer-cert-file, --peer-key-file and --peer-trusted-ca-file at each, or at none"
	if len(s.PeerCertificates) == 0 {
		return fmt.Errorf("%w: the other side shows none; %s", ErrRefused, all)
	}
	leaf := s.PeerCertificates[0]
	if err := inTime(leaf, c.o.Now()); err != nil {
		return fmt.Errorf("%w: that %s %w", ErrRefused, presented(leaf), err)
	}
	rest := x509.NewCertPool()
	for _, cert := range s.PeerCertificates[1:] {
		rest.AddCert(cert)
	}
	m := c.current()
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: m.roots, Intermediates: rest, CurrentTime: c.o.Now(), KeyUsages: []x509.ExtKeyUsage{usage},
	})
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknown) && ofCluster(leaf):
		return fmt.Errorf("%w: wrong CA: the other side presents one %s, which a ChainFire cluster made by itself; this member presents one %s; %s",
			ErrRefused, presented(leaf), presented(m.cert.Leaf), all)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: wrong CA: the other side presents one %s, which no authority in %s signed", ErrRefused, presented(leaf), c.o.Files.Authorities)
	case err != nil:
		return fmt.Errorf("%w: that %s: %w", ErrRefused, presented(leaf), err)
	}
	if err := c.o.Only.admits(s, m.revoked); err != nil {
		return fmt.Errorf("%w: that %s %w", ErrRefused, presented(leaf), err)
	}
	if host == "" {
		return nil
	}
	if err := coversHost(leaf, host); err != nil {
		return fmt.Errorf("%w: wrong host: that %s %w", ErrRefused, presented(leaf), err)
	}
	return nil
}

// ofCluster reports whether a certificate is one of those that clusters make by
// themselves, or a newcomer to such a cluster.
func ofCluster(cert *x509.Certificate) bool {
	return clusterOf(cert.URIs) != "none" || slices.Contains(cert.DNSNames, newcomerName)
}
