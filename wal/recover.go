package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"chainfire/internal/disk"
	"chainfire/raft"
)

// Open recovers the log in the directory. It returns ErrNotExist when there is
// none, and a *CorruptError, with nothing changed on disk, when something is
// missing that was durable. An unfinished write at the very end is cut off and
// told in State.Torn.
func Open(opts Options) (*Log, State, error) {
	l, err := newLog(opts)
	if err != nil {
		return nil, State{}, err
	}
	r := &recovery{l: l}
	if err := r.run(); err != nil {
		for _, s := range r.segments {
			// The log is not opened; the error that says why matters.
			_ = s.file.Close()
		}
		return nil, State{}, fmt.Errorf("open log in %s: %w", l.opts.Dir, err)
	}
	st := State{
		HardState: l.hs, Base: l.base, First: l.base.Index + 1, Last: l.last, Floor: l.floor, Torn: r.torn,
	}
	l.opts.Logger.Info("log opened", "dir", l.opts.Dir, "segments", len(l.segments),
		"first", st.First, "last", st.Last, "term", st.HardState.Term, "commit", st.HardState.Commit, "floor", st.Floor)
	return l, st, nil
}

// recovery is one run of Open.
type recovery struct {
	l *Log
	// segments are those that the log consists of, void the paths of others.
	segments []*segment
	void     []string
	// released is the highest base that a segment's header names. The log's
	// own base is, until the end, where its oldest segment begins.
	released Position
	torn     *TornTail
	// open are the last records, of which none that follows says that they are
	// durable.
	open    []openRecord
	scratch []raft.Entry
}

// openRecord is a valid record that may not be durable.
type openRecord struct {
	body  []byte
	off   int64
	chain uint32
}

func (r *recovery) run() error {
	l := r.l
	ids, rest, err := l.list()
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(ids) == 0) {
		return ErrNotExist
	}
	if err != nil {
		return err
	}
	if err := r.collect(ids); err != nil {
		return err
	}
	r.begin()
	for i, s := range r.segments {
		var next *segmentHeader
		if i+1 < len(r.segments) {
			next = &r.segments[i+1].head
		}
		if err := r.replay(s, next, r.cached(i)); err != nil {
			return err
		}
	}
	if r.released.Index > l.base.Index {
		l.base = r.released
		l.terms.release(l.base.Index)
		l.cache.release(l.base.Index)
	}
	return r.adopt(rest)
}

// collect opens the segments that count: from the last one back to the one that
// the log started with, or the oldest one left.
func (r *recovery) collect(ids []uint64) error {
	for i := len(ids) - 1; i >= 0; i-- {
		if n := len(r.segments); n > 0 {
			if r.segments[n-1].head.flags&flagReset != 0 {
				r.void = append(r.void, r.l.segmentPath(ids[i], segmentSuffix))
				continue
			}
			if want := r.segments[n-1].id - 1; ids[i] != want {
				return &CorruptError{File: r.l.segmentPath(want, segmentSuffix), Reason: "segment is missing"}
			}
		}
		if err := r.load(ids[i]); err != nil {
			return err
		}
	}
	for i, j := 0, len(r.segments)-1; i < j; i, j = i+1, j-1 {
		r.segments[i], r.segments[j] = r.segments[j], r.segments[i]
	}
	return nil
}

// load opens a segment and reads its header.
func (r *recovery) load(id uint64) error {
	s := &segment{id: id, path: r.l.segmentPath(id, segmentSuffix)}
	var err error
	if s.file, err = r.l.fs.Open(s.path); err != nil {
		return fmt.Errorf("open segment %s: %w", s.path, err)
	}
	r.segments = append(r.segments, s)
	info, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("read size of %s: %w", s.path, err)
	}
	// Until its records are read, end is where they can end at most.
	s.end = min(info.Size(), math.MaxUint32)
	var b [segmentHeaderBytes]byte
	n, err := s.file.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s at 0: %w", s.path, err)
	}
	if n < len(b) {
		return &CorruptError{File: s.path, Offset: int64(n), Reason: "file ends inside the segment header"}
	}
	if s.head, s.seed, err = decodeSegmentHeader(b[:], id); err != nil {
		return &CorruptError{File: s.path, Reason: err.Error()}
	}
	if s.head.salt != r.segments[0].head.salt {
		return &CorruptError{File: s.path, Offset: 24, Reason: "segment belongs to another log"}
	}
	return nil
}

