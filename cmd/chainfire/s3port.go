package main

import (
	"context"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"chainfire/api"
	"chainfire/internal/sniff"
	"chainfire/join"
	"chainfire/node"
	"chainfire/object"
	"chainfire/pki"
	"chainfire/s3admin"
	"chainfire/s3api"
)

// s3Ahead is what of S3 is there before the member is.
type s3Ahead struct {
	// lis is the port, nil for none.
	lis *net.TCPListener
	// first makes the first access key; nil where none may be owed.
	first *s3admin.First
}

// openS3 takes the port of S3 and finds out what the first access key is to be. joins says that the
// member is to join a cluster, which has its keys.
func openS3(o *s3Options, dir string, joins bool, getenv func(string) string, log *slog.Logger) (a s3Ahead, err error) {
	if a.lis, err = listenS3(o, log); err != nil {
		return a, err
	}
	if a.first, err = firstS3(o, dir, joins, getenv); err != nil {
		return s3Ahead{}, errors.Join(err, a.close())
	}
	return a, nil
}

// close gives the port back, where no member has it.
func (a *s3Ahead) close() error {
	if a.lis == nil {
		return nil
	}
	return a.lis.Close()
}

// listenS3 opens the port of S3. It is nil where S3 is off, and where the default address
// cannot be had, which several members of one machine want.
func listenS3(o *s3Options, log *slog.Logger) (*net.TCPListener, error) {
	if !o.on {
		return nil, nil
	}
	at, err := net.ResolveTCPAddr("tcp", o.listen.value)
	var lis *net.TCPListener
	if err == nil {
		lis, err = net.ListenTCP("tcp", at)
	}
	switch {
	case err == nil:
		return lis, nil
	case !o.listen.given:
		log.Warn("S3 is not served by this member, whose default address for it cannot be had: choose another with --listen-s3, or say so with --s3=off", "addr", o.listen.value, "err", err)
		return nil, nil
	}
	return nil, fmt.Errorf("listen for S3: %w; choose another address with --listen-s3, or none with --s3=off", err)
}

// earlyS3 answers at the port while the member joins; nil is no port.
func earlyS3(lis *net.TCPListener, port *pki.Port) *earlyPort {
	if lis == nil {
		return nil
	}
	e := &earlyPort{lis: lis, plain: port == nil, page: refuseS3}
	if port != nil {
		e.tls = port.OpenTLS()
	}
	return e
}

// refuseS3 tells a client of S3 to come back later.
func refuseS3(w http.ResponseWriter, reason string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusServiceUnavailable)
	b, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: "ServiceUnavailable", Message: reason})
	if err == nil {
		_, _ = w.Write(append([]byte(xml.Header), b...)) // who has gone away needs no answer
	}
}

// s3Member is S3 on a running member, also on one where it is off.
type s3Member struct {
	// objects are nil where S3 is off.
	objects object.Service
	// lis is nil where the member serves nobody.
	lis  net.Listener
	tls  *tls.Config
	log  *slog.Logger
	opts *s3Options
	// traceable says that whoever reaches the client port may trace the process.
	traceable bool
	// first makes the first access key, if that is owed.
	first *s3admin.First

	mux *sniff.Listener
	// server answers what servers take from the port.
	server  *s3api.Server
	servers []*http.Server
	cancel  context.CancelFunc
	tasks   sync.WaitGroup
	// keyed is closed once the first key is there, or cannot be made.
	keyed chan struct{}
}

func newS3Member(o *s3Options, n *node.Node, a s3Ahead, port *pki.Port, traceable bool, log *slog.Logger) *s3Member {
	m := &s3Member{
		opts: o, log: log, first: a.first, traceable: traceable,
		keyed: make(chan struct{}),
	}
	if !o.on {
		return m
	}
	m.objects = n.Objects()
	if a.lis != nil {
		m.lis = a.lis
	}
	if port != nil {
		m.tls = port.OpenTLS()
	}
	return m
}

