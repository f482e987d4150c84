package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"chainfire/internal/disk"
)

// inspector is one run of Inspect. It brings the log up to what each record
// says with the means of recovery, and takes the place to go on from what can
// be read when something in between cannot.
type inspector struct {
	o   InspectOptions
	l   *Log
	r   recovery
	out *Inspection
	// seg is the report of the segment that is read.
	seg *InspectedSegment
	// begun says that the log's place is known; lost that something could not be
	// read, so that what comes next, up to the next segment, may not join.
	begun, lost bool
	// base is where the log begins, as known before anything was lost.
	base Position
	rec  InspectedRecord
}

// head is a segment with its header read, and what is wrong with that.
type head struct {
	seg   *segment
	size  int64
	fault *Fault
}

// load opens a segment, reads its header and closes it.
func (i *inspector) load(path string, id uint64) (h *head, err error) {
	h = &head{seg: &segment{id: id, path: path}}
	f, err := i.o.FS.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open segment %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read size of %s: %w", path, err)
	}
	h.size = info.Size()
	var b [segmentHeaderBytes]byte
	n, err := f.ReadAt(b[:], 0)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		h.fault = &Fault{Kind: FaultUnreadable, File: path, Reason: err.Error()}
		return h, nil
	case n < len(b):
		h.fault = &Fault{Kind: FaultRotten, File: path, Offset: int64(n), Reason: "file ends inside the segment header"}
		return h, nil
	}
	if h.seg.head, h.seg.seed, err = decodeSegmentHeader(b[:], id); err != nil {
		h.fault = &Fault{Kind: FaultRotten, File: path, Bytes: segmentHeaderBytes, Reason: err.Error()}
		h.seg.seed, err = i.guessSeed(f, b[:], id)
	}
	return h, err
}

// guessSeed finds the seed of a segment whose header is damaged: the checksum
// in it, or the right one of a header in which that alone is damaged. It is 0
// when the first record fits neither.
func (i *inspector) guessSeed(f disk.File, header []byte, id uint64) (uint32, error) {
	var first [recordHeaderBytes]byte
	if _, err := f.ReadAt(first[:], segmentHeaderBytes); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		return 0, fmt.Errorf("read the first record: %w", err)
	}
	for _, seed := range [2]uint32{le.Uint32(header[124:]), crc32.Checksum(header[:124], castagnoli)} {
		if _, ok := decodeRecordHeader(first[:], seed, id, segmentHeaderBytes); ok {
			return seed, nil
		}
	}
	return 0, nil
}

// inspectFile looks at one segment alone, with the end that the next one names
// if that is beside it.
func (i *inspector) inspectFile() error {
	path := i.o.FS.PathJoin(i.o.Dir, i.o.File)
	id, err := i.idOf(path)
	if err != nil {
		return err
	}
	h, err := i.load(path, id)
	if err != nil {
		return err
	}
	var next *head
	if after := i.l.segmentPath(id+1, segmentSuffix); path == i.l.segmentPath(id, segmentSuffix) {
		if _, err := i.o.FS.Stat(after); err == nil {
			if next, err = i.load(after, id+1); err != nil {
				return err
			}
		}
	}
	if err := i.segment(h, next, next == nil); err != nil {
		return err
	}
	i.finish()
	return nil
}

// idOf is the id that a file says it holds.
func (i *inspector) idOf(path string) (id uint64, err error) {
	f, err := i.o.FS.Open(path)
	if err != nil {
		return 0, fmt.Errorf("open segment %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var b [segmentHeaderBytes]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read %s at 0: %w", path, err)
	}
	if named, ok := segmentID(i.o.File); ok {
		return named, nil // whatever is in it
	}
	if n < len(b) || string(b[:8]) != segmentMagic {
		return 0, ErrNotSegment
	}
	return le.Uint64(b[16:]), nil
}

// run reads the segments of the log.
func (i *inspector) run(heads []*head) error {
	i.checkSalts(heads)
	for k, h := range heads {
		if k > 0 && heads[k-1].seg.id+1 != h.seg.id {
			if err := i.missing(heads[k-1].seg.id+1, h.seg.id-1); err != nil {
				return err
			}
		}
		var next *head
		if k+1 < len(heads) && heads[k+1].seg.id == h.seg.id+1 {
			next = heads[k+1]
		}
		if err := i.segment(h, next, k+1 == len(heads)); err != nil {
			return err
		}
	}
	i.finish()
	return nil
}

// checkSalts marks the segments that are not of the log that the newest is of.
func (i *inspector) checkSalts(heads []*head) {
	var newest *segment
	for k := len(heads) - 1; k >= 0; k-- {
		switch h := heads[k]; {
		case h.fault != nil:
		case newest == nil:
			newest = h.seg
		case h.seg.head.salt != newest.head.salt:
			h.fault = &Fault{Kind: FaultRotten, File: h.seg.path, Offset: 24, Bytes: 8, Reason: "segment belongs to another log"}
			h.seg.seed = 0
		}
	}
}

