// Package node is one running member: the goroutines around a replica. The loop
// owns the replica, the writer the write-ahead log, the applier the state
// machine, and one sender per peer its connection; they hand work to each other
// in batches and share nothing else that changes.
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"chainfire/auth/token"
	"chainfire/bodies/external"
	"chainfire/internal/courtesy"
	"chainfire/internal/disk"
	"chainfire/internal/sched"
	"chainfire/join"
	"chainfire/machine"
	"chainfire/pki"
	"chainfire/raft"
	"chainfire/replica"
	"chainfire/snapshot"
	"chainfire/wal"
)

// Options configure a member. Zero values mean the defaults named.
type Options struct {
	// Dir is the data directory. Required.
	Dir string
	// Name is unique in the cluster. Default is the peer address.
	Name string
	// ListenPeer is where other members connect, HOST:PORT. Default
	// 127.0.0.1:2380.
	ListenPeer string
	// AdvertisePeer is the URL under which other members reach this one.
	// Default is the address of ListenPeer, with https:// or, if Plain, http://.
	AdvertisePeer string
	// AdvertiseClient are the URLs under which clients reach this member.
	AdvertiseClient []string
	// Peers, if set, is used in place of ListenPeer and AdvertisePeer.
	Peers *PeerPorts
	// Join are peer addresses of members of the cluster to join. Without it an
	// empty directory begins a new cluster; a directory in use ignores it.
	Join []string
	// Static names the members that begin a new cluster together; nil is this one alone. A
	// directory in use ignores it.
	Static *StaticCluster
	// Replace is the member whose place a newcomer takes, by its id or name; empty is
	// nobody's. A directory in use ignores it.
	Replace string
	// BootstrapFrom is the member that a newcomer is seeded by, by its id or name;
	// empty is any. A directory in use ignores it.
	BootstrapFrom string
	// ReadReplica makes a newcomer a learner that stays one. A directory in use is
	// what it became when it joined.
	ReadReplica bool
	// Plain lets members speak without TLS to each other. All members of a cluster
	// do, or none. A Network of one's own implies it.
	Plain bool
	// PeerFiles are the certificates of an operator by which members know each other
	// in place of the authority that a cluster makes: at all members, or at none.
	PeerFiles pki.Files
	// PeerOnly narrows down whose certificates are taken, where there are PeerFiles.
	PeerOnly pki.Only
	// OweFirstKey leaves FirstKeyMark in an empty directory that begins a new cluster, of
	// several members that begin it together with the first by name.
	OweFirstKey bool
	// SealKeyFile has what the secrets of access keys are sealed with, 32 to 4096 random bytes:
	// at all members the same. Default is what the cluster has made itself; members that began
	// one together (Static) without an authority have made nothing. Whoever joins is given it by
	// those who have it.
	SealKeyFile string
	// Token lets an empty directory join a cluster whose members speak TLS.
	Token *pki.Token
	// Version is the product's version, which is told to the other members: at most
	// machine.MaxVersionLen bytes.
	Version string
	// TickInterval is the unit of Raft's time. Default 25 ms.
	TickInterval time.Duration
	// HeartbeatTicks and ElectionTicks are Raft's timeouts in ticks. Defaults 2
	// and 10.
	HeartbeatTicks, ElectionTicks int
	// RequestTimeout bounds a request, also where its caller has more time. Default
	// 5 s and two election timeouts.
	RequestTimeout time.Duration
	// SeedRate bounds what this member sends of snapshots, in bytes a second.
	// Default is no bound.
	SeedRate int64
	// BodyRate bounds repair, compaction and scrubs of object bodies, each, in bytes a second.
	// Default 64 MiB.
	BodyRate int64
	// BlobStore is where bodies of objects are kept in place of the members' disks, at all members
	// the same; nil is nowhere else. Its Cluster is filled in.
	BlobStore *external.Options
	// QuotaBytes is the size of the store on disk from which on it takes no more keys.
	// Default is no bound.
	QuotaBytes int64
	// DiskReserve is how many bytes of the disk are to stay free, but no more than a
	// quarter of it: with less the cluster takes no more keys. Default is none.
	DiskReserve int64
	// CompactPeriod is for how long history is kept, and CompactRevisions how much of it:
	// what is older is compacted by itself. One of them is set, or none: nothing is.
	CompactPeriod    time.Duration
	CompactRevisions int64
	// AuthJWT gives and verifies the tokens of users; nil is simple tokens, which are good
	// for AuthTokenTTL after their last use. Default is 5 minutes. Members of one cluster
	// have the same.
	AuthJWT      *token.JWT
	AuthTokenTTL time.Duration
	// BcryptCost is that of the hashes of passwords, 4 to 31. Default 10.
	BcryptCost int
	// ProgressInterval is how often idle watches that asked for it are told how far they
	// are. Default 10 min.
	ProgressInterval time.Duration
	// CompareEvery is how often the leader compares what the members hold, and
	// CompareCompactedEvery how soon after a compaction it does so beside that. Default is
	// never. It is less often where hashing takes long.
	CompareEvery, CompareCompactedEvery time.Duration
	// CompareAtStart lets a member that was one before serve only once it has compared
	// what it holds with the others.
	CompareAtStart bool
	// SlowApply is from when on a round of applying is logged, and counted, that took
	// longer. Default is never.
	SlowApply time.Duration
	// MaxLearners is how many learners MemberAdd lets the cluster have, less than 0 being
	// none; it bounds no other way to come in. Default is no bound.
	MaxLearners int
	// ReserveTTL is how long the place of a newcomer that is not heard of is
	// kept. Default 30 s.
	ReserveTTL time.Duration
	// Engine makes the consensus engine; members of one cluster may differ in it.
	// Default is raft.NewCore.
	Engine raft.NewEngine
	// Voters and ReplaceAfter are those of join.KeeperOptions.
	Voters       int
	ReplaceAfter time.Duration
	// NoPromote keeps learners and voters what they are.
	NoPromote bool
	// Logger is required.
	Logger *slog.Logger
	// Report takes what a newcomer tells the person who started it; nil drops it.
	Report func(join.Event)
	// FS is the file system. Default is the operating system's.
	FS disk.FS
	// Network is where the member meets the others. Default is TCP.
	Network Network
	// Sched runs the member's tasks. Default is sched.Go.
	Sched sched.Scheduler
	// Bounds are for simulation, where everything is smaller.
	Bounds Bounds
}

