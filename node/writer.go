package node

import (
	"fmt"
	"sync"

	"chainfire/internal/courtesy"
	"chainfire/raft"
	"chainfire/wal"
)

// writer owns the write-ahead log. What waits for it is folded into one write
// and one sync.
type writer struct {
	mu      sync.Mutex
	jobs    []*raft.Persist
	release uint64
	signal  chan struct{}
}

func newWriter() *writer { return &writer{signal: make(chan struct{}, 1)} }

func (w *writer) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

func (w *writer) submit(p *raft.Persist) {
	w.mu.Lock()
	w.jobs = append(w.jobs, p)
	w.mu.Unlock()
	w.wake()
}

// releaseTo lets the log drop everything up to index.
func (w *writer) releaseTo(index uint64) {
	w.mu.Lock()
	w.release = max(w.release, index)
	w.mu.Unlock()
	w.wake()
}

func (w *writer) take() (jobs []*raft.Persist, release uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	jobs, w.jobs = w.jobs, nil
	return jobs, w.release
}

// write runs until the node stops. A failed write or sync ends the member: what
// the disk holds is unknown from then on, and it is not asked again.
func (n *Node) write(log *wal.Log) {
	released := uint64(0)
	for n.sched.Wait(n.stop, n.writer.signal) == 1 {
		jobs, release := n.writer.take()
		for len(jobs) > 0 {
			k := group(jobs)
			if err := n.persist(log, jobs[:k]); err != nil {
				n.fatal("the write-ahead log failed; the member stops so as not to acknowledge what may be lost", err)
				return
			}
			jobs = jobs[k:]
		}
		if release > released {
			released = release
			if err := log.Release(release); err != nil {
				n.fatal("release of old log segments failed", err)
				return
			}
		}
	}
}

// maxWriteBytes is about how much goes into one write. The log refuses a batch
// that is several times as large.
const maxWriteBytes = 16 << 20

// group is how many jobs go into one write: a snapshot goes alone.
func group(jobs []*raft.Persist) int {
	k := 0
	for size := uint64(0); k < len(jobs) && jobs[k].Snapshot == nil && size < maxWriteBytes; k++ {
		size += sizeOf(jobs[k].Entries)
	}
	return max(k, 1)
}

func sizeOf(es []raft.Entry) uint64 {
	var size uint64
	for i := range es {
		size += es[i].Size()
	}
	return size
}

func (n *Node) persist(log *wal.Log, jobs []*raft.Persist) error {
	last := jobs[len(jobs)-1]
	var restored *raft.SnapshotMeta
	for _, p := range jobs {
		if p.HardState != nil {
			n.hardState = *p.HardState
		}
	}
	if s := jobs[0].Snapshot; s != nil {
		if err := n.install(log, jobs[0]); err != nil {
			return fmt.Errorf("install snapshot at index %d: %w", s.Index, err)
		}
		restored = s
	}
	b := fold(jobs)
	if restored != nil {
		b.HardState = nil // the log was restarted with it
	}
	if floor := n.machine.FlushedIndex(); floor > n.floor {
		b.Floor, n.floor = floor, floor
	}
	if err := n.appendAll(log, b); err != nil {
		return err
	}
	for _, p := range jobs {
		if len(p.Messages) > 0 {
			n.streams.Send(p.Messages)
		}
	}
	n.inbox.put(func(in *inputs) {
		in.persisted = last.Seq
		if restored != nil {
			in.restored = restored
		}
	})
	return nil
}

// appendAll writes a batch, a large one in pieces: term and vote with the first,
// so that no entry is durable before the term it was received in, and the commit
// index with the last, which it may point to.
func (n *Node) appendAll(log *wal.Log, b wal.Batch) error {
	full := b.HardState
	for {
		k := 0
		for size := uint64(0); k < len(b.Entries) && (k == 0 || size < maxWriteBytes); k++ {
			size += b.Entries[k].Size()
		}
		piece := b
		piece.Entries = b.Entries[:k]
		rest := b.Entries[k:]
		if len(rest) > 0 && full != nil {
			early := *full
			early.Commit = min(early.Commit, n.durableCommit)
			piece.HardState = &early
		}
		if piece.HardState == nil && len(piece.Entries) == 0 {
			return nil
		}
		began, syncs := n.sched.Now(), log.Syncs()
		if err := log.Append(piece); err != nil {
			return err
		}
		if log.Syncs() != syncs {
			took := n.sched.Now().Sub(began)
			n.counts.syncs.Observe(took)
			n.courtesy.Took(courtesy.Sync, took)
		}
		if piece.HardState != nil {
			n.durableCommit = piece.HardState.Commit
		}
		if len(rest) == 0 {
			return nil
		}
		b = wal.Batch{HardState: full, Entries: rest, Sync: b.Sync}
	}
}

// fold makes one batch of several writes: a later one that overwrites cuts what
// came before it. A hard state must be durable also where only its commit index
// is new: a membership change waits for it.
func fold(jobs []*raft.Persist) wal.Batch {
	var b wal.Batch
	for _, p := range jobs {
		if p.HardState != nil {
			b.HardState, b.Sync = p.HardState, true
		}
		if len(p.Entries) == 0 {
			continue
		}
		if len(b.Entries) == 0 {
			b.Entries = p.Entries
			continue
		}
		from, first := p.Entries[0].Index, b.Entries[0].Index
		if from <= first {
			b.Entries = p.Entries
			continue
		}
		keep := min(from-first, uint64(len(b.Entries)))
		b.Entries = append(b.Entries[:keep:keep], p.Entries...)
	}
	return b
}
