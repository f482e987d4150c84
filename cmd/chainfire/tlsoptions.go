package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"chainfire/internal/disk"
	"chainfire/join"
	"chainfire/pki"
)

// tlsOptions are how clients speak TLS to a member, with etcd's flags of the same
// names, and who is let in of those that have a certificate, here and among members.
type tlsOptions struct {
	files      pki.Files
	askClients bool
	auto       bool
	validity   uint
	only       pki.Only
	peerOnly   pki.Only
	suites     []string
	min, max   string
}

// The folder of a certificate that a member makes for its client port, below the data
// directory.
const autoTLSDir = "auto-tls"

// The versions of TLS, as etcd calls them.
const (
	tls12 = "TLS1.2"
	tls13 = "TLS1.3"
)

func (o *tlsOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.files.Cert, "cert-file", "", "certificate that this member shows to clients: they speak TLS then; goes with --key-file")
	f.StringVar(&o.files.Key, "key-file", "", "key of --cert-file")
	f.BoolVar(&o.askClients, "client-cert-auth", false, "ask every client for a certificate, of an authority in --trusted-ca-file, or else of one that this system trusts")
	f.StringVar(&o.files.Authorities, "trusted-ca-file", "", "certificates of the authorities of clients: every client must have a certificate of one")
	f.StringVar(&o.only.CRL, "client-crl-file", "", "revocation list, in DER or PEM: clients whose certificates are in it are refused")
	f.StringSliceVar(&o.only.Hosts, "client-cert-allowed-hostname", nil, "hosts, of which a client's certificate must name one")
	f.BoolVar(&o.auto, "auto-tls", false, "without --cert-file: speak TLS to clients with a certificate that the member makes, which signs itself")
	f.UintVar(&o.validity, "self-signed-cert-validity", 1, "how many years a certificate of --auto-tls is good")
	f.StringSliceVar(&o.suites, "cipher-suites", nil, "the cipher suites that clients may choose from below TLS1.3, by their names in Go (default: Go's choice)")
	f.StringVar(&o.min, "tls-min-version", tls12, "the least version of TLS that clients may speak: TLS1.2 or TLS1.3")
	f.StringVar(&o.max, "tls-max-version", "", "the greatest version of TLS that clients may speak: TLS1.2 or TLS1.3 (default: Go's greatest)")
	f.StringVar(&o.peerOnly.CRL, "peer-crl-file", "", "with --peer-cert-file: revocation list, in DER or PEM, of members' certificates")
	f.StringSliceVar(&o.peerOnly.CommonNames, "peer-cert-allowed-cn", nil, "with --peer-cert-file: common names, of which a member's certificate must have one")
	f.StringSliceVar(&o.peerOnly.Hosts, "peer-cert-allowed-hostname", nil, "with --peer-cert-file: hosts, of which a member's certificate must name one")
}

// on reports whether clients speak TLS.
func (o *tlsOptions) on() bool { return o.files.Cert != "" || o.auto }

// scheme is that of the URLs at which clients reach the member.
func (o *tlsOptions) scheme() string {
	if o.on() {
		return join.SchemeTLS
	}
	return join.SchemePlain
}

// addr is the address of --listen-client, whose scheme, if it has one, must be what is
// spoken there.
func (o *tlsOptions) addr(listen string) (string, error) {
	addr := listen
	if scheme, rest, ok := strings.Cut(listen, "://"); ok {
		addr = strings.TrimSuffix(rest, "/")
		switch {
		case scheme == join.SchemeTLS && !o.on():
			return "", fmt.Errorf("--listen-client %s: TLS takes a certificate and its key: give --cert-file and --key-file, or --auto-tls", listen)
		case scheme == join.SchemePlain && o.on():
			return "", fmt.Errorf("--listen-client %s and %s: without TLS there are no certificates; leave one of the two away", listen, o.first())
		case scheme != join.SchemeTLS && scheme != join.SchemePlain:
			return "", fmt.Errorf("--listen-client %q: give HOST:PORT, as %s", listen, defaultClientAddr)
		}
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return "", fmt.Errorf("--listen-client %q: give HOST:PORT, as %s", listen, defaultClientAddr)
	}
	return addr, nil
}

