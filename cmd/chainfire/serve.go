package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"

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
being {"step":"ready","client":"HOST:PORT","client_url":"http://HOST:PORT","peer":"HOST:PORT",
"s3":"HOST:PORT","s3_url":"http://HOST:PORT",..}. The log goes to the error output.

The first member of a cluster makes the first access key of S3: the one in
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in the files that these name with
_FILE after them, or else one by chance, which it leaves in DATA_DIR/s3-root-key.
With CHAINFIRE_BUCKET it makes a bucket of that name as well.

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
	m := &servedMember{app: a, opts: o, log: log, show: show}
	if err := m.open(); err != nil {
		return err
	}
	if err := m.start(ctx); err != nil {
		return errors.Join(fmt.Errorf("start the member: %w", err), m.closePorts())
	}
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
	// lis is the client port.
	lis *net.TCPListener
	// port is how clients speak TLS; nil is not at all.
	port *pki.Port
	// nodeOpts are those of the member, but for where it reports.
	nodeOpts node.Options
	ahead    s3Ahead
	s3       *s3Member
}

// open takes the ports first: a join must not be made for a member that cannot serve.
func (m *servedMember) open() (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, m.closePorts())
		}
	}()
	o, getenv := m.opts, m.app.getenv
	addr, err := o.tls.addr(o.listenClient)
	if err != nil {
		return err
	}
	if m.lis, err = listenClient(addr); err != nil {
		return err
	}
	if m.ahead, err = openS3(&o.s3, o.dataDir, len(o.join) > 0, getenv, m.log); err != nil {
		return err
	}
	if m.nodeOpts, err = o.nodeOptions(m.lis.Addr().String(), getenv); err != nil {
		return err
	}
	m.port, err = o.tls.load(o.dataDir, m.nodeOpts.AdvertiseClient, m.log)
	return err
}

func (m *servedMember) closePorts() error {
	err := m.ahead.close()
	if m.lis != nil {
		err = errors.Join(m.lis.Close(), err)
	}
	return err
}

// start starts the member. Clients that come early wait for the answer, but not for a join.
func (m *servedMember) start(ctx context.Context) (err error) {
	early := []*earlyPort{newEarlyPort(m.lis, m.port)}
	if e := earlyS3(m.ahead.lis, m.port); e != nil {
		early = append(early, e)
	}
	o := m.nodeOpts
	o.Logger = m.log
	o.Report = func(e join.Event) {
		for _, p := range early {
			p.tell(e)
		}
		m.show.show(newProgressEvent(e))
	}
	m.log.Info("starting", "raft-engine", m.opts.raftEngine)
	m.node, err = node.Start(ctx, o)
	for _, p := range early {
		if herr := p.handOn(); herr != nil && err == nil {
			err = errors.Join(fmt.Errorf("take a port over: %w", herr), stopNode(m.node))
		}
	}
	return err
}

func (m *servedMember) run(ctx context.Context) error {
	m.s3 = newS3Member(&m.opts.s3, m.node, m.ahead, m.port, m.opts.clients.profiles, m.log)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	port := etcdapi.Options{
		Member: m.node, Logger: m.log, Registry: registry,
		MaxRequestBytes: int(m.opts.maxRequestBytes), Register: m.register,
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
		return errors.Join(fmt.Errorf("start the client port: %w", err), m.closePorts(), stopNode(m.node))
	}
	m.node.ServePages(etcdapi.PeerPages(m.node, m.log))
	served := make(chan error, 2)
	go func() { served <- clientPortEnded(api.Serve(m.lis)) }()
	if err = m.s3.start(registry, memberID(m.node.ID()), served); err == nil {
		err = m.announce(ctx)
	}
	if err == nil {
		err = m.wait(ctx, served)
	}
	m.log.Info("stopping")
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	var ending sync.WaitGroup
	ending.Go(func() { m.s3.stop(stopping) })
	if serr := api.Shutdown(stopping); serr != nil {
		m.log.Warn("the client port was closed with requests under way", "err", serr)
	}
	ending.Wait()
	return errors.Join(err, stopNode(m.node))
}

// register adds the services that are ours to those of the client port.
func (m *servedMember) register(r grpc.ServiceRegistrar) {
	m.node.RegisterCluster(r)
	m.s3.register(r)
}

// clientPortEnded is why a client port ended.
func clientPortEnded(err error) error {
	if err == nil {
		err = errors.New("it was closed")
	}
	return fmt.Errorf("the client port failed: %w", err)
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
		return err
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

// firstKeyWait bounds how long the word that a member is ready waits for the first access
// key, which whoever reads it may want to use at once.
const firstKeyWait = 5 * time.Second

// announce tells that the member serves, and how to go on from here.
func (m *servedMember) announce(ctx context.Context) error {
	late := time.NewTimer(firstKeyWait)
	defer late.Stop()
	select {
	case <-m.s3.keyed:
	case <-late.C:
	case <-ctx.Done():
	case <-m.node.Done():
	}
	peer, err := join.HostPort(m.node.AdvertisePeer())
	if err != nil {
		return fmt.Errorf("the address of this member: %w", err)
	}
	client := m.lis.Addr().String()
	if m.show.mode == progressJSON {
		m.show.show(progressEvent{
			Time: time.Now(), Step: stepReady, Client: client, ClientURL: m.opts.tls.scheme() + "://" + client, Peer: peer,
			S3: m.s3.addr(), S3URL: m.s3.url(), Cluster: clusterID(m.node.ClusterID()), Member: memberID(m.node.ID()),
		})
		return nil
	}
	next := nextMember{
		program: m.app.program, client: client, peer: peer, dataDir: m.opts.dataDir,
		plain: strings.HasPrefix(m.node.AdvertisePeer(), join.SchemePlain+"://"), tokenFile: node.TokenFile(m.opts.dataDir),
		peerFiles: m.opts.peerFiles, serveArgs: m.opts.tls.args(), secure: m.opts.tls.on(), clientArgs: m.opts.tls.clientArgs(),
		remote: m.opts.insecureListenRemote, free: portIsFree, exists: pathExists, s3: m.s3.addr(), s3URL: m.s3.url(),
	}
	next.serveArgs = append(next.serveArgs, m.opts.s3.args()...)
	if m.ahead.first != nil && m.ahead.first.Key == nil {
		next.s3Key = m.ahead.first.KeyFile
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
