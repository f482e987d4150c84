package raft

import "fmt"

// raftLog is the core's view of the log: the durable part in storage, what is
// not yet known durable in memory, and how far it is committed and applied.
//
//	          applied ≤ applying ≤ min(committed, stable)
//	storage [first ................ stable]
//	unstable                 [offset ............. last]
type raftLog struct {
	storage Storage
	// unstable holds the entries from offset on. Its array is shared with
	// messages, so it is only ever appended to within its capacity or copied.
	unstable []Entry
	offset   uint64
	// handed is the last index given out for persisting.
	handed uint64
	// stable is the last index that is durable as it stands in this log.
	stable uint64
	// snap is a snapshot that is being made the state; until then it stands
	// before unstable in place of storage.
	snap   *SnapshotMeta
	writes []write

	committed uint64
	// sure is the commit index that is durable. A membership change is handed
	// out only up to it, so that a member that has changed its configuration
	// still knows so after a crash, when those who could tell may be gone.
	sure uint64
	// awaited is a membership change that waits for that.
	awaited uint64
	// applying is the last index handed out as committed, applied the last
	// one that the host has applied.
	applying, applied uint64
}

// write is a Persist that is not yet known durable.
type write struct {
	seq uint64
	// last is the last entry it makes durable, lowered when a later
	// truncation takes entries of it away.
	last uint64
	// vote is the term in which it makes this member's own vote durable.
	vote uint64
	// commit is the commit index that it makes durable.
	commit uint64
	snap   *SnapshotMeta
}

func newLog(s Storage, commit, applied uint64) raftLog {
	last := s.LastIndex()
	return raftLog{
		storage: s, offset: last + 1, handed: last, stable: last, sure: commit,
		committed: max(commit, applied), applying: applied, applied: applied,
	}
}

func (l *raftLog) first() uint64 {
	if l.snap != nil {
		return l.snap.Index + 1
	}
	return l.storage.FirstIndex()
}

func (l *raftLog) last() uint64 { return l.offset + uint64(len(l.unstable)) - 1 }

// term returns the term of entry i, ErrCompacted below the log and
// ErrUnavailable above it.
func (l *raftLog) term(i uint64) (uint64, error) {
	switch {
	case i > l.last():
		return 0, ErrUnavailable
	case i >= l.offset:
		return l.unstable[i-l.offset].Term, nil
	case l.snap != nil && i == l.snap.Index:
		return l.snap.Term, nil
	case l.snap != nil:
		return 0, ErrCompacted
	}
	return l.storage.Term(i)
}

// matches reports whether entry i is in the log with that term.
func (l *raftLog) matches(i, term uint64) bool {
	t, err := l.term(i)
	return err == nil && t == term
}

// entries returns entries from lo up to hi (exclusive), at least one, at most
// about maxBytes, and checks that they are what was asked for: a log that
// answers with other entries must never become a message.
func (l *raftLog) entries(lo, hi, maxBytes uint64) ([]Entry, error) {
	if lo >= hi {
		return nil, nil
	}
	if lo < l.first() {
		return nil, ErrCompacted
	}
	if hi > l.last()+1 {
		return nil, ErrUnavailable
	}
	if lo >= l.offset {
		return limit(l.unstable[lo-l.offset:hi-l.offset], maxBytes), nil
	}
	es, err := l.storage.Entries(lo, min(hi, l.offset), maxBytes)
	if err != nil {
		return nil, err
	}
	if err := contiguous(es, lo); err != nil {
		return nil, err
	}
	if hi <= l.offset || es[len(es)-1].Index+1 < l.offset {
		return es, nil
	}
	var size uint64
	for i := range es {
		size += es[i].Size()
	}
	if size >= maxBytes {
		return es, nil
	}
	more := limit(l.unstable[:hi-l.offset], maxBytes-size)
	return append(es[:len(es):len(es)], more...), nil
}

