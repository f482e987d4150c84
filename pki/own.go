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
	"sync"
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

// list is the files in the order in which they are read.
func (f Files) list() [3]string { return [3]string{f.Cert, f.Key, f.Authorities} }

// ErrRefused says that the certificate at the other side of a connection is not
// that of a peer here.
var ErrRefused = errors.New("peer certificate refused")

// OwnOptions configure an Own. All but Log are required.
type OwnOptions struct {
	FS    disk.FS
	Files Files
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
	o  OwnOptions
	mu sync.Mutex
	// host, if set, is what the certificate must be for.
	host string
	// use is in force.
	use *material
	// seen are the files when they were last read; refused is what was wrong the last
	// time, so that it is told once.
	seen    [3]stamp
	refused string
}

// material is what the files hold.
type material struct {
	raw   [3]string
	cert  *tls.Certificate
	roots *x509.CertPool
}

// stamp tells a changed file by a look at its entry.
type stamp struct {
	size int64
	mod  time.Time
}

// LoadOwn reads an operator's credentials and checks that other members could
// believe them. Its errors name the file and what to do.
func LoadOwn(o OwnOptions) (*Own, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Own{o: o, seen: stamps(o.FS, o.Files)}
	var err error
	if c.use, err = c.read(); err != nil {
		return nil, err
	}
	c.warnOfMode()
	return c, nil
}

// Expect demands that the certificate is for the host under which this member is
// dialed, now and whenever the files change.
func (c *Own) Expect(host string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := coversHost(c.use.cert.Leaf, host); err != nil {
		return fmt.Errorf("the peer certificate %s %w; the other members dial this one there (--advertise-peer): use a certificate that names it", c.o.Files.Cert, err)
	}
	c.host = host
	return nil
}

// Ends is when the certificate in force ends.
func (c *Own) Ends() time.Time { return c.current().cert.Leaf.NotAfter }

// Refresh reads the files and takes over what is good of a change. What is not is
// told once in the log, and what was in force stays so. It is to be called now and
// then: a change that a look at the files' entries does not show is found by it.
func (c *Own) Refresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh()
}

// glance is Refresh for every handshake: the files are read only where their
// entries have changed.
func (c *Own) glance() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stamps(c.o.FS, c.o.Files) != c.seen {
		c.refresh()
	}
}

func (c *Own) refresh() {
	// Before the reading: what is written meanwhile is seen the next time.
	c.seen = stamps(c.o.FS, c.o.Files)
	m, err := c.read()
	if err == nil && c.host != "" {
		if herr := coversHost(m.cert.Leaf, c.host); herr != nil {
			err = fmt.Errorf("the peer certificate %s %w", c.o.Files.Cert, herr)
		}
	}
	switch {
	case err != nil:
		text := "changed peer certificate files are not taken over; what was read before stays in force"
		if m != nil && m.raw == c.use.raw {
			text = "the peer certificate in force is not good any more, and other members refuse it"
		}
		// The same files are told of once, whatever the time is.
		about := err.Error()
		if m != nil {
			about = strings.Join(m.raw[:], "")
		}
		if c.refused != about {
			c.o.Log.Warn(text, "err", err)
		}
		c.refused = about
	case m.raw != c.use.raw:
		c.use, c.refused = m, ""
		c.o.Log.Info("peer certificate files read again", "cert", presented(m.cert.Leaf), "ends", m.cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
		c.warnOfMode()
	default:
		c.refused = ""
	}
}

func stamps(f disk.FS, files Files) (out [3]stamp) {
	for i, path := range files.list() {
		if info, err := f.Stat(path); err == nil {
			out[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return out
}

// read reads the files and checks them. What they hold comes with an error of the
// check, so that a change can be told.
func (c *Own) read() (*material, error) {
	var m material
	for i, path := range c.o.Files.list() {
		b, err := disk.ReadFile(c.o.FS, path, maxFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", [...]string{"--peer-cert-file", "--peer-key-file", "--peer-trusted-ca-file"}[i], err)
		}
		m.raw[i] = string(b)
	}
	return &m, c.parse(&m)
}

func (c *Own) parse(m *material) error {
	f := c.o.Files
	var err error
	if m.roots, err = authorities(m.raw[2]); err != nil {
		return fmt.Errorf("--peer-trusted-ca-file %s: %w", f.Authorities, err)
	}
	pair, err := tls.X509KeyPair([]byte(m.raw[0]), []byte(m.raw[1]))
	switch {
	case err != nil && strings.Contains(strings.ToLower(err.Error()), "private key"), err != nil && strings.Contains(err.Error(), "key input"):
		return fmt.Errorf("--peer-key-file %s is not the key of the certificate in --peer-cert-file %s, or no key in PEM form (%w)", f.Key, f.Cert, err)
	case err != nil:
		return fmt.Errorf("--peer-cert-file %s, --peer-key-file %s: %w", f.Cert, f.Key, err)
	}
	m.cert = &pair
	now := c.o.Now()
	if err := inTime(pair.Leaf, now); err != nil {
		return fmt.Errorf("--peer-cert-file %s: the certificate %w", f.Cert, err)
	}
	rest, err := between(pair.Certificate[1:])
	if err != nil {
		return fmt.Errorf("--peer-cert-file %s: %w", f.Cert, err)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: m.roots, Intermediates: rest, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
		var invalid x509.CertificateInvalidError
		switch {
		case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
			return fmt.Errorf("--peer-cert-file %s: the certificate is not for TLS servers and TLS clients, and a member is both: make one with the extended key usages serverAuth and clientAuth", f.Cert)
		case err != nil:
			return fmt.Errorf("--peer-cert-file %s (%s) is not signed by an authority in --peer-trusted-ca-file %s: %w", f.Cert, presented(pair.Leaf), f.Authorities, err)
		}
	}
	return nil
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

// warnOfMode tells of a key that others of this machine can read.
func (c *Own) warnOfMode() {
	info, err := c.o.FS.Stat(c.o.Files.Key)
	if err == nil && info.Mode().Perm()&0o007 != 0 {
		c.o.Log.Warn("the key in --peer-key-file can be read by others: chmod o= it", "file", c.o.Files.Key, "mode", info.Mode().Perm().String())
	}
}

func (c *Own) current() *material {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.use
}

// ServerTLS is for the peer port: a client must show the certificate of a peer.
func (c *Own) ServerTLS() *tls.Config {
	cfg := base()
	cfg.ClientAuth = tls.RequestClientCert
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		c.glance()
		return c.current().cert, nil
	}
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		return c.verify(s, x509.ExtKeyUsageClientAuth, "")
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
	cfg := base()
	cfg.ServerName = host
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		c.glance()
		return c.current().cert, nil
	}
	// All is checked by verify, which takes the authorities of this moment.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		c.glance()
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
