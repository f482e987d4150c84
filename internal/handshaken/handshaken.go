// Package handshaken is for gRPC servers that get connections whose TLS handshake is
// over: it tells their handlers who is at the other side.
package handshaken

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
)

// Credentials are those of a server: a handler finds them as credentials.TLSInfo in
// the AuthInfo of its peer. Safe for concurrent use.
type Credentials struct {
	// Plain takes connections without TLS as well, for which there is no AuthInfo.
	// Without it they are refused.
	Plain bool
}

var errServerOnly = errors.New("these credentials are for servers")

// ClientHandshake implements credentials.TransportCredentials.
func (Credentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errServerOnly
}

// ServerHandshake implements credentials.TransportCredentials.
func (c Credentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	state, ok := State(conn)
	switch {
	case !ok && c.Plain:
		return conn, nil, nil
	case !ok:
		return nil, nil, errors.New("a connection without TLS came to a port with TLS")
	}
	return conn, credentials.TLSInfo{
		State: state, CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

// Info implements credentials.TransportCredentials.
func (Credentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements credentials.TransportCredentials.
func (c Credentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements credentials.TransportCredentials.
func (Credentials) OverrideServerName(string) error { return errServerOnly }

// State finds the TLS connection in one that was looked at and passed on.
func State(conn net.Conn) (tls.ConnectionState, bool) {
	for range 4 {
		if t, ok := conn.(*tls.Conn); ok {
			return t.ConnectionState(), true
		}
		w, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = w.NetConn()
	}
	return tls.ConnectionState{}, false
}
