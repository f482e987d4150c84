package node

import (
	"log/slog"
	"testing"

	"chainfire/internal/courtesy"
	"chainfire/internal/disk"
	"chainfire/internal/sched"
	"chainfire/raft"
	"chainfire/wal"
)

func entries(term, from, to uint64, size int) []raft.Entry {
	var es []raft.Entry
	for i := from; i <= to; i++ {
		es = append(es, raft.Entry{Index: i, Term: term, Data: make([]byte, size)})
	}
	return es
}

func TestFoldKeepsWhatTheLastWriteLeaves(t *testing.T) {
	hs1, hs2 := raft.HardState{Term: 1, Commit: 3}, raft.HardState{Term: 2, Commit: 4}
	b := fold([]*raft.Persist{
		{HardState: &hs1, Entries: entries(1, 5, 9, 1)},
		{},
		{HardState: &hs2, Entries: entries(2, 7, 8, 1)},
		{Entries: entries(2, 9, 9, 1)},
	})
	if *b.HardState != hs2 {
		t.Errorf("hard state %+v", b.HardState)
	}
	want := []uint64{1, 1, 2, 2, 2}
	if len(b.Entries) != len(want) {
		t.Fatalf("%d entries", len(b.Entries))
	}
	for i, e := range b.Entries {
		if e.Index != uint64(5+i) || e.Term != want[i] {
			t.Errorf("entry %d is %d of term %d", i, e.Index, e.Term)
		}
	}
	b = fold([]*raft.Persist{{Entries: entries(1, 5, 9, 1)}, {Entries: entries(2, 4, 4, 1)}})
	if len(b.Entries) != 1 || b.Entries[0].Term != 2 {
		t.Errorf("an overwritten group left %+v", b.Entries)
	}
}

// A membership change waits for its commit index to be durable. The log syncs
// for a commit index alone only when it is told to.
func TestHardStateAloneIsSynced(t *testing.T) {
	if b := fold([]*raft.Persist{{HardState: &raft.HardState{Term: 1, Commit: 3}}, {}}); !b.Sync {
		t.Error("a commit index that was handed out alone is not synced")
	}
	if b := fold([]*raft.Persist{{}, {}}); b.Sync {
		t.Error("messages alone cost a sync")
	}
}

func TestSnapshotIsWrittenAlone(t *testing.T) {
	s := &raft.Persist{Snapshot: &raft.SnapshotMeta{}}
	e := &raft.Persist{Entries: entries(1, 1, 1, 1)}
	for name, c := range map[string]struct {
		jobs []*raft.Persist
		want int
	}{
		"first":  {[]*raft.Persist{s, e}, 1},
		"second": {[]*raft.Persist{e, s, e}, 1},
		"none":   {[]*raft.Persist{e, e, e}, 3},
		"large":  {[]*raft.Persist{{Entries: entries(1, 1, 2, maxWriteBytes)}, e}, 1},
	} {
		if got := group(c.jobs); got != c.want {
			t.Errorf("%s: %d in one write, want %d", name, got, c.want)
		}
	}
}

func TestLargeWriteGoesInPiecesAndIsWhole(t *testing.T) {
	opts := wal.Options{FS: disk.NewFaultFS(), Dir: "wal", Logger: slog.New(slog.DiscardHandler)}
	log, err := wal.Create(opts, 1, 1, raft.HardState{Term: 1, Commit: 1})
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{durableCommit: 1, counts: newCounts(), sched: sched.Go{}}
	n.courtesy = courtesy.New(n.sched.Now, n.pause)
	before := log.Syncs()
	hs := raft.HardState{Term: 3, Vote: 2, Commit: 20}
	if err := n.appendAll(log, wal.Batch{HardState: &hs, Entries: entries(3, 2, 21, 5<<20)}); err != nil {
		t.Fatal(err)
	}
	if writes := log.Syncs() - before; writes < 2 {
		t.Errorf("100 MiB went in %d writes", writes)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	log, state, err := wal.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	if state.HardState != hs || state.Last != 21 {
		t.Errorf("recovered %+v", state)
	}
}
