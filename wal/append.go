package wal

import (
	"fmt"

	"chainfire/raft"
)

// keepBuffer is the largest encoding buffer kept between batches.
const keepBuffer = 4 << 20

// Batch is what is written in one step: after a crash all of it is there, or
// none.
type Batch struct {
	// HardState replaces the hard state; nil leaves it.
	HardState *raft.HardState
	// Entries are contiguous and start after the base and at most one past the
	// last entry. From the first one on they replace what the log holds. The
	// log keeps them; their data is never modified.
	Entries []raft.Entry
	// Floor raises the floor; a lower value, so also 0, leaves it.
	Floor uint64
	// Sync makes the batch durable whatever is in it, and what came before it.
	Sync bool
}

// Append writes a batch with one write and one sync, and returns when it is
// durable. The sync is left out when the batch holds no entries, neither the term
// nor the vote changes, and Sync is not set: what such a batch says (the commit
// index, the floor) may be lost in a crash, back to a value that was true before,
// until the next sync. A batch that changes nothing is not written.
//
// It returns ErrInvalid or ErrTooLarge with nothing written; any other error
// poisons the log.
func (l *Log) Append(b Batch) error {
	if l.failed != nil {
		return l.failed
	}
	rec, err := l.bodyOf(&b)
	if err != nil {
		return err
	}
	if rec.seal() {
		if b.Sync && l.durable < l.seq {
			return l.sync()
		}
		return nil
	}
	size := rec.size()
	if size > MaxBatchBytes {
		return fmt.Errorf("append %d entries, %d bytes: %w", len(rec.entries), size, ErrTooLarge)
	}
	mustSync := b.Sync || len(rec.entries) > 0 ||
		(rec.hs != nil && (rec.hs.Term != l.hs.Term || rec.hs.Vote != l.hs.Vote))
	if l.cur.records > 0 && l.cur.end+recordHeaderBytes+size > l.opts.SegmentBytes {
		err = l.roll(&rec)
	} else {
		err = l.extend(&rec, mustSync)
	}
	if cap(l.buf) > keepBuffer {
		l.buf = nil
	}
	return err
}

// bodyOf checks a batch against the log and leaves out what changes nothing.
func (l *Log) bodyOf(b *Batch) (body, error) {
	var rec body
	if b.HardState != nil && *b.HardState != l.hs {
		rec.hs = b.HardState
	}
	if b.Floor > l.floor {
		rec.hasFloor, rec.floor = true, b.Floor
	}
	if len(b.Entries) == 0 {
		return rec, nil
	}
	first := b.Entries[0].Index
	if first <= l.base.Index || first > l.last+1 || first > maxIndex {
		return rec, fmt.Errorf("append entries from %d to a log that holds (%d, %d]: %w",
			first, l.base.Index, l.last, ErrInvalid)
	}
	rec.entries, rec.prevTerm = b.Entries, l.terms.term(first-1)
	term := rec.prevTerm
	for i := range b.Entries {
		e := &b.Entries[i]
		if e.Index != first+uint64(i) || e.Term < term {
			return rec, fmt.Errorf("append entry (%d, term %d) in the place of %d after term %d: %w",
				e.Index, e.Term, first+uint64(i), term, ErrInvalid)
		}
		term = e.Term
	}
	return rec, nil
}

