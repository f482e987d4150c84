package pki

import (
	"crypto/tls"
	"fmt"

	"chainfire/internal/disk"
)

// Unproven is TLS between members that have no authority in common: each shows a
// certificate that signs itself, and nobody looks whose it is. Who listens on the way
// learns nothing. Who stands between two members and speaks to both learns and changes
// everything, and who reaches a peer port is taken for a member. Safe for concurrent use.
type Unproven struct {
	cert   tls.Certificate
	limits Limits
}

// NewUnproven reads what SelfSignedPeer made.
func NewUnproven(f disk.FS, files Files, limits Limits) (*Unproven, error) {
	var raw [2]string
	for i, path := range []string{files.Cert, files.Key} {
		b, err := disk.ReadFile(f, path, maxFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", forMembers.flag, err)
		}
		raw[i] = string(b)
	}
	pair, err := keyPair(forMembers.flag, files.Cert, raw[0], forMembers.flag, files.Key, raw[1])
	if err != nil {
		return nil, err
	}
	return &Unproven{cert: *pair, limits: limits}, nil
}

// ServerTLS is for the peer port: who connects is asked for no certificate.
func (u *Unproven) ServerTLS() *tls.Config {
	cfg := u.limits.base()
	cfg.Certificates = []tls.Certificate{u.cert}
	return cfg
}

// ClientTLS is for connections to members: whatever certificate is shown is taken.
func (u *Unproven) ClientTLS() *tls.Config {
	cfg := u.limits.base()
	cfg.InsecureSkipVerify = true
	return cfg
}