// register adds the calls that manage S3 to those of the client port.
func (m *s3Member) register(r grpc.ServiceRegistrar) {
	api.RegisterS3Server(r, s3admin.New(s3admin.Options{Objects: m.objects, Logger: m.log}))
}

// start serves S3, and makes the first key if that is owed. What ends the port before stop
// goes to failed.
func (m *s3Member) start(registry prometheus.Registerer, hostID string, failed chan<- error) error {
	if m.objects == nil {
		close(m.keyed)
		return nil
	}
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background())
	m.tasks.Go(func() {
		defer close(m.keyed)
		m.makeFirst(ctx)
	})
	if m.lis == nil {
		return nil
	}
	stats, err := newS3Stats(registry)
	if err != nil {
		return err
	}
	s := s3api.New(s3api.Options{
		Service: m.objects, Region: m.opts.region, Domains: m.opts.domains, TrustForwarded: m.opts.trustForwarded,
		HostID: hostID, Logger: m.log, Stats: stats, Traceable: m.traceable,
	})
	m.server = s
	m.serve(s.HTTPServer(), failed)
	return nil
}

// serve serves a handler over HTTP at the port.
func (m *s3Member) serve(srv *http.Server, failed chan<- error) {
	m.mux = sniff.New(m.lis, sniff.Options{Logger: m.log})
	plain := m.mux.HTTP1()
	over := func(srv *http.Server, l net.Listener) {
		m.servers = append(m.servers, srv)
		// It ends with the port, whose own error is told.
		m.tasks.Go(func() { _ = srv.Serve(l) })
	}
	if m.tls == nil {
		over(srv, plain)
	} else {
		_, secure := m.mux.TLS(m.tls)
		over(srv, secure)
		over(&http.Server{
			Handler: http.HandlerFunc(misled), ReadHeaderTimeout: srv.ReadHeaderTimeout, IdleTimeout: srv.IdleTimeout,
			MaxHeaderBytes: srv.MaxHeaderBytes, ErrorLog: srv.ErrorLog,
		}, plain)
	}
	m.log.Info("serving S3", "addr", m.lis.Addr().String(), "tls", m.tls != nil, "region", m.opts.region, "domains", m.opts.domains)
	m.tasks.Go(func() {
		if err := m.mux.Serve(); err != nil {
			failed <- fmt.Errorf("the port of S3 failed: %w", err)
		}
	})
}

// misled answers who speaks without TLS where there is TLS.
func misled(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Connection", "close")
	http.Error(w, "this port speaks TLS: ask at https://", http.StatusBadRequest)
}

// url is where clients of S3 connect; empty is nowhere.
func (m *s3Member) url() string {
	switch {
	case m.lis == nil:
		return ""
	case m.tls == nil:
		return join.SchemePlain + "://" + m.lis.Addr().String()
	}
	return join.SchemeTLS + "://" + m.lis.Addr().String()
}

// addr is the address of the port; empty is none.
func (m *s3Member) addr() string {
	if m.lis == nil {
		return ""
	}
	return m.lis.Addr().String()
}

// stop ends S3. Requests that are under way when the context ends are cut off.
func (m *s3Member) stop(ctx context.Context) {
	if m.cancel != nil {
		m.cancel()
	}
	if m.mux != nil {
		if err := m.mux.Close(); err != nil {
			m.log.Warn("the port of S3 was not closed", "err", err)
		}
	}
	if m.mux == nil && m.lis != nil { // it was never served
		if err := m.lis.Close(); err != nil {
			m.log.Warn("the port of S3 was not closed", "err", err)
		}
	}
	for _, s := range m.servers {
		if err := s.Shutdown(ctx); err != nil {
			m.log.Warn("requests of S3 that did not end were cut off", "err", errors.Join(err, s.Close()))
		}
	}
	if m.server != nil {
		m.server.Close(ctx)
	}
	m.tasks.Wait()
}
