package node

import (
	"errors"
	"fmt"
	"sync"

	"chainfire/machine"
	"chainfire/raft"
)

// applier owns the state machine. What waits for it is applied as one round.
type applier struct {
	mu      sync.Mutex
	entries []raft.Entry
	restore *restoreJob
	signal  chan struct{}
}

// restoreJob replaces the state by a received snapshot.
type restoreJob struct {
	dir  string
	meta raft.SnapshotMeta
	done chan struct{} // closed once err is set
	err  error
}

func newApplier() *applier { return &applier{signal: make(chan struct{}, 1)} }

func (a *applier) wake() {
	select {
	case a.signal <- struct{}{}:
	default:
	}
}

func (a *applier) submit(es []raft.Entry) {
	a.mu.Lock()
	a.entries = append(a.entries, es...)
	a.mu.Unlock()
	a.wake()
}

// replace drops what waits, which the snapshot contains, and asks for it.
func (a *applier) replace(j *restoreJob) {
	a.mu.Lock()
	a.entries, a.restore = nil, j
	a.mu.Unlock()
	a.wake()
}

func (a *applier) take() ([]raft.Entry, *restoreJob) {
	a.mu.Lock()
	defer a.mu.Unlock()
	es, j := a.entries, a.restore
	a.entries, a.restore = nil, nil
	return es, j
}

// apply runs until the node stops.
func (n *Node) apply() {
	for n.sched.Wait(n.stop, n.applier.signal) == 1 {
		es, job := n.applier.take()
		if job != nil {
			// What became of their users will not be known.
			n.tokens.Clear()
			n.counts.restoring.Store(true)
			err := n.machine.Restore(job.dir)
			n.counts.restoring.Store(false)
			if err == nil {
				n.appliedIndex.Store(job.meta.Index)
				n.hasher.replaced()
				n.membersChanged()
				n.bodiesChanged()
				n.authRevision.Store(n.machine.Auth().Revision())
			}
			job.err = err
			close(job.done)
		}
		es = after(es, n.appliedIndex.Load())
		if len(es) == 0 {
			continue
		}
		if err := n.applyRound(es); err != nil {
			// The store knows whether it is damage that the next start must heal.
			n.fatal("the state machine failed", errors.Join(err, n.machine.Err()))
			return
		}
	}
}

// after drops entries that the state holds already, as when a snapshot overtook
// them.
func after(es []raft.Entry, index uint64) []raft.Entry {
	for len(es) > 0 && es[0].Index <= index {
		es = es[1:]
	}
	return es
}

func (n *Node) applyRound(es []raft.Entry) error {
	began := n.sched.Now()
	results, err := n.machine.Apply(es)
	last := es[len(es)-1]
	if err != nil {
		return fmt.Errorf("apply entries [%d, %d]: %w", es[0].Index, last.Index, err)
	}
	n.appliedIn(n.sched.Now().Sub(began), es, results)
	if err := n.flushBehind(es); err != nil {
		return err
	}
	n.counts.applied(results)
	n.rememberTokens(results)
	n.appliedIndex.Store(last.Index)
	n.lessors.applied(results)
	changed, keys := false, false
	var ids, refused []uint64
	for i := range results {
		r := &results[i]
		keys = keys || writesKeys(r)
		changed = changed || r.Put == nil && r.Delete == nil && r.Txn == nil && r.Compact == nil && r.Lease == 0 && r.Object == nil
		if r.Conf != nil && r.Err != nil {
			refused = append(refused, r.Index)
		}
		if r.ID.Member == n.id {
			ids = append(ids, r.ID.Seq)
		}
	}
	if keys {
		n.courtesy.Keys()
	}
	if changed {
		n.membersChanged()
	}
	// The loop first: whoever waits may ask for the new configuration at once.
	n.inbox.put(func(in *inputs) {
		in.applied = append(in.applied, appliedRound{last.Index, last.Term, ids, refused})
	})
	for i := range results {
		if results[i].ID.Member == n.id {
			n.waiters.finish(results[i].ID.Seq, results[i])
		}
	}
	return nil
}

// flushBehind begins a flush of the store where much of the log would have to be applied again. The
// store flushes by itself what fills its memory, but much may be applied that leaves little there:
// conditions that do not hold.
func (n *Node) flushBehind(es []raft.Entry) error {
	if n.machine.FlushedIndex() > n.unflushedFrom {
		n.unflushed, n.unflushedFrom = 0, es[0].Index-1
	}
	before := n.unflushed
	n.unflushed += sizeOf(es)
	// Again with each further stretch: a flush may fail on a full disk, and be forgotten.
	if every := n.opts.Bounds.FlushLogBytes; before/every == n.unflushed/every {
		return nil
	}
	if err := n.machine.BeginFlush(); err != nil {
		return fmt.Errorf("make what was applied durable: %w", err)
	}
	return nil
}

// waiters are the calls that wait for their command to be applied here.
type waiters struct {
	mu sync.Mutex
	m  map[uint64]*outcome
}

// outcome is what becomes of a command. done is closed once the rest is set.
type outcome struct {
	done   chan struct{}
	result machine.Result
	err    error
}

func newWaiters() *waiters { return &waiters{m: map[uint64]*outcome{}} }

func (w *waiters) add(id uint64) *outcome {
	o := &outcome{done: make(chan struct{})}
	w.mu.Lock()
	w.m[id] = o
	w.mu.Unlock()
	return o
}

func (w *waiters) end(id uint64, r machine.Result, err error) {
	w.mu.Lock()
	o, ok := w.m[id]
	delete(w.m, id)
	w.mu.Unlock()
	if ok {
		o.result, o.err = r, err
		close(o.done)
	}
}

func (w *waiters) finish(id uint64, r machine.Result) { w.end(id, r, r.Err) }
func (w *waiters) fail(id uint64, err error)          { w.end(id, machine.Result{}, err) }

func (w *waiters) len() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return uint64(len(w.m))
}

func (w *waiters) forget(id uint64) {
	w.mu.Lock()
	delete(w.m, id)
	w.mu.Unlock()
}

// readers are the linearizable reads. All that ask while none is on its way to
// the loop share one.
type readers struct {
	mu      sync.Mutex
	next    uint64
	forming *readGroup
	waiting map[uint64]*readGroup
}

type readGroup struct {
	id   uint64
	done chan struct{}
}

func newReaders() *readers { return &readers{waiting: map[uint64]*readGroup{}} }

// join returns the group being formed and whether the caller opened it, and so
// has to send it on its way.
func (r *readers) join() (*readGroup, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.forming != nil {
		return r.forming, false
	}
	r.next++
	r.forming = &readGroup{id: r.next, done: make(chan struct{})}
	r.waiting[r.next] = r.forming
	return r.forming, true
}

// depart closes a group to newcomers, as its read index is asked for.
func (r *readers) depart(id uint64) {
	r.mu.Lock()
	if r.forming != nil && r.forming.id == id {
		r.forming = nil
	}
	r.mu.Unlock()
}

func (r *readers) finish(id uint64) {
	r.mu.Lock()
	g := r.waiting[id]
	delete(r.waiting, id)
	r.mu.Unlock()
	if g != nil {
		close(g.done)
	}
}
