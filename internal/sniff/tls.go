package sniff

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"time"
)

// tlsHandshake is how a TLS connection begins: a handshake record of version 3.
var tlsHandshake = []byte{0x16, 0x03}

// protoHTTP1 and protoHTTP2 are names by which clients say over TLS what they speak
// (ALPN).
const (
	protoHTTP1 = "http/1.1"
	protoHTTP2 = "h2"
)

// secure ends TLS and tells connections apart by what their clients offer.
type secure struct {
	config    *tls.Config
	h2, mixed *child
}

// TLS returns the children for connections over TLS, which ends here: what they get
// are *tls.Conn whose handshake is done. h2 is for clients that speak HTTP/2 alone, as
// those of gRPC do, mixed for all others: they speak HTTP/1, or, where that was
// negotiated, HTTP/2. Who is refused is told so by TLS, and with the reason in the log.
// Call it once, before Serve, or Misled.
func (l *Listener) TLS(config *tls.Config) (h2, mixed net.Listener) {
	s := &secure{config: config, h2: l.child(), mixed: l.child()}
	l.routes = append(l.routes, route{prefixes: [][]byte{tlsHandshake}, secure: s})
	return s.h2, s.mixed
}

// Misled returns the child for connections that begin with TLS on a port that has
// none, so that they can be answered.
func (l *Listener) Misled() net.Listener { return l.route([][]byte{tlsHandshake}) }

// shake does the handshake within the deadline of the connection.
func (s *secure) shake(conn net.Conn) (net.Conn, *child, error) {
	to, name := s.mixed, ""
	tc := tls.Server(conn, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name = h.ServerName
		if slices.Contains(h.SupportedProtos, protoHTTP2) && !slices.Contains(h.SupportedProtos, protoHTTP1) {
			to = s.h2
		}
		if s.config.GetConfigForClient == nil {
			return s.config, nil
		}
		config, err := s.config.GetConfigForClient(h)
		if config == nil && err == nil {
			config = s.config
		}
		return config, err
	}})
	if err := tc.Handshake(); err != nil {
		return nil, nil, &handshakeError{name: name, err: err}
	}
	if tc.ConnectionState().NegotiatedProtocol != protoHTTP2 {
		to = s.mixed
	}
	return tc, to, nil
}

// handshakeError is a handshake that failed for a client that asked for a name.
type handshakeError struct {
	name string
	err  error
}

// Error implements error.
func (h *handshakeError) Error() string {
	return fmt.Sprintf("handshake for server name %q: %v", h.name, h.err)
}

// Unwrap is why.
func (h *handshakeError) Unwrap() error { return h.err }

// refused says in the log why a handshake came to nothing, and lets the client hear it.
// Who only looked whether the port is open is not worth a line.
func (l *Listener) refused(conn net.Conn, err error) {
	for _, gone := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, gone) {
			return
		}
	}
	name := ""
	if h := (*handshakeError)(nil); errors.As(err, &h) {
		name = h.name
	}
	l.log.Warn("connection over TLS was refused", "addr", l.lis.Addr().String(), "remote", addrOf(conn), "name", name, "err", err)
	// A client of TLS 1.3 goes on before it hears of it. If the connection were closed
	// with what it says unread, the reason would be lost on its way.
	if h, ok := conn.(interface{ CloseWrite() error }); ok && h.CloseWrite() == nil && conn.SetReadDeadline(time.Now().Add(refusedWait)) == nil {
		_, _ = io.CopyN(io.Discard, conn, refusedBytes) // nobody wants it
	}
}

// How long, and for how much, a client that was refused is listened to.
const (
	refusedWait  = time.Second
	refusedBytes = 64 << 10
)
