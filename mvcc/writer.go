package mvcc

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"chainfire"
)

// Writer collects one round of writes: any number of transactions, the state
// they lead to, and rows of the machine above, all of which Commit makes
// visible at once. It belongs to the applier; one writer at a time. What it is
// given stays referenced until Commit and must not change. Any error but those
// documented is fatal: the round is to be aborted and the member stopped.
type Writer struct {
	s      *Store
	eng    *engine
	batch  *pebble.Batch
	side   sideRound
	get    *getter
	over   overlay
	leases leaseOverlay
	was    State
	state  State
	// sub counts the changes of the transaction under way; events are theirs.
	sub    uint32
	events []chainfire.Event
	blocks []*block
	row    []byte
	value  []byte
}

// NewWriter starts a round. The caller ends it with Commit or Abort.
func (s *Store) NewWriter() (*Writer, error) {
	e, st, err := s.acquire()
	if err != nil {
		return nil, err
	}
	return &Writer{s: s, eng: e, batch: e.db.NewBatch(), was: st, state: st}, nil
}

// Revision is the current revision as the round has left it, with the
// transaction under way.
func (w *Writer) Revision() int64 {
	if w.sub > 0 {
		return w.state.Revision + 1
	}
	return w.state.Revision
}

// CompactRevision is the compacted revision as the round has left it.
func (w *Writer) CompactRevision() int64 { return w.state.Compacted }

// newest finds the newest version of a key; tombstones do not count. Its value
// is valid until the next call of a method.
func (w *Writer) newest(key []byte) (v version, found bool, err error) {
	if o := w.over.get(key, math.MaxInt64); o != nil {
		return *o, !o.tombstone, nil
	}
	g, err := w.getter()
	if err != nil {
		return v, false, err
	}
	v, found, err = g.get(key, math.MaxInt64)
	return v, found && !v.tombstone, err
}

// getter is the one that all lookups of the round share.
func (w *Writer) getter() (*getter, error) {
	if w.get == nil {
		g, err := openGetter(w.eng.db)
		if err != nil {
			return nil, err
		}
		w.get = g
	}
	return w.get, nil
}

// Get reads the newest version of one key, a copy.
func (w *Writer) Get(key []byte) (kv chainfire.KeyValue, found bool, err error) {
	v, found, err := w.newest(key)
	if err != nil || !found {
		return kv, false, err
	}
	return cloneKeyValue(v.keyValue(key)), true, nil
}

// Range reads as View.Range does, and sees what the round has written.
func (w *Writer) Range(r *chainfire.RangeRequest) (resp *chainfire.RangeResponse, err error) {
	rev, err := readRevision(r.Revision, w.Revision(), w.state.Compacted)
	if err != nil {
		return nil, err
	}
	walk, err := w.walk(newInterval(r.Key, r.RangeEnd), rev)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, walk.close()) }()
	resp, err = collect(walk, r)
	if err != nil {
		return nil, err
	}
	resp.Header.Revision = w.Revision()
	return resp, nil
}

func (w *Writer) walk(iv interval, rev int64) (closingWalker, error) {
	if iv.one {
		g, err := w.getter()
		if err != nil {
			return nil, err
		}
		under := &single{g: g, shared: true, key: iv.from, rev: rev}
		if k := w.over.keys[string(iv.from)]; k != nil {
			return &merged{under: under, over: []*overlayKey{k}, rev: rev}, nil
		}
		return under, nil
	}
	under, err := openCursor(context.Background(), w.eng.db, iv, rev)
	if err != nil || len(w.over.order) == 0 {
		return under, err
	}
	return &merged{under: under, over: w.over.within(iv), rev: rev}, nil
}

// Put writes one key in the transaction under way, attached to a lease that is there
// or, with 0, to none, and, if asked, returns a copy of the version that it replaces.
func (w *Writer) Put(key, value []byte, lease int64, prevKV bool) (*chainfire.KeyValue, error) {
	old, found, err := w.newest(key)
	if err != nil {
		return nil, err
	}
	v := version{rev: w.nextRevision(), count: 1, lease: lease, value: value}
	v.create = v.rev.Main
	if found {
		v.create, v.count = old.create, old.count+1
	}
	var prev *chainfire.KeyValue
	if found && prevKV {
		kv := cloneKeyValue(old.keyValue(key))
		prev = &kv
	}
	if !found {
		old = version{}
	}
	was, rev := old.lease, old.rev // write makes what old's value aliases invalid
	if err := w.write(key, v, rev); err != nil {
		return nil, err
	}
	return prev, w.attach(key, was, lease)
}

// DeleteRange deletes the live keys of an interval in the transaction under way
// and, if asked, returns copies of what they held.
func (w *Writer) DeleteRange(key, rangeEnd []byte, prevKV bool) (deleted int64, prev []chainfire.KeyValue, err error) {
	walk, err := w.walk(newInterval(key, rangeEnd), math.MaxInt64)
	if err != nil {
		return 0, nil, err
	}
	type victim struct {
		key   []byte
		rev   Revision
		lease int64
	}
	var victims []victim
	for walk.next() {
		key, v := walk.entry()
		if prevKV {
			prev = append(prev, cloneKeyValue(v.keyValue(key)))
		}
		victims = append(victims, victim{append([]byte{}, key...), v.rev, v.lease})
	}
	if err := errors.Join(walk.err(), walk.close()); err != nil {
		return 0, nil, err
	}
	for _, d := range victims {
		if err := w.write(d.key, version{rev: w.nextRevision(), tombstone: true}, d.rev); err != nil {
			return 0, nil, err
		}
		if err := w.attach(d.key, d.lease, 0); err != nil {
			return 0, nil, err
		}
	}
	return int64(len(victims)), prev, nil
}