func (o *Options) fill() error {
	if o.Dir == "" || o.Logger == nil {
		return errors.New("a member needs a data directory and a logger")
	}
	o.ListenPeer = cmp.Or(o.ListenPeer, "127.0.0.1:2380")
	o.TickInterval = cmp.Or(o.TickInterval, 25*time.Millisecond)
	o.HeartbeatTicks = cmp.Or(o.HeartbeatTicks, 2)
	o.ElectionTicks = cmp.Or(o.ElectionTicks, 10)
	o.RequestTimeout = cmp.Or(o.RequestTimeout, 5*time.Second+2*o.election())
	o.ProgressInterval = cmp.Or(o.ProgressInterval, progressInterval)
	o.BcryptCost = cmp.Or(o.BcryptCost, bcrypt.DefaultCost)
	o.Version = cmp.Or(o.Version, "0.0.0")
	if len(o.Version) > machine.MaxVersionLen {
		return fmt.Errorf("the version of this program has %d bytes, at most %d: build it with a shorter one", len(o.Version), machine.MaxVersionLen)
	}
	if o.FS == nil {
		o.FS = disk.OS()
	}
	if err := o.fillPeers(); err != nil {
		return err
	}
	o.Plain = o.Plain || o.Network != nil
	o.Sched = sched.Or(o.Sched)
	o.Bounds.FeatureLevel = cmp.Or(o.Bounds.FeatureLevel, machine.FeatureLevel)
	o.Bounds.KeepLogBytes = cmp.Or(o.Bounds.KeepLogBytes, keepLogBytes)
	o.Bounds.MaxLogBytes = cmp.Or(o.Bounds.MaxLogBytes, maxLogBytes)
	o.Bounds.FlushLogBytes = cmp.Or(o.Bounds.FlushLogBytes, flushLogBytes)
	if o.Report == nil {
		o.Report = func(join.Event) {}
	}
	return nil
}

func (o *Options) election() time.Duration {
	return time.Duration(o.ElectionTicks) * o.TickInterval
}

