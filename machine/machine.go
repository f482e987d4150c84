// Package machine applies committed log entries to the store, identically on
// every member: keys, transactions, compactions, members and the configuration.
// It has no clock, no chance and no order but the log's.
//
// One goroutine, the applier, calls Apply and Restore; everything else may be
// called from any goroutine.
package machine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"chainfire"
	"chainfire/auth"
	"chainfire/mvcc"
	"chainfire/raft"
)

// FS is the file system that the machine's store lives on.
type FS = mvcc.FS

// ErrNotExist says that there is no machine in the directory, ErrExist that
// there is one already.
var (
	ErrNotExist = mvcc.ErrNotExist
	ErrExist    = mvcc.ErrExist
)

// Options configure a machine. The zero value of every field but Dir is its
// default; see mvcc.Options.
type Options struct {
	FS     FS
	Dir    string
	Logger *slog.Logger
	// Fatal is told the first error that the member must not go on after, on a
	// goroutine that Spawn starts.
	Fatal func(error)
	Spawn func(func())
	// Flushed is told each time FlushedIndex has grown.
	Flushed func(index uint64)
	// FlushTook and Compacted are those of mvcc.Options.
	FlushTook func(time.Duration)
	Compacted func(mvcc.Compaction)
	// Floor is the applied index that Open must find.
	Floor                                uint64
	CacheBytes, MemTableBytes, RingBytes int64
	// Still leaves out all work in the background.
	Still bool
	// Level is the highest feature level that is opened and applied; the default is
	// FeatureLevel.
	Level uint64
}

func (o Options) store() mvcc.Options {
	return mvcc.Options{
		FS: o.FS, Dir: o.Dir, Logger: o.Logger, Fatal: o.Fatal, Spawn: o.Spawn, Flushed: o.Flushed, FlushTook: o.FlushTook, Compacted: o.Compacted, Floor: o.Floor,
		CacheBytes: o.CacheBytes, MemTableBytes: o.MemTableBytes, RingBytes: o.RingBytes, Still: o.Still,
	}
}

// Init is the state of a brand-new cluster.
type Init struct {
	ClusterID uint64
	Conf      raft.ConfState
	Members   []MemberRecord
	// Tokens are the first join tokens.
	Tokens []TokenRecord
	// Auth is who may do what; nil is a cluster without users.
	Auth *auth.State
	// Index and Term are those of the last entry that the state includes.
	Index, Term uint64
}

// Machine is the state of one member.
type Machine struct {
	store   *mvcc.Store
	cluster atomic.Pointer[cluster]
	// known is Options.Level.
	known uint64
	sums  objectSums
}

// Bootstrap writes the state of a brand-new cluster, durably. It returns
// ErrExist if there is one in the directory; after a crash there is none or a
// whole one.
func Bootstrap(opts Options, init Init) error {
	c := &cluster{id: init.ClusterID, conf: init.Conf, removed: map[uint64]struct{}{}, tokens: init.Tokens, auth: init.Auth}
	for _, r := range init.Members {
		c.put(r.clone())
	}
	return bootstrap(opts, init, c)
}

func bootstrap(opts Options, init Init, c *cluster) error {
	if init.ClusterID == 0 {
		return errors.New("bootstrap: no cluster id")
	}
	if err := init.Conf.Validate(); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	st := mvcc.State{Applied: init.Index, Term: init.Term}
	if err := mvcc.Create(opts.store(), st, c.rows()); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return nil
}

// Install makes a received checkpoint the state of a directory that has none,
// or returns ErrExist. The checkpoint is moved.
func Install(opts Options, dir string) error {
	if err := mvcc.Install(opts.store(), dir); err != nil {
		return fmt.Errorf("install checkpoint: %w", err)
	}
	return nil
}

// Open opens the machine in a directory, or returns ErrNotExist, and ErrNewer for
// one that only a newer program understands. Entries after Applied are to be applied
// again.
func Open(opts Options) (*Machine, error) {
	store, err := mvcc.Open(opts.store())
	if err != nil {
		return nil, fmt.Errorf("open machine: %w", err)
	}
	m := &Machine{store: store, known: cmp.Or(opts.Level, FeatureLevel)}
	if err := m.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open machine: %w", err), store.Close())
	}
	return m, nil
}

// load reads the membership from the store.
func (m *Machine) load() error {
	rows, err := m.store.MetaPrefix("")
	if err != nil {
		return err
	}
	c, err := loadCluster(rows, m.known)
	if err != nil {
		return err
	}
	sum, err := m.store.SideSum()
	if err != nil {
		return err
	}
	m.sums.reset(objectSum{m.store.State().Applied, sum})
	m.cluster.Store(c)
	return nil
}