func (i *inspector) missing(from, to uint64) error {
	i.lost = true
	reason := "segment is missing"
	if to > from {
		reason = fmt.Sprintf("segments are missing, up to %016x%s", to, segmentSuffix)
	}
	return i.tell(&Fault{Kind: FaultMissing, File: i.l.segmentPath(from, segmentSuffix), Reason: reason})
}

// tell counts a fault and hands it on.
func (i *inspector) tell(f *Fault) error {
	if f.Kind != FaultTorn {
		i.out.Damage++
	}
	if i.seg != nil {
		i.seg.Faults++
	}
	if i.o.Fault == nil {
		return nil
	}
	return i.o.Fault(f)
}

// segment reads one segment; next is the one after it if that is there, last
// says that none is known after it.
func (i *inspector) segment(h *head, next *head, last bool) error {
	s, head := h.seg, &h.seg.head
	i.seg = &InspectedSegment{
		File: s.path, State: SegmentLive, FileBytes: h.size, ID: s.id, Header: h.fault == nil,
		Reset: head.flags&flagReset != 0, Recycled: head.flags&flagRecycled != 0, FirstSeq: head.firstSeq,
		Base: head.base, Before: head.last, HardState: head.hs, Floor: head.floor,
	}
	i.out.Segments++
	i.l.segments = append(i.l.segments, s)
	if h.fault != nil {
		i.lost = true
		if err := i.tell(h.fault); err != nil {
			return err
		}
	} else {
		i.enter(s)
	}
	if h.fault == nil || s.seed != 0 {
		if err := i.records(h, next, last); err != nil {
			return err
		}
	}
	// Nothing is read through the index.
	s.segmentIndex = segmentIndex{}
	i.out.Records += uint64(i.seg.Records)
	i.out.Sealed = i.seg.Sealed
	if i.o.Segment != nil {
		if err := i.o.Segment(i.seg); err != nil {
			return err
		}
	}
	i.seg = nil
	return nil
}

// enter brings the state to what a segment's header says.
func (i *inspector) enter(s *segment) {
	head := &s.head
	switch {
	case !i.begun:
		i.r.segments = []*segment{s}
		i.r.begin()
		i.base = i.l.base
	case i.lost:
		i.resync(head.last)
		i.l.seq, i.l.hs, i.l.floor = head.firstSeq-1, head.hs, head.floor
		i.lost = false
	}
	i.begun = true
	if head.base.Index > i.r.released.Index {
		i.r.released = head.base
	}
}

// resync makes a position the last entry of the log after something could not be
// read, and notes what is known to be lost with that.
func (i *inspector) resync(p Position) {
	l := i.l
	if i.begun && p.Index > l.last {
		i.out.Lost = append(i.out.Lost, Span{l.last + 1, p.Index})
	}
	if i.begun && p.Index < l.last {
		i.out.cut(l.seq+1, p.Index+1)
	}
	if i.begun && p.Index >= l.base.Index && p.Index <= l.last {
		if l.terms.term(p.Index) == p.Term {
			if p.Index < l.last {
				l.truncate(p.Index + 1)
			}
			return
		}
		// The entry was replaced by one that cannot be read.
		i.out.Lost = append(i.out.Lost, Span{p.Index, p.Index})
		i.out.cut(l.seq+1, p.Index)
	}
	l.base, l.last, l.terms = p, p.Index, termRuns{p}
}

// finish writes down where the log stands.
func (i *inspector) finish() {
	l := i.l
	if i.out.Damage == 0 {
		i.base = l.base
	}
	if i.r.released.Index > i.base.Index {
		i.base = i.r.released
	}
	i.out.State = State{
		HardState: l.hs, Base: i.base, First: i.base.Index + 1, Last: l.last, Floor: l.floor, Torn: i.r.torn,
	}
}

// limitOf is where the records of a segment can end at most, and whether that is
// where they do end.
func limitOf(h, next *head) (limit int64, exact bool, bad *Fault) {
	limit = min(h.size, math.MaxUint32)
	if next == nil || next.fault != nil {
		return limit, false, nil
	}
	end := next.seg.head.prevEnd
	switch {
	case next.seg.head.flags&flagReset != 0:
		// The log was started again: this segment is only looked at alone.
		return limit, false, nil
	case end < segmentHeaderBytes || end > math.MaxUint32:
		return limit, false, &Fault{Kind: FaultRotten, File: next.seg.path, Offset: 40, Bytes: 8, Reason: "impossible end of the segment before"}
	}
	return end, true, nil
}
