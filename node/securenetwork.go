package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"chainfire/api"
	"chainfire/internal/handshaken"
	"chainfire/join"
	"chainfire/pki"
)

// open are the calls that a newcomer makes before it has a certificate, and the one
// by which it is called back.
var open = map[string]bool{
	api.Peer_Identify_FullMethodName: true,
	api.Peer_Join_FullMethodName:     true,
}

// guard keeps strangers from every call but the open ones.
type guard struct{ creds *pki.Credentials }

func (g guard) admit(ctx context.Context, method string) error {
	if open[method] {
		return nil
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return errStranger
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return errStranger
	}
	if _, err := g.creds.PeerID(info.State); err != nil {
		return errStranger
	}
	return nil
}

var errStranger = status.Error(codes.Unauthenticated, "this call is for members of the cluster, with a certificate of its authority")

func (g guard) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(handshaken.Credentials{}),
		grpc.UnaryInterceptor(func(ctx context.Context, q any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			if err := g.admit(ctx, info.FullMethod); err != nil {
				return nil, err
			}
			return h(ctx, q)
		}),
		grpc.StreamInterceptor(func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			if err := g.admit(s.Context(), info.FullMethod); err != nil {
				return err
			}
			return h(srv, s)
		}),
	}
}

// serverTLS is for a port where a scheme is spoken; nil is without TLS.
func (t *tcp) serverTLS(scheme, at string) (*tls.Config, error) {
	switch {
	case !join.SecureScheme(scheme):
		return nil, nil
	case t.own != nil:
		return t.own.ServerTLS(), nil
	case t.unproven != nil:
		return t.unproven.ServerTLS(), nil
	case t.creds != nil:
		return t.creds.ServerTLS(), nil
	}
	return nil, noCertificates(scheme, at)
}

// clientTLS is for connections to where a scheme is spoken; nil is without TLS.
func (t *tcp) clientTLS(scheme, at string) (*tls.Config, error) {
	if join.LocalScheme(scheme) {
		at = "" // there is no host to compare with
	}
	switch {
	case !join.SecureScheme(scheme):
		return nil, nil
	case t.own != nil:
		return t.own.ClientTLS(at), nil
	case t.unproven != nil:
		return t.unproven.ClientTLS(), nil
	case t.creds != nil:
		return t.creds.ClientTLS(), nil
	}
	return nil, noCertificates(scheme, at)
}

func noCertificates(scheme, at string) error {
	return fmt.Errorf("%s://%s speaks TLS, and this member has no certificates for members: give it those of the others (--peer-cert-file)", scheme, at)
}

// Dial implements Network.
func (t *tcp) Dial(addr string) (join.Conn, error) {
	scheme, at := t.schemes.Split(addr)
	cfg, err := t.clientTLS(scheme, at)
	if err != nil {
		return nil, err
	}
	var more []grpc.DialOption
	if join.LocalScheme(scheme) {
		more = append(more, grpc.WithAuthority("localhost"), grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return dialRaw(ctx, scheme, at)
		}))
	}
	if cfg == nil {
		return join.DialWith(at, insecure.NewCredentials(), more...)
	}
	return join.DialWith(at, credentials.NewTLS(cfg), more...)
}

// dialStream connects to another member for the Raft streams.
func (t *tcp) dialStream(ctx context.Context, addr string) (net.Conn, error) {
	scheme, at := t.schemes.Split(addr)
	cfg, err := t.clientTLS(scheme, at)
	if err != nil {
		return nil, err
	}
	raw, err := dialRaw(ctx, scheme, at)
	if err != nil || cfg == nil {
		return raw, err
	}
	cfg.NextProtos = []string{"chainfire"}
	c := tls.Client(raw, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		t.reports.dialed(addr, err)
		return nil, explainTLS(errors.Join(err, raw.Close()))
	}
	return c, nil
}

// identifyPeer is who is at the other side of a connection of the Raft streams.
func identifyPeer(creds *pki.Credentials) func(c net.Conn, dialed bool) (uint64, error) {
	return func(c net.Conn, dialed bool) (uint64, error) {
		state, ok := handshaken.State(c)
		if !ok {
			return 0, errors.New("the connection has no TLS")
		}
		if dialed {
			return creds.ServerID(state)
		}
		return creds.PeerID(state)
	}
}

// explainTLS says what a handshake's failure means to the person who started a
// member.
func explainTLS(err error) error {
	var record tls.RecordHeaderError
	if errors.As(err, &record) || strings.Contains(err.Error(), "first record does not look like a TLS handshake") {
		return fmt.Errorf("what answers there does not speak TLS; is it a client port, or a member that was started with http:// in --listen-peer? (%w)", err)
	}
	return err
}