// first is the flag by which clients speak TLS.
func (o *tlsOptions) first() string {
	if o.files.Cert != "" {
		return "--cert-file"
	}
	return "--auto-tls"
}

func (o *tlsOptions) check(ownPeers bool) error {
	if _, _, err := o.versions(); err != nil {
		return err
	}
	if _, err := o.cipherSuites(); err != nil {
		return err
	}
	if o.validity < 1 || o.validity > pki.MaxSelfSignedYears {
		return fmt.Errorf("--self-signed-cert-validity %d: give between 1 and %d years", o.validity, pki.MaxSelfSignedYears)
	}
	if o.files.Cert == "" != (o.files.Key == "") {
		missing := "--key-file"
		if o.files.Cert == "" {
			missing = "--cert-file"
		}
		return fmt.Errorf("%s is missing: --cert-file and --key-file go together; give both, or none for clients without TLS", missing)
	}
	asks := o.askClients || o.files.Authorities != ""
	narrow := cmp.Or(ifSet("--client-crl-file", o.only.CRL != ""), ifSet("--client-cert-allowed-hostname", len(o.only.Hosts) > 0))
	asking := cmp.Or(ifSet("--client-cert-auth", o.askClients), ifSet("--trusted-ca-file", o.files.Authorities != ""), narrow)
	switch {
	case asking != "" && !o.on():
		return fmt.Errorf("%s is for clients that speak TLS: give --cert-file and --key-file as well, or --auto-tls", asking)
	case narrow != "" && !asks:
		return fmt.Errorf("%s is for certificates of clients, and they are asked for none: give --client-cert-auth and --trusted-ca-file as well", narrow)
	case o.peerOnly.Given() && !ownPeers:
		return errors.New("--peer-crl-file, --peer-cert-allowed-cn and --peer-cert-allowed-hostname are for certificates of your own: give --peer-cert-file, --peer-key-file and --peer-trusted-ca-file as well")
	case len(o.peerOnly.CommonNames) > 0 && len(o.peerOnly.Hosts) > 0:
		return errors.New("--peer-cert-allowed-cn and --peer-cert-allowed-hostname: give one of them")
	}
	return nil
}

func ifSet(flag string, set bool) string {
	if set {
		return flag
	}
	return ""
}

// versions are the bounds of TLS's version; 0 is none.
func (o *tlsOptions) versions() (least, most uint16, err error) {
	if least, err = tlsVersion("--tls-min-version", o.min); err != nil {
		return 0, 0, err
	}
	if most, err = tlsVersion("--tls-max-version", o.max); err != nil {
		return 0, 0, err
	}
	if most != 0 && least > most {
		return 0, 0, fmt.Errorf("--tls-min-version, --tls-max-version: min version (%s) is greater than max version (%s)", o.min, o.max)
	}
	return least, most, nil
}

