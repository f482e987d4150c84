package wal

import (
	"errors"
	"fmt"
	"io"

	"chainfire/raft"
)

// reading is the way through the records of one segment.
type reading struct {
	s *segment
	// off and chain are where the next record begins and what it continues;
	// limit is where the last one ends at most, and exactly if exact is set.
	off, limit int64
	chain      uint32
	exact      bool
	// last says that no segment is known after this one, anySeq that the sequence
	// of its first record is not known.
	last, anySeq bool
	entries      []raft.Entry
}

// records reads the records of a segment and checks how it ends.
func (i *inspector) records(h, next *head, last bool) (err error) {
	s := h.seg
	if s.file, err = i.o.FS.Open(s.path); err != nil {
		return fmt.Errorf("open segment %s: %w", s.path, err)
	}
	defer func() { err = errors.Join(err, s.file.Close()) }()
	limit, exact, bad := limitOf(h, next)
	if bad != nil {
		if err := i.tell(bad); err != nil {
			return err
		}
	}
	rd := &reading{
		s: s, off: segmentHeaderBytes, limit: max(limit, segmentHeaderBytes), chain: s.seed,
		exact: exact, last: last, anySeq: h.fault != nil,
	}
	if err := i.readAll(rd); err != nil {
		return err
	}
	i.seg.End = rd.off
	s.end, i.l.chain = rd.off, rd.chain
	if !exact || i.lost {
		return nil
	}
	var differs *CorruptError
	if err := i.r.joins(s, &next.seg.head); errors.As(err, &differs) {
		i.lost = true
		return i.tell(&Fault{Kind: FaultRotten, File: s.path, Offset: s.end, Reason: differs.Reason})
	}
	return nil
}

// readAll reads record after record, and on behind what is damaged.
func (i *inspector) readAll(rd *reading) error {
	sc := i.scannerAt(rd)
	for {
		off := rd.off
		p, err := sc.next(false)
		switch bad := (*CorruptError)(nil); {
		case errors.Is(err, io.EOF):
			return nil
		case err == nil:
			h := recordHeader{seq: sc.seq - 1, length: uint32(len(p)), durable: sc.durable}
			rd.off, rd.chain = sc.off, sc.chain
			if err := i.admit(rd, off, h, p, false); err != nil {
				return err
			}
		case !errors.As(err, &bad):
			// The disk itself fails: there is no telling where it would not.
			i.lost = true
			return i.tell(&Fault{Kind: FaultUnreadable, File: rd.s.path, Offset: off, Bytes: rd.limit - off, Reason: err.Error()})
		default:
			on, err := i.skip(rd, bad)
			if err != nil || !on {
				return err
			}
			sc = i.scannerAt(rd)
		}
	}
}

func (i *inspector) scannerAt(rd *reading) *scanner {
	sc := newScanner(rd.s, rd.off, rd.limit, rd.chain)
	if sc.seq = i.l.seq + 1; rd.anySeq {
		sc.seq = 0
	}
	rd.anySeq = false
	return sc
}

// skip decides what a record is that does not check, and goes to the next one
// that can be read; on is false when there is none.
func (i *inspector) skip(rd *reading, bad *CorruptError) (on bool, err error) {
	s, seq := rd.s, i.l.seq+1
	fault := &Fault{Kind: FaultRotten, File: s.path, Offset: rd.off, Reason: bad.Reason}
	if !rd.exact {
		found, err := s.search(rd.off, rd.limit, seq)
		if err != nil {
			return false, i.unreadable(rd, err)
		}
		switch {
		case found.proof > 0:
			fault.Reason += fmt.Sprintf("; the record at %d says that record %d was durable", found.proof, seq)
		case rd.last:
			return false, i.torn(rd, found)
		case found.end <= rd.off:
			return false, nil // the end, which only the next segment could tell
		}
	}
	i.lost = true
	at, h, err := i.resume(rd)
	if err != nil {
		return false, i.unreadable(rd, err)
	}
	if at == 0 {
		if fault.Bytes = rd.limit - rd.off; !rd.exact {
			fault.Bytes = 0
		}
		return false, i.tell(fault)
	}
	fault.Bytes = at - rd.off
	if err := i.tell(fault); err != nil {
		return false, err
	}
	rd.off, i.l.seq = at, h.seq-1
	return true, i.readLoose(rd, h)
}

func (i *inspector) unreadable(rd *reading, err error) error {
	i.lost = true
	return i.tell(&Fault{Kind: FaultUnreadable, File: rd.s.path, Offset: rd.off, Bytes: rd.limit - rd.off, Reason: err.Error()})
}

// torn notes what the last segment ends with, as recovery does.
func (i *inspector) torn(rd *reading, found remains) error {
	end := found.end
	if rd.s.head.flags&flagRecycled == 0 {
		end = max(end, found.nonzero)
	}
	if end <= rd.off {
		return nil
	}
	i.r.torn = &TornTail{File: rd.s.path, Offset: rd.off, Bytes: end - rd.off}
	return i.tell(&Fault{
		Kind: FaultTorn, File: rd.s.path, Offset: rd.off, Bytes: end - rd.off,
		Reason: fmt.Sprintf("unfinished write after record %d", i.l.seq),
	})
}

