package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc"

	"chainfire/etcdapi"
	"chainfire/etcdflags"
	"chainfire/join"
	"chainfire/node"
	"chainfire/pki"
)

// How long a stop takes at most: for the requests under way, and then for handing
// leadership over. Both together are well below the time that who stops a service waits.
const (
	etcdDrain    = 500 * time.Millisecond
	etcdHandOver = 500 * time.Millisecond
)

// dropIn is a member that runs under etcd's command line.
type dropIn struct {
	cfg   *etcdflags.Config
	log   *slog.Logger
	ports []*etcdPort
	opts  *etcdOptions
	node  *node.Node
	// secure is how clients speak TLS; nil is not at all.
	secure *pki.Port
	ahead  s3Ahead
	s3     *s3Member
}

// etcdServe runs a member until the context ends or the member does.
func (a *app) etcdServe(ctx context.Context, cfg *etcdflags.Config, log *slog.Logger) (err error) {
	log.Info("starting a member under etcd's command line", "etcd-version", etcdVersion, "version", productVersion(),
		"name", cfg.Name, "data-dir", cfg.DataDir, "initial-cluster", cfg.InitialCluster, "initial-cluster-state", cfg.InitialClusterState,
		"listen-peer-urls", cfg.ListenPeer.Strings(), "initial-advertise-peer-urls", cfg.AdvertisePeer.Strings(),
		"listen-client-urls", cfg.ListenClient.Strings(), "advertise-client-urls", cfg.AdvertiseClient.Strings())
	m := &dropIn{cfg: cfg, log: log}
	if m.opts, err = newEtcdOptions(cfg, log); err != nil {
		return err
	}
	// Ports are taken first: a join must not be made for a member that cannot serve.
	if m.ports, err = openPorts(cfg); err != nil {
		return err
	}
	joins := cfg.InitialClusterState == etcdflags.StateExisting
	if m.ahead, err = openS3(&m.opts.s3, cfg.DataDir, joins, a.getenv, log); err != nil {
		return errors.Join(err, m.closePorts())
	}
	if m.opts.node.BlobStore, err = blobStore(m.opts.s3.blobStore, a.getenv); err != nil {
		return errors.Join(err, m.closePorts())
	}
	if err := m.start(ctx); err != nil {
		err = errors.Join(fmt.Errorf("start the member: %w", err), m.closePorts())
		if ctx.Err() != nil {
			log.Info("stopped before the member ran", "err", err)
			return nil
		}
		return err
	}
	return m.run(ctx)
}

// start starts the member. Clients that come early are told how far a join is.
func (m *dropIn) start(ctx context.Context) (err error) {
	if m.cfg.ForceNewCluster {
		if err := forceNewCluster(ctx, m.cfg, m.log); err != nil {
			return err
		}
	}
	if err := m.opts.form(m.cfg, m.log); err != nil {
		return err
	}
	o := m.opts.node
	if m.secure, err = m.opts.loadTLS(m.cfg, m.log); err != nil {
		return err
	}
	early := earlyPorts(m.ports, m.secure)
	if e := earlyS3(m.ahead.lis, m.secure); e != nil {
		early = append(early, e)
	}
	o.Logger = m.log
	o.Report = func(e join.Event) {
		for _, p := range early {
			p.tell(e)
		}
		m.log.Info("joining", "step", string(e.Step), "member", e.Member, "text", e.Text, "done-bytes", e.Done, "total-bytes", e.Total)
	}
	m.node, err = node.Start(ctx, o)
	for _, p := range early {
		if herr := p.handOn(); herr != nil && err == nil {
			err = errors.Join(fmt.Errorf("take a client port over: %w", herr), stopNode(m.node))
		}
	}
	return err
}

func (m *dropIn) closePorts() error {
	var errs []error
	for _, p := range m.ports {
		errs = append(errs, p.Close())
	}
	return errors.Join(append(errs, m.ahead.close())...)
}

