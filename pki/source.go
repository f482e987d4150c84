package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// resolver asks for names and addresses of hosts; net.DefaultResolver is one.
type resolver interface {
	LookupAddr(ctx context.Context, addr string) (names []string, err error)
	LookupHost(ctx context.Context, host string) (addrs []string, err error)
}

// sourceTime bounds the questions about who connects.
const sourceTime = 5 * time.Second

// fromSource makes of a server's configuration one that takes certificates of clients only
// from where they name: one that names hosts is good from the addresses of these, and one
// that names none from anywhere. A socket of this machine has no address to compare.
func fromSource(cfg *tls.Config, r resolver) *tls.Config {
	out := cfg.Clone()
	out.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		at, ok := h.Conn.RemoteAddr().(*net.TCPAddr)
		if !ok {
			return nil, nil
		}
		ctx, one := h.Context(), cfg.Clone()
		one.VerifyConnection = func(s tls.ConnectionState) error {
			if err := cfg.VerifyConnection(s); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, sourceTime)
			defer cancel()
			if err := namesSource(ctx, s.PeerCertificates[0], at.IP.String(), r); err != nil {
				return fmt.Errorf("%w: wrong host: that %s %w; --peer-skip-client-san-verification takes it from anywhere", ErrRefused, presented(s.PeerCertificates[0]), err)
			}
			return nil
		}
		return one, nil
	}
	return out
}

// namesSource looks for an address among those of the hosts that a certificate names: as
// an address, as what the address is called, or as what a name leads to.
func namesSource(ctx context.Context, cert *x509.Certificate, ip string, r resolver) error {
	if len(cert.IPAddresses) == 0 && len(cert.DNSNames) == 0 {
		return nil
	}
	if len(cert.IPAddresses) > 0 && cert.VerifyHostname(ip) == nil {
		return nil
	}
	var unknown []error
	if len(cert.DNSNames) > 0 {
		called, err := r.LookupAddr(ctx, ip)
		if err != nil {
			unknown = append(unknown, err)
		}
		for _, name := range called {
			if namedBy(cert.DNSNames, strings.TrimSuffix(name, ".")) {
				return nil
			}
		}
	}
	for _, name := range cert.DNSNames {
		if strings.HasPrefix(name, "*.") {
			continue
		}
		addrs, err := r.LookupHost(ctx, name)
		switch {
		case err != nil:
			unknown = append(unknown, err)
		case slices.Contains(addrs, ip):
			return nil
		}
	}
	return errors.Join(append([]error{coversHost(cert, ip)}, unknown...)...)
}

// namedBy reports whether a host is one of some names, of which *.DOMAIN is any in it.
func namedBy(names []string, host string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		if domain, wild := strings.CutPrefix(name, "*."); wild {
			return strings.HasSuffix(host, "."+domain)
		}
		return name == host
	})
}
