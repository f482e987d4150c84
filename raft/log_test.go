package raft

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestLogNeverHandsOutOtherEntriesThanAsked(t *testing.T) {
	s := &memStorage{base: 3, baseTerm: 1, entries: entriesOf(4, 1, 1, 2)}
	l := newLog(s, 4, 3)
	l.append(entriesOf(7, 2, 3))
	for _, c := range []struct {
		lo, hi, bytes uint64
		n             int
		err           error
	}{
		{3, 5, 1000, 0, ErrCompacted},
		{4, 9, 1000, 5, nil},
		{4, 10, 1000, 0, ErrUnavailable},
		{4, 9, 0, 1, nil},
		{4, 9, 2 * 25, 2, nil},
		{4, 9, 3 * 25, 3, nil},
		{4, 9, 4 * 25, 4, nil},
		{7, 9, 0, 1, nil},
		{8, 9, 1000, 1, nil},
		{8, 8, 1000, 0, nil},
	} {
		es, err := l.entries(c.lo, c.hi, c.bytes)
		if !errors.Is(err, c.err) || len(es) != c.n {
			t.Errorf("[%d, %d) in %d bytes: %d entries, %v", c.lo, c.hi, c.bytes, len(es), err)
		}
		if len(es) > 0 && contiguous(es, c.lo) != nil {
			t.Errorf("[%d, %d): %v", c.lo, c.hi, es)
		}
	}
	s.entries[1].Index = 9
	if _, err := l.entries(4, 7, 1000); err == nil {
		t.Error("a log with a hole was believed")
	}
	s.entries = nil
	if err := contiguous(nil, 4); err == nil {
		t.Error("nothing in the place of an entry was believed")
	}
}

func TestPendingSnapshotStandsBeforeTheLog(t *testing.T) {
	l := newLog(&memStorage{entries: entriesOf(1, 1, 1, 1)}, 2, 2)
	// Entries of another leader, not on the disk yet, reach beyond the snapshot.
	l.append(entriesOf(4, 2, 2, 2, 2, 2, 2, 2, 2, 2))
	m := &SnapshotMeta{Index: 10, Term: 4}
	l.restore(m)
	if l.last() != 10 || l.handed != 10 || l.stable != 10 {
		t.Fatalf("last %d handed %d stable %d", l.last(), l.handed, l.stable)
	}
	l.writes = append(l.writes, write{seq: 1, last: 10, commit: 10, snap: m})
	l.append(entriesOf(11, 4))
	if l.first() != 11 || l.last() != 11 || !l.matches(10, 4) {
		t.Fatalf("[%d, %d]", l.first(), l.last())
	}
	if _, err := l.term(9); !errors.Is(err, ErrCompacted) {
		t.Errorf("term below a pending snapshot: %v", err)
	}
	if lo, hi := l.toApply(); lo <= hi {
		t.Errorf("entries [%d, %d] may be applied before the snapshot", lo, hi)
	}
	l.storage = &memStorage{base: 10, baseTerm: 4}
	l.persisted(1)
	if l.snap != nil || l.applied != 10 || l.offset != 11 || l.last() != 11 {
		t.Fatalf("applied %d offset %d last %d", l.applied, l.offset, l.last())
	}
}

// model is a log as plain lists: what the core believes, what the disk holds,
// and the writes between.
type model struct {
	want, disk []Entry
	queue      [][]Entry
}

// Whatever is appended, replaced and made durable in whatever order, an entry
// that the log calls stable is on the disk as it stands in the log.
func TestStableEntriesAreOnTheDisk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &memStorage{}
		l := newLog(s, 0, 0)
		var m model
		term, seq := uint64(1), uint64(0)
		put := func(log []Entry, es []Entry) []Entry {
			if len(es) == 0 {
				return log
			}
			return append(log[:es[0].Index-1:es[0].Index-1], es...)
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				if rapid.Bool().Draw(t, "new term") {
					term++
				}
				from := rapid.Uint64Range(1, l.last()+1).Draw(t, "from")
				es := entriesOf(from, make([]uint64, rapid.IntRange(1, 3).Draw(t, "n"))...)
				for i := range es {
					es[i].Term = term
				}
				if from <= l.last() {
					term++
				}
				l.append(es)
				m.want = put(m.want, es)
			},
			"write": func(*rapid.T) {
				seq++
				es := l.unstable[l.handed+1-l.offset:]
				m.queue = append(m.queue, append([]Entry(nil), es...))
				l.handed = l.last()
				l.writes = append(l.writes, write{seq: seq, last: l.last()})
			},
			"persist": func(t *rapid.T) {
				n := rapid.IntRange(0, len(m.queue)).Draw(t, "writes")
				for _, es := range m.queue[:n] {
					m.disk = put(m.disk, es)
					s.write(es)
				}
				m.queue = m.queue[n:]
				l.persisted(seq - uint64(len(m.queue)))
			},
			"": func(t *rapid.T) {
				if l.last() != uint64(len(m.want)) || l.stable > uint64(len(m.disk)) || l.stable > l.handed {
					t.Fatalf("last %d stable %d handed %d, %d on disk", l.last(), l.stable, l.handed, len(m.disk))
				}
				for i := range m.want {
					want := &m.want[i]
					if !l.matches(want.Index, want.Term) {
						t.Fatalf("entry %d is not of term %d", want.Index, want.Term)
					}
					if want.Index <= l.stable && m.disk[i].Term != want.Term {
						t.Fatalf("entry %d is stable with term %d on the disk, %d in the log", want.Index, m.disk[i].Term, want.Term)
					}
				}
			},
		})
	})
}

// The hint never goes below the last entry that two logs share, and one step
// from both sides never ends above where they may meet.
func TestHintNeverGoesBelowTheCommonPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		grow := func(log []Entry, name string) []Entry {
			term := uint64(1)
			if n := len(log); n > 0 {
				term = log[n-1].Term
			}
			for range rapid.IntRange(0, 6).Draw(t, name) {
				term += rapid.Uint64Range(0, 2).Draw(t, name+" term")
				log = append(log[:len(log):len(log)], Entry{Index: uint64(len(log) + 1), Term: term})
			}
			return log
		}
		common := grow(nil, "common")
		leader := newLog(&memStorage{entries: grow(common, "leader")}, 0, 0)
		follower := newLog(&memStorage{entries: grow(common, "follower")}, 0, 0)
		prev := rapid.Uint64Range(uint64(len(common)), leader.last()).Draw(t, "prev")
		term, err := leader.term(prev)
		if err != nil {
			t.Fatal(err)
		}
		hint, hintTerm := follower.meeting(min(prev, follower.last()), term)
		if hintTerm != 0 {
			hint, _ = leader.meeting(min(hint, leader.last()), hintTerm)
		}
		if hint < uint64(len(common)) && !follower.matches(prev, term) {
			t.Fatalf("hint %d is below the common prefix of %d", hint, len(common))
		}
	})
}