// Node is a running member. Its methods may be called from any goroutine.
type Node struct {
	opts    Options
	log     *slog.Logger
	sched   sched.Scheduler
	id      uint64
	cluster uint64
	// incarnation is the random number of the data directory.
	incarnation uint64
	// boots are the starts of this member, of which this is one, and of others.
	boots *boots

	machine   *machine.Machine
	wal       *wal.Log
	streams   Streams
	snapshots *snapshot.Server
	// snapshotCalls answers the gRPC calls for snapshots.
	snapshotCalls *snapshot.Service
	// etcdTurn has the turn of who makes a file in etcd's format.
	etcdTurn chan struct{}
	gate     *join.Gate
	lock     interface{ Close() error }
	// creds prove who this member is, authority signs newcomers; nil where members
	// speak without TLS, or with certificates of their operator.
	creds     *pki.Credentials
	authority *pki.Authority
	// own are the credentials of an operator, unproven such as nobody checks, in place of
	// those two.
	own      *pki.Own
	unproven *pki.Unproven
	// sealer seals the secrets of access keys; sealHanded says that newcomers are given its key.
	sealer     *sealer
	sealHanded bool

	inbox   *inbox
	writer  *writer
	applier *applier
	waiters *waiters
	readers *readers
	conns   *conns
	extents
	seeder  *seeder
	watch   *keeping
	lessors *lessors
	tokens  *token.Table
	// authRevision is that of users and roles of which the tokens are; tokensFrom is the
	// first entry whose tokens are remembered.
	authRevision, tokensFrom atomic.Uint64
	// hashTurns has the turns of who hashes a password.
	hashTurns   chan struct{}
	hashWaiters atomic.Int64
	quota       quota
	counts      *counts
	disk        diskGuard
	// courtesy is how bodies of objects give way to keys.
	courtesy *courtesy.Gate
	hasher   *hasher

	// What the loop publishes.
	lead, term, commit atomic.Uint64
	leaderMu           sync.Mutex
	leaderSignal       chan struct{} // closed when the leader or the term changes

	appliedIndex atomic.Uint64
	nextID       atomic.Uint64

	// The applier's own: what was applied, in bytes of the log, after the entry unflushedFrom.
	unflushed, unflushedFrom uint64

	// The writer's own.
	floor     uint64
	hardState raft.HardState
	// durableCommit is the commit index in the log.
	durableCommit uint64

	port      Port
	service   *peerService
	leaveOnce sync.Once
	// remembered is what the peers file holds; the applier's own.
	remembered []byte

	stop     chan struct{}
	stopOnce sync.Once
	// closeErr is set by closeOnce.
	closeOnce sync.Once
	closeErr  error
	tasks     *sched.Group
	failMu    sync.Mutex
	failure   error
}

// Start opens a data directory and runs the member in it. An empty directory
// begins a new cluster, or joins one if Options.Join names members of it: then
// Start returns once the seed is in place and the member runs as a learner. A
// canceled context ends a join; it has no effect on a running member.
func Start(ctx context.Context, opts Options) (*Node, error) {
	if err := opts.fill(); err != nil {
		return nil, err
	}
	if err := disk.MkdirAll(opts.FS, opts.Dir); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	lock, err := disk.Lock(opts.FS, opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("lock data directory %s: %w", opts.Dir, err)
	}
	n := &Node{
		opts: opts, log: opts.Logger, lock: lock, sched: opts.Sched, tasks: sched.NewGroup(opts.Sched), stop: make(chan struct{}),
		inbox: newInbox(), writer: newWriter(), applier: newApplier(),
		waiters: newWaiters(), readers: newReaders(),
		leaderSignal: make(chan struct{}), hasher: newHasher(), counts: newCounts(), tokens: newTokens(&opts), hashTurns: newHashTurns(),
	}
	n.courtesy = courtesy.New(n.sched.Now, n.pause)
	if err := n.start(ctx); err != nil {
		return nil, errors.Join(err, n.closeAll())
	}
	return n, nil
}

