package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"

	"chainfire/etcdflags"
	"chainfire/pki"
)

// security reads how members and clients speak TLS. Where no URL asks for it, what is
// given for it is left out with a warning, as by etcd.
func (o *etcdOptions) security(cfg *etcdflags.Config, log *slog.Logger) error {
	if err := o.peerSecurity(cfg, log); err != nil {
		return err
	}
	c := &cfg.ClientTLS
	o.tls = tlsOptions{
		files: pki.Files{Cert: c.CertFile, Key: c.KeyFile, Authorities: c.TrustedCAFile}, askClients: c.ClientCertAuth, auto: c.Auto,
		validity: cfg.SelfSignedYears, only: pki.Only{CRL: c.CRLFile, Hosts: c.AllowedHostnames}, peerOnly: o.node.PeerOnly,
		suites: cfg.CipherSuites, min: cfg.TLSMinVersion, max: cfg.TLSMaxVersion,
	}
	var insecure, secure []url.URL
	for _, u := range slices.Concat(cfg.ListenClient, cfg.ListenHTTP, cfg.ListenMetrics) {
		if etcdflags.Secure(u) {
			secure = append(secure, u)
		} else {
			insecure = append(insecure, u)
		}
	}
	given := o.tls.on() || o.tls.askClients || o.tls.files != (pki.Files{})
	if given {
		for _, u := range insecure {
			log.Warn("scheme is http or unix while TLS is configured; it is ignored for this URL", "client-url", u.String())
		}
	}
	switch {
	case len(secure) == 0:
		o.tls.files, o.tls.askClients, o.tls.auto, o.tls.only = pki.Files{}, false, false, pki.Only{}
	case c.ClientCertFile == "" != (c.ClientKeyFile == ""):
		return errors.New("--client-cert-file and --client-key-file go together: give both, or none")
	case !o.tls.on():
		return fmt.Errorf("%s: clients that speak TLS need --cert-file and --key-file, or --auto-tls", secure[0].String())
	}
	if err := o.tls.check(o.node.PeerFiles.Given()); err != nil {
		return err
	}
	return o.peerLimits()
}

// peerLimits are those of TLS between members, which are those of clients.
func (o *etcdOptions) peerLimits() (err error) {
	l := &o.node.Peers.Limits
	if l.MinVersion, l.MaxVersion, err = o.tls.versions(); err != nil {
		return err
	}
	l.MinVersion = max(l.MinVersion, tls.VersionTLS12)
	l.CipherSuites, err = o.tls.cipherSuites()
	return err
}

// peerSecurity is security between members. Certificates that are given whole are there
// for members at https:// also where this one listens without TLS, as with etcd.
func (o *etcdOptions) peerSecurity(cfg *etcdflags.Config, log *slog.Logger) error {
	p := &cfg.PeerTLS
	files := pki.Files{Cert: p.CertFile, Key: p.KeyFile, Authorities: p.TrustedCAFile}
	var secure string
	for _, u := range cfg.ListenPeer {
		switch {
		case etcdflags.Secure(u):
			secure = u.String()
		case files.Given() || p.Auto:
			log.Warn("scheme is http or unix while peer TLS is configured; it is ignored for this URL", "peer-url", u.String())
		}
	}
	if p.Auto {
		if files.Cert == "" && files.Key == "" {
			return o.unprovenPeers(cfg, log)
		}
		log.Warn("ignoring peer auto TLS since certs given")
	}
	s := serveOptions{peerFiles: files}
	err := s.checkPeerFiles(false)
	switch {
	case secure == "" && (err != nil || !files.Given()):
		o.node.Plain = true
		return nil
	case !files.Given():
		return fmt.Errorf("--listen-peer-urls %s: members that speak TLS need --peer-cert-file, --peer-key-file and --peer-trusted-ca-file, or, where nobody else reaches them, --peer-auto-tls", secure)
	case err != nil:
		return err
	}
	if p.ClientCertFile == "" != (p.ClientKeyFile == "") {
		return errors.New("--peer-client-cert-file and --peer-client-key-file go together: give both, or none")
	}
	o.node.Peers.Client, o.node.Peers.Sources = pki.Files{Cert: p.ClientCertFile, Key: p.ClientKeyFile}, !p.SkipSANVerification
	o.node.PeerFiles, o.node.PeerOnly = files, pki.Only{CRL: p.CRLFile, CommonNames: p.AllowedCNs, Hosts: p.AllowedHostnames}
	return nil
}

// unprovenPeers is --peer-auto-tls. Some of what is to keep others out has no effect then,
// as with etcd; what narrows certificates down is refused by tlsOptions.check.
func (o *etcdOptions) unprovenPeers(cfg *etcdflags.Config, log *slog.Logger) error {
	p := &cfg.PeerTLS
	for _, f := range []string{ifSet("--peer-trusted-ca-file", p.TrustedCAFile != ""), ifSet("--peer-client-cert-auth", p.ClientCertAuth)} {
		if f != "" {
			log.Warn("a flag has no effect beside --peer-auto-tls: members show certificates that sign themselves, and nobody checks them", "name", f)
		}
	}
	o.node.PeerOnly = pki.Only{CRL: p.CRLFile, CommonNames: p.AllowedCNs, Hosts: p.AllowedHostnames}
	o.node.Peers.AutoTLSYears = int(min(cfg.SelfSignedYears, pki.MaxSelfSignedYears))
	return nil
}

// loadTLS reads the certificate of the port for clients, or makes it; nil is no TLS.
func (o *etcdOptions) loadTLS(cfg *etcdflags.Config, log *slog.Logger) (*pki.Port, error) {
	var names []string
	for _, u := range slices.Concat(cfg.AdvertiseClient, cfg.ListenClient) {
		if network, _ := etcdflags.Address(u); network == "tcp" {
			names = append(names, u.String())
		}
	}
	return o.tls.load(cfg.DataDir, names, log)
}