// Close flushes and closes the machine and ends its watch streams. The applier
// must have stopped.
func (m *Machine) Close() error { return m.store.Close() }

// Err is the store's first fatal error, nil while it has none. Any goroutine.
func (m *Machine) Err() error { return m.store.Err() }

// Applied is the last entry applied.
func (m *Machine) Applied() (index, term uint64) {
	st := m.store.State()
	return st.Applied, st.Term
}

// Conf is the configuration in force after the last entry applied.
func (m *Machine) Conf() raft.ConfState { return m.cluster.Load().conf.Clone() }

// ClusterID is the cluster's id, which never changes.
func (m *Machine) ClusterID() uint64 { return m.cluster.Load().id }

// Members lists the members and the reservations by id, a copy.
func (m *Machine) Members() []MemberRecord { return m.cluster.Load().clone().members }

// Removed reports whether a member id was removed, or its reservation given
// up. Such an id never returns.
func (m *Machine) Removed(id uint64) bool {
	_, gone := m.cluster.Load().removed[id]
	return gone
}

// State is where the store stands, all of it at one moment. Any goroutine.
func (m *Machine) State() mvcc.State { return m.store.State() }

// Revision is the key space's current revision.
func (m *Machine) Revision() int64 { return m.store.State().Revision }

// CompactRevision is the compacted revision, 0 before the first compaction.
func (m *Machine) CompactRevision() int64 { return m.store.State().Compacted }

// FlushedIndex is the applied index that a power cut would keep; see
// mvcc.Store.FlushedIndex.
func (m *Machine) FlushedIndex() uint64 { return m.store.FlushedIndex() }

// Flush makes everything applied before the call durable.
func (m *Machine) Flush(ctx context.Context) error { return m.store.Flush(ctx) }

// BeginFlush makes what was applied before the call durable, and does not wait for it; see
// mvcc.Store.BeginFlush.
func (m *Machine) BeginFlush() error { return m.store.BeginFlush() }

// WaitCompacted waits until the space of what was superseded at or before a
// revision is given back on this member.
func (m *Machine) WaitCompacted(ctx context.Context, rev int64) error {
	return m.store.WaitCompacted(ctx, rev)
}

// Range reads one key or an interval from the applied state.
func (m *Machine) Range(ctx context.Context, r *chainfire.RangeRequest) (*chainfire.RangeResponse, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return m.store.Range(ctx, r)
}

// pinnedReader reads a view under a context.
type pinnedReader struct {
	ctx context.Context
	*mvcc.View
}

func (p pinnedReader) Range(r *chainfire.RangeRequest) (*chainfire.RangeResponse, error) {
	return p.View.Range(p.ctx, r)
}

// ReadTxn performs a transaction without writes on the applied state, all of it
// at one revision.
func (m *Machine) ReadTxn(ctx context.Context, t *chainfire.TxnRequest) (resp *chainfire.TxnResponse, err error) {
	if !t.IsReadOnly() {
		return nil, errors.New("read transaction: the transaction writes")
	}
	if err := t.Validate(); err != nil {
		return nil, err
	}
	view, err := m.store.View()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	r := pinnedReader{ctx, view}
	path, err := choose(r, t)
	if err == nil {
		err = path.check(r, nil)
	}
	if reason, ok := refused(err); ok {
		return nil, reason
	}
	if err != nil {
		return nil, err
	}
	return path.run(r, nil)
}

// NewWatchStream opens a stream of watches on the applied state.
func (m *Machine) NewWatchStream() chainfire.WatchStream { return m.store.NewWatchStream() }

// Watches is how many watch streams are open, and how many watches in them.
func (m *Machine) Watches() (streams, watches uint64) { return m.store.Watches() }

// NotifyProgress makes idle watches that asked for it hand out a progress mark.
// The host calls it from time to time.
func (m *Machine) NotifyProgress() { m.store.NotifyProgress() }

// HashKV hashes the key space up to a revision; see mvcc.Store.HashKV.
func (m *Machine) HashKV(ctx context.Context, rev int64) (mvcc.Hash, error) {
	return m.store.HashKV(ctx, rev)
}

// EtcdHash hashes the key space as etcd's HashKV does; see mvcc.Store.EtcdHash.
func (m *Machine) EtcdHash(ctx context.Context, rev int64) (mvcc.EtcdHash, error) {
	return m.store.EtcdHash(ctx, rev)
}

// ExactView pins the key space and its leases; see mvcc.Store.ExactView.
func (m *Machine) ExactView() (*mvcc.View, mvcc.State, error) { return m.store.ExactView() }

// DiskUsage is what the store takes of the disk.
func (m *Machine) DiskUsage() (mvcc.Usage, error) { return m.store.DiskUsage() }
