package blob

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/time/rate"

	"chainfire/internal/disk"
	"chainfire/object"
)

// switchBytes is how much compaction copies between two syncs.
const switchBytes = 16 << 20

// NewLimiter bounds background work, as of Compact or Scrub, to so many bytes a second.
func NewLimiter(bytesPerSecond int64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(bytesPerSecond), object.MaxExtent+maxHeadBytes)
}

// Compacted is what a compaction did.
type Compacted struct {
	// Segments were removed, Bytes is how long they were, and Copied what was kept of them.
	Segments      int
	Bytes, Copied int64
}

// Compact copies the extents that are there out of the segments that less than half of is, and
// removes these. A segment with damage that is neither healed nor settled stays. It reads no faster
// than the limiter lets it, nil being no bound; one compaction runs at a time. Where it ends
// early, with an error, what was done stays done.
func (s *Store) Compact(ctx context.Context, limit *rate.Limiter) (Compacted, error) {
	var done Compacted
	if err := s.enter(); err != nil {
		return done, err
	}
	defer s.users.Done()
	if err := s.take(ctx, s.compacting); err != nil {
		return done, err
	}
	defer func() { <-s.compacting }()
	ctx, stop := s.untilClosed(ctx)
	defer stop()
	for _, g := range s.sparse() {
		c := compaction{s: s, g: g, limit: limit}
		removed, err := c.run(ctx)
		done.Copied += c.copied
		if err != nil {
			return done, fmt.Errorf("compact %s: %w", s.segmentPath(g.id), err)
		}
		if removed {
			done.Segments++
			done.Bytes += g.end
		}
	}
	return done, nil
}

// untilClosed is a context that ends when the store is closed, too.
func (s *Store) untilClosed(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-s.closing:
			cancel(ErrClosed)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-ended
	}
}

// sparse are the segments that are worth compacting, in order.
func (s *Store) sparse() []*segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*segment
	for _, g := range s.segments {
		if g != s.active && (g.bad || 2*g.live < g.end) {
			found = append(found, g)
		}
	}
	slices.SortFunc(found, func(a, b *segment) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return found
}

// compaction empties one segment.
type compaction struct {
	s     *Store
	g     *segment
	limit *rate.Limiter

	moves  []move
	bytes  int64
	copied int64
	buf    []byte
}

// move is an extent that was copied.
type move struct {
	id       object.ExtentID
	from, to place
}

func (c *compaction) run(ctx context.Context) (removed bool, err error) {
	s := c.s
	if kept, err := c.damaged(); kept || err != nil {
		return false, err
	}
	f, err := s.files.get(c.g.id)
	if err != nil {
		return false, err
	}
	_, _, err = walk(f, s.segmentPath(c.g.id), c.g, segmentHeaderBytes, c.g.end, visitor{
		record: func(off int64, r record) error { return c.visit(ctx, f, off, &r) },
		bad:    func(int64, int64, string) error { return nil }, // what was there is looked for below
	})
	s.files.put(f)
	if err != nil {
		return false, err
	}
	if err := c.flip(ctx); err != nil {
		return false, err
	}
	s.mu.Lock()
	left := c.g.records
	s.mu.Unlock()
	if left > 0 {
		if err := s.missing(ctx, c.g); err != nil {
			return false, err
		}
	}
	if kept, err := c.damaged(); kept || err != nil {
		return false, err
	}
	return true, c.remove()
}

// damaged reports whether the segment has damage for which it is kept.
func (c *compaction) damaged() (bool, error) {
	found := false
	err := c.s.eachDamage(func(d damage) bool {
		found = d.at.segment == c.g.id
		return !found
	})
	return found, c.s.indexFailed(err)
}

