// Package etcdapi offers a member to the clients of etcd 3.7: its gRPC services
// for keys, watches, membership and maintenance, and on the same port its HTTP
// paths for health, version and metrics. Answers, errors and the order of checks
// are etcd's, down to the texts. The package knows a member only through the
// interfaces of package chainfire.
package etcdapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"chainfire/etcdapi/locks"
	"chainfire/internal/handshaken"
	"chainfire/internal/sniff"
)

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = errors.New("etcdapi: server is closed")

// Server serves one member on any number of listeners. All methods may be
// called from any goroutine.
type Server struct {
	log          *slog.Logger
	sniffTimeout time.Duration
	interval     time.Duration
	grpc         *grpc.Server
	http         *http.Server
	health       *health.Server
	monitor      *monitor
	maxMessage   int
	streams      *streamSet
	locks        *locks.Services
	// watched is what is served at a port of Metrics.
	watched http.Handler
	// tls is how clients speak TLS; nil is not at all.
	tls      *tls.Config
	overHTTP *overHTTP
	// ctx ends with Shutdown; wg counts the monitor and the Serve calls.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	listeners map[*sniff.Listener]struct{}
	// json is made with the first listener, before anything serves HTTP.
	json *jsonPort
}

// New makes a server. It starts no goroutine and opens no port; Serve does. It
// returns an error if an option is out of range or if the registry already
// holds metrics of the same names.
func New(opts Options) (*Server, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	calls, err := newCallMetrics(o.Registry, o.ExtensiveMetrics)
	if err != nil {
		return nil, err
	}
	if o.metrics, err = newServerMetrics(o.Registry); err != nil {
		return nil, err
	}
	slow := newSlowLog(&o)
	s := &Server{
		log: o.Logger, sniffTimeout: o.SniffTimeout, interval: o.StatusInterval,
		maxMessage: o.MaxRequestBytes + messageOverhead, tls: o.TLS,
		health: health.NewServer(), streams: newStreamSet(), listeners: make(map[*sniff.Listener]struct{}),
	}
	s.watched = watchedHandler(&o)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	guard := newGuard(&o)
	s.locks = locks.New(s.ctx, guard.onBehalf)
	s.monitor = newMonitor(&o, s.streams)
	if err := o.Registry.Register(newCollector(s.monitor, o.Logger)); err != nil {
		return nil, fmt.Errorf("register member metrics: %w", err)
	}
	if err := o.Registry.Register(newCountsCollector(&o, slow)); err != nil {
		return nil, fmt.Errorf("register what the member counts: %w", err)
	}
	if s.http, err = newHTTPServer(&o, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.json.ServeHTTP(w, r) })); err != nil {
		return nil, err
	}
	s.grpc = newGRPCServer(&o, calls, slow, &gate{member: o.Member, monitor: s.monitor, streams: s.streams, metrics: o.metrics}, guard)
	s.overHTTP = serveCallsOverHTTP(&o, s.grpc, s.http)
	registerServices(s.grpc, &o, slow, s.health, s.locks)
	calls.prepare(s.grpc.GetServiceInfo())
	o.metrics.prepare(s.grpc.GetServiceInfo())
	return s, nil
}

func newGRPCServer(o *Options, calls *callMetrics, slow *slowLog, g *gate, u *guard) *grpc.Server {
	return grpc.NewServer(
		grpc.Creds(handshaken.Credentials{Plain: true}),
		grpc.MaxRecvMsgSize(o.MaxRequestBytes+messageOverhead),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxConcurrentStreams(o.MaxConcurrentStreams),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: o.KeepaliveMinTime}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: o.KeepaliveInterval, Timeout: o.KeepaliveTimeout}),
		grpc.ForceServerCodecV2(o.metrics.codec()),
		grpc.ChainUnaryInterceptor(slow.unary, calls.unary, g.unary, o.metrics.unary, u.unary),
		grpc.ChainStreamInterceptor(calls.stream, g.stream, o.metrics.stream, u.stream),
	)
}

