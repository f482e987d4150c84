package main

import (
	"fmt"
	"log/slog"
	"slices"

	"chainfire/etcdflags"
	"chainfire/pki"
)

// tls reads how members and clients speak TLS. Where no URL asks for it, certificates are
// left out with a warning, as by etcd.
func (o *etcdOptions) tls(cfg *etcdflags.Config, log *slog.Logger) error {
	peer := &cfg.PeerTLS
	files := pki.Files{Cert: peer.CertFile, Key: peer.KeyFile, Authorities: peer.TrustedCAFile}
	switch {
	case o.node.Plain && files.Given():
		log.Warn("scheme is HTTP while peer key and cert files are present; ignoring peer key and cert files", "peer-url", cfg.ListenPeer.String())
	case !o.node.Plain:
		if !files.Given() {
			return fmt.Errorf("--listen-peer-urls %s: members that speak TLS need --peer-cert-file, --peer-key-file and --peer-trusted-ca-file", cfg.ListenPeer)
		}
		s := serveOptions{peerFiles: files}
		if err := s.checkPeerFiles(false); err != nil {
			return err
		}
		o.node.PeerFiles = files
	}
	return refuseClientTLS(cfg, log)
}

// refuseClientTLS is for what is not there yet.
func refuseClientTLS(cfg *etcdflags.Config, log *slog.Logger) error {
	secure := slices.ContainsFunc(slices.Concat(cfg.ListenClient, cfg.ListenHTTP, cfg.ListenMetrics), etcdflags.Secure)
	c, p := &cfg.ClientTLS, &cfg.PeerTLS
	for _, f := range []struct {
		flag       string
		given, off bool
	}{
		{"--cert-file", c.CertFile != "", !secure},
		{"--key-file", c.KeyFile != "", !secure},
		{"--client-cert-auth", c.ClientCertAuth, !secure},
		{"--trusted-ca-file", c.TrustedCAFile != "", !secure},
		{"--client-crl-file", c.CRLFile != "", !secure},
		{"--client-cert-allowed-hostname", len(c.AllowedHostnames) > 0, !secure},
		{"--auto-tls", c.Auto, !secure},
		{"--peer-crl-file", p.CRLFile != "", len(cfg.ListenPeer) == 1 && !etcdflags.Secure(cfg.ListenPeer[0])},
		{"--peer-cert-allowed-cn", len(p.AllowedCNs) > 0, len(cfg.ListenPeer) == 1 && !etcdflags.Secure(cfg.ListenPeer[0])},
		{"--peer-cert-allowed-hostname", len(p.AllowedHostnames) > 0, len(cfg.ListenPeer) == 1 && !etcdflags.Secure(cfg.ListenPeer[0])},
		{"--cipher-suites", len(cfg.CipherSuites) > 0, !secure},
		{"https:// in --listen-client-urls", secure, false},
	} {
		switch {
		case f.given && f.off:
			log.Warn("no URL is spoken TLS at, and a flag for it is ignored", "name", f.flag)
		case f.given:
			return fmt.Errorf("%s: TLS for clients is not there yet under etcd's command line", f.flag)
		}
	}
	return nil
}
