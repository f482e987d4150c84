package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"chainfire/internal/disk"
	"chainfire/raft"
)

const testSalt = 0x5eed

// small are options with segments of 1 KiB, so that a test crosses many.
func small(d disk.FS) Options {
	return Options{FS: d, Dir: "wal", SegmentBytes: 1 << 10, CacheBytes: 512, Salt: testSalt}
}

func mustCreate(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Create(o, 0, 0, raft.HardState{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustOpen(t testing.TB, o Options) (*Log, State) {
	t.Helper()
	l, st, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l, st
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run makes entries [first, last] of a term, each with n bytes of data that name
// the entry.
func run(first, last, term uint64, n int) []raft.Entry {
	var es []raft.Entry
	for i := first; i <= last; i++ {
		e := raft.Entry{Index: i, Term: term}
		if n > 0 {
			e.Data = slices.Repeat([]byte{byte(i), byte(term)}, n/2+1)[:n]
		}
		es = append(es, e)
	}
	return es
}

// all reads every entry in small pieces.
func all(t testing.TB, l *Log) []raft.Entry {
	t.Helper()
	var es []raft.Entry
	for lo, hi := l.FirstIndex(), l.LastIndex()+1; lo < hi; {
		part, err := l.Entries(lo, hi, 200)
		if err != nil {
			t.Fatalf("read entries from %d of [%d, %d): %v", lo, l.FirstIndex(), hi, err)
		}
		if len(part) == 0 {
			t.Fatalf("no entry at %d of [%d, %d)", lo, l.FirstIndex(), hi)
		}
		for _, e := range part {
			if term, err := l.Term(lo); err != nil || e.Index != lo || e.Term != term {
				t.Fatalf("entry (%d, %d) in the place of (%d, %d), %v", e.Index, e.Term, lo, term, err)
			}
			lo++
		}
		es = append(es, part...)
	}
	return es
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

func TestWhatWasAppendedIsThereAfterOpen(t *testing.T) {
	d := disk.NewFaultFS()
	l := mustCreate(t, small(d))
	hs := raft.HardState{Term: 2, Vote: 7, Commit: 3}
	must(t, l.Append(Batch{HardState: &hs, Entries: run(1, 10, 1, 40), Floor: 2}))
	must(t, l.Append(Batch{Entries: append(run(11, 20, 2, 100), raft.Entry{Index: 21, Term: 2, Type: raft.EntryConf, Data: []byte("c")})}))
	want := all(t, l)
	if len(want) != 21 || want[20].Type != raft.EntryConf {
		t.Fatalf("read %d entries, the last of type %d", len(want), want[len(want)-1].Type)
	}
	// Twice: after a kill and after a clean end.
	for range 2 {
		r, st := mustOpen(t, small(d.Crash(disk.CrashOptions{})))
		same(t, "state", st, State{HardState: hs, First: 1, Last: 21, Floor: 2})
		same(t, "entries", all(t, r), want)
		if l != nil {
			must(t, l.Close())
			l = nil
		}
	}
}

func TestLogOnTheRealFileSystem(t *testing.T) {
	o := Options{Dir: t.TempDir() + "/a/wal", SegmentBytes: 1 << 12}
	if _, _, err := Open(o); !errors.Is(err, ErrNotExist) || !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("open without a log: %v", err)
	}
	l := mustCreate(t, o)
	if _, err := Create(o, 0, 0, raft.HardState{}); !errors.Is(err, ErrExist) {
		t.Fatalf("create over a log: %v", err)
	}
	for i := uint64(1); i <= 200; i++ {
		must(t, l.Append(Batch{Entries: run(i, i, 1, 100)}))
		if i%60 == 0 {
			must(t, l.Release(i-10))
		}
	}
	must(t, l.Close())
	if err := l.Close(); !errors.Is(err, ErrClosed) {
		t.Fatalf("second close: %v", err)
	}
	r, st := mustOpen(t, o)
	if st.Last != 200 || st.Base.Index > 170 || st.Torn != nil {
		t.Fatalf("recovered %+v", st)
	}
	all(t, r)
	must(t, r.Close())
}

func TestConflictingSuffixReplacesTheOldOne(t *testing.T) {
	d := disk.NewFaultFS()
	l := mustCreate(t, small(d))
	must(t, l.Append(Batch{Entries: run(1, 30, 1, 80)}))
	for i := uint64(31); i <= 60; i++ {
		must(t, l.Append(Batch{Entries: run(i, i, 1, 80)}))
	}
	must(t, l.Append(Batch{Entries: run(25, 40, 2, 8)})) // over several segments
	must(t, l.Append(Batch{Entries: run(38, 38, 3, 8)})) // inside one record
	must(t, l.Append(Batch{Entries: run(39, 45, 3, 8)}))
	want := slices.Concat(run(1, 24, 1, 80), run(25, 37, 2, 8), run(38, 45, 3, 8))
	same(t, "entries", all(t, l), want)
	if _, err := l.Term(46); !errors.Is(err, raft.ErrUnavailable) {
		t.Fatalf("term of a replaced entry: %v", err)
	}
	r, st := mustOpen(t, small(d.Crash(disk.CrashOptions{})))
	same(t, "last", st.Last, uint64(45))
	same(t, "entries after open", all(t, r), want)
}

func TestReadsKeepTheBoundsOfStorage(t *testing.T) {
	l, err := Create(small(disk.NewFaultFS()), 100, 4, raft.HardState{Term: 4})
	must(t, err)
	must(t, l.Append(Batch{Entries: run(101, 140, 5, 76)})) // 100 by Size
	check := func(lo, hi, limit uint64, n int, want error) {
		t.Helper()
		es, err := l.Entries(lo, hi, limit)
		if !errors.Is(err, want) || len(es) != n {
			t.Fatalf("Entries(%d, %d, %d) = %d entries, %v; want %d, %v", lo, hi, limit, len(es), err, n, want)
		}
		for i, e := range es {
			if e.Index != lo+uint64(i) {
				t.Fatalf("Entries(%d, %d, %d): entry %d at place %d", lo, hi, limit, e.Index, i)
			}
		}
	}
	for _, base := range []uint64{100, 110} {
		must(t, l.Release(base))
		check(base, 120, 1000, 0, raft.ErrCompacted)
		check(base+1, 142, 1000, 0, raft.ErrUnavailable)
		check(base+1, 141, 0, 1, nil)
		check(base+1, 141, 99, 1, nil)
		check(base+1, 141, 200, 2, nil)
		check(base+1, 141, 299, 2, nil)
		check(base+1, 141, 1<<40, int(140-base), nil)
		check(130, 141, 1000, 10, nil)
		check(138, 138, 1000, 0, nil)
		check(141, 141, 1000, 0, nil)
		check(139, 138, 1000, 0, ErrInvalid)
		if _, err := l.Term(base - 1); !errors.Is(err, raft.ErrCompacted) {
			t.Fatalf("term before the base: %v", err)
		}
		wantTerm := uint64(5)
		if base == 100 {
			wantTerm = 4
		}
		if term, err := l.Term(base); err != nil || term != wantTerm {
			t.Fatalf("term of the base: %d, %v", term, err)
		}
	}
}

func TestCallsThatDoNotFitAreRefusedAndHarmless(t *testing.T) {
	l, err := Create(small(disk.NewFaultFS()), 10, 3, raft.HardState{})
	must(t, err)
	must(t, l.Append(Batch{Entries: run(11, 15, 3, 4)}))
	for name, es := range map[string][]raft.Entry{
		"gap":           run(17, 18, 3, 4),
		"base":          run(10, 12, 3, 4),
		"term":          run(16, 16, 2, 4),
		"not in a row":  append(run(16, 16, 3, 4), run(18, 18, 3, 4)...),
		"term goes bak": append(run(16, 16, 4, 4), run(17, 17, 3, 4)...),
	} {
		if err := l.Append(Batch{Entries: es}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	big := []raft.Entry{{Index: 16, Term: 3, Data: make([]byte, MaxBatchBytes)}}
	if err := l.Append(Batch{Entries: big}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if err := l.Release(16); !errors.Is(err, ErrInvalid) {
		t.Errorf("release after the end: %v", err)
	}
	if err := l.Reset(20, 3, raft.HardState{}, 21); !errors.Is(err, ErrInvalid) {
		t.Errorf("floor above the base: %v", err)
	}
	must(t, l.Append(Batch{Entries: run(16, 16, 3, 4)}))
	same(t, "entries", all(t, l), run(11, 16, 3, 4))
	for _, bytes := range []int64{1, 1 << 40} {
		if _, _, err := Open(Options{Dir: "x", SegmentBytes: bytes}); err == nil {
			t.Errorf("segment size %d was accepted", bytes)
		}
	}
}

func TestOneSyncPerBatchAndNoneForCommitAlone(t *testing.T) {
	o := small(disk.NewFaultFS())
	o.SegmentBytes = 1 << 20
	l := mustCreate(t, o)
	check := func(what string, n uint64, b Batch) {
		t.Helper()
		before := l.Syncs()
		must(t, l.Append(b))
		if got := l.Syncs() - before; got != n {
			t.Errorf("%s: %d syncs, want %d", what, got, n)
		}
	}
	check("nothing", 0, Batch{})
	check("entries and hard state", 1, Batch{HardState: &raft.HardState{Term: 1, Vote: 1}, Entries: run(1, 50, 1, 10)})
	check("same hard state", 0, Batch{HardState: &raft.HardState{Term: 1, Vote: 1}})
	check("commit", 0, Batch{HardState: &raft.HardState{Term: 1, Vote: 1, Commit: 5}})
	check("commit that is waited for", 1, Batch{HardState: &raft.HardState{Term: 1, Vote: 1, Commit: 6}, Sync: true})
	check("nothing unsynced to be waited for", 0, Batch{Sync: true})
	check("commit", 0, Batch{HardState: &raft.HardState{Term: 1, Vote: 1, Commit: 5}})
	check("what is unsynced and waited for", 1, Batch{HardState: &raft.HardState{Term: 1, Vote: 1, Commit: 5}, Sync: true})
	check("floor", 0, Batch{Floor: 3})
	check("lower floor", 0, Batch{Floor: 2})
	check("vote", 1, Batch{HardState: &raft.HardState{Term: 1, Vote: 2, Commit: 5}})
	check("term", 1, Batch{HardState: &raft.HardState{Term: 2, Vote: 0, Commit: 5}})
	if l.floor != 3 {
		t.Errorf("floor went to %d", l.floor)
	}
}

func TestFailedWriteOrSyncPoisonsForEver(t *testing.T) {
	for _, op := range []disk.Op{disk.OpWrite, disk.OpSync, disk.OpCreate, disk.OpRename, disk.OpSyncDir} {
		t.Run(string(op), func(t *testing.T) {
			d := disk.NewFaultFS()
			l := mustCreate(t, small(d))
			must(t, l.Append(Batch{Entries: run(1, 3, 1, 10)}))
			cause := fmt.Errorf("cause")
			d.Fail(disk.Rule{Op: op, Times: 1, Err: cause})
			var err error
			acked := uint64(3)
			for i := uint64(4); err == nil; i++ {
				if err = l.Append(Batch{Entries: run(i, i, 1, 100)}); err == nil {
					acked = i
				}
			}
			d.Heal()
			for what, err := range map[string]error{
				"the call itself": err,
				"append":          l.Append(Batch{Entries: run(acked+1, acked+1, 1, 10)}),
				"empty append":    l.Append(Batch{}),
				"release":         l.Release(2),
				"reset":           l.Reset(50, 1, raft.HardState{}, 0),
				"close":           l.Close(),
			} {
				if !errors.Is(err, ErrPoisoned) || !errors.Is(err, cause) {
					t.Errorf("%s: %v", what, err)
				}
			}
			// The failed batch is not the log's, and an image of now has the rest.
			same(t, "last", l.LastIndex(), acked)
			r, st := mustOpen(t, small(d.Crash(disk.CrashOptions{})))
			if st.Last != acked && st.Last != acked+1 {
				t.Errorf("recovered up to %d of %d", st.Last, acked)
			}
			all(t, r)
		})
	}
}

func TestFullDiskPoisonsAndLosesNothingAcknowledged(t *testing.T) {
	d := disk.NewFaultFS()
	l := mustCreate(t, small(d))
	d.LimitSpace(5000)
	acked := uint64(0)
	var err error
	for err == nil {
		if err = l.Append(Batch{Entries: run(acked+1, acked+1, 1, 300)}); err == nil {
			acked++
		}
	}
	if !errors.Is(err, ErrPoisoned) || acked < 5 {
		t.Fatalf("after %d batches: %v", acked, err)
	}
	d.Heal()
	// The same disk, as after a restart of the process alone.
	r, st := mustOpen(t, small(d))
	same(t, "last", st.Last, acked)
	must(t, r.Append(Batch{Entries: run(acked+1, acked+1, 1, 300)}))
	same(t, "entries", all(t, r), run(1, acked+1, 1, 300))
}
