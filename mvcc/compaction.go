package mvcc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"chainfire"
)

// compactionChunk is how many revision rows one step of physical compaction
// walks. A step is one small batch, so that writes slip in between.
const compactionChunk = 512

func (s *Store) wakeCompactor() {
	if s.opts.Still {
		s.compactAll()
		return
	}
	select {
	case s.compactions <- struct{}{}:
	default: // it will look again anyway
	}
}

// compactor gives the space of superseded versions back, behind the compacted
// revision, until the store is closed.
func (s *Store) compactor() {
	defer s.background.Done()
	for {
		select {
		case <-s.stop:
			return
		case <-s.compactions:
		}
		if !s.compactAll() {
			return
		}
	}
}

// compactAll takes every step that there is to take. It returns false when the
// store is closed or has failed.
func (s *Store) compactAll() bool {
	for more := true; more; {
		select {
		case <-s.stop:
			return false
		default:
		}
		var err error
		if more, err = s.compactStep(); err != nil {
			if !errors.Is(err, chainfire.ErrStopped) {
				_ = s.fail.set(fmt.Errorf("compact: %w", err)) // kept as the first error
			}
			return false
		}
	}
	return true
}

// WaitCompacted waits until the space of what was superseded at or before rev
// is given back on this member. Any goroutine.
func (s *Store) WaitCompacted(ctx context.Context, rev int64) error {
	for {
		s.mu.Lock()
		moved, closed, done := s.progress, s.closed, s.eng.compacted.Load() >= rev
		s.mu.Unlock()
		switch {
		case done:
			return nil
		case closed:
			return chainfire.ErrStopped
		}
		select {
		case <-moved:
		case <-s.fail.failed:
			return s.fail.get()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// compactStep takes one bounded step towards the compacted revision and says
// whether there is more to do.
func (s *Store) compactStep() (more bool, err error) {
	e, st, err := s.acquire()
	if err != nil {
		return false, err
	}
	defer s.release(e)
	target := st.Compacted
	if e.compacted.Load() >= target {
		return false, nil
	}
	b := e.db.NewBatch()
	s.pass.start()
	next, dropped, err := compactRows(e.db, b, e.resume, target)
	if err != nil {
		return false, errors.Join(err, b.Close())
	}
	// Every revision before the one that the next step starts in is done.
	reached := max(e.compacted.Load(), min(next.Main-1, target))
	if err := b.Set(metaRow(compactedName), binary.BigEndian.AppendUint64(nil, uint64(reached)), nil); err != nil {
		return false, errors.Join(err, b.Close())
	}
	if err := s.commit(e, b); err != nil {
		return false, err
	}
	if next.Main > target {
		// The rows of the target stay for watches, so that the next
		// compaction starts with them again.
		next = Revision{Main: target}
	}
	e.resume = next
	e.compacted.Store(reached)
	s.mu.Lock()
	s.advanceLocked()
	s.mu.Unlock()
	if s.pass.dropped += dropped; reached >= target {
		s.pass.finish(s, reached)
	}
	return reached < target, nil
}

// compactRows deletes what the revisions from one on, up to a target,
// superseded, and their rows, as far as one step goes. It returns where the
// next step starts, which is above the target when there is nothing left, and how many
// versions and tombstones it deletes.
//
// Each revision row names the version that its change replaced: at a compacted
// revision of at least the row's, no read can see that version any more. The
// rows and tombstones of the target itself stay, because a watch may still
// start there; the next compaction takes them.
func compactRows(r pebble.Reader, b *pebble.Batch, from Revision, target int64) (next Revision, dropped uint64, err error) {
	low := appendRevisionRow(nil, from)
	it, err := r.NewIter(&pebble.IterOptions{
		LowerBound: low, UpperBound: appendRevisionRow(nil, Revision{Main: target + 1}),
	})
	if err != nil {
		return next, 0, fmt.Errorf("walk revisions: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	next = Revision{Main: target + 1}
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		rev, err := parseRevisionRow(it.Key())
		if err != nil {
			return next, dropped, err
		}
		if n == compactionChunk {
			next = rev
			break
		}
		n++
		value, err := it.ValueAndErr()
		if err != nil {
			return next, dropped, fmt.Errorf("walk revisions: %w", err)
		}
		k, err := dropSuperseded(b, rev, value, rev.Main < target)
		if err != nil {
			return next, dropped, err
		}
		dropped += k
	}
	if err := it.Error(); err != nil {
		return next, dropped, fmt.Errorf("walk revisions: %w", err)
	}
	end := next
	if end.Main >= target {
		end = Revision{Main: target}
	}
	if high := appendRevisionRow(nil, end); bytes.Compare(low, high) < 0 {
		if err := b.DeleteRange(low, high, nil); err != nil {
			return next, dropped, fmt.Errorf("delete revision rows: %w", err)
		}
	}
	return next, dropped, nil
}

// dropSuperseded deletes the version that a change replaced and, for a change
// below the compacted revision, its own tombstone. A change at the compacted
// revision may have replaced another of the same revision, which a watch that
// starts there still hands out.
func dropSuperseded(b *pebble.Batch, rev Revision, value []byte, below bool) (dropped uint64, err error) {
	c, err := parseChange(value)
	if err != nil {
		return 0, err
	}
	prefix := appendPrefix(nil, c.key)
	if c.prev.Main > 0 && (below || c.prev.Main < rev.Main) {
		if err := b.Delete(appendSuffix(prefix[:len(prefix):len(prefix)], c.prev), nil); err != nil {
			return dropped, fmt.Errorf("delete version: %w", err)
		}
		dropped++
	}
	if below && c.kind == kindDelete {
		if err := b.Delete(appendSuffix(prefix, rev), nil); err != nil {
			return dropped, fmt.Errorf("delete tombstone: %w", err)
		}
		dropped++
	}
	return dropped, nil
}