// visit copies the extent of a record, if it is there.
func (c *compaction) visit(ctx context.Context, f disk.File, off int64, r *record) error {
	if r.kind != kindExtent {
		return nil
	}
	s := c.s
	from := place{segment: c.g.id, offset: off, length: r.length, crc: r.crc}
	p, found, err := s.durable(r.id)
	if err != nil || !found || p != from {
		return err
	}
	if err := pace(ctx, c.limit, r.size()); err != nil {
		return err
	}
	if c.buf == nil {
		c.buf = make([]byte, object.MaxExtent)
	}
	data, err := s.readRecord(f, c.g, off, r, c.buf)
	if bad := (*CorruptError)(nil); errors.As(err, &bad) {
		return s.damage(r.id, from, bad)
	}
	if err != nil {
		return err
	}
	if err := s.take(ctx, s.appending); err != nil {
		return err
	}
	to, err := s.append(ctx, *r, data, false)
	<-s.appending
	if err != nil {
		return err
	}
	c.moves = append(c.moves, move{r.id, from, to})
	c.bytes += r.size()
	c.copied += r.size()
	if c.bytes >= switchBytes || len(c.moves) >= maxBatch {
		return c.flip(ctx)
	}
	return nil
}

// flip makes the copies durable and has the index name them.
func (c *compaction) flip(ctx context.Context) error {
	s := c.s
	if len(c.moves) == 0 {
		return nil
	}
	if err := s.sync(ctx); err != nil {
		return err
	}
	s.indexing.Lock()
	defer s.indexing.Unlock()
	ch := s.newChange()
	for _, m := range c.moves {
		now, err := ch.place(m.id)
		if err == nil && now != nil && *now == m.from {
			err = ch.set(m.id, m.to)
		}
		if err != nil {
			return errors.Join(s.indexFailed(err), ch.discard())
		}
	}
	c.moves, c.bytes = c.moves[:0], 0
	return ch.commit(nil)
}

// remove takes the segment away, of which nothing is there any more.
func (c *compaction) remove() error {
	s, g := c.s, c.g
	if err := c.unlist(); err != nil {
		return err
	}
	// Before the file goes no older index may come back, which would name it.
	if err := s.index.flush(); err != nil {
		s.mu.Lock()
		s.segments[g.id] = g // for the next compaction
		s.mu.Unlock()
		return err
	}
	path := s.segmentPath(g.id)
	if err := s.fs.Remove(path); err != nil {
		return s.fail(fmt.Errorf("remove segment %s: %w", path, err))
	}
	s.files.forget(g.id)
	if err := disk.SyncDir(s.fs, s.opts.Dir); err != nil {
		return s.fail(err)
	}
	return nil
}

// unlist takes the segment out of the index and of the store's segments, in one step, so that no other
// change writes its row again.
func (c *compaction) unlist() error {
	s := c.s
	s.indexing.Lock()
	defer s.indexing.Unlock()
	ch := s.newChange()
	if err := ch.b.Delete(segmentRow(c.g.id), nil); err != nil {
		return errors.Join(s.indexFailed(err), ch.discard())
	}
	if err := ch.commit(nil); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.segments, c.g.id)
	return nil
}

// missing notes as damaged what the index knows of a segment and is not found in it.
func (s *Store) missing(ctx context.Context, g *segment) error {
	from := object.ExtentID{}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		places, next, err := s.page(from, maxBatch)
		if err != nil {
			return err
		}
		for _, q := range places {
			if q.at.segment != g.id {
				continue
			}
			bad := &CorruptError{File: s.segmentPath(g.id), Offset: q.at.offset, Reason: "there is no valid record header"}
			if err := s.damage(q.id, q.at, bad); err != nil {
				return err
			}
		}
		if next == nil {
			return nil
		}
		from = *next
	}
}

// page reads where at most so many extents are, from one on, and with which to go on: nil at the
// end.
func (s *Store) page(from object.ExtentID, limit int) (page []queued, next *object.ExtentID, err error) {
	err = s.index.walk(rowExtent, extentRow(rowExtent, from), func(row, value []byte) (bool, error) {
		id, err := parseExtent(row)
		if err != nil {
			return false, err
		}
		if len(page) == limit {
			next = &id
			return false, nil
		}
		p, err := parsePlace(value)
		page = append(page, queued{id, pending{at: p}})
		return true, err
	})
	return page, next, s.indexFailed(err)
}

// pace waits until so many bytes may be read.
func pace(ctx context.Context, limit *rate.Limiter, n int64) error {
	if limit == nil {
		return ctx.Err()
	}
	if err := limit.WaitN(ctx, int(n)); err != nil {
		return fmt.Errorf("wait for the rate limit: %w", err)
	}
	return nil
}
