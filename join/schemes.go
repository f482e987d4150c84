package join

import (
	"fmt"
	"net/url"
	"strings"
)

// The schemes of peer URLs of one machine, whose addresses are paths: without TLS, and
// with it.
const (
	SchemeUnix    = "unix"
	SchemeUnixTLS = "unixs"
)

// Schemes say what is spoken at the addresses of members.
type Schemes struct {
	// Usual is the scheme of an address that is HOST:PORT. Default http.
	Usual string
	// Mixed lets each peer URL say for itself what is spoken there. Those that have not the
	// usual scheme are addresses as they are. Without it all members speak what is usual,
	// whatever is written, so that nobody talks a member out of TLS.
	Mixed bool
}

// Address is where a peer URL is dialed.
func (s Schemes) Address(peerURL string) (string, error) {
	if !s.Mixed {
		return HostPort(peerURL)
	}
	if err := CheckURL(peerURL); err != nil {
		return "", err
	}
	u, err := url.Parse(peerURL)
	if err != nil {
		return "", fmt.Errorf("%q: %w", peerURL, err)
	}
	// What is read of the URL, and not its text: HTTPS is https, and speaks TLS.
	switch {
	case LocalScheme(u.Scheme):
		return u.Scheme + "://" + u.Host + u.Path, nil
	case u.Scheme == s.usual():
		return u.Host, nil
	}
	return u.Scheme + "://" + u.Host, nil
}

// Split is what is spoken at an address, and where: at HOST:PORT, or, for the schemes of
// one machine, at a path.
func (s Schemes) Split(addr string) (scheme, at string) {
	scheme, at, ok := strings.Cut(addr, "://")
	switch {
	case !ok:
		return s.usual(), addr
	case !s.Mixed:
		return s.usual(), at
	}
	return scheme, at
}

func (s Schemes) usual() string {
	if s.Usual == "" {
		return SchemePlain
	}
	return s.Usual
}

// Target is the address that --join means, of such members.
func (s Schemes) Target(target string) (string, error) {
	if s.Mixed && strings.Contains(target, "://") {
		return s.Address(target)
	}
	return Target(target)
}

// CheckURL refuses what is no peer URL: http://HOST:PORT, https://HOST:PORT, unix://PATH
// or unixs://PATH.
func CheckURL(peerURL string) error {
	if u, err := url.Parse(peerURL); err == nil && LocalScheme(u.Scheme) {
		if u.Host+u.Path == "" {
			return fmt.Errorf("%q has no path", peerURL)
		}
		return nil
	}
	_, err := HostPort(peerURL)
	return err
}

// LocalScheme reports whether a scheme is one of those of one machine.
func LocalScheme(scheme string) bool { return scheme == SchemeUnix || scheme == SchemeUnixTLS }

// SecureScheme reports whether TLS is spoken under a scheme.
func SecureScheme(scheme string) bool { return scheme == SchemeTLS || scheme == SchemeUnixTLS }
