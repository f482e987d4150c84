package wal

import (
	"errors"
	"fmt"
	"io"

	"chainfire/raft"
)

// FirstIndex implements raft.Storage.
func (l *Log) FirstIndex() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.base.Index + 1
}

// LastIndex implements raft.Storage.
func (l *Log) LastIndex() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last
}

// Term implements raft.Storage. It never reads the disk.
func (l *Log) Term(i uint64) (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case i < l.base.Index:
		return 0, raft.ErrCompacted
	case i > l.last:
		return 0, raft.ErrUnavailable
	}
	return l.terms.term(i), nil
}

// Entries implements raft.Storage. Recent entries come from memory, older ones
// from disk, checked again: what the disk holds wrongly is a *CorruptError, and
// after Close ErrClosed is returned for what is not in memory.
func (l *Log) Entries(lo, hi, maxBytes uint64) ([]raft.Entry, error) {
	b := budget{limit: maxBytes}
	var out []raft.Entry
	var cuts uint64
	for next := lo; ; {
		l.mu.RLock()
		if err := l.bounds(lo, hi); err != nil {
			l.mu.RUnlock()
			return nil, err
		}
		if cuts != l.cuts && len(out) > 0 {
			// The end of the log was replaced meanwhile: start over.
			out, next, b = nil, lo, budget{limit: maxBytes}
		}
		cuts = l.cuts
		held := l.cache.first(l.last)
		if b.full || next >= hi {
			l.mu.RUnlock()
			return out, nil
		}
		if next >= held {
			out = l.cache.slice(out, next, hi, &b)
			l.mu.RUnlock()
			return out, nil
		}
		l.mu.RUnlock()
		var err error
		if out, err = l.readDisk(out, next, min(hi, held), cuts, &b); err != nil {
			return nil, err
		}
		next = lo + uint64(len(out))
	}
}

// bounds checks the interval [lo, hi). mu is held.
func (l *Log) bounds(lo, hi uint64) error {
	switch {
	case lo > hi:
		return fmt.Errorf("read entries [%d, %d): %w", lo, hi, ErrInvalid)
	case lo <= l.base.Index:
		return raft.ErrCompacted
	case hi > l.last+1:
		return raft.ErrUnavailable
	}
	return nil
}

// readDisk appends entries from next on, up to hi at most, from one stretch of
// one segment. It reads nothing when the log has changed since cuts was seen, or
// released what is asked for; the caller looks again.
func (l *Log) readDisk(out []raft.Entry, next, hi, cuts uint64, b *budget) ([]raft.Entry, error) {
	l.files.RLock()
	defer l.files.RUnlock()
	l.mu.RLock()
	if l.closed {
		l.mu.RUnlock()
		return nil, ErrClosed
	}
	if cuts != l.cuts || next <= l.base.Index {
		l.mu.RUnlock()
		return out, nil
	}
	s := l.segmentOf(next)
	from, stop := s.find(next)
	end := s.end
	l.mu.RUnlock()
	return s.read(out, from, end, next, min(hi, stop), b)
}

// segmentOf returns the segment that holds an entry of the log. mu is held.
func (l *Log) segmentOf(index uint64) *segment {
	for i := len(l.segments) - 1; i > 0; i-- {
		if first, live := l.segments[i].first(); live && first <= index {
			return l.segments[i]
		}
	}
	return l.segments[0]
}

// read appends the entries [next, stop) to out, scanning from a point of the
// index.
func (s *segment) read(out []raft.Entry, from point, end int64, next, stop uint64, b *budget) ([]raft.Entry, error) {
	sc := newScanner(s, int64(from.offset), end, from.chain)
	var scratch []raft.Entry
	for at := from.index; next < stop && !b.full; {
		off := sc.off
		// Records before the wanted entry are only checked.
		p, err := sc.next(false)
		if errors.Is(err, io.EOF) {
			return nil, sc.bad(fmt.Sprintf("entry %d is missing", next))
		}
		if err != nil {
			return nil, err
		}
		rec, err := decodeBody(p, scratch[:0])
		if err == nil && len(rec.entries) > 0 && rec.entries[0].Index != at {
			err = fmt.Errorf("%w: entry %d stands in the place of %d", errBody, rec.entries[0].Index, at)
		}
		if err != nil {
			return nil, &CorruptError{File: s.path, Offset: off, Reason: err.Error()}
		}
		if len(rec.entries) == 0 {
			continue
		}
		scratch = rec.entries
		at += uint64(len(rec.entries))
		if at <= next {
			continue
		}
		sc.buf = nil // the entries handed out point into it
		for _, e := range rec.entries[next-rec.entries[0].Index:] {
			if next == stop || !b.take(&e) {
				break
			}
			out = append(out, e)
			next++
		}
	}
	return out, nil
}
