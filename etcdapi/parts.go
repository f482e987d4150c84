package etcdapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"chainfire/internal/sniff"
)

// Part is what is served at a port.
type Part int

// The parts. Who reaches a port for metrics can look at the member, and neither read nor
// change a key.
const (
	All     Part = iota // everything, as Serve does
	Calls               // gRPC alone
	Pages               // HTTP alone
	Metrics             // over HTTP, metrics and health alone
)

// Speech is how clients speak at a port.
type Speech int

// The ways of speaking. Where Options.TLS is not set nobody speaks TLS.
const (
	WithTLS    Speech = iota // over TLS, if Options.TLS is set
	WithoutTLS               // nobody over TLS
	Either                   // each client as it likes
)

// partDrain is how long a request over HTTP to a port of Calls, Pages or Metrics may take
// that is under way when the server is shut down.
const partDrain = 300 * time.Millisecond

// ServePart is Serve for a part of what there is.
func (s *Server) ServePart(lis net.Listener, part Part, how Speech) error {
	config := s.tls
	if how == WithoutTLS {
		config = nil
	}
	plain := config == nil || how == Either
	if part == All {
		return s.serve(lis, config, func(mux *sniff.Listener) protocols { return s.protocols(mux, config, plain) })
	}
	return s.serve(lis, config, func(mux *sniff.Listener) protocols { return s.protocolsOf(mux, config, plain, part) })
}

// protocolsOf takes what a part needs of a port, and hangs up on everything else. Without
// a configuration nobody speaks TLS there; plain says that one may do without.
func (s *Server) protocolsOf(mux *sniff.Listener, config *tls.Config, plain bool, part Part) protocols {
	srv := &http.Server{
		Handler: s.handlerOf(part), ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		HTTP2: s.http.HTTP2, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	end := func() {
		ctx, cancel := context.WithTimeout(context.Background(), partDrain)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			s.log.Debug("http requests that did not end were cut off", "err", errors.Join(err, srv.Close()))
		}
	}
	over := func(l net.Listener) func() error { return func() error { return srv.Serve(l) } }
	calls := func(l net.Listener) func() error { return func() error { return s.grpc.Serve(l) } }
	p := protocols{end: end}
	if plain && part == Calls {
		p.serve = append(p.serve, calls(mux.HTTP2()))
	} else if plain {
		p.serve = append(p.serve, over(mux.HTTP1()))
	}
	if config == nil {
		return p
	}
	h2, mixed := mux.TLS(config)
	if part == Calls {
		p.serve = append(p.serve, calls(h2))
	} else {
		p.serve = append(p.serve, over(h2))
	}
	p.serve = append(p.serve, over(mixed))
	return p
}

// handlerOf is what a part serves over HTTP; for calls those that come with HTTP/2 over
// TLS from clients that offer HTTP/1 as well.
func (s *Server) handlerOf(part Part) http.Handler {
	switch part {
	case Metrics:
		return s.watched
	case Pages:
		return s.overHTTP.pages
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isCall(r) {
			http.NotFound(w, r)
			return
		}
		s.overHTTP.ServeHTTP(w, r)
	})
}

// isCall reports whether a request over HTTP is a call of gRPC.
func isCall(r *http.Request) bool {
	return r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}

// serve serves what take takes of a port until Shutdown, or until the port fails.
func (s *Server) serve(lis net.Listener, config *tls.Config, take func(*sniff.Listener) protocols) error {
	mux := sniff.New(lis, sniff.Options{Timeout: s.sniffTimeout, Logger: s.log})
	if err := s.enter(mux); err != nil {
		return errors.Join(err, mux.Close())
	}
	defer s.leave(mux)
	p := take(mux)
	defer p.end()
	s.log.Info("serving clients", "addr", lis.Addr().String(), "tls", config != nil)

	ended := make(chan error, len(p.serve)+1)
	go func() { ended <- mux.Serve() }()
	for _, serve := range p.serve {
		go func() { ended <- serve() }()
	}
	err := <-ended
	closeErr := mux.Close()
	for range p.serve {
		s.log.Debug("listener ended", "addr", lis.Addr().String(), "err", <-ended) // follows from the first
	}
	if s.ctx.Err() != nil {
		return ErrServerClosed
	}
	return errors.Join(fmt.Errorf("serve clients on %s: %w", lis.Addr(), err), closeErr)
}

// watchedHandler serves metrics and health, as etcd does where it serves nothing else.
func watchedHandler(o *Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", metricsHandler(o.Registry, o.Logger))
	h := &healthServer{member: o.Member, log: o.Logger, timeout: o.RequestTimeout, metrics: o.metrics}
	h.register(mux)
	return mux
}
