package pki

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"time"

	"chainfire/internal/disk"
)

// PortOptions configure a Port. FS, the certificate with its key, and Now are
// required.
type PortOptions struct {
	FS disk.FS
	// Files are what the port proves itself with; of the authorities, if there are
	// any, every client must have a certificate.
	Files Files
	// AskClients demands certificates without Authorities too: those of the system
	// sign them then.
	AskClients bool
	// Only narrows down whose certificates are taken.
	Only Only
	// MinVersion and MaxVersion bound the version of TLS, as in package crypto/tls, and
	// CipherSuites are those that are taken below version 1.3. Zero is crypto/tls's own.
	MinVersion, MaxVersion uint16
	CipherSuites           []uint16
	// Now is the clock by which certificates end.
	Now func() time.Time
	// Log hears what becomes of the files; nil discards.
	Log *slog.Logger
}

// Port is how clients speak TLS to a member. The files are read again when they
// change: connections that are there stay, new ones use what is new. Safe for
// concurrent use.
type Port struct {
	o     PortOptions
	files kept[*portMaterial]
	// loaded says that the files were good once; the lock of files guards it.
	loaded bool
}

// portMaterial is what the files hold.
type portMaterial struct {
	cert   *x509.Certificate
	config *tls.Config
	// open asks clients for nothing.
	open    *tls.Config
	revoked *revoked
}

// LoadPort reads the files of a port. Its errors name the file and what to do. A
// certificate that has ended is told of in the log: the member is needed by others
// though its clients refuse it.
func LoadPort(o PortOptions) (*Port, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Port{o: o}
	key := keptFile{"--key-file", o.Files.Key, maxFile}
	p.files = kept[*portMaterial]{
		fs: o.FS, log: o.Log, what: "client port certificate", parse: p.parse,
		files: []keptFile{{"--cert-file", o.Files.Cert, maxFile}, key},
		taken: func(m *portMaterial) {
			o.Log.Info("client port certificate files read again", "cert", presented(m.cert), "ends", m.cert.NotAfter.UTC().Format(time.RFC3339))
			m.revoked.warn(o.Log, o.Now())
			p.files.warnOfMode(key)
		},
	}
	if o.Files.Authorities != "" {
		p.files.files = append(p.files.files, keptFile{"--trusted-ca-file", o.Files.Authorities, maxAuthorities})
	}
	if o.Only.CRL != "" {
		p.files.files = append(p.files.files, keptFile{"--client-crl-file", o.Only.CRL, maxCRL})
	}
	if err := p.files.load(); err != nil {
		return nil, err
	}
	m := p.files.current()
	o.Log.Info("clients speak TLS", "cert", presented(m.cert), "ends", m.cert.NotAfter.UTC().Format(time.RFC3339),
		"client_certificates", m.config.ClientAuth == tls.RequireAndVerifyClientCert)
	p.warnAtStart(m)
	p.files.warnOfMode(key)
	p.files.mu.Lock()
	p.loaded = true
	p.files.mu.Unlock()
	return p, nil
}

// warnAtStart tells of what no client would like about the files.
func (p *Port) warnAtStart(m *portMaterial) {
	if err := inTime(m.cert, p.o.Now()); err != nil {
		p.o.Log.Warn("clients refuse the certificate of the client port", "file", p.o.Files.Cert, "err", err)
	}
	m.revoked.warn(p.o.Log, p.o.Now())
	if p.o.AskClients && p.o.Files.Authorities == "" {
		p.o.Log.Warn("clients are let in with a certificate of any authority that this system trusts: name your own with --trusted-ca-file")
	}
}

// Covers tells in the log of hosts that clients are sent to and that the certificate
// does not name.
func (p *Port) Covers(hosts ...string) {
	for _, host := range hosts {
		if err := coversHost(p.files.current().cert, host); err != nil {
			p.o.Log.Warn("clients that reach this member at an address which its certificate does not name refuse it",
				"host", host, "file", p.o.Files.Cert, "err", err)
		}
	}
}

// Refresh is that of Own.
func (p *Port) Refresh() { p.files.refresh() }

// ServerTLS is for the client port, over which clients speak HTTP/2 or HTTP/1. The
// certificate of a client that was asked for one is in the state of its connection,
// with the chains that lead to an authority.
func (p *Port) ServerTLS() *tls.Config {
	return p.serverTLS(func(m *portMaterial) *tls.Config { return m.config })
}

// OpenTLS is ServerTLS for a port whose clients prove who they are by what they say: they
// are asked for no certificate, and speak HTTP/1 alone.
func (p *Port) OpenTLS() *tls.Config {
	return p.serverTLS(func(m *portMaterial) *tls.Config { return m.open })
}

func (p *Port) serverTLS(of func(*portMaterial) *tls.Config) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			p.files.glance()
			return of(p.files.current()), nil
		},
	}
}

func (p *Port) parse(raw []string) (*portMaterial, error) {
	f := p.o.Files
	pair, err := keyPair("--cert-file", f.Cert, raw[0], "--key-file", f.Key, raw[1])
	if err != nil {
		return nil, err
	}
	if err := inTime(pair.Leaf, p.o.Now()); err != nil && p.loaded {
		return nil, fmt.Errorf("--cert-file %s: the certificate %w", f.Cert, err)
	}
	m := &portMaterial{cert: pair.Leaf, config: &tls.Config{
		MinVersion: max(p.o.MinVersion, tls.VersionTLS12), MaxVersion: p.o.MaxVersion, CipherSuites: p.o.CipherSuites,
		Certificates: []tls.Certificate{*pair}, NextProtos: []string{"h2", "http/1.1"},
		// A ticket would let a client come back that is not taken any more.
		SessionTicketsDisabled: true,
	}}
	m.open = m.config.Clone()
	m.open.NextProtos = []string{"http/1.1"}
	if p.o.AskClients || f.Authorities != "" {
		m.config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	rest := raw[2:]
	if f.Authorities != "" {
		if m.config.ClientCAs, err = authorities(rest[0]); err != nil {
			return nil, fmt.Errorf("--trusted-ca-file %s: %w", f.Authorities, err)
		}
		rest = rest[1:]
	}
	if p.o.Only.CRL != "" {
		if m.revoked, err = revocations(rest[0]); err != nil {
			return nil, fmt.Errorf("--client-crl-file %s: %w", p.o.Only.CRL, err)
		}
	}
	m.config.VerifyConnection = func(s tls.ConnectionState) error {
		if err := p.o.Only.admits(s, m.revoked); err != nil {
			return fmt.Errorf("the client's certificate %s %w", presented(s.PeerCertificates[0]), err)
		}
		return nil
	}
	return m, nil
}
