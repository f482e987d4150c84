package etcdflags

// clientText and its like tie a flag to a field of what is said at the port of clients,
// peerText and its like at that of members.
func clientText(f func(*TLS) *string) binding {
	return text(func(c *Config) *string { return f(&c.ClientTLS) })
}

func peerText(f func(*TLS) *string) binding {
	return text(func(c *Config) *string { return f(&c.PeerTLS) })
}

func clientSecurity() []Flag {
	g := groupSecurity
	const ask = "for calls that a member makes to itself, which need none here; they go together"
	return []Flag{
		same(g, "cert-file", clientText(func(t *TLS) *string { return &t.CertFile }), "certificate of the port for clients"),
		same(g, "key-file", clientText(func(t *TLS) *string { return &t.KeyFile }), "key of that certificate"),
		same(g, "client-cert-auth", truth(func(c *Config) *bool { return &c.ClientTLS.ClientCertAuth }), "ask clients for a certificate, whose common name is the user that they are"),
		same(g, "trusted-ca-file", clientText(func(t *TLS) *string { return &t.TrustedCAFile }), "authorities whose certificates clients may have"),
		same(g, "client-crl-file", clientText(func(t *TLS) *string { return &t.CRLFile }), "certificates of clients that are revoked"),
		same(g, "client-cert-allowed-hostname", list(func(c *Config) *[]string { return &c.ClientTLS.AllowedHostnames }), "names one of which the certificate of a client must be for"),
		same(g, "auto-tls", truth(func(c *Config) *bool { return &c.ClientTLS.Auto }), "make a certificate for the port for clients, which signs itself"),
		ignored(g, "client-cert-file", clientText(func(t *TLS) *string { return &t.ClientCertFile }), "certificate where the port is asked by the member itself", ask),
		ignored(g, "client-key-file", clientText(func(t *TLS) *string { return &t.ClientKeyFile }), "key of that certificate", ask),
	}
}

func peerSecurity() []Flag {
	g := groupSecurity
	return []Flag{
		differs(g, "peer-cert-file", peerText(func(t *TLS) *string { return &t.CertFile }), "certificate that this member shows to the others", "goes with the next two, at all members"),
		same(g, "peer-key-file", peerText(func(t *TLS) *string { return &t.KeyFile }), "key of that certificate"),
		differs(g, "peer-trusted-ca-file", peerText(func(t *TLS) *string { return &t.TrustedCAFile }), "authorities whose certificates make a member", "must be given with `--peer-cert-file`"),
		ignored(g, "peer-client-cert-auth", truth(func(c *Config) *bool { return &c.PeerTLS.ClientCertAuth }), "ask members that connect for a certificate", "where members speak TLS it is always so"),
		same(g, "peer-client-cert-file", peerText(func(t *TLS) *string { return &t.ClientCertFile }), "certificate where this member connects; without one that of `--peer-cert-file`, which must be good for both sides then"),
		same(g, "peer-client-key-file", peerText(func(t *TLS) *string { return &t.ClientKeyFile }), "key of that certificate"),
		same(g, "peer-crl-file", peerText(func(t *TLS) *string { return &t.CRLFile }), "certificates of members that are revoked"),
		same(g, "peer-cert-allowed-cn", list(func(c *Config) *[]string { return &c.PeerTLS.AllowedCNs }), "common names one of which the certificate of a member must have"),
		same(g, "peer-cert-allowed-hostname", list(func(c *Config) *[]string { return &c.PeerTLS.AllowedHostnames }), "names one of which the certificate of a member must be for"),
		same(g, "peer-auto-tls", truth(func(c *Config) *bool { return &c.PeerTLS.Auto }), "make a certificate for the port for members, which signs itself and which nobody checks: it keeps out who listens, and nobody else"),
		same(g, "peer-skip-client-san-verification", truth(func(c *Config) *bool { return &c.PeerTLS.SkipSANVerification }), "take the certificate of a member that connects wherever that is from; else it must be for the address, or for a name of it, if it is for any"),
	}
}

func security() []Flag {
	g := groupSecurity
	return []Flag{
		same(g, "self-signed-cert-validity", count(func(c *Config) *uint { return &c.SelfSignedYears }), "for how many years a certificate is good that `--auto-tls` or `--peer-auto-tls` makes"),
		same(g, "cipher-suites", list(func(c *Config) *[]string { return &c.CipherSuites }), "suites of TLS 1.2 that are taken, of clients and of members; none is Go's choice"),
		same(g, "tls-min-version", text(func(c *Config) *string { return &c.TLSMinVersion }), "least version of TLS, with clients and with members: TLS1.2 or TLS1.3"),
		same(g, "tls-max-version", text(func(c *Config) *string { return &c.TLSMaxVersion }), "highest version of TLS; none is Go's choice"),
		same(g, "cors", origins(func(c *Config) *URLs { return &c.CORS }), "origins of web pages that may read what HTTP answers; * is any"),
		same(g, "host-whitelist", set(func(c *Config) *[]string { return &c.HostWhitelist }), "host names that HTTP requests without TLS may be made to; empty or * is any"),
	}
}

func auth() []Flag {
	g := groupAuth
	return []Flag{
		differs(g, "auth-token", text(func(c *Config) *string { return &c.AuthToken }), "tokens of users: `simple`, or `jwt,..`", "a simple token is 26 letters and figures, and the log holds a hash of it"),
		differs(g, "bcrypt-cost", count(func(c *Config) *uint { return &c.BcryptCost }), "how hard the hash of a password is to find", "what is not from 4 to 31 is refused"),
		same(g, "auth-token-ttl", count(func(c *Config) *uint { return &c.AuthTokenTTL }), "for how many seconds a simple token is good after its last use"),
	}
}
