package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"chainfire/internal/handshaken"
	"chainfire/pki"
)

// pages are what the peer port answers to who speaks HTTP/1 there: for members, where
// they prove that they are, as all but the calls of a newcomer.
type pages struct {
	http    http.Server
	handler atomic.Pointer[http.Handler]
	creds   *pki.Credentials
}

// The bounds of a request.
const (
	pageTimeout    = 10 * time.Second
	maxPageHeaders = 16 << 10
)

type pageConn struct{}

func newPages(creds *pki.Credentials, log *slog.Logger) *pages {
	p := &pages{creds: creds}
	p.http = http.Server{
		Handler: p, ReadTimeout: pageTimeout, WriteTimeout: pageTimeout, IdleTimeout: pageTimeout, MaxHeaderBytes: maxPageHeaders,
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, pageConn{}, c) },
	}
	return p
}

// ServeHTTP implements http.Handler.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := p.handler.Load()
	switch {
	case h == nil:
		http.Error(w, "this member has not started yet", http.StatusServiceUnavailable)
	case !p.admits(r):
		http.Error(w, "this is for members of the cluster, with a certificate of its authority", http.StatusUnauthorized)
	default:
		(*h).ServeHTTP(w, r)
	}
}

func (p *pages) admits(r *http.Request) bool {
	if p.creds == nil {
		return true
	}
	c, ok := r.Context().Value(pageConn{}).(net.Conn)
	if !ok {
		return false
	}
	state, ok := handshaken.State(c)
	if !ok {
		return false
	}
	_, err := p.creds.PeerID(state)
	return err == nil
}

// serve answers until the listener is closed.
func (p *pages) serve(l net.Listener) error {
	err := p.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// ServePages answers HTTP/1 requests at the peer port from now on, where that is one of
// TCP. Called once.
func (n *Node) ServePages(h http.Handler) {
	if p, ok := n.port.(*tcpPort); ok {
		p.pages.handler.Store(&h)
	}
}
