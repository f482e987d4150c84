package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"chainfire/etcdapi"
	"chainfire/join"
	"chainfire/node"
	"chainfire/pki"
)

// stopTimeout bounds a stop in good order.
const stopTimeout = 10 * time.Second

func newServe(a *app) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a member: the first of a cluster, or with --join one more",
		Long: `Run a member until it is interrupted. An empty data folder begins a new cluster,
or, with --join, becomes a member of the cluster that answers there: it is checked,
seeded with a snapshot, replicates as a learner, and votes as soon as that makes
the number of voters odd. With --replace as well it takes the place of a member that
is down, of which it may have name and addresses: that one is removed when the
newcomer has caught up, and is a member as before if the newcomer gives up. With
--bootstrap-from it is seeded by the member that is named, and by no other. A member
that was stopped goes on with the same command, with or without --join.

With --read-replica the newcomer stays a learner: it serves reads, linearizable ones
too, takes no writes, and is never promoted.

Standard output tells where clients connect, and the line that adds the next
member; with --progress json it has one JSON object a line, the last of a start
being {"step":"ready","client":"HOST:PORT","client_url":"http://HOST:PORT","peer":"HOST:PORT",..}. The log goes to
the error output.

The first interrupt stops the member in good order: a leader hands leadership
over. The second ends it at once, which loses nothing that was acknowledged.`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range []string{"user", "password"} {
				if cmd.Flags().Changed(name) {
					return fmt.Errorf("--%s is for the other commands: serve asks nobody", name)
				}
			}
			for _, f := range [][2]string{{"cert", "--cert-file"}, {"key", "--key-file"}, {"cacert", "--trusted-ca-file"}} {
				if cmd.Flags().Changed(f[0]) {
					return fmt.Errorf("--%s is for commands that ask a member; what a member takes is %s", f[0], f[1])
				}
			}
			if err := o.check(); err != nil {
				return err
			}
			return a.serve(cmd.Context(), &o)
		},
	}
	o.flags(cmd.Flags())
	return cmd
}

// From when on a member logs a request, and reading or applying, that took longer. They
// are etcd's.
const (
	slowCall  = 300 * time.Millisecond
	slowApply = 100 * time.Millisecond
)

// serve runs a member until the context ends or the member does.
func (a *app) serve(ctx context.Context, o *serveOptions) (err error) {
	tuneMemory(a.getenv)
	show, err := newProgress(o.progress, a.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, show.Close()) }()
	log, err := a.logger(show.over(a.errOut))
	if err != nil {
		return err
	}
	// The port is taken first: a join must not be made for a member that cannot
	// serve. Clients that come early wait for the answer, but not for a join.
	addr, err := o.tls.addr(o.listenClient)
	if err != nil {
		return err
	}
	lis, err := listenClient(addr)
	if err != nil {
		return err
	}
	opts, err := o.nodeOptions(lis.Addr().String(), a.getenv)
	if err != nil {
		return errors.Join(err, lis.Close())
	}
	port, err := o.tls.load(o.dataDir, opts.AdvertiseClient, log)
	if err != nil {
		return errors.Join(err, lis.Close())
	}
	early := newEarlyPort(lis, port)
	opts.Logger = log
	opts.Report = func(e join.Event) {
		early.tell(e)
		show.show(newProgressEvent(e))
	}
	log.Info("starting", "raft-engine", o.raftEngine)
	n, err := node.Start(ctx, opts)
	if herr := early.handOn(); herr != nil && err == nil {
		err = errors.Join(fmt.Errorf("take the client port over: %w", herr), stopNode(n))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("start the member: %w", err), lis.Close())
	}
	m := &servedMember{app: a, opts: o, node: n, log: log, show: show, lis: lis, port: port}
	return m.run(ctx)
}

func listenClient(addr string) (*net.TCPListener, error) {
	at, err := net.ResolveTCPAddr("tcp", addr)
	var lis *net.TCPListener
	if err == nil {
		lis, err = net.ListenTCP("tcp", at)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for clients: %w; choose another address with --listen-client", err)
	}
	return lis, nil
}

// servedMember is a running member with its client port.
type servedMember struct {
	app  *app
	opts *serveOptions
	node *node.Node
	log  *slog.Logger
	show *progress
	lis  net.Listener
	// port is how clients speak TLS; nil is not at all.
	port *pki.Port
}

func (m *servedMember) run(ctx context.Context) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	port := etcdapi.Options{
		Member: m.node, Logger: m.log, Registry: registry,
		MaxRequestBytes: int(m.opts.maxRequestBytes), Register: m.node.RegisterCluster,
		SlowCall: slowCall, SlowRead: slowApply, ExtensiveMetrics: true,
	}
	m.opts.clients.apply(&port)
	if m.port != nil {
		port.TLS, port.CertificateUsers = m.port.ServerTLS(), m.opts.tls.askClients
		fresh, stop := context.WithCancel(ctx)
		defer stop()
		go keepFresh(fresh, m.port)
	}
	api, err := etcdapi.New(port)
	if err != nil {
		return errors.Join(fmt.Errorf("start the client port: %w", err), m.lis.Close(), stopNode(m.node))
	}
	m.node.ServePages(etcdapi.PeerPages(m.node, m.log))
	served := make(chan error, 1)
	go func() { served <- api.Serve(m.lis) }()
	err = m.announce()
	if err == nil {
		err = m.wait(ctx, served)
	}
	m.log.Info("stopping")
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if serr := api.Shutdown(stopping); serr != nil {
		m.log.Warn("the client port was closed with requests under way", "err", serr)
	}
	return errors.Join(err, stopNode(m.node))
}

// wait returns nil when the context ends, and why when anything else does.
func (m *servedMember) wait(ctx context.Context, served <-chan error) error {
	select {
	case <-ctx.Done():
		return nil
	case <-m.node.Done():
		if err := m.node.Err(); err != nil {
			return fmt.Errorf("the member stopped: %w", err)
		}
		return errors.New("the member stopped")
	case err := <-served:
		if err == nil {
			err = errors.New("it was closed")
		}
		return fmt.Errorf("the client port failed: %w", err)
	}
}

func stopNode(n *node.Node) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		return fmt.Errorf("stop the member: %w", err)
	}
	return nil
}

// announce tells that the member serves, and how to go on from here.
func (m *servedMember) announce() error {
	peer, err := join.HostPort(m.node.AdvertisePeer())
	if err != nil {
		return fmt.Errorf("the address of this member: %w", err)
	}
	client := m.lis.Addr().String()
	if m.show.mode == progressJSON {
		m.show.show(progressEvent{
			Time: time.Now(), Step: stepReady, Client: client, ClientURL: m.opts.tls.scheme() + "://" + client, Peer: peer,
			Cluster: clusterID(m.node.ClusterID()), Member: memberID(m.node.ID()),
		})
		return nil
	}
	next := nextMember{
		program: m.app.program, client: client, peer: peer, dataDir: m.opts.dataDir,
		plain: strings.HasPrefix(m.node.AdvertisePeer(), join.SchemePlain+"://"), tokenFile: node.TokenFile(m.opts.dataDir),
		peerFiles: m.opts.peerFiles, serveArgs: m.opts.tls.args(), secure: m.opts.tls.on(), clientArgs: m.opts.tls.clientArgs(),
		remote: m.opts.insecureListenRemote, free: portIsFree, exists: pathExists,
	}
	return m.app.printf("%s", readyText(clusterID(m.node.ClusterID()), memberID(m.node.ID()), next))
}

func pathExists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// portIsFree tries to listen at an address.
func portIsFree(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	return l.Close() == nil
}