func registerServices(gs *grpc.Server, o *Options, slow *slowLog, hs *health.Server, ls *locks.Services) {
	pb.RegisterKVServer(gs, &kvServer{member: o.Member, maxRequestBytes: o.MaxRequestBytes, maxTxnOps: o.MaxTxnOps, slow: slow})
	pb.RegisterWatchServer(gs, &watchServer{
		member: o.Member, log: o.Logger, maxMessage: o.MaxRequestBytes + messageOverhead,
	})
	pb.RegisterLeaseServer(gs, &leaseServer{member: o.Member, header: o.Member.Header})
	pb.RegisterClusterServer(gs, &clusterServer{member: o.Member})
	pb.RegisterMaintenanceServer(gs, &maintenanceServer{member: o.Member, log: o.Logger, metrics: o.metrics})
	pb.RegisterAuthServer(gs, &authServer{member: o.Member})
	ls.Register(gs)
	healthpb.RegisterHealthServer(gs, hs)
	if o.Register != nil {
		o.Register(gs)
	}
	reflection.Register(gs)
}

// Serve accepts clients on lis until Shutdown, after which it returns
// ErrServerClosed, or until lis fails. It closes lis. It may be called several
// times, with different listeners.
func (s *Server) Serve(lis net.Listener) error { return s.ServePart(lis, All, WithTLS) }

// enter takes a listener in, and starts the monitor and the JSON gateway with the
// first one.
func (s *Server) enter(mux *sniff.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrServerClosed
	}
	if s.json == nil {
		port, err := newJSONPort(s.ctx, s.maxMessage)
		if err != nil {
			return err
		}
		s.json = port
		s.locks.Connect(port.own)
		s.wg.Go(func() { s.monitor.run(s.ctx, s.interval) })
		s.wg.Go(func() {
			// It ends with the server, by Shutdown.
			err := s.grpc.Serve(port.pipe)
			s.log.Debug("listener ended", "addr", "gateway", "err", err)
		})
	}
	s.listeners[mux] = struct{}{}
	s.wg.Add(1)
	return nil
}

func (s *Server) leave(mux *sniff.Listener) {
	s.mu.Lock()
	delete(s.listeners, mux)
	s.mu.Unlock()
	s.wg.Done()
}

// httpDrain is how long Shutdown waits for what came over HTTP.
const httpDrain = time.Second

// Shutdown stops accepting, ends the watch streams, waits for the calls in
// flight and closes every connection; for those over HTTP a second. If ctx ends first, what is left is cut off
// and its error is returned. The member itself is left running. A second call
// does the same as the first.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.cancel()
	var errs []error
	for mux := range s.listeners {
		errs = append(errs, mux.Close())
	}
	port := s.json
	s.mu.Unlock()
	s.health.Shutdown()
	s.streams.close(rpctypes.ErrGRPCStopped)

	// What came as JSON is a call in flight too, so HTTP ends first; but a client that
	// sends its request by drops must not use up the time of the others.
	drain, cancel := context.WithTimeout(ctx, httpDrain)
	defer cancel()
	if err := s.http.Shutdown(drain); err != nil {
		s.log.Warn("http requests that did not end were cut off", "err", err)
		errs = append(errs, s.http.Close())
	}
	errs = append(errs, s.locks.Close(ctx))
	finished := make(chan struct{})
	go func() {
		if s.overHTTP.end(ctx) {
			s.grpc.GracefulStop()
		}
		close(finished)
	}()
	if port != nil {
		errs = append(errs, port.close())
	}
	select {
	case <-finished:
	case <-ctx.Done():
		s.grpc.Stop()
		<-finished
		errs = append(errs, fmt.Errorf("wait for calls in flight: %w", ctx.Err()))
	}
	s.wg.Wait()
	return errors.Join(errs...)
}
