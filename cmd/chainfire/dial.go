package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/pflag"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"chainfire/client"
	"chainfire/internal/disk"
	"chainfire/join"
)

// trust are the global flags by which commands speak TLS to members, with etcdctl's
// names.
type trust struct {
	authorities string
	cert, key   string
	anyServer   bool

	// invalid is what is wrong with a variable.
	invalid error
	// secure says that the endpoints are spoken to over TLS.
	secure bool
}

// The environment variables below the flags.
const (
	cacertVariable    = "CHAINFIRE_CACERT"
	certVariable      = "CHAINFIRE_CERT"
	keyVariable       = "CHAINFIRE_KEY"
	anyServerVariable = "CHAINFIRE_INSECURE_SKIP_TLS_VERIFY"
)

// maxTrustFile bounds each of the files.
const maxTrustFile = 1 << 20

func (t *trust) flags(f *pflag.FlagSet, getenv func(string) string) {
	f.StringVar(&t.authorities, "cacert", getenv(cacertVariable), "certificates of the authorities of members, for https:// endpoints (default: those that this system trusts); also from "+cacertVariable)
	f.StringVar(&t.cert, "cert", getenv(certVariable), "certificate of this client, for members that ask for one; also from "+certVariable)
	f.StringVar(&t.key, "key", getenv(keyVariable), "key of --cert; also from "+keyVariable)
	anyServer := false
	if v := getenv(anyServerVariable); v != "" {
		var err error
		if anyServer, err = strconv.ParseBool(v); err != nil {
			t.invalid = fmt.Errorf("%s=%q: give true or false", anyServerVariable, v)
		}
	}
	f.BoolVar(&t.anyServer, "insecure-skip-tls-verify", anyServer, "speak TLS to whatever answers, without a look at its certificate; for tests only; also from "+anyServerVariable)
}

// given is the flag that asks for TLS, if one does.
func (t *trust) given() string {
	return cmp.Or(ifSet("--cacert", t.authorities != ""), ifSet("--cert", t.cert != ""), ifSet("--key", t.key != ""),
		ifSet("--insecure-skip-tls-verify", t.anyServer))
}

// settle takes the schemes away from endpoints without TLS, and gives the others theirs.
// Without a scheme the other flags decide.
func (t *trust) settle(endpoints []string) error {
	if t.invalid != nil {
		return t.invalid
	}
	if t.cert == "" != (t.key == "") {
		return errors.New("--cert and --key go together: give both, or none")
	}
	plain := ""
	for i, e := range endpoints {
		scheme, addr, ok := strings.Cut(strings.TrimSpace(e), "://")
		if !ok {
			scheme, addr = join.SchemePlain, scheme
			if t.given() != "" {
				scheme = join.SchemeTLS
			}
		}
		addr = strings.TrimSuffix(addr, "/")
		if _, _, err := net.SplitHostPort(addr); err != nil || scheme != join.SchemePlain && scheme != join.SchemeTLS {
			return fmt.Errorf("--endpoints %q: give HOST:PORT, as %s, or https://HOST:PORT", e, defaultClientAddr)
		}
		if scheme == join.SchemeTLS {
			t.secure = true
			endpoints[i] = join.SchemeTLS + "://" + addr
			continue
		}
		plain, endpoints[i] = e, addr
	}
	switch {
	case plain != "" && t.secure:
		return fmt.Errorf("--endpoints %s: some are without TLS, and some are with; give all of them as https://HOST:PORT", strings.Join(endpoints, ","))
	case plain != "" && t.given() != "":
		return fmt.Errorf("--endpoints %q and %s: nothing is checked without TLS; write https://, or leave the other away", plain, t.given())
	}
	return nil
}

