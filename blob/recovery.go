package blob

import (
	"errors"
	"fmt"
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
	t, err := findTail(r.f, r.path, r.g, from, r.size, r.proof, r.check)
	if err != nil {
		return err
	}
	s, g := r.s, r.g
	if err := s.resume(g); err != nil {
		return err
	}
	if err := r.void(&t); err != nil {
		return err
	}
	// The index speaks only of what is on disk, and a process that was killed leaves more.
	if err := s.syncSegment(g); err != nil {
		return err
	}
	if err := t.each(r.f, r.path, g, from, visitor{record: r.add, bad: r.damaged}); err != nil {
		return err
	}
	g.end = t.cut
	if r.size > g.end {
		s.opts.Logger.Info("a write that was cut short is taken back", "file", r.path, "offset", g.end, "bytes", r.size-g.end)
	}
	g.synced, g.sealed = g.end, g.end
	if t.ended || before || g.bad {
		s.active = nil
		s.files.unpin(g.id)
	}
	return r.put(g.end)
}

// void writes over the heads of what is not whole between whole records, so that it is never taken
// for damage: nobody knows that it was ever on disk. On a full disk it stays as it is, for a scrub
// to find.
func (r *recovery) void(t *tailEnd) error {
	for _, b := range t.torn {
		r.s.opts.Logger.Warn("a write that was cut short, or was damaged since, is left out; what follows it is kept",
			"file", r.path, "offset", b.from, "to", b.to, "reason", b.reason)
		h := record{kind: kindVoid, length: uint32(b.to - b.from - recordHeaderBytes), durable: t.proof}
		f, err := r.s.files.get(r.g.id)
		if err == nil {
			_, err = f.WriteAt(h.appendTo(nil, r.g.seed, r.g.id, b.from), b.from)
			r.s.files.put(f)
		}
		if noRoom(err) {
			r.s.opts.Logger.Warn("the disk is full: it cannot be marked as left out", "file", r.path, "offset", b.from, "err", err)
		} else if err != nil {
			return r.s.fail(fmt.Errorf("write %s at %d: %w", r.path, b.from, err))
		}
	}
	return nil
}

// tailEnd is what the end of a last segment holds. Up to proof, which is where a record begins,
// everything was on disk: what is no record there is damage. Between proof and cut there are whole
// records, and torn stretches between them. What is behind cut is torn, too.
type tailEnd struct {
	proof, cut int64
	torn       []stretch
	ended      bool
}

// each tells of everything up to the cut, but for what is torn.
func (t *tailEnd) each(f disk.File, path string, g *segment, from int64, v visitor) error {
	if _, _, err := walk(f, path, g, from, t.proof, v); err != nil {
		return err
	}
	from = max(from, t.proof)
	for _, b := range t.torn {
		if _, _, err := walk(f, path, g, from, b.from, v); err != nil {
			return err
		}
		from = b.to
	}
	_, _, err := walk(f, path, g, from, t.cut, v)
	return err
}

// findTail finds which records from an offset on count, of a segment at the end of which writes may
// have been cut short. proof is up to where it is known to have been on disk. check reads a record
// and returns a *CorruptError for one that is not whole.
func findTail(f disk.File, path string, g *segment, from, size, proof int64, check func(off int64, h *record) error) (t tailEnd, err error) {
	t.proof = max(from, proof)
	_, _, err = walk(f, path, g, from, size, visitor{
		record: func(off int64, h record) error {
			t.proof = max(t.proof, h.durable)
			if h.kind == kindSeal || h.kind == kindEnd {
				t.proof = max(t.proof, off)
			}
			return nil
		},
		bad: func(int64, int64, string) error { return nil },
	})
	t.cut = t.proof
	bad := stretch{from: -1}
	for off := t.proof; err == nil && off < size && !t.ended; {
		var h record
		var reason string
		if h, reason, err = wholeAt(f, path, g, off, size, check); err != nil {
			break
		}
		if reason != "" {
			if bad.from < 0 {
				bad = stretch{from: off, reason: reason}
			}
			off, err = search(f, path, g, off+recordHeaderBytes, size)
			continue
		}
		if bad.from >= 0 {
			bad.to = off
			t.torn = append(t.torn, bad)
			bad.from = -1
		}
		off += h.size()
		t.cut, t.ended = off, h.kind == kindEnd
	}
	return t, err
}

// wholeAt reads the record at an offset and all its bytes, or says why there is none that is whole.
func wholeAt(f disk.File, path string, g *segment, off, size int64, check func(off int64, h *record) error) (h record, reason string, err error) {
	h, err = readHead(f, path, g, off)
	switch {
	case errors.Is(err, io.EOF):
		return h, "the file ends early", nil
	case err == nil && off+h.size() > size:
		return h, endsInside, nil
	case err == nil && h.kind == kindExtent:
		err = check(off, &h)
	}
	if bad := (*CorruptError)(nil); errors.As(err, &bad) {
		return h, bad.Reason, nil
	}
	return h, "", err
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
