package rafttest

import (
	"fmt"

	"chainfire/raft"
)

// memLog is a log in memory: entries after a base that was compacted away or
// replaced by a snapshot. It is the raft.Storage of simulated members.
type memLog struct {
	base, baseTerm uint64
	// entries is only ever appended to, or copied, so that parts of it may be
	// handed out.
	entries []raft.Entry
}

// FirstIndex is the index of the first entry held.
func (l *memLog) FirstIndex() uint64 { return l.base + 1 }

// LastIndex is the index of the last entry held, or of the base.
func (l *memLog) LastIndex() uint64 { return l.base + uint64(len(l.entries)) }

// Term is the term of entry i.
func (l *memLog) Term(i uint64) (uint64, error) {
	switch {
	case i < l.base:
		return 0, raft.ErrCompacted
	case i == l.base:
		return l.baseTerm, nil
	case i > l.LastIndex():
		return 0, raft.ErrUnavailable
	}
	return l.entries[i-l.base-1].Term, nil
}

// Entries returns the entries [lo, hi), cut after maxBytes but never to nothing.
func (l *memLog) Entries(lo, hi, maxBytes uint64) ([]raft.Entry, error) {
	if lo <= l.base {
		return nil, raft.ErrCompacted
	}
	if hi > l.LastIndex()+1 {
		return nil, raft.ErrUnavailable
	}
	es := l.entries[lo-l.base-1 : hi-l.base-1]
	var size uint64
	for i := range es {
		size += es[i].Size()
		if size > maxBytes && i > 0 {
			return es[:i:i], nil
		}
	}
	return es[:len(es):len(es)], nil
}

// replace puts entries at their place; the first replaces everything from its
// index on. What was read before stays as it was.
func (l *memLog) replace(es []raft.Entry) error {
	if len(es) == 0 {
		return nil
	}
	from := es[0].Index
	if from <= l.base || from > l.LastIndex()+1 {
		return fmt.Errorf("write of entry %d into a log of [%d, %d]", from, l.FirstIndex(), l.LastIndex())
	}
	if from <= l.LastIndex() {
		n := from - l.base - 1
		l.entries = l.entries[:n:n]
	}
	l.entries = append(l.entries, es...)
	return nil
}

// restart empties the log and goes on after an entry.
func (l *memLog) restart(index, term uint64) {
	l.base, l.baseTerm, l.entries = index, term, nil
}

// compact drops the entries up to index, which the log holds.
func (l *memLog) compact(index uint64) {
	if index <= l.base || index > l.LastIndex() {
		return
	}
	term := l.entries[index-l.base-1].Term
	l.entries = l.entries[index-l.base:]
	l.base, l.baseTerm = index, term
}

// clone is a log of its own; entries that are in both are shared, as nobody
// changes them.
func (l *memLog) clone() memLog {
	c := *l
	c.entries = l.entries[:len(l.entries):len(l.entries)]
	return c
}

// holds reports whether entry i of that term is in the log or below its base,
// where only committed entries are.
func (l *memLog) holds(i, term uint64) bool {
	if i < l.base {
		return true
	}
	t, err := l.Term(i)
	return err == nil && t == term
}
