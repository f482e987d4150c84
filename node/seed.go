package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"chainfire"
	"chainfire/api"
	"chainfire/internal/sched"
	"chainfire/join"
	"chainfire/pki"
	"chainfire/raft"
	"chainfire/snapshot"
	"chainfire/wal"
)

// seeder pulls snapshots for a follower that lags behind the leader's log. One
// runs at a time, of the leader that asked last.
type seeder struct {
	n      *Node
	ctx    context.Context
	cancel context.CancelFunc
	tasks  *sched.Group

	mu      sync.Mutex
	wanted  raft.Message
	running bool
	// ready is the snapshot that is complete in the seed folder.
	ready *raft.SnapshotMeta
	// claimed says that consensus has it, or is about to: until it is installed or
	// declined, nothing else may be pulled into the folder.
	claimed bool
}

func newSeeder(n *Node) *seeder {
	ctx, cancel := context.WithCancel(context.Background())
	return &seeder{n: n, ctx: ctx, cancel: cancel, tasks: sched.NewGroup(n.sched)}
}

func (s *seeder) close() {
	s.cancel()
	s.tasks.Wait()
}

// want starts a pull, or lets the one that runs end in the name of this message.
func (s *seeder) want(m raft.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = m
	if s.running || s.claimed || s.ctx.Err() != nil {
		return
	}
	s.running = true
	s.tasks.Go(s.run)
}

func (s *seeder) run() {
	for {
		s.mu.Lock()
		from := s.wanted.From
		s.mu.Unlock()
		meta, err := s.pull(from)
		s.mu.Lock()
		m := s.wanted
		if err == nil {
			s.ready, s.claimed = &meta, true
		}
		again := err != nil && m.From != from && s.ctx.Err() == nil
		s.running = again
		s.mu.Unlock()
		switch {
		case again:
			continue
		case err != nil:
			// The leader asks again after a while.
			s.n.log.Warn("snapshot not received", "from", from, "err", err)
			return
		}
		m.Snapshot = &meta
		s.n.inbox.receive([]raft.Message{m})
		return
	}
}

// disclaim lets the next snapshot be pulled. If the leader still wants one, it asks
// again.
func (s *seeder) disclaim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claimed = false
}

func (s *seeder) pull(from uint64) (raft.SnapshotMeta, error) {
	n := s.n
	client, err := host{n}.Peer(from)
	if err != nil {
		return raft.SnapshotMeta{}, err
	}
	if err := n.wipe(seedDir); err != nil {
		return raft.SnapshotMeta{}, err
	}
	n.log.Info("pulling a snapshot", "from", from)
	return n.fetch(s.ctx, client, from, n.appliedIndex.Load()+1)
}

// sourcePatience is how long a member may give nothing of its snapshot. Then
// another is asked, or the leader asks again, which may be another one by now.
const sourcePatience = 5 * time.Second

func (n *Node) fetch(ctx context.Context, client api.PeerClient, from, minIndex uint64) (raft.SnapshotMeta, error) {
	return snapshot.Fetch(ctx, snapshot.FetchOptions{
		FS: n.opts.FS, Dir: n.path(seedDir), MinIndex: minIndex, ClusterID: n.cluster, Patience: sourcePatience,
		Sched: n.sched,
		Source: &snapshot.GRPCSource{
			Client: client, Label: fmt.Sprintf("member %d", from), ClusterID: n.cluster, MemberID: n.id,
		},
	})
}

// install makes a received snapshot the state, and restarts the log after it.
// Runs on the writer's goroutine.
func (n *Node) install(log *wal.Log, p *raft.Persist) error {
	s := p.Snapshot
	defer n.seeder.disclaim()
	n.seeder.mu.Lock()
	ready := n.seeder.ready
	n.seeder.mu.Unlock()
	if ready == nil || ready.Index != s.Index || ready.Term != s.Term {
		return errors.New("the snapshot that consensus accepted is not the one that was received")
	}
	job := &restoreJob{dir: n.path(seedDir), meta: *s, done: make(chan struct{})}
	n.applier.replace(job)
	if n.sched.Wait(job.done, n.stop) == 1 {
		return chainfire.ErrStopped
	}
	if job.err != nil {
		return job.err
	}
	hs := n.hardState
	hs.Commit = max(hs.Commit, s.Index)
	if err := log.Reset(s.Index, s.Term, hs, s.Index); err != nil {
		return err
	}
	n.floor, n.durableCommit = s.Index, hs.Commit
	n.log.Info("snapshot installed", "index", s.Index, "term", s.Term)
	return nil
}

// joining is what a newcomer remembers until it is a member.
type joining struct {
	Incarnation uint64 `json:"incarnation"`
	Cluster     uint64 `json:"cluster_id"`
	Member      uint64 `json:"member_id"`
	// SeedIndex and SeedTerm are set once the seed is the store.
	SeedIndex uint64   `json:"seed_index"`
	SeedTerm  uint64   `json:"seed_term"`
	Targets   []string `json:"targets"`
}

