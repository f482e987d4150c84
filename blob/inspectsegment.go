package blob

import (
	"errors"
	"fmt"
	"sync"

	"chainfire/internal/disk"
)

// firstError keeps the first error of what is told from other goroutines.
type firstError struct {
	mu  sync.Mutex
	err error
}

func (f *firstError) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *firstError) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// segmentInspector reads one segment as Open and a scrub do, and changes nothing.
type segmentInspector struct {
	*inspector
	info SegmentInfo
	last bool
	g    *segment
	f    disk.File
	// indexed counts the extents that are where the index says.
	indexed int64
}

func (s *segmentInspector) fault(kind FaultKind, offset, bytes int64, reason string) error {
	s.info.Faults++
	return s.o.Fault(&Fault{Kind: kind, File: s.info.File, Offset: offset, Bytes: bytes, Reason: reason})
}

func (s *segmentInspector) rotten(from, to int64, reason string) error {
	return s.fault(FaultRotten, from, to-from, reason)
}

func (s *segmentInspector) read() (err error) {
	if s.f, err = s.o.FS.Open(s.info.File); err != nil {
		return fmt.Errorf("open %s: %w", s.info.File, err)
	}
	defer func() { err = errors.Join(err, s.f.Close()) }()
	if s.info.Size, err = fileSize(s.f, s.info.File); err != nil {
		return err
	}
	s.g = &segment{id: s.info.ID, seed: seedOf(s.out.Salt, s.info.ID), end: segmentHeaderBytes}
	salt, err := headerOf(s.f, s.info.File, s.info.ID)
	bad := (*CorruptError)(nil)
	switch {
	case errors.As(err, &bad):
		s.g.bad = true
		reason := bad.Reason
		if s.out.Salt == 0 {
			reason += ", and without another segment or the index nothing in it can be checked"
		}
		if err := s.rotten(0, min(segmentHeaderBytes, s.info.Size), reason); err != nil || s.out.Salt == 0 {
			return err
		}
	case err != nil:
		return err
	case salt != s.out.Salt:
		return s.fault(FaultForeign, 0, segmentHeaderBytes, "the segment is of another store: its salt is another; it was not read")
	}
	if err := s.records(); err != nil {
		return err
	}
	return s.compare()
}

// records reads what the index knows, all of which was on disk, and then the rest.
func (s *segmentInspector) records() error {
	from := int64(segmentHeaderBytes)
	row, has := s.rows[s.info.ID]
	switch {
	case has && s.info.ID < s.known.segment:
		return s.settled(from, row.end)
	case has && s.info.ID == s.known.segment:
		if err := s.settled(from, s.known.offset); err != nil || s.info.Ended {
			return err
		}
		from = s.known.offset
	}
	size := max(s.info.Size, from)
	if s.last {
		return s.tail(from, size)
	}
	// All of it was on disk before the next was made.
	if err := s.settled(from, size); err != nil || s.info.Ended || s.g.bad {
		return err
	}
	return s.rotten(s.info.End, s.info.End, "the record is missing by which a segment ends")
}

// settled reads a stretch in which nothing may be missing.
func (s *segmentInspector) settled(from, to int64) (err error) {
	s.info.End, s.info.Ended, err = walk(s.f, s.info.File, s.g, from, to, visitor{record: s.record, bad: s.rotten})
	return err
}

// tail reads the end of the last segment, where writes may have been cut short.
func (s *segmentInspector) tail(from, size int64) error {
	proof := int64(0)
	if s.info.ID == s.known.segment {
		proof = s.known.offset
	}
	t, err := findTail(s.f, s.info.File, s.g, from, size, proof, func(off int64, h *record) error {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		return readSpan(s.f, s.info.File, place{segment: s.g.id, offset: off, length: h.length, crc: h.crc}, h, 0, s.buf[:h.length])
	})
	if err == nil {
		err = t.each(s.f, s.info.File, s.g, from, visitor{record: s.record, bad: s.rotten})
	}
	s.info.End, s.info.Ended = t.cut, t.ended
	for _, b := range t.torn {
		if err == nil {
			err = s.fault(FaultTorn, b.from, b.to-b.from, "a write that was cut short, or was damaged since; what follows it is whole")
		}
	}
	if err != nil || t.ended || s.info.Size <= t.cut {
		return err
	}
	return s.fault(FaultTorn, t.cut, s.info.Size-t.cut, "a write that was cut short")
}

// record checks the bytes of a record, whose head was.
func (s *segmentInspector) record(off int64, r record) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	s.info.Closed = r.kind == kindSeal
	if r.kind != kindExtent {
		return nil
	}
	s.info.Extents++
	at := place{segment: s.g.id, offset: off, length: r.length, crc: r.crc}
	if s.index != nil {
		p, found, err := s.index.place(r.id)
		if err != nil {
			return err
		}
		if found && p == at {
			s.indexed++
		}
		unknown := s.known.segment < at.segment || s.known.segment == at.segment && s.known.offset <= off
		if found && p == at || unknown && (!found || at.after(p)) {
			s.info.LiveExtents++
			s.info.LiveBytes += at.size()
		}
	}
	return s.pieces(at, &r)
}

// pieces checks all the pieces of an extent, also those behind one that is bad.
func (s *segmentInspector) pieces(at place, r *record) error {
	start := at.offset + r.headSize()
	for from := int64(0); from < int64(r.length); {
		err := readSpan(s.f, s.info.File, at, r, from, s.buf[:int64(r.length)-from])
		bad := (*CorruptError)(nil)
		if !errors.As(err, &bad) {
			return err
		}
		piece := (bad.Offset - start) / PieceBytes * PieceBytes
		end := min(piece+PieceBytes, int64(r.length))
		reason := fmt.Sprintf("%s, extent %d of body %d of lease %d", bad.Reason, r.id.N, r.id.Body.N, r.id.Body.Lease)
		if err := s.rotten(start+piece, start+end, reason); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// compare holds the segment against what the index has in it.
func (s *segmentInspector) compare() error {
	row := s.rows[s.info.ID]
	if s.info.Faults > 0 || s.indexed == row.records || s.index == nil || s.known == (position{}) {
		return nil
	}
	s.info.Faults++
	return s.o.Fault(&Fault{
		Kind: FaultIndex, File: s.path(indexName),
		Reason: fmt.Sprintf("it has %d extents in %s, of which %d are where it says", row.records, segmentName(s.info.ID), s.indexed),
	})
}
