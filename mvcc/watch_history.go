package mvcc

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"chainfire"
)

// Bounds of one turn of a watch: it ends with the revision in which its events
// or the rows it walked come to this much.
const (
	turnBytes = 1 << 20
	turnRows  = 8192
)

// fromBlocks picks a watch's events out of recent blocks, revision by revision.
func (t *turn) fromBlocks() (events []chainfire.Event, through int64) {
	var size int64
	for _, b := range t.blocks {
		for i := range b.events {
			e := &b.events[i]
			if t.w.wants(e.Type) && t.w.iv.contains(e.KV.Key) {
				events = append(events, *e)
				size += eventBytes(e)
			}
		}
		through = b.rev
		if size >= turnBytes {
			break
		}
	}
	return events, through
}

// pinHistory opens what a turn of a watch reads, and checks that it is complete
// from one revision on: the compactor follows the compacted revision, so that
// what is not compacted once the iterators are open is all there.
func (s *Store) pinHistory(from int64) (e *engine, snap *pebble.Snapshot, compacted int64, err error) {
	if e, _, err = s.acquire(); err != nil {
		return nil, nil, 0, err
	}
	snap = e.db.NewSnapshot()
	if compacted = s.State().Compacted; from < compacted {
		err := snap.Close()
		s.release(e)
		return nil, nil, 0, errors.Join(chainfire.ErrCompacted, err)
	}
	return e, snap, compacted, nil
}

// history reads a watch's events from the store, from one revision towards
// another, in one bounded turn. It returns the revision that it came to, and
// ErrCompacted when from is compacted.
func (s *Store) history(ctx context.Context, w *watch, from, to int64) (events []chainfire.Event, through int64, err error) {
	e, snap, compacted, err := s.pinHistory(from)
	if err != nil {
		return nil, 0, err
	}
	defer s.release(e)
	defer func() { err = errors.Join(err, snap.Close()) }()
	g, err := openGetter(snap)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	it, err := snap.NewIter(&pebble.IterOptions{
		LowerBound: appendRevisionRow(nil, Revision{Main: from}),
		UpperBound: appendRevisionRow(nil, Revision{Main: to + 1}),
	})
	if err != nil {
		return nil, 0, fmt.Errorf("walk revisions: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	h := &historian{w: w, g: g}
	through, err = h.walk(ctx, it, to)
	if err != nil {
		return nil, 0, err
	}
	if w.prevKV {
		err = fillPrevious(ctx, g, h.events, compacted)
	}
	return h.events, through, err
}

// historian collects the events of one turn.
type historian struct {
	w      *watch
	g      *getter
	events []chainfire.Event
	bytes  int64
}

// walk reads revision rows and returns the last revision it completed.
func (h *historian) walk(ctx context.Context, it *pebble.Iterator, to int64) (through int64, err error) {
	rows := 0
	for ok := it.First(); ok; ok = it.Next() {
		rev, err := parseRevisionRow(it.Key())
		if err != nil {
			return 0, err
		}
		if rev.Sub == 0 && (rows >= turnRows || h.bytes >= turnBytes) {
			return rev.Main - 1, nil
		}
		if rows++; rows%cancelEvery == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		b, err := it.ValueAndErr()
		if err != nil {
			return 0, fmt.Errorf("walk revisions: %w", err)
		}
		if err := h.take(rev, b); err != nil {
			return 0, err
		}
	}
	if err := it.Error(); err != nil {
		return 0, fmt.Errorf("walk revisions: %w", err)
	}
	return to, nil
}

// take adds the event of one revision row, if the watch wants it.
func (h *historian) take(rev Revision, row []byte) error {
	c, err := parseChange(row)
	if err != nil {
		return err
	}
	e := chainfire.Event{Type: chainfire.EventPut}
	if c.kind == kindDelete {
		e.Type = chainfire.EventDelete
	}
	if !h.w.wants(e.Type) || !h.w.iv.contains(c.key) {
		return nil
	}
	if e.Type == chainfire.EventDelete {
		e.KV = chainfire.KeyValue{Key: append([]byte{}, c.key...), ModRevision: rev.Main}
	} else {
		v, err := h.g.at(c.key, rev)
		if err != nil {
			return err
		}
		e.KV = cloneKeyValue(v.keyValue(c.key))
	}
	h.events = append(h.events, e)
	h.bytes += eventBytes(&e)
	return nil
}

// addPrevious adds to events what their keys held before.
func (s *Store) addPrevious(ctx context.Context, events []chainfire.Event) (err error) {
	if len(events) == 0 {
		return nil
	}
	e, snap, compacted, err := s.pinHistory(s.State().Revision)
	if errors.Is(err, chainfire.ErrCompacted) {
		return nil // replaced and compacted just now: nothing before is left
	}
	if err != nil {
		return err
	}
	defer s.release(e)
	defer func() { err = errors.Join(err, snap.Close()) }()
	g, err := openGetter(snap)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	return fillPrevious(ctx, g, events, compacted)
}

// fillPrevious looks the previous versions up. An event that creates its key
// has none, and neither has one right behind the compacted revision, as in
// etcd.
func fillPrevious(ctx context.Context, g *getter, events []chainfire.Event, compacted int64) error {
	for i := range events {
		e := &events[i]
		if e.KV.ModRevision-1 < compacted || e.Type == chainfire.EventPut && e.KV.CreateRevision == e.KV.ModRevision {
			continue
		}
		if i%cancelEvery == cancelEvery-1 && ctx.Err() != nil {
			return ctx.Err()
		}
		v, found, err := g.get(e.KV.Key, e.KV.ModRevision-1)
		if err != nil {
			return err
		}
		if found && !v.tombstone {
			kv := cloneKeyValue(v.keyValue(e.KV.Key))
			e.PrevKV = &kv
		}
	}
	return nil
}
