package rafttest

import (
	"slices"
	"testing"

	"chainfire/raft"
)

func entriesOf(index uint64, terms ...uint64) []raft.Entry {
	var es []raft.Entry
	for i, term := range terms {
		es = append(es, raft.Entry{Index: index + uint64(i), Term: term})
	}
	return es
}

func termsOf(l *memLog) []uint64 {
	var terms []uint64
	for i := range l.entries {
		terms = append(terms, l.entries[i].Term)
	}
	return terms
}

// Logs share their entries; what one of them writes no other one sees, and what
// was read stays as it was.
func TestLogsThatShareEntriesStayApart(t *testing.T) {
	var a memLog
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(a.replace(entriesOf(1, 1, 1, 1, 1)))
	b := a.clone()
	read, err := a.Entries(2, 5, 1<<20)
	must(err)
	must(a.replace(entriesOf(5, 2)))
	must(b.replace(entriesOf(5, 3, 3)))
	must(a.replace(entriesOf(3, 4)))
	c := b.clone()
	must(b.replace(entriesOf(7, 5)))
	must(c.replace(entriesOf(7, 6)))
	for l, want := range map[*memLog][]uint64{
		&a: {1, 1, 4}, &b: {1, 1, 1, 1, 3, 3, 5}, &c: {1, 1, 1, 1, 3, 3, 6},
	} {
		if got := termsOf(l); !slices.Equal(got, want) {
			t.Errorf("log of terms %v, want %v", got, want)
		}
	}
	for _, e := range read {
		if e.Term != 1 {
			t.Errorf("what was read is now %d/%d", e.Index, e.Term)
		}
	}
}

// A batch that a crash tears leaves term and vote of its last write, the first
// of its entries, and the commit index from before.
func TestTornBatchLeavesItsBeginning(t *testing.T) {
	for n, want := range [][]uint64{{1, 1}, {1, 1, 2}, {1, 1, 2, 3}, {1, 1, 2, 3, 3}, {1, 1, 2, 3, 3}} {
		d := newDisk(false)
		d.durable.hard = raft.HardState{Term: 1, Vote: 1, Commit: 2}
		if err := d.durable.log.replace(entriesOf(1, 1, 1)); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*raft.Persist{
			{Seq: 1, HardState: &raft.HardState{Term: 2, Vote: 2, Commit: 3}, Entries: entriesOf(3, 2, 2)},
			{Seq: 2, HardState: &raft.HardState{Term: 3, Vote: 3, Commit: 4}, Entries: entriesOf(4, 3, 3)},
			{Seq: 3, Snapshot: &raft.SnapshotMeta{Index: 9, Term: 3}},
			{Seq: 4, HardState: &raft.HardState{Term: 4}},
		} {
			if err := d.submit(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.tear(n); err != nil {
			t.Fatal(err)
		}
		d.crash(false)
		if got := termsOf(&d.durable.log); !slices.Equal(got, want) {
			t.Errorf("%d entries: terms %v, want %v", n, got, want)
		}
		if hard := (raft.HardState{Term: 3, Vote: 3, Commit: 2}); d.durable.hard != hard {
			t.Errorf("%d entries: hard state %+v, want %+v", n, d.durable.hard, hard)
		}
		if len(d.queue) != 0 || d.written.LastIndex() != d.durable.log.LastIndex() {
			t.Errorf("%d entries: something that was lost is still there", n)
		}
	}
}

// The others take nothing of a member whose disk was wiped, nor it of them; it
// does no harm.
func TestWipedMemberIsRefused(t *testing.T) {
	c := New(Options{})
	c.Bootstrap([]uint64{1, 2, 3}, false)
	c.Campaign(1)
	c.Settle()
	c.Crash(3, 0, false)
	c.Wipe(3)
	c.Refuse(3)
	c.Start(3)
	for range 30 {
		for _, id := range c.Members() {
			c.Tick(id)
		}
		c.Settle()
	}
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
	if s := c.Core(3).Status(); s.Term != 0 || s.Last != 0 || s.Role != raft.Follower {
		t.Errorf("the wiped member is %v of term %d with a log up to %d", s.Role, s.Term, s.Last)
	}
	if c.Leader() != 1 {
		t.Errorf("%d leads", c.Leader())
	}
}