// resume finds the next record with a good header behind the one at rd.off, and
// leaves in rd.chain what it probably continues.
func (i *inspector) resume(rd *reading) (at int64, h recordHeader, err error) {
	var b [recordHeaderBytes]byte
	if rd.limit-rd.off < recordHeaderBytes {
		return 0, h, nil
	}
	n, err := rd.s.file.ReadAt(b[:], rd.off)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, h, err
	}
	// The chain value of the damaged record, if that is not what is damaged.
	rd.chain = le.Uint32(b[36:])
	from := rd.off + 1
	if own, ok := decodeRecordHeader(b[:], rd.s.seed, rd.s.id, rd.off); ok && n == len(b) {
		// Its header is good, so its length is.
		from = min(rd.off+recordHeaderBytes+int64(own.length), rd.limit)
	}
	seq := i.l.seq
	_, err = rd.s.eachHeader(from, rd.limit, func(off int64, found recordHeader) bool {
		if found.seq <= seq || off+recordHeaderBytes+int64(found.length) > rd.limit {
			return true
		}
		at, h = off, found
		return false
	})
	return at, h, err
}

// readLoose reads the record at rd.off, whose header is good but which may not
// continue what is known.
func (i *inspector) readLoose(rd *reading, h recordHeader) error {
	b := make([]byte, recordHeaderBytes+int(h.length))
	n, err := rd.s.file.ReadAt(b, rd.off)
	if err != nil && !errors.Is(err, io.EOF) {
		return i.unreadable(rd, err)
	}
	off, p := rd.off, b[recordHeaderBytes:]
	rd.off += int64(len(b))
	unchecked := chained(rd.chain, b[:recordHeaderBytes], p) != h.chain
	rd.chain = h.chain
	if n < len(b) {
		rd.off = rd.limit
		return i.tell(&Fault{Kind: FaultRotten, File: rd.s.path, Offset: off, Bytes: int64(n), Reason: "file ends inside a record"})
	}
	return i.admit(rd, off, h, p, unchecked)
}

// admit takes over one record and tells of it.
func (i *inspector) admit(rd *reading, off int64, h recordHeader, p []byte, unchecked bool) error {
	i.l.seq = h.seq - 1
	b, err := decodeBody(p, rd.entries[:0])
	if err != nil {
		i.lost, i.l.seq = true, h.seq
		reason := err.Error()
		if unchecked {
			reason += "; its checksum cannot be checked, because the record before it is damaged"
		}
		return i.tell(&Fault{Kind: FaultRotten, File: rd.s.path, Offset: off, Bytes: recordHeaderBytes + int64(len(p)), Reason: reason})
	}
	if len(b.entries) > 0 {
		rd.entries = b.entries
	}
	if err := i.join(rd.s, &b, p, off); err != nil {
		return err
	}
	i.note(rd, off, h, &b, unchecked)
	if i.o.Record == nil {
		return nil
	}
	return i.o.Record(&i.rec)
}

// join brings the log to what a record says. Where it does not join what is
// known, that is a fault, unless something before could not be read.
func (i *inspector) join(s *segment, b *body, p []byte, off int64) error {
	l := i.l
	i.rec = InspectedRecord{}
	if len(b.entries) > 0 {
		prev := Position{b.entries[0].Index - 1, b.prevTerm}
		if !i.begun {
			// The header before it is damaged: the log begins here, as far as is known.
			i.resync(prev)
			i.base, i.begun = prev, true
		} else if i.lost && !i.fits(prev) {
			i.resync(prev)
		}
		if prev.Index < l.last {
			i.rec.Replaces = l.last - prev.Index
			i.out.cut(l.seq+1, prev.Index+1)
		}
	}
	var bad *CorruptError
	err := i.r.admit(s, p, off, l.chain, false)
	if !errors.As(err, &bad) {
		return err
	}
	l.seq++
	s.records, s.sealed = s.records+1, b.seal()
	if len(b.entries) > 0 {
		i.resync(Position{b.entries[len(b.entries)-1].Index, b.entries[len(b.entries)-1].Term})
	}
	return i.tell(&Fault{Kind: FaultRotten, File: s.path, Offset: off, Bytes: recordHeaderBytes + int64(len(p)), Reason: bad.Reason})
}

// fits reports whether entries after a position join what is known.
func (i *inspector) fits(p Position) bool {
	l := i.l
	return p.Index <= l.last && p.Index >= l.base.Index && l.terms.term(p.Index) == p.Term
}

// note fills in the report of a record, and the segment's.
func (i *inspector) note(rd *reading, off int64, h recordHeader, b *body, unchecked bool) {
	r := &i.rec
	r.File, r.Offset, r.Bytes = rd.s.path, off, rd.off-off
	r.Seq, r.Durable, r.Unchecked = h.seq, h.durable, unchecked
	r.HardState, r.Entries = b.hs, b.entries
	if b.hasFloor {
		floor := b.floor
		r.Floor = &floor
	}
	i.seg.Records++
	i.seg.Sealed = b.seal()
	if n := len(b.entries); n > 0 {
		if first := b.entries[0].Index; i.seg.First == 0 || first < i.seg.First {
			i.seg.First = first
		}
		i.seg.Last = max(i.seg.Last, b.entries[n-1].Index)
	}
}
