package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"chainfire/pki"
)

// handshakes tells in the log what keeps members apart: whoever is kept out learns
// from the handshake only that it was.
type handshakes struct {
	log *slog.Logger

	mu   sync.Mutex
	told map[string]time.Time
}

// How often the same refusal is told, as whoever is kept out tries again, and how
// many are remembered for that.
const (
	refusalInterval = 10 * time.Second
	maxRefusals     = 64
)

// accepted tells of an accepted connection that ended in the handshake, for the name that
// was asked for. Who says nothing looks for open ports, or was cut.
func (h *handshakes) accepted(remote net.Addr, name string, err error) {
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "remote error":
		err = fmt.Errorf("the other side refuses the certificate of this member (%w), or whoever signed it; all members of a cluster have certificates of one kind: --peer-cert-file, --peer-key-file and --peer-trusted-ca-file at each, or at none", op.Err)
	case slices.ContainsFunc(silences, func(s error) bool { return errors.Is(err, s) }):
		return
	}
	if h.due(err) {
		h.log.Warn("a connection to the peer port was refused in its handshake", "remote", remote.String(), "name", name, "err", err)
	}
}

// silences end a connection without a word.
var silences = []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed, os.ErrDeadlineExceeded}

// dialed tells of a member whose certificate is not good here.
func (h *handshakes) dialed(addr string, err error) {
	if (errors.Is(err, pki.ErrRefused) || errors.Is(err, pki.ErrNotPeer)) && h.due(err) {
		h.log.Warn("a connection to a peer was refused in its handshake", "addr", addr, "err", err)
	}
}

// due reports whether a refusal was not told lately.
func (h *handshakes) due(err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if at, ok := h.told[err.Error()]; ok && now.Sub(at) < refusalInterval {
		return false
	}
	if h.told == nil || len(h.told) >= maxRefusals {
		h.told = map[string]time.Time{}
	}
	h.told[err.Error()] = now
	return true
}

// tlsListener is a listener whose connections shake hands at their first read.
type tlsListener struct {
	net.Listener
	cfg     *tls.Config
	reports *handshakes
}

// Accept implements net.Listener.
func (l *tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tlsConn{Conn: tls.Server(c, l.cfg), reports: l.reports}, nil
}

type tlsConn struct {
	*tls.Conn
	reports *handshakes
	first   sync.Once
}

// Read implements net.Conn.
func (c *tlsConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.first.Do(func() {
		if err != nil {
			c.reports.accepted(c.RemoteAddr(), c.ConnectionState().ServerName, err)
		}
	})
	return n, err
}

// NetConn is the TLS connection, for who looks for it.
func (c *tlsConn) NetConn() net.Conn { return c.Conn }