// begin starts from what the oldest segment's header says.
func (r *recovery) begin() {
	l, head := r.l, &r.segments[0].head
	l.salt, l.seq = head.salt, head.firstSeq-1
	l.hs, l.floor = head.hs, head.floor
	l.base, l.last = head.last, head.last.Index
	l.terms = termRuns{head.last}
}

// cached reports whether segment i is so near the end that its entries may find
// a place in the cache.
func (r *recovery) cached(i int) bool {
	var after uint64
	for _, s := range r.segments[i+1:] {
		after += uint64(s.end)
	}
	return after < r.l.cache.limit
}

// replay reads one segment; next is the header of the one after it, or nil.
func (r *recovery) replay(s *segment, next *segmentHeader, keep bool) error {
	l := r.l
	l.segments = append(l.segments, s)
	if s.head.base.Index > r.released.Index {
		r.released = s.head.base
	}
	limit := s.end
	if next != nil {
		if next.prevEnd < segmentHeaderBytes || next.prevEnd > math.MaxUint32 {
			return &CorruptError{File: l.segmentPath(next.id, segmentSuffix), Offset: 40, Reason: "impossible end of the segment before"}
		}
		limit = next.prevEnd
	}
	sc := newScanner(s, segmentHeaderBytes, limit, s.seed)
	sc.seq = l.seq + 1
	for {
		off, chain := sc.off, sc.chain
		p, err := sc.next(keep)
		var bad *CorruptError
		if next == nil && errors.As(err, &bad) {
			err = r.tail(s, sc, bad)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if next != nil {
			err = r.admit(s, p, off, chain, keep)
		} else {
			err = r.hold(s, openRecord{p, off, chain}, sc.durable, keep)
		}
		if err != nil {
			return err
		}
	}
	s.end, l.chain = sc.off, sc.chain
	if next != nil {
		return r.joins(s, next)
	}
	if len(r.open) > 0 {
		s.end, l.chain = r.open[0].off, r.open[0].chain
	}
	return nil
}

// hold keeps a record of the last segment back, and takes over those that are
// durable.
func (r *recovery) hold(s *segment, rec openRecord, durable uint64, keep bool) error {
	for len(r.open) > 0 && r.l.seq+1 <= durable {
		o := r.open[0]
		r.open = r.open[1:]
		if err := r.admit(s, o.body, o.off, o.chain, keep); err != nil {
			return err
		}
	}
	if !keep {
		rec.body = bytes.Clone(rec.body)
	}
	r.open = append(r.open, rec)
	return nil
}

// rescued is what the open records say, as one.
func (r *recovery) rescued() (body, error) {
	var out body
	for _, o := range r.open {
		b, err := decodeBody(o.body, nil)
		if err != nil {
			return out, &CorruptError{File: r.l.cur.path, Offset: o.off, Reason: err.Error()}
		}
		if b.hs != nil {
			out.hs = b.hs
		}
		if b.hasFloor {
			out.hasFloor, out.floor = true, b.floor
		}
		switch {
		case len(b.entries) == 0:
		case len(out.entries) == 0 || b.entries[0].Index <= out.entries[0].Index:
			out.entries, out.prevTerm = b.entries, b.prevTerm
		default:
			n := min(b.entries[0].Index-out.entries[0].Index, uint64(len(out.entries)))
			out.entries = append(out.entries[:n:n], b.entries...)
		}
	}
	return out, nil
}

// rescue writes the open records anew, into a new segment. Perhaps they are
// seen in memory only: a disk that failed a sync shows, until the power goes,
// what it never wrote, and no sync will write it any more.
func (r *recovery) rescue() error {
	l := r.l
	rec, err := r.rescued()
	if err != nil {
		return err
	}
	if rec.seal() {
		if r.torn != nil {
			return l.roll(nil)
		}
		return nil // what comes next is written over the seal
	}
	h := segmentHeader{
		id: l.cur.id + 1, prevEnd: l.cur.end, prevChain: l.chain,
		base: l.base, last: Position{l.last, l.terms.term(l.last)}, hs: l.hs, floor: l.floor,
	}
	if len(rec.entries) > 0 && rec.entries[0].Index <= h.base.Index {
		h.base = Position{rec.entries[0].Index - 1, rec.prevTerm}
	}
	s, err := l.openSegment(h, &rec)
	if err != nil {
		return l.poison(err)
	}
	l.segments = append(l.segments, s)
	s.end += recordHeaderBytes + rec.size()
	return r.join(s, &rec, segmentHeaderBytes, s.seed, true)
}

// admit takes over one record.
func (r *recovery) admit(s *segment, p []byte, off int64, chain uint32, keep bool) error {
	b, err := decodeBody(p, r.scratch[:0])
	if err != nil {
		return &CorruptError{File: s.path, Offset: off, Reason: err.Error()}
	}
	if len(b.entries) > 0 {
		r.scratch = b.entries
	}
	if err := r.join(s, &b, off, chain, keep); err != nil {
		return err
	}
	if keep {
		// The cache copied the entries, not their data.
		clear(r.scratch)
	}
	r.l.seq++
	s.records, s.sealed = s.records+1, b.seal()
	return nil
}

// join adds what a record says to the log.
func (r *recovery) join(s *segment, b *body, off int64, chain uint32, keep bool) error {
	l := r.l
	fail := func(reason string) error { return &CorruptError{File: s.path, Offset: off, Reason: reason} }
	if len(b.entries) > 0 {
		prev := Position{b.entries[0].Index - 1, b.prevTerm}
		switch {
		case prev.Index > l.last || prev.Index < r.released.Index:
			return fail(fmt.Sprintf("entries from %d on do not join a log that ends at %d", prev.Index+1, l.last))
		case prev.Index < l.base.Index:
			// Entries of older segments were replaced, and those segments
			// released; the log begins here.
			l.base, l.terms = prev, termRuns{prev}
		case l.terms.term(prev.Index) != prev.Term:
			return fail(fmt.Sprintf("entry %d is of term %d, the next entry says %d",
				prev.Index, l.terms.term(prev.Index), prev.Term))
		}
	}
	l.admit(s, b, off, chain, keep)
	return nil
}

// joins checks that a segment ended as the header of the next one says.
func (r *recovery) joins(s *segment, next *segmentHeader) error {
	l := r.l
	if next.prevChain != l.chain || next.firstSeq != l.seq+1 || next.hs != l.hs || next.floor != l.floor ||
		next.last != (Position{l.last, l.terms.term(l.last)}) {
		return &CorruptError{File: s.path, Offset: s.end, Reason: "segment ends otherwise than the next one says"}
	}
	return nil
}

// tail decides what a record means that is bad in the last segment: io.EOF if
// nothing valid can follow, the error if it was durable once.
func (r *recovery) tail(s *segment, sc *scanner, bad *CorruptError) error {
	seq := sc.seq
	found, err := s.search(sc.off, s.end, seq)
	if err != nil {
		return err
	}
	if found.proof > 0 {
		bad.Reason += fmt.Sprintf("; the record at %d says that record %d was durable", found.proof, seq)
		return bad
	}
	end := found.end
	if s.head.flags&flagRecycled == 0 {
		end = max(end, found.nonzero)
	}
	if end > sc.off {
		r.torn = &TornTail{File: s.path, Offset: sc.off, Bytes: end - sc.off}
	}
	return io.EOF
}

// adopt makes what was read durable and the directory ready for writing.
func (r *recovery) adopt(rest []string) error {
	l := r.l
	last := r.segments[len(r.segments)-1]
	file, err := l.fs.OpenReadWrite(last.path, disk.Category)
	if err != nil {
		return fmt.Errorf("open segment %s for writing: %w", last.path, err)
	}
	old := last.file
	last.file = file
	if err := old.Close(); err != nil {
		return fmt.Errorf("close segment %s: %w", last.path, err)
	}
	l.syncs.Add(1)
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync segment %s: %w", last.path, err)
	}
	if err := disk.SyncDir(l.fs, l.opts.Dir); err != nil {
		return err
	}
	if err := l.removeAll(append(rest, r.void...)); err != nil {
		return err
	}
	l.cur, l.durable = last, l.seq
	if r.torn != nil {
		l.opts.Logger.Warn("unfinished write at the end of the log is cut off",
			"file", r.torn.File, "offset", r.torn.Offset, "bytes", r.torn.Bytes)
	}
	return r.rescue()
}