// run serves clients until the context ends or something fails.
func (m *dropIn) run(ctx context.Context) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	o := m.opts.api
	m.s3 = newS3Member(&m.opts.s3, m.node, m.ahead, m.secure, m.opts.api.Profiles, m.log)
	o.Member, o.Logger, o.Registry, o.Register = m.node, m.log, registry, func(r grpc.ServiceRegistrar) {
		m.node.RegisterCluster(r)
		m.s3.register(r)
	}
	if m.secure != nil {
		o.TLS, o.CertificateUsers = m.secure.ServerTLS(), m.opts.tls.askClients
		fresh, stop := context.WithCancel(ctx)
		defer stop()
		go keepFresh(fresh, m.secure)
	}
	api, err := etcdapi.New(o)
	if err != nil {
		return errors.Join(fmt.Errorf("start the client port: %w", err), m.closePorts(), stopNode(m.node))
	}
	m.node.ServePages(etcdapi.PeerPages(m.node, m.log))
	served := make(chan error, len(m.ports)+1)
	for _, p := range m.ports {
		go func() { served <- fmt.Errorf("a client port failed: %w", p.serve(api)) }()
	}
	if err = m.s3.start(registry, memberID(m.node.ID()), served); err != nil {
		return errors.Join(err, m.stop(api))
	}
	if err = m.untilReady(ctx, served); err == nil && ctx.Err() == nil {
		m.announce()
		err = m.wait(ctx, served)
	}
	if why := context.Cause(ctx); why != nil {
		m.log.Info("received signal; shutting down", "signal", why.Error())
	}
	return errors.Join(err, m.stop(api))
}

// stop ends the member within the time that etcdDrain and etcdHandOver leave it.
func (m *dropIn) stop(api *etcdapi.Server) error {
	drain, cancel := context.WithTimeout(context.Background(), etcdDrain)
	defer cancel()
	var ending sync.WaitGroup
	ending.Go(func() { m.s3.stop(drain) })
	if err := api.Shutdown(drain); err != nil {
		m.log.Warn("the client ports were closed with requests under way", "err", err)
	}
	ending.Wait()
	hand, cancel := context.WithTimeout(context.Background(), etcdHandOver)
	defer cancel()
	if err := m.node.Stop(hand); err != nil {
		return fmt.Errorf("stop the member: %w", err)
	}
	m.log.Info("stopped", "name", m.cfg.Name, "data-dir", m.cfg.DataDir)
	return nil
}

// readyInterval is how often a member that does not serve yet is looked at.
const readyInterval = 20 * time.Millisecond

// untilReady waits until a linearizable read succeeds, or until wait would return.
func (m *dropIn) untilReady(ctx context.Context, served <-chan error) error {
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	ready := make(chan struct{})
	looking, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for m.node.Health(looking, true) != nil {
			select {
			case <-tick.C:
			case <-looking.Done():
				return
			}
		}
		close(ready)
	}()
	ended := make(chan error, 1)
	go func() { ended <- m.wait(looking, served) }()
	select {
	case <-ready:
		cancel()
		// What came meanwhile is no end by the cancel alone.
		return <-ended
	case err := <-ended:
		return err
	}
}

// wait returns nil when the context ends, and why when anything else does.
func (m *dropIn) wait(ctx context.Context, served <-chan error) error {
	select {
	case <-ctx.Done():
		return nil
	case <-m.node.Done():
		err := m.node.Err()
		if errors.Is(err, node.ErrRemoved) {
			// For etcd that is an end in good order.
			m.log.Warn("this member was removed from the cluster and ends", "err", err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("the member stopped: %w", err)
		}
		return errors.New("the member stopped")
	case err := <-served:
		return err
	}
}

// announce says that the member serves, in the words that tools wait for, and to systemd.
func (m *dropIn) announce() {
	m.log.Info("ready to serve client requests")
	for _, p := range m.ports {
		p.announce(m.log)
	}
	told, err := daemon.SdNotify(false, daemon.SdNotifyReady)
	switch {
	case err != nil:
		m.log.Error("failed to notify systemd for readiness", "err", err)
	case told:
		m.log.Info("successfully notified init daemon")
	}
}