func (n *Node) start(ctx context.Context) error {
	if err := settle(n.opts.FS, n.opts.Dir); err != nil {
		return err
	}
	id, found, err := loadIdentity(n.opts.FS, n.opts.Dir)
	if err != nil {
		return err
	}
	if err := n.loadCredentials(id, found); err != nil {
		return err
	}
	if n.opts.Network == nil {
		n.opts.Network = n.newNetwork()
	}
	n.conns = newConns(n.opts.Network.Dial)
	if err := n.listenPeer(); err != nil {
		return err
	}
	if !found {
		if id, err = n.found(ctx); err != nil {
			return err
		}
	} else if err := remove(n.opts.FS, n.path(foundingFile)); err != nil {
		return err // a crash left it, and it would let a later start wipe what is here
	}
	n.id, n.cluster, n.incarnation = id.Member, id.Cluster, id.Incarnation
	if n.opts.Name == "" {
		n.opts.Name = id.Name
	}
	if n.boots, err = openBoots(n.opts.FS, n.path(bootsFile), n.random()); err != nil {
		return err
	}
	n.service.introduce()
	core, err := n.open(ctx)
	if err != nil {
		return err
	}
	if err := n.openSealer(); err != nil {
		return err
	}
	if found || n.opts.Static != nil {
		err := n.vouch(ctx)
		if !found && errors.Is(err, ErrCopied) {
			err = errors.Join(errMustJoin, n.forget())
		}
		if err != nil {
			return err
		}
	}
	if found {
		if err := n.compareAtStart(ctx); err != nil {
			return err
		}
	}
	if err := n.boots.begin(n.opts.FS, n.path(bootsFile)); err != nil {
		return err
	}
	if err := n.serve(core); err != nil {
		return err
	}
	if err := n.enter(ctx); err != nil {
		return err
	}
	n.tasks.Go(n.introduceProgram)
	return nil
}

// random is for identities and nonces; it is never 0.
func (n *Node) random() uint64 { return n.sched.Uint64() | 1 }

// serve starts the tasks.
func (n *Node) serve(cfg replica.Config) error {
	nonce := n.random() >> 33 // leaves room for a count below it
	cfg.Raft.Nonce = nonce
	n.nextID.Store(nonce << 32)
	r, err := replica.New(cfg)
	if err != nil {
		return err
	}
	n.term.Store(cfg.Raft.HardState.Term)
	n.hardState, n.durableCommit = cfg.Raft.HardState, cfg.Raft.HardState.Commit
	n.appliedIndex.Store(cfg.Raft.Applied)
	if err := n.openPeers(); err != nil {
		return err
	}
	if err := n.openBodies(); err != nil {
		return err
	}
	n.membersChanged()
	n.tasks.Go(func() { n.loop(r) })
	n.tasks.Go(func() { n.write(n.wal) })
	n.tasks.Go(n.apply)
	n.tasks.Go(n.keep)
	n.tasks.Go(n.expire)
	n.serveObjects()
	if n.opts.CompactPeriod > 0 || n.opts.CompactRevisions > 0 {
		n.tasks.Go(n.autoCompact)
	}
	if n.opts.DiskReserve > 0 {
		n.tasks.Go(n.guardDisk)
	}
	if n.opts.CompareEvery > 0 || n.opts.CompareCompactedEvery > 0 {
		n.tasks.Go(n.compareMembers)
	}
	n.service.open()
	return nil
}

// ID is this member's id.
func (n *Node) ID() uint64 { return n.id }

// ClusterID is the id of the cluster.
func (n *Node) ClusterID() uint64 { return n.cluster }

// Stop ends the member and gives everything back. A leader first hands
// leadership to another voter, as far as the context allows.
func (n *Node) Stop(ctx context.Context) error {
	if n.lead.Load() == n.id && n.Err() == nil {
		n.handOver(ctx)
	}
	return n.closeAll()
}

// closeAll closes what was opened, in the reverse order.
func (n *Node) closeAll() error {
	n.closeOnce.Do(func() { n.closeErr = n.closeParts() })
	return n.closeErr
}

func (n *Node) closeParts() error {
	n.stopOnce.Do(func() { close(n.stop) })
	var errs []error
	if n.port != nil {
		errs = append(errs, n.port.Close())
	}
	if n.streams != nil {
		n.streams.Close()
	}
	if n.seeder != nil {
		n.seeder.close()
	}
	errs = append(errs, n.closeBodies())
	n.tasks.Wait()
	if n.boots != nil {
		n.saveBoots()
	}
	if n.conns != nil {
		n.conns.close()
	}
	if n.snapshots != nil {
		n.snapshots.Close()
	}
	if n.wal != nil {
		errs = append(errs, n.wal.Close())
	}
	if n.machine != nil {
		errs = append(errs, n.machine.Close())
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
		n.lock = nil
	}
	return errors.Join(errs...)
}
