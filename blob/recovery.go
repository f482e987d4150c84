package blob

import (
	"errors"
	"io"

	"chainfire/internal/disk"
	"chainfire/object"
)

// recovery brings what one segment holds into the index.
type recovery struct {
	s    *Store
	g    *segment
	f    disk.File
	path string
	// size is that of the file, proof up to where it is known to have been on disk.
	size, proof int64

	batch []queued
	buf   []byte
}

// stretch is where no record is.
type stretch struct {
	from, to int64
	reason   string
}

// whole reads a segment that is not the last: all of it was on disk before the next was made.
func (r *recovery) whole(from int64) error {
	ended, err := r.ended(from)
	if err != nil {
		return err
	}
	if ended {
		r.size = from
	}
	end, more, err := walk(r.f, r.path, r.g, from, r.size, visitor{record: r.add, bad: r.damaged})
	if err != nil {
		return err
	}
	ended = ended || more
	r.g.end = end
	if err := r.put(end); err != nil {
		return err
	}
	if !ended && !r.g.bad {
		return r.damaged(end, end, "the record is missing by which a segment ends")
	}
	return nil
}

// ended reports whether the record before an offset is the one by which a segment ends.
func (r *recovery) ended(off int64) (bool, error) {
	at := off - recordHeaderBytes
	if at < segmentHeaderBytes {
		return false, nil
	}
	h, err := readHead(r.f, r.path, r.g, at)
	if bad := (*CorruptError)(nil); errors.As(err, &bad) || errors.Is(err, io.EOF) {
		return false, nil // the record before is longer, or damaged, which a scrub finds
	}
	return h.kind == kindEnd, err
}

// tail reads the last segment, at the end of which writes may have been cut short.
func (r *recovery) tail(from int64) error {
	before, err := r.ended(from)
	if err != nil {
		return err
	}
	if before {
		r.size = from
	}
	t, err := findCut(r.f, r.path, r.g, from, r.size, r.proof, r.check)
	if err != nil {
		return err
	}
	ended := t.ended || before
	s, g := r.s, r.g
	// The index speaks only of what is on disk, and a process that was killed leaves more.
	if err := s.resume(g); err != nil {
		return err
	}
	if err := s.syncSegment(g); err != nil {
		return err
	}
	open := !ended && !g.bad
	for _, b := range t.bad {
		if b.from >= t.cut {
			break
		}
		if err := r.damaged(b.from, b.to, b.reason); err != nil {
			return err
		}
		// There is no telling where damage up to the end of the file ends and what was
		// cut short begins.
		open = open && b.to < r.size
	}
	g.end, _, err = walk(r.f, r.path, g, from, t.cut, visitor{record: r.add, bad: func(int64, int64, string) error { return nil }})
	if err != nil {
		return err
	}
	if r.size > g.end {
		s.opts.Logger.Info("a write that was cut short is taken back", "file", r.path, "offset", g.end, "bytes", r.size-g.end)
	}
	g.synced, g.sealed = g.end, g.end
	if !open {
		s.active = nil
		s.files.unpin(g.id)
	}
	return r.put(g.end)
}

// tailEnd is where the records of a last segment end that are whole, and what is damaged before.
type tailEnd struct {
	cut   int64
	bad   []stretch
	ended bool
}

// findCut finds where the records from an offset on end, of a segment at the end of which writes may
// have been cut short. proof is up to where it is known to have been on disk. check reads a record
// and returns a *CorruptError for one that is not whole.
func findCut(f disk.File, path string, g *segment, from, size, proof int64, check func(off int64, h *record) error) (t tailEnd, err error) {
	end, ended, err := walk(f, path, g, from, size, visitor{
		record: func(off int64, h record) error {
			proof = max(proof, h.durable)
			if h.kind == kindSeal || h.kind == kindEnd {
				proof = max(proof, off)
			}
			return nil
		},
		bad: func(from, to int64, reason string) error {
			t.bad = append(t.bad, stretch{from, to, reason})
			return nil
		},
	})
	if err != nil {
		return tailEnd{}, err
	}
	t.cut = end
	for _, b := range t.bad {
		if b.from >= proof {
			t.cut = b.from
			break
		}
	}
	errCut := errors.New("cut")
	_, _, err = walk(f, path, g, from, t.cut, visitor{
		record: func(off int64, h record) error {
			if h.kind != kindExtent || off < proof {
				return nil
			}
			var bad *CorruptError
			if err := check(off, &h); errors.As(err, &bad) {
				t.cut = off
				return errCut
			} else if err != nil {
				return err
			}
			return nil
		},
		bad: func(int64, int64, string) error { return nil },
	})
	if err != nil && !errors.Is(err, errCut) {
		return tailEnd{}, err
	}
	t.ended = ended && t.cut == end
	return t, nil
}

// check reads an extent's record and checks its bytes.
func (r *recovery) check(off int64, h *record) error {
	if r.buf == nil {
		r.buf = make([]byte, object.MaxExtent)
	}
	_, err := r.s.readRecord(r.f, r.g, off, h, r.buf)
	return err
}

// add collects an extent for the index.
func (r *recovery) add(off int64, h record) error {
	if h.kind == kindExtent {
		at := place{segment: r.g.id, offset: off, length: h.length, crc: h.crc}
		r.batch = append(r.batch, queued{h.id, pending{at: at}})
		if len(r.batch) >= maxBatch {
			return r.put(off)
		}
	}
	return nil
}

// put writes what was collected. The index knows the segment up to a position then, unless it knows
// a later one already.
func (r *recovery) put(to int64) error {
	s := r.s
	s.indexing.Lock()
	defer s.indexing.Unlock()
	c := s.newChange()
	for _, q := range r.batch {
		old, err := c.place(q.id)
		if err == nil && (old == nil || q.at.after(*old)) {
			err = c.set(q.id, q.at)
		}
		if err != nil {
			return errors.Join(s.indexFailed(err), c.discard())
		}
	}
	r.batch = r.batch[:0]
	m, found, err := s.index.meta()
	if err != nil {
		return errors.Join(s.indexFailed(err), c.discard())
	}
	known := position{r.g.id, to}
	if found && (m.known.segment > known.segment || m.known.segment == known.segment && m.known.offset > known.offset) {
		known = m.known
	}
	if _, ok := c.counts[r.g.id]; !ok {
		c.counts[r.g.id] = count{}
	}
	return c.commit(&known)
}

// damaged notes a stretch in which there is no record.
func (r *recovery) damaged(from, to int64, reason string) error {
	_, err := r.s.damageAt(r.g, from, to, reason)
	return err
}