// config is how TLS is spoken; nil is not at all.
func (t *trust) config() (*tls.Config, error) {
	if !t.secure {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.anyServer}
	if t.authorities != "" {
		b, err := disk.ReadFile(disk.OS(), t.authorities, maxTrustFile)
		if err != nil {
			return nil, fmt.Errorf("--cacert: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("--cacert %s: no certificate in PEM form", t.authorities)
		}
	}
	if t.cert != "" {
		cert, err := disk.ReadFile(disk.OS(), t.cert, maxTrustFile)
		if err != nil {
			return nil, fmt.Errorf("--cert: %w", err)
		}
		key, err := disk.ReadFile(disk.OS(), t.key, maxTrustFile)
		if err != nil {
			return nil, fmt.Errorf("--key: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("--cert %s, --key %s: %w", t.cert, t.key, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// args are the flags again, for lines to copy.
func (t *trust) args() []string {
	var out []string
	for _, f := range [][2]string{{"--cacert", t.authorities}, {"--cert", t.cert}, {"--key", t.key}} {
		if f[1] != "" {
			out = append(out, f[0], join.ShellQuote(f[1]))
		}
	}
	if t.anyServer {
		out = append(out, "--insecure-skip-tls-verify")
	}
	return out
}

// ownClient makes a client for ChainFire's own service at the endpoints.
func (a *app) ownClient() (*client.Client, error) {
	cfg, err := a.trust.config()
	if err != nil {
		return nil, err
	}
	return client.NewWith(client.Options{TLS: cfg, User: a.user.name, Password: a.user.password}, a.endpoints...)
}

// dialOwn connects to ChainFire's own service at one endpoint.
func (a *app) dialOwn(endpoint string) (join.Conn, error) {
	cfg, err := a.trust.config()
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if cfg != nil {
		creds = credentials.NewTLS(cfg)
	}
	return join.DialWith(hostPort(endpoint), creds, client.As(a.user.name, a.user.password)...)
}

// hostPort is an endpoint without its scheme.
func hostPort(endpoint string) string { return strings.TrimPrefix(endpoint, join.SchemeTLS+"://") }

// reachable fails at once when no endpoint can be spoken to, where a request would try
// until its time is over.
func (a *app) reachable(ctx context.Context) error {
	cfg, err := a.trust.config()
	if err != nil {
		return err
	}
	errs := make([]error, len(a.endpoints))
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i, e := range a.endpoints {
		wg.Go(func() {
			if errs[i] = greet(ctx, hostPort(e), cfg); errs[i] == nil {
				cancel() // one is enough
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err == nil {
			return nil
		}
	}
	return &unreachableError{errs: errs}
}

// http2Hello is what an HTTP/2 client says first: the preface, and settings without any.
var http2Hello = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")

// greet connects to an address, over TLS as far as to the server's first word: one that
// refuses the client's certificate says so in place of that.
func greet(ctx context.Context, addr string, cfg *tls.Config) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing is in flight on it
	if cfg == nil {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"h2"}
	if cfg.ServerName, _, err = net.SplitHostPort(addr); err != nil {
		return err
	}
	tc := tls.Client(conn, cfg)
	if err = tc.HandshakeContext(ctx); err == nil {
		if _, err = io.Copy(tc, bytes.NewReader(http2Hello)); err == nil {
			_, err = io.ReadFull(tc, make([]byte, 1))
		}
	}
	if err != nil {
		return &tlsError{addr, err}
	}
	return nil
}

// tlsError says that what listens at an address could not be spoken to over TLS.
type tlsError struct {
	addr string
	err  error
}

// Error implements error.
func (e *tlsError) Error() string { return fmt.Sprintf("speak TLS to %s: %v", e.addr, e.err) }

// Unwrap gives the reason.
func (e *tlsError) Unwrap() error { return e.err }

// adviseTLS says what to do about an error of TLS, or nothing.
func adviseTLS(err error) string {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.As(err, &unknown):
		return "give the certificate of the authority that signed the member's with --cacert"
	case errors.As(err, &host):
		return "ask at an address that the member's certificate names"
	}
	for _, x := range [][2]string{
		{"first record does not look like a TLS handshake", "what answers there speaks no TLS: write http://, without --cacert, --cert and --key"},
		{"tls: certificate required", "the member asks for a certificate of this client: give it with --cert and --key"},
		{"remote error: tls: bad certificate", "the member does not take the certificate of --cert; its log says why"},
		{"remote error: tls: unknown certificate authority", "the member does not trust the authority of the certificate of --cert"},
	} {
		if strings.Contains(err.Error(), x[0]) {
			return x[1]
		}
	}
	return ""
}