func tlsVersion(flag, text string) (uint16, error) {
	switch text {
	case "":
		return 0, nil
	case tls12:
		return tls.VersionTLS12, nil
	case tls13:
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("%s: unexpected TLS version %q (must be one of: TLS1.2, TLS1.3)", flag, text)
}

// oldSuites are names that etcd takes beside Go's.
var oldSuites = map[string]uint16{
	"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305":   tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
}

func (o *tlsOptions) cipherSuites() ([]uint16, error) {
	if len(o.suites) > 0 && o.min == tls13 {
		return nil, errors.New("--cipher-suites, --tls-min-version: cipher suites cannot be configured when only TLS1.3 is enabled")
	}
	var out []uint16
	all := append(tls.CipherSuites(), tls.InsecureCipherSuites()...)
	for _, name := range o.suites {
		i := slices.IndexFunc(all, func(s *tls.CipherSuite) bool { return s.Name == name })
		id, old := oldSuites[name]
		switch {
		case i >= 0:
			out = append(out, all[i].ID)
		case old:
			out = append(out, id)
		default:
			return nil, fmt.Errorf("--cipher-suites: unexpected TLS cipher suite %q", name)
		}
	}
	return out, nil
}

// load reads what the port proves itself with, or makes it; nil is no TLS. URLs are
// those at which clients reach it.
func (o *tlsOptions) load(dataDir string, urls []string, log *slog.Logger) (*pki.Port, error) {
	if !o.on() {
		return nil, nil
	}
	var hosts []string
	for _, u := range urls {
		at, err := url.Parse(u)
		if err != nil {
			return nil, fmt.Errorf("address for clients: %w", err)
		}
		hosts = append(hosts, at.Hostname())
	}
	least, most, err := o.versions()
	if err != nil {
		return nil, err
	}
	suites, err := o.cipherSuites()
	if err != nil {
		return nil, err
	}
	switch {
	case o.files.Cert == "":
		files, made, err := pki.SelfSigned(disk.OS(), filepath.Join(dataDir, autoTLSDir), append([]string{"localhost", "127.0.0.1", "::1"}, hosts...), int(o.validity), time.Now())
		if err != nil {
			return nil, fmt.Errorf("--auto-tls: %w", err)
		}
		if made {
			log.Warn("a certificate for the client port was made, which signs itself: clients check it against a copy", "file", files.Cert)
		}
		o.files.Cert, o.files.Key = files.Cert, files.Key
	case o.auto:
		log.Warn("--auto-tls is not needed beside --cert-file, and left out")
		o.auto = false
	}
	port, err := pki.LoadPort(pki.PortOptions{
		FS: disk.OS(), Files: o.files, AskClients: o.askClients, Only: o.only,
		MinVersion: least, MaxVersion: most, CipherSuites: suites, Now: time.Now, Log: log,
	})
	if err != nil {
		return nil, err
	}
	port.Covers(hosts...)
	return port, nil
}

// portInterval is how often the files are read again, beside the look at them in every
// handshake.
const portInterval = 10 * time.Second

// keepFresh reads the files again until the context ends.
func keepFresh(ctx context.Context, port *pki.Port) {
	tick := time.NewTicker(portInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			port.Refresh()
		case <-ctx.Done():
			return
		}
	}
}

// args are the flags by which another member on this machine does the same.
func (o *tlsOptions) args() []string {
	var out []string
	text := func(flag, value string) {
		if value != "" {
			out = append(out, flag, join.ShellQuote(value))
		}
	}
	if o.auto {
		out = append(out, "--auto-tls")
		if o.validity != 1 {
			text("--self-signed-cert-validity", strconv.FormatUint(uint64(o.validity), 10))
		}
	} else {
		text("--cert-file", o.files.Cert)
		text("--key-file", o.files.Key)
	}
	if o.askClients {
		out = append(out, "--client-cert-auth")
	}
	text("--trusted-ca-file", o.files.Authorities)
	text("--client-crl-file", o.only.CRL)
	text("--client-cert-allowed-hostname", strings.Join(o.only.Hosts, ","))
	text("--cipher-suites", strings.Join(o.suites, ","))
	if o.min != tls12 {
		text("--tls-min-version", o.min)
	}
	text("--tls-max-version", o.max)
	text("--peer-crl-file", o.peerOnly.CRL)
	text("--peer-cert-allowed-cn", strings.Join(o.peerOnly.CommonNames, ","))
	text("--peer-cert-allowed-hostname", strings.Join(o.peerOnly.Hosts, ","))
	return out
}

// clientArgs are the flags by which a command on this machine trusts the member; what
// only a person knows is in capitals.
func (o *tlsOptions) clientArgs() []string {
	if !o.on() {
		return nil
	}
	// A client that is given the certificate itself takes it for its own authority.
	out := []string{"--cacert", join.ShellQuote(o.files.Cert)}
	if o.askClients || o.files.Authorities != "" {
		out = append(out, "--cert", "CLIENT.crt", "--key", "CLIENT.key")
	}
	return out
}