func (w *Writer) nextRevision() Revision {
	return Revision{Main: w.state.Revision + 1, Sub: w.sub}
}

// write adds one version and the row that says so.
func (w *Writer) write(key []byte, v version, prev Revision) error {
	w.row = appendSuffix(appendPrefix(w.row[:0], key), v.rev)
	w.value = v.appendTo(w.value[:0])
	if err := w.batch.Set(w.row, w.value, nil); err != nil {
		return fmt.Errorf("write version: %w", err)
	}
	c := change{kind: kindPut, prev: prev, key: key}
	event := chainfire.Event{Type: chainfire.EventPut, KV: v.keyValue(key)}
	if v.tombstone {
		c.kind = kindDelete
		event = chainfire.Event{Type: chainfire.EventDelete, KV: chainfire.KeyValue{Key: key, ModRevision: v.rev.Main}}
	}
	w.row = appendRevisionRow(w.row[:0], v.rev)
	w.value = c.appendTo(w.value[:0])
	if err := w.batch.Set(w.row, w.value, nil); err != nil {
		return fmt.Errorf("write revision: %w", err)
	}
	w.over.add(key, v, prev != Revision{})
	w.events = append(w.events, event)
	w.sub++
	return nil
}

// EndTxn ends the transaction under way: if it wrote, the revision moves on by
// one.
func (w *Writer) EndTxn() {
	if w.sub == 0 {
		return
	}
	w.state.Revision++
	w.blocks = append(w.blocks, newBlock(w.state.Revision, w.events, w.s.opts.RingBytes))
	w.sub, w.events = 0, nil
}

// Compact moves the compacted revision: from now on reads below it are refused.
// It returns ErrCompacted for a revision that was compacted before and
// ErrFutureRevision for one that is yet to come.
func (w *Writer) Compact(rev int64) error {
	switch {
	case rev <= w.state.Compacted:
		return chainfire.ErrCompacted
	case rev > w.state.Revision:
		return chainfire.ErrFutureRevision
	}
	w.state.Compacted = rev
	return nil
}

// Leap moves the revision on by n without a change, and the compacted revision
// with it: whoever asks for what lies between is told that it is gone, in place of
// waiting for revisions that meant something else once. It is for a store that
// serves nobody yet. n is at least 1.
func (w *Writer) Leap(n int64) error {
	if n < 1 || n > maxRevision-w.state.Revision {
		return fmt.Errorf("move the revision on from %d by %d: it must stay between %d and %d", w.state.Revision, n, w.state.Revision+1, int64(maxRevision))
	}
	w.EndTxn()
	w.state.Revision += n
	w.state.Compacted = w.state.Revision
	return nil
}

// maxRevision leaves room for more writes than any store will see.
const maxRevision = 1 << 62

// SetMeta writes a row of the machine above.
func (w *Writer) SetMeta(name string, value []byte) error {
	if err := w.batch.Set(metaRow(userMeta+name), value, nil); err != nil {
		return fmt.Errorf("write row %q: %w", name, err)
	}
	return nil
}

// DeleteMeta removes a row of the machine above, if it is there.
func (w *Writer) DeleteMeta(name string) error {
	if err := w.batch.Delete(metaRow(userMeta+name), nil); err != nil {
		return fmt.Errorf("delete row %q: %w", name, err)
	}
	return nil
}

// Commit makes the round visible, as applied up to an index of a term, and
// feeds the watches. It does not wait for the disk.
func (w *Writer) Commit(index, term uint64) error {
	w.EndTxn()
	w.state.Applied, w.state.Term = index, term
	if err := w.writeCounts(); err != nil {
		return errors.Join(w.s.fail.set(err), w.Abort())
	}
	if err := w.writeSide(); err != nil {
		return errors.Join(w.s.fail.set(err), w.Abort())
	}
	if err := w.batch.Set(metaRow(stateName), w.state.encode(), nil); err != nil {
		return errors.Join(w.s.fail.set(fmt.Errorf("write state row: %w", err)), w.Abort())
	}
	if err := w.closeGetter(); err != nil {
		return errors.Join(w.s.fail.set(err), w.Abort())
	}
	b := w.batch
	w.batch = nil
	err := w.s.commit(w.eng, b)
	if err == nil {
		w.s.publish(w)
	}
	w.s.release(w.eng)
	return err
}

// publish shows readers and watches what a round has committed.
func (s *Store) publish(w *Writer) {
	s.mu.Lock()
	s.state = w.state
	s.mu.Unlock()
	s.hub.publish(w.blocks, w.state)
	if w.state.Compacted > w.was.Compacted {
		s.wakeCompactor()
	}
}

// Abort drops the round.
func (w *Writer) Abort() error {
	err := errors.Join(w.closeGetter(), w.side.close())
	if w.batch != nil {
		err = errors.Join(err, w.batch.Close())
		w.batch = nil
	}
	w.s.release(w.eng)
	return err
}

func (w *Writer) closeGetter() error {
	if w.get == nil {
		return nil
	}
	err := w.get.close()
	w.get = nil
	return err
}