func contiguous(es []Entry, lo uint64) error {
	if len(es) == 0 {
		return fmt.Errorf("log returned no entry for index %d", lo)
	}
	for i := range es {
		if want := lo + uint64(i); es[i].Index != want {
			return fmt.Errorf("log returned entry %d in the place of %d", es[i].Index, want)
		}
		if i > 0 && es[i].Term < es[i-1].Term {
			return fmt.Errorf("log returned term %d after term %d at index %d", es[i].Term, es[i-1].Term, es[i].Index)
		}
	}
	return nil
}

// limit cuts a slice after maxBytes, but never to nothing, and caps it so that
// nobody appends into the shared array.
func limit(es []Entry, maxBytes uint64) []Entry {
	var size uint64
	for i := range es {
		size += es[i].Size()
		if size > maxBytes && i > 0 {
			return es[:i:i]
		}
	}
	return es[:len(es):len(es)]
}

// append puts entries after the last one that they follow, replacing what stood
// there.
func (l *raftLog) append(es []Entry) {
	from := es[0].Index
	switch {
	case from == l.last()+1:
		l.unstable = append(l.unstable, es...)
		return
	case from <= l.offset:
		l.unstable = append([]Entry(nil), es...)
		l.offset = from
	default:
		keep := from - l.offset
		l.unstable = append(l.unstable[:keep:keep], es...)
	}
	l.handed = min(l.handed, from-1)
	l.stable = min(l.stable, from-1)
	for i := range l.writes {
		l.writes[i].last = min(l.writes[i].last, from-1)
	}
}

// restore replaces the whole log by a snapshot.
func (l *raftLog) restore(m *SnapshotMeta) {
	l.snap = m
	l.unstable, l.offset = nil, m.Index+1
	l.handed, l.stable = m.Index, m.Index
	for i := range l.writes {
		l.writes[i].last = 0
	}
	l.committed = m.Index
}

// persisted takes in that every write up to seq is durable, and returns the
// term in which the member's own vote became durable, or 0.
func (l *raftLog) persisted(seq uint64) (vote uint64) {
	n := 0
	for ; n < len(l.writes) && l.writes[n].seq <= seq; n++ {
		w := l.writes[n]
		l.stable = max(l.stable, w.last)
		l.sure = max(l.sure, w.commit)
		vote = max(vote, w.vote)
		if w.snap != nil && w.snap == l.snap {
			l.snap = nil
			l.applying, l.applied = w.snap.Index, w.snap.Index
		}
	}
	l.writes = append(l.writes[:0], l.writes[n:]...)
	if l.snap == nil && l.stable >= l.offset {
		l.unstable = l.unstable[l.stable+1-l.offset:]
		l.offset = l.stable + 1
		if len(l.unstable) == 0 {
			l.unstable = nil
		}
	}
	return vote
}

// meeting returns the highest index at or below i whose term is at or below t:
// above it the two logs cannot agree (the conflict hint of the paper, end of
// §5.3). It also returns the term found, 0 when it is not known.
func (l *raftLog) meeting(i, t uint64) (uint64, uint64) {
	for ; i > 0; i-- {
		switch have, err := l.term(i); {
		case err != nil:
			return i, 0
		case have <= t:
			return i, have
		}
	}
	return 0, 0
}

// upToDate reports whether a log ending in (index, term) is at least as
// up-to-date as this one (paper §5.4.1).
func (l *raftLog) upToDate(index, term uint64) bool {
	own, err := l.term(l.last())
	if err != nil {
		return false
	}
	return term > own || term == own && index >= l.last()
}

func (l *raftLog) commitTo(i uint64) bool {
	i = min(i, l.last())
	if i <= l.committed {
		return false
	}
	l.committed = i
	return true
}

// toApply is the next index to hand out and the last one that may be.
func (l *raftLog) toApply() (lo, hi uint64) {
	if l.snap != nil {
		return 1, 0
	}
	return l.applying + 1, min(l.committed, l.stable)
}
