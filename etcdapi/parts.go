package etcdapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"chainfire/internal/sniff"
)

// ServeCalls is Serve, but for gRPC alone.
func (s *Server) ServeCalls(lis net.Listener) error {
	return s.servePart(lis, (*sniff.Listener).HTTP2, s.grpc.Serve)
}

// ServePages is Serve, but for HTTP alone.
func (s *Server) ServePages(lis net.Listener) error {
	return s.servePart(lis, (*sniff.Listener).HTTP1, s.http.Serve)
}

// ServeMetrics is Serve, but for metrics and health alone: whoever reaches lis can look
// at the member, and neither read nor change a key.
func (s *Server) ServeMetrics(lis net.Listener) error {
	srv := &http.Server{
		Handler: s.watched, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	err := s.servePart(lis, (*sniff.Listener).HTTP1, srv.Serve)
	return errors.Join(err, srv.Close())
}

// servePart serves what part takes of a port, and hangs up on everything else.
func (s *Server) servePart(lis net.Listener, part func(*sniff.Listener) net.Listener, serve func(net.Listener) error) error {
	mux := sniff.New(lis, sniff.Options{Timeout: s.sniffTimeout, Logger: s.log})
	if err := s.enter(mux); err != nil {
		return errors.Join(err, mux.Close())
	}
	defer s.leave(mux)
	taken := part(mux)
	ended := make(chan error, 2)
	go func() { ended <- mux.Serve() }()
	go func() { ended <- serve(taken) }()
	err := <-ended
	closeErr := mux.Close()
	s.log.Debug("listener ended", "addr", lis.Addr().String(), "err", <-ended) // follows from the first
	if s.ctx.Err() != nil {
		return ErrServerClosed
	}
	return errors.Join(fmt.Errorf("serve clients on %s: %w", lis.Addr(), err), closeErr)
}

// watchedHandler serves metrics and health, as etcd does where it serves nothing else.
func watchedHandler(o *Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", metricsHandler(o.Registry, o.Logger))
	h := &healthServer{member: o.Member, log: o.Logger, timeout: o.RequestTimeout}
	h.register(mux)
	return mux
}
