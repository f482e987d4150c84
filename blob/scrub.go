package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/time/rate"

	"chainfire/internal/disk"
	"chainfire/object"
)

// Scrubbed is what a scrub found.
type Scrubbed struct {
	Segments, Extents int
	Bytes             int64
	// Corrupt counts the damage found; each is told to the function given.
	Corrupt int
}

// Scrub reads every byte of every segment and checks it, no faster than the limiter lets it, nil
// being no bound, and calls report for each damage, from this goroutine. An extent that is damaged is
// not there any more; damage of what was deleted is reported and changes nothing.
func (s *Store) Scrub(ctx context.Context, limit *rate.Limiter, report func(*CorruptError)) (Scrubbed, error) {
	if err := s.enter(); err != nil {
		return Scrubbed{}, err
	}
	defer s.users.Done()
	ctx, stop := s.untilClosed(ctx)
	defer stop()
	c := scrub{s: s, limit: limit, report: report, buf: make([]byte, object.MaxExtent)}
	s.mu.Lock()
	ids := make([]uint64, 0, len(s.segments))
	for id := range s.segments {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	slices.Sort(ids)
	for _, id := range ids {
		if err := c.segment(ctx, id); err != nil {
			return c.Scrubbed, fmt.Errorf("scrub %s: %w", s.segmentPath(id), err)
		}
	}
	return c.Scrubbed, c.index(ctx)
}

type scrub struct {
	s      *Store
	limit  *rate.Limiter
	report func(*CorruptError)
	buf    []byte
	Scrubbed
}

func (c *scrub) corrupt(bad *CorruptError) {
	c.Corrupt++
	if c.report != nil {
		c.report(bad)
	}
}

// segment checks one segment up to what is on disk of it.
func (c *scrub) segment(ctx context.Context, id uint64) error {
	s := c.s
	s.mu.Lock()
	g, end := s.segments[id], int64(0)
	if g != nil {
		if end = g.end; g == s.active {
			end = g.synced
		}
	}
	s.mu.Unlock()
	if g == nil {
		return nil // compacted meanwhile
	}
	f, err := s.files.get(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // compacted meanwhile, or the index finds it missing
	}
	if err != nil {
		return err
	}
	defer s.files.put(f)
	c.Segments++
	if err := c.header(g); err != nil {
		return err
	}
	_, _, err = walk(f, s.segmentPath(id), g, segmentHeaderBytes, end, visitor{
		record: func(off int64, r record) error { return c.record(ctx, f, g, off, &r) },
		bad: func(from, to int64, reason string) error {
			bad, err := s.damageAt(g, from, to, reason)
			c.corrupt(bad)
			return err
		},
	})
	return err
}

// header checks a segment's header. A damaged one costs nothing, but has the segment compacted.
func (c *scrub) header(g *segment) error {
	_, err := c.s.readHeader(g.id)
	bad := (*CorruptError)(nil)
	if !errors.As(err, &bad) {
		return err
	}
	c.s.mu.Lock()
	g.bad = true
	c.s.mu.Unlock()
	c.corrupt(bad)
	return nil
}

func (c *scrub) record(ctx context.Context, f disk.File, g *segment, off int64, r *record) error {
	n := r.size()
	if r.kind == kindVoid {
		n = recordHeaderBytes // what it covers is nobody's
	}
	if err := pace(ctx, c.limit, n); err != nil {
		return err
	}
	c.Bytes += n
	if r.kind != kindExtent {
		return nil
	}
	c.Extents++
	_, err := c.s.readRecord(f, g, off, r, c.buf)
	bad := (*CorruptError)(nil)
	if !errors.As(err, &bad) {
		return err
	}
	c.corrupt(bad)
	at := place{segment: g.id, offset: off, length: r.length, crc: r.crc}
	p, found, err := c.s.durable(r.id)
	if err != nil || !found || p != at {
		return err
	}
	return c.s.damage(r.id, at, bad)
}

// index checks that each extent's record is where the index says.
func (c *scrub) index(ctx context.Context) error {
	from := object.ExtentID{}
	for {
		places, next, err := c.s.page(from, maxBatch)
		if err != nil {
			return err
		}
		for _, q := range places {
			if err := pace(ctx, c.limit, recordHeaderBytes); err != nil {
				return err
			}
			// It finds what moves meanwhile, and notes damage.
			var bad *CorruptError
			if err := c.s.get(q.id, nil, 0, nil); errors.As(err, &bad) {
				c.corrupt(bad)
			} else if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		if next == nil {
			return nil
		}
		from = *next
	}
}
