package join

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Conn is a connection to a peer port.
type Conn interface {
	grpc.ClientConnInterface
	Close() error
}

// The schemes of peer URLs: TLS, or nothing around what members say.
const (
	SchemeTLS   = "https"
	SchemePlain = "http"
)

// A peer that vanished without a word, as by a power cut or a cut cable, is noticed
// by both sides of a connection with a call on it: after KeepaliveTime of silence
// each asks whether the other is there, and ends the connection when nothing comes
// for KeepaliveTimeout more. 10 s is the least that gRPC allows a client. A
// connection without a call asks when the next call begins.
const (
	KeepaliveTime    = 10 * time.Second
	KeepaliveTimeout = 3 * time.Second
)

// Dialer makes a connection to a peer port, HOST:PORT.
type Dialer func(addr string) (Conn, error)

// Dial is the Dialer of members that speak without TLS. It connects when it is
// first used.
func Dial(addr string) (Conn, error) { return DialWith(addr, insecure.NewCredentials()) }

// DialWith makes a connection that is protected by the given credentials, with more
// options if there are any.
func DialWith(addr string, creds credentials.TransportCredentials, more ...grpc.DialOption) (Conn, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, append(more,
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: KeepaliveTime, Timeout: KeepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 2 * time.Second,
		}))...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return conn, nil
}

// Reason is the text of a gRPC error, without its wrapping, as a person wants
// to read it.
func Reason(err error) string {
	s, ok := status.FromError(err)
	if !ok {
		return err.Error()
	}
	msg := s.Message()
	switch {
	case s.Code() == codes.DeadlineExceeded:
		return "no answer in time"
	case s.Code() == codes.Unimplemented:
		return "what answers there is not a ChainFire peer port (is it the client port?)"
	}
	if why := misfit(msg); why != "" {
		return why
	}
	msg = strings.TrimPrefix(msg, "connection error: desc = ")
	return strings.Trim(msg, `"`)
}

// misfit says what it means when the two sides of a connection do not speak alike,
// by the text of gRPC's error: it has no code of its own. Asking again does not
// change it. Empty is any other error.
func misfit(msg string) string {
	const refused = "peer certificate refused: "
	if _, why, ok := strings.Cut(msg, refused); ok {
		return refused + strings.TrimRight(why, `"`)
	}
	if _, why, ok := strings.Cut(msg, "remote error: tls: "); ok {
		return "the other side refused the certificate of this member (" + strings.TrimRight(why, `"`) +
			"); its log says why. All members of a cluster have certificates of one kind: --peer-cert-file, --peer-key-file and --peer-trusted-ca-file at each, or at none"
	}
	switch {
	case strings.Contains(msg, "error reading server preface"):
		return "what answers there does not speak plainly to this member; do the members of that cluster speak TLS? Then leave http:// in --listen-peer away, and give a join token"
	case strings.Contains(msg, "first record does not look like a TLS handshake"):
		return "what answers there does not speak TLS: it is a client port, or a member that was started with http:// in --listen-peer, as this one must be then"
	}
	if _, why, ok := strings.Cut(msg, "the join token is for another cluster"); ok {
		return "the join token is for another cluster" + strings.TrimRight(why, `"`)
	}
	return ""
}

// HostPort is the address in a peer URL, http://HOST:PORT.
func HostPort(peerURL string) (string, error) {
	u, err := url.Parse(peerURL)
	switch {
	case err != nil:
		return "", fmt.Errorf("%q: %w", peerURL, err)
	case u.Scheme != SchemeTLS && u.Scheme != SchemePlain:
		return "", fmt.Errorf("%q: the scheme must be https, or http where members speak without TLS", peerURL)
	case u.Path != "" && u.Path != "/":
		return "", fmt.Errorf("%q must not have a path", peerURL)
	}
	if _, _, err := net.SplitHostPort(u.Host); err != nil {
		return "", fmt.Errorf("%q: %w", peerURL, err)
	}
	return u.Host, nil
}