// extend writes a record to the current segment.
func (l *Log) extend(rec *body, mustSync bool) error {
	offset, chain := l.cur.end, l.chain
	if err := l.write(rec); err != nil {
		return err
	}
	if mustSync {
		if err := l.sync(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.admit(l.cur, rec, offset, chain, true)
	return nil
}

// roll begins a new segment with a record in it; rec may be nil.
func (l *Log) roll(rec *body) error {
	if l.durable < l.seq {
		if err := l.sync(); err != nil {
			return err
		}
	}
	s, err := l.openSegment(segmentHeader{
		id:        l.cur.id + 1,
		prevEnd:   l.cur.end,
		prevChain: l.chain,
		base:      l.base,
		last:      Position{l.last, l.terms.term(l.last)},
		hs:        l.hs,
		floor:     l.floor,
	}, rec)
	if err != nil {
		return l.poison(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments = append(l.segments, s)
	if rec != nil {
		s.end += recordHeaderBytes + rec.size()
		l.admit(s, rec, segmentHeaderBytes, s.seed, true)
	}
	return nil
}

// encodeRecord appends the next record of a segment to buf.
func (l *Log) encodeRecord(buf []byte, s *segment, chain uint32, b *body) ([]byte, uint32) {
	at := len(buf)
	size := b.size()
	buf = grow(buf, recordHeaderBytes+int(size))[:at+recordHeaderBytes]
	buf = b.encode(buf)
	h := recordHeader{
		length:  uint32(size),
		segment: s.id,
		seq:     l.seq + 1,
		durable: l.durable,
		offset:  uint32(s.end),
	}
	return buf, h.encode(buf[at:], s.seed, chain)
}

// write puts a record at the end of the current segment. Readers do not see what
// is in it before admit.
func (l *Log) write(b *body) error {
	buf, chain := l.encodeRecord(l.buf[:0], l.cur, l.chain, b)
	n := int64(len(buf))
	l.buf = buf
	if _, err := l.cur.file.WriteAt(buf, l.cur.end); err != nil {
		return l.poison(fmt.Errorf("write %d bytes to %s at %d: %w", n, l.cur.path, l.cur.end, err))
	}
	l.seq++
	l.chain = chain
	l.cur.records++
	l.cur.sealed = b.seal()
	l.mu.Lock()
	l.cur.end += n
	l.mu.Unlock()
	return nil
}

// sync makes everything written to the current segment durable.
func (l *Log) sync() error {
	l.syncs.Add(1)
	if err := l.cur.file.SyncData(); err != nil {
		return l.poison(fmt.Errorf("sync %s: %w", l.cur.path, err))
	}
	l.durable = l.seq
	return nil
}

// admit makes a record's content the log's: the same step when it was written
// and when it is recovered. Entries are cached if keep is set. mu is held.
func (l *Log) admit(s *segment, b *body, offset int64, chain uint32, keep bool) {
	if b.hs != nil {
		l.hs = *b.hs
	}
	if b.hasFloor {
		l.floor = b.floor
	}
	if len(b.entries) == 0 {
		return
	}
	first := b.entries[0].Index
	cut := first <= l.last
	if cut {
		l.truncate(first)
	}
	l.last = b.entries[len(b.entries)-1].Index
	s.add(first, l.last, offset, chain, cut)
	for i := range b.entries {
		l.terms.add(b.entries[i].Index, b.entries[i].Term)
	}
	if keep {
		l.cache.add(b.entries)
	}
}

// truncate forgets the entries from index on. mu is held.
func (l *Log) truncate(index uint64) {
	l.cuts++
	for i := len(l.segments) - 1; i >= 0; i-- {
		s := l.segments[i]
		s.truncate(index)
		if _, live := s.first(); live {
			break
		}
	}
	l.terms.truncate(index)
	l.cache.truncate(index)
	l.last = index - 1
}

// Reset makes the log start again after (baseIndex, baseTerm), with nothing in
// it, once a snapshot of that point has become the member's state. hs and floor
// replace the hard state and the floor, also when they are lower: the store they
// spoke of is gone. A floor above baseIndex is ErrInvalid. After a crash at any
// point the log is the old one or the new one.
func (l *Log) Reset(baseIndex, baseTerm uint64, hs raft.HardState, floor uint64) error {
	if l.failed != nil {
		return l.failed
	}
	if floor > baseIndex {
		return fmt.Errorf("reset to index %d with a floor of %d: %w", baseIndex, floor, ErrInvalid)
	}
	return l.restart(Position{baseIndex, baseTerm}, hs, floor)
}

func (l *Log) restart(base Position, hs raft.HardState, floor uint64) error {
	if base.Index > maxIndex {
		return fmt.Errorf("start the log after index %d: %w", base.Index, ErrInvalid)
	}
	h := segmentHeader{flags: flagReset, id: 1, base: base, last: base, hs: hs, floor: floor}
	if l.cur != nil {
		h.id = l.cur.id + 1
	}
	s, err := l.openSegment(h, nil)
	if err != nil {
		return l.poison(err)
	}
	l.hs, l.floor = hs, floor
	l.files.Lock()
	defer l.files.Unlock()
	l.mu.Lock()
	old := l.segments
	l.segments = []*segment{s}
	l.base, l.last = base, base.Index
	l.terms = termRuns{base}
	l.cache.reset()
	l.cuts++
	l.mu.Unlock()
	if err := l.retire(old, false); err != nil {
		return l.poison(err)
	}
	return nil
}

// Release says that the entries up to index are not needed any more. They are
// not readable afterwards, and segments that hold nothing else are given away.
// How far entries were released is not durable by itself: after a crash some
// may be there again. An index above the last entry is ErrInvalid; one below
// the base does nothing.
func (l *Log) Release(index uint64) error {
	if l.failed != nil {
		return l.failed
	}
	if index <= l.base.Index {
		return nil
	}
	if index > l.last {
		return fmt.Errorf("release up to %d, the log ends at %d: %w", index, l.last, ErrInvalid)
	}
	n := 0
	for n < len(l.segments)-1 {
		if _, live := l.segments[n].first(); live && l.segments[n].last > index {
			break
		}
		n++
	}
	// The floor that lets entries go must be durable before they do.
	if n > 0 && l.durable < l.seq {
		if err := l.sync(); err != nil {
			return err
		}
	}
	l.files.Lock()
	defer l.files.Unlock()
	l.mu.Lock()
	old := l.segments[:n:n]
	l.segments = append([]*segment(nil), l.segments[n:]...)
	l.base = Position{index, l.terms.term(index)}
	l.terms.release(index)
	l.cache.release(index)
	l.mu.Unlock()
	if err := l.retire(old, true); err != nil {
		return l.poison(err)
	}
	return nil
}