func (n *Node) newcomer(j joining, brought *snapshot.Meta) (*join.Newcomer, error) {
	o := join.NewcomerOptions{
		Targets: j.Targets, Replace: n.opts.Replace, BootstrapFrom: n.opts.BootstrapFrom, Name: n.opts.Name, PeerURLs: n.opts.peerURLs(), Schemes: n.opts.schemes(),
		ClientURLs: n.opts.AdvertiseClient, Incarnation: j.Incarnation, Cluster: j.Cluster,
		Version: n.opts.Version, Level: n.opts.Bounds.FeatureLevel, ReadReplica: n.opts.ReadReplica, FS: n.opts.FS, Dir: n.path(seedDir), Report: n.opts.Report,
		Dial: n.opts.Network.Dial, Sched: n.sched, Logger: n.log, Seeding: n.service.seeding,
		Reserve: cmp.Or(n.opts.Bounds.SegmentBytes, wal.DefaultSegmentBytes),
	}
	if brought != nil {
		o.Cluster, o.Brought = brought.ClusterID, &brought.SnapshotMeta
	}
	if n.creds != nil && !n.isMember() {
		if err := n.withToken(&o); err != nil {
			return nil, err
		}
	}
	return join.NewNewcomer(o)
}

// isMember reports whether the member has its place already.
func (n *Node) isMember() bool { return n.id != 0 }

// withToken adds what a newcomer proves itself with.
func (n *Node) withToken(o *join.NewcomerOptions) (err error) {
	if n.opts.Token == nil {
		return errors.New("joining a cluster takes a join token: make one with 'chainfire token create' at a member, and give it with --token or --token-file; where members have certificates of their operator, give one with --peer-cert-file, --peer-key-file and --peer-trusted-ca-file; where they speak without TLS, write http:// in --listen-peer")
	}
	o.Secret, o.Certificate = n.opts.Token.Secret[:], n.creds.NewcomerCert()
	o.Request, err = n.creds.Request()
	o.Adopt = func(cluster, member uint64, p join.Pass) error {
		return n.adoptPass(pki.Member{Cluster: cluster, ID: member}, p)
	}
	return err
}

// join makes an empty directory a member of the cluster that answers at
// Options.Join: a place, the seed as its store, an empty log after it.
func (n *Node) join(ctx context.Context) (identity, error) {
	var j joining
	if _, err := readSealed(n.opts.FS, n.path(joiningFile), &j); err != nil {
		return identity{}, err
	}
	brought, err := n.broughtSeed(ctx, j.Incarnation != 0)
	if err != nil {
		return identity{}, err
	}
	if j.Incarnation == 0 {
		j.Incarnation = n.random()
	}
	j.Targets = n.opts.Join
	if err := writeSealed(n.opts.FS, n.path(joiningFile), j); err != nil {
		return identity{}, err
	}
	n.service.announce(j.Incarnation)
	c, err := n.newcomer(j, brought)
	if err != nil {
		return identity{}, err
	}
	defer c.Close()
	if err := n.wipe(walDir, storeDir); err != nil {
		return identity{}, err
	}
	place, err := c.Seed(ctx)
	if err != nil {
		return identity{}, err
	}
	handed := place.SealKey
	if n.opts.SealKeyFile != "" {
		handed = nil // the operator's own is not for this directory
	}
	if err := n.keepSealKey(handed); err != nil {
		return identity{}, err
	}
	j.Cluster, j.Member, j.SeedIndex, j.SeedTerm = place.Cluster, place.Member, place.Seed.Index, place.Seed.Term
	if err := n.settle(j, place); err != nil {
		return identity{}, err
	}
	id := identity{Cluster: place.Cluster, Member: place.Member, Incarnation: j.Incarnation, Name: n.opts.Name}
	return id, saveIdentity(n.opts.FS, n.opts.Dir, id)
}

// settle makes the seed the store of this directory.
func (n *Node) settle(j joining, place join.Place) error {
	if err := n.adopt(place.Dir); err != nil {
		return err
	}
	hs := raft.HardState{Term: place.Seed.Term, Commit: place.Seed.Index}
	if err := n.createLog(place.Seed.Index, place.Seed.Term, hs); err != nil {
		return err
	}
	return writeSealed(n.opts.FS, n.path(joiningFile), j)
}

// enter ends what a join began, now that the member runs: it asks to be a
// learner, then reports until it votes. A member that is in the configuration
// already has nothing to do.
func (n *Node) enter(ctx context.Context) error {
	var j joining
	found, err := readSealed(n.opts.FS, n.path(joiningFile), &j)
	if err != nil || !found {
		return err
	}
	c, err := n.newcomer(j, nil)
	if err != nil {
		return err
	}
	c.Resume(join.Place{
		Cluster: n.cluster, Member: n.id, Dir: n.path(seedDir),
		Seed: raft.SnapshotMeta{Index: j.SeedIndex, Term: j.SeedTerm},
	})
	if !n.machine.Conf().Contains(n.id) {
		ctx, cancel := n.untilStop(ctx)
		err := c.Learn(ctx)
		cancel()
		if err == nil {
			err = n.Err()
		}
		if err != nil {
			c.Close()
			return err
		}
	}
	n.tasks.Go(func() { n.reportJoin(c) })
	return nil
}

// untilStop is a context that also ends when the node stops.
func (n *Node) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	n.tasks.Go(func() {
		if n.sched.Wait(n.stop, ctx.Done()) == 0 {
			cancel()
		}
	})
	return ctx, cancel
}

func (n *Node) reportJoin(c *join.Newcomer) {
	defer c.Close()
	ctx, cancel := n.untilStop(context.Background())
	defer cancel()
	for ctx.Err() == nil {
		err := c.Watch(ctx)
		var refused *join.RefusedError
		switch {
		case err == nil:
			if err := n.opts.FS.Remove(n.path(joiningFile)); err != nil {
				n.log.Warn("the mark of the join was not removed", "err", err)
			}
			return
		case errors.As(err, &refused):
			n.fatal("the cluster has given this member up", refused)
			return
		}
		if n.pause(ctx, time.Second) != nil {
			return
		}
	}
}
