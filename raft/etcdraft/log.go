package etcdraft

import (
	"errors"
	"fmt"
	"slices"

	etcd "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"chainfire/raft"
)

// view is the log as the reference has it: the durable part in storage, and what
// is not yet known durable in memory.
type view struct {
	storage raft.Storage
	// unstable holds the entries from offset on. Its array is shared with
	// Persists, so it is only ever appended to within its capacity or copied.
	unstable []raft.Entry
	offset   uint64
	// handed is the last index given out to be written, stable the last one that
	// is durable as it stands.
	handed, stable uint64
	// snap is a snapshot that is being made the state.
	snap   *raft.SnapshotMeta
	writes []write
	// sure is the commit index that is durable, awaited a membership change that
	// waits for its own to be.
	sure, awaited uint64
}

// write is a Persist that is not yet known durable.
type write struct {
	seq    uint64
	last   uint64
	commit uint64
	snap   *raft.SnapshotMeta
	// own is what the reference is told then.
	own []*pb.Message
}

func newView(s raft.Storage, commit uint64) view {
	last := s.LastIndex()
	return view{storage: s, offset: last + 1, handed: last, stable: last, sure: commit}
}

func (l *view) first() uint64 {
	if l.snap != nil {
		return l.snap.Index + 1
	}
	return l.storage.FirstIndex()
}

func (l *view) last() uint64 { return l.offset + uint64(len(l.unstable)) - 1 }

// term returns the term of entry i, raft.ErrCompacted below the log and
// raft.ErrUnavailable above it.
func (l *view) term(i uint64) (uint64, error) {
	switch {
	case i > l.last():
		return 0, raft.ErrUnavailable
	case i >= l.offset:
		return l.unstable[i-l.offset].Term, nil
	case l.snap != nil && i == l.snap.Index:
		return l.snap.Term, nil
	case l.snap != nil:
		return 0, raft.ErrCompacted
	}
	return l.storage.Term(i)
}

// entry returns entry i, which is in the log.
func (l *view) entry(i uint64) (raft.Entry, error) {
	if i >= l.offset {
		return l.unstable[i-l.offset], nil
	}
	es, err := l.storage.Entries(i, i+1, 0)
	if err == nil {
		err = contiguous(es, i)
	}
	if err != nil {
		return raft.Entry{}, fmt.Errorf("read entry %d: %w", i, err)
	}
	return es[0], nil
}

// append puts entries in their place; the first replaces everything from its
// index on.
func (l *view) append(es []raft.Entry) {
	from := es[0].Index
	if from == l.last()+1 {
		l.unstable = append(l.unstable, es...)
		return
	}
	if from <= l.offset {
		l.unstable, l.offset = es, from
	} else {
		// Persists hold the old array.
		l.unstable = slices.Concat(l.unstable[:from-l.offset], es)
	}
	l.handed = min(l.handed, from-1)
	l.stable = min(l.stable, from-1)
	for i := range l.writes {
		l.writes[i].last = min(l.writes[i].last, from-1)
	}
}

// restore replaces the whole log by a snapshot.
func (l *view) restore(m *raft.SnapshotMeta) {
	l.snap = m
	l.unstable, l.offset = nil, m.Index+1
	l.handed, l.stable = m.Index, m.Index
	for i := range l.writes {
		l.writes[i].last = 0
	}
}

// unwritten are the entries that were not given out to be written.
func (l *view) unwritten() []raft.Entry {
	es := l.unstable[l.handed+1-l.offset:]
	l.handed = l.last()
	if len(es) == 0 {
		return nil
	}
	return es[:len(es):len(es)]
}

// persisted takes in that every write up to seq is durable. It returns what the
// reference is to be told, and the snapshot that became the state, if one did.
func (l *view) persisted(seq uint64) (own []*pb.Message, installed *raft.SnapshotMeta) {
	n := 0
	for ; n < len(l.writes) && l.writes[n].seq <= seq; n++ {
		w := &l.writes[n]
		l.stable = max(l.stable, w.last)
		l.sure = max(l.sure, w.commit)
		own = append(own, w.own...)
		if w.snap != nil && w.snap == l.snap {
			l.snap, installed = nil, w.snap
		}
	}
	l.writes = append(l.writes[:0], l.writes[n:]...)
	if l.snap == nil && l.stable >= l.offset {
		l.unstable = l.unstable[l.stable+1-l.offset:]
		l.offset = l.stable + 1
		if len(l.unstable) == 0 {
			l.unstable = nil
		}
	}
	return own, installed
}

// storage is the durable log as the reference reads it.
type storage struct {
	engine *engine
	start  raft.HardState
}

// InitialState is where the reference starts.
func (s *storage) InitialState() (*pb.HardState, *pb.ConfState, error) {
	hs := &pb.HardState{Term: new(s.start.Term), Vote: new(s.start.Vote), Commit: new(s.start.Commit)}
	return hs, toConf(s.engine.conf), nil
}

// Entries returns the entries [lo, hi), cut after about maxSize bytes but never
// to nothing.
func (s *storage) Entries(lo, hi, maxSize uint64) ([]*pb.Entry, error) {
	es, err := s.engine.cfg.Storage.Entries(lo, hi, maxSize)
	if err == nil {
		err = contiguous(es, lo)
	}
	if err != nil {
		return nil, theirs(err)
	}
	return toEntries(es), nil
}

// contiguous checks that entries are what was asked for: a log that answers with
// other entries must never become a message.
func contiguous(es []raft.Entry, lo uint64) error {
	if len(es) == 0 {
		return fmt.Errorf("log returned no entry for index %d", lo)
	}
	for i := range es {
		if want := lo + uint64(i); es[i].Index != want {
			return fmt.Errorf("log returned entry %d in the place of %d", es[i].Index, want)
		}
		if i > 0 && es[i].Term < es[i-1].Term {
			return fmt.Errorf("log returned term %d after term %d at index %d", es[i].Term, es[i-1].Term, es[i].Index)
		}
	}
	return nil
}

// Term is the term of entry i.
func (s *storage) Term(i uint64) (uint64, error) {
	t, err := s.engine.cfg.Storage.Term(i)
	return t, theirs(err)
}

// LastIndex is the last index held.
func (s *storage) LastIndex() (uint64, error) { return s.engine.cfg.Storage.LastIndex(), nil }

// FirstIndex is the first index held.
func (s *storage) FirstIndex() (uint64, error) { return s.engine.cfg.Storage.FirstIndex(), nil }

// Snapshot describes the state as it is. What the follower fetches from the
// host may be newer.
func (s *storage) Snapshot() (*pb.Snapshot, error) {
	e := s.engine
	if e.applied == 0 {
		return nil, etcd.ErrSnapshotTemporarilyUnavailable
	}
	term, err := e.log.term(e.applied)
	if err != nil {
		return nil, fmt.Errorf("read term of applied index %d: %w", e.applied, err)
	}
	return toSnapshot(&raft.SnapshotMeta{Index: e.applied, Term: term, Conf: e.conf}), nil
}

// theirs gives the reference the errors that it compares with.
func theirs(err error) error {
	switch {
	case errors.Is(err, raft.ErrCompacted):
		return etcd.ErrCompacted
	case errors.Is(err, raft.ErrUnavailable):
		return etcd.ErrUnavailable
	}
	return err
}
