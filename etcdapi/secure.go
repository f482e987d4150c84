package etcdapi

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math"
	"net"
	"net/http"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire/internal/sniff"
)

// protocols are what serves each kind of connection of a port, until the port is
// closed; end gives back what only this port used.
type protocols struct {
	serve []func() error
	end   func()
}

// protocols takes its part of a port for everything that clients may speak. Without a
// configuration nobody speaks TLS there; plain says that one may do without.
func (s *Server) protocols(mux *sniff.Listener, config *tls.Config, plain bool) protocols {
	calls, pages := mux.HTTP2(), mux.HTTP1()
	if config == nil {
		// Who begins with TLS, as to a peer port, is told in plain text, which TLS
		// takes for what it is, instead of being hung up on.
		misled := &told{mux.Misled(), s.log, "a client began with TLS, which this port does not speak: its endpoint is to be http://, or this member needs --cert-file"}
		return protocols{
			serve: []func() error{
				func() error { return s.grpc.Serve(calls) },
				func() error { return s.http.Serve(pages) },
				func() error { return s.http.Serve(misled) },
			},
			end: func() {},
		}
	}
	secureCalls, mixed := mux.TLS(config)
	serve := []func() error{
		func() error { return s.grpc.Serve(secureCalls) },
		func() error { return s.http.Serve(mixed) },
	}
	if plain {
		return protocols{serve: append(serve,
			func() error { return s.grpc.Serve(calls) },
			func() error { return s.http.Serve(pages) },
		), end: func() {}}
	}
	r := newRefusal(s.log)
	return protocols{serve: append(serve,
		func() error { return r.grpc.Serve(&told{calls, s.log, plainRefused}) },
		func() error { return r.http.Serve(&told{pages, s.log, plainRefused}) },
	), end: r.end}
}

// plainRefused is for the log.
const plainRefused = "a client without TLS was refused: its endpoint is to be https://"

// told is a listener whose connections are told of in the log.
type told struct {
	net.Listener
	log  *slog.Logger
	what string
}

// Accept implements net.Listener.
func (l *told) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.log.Warn(l.what, "addr", l.Addr().String(), "remote", c.RemoteAddr().String())
	}
	return c, err
}

// refusal answers those who speak without TLS to a port that has it.
type refusal struct {
	log  *slog.Logger
	grpc *grpc.Server
	http *http.Server
}

func newRefusal(log *slog.Logger) *refusal {
	return &refusal{
		log: log,
		grpc: grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
			// Not Unavailable, at which a client would try again.
			return status.Error(codes.FailedPrecondition,
				"this member's client port speaks TLS: give the endpoint as https://HOST:PORT, and the client the certificate of the authority (--cacert)")
		})),
		http: &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Connection", "close")
				// The words of Go's servers, by which programs know it.
				http.Error(w, "Client sent an HTTP request to an HTTPS server.", http.StatusBadRequest)
			}),
			ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
	}
}

func (r *refusal) end() {
	r.grpc.Stop()
	if err := r.http.Close(); err != nil {
		r.log.Debug("connections without TLS were closed", "err", err)
	}
}

// overHTTP is the handler of what comes over HTTP. Clients of gRPC that offer HTTP/1
// as well have their calls among the requests over HTTP/2, by their type.
type overHTTP struct {
	grpc  *grpc.Server
	pages http.Handler

	mu     sync.Mutex
	closed bool
	open   int
	// idle is closed once nothing is open any more.
	idle chan struct{}
}

// serveCallsOverHTTP lets the HTTP server take calls of gRPC.
func serveCallsOverHTTP(o *Options, gs *grpc.Server, hs *http.Server) *overHTTP {
	h := &overHTTP{grpc: gs, pages: hs.Handler, idle: make(chan struct{})}
	hs.Handler = h
	hs.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: int(min(o.MaxConcurrentStreams, math.MaxInt32))}
	return h
}

// ServeHTTP implements http.Handler.
func (h *overHTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !isCall(r) {
		h.pages.ServeHTTP(w, r)
		return
	}
	if !h.enter() {
		http.Error(w, "the server is closed", http.StatusServiceUnavailable)
		return
	}
	defer h.leave()
	h.grpc.ServeHTTP(w, r)
}

func (h *overHTTP) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.open++
	return true
}

func (h *overHTTP) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open--; h.closed && h.open == 0 {
		close(h.idle)
	}
}

// end lets no more calls in, and waits for those that there are. It reports whether
// none is left: while there are, the gRPC server cannot stop gracefully.
func (h *overHTTP) end(ctx context.Context) bool {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		if h.open == 0 {
			close(h.idle)
		}
	}
	h.mu.Unlock()
	select {
	case <-h.idle:
		return true
	case <-ctx.Done():
		return false
	}
}
