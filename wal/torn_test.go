package wal

import (
	"errors"
	"strings"
	"testing"

	"chainfire/internal/disk"
	"chainfire/raft"
)

// cutAt does fn and returns the disk as a crash leaves it before the first
// operation of the kind.
func cutAt(d *disk.FaultFS, op disk.Op, o disk.CrashOptions, fn func()) *disk.FaultFS {
	var image *disk.FaultFS
	d.Observe(func(e disk.Event) {
		if e.Op == op && image == nil {
			image = d.Crash(o)
		}
	})
	fn()
	d.Observe(nil)
	return image
}

func TestTornTailIsCutOffAndTold(t *testing.T) {
	told, whole := 0, 0
	for seed := range uint64(60) {
		d := disk.NewFaultFS()
		o := small(d)
		o.SegmentBytes = 8 << 10
		l := mustCreate(t, o)
		must(t, l.Append(Batch{Entries: run(1, 5, 1, 20)}))
		file, end := l.cur.path, l.cur.end
		tear := []disk.Tear{disk.TearPrefix, disk.TearSectors, disk.TearGarble}[seed%3]
		o.FS = cutAt(d, disk.OpSync, disk.CrashOptions{Seed: seed, Tear: tear}, func() {
			must(t, l.Append(Batch{Entries: run(6, 20, 1, 200)}))
		})
		r, st := mustOpen(t, o)
		if st.Last == 20 {
			whole++
			continue
		}
		same(t, "last", st.Last, uint64(5))
		if st.Torn != nil {
			told++
			if st.Torn.File != file || st.Torn.Offset != end || st.Torn.Bytes <= 0 {
				t.Fatalf("seed %d: torn %+v, want %s at %d", seed, st.Torn, file, end)
			}
			if r.cur.path == file {
				t.Fatalf("seed %d: the log goes on in the torn segment", seed)
			}
		}
		must(t, r.Append(Batch{Entries: run(6, 6, 2, 20)}))
		want := all(t, r)
		// The torn bytes are still there, and never come back.
		for range 2 {
			r, st := mustOpen(t, o)
			if st.Torn != nil {
				t.Fatalf("seed %d: torn again: %+v", seed, st.Torn)
			}
			same(t, "entries", all(t, r), want)
			must(t, r.Close())
		}
	}
	if told < 30 {
		t.Errorf("%d torn tails told, %d whole: too few", told, whole)
	}
}

// Records that only raise the commit index are not synced each. When several of
// them and a batch are lost in a crash, a later one may have reached the disk
// and an earlier one not; none of them was durable.
func TestHoleAmongUnsyncedRecordsIsTornAmongSyncedOnesRot(t *testing.T) {
	d := disk.NewFaultFS()
	o := small(d)
	l := mustCreate(t, o)
	must(t, l.Append(Batch{HardState: &raft.HardState{Term: 1}, Entries: run(1, 4, 1, 20)}))
	hole := l.cur.end
	must(t, l.Append(Batch{HardState: &raft.HardState{Term: 1, Commit: 2}}))
	must(t, l.Append(Batch{HardState: &raft.HardState{Term: 1, Commit: 4}}))
	open := func(image *disk.FaultFS) (State, error) {
		must(t, image.FlipBit(l.cur.path, hole+recordHeaderBytes+3, 1))
		o := o
		o.FS = image
		_, st, err := Open(o)
		return st, err
	}
	st, err := open(cutAt(d, disk.OpSync, disk.CrashOptions{Tear: disk.TearKeepAll}, func() {
		must(t, l.Append(Batch{Entries: run(5, 5, 1, 20)}))
	}))
	must(t, err)
	if st.Torn == nil || st.Torn.Offset != hole || st.Last != 4 || st.HardState.Commit != 0 {
		t.Fatalf("before the sync: %+v", st)
	}
	// Now the sync is done, but nothing on disk can prove that.
	st, err = open(d.Crash(disk.CrashOptions{}))
	must(t, err)
	if st.Torn == nil || st.Last != 4 {
		t.Fatalf("after the sync: %+v", st)
	}
	must(t, l.Append(Batch{Entries: run(6, 6, 1, 20)}))
	var bad *CorruptError
	if _, err = open(d.Crash(disk.CrashOptions{})); !errors.As(err, &bad) || bad.Offset != hole {
		t.Fatalf("with a record that proves the sync: %v", err)
	}
}

func TestStaleRecordsOfARecycledSegmentAreNeverTaken(t *testing.T) {
	d := disk.NewFaultFS()
	o := small(d)
	l := mustCreate(t, o)
	// Every batch has the same size, so old records lie just where new ones end.
	for i := uint64(1); i <= 400; i++ {
		must(t, l.Append(Batch{Entries: run(i, i, 1, 30)}))
		if i%20 == 0 {
			must(t, l.Release(i-5))
		}
		o.FS = d.Crash(disk.CrashOptions{})
		r, st := mustOpen(t, o)
		if st.Last != i || st.Torn != nil {
			t.Fatalf("after %d batches: %+v", i, st)
		}
		same(t, "entries", len(all(t, r)), int(i-st.Base.Index))
	}
	recycled := 0
	for _, s := range l.segments {
		if s.head.flags&flagRecycled != 0 {
			recycled++
		}
	}
	if recycled == 0 || len(l.free) > DefaultRecycle {
		t.Errorf("%d recycled segments in use, %d waiting", recycled, len(l.free))
	}
}

func TestReleaseGivesSegmentsAwayAndKeepsAFewToRecycle(t *testing.T) {
	d := disk.NewFaultFS()
	o := small(d)
	o.Recycle = 2
	l := mustCreate(t, o)
	must(t, l.Append(Batch{Entries: run(1, 100, 1, 10), HardState: &raft.HardState{Term: 1, Vote: 2}, Floor: 90}))
	for i := uint64(101); i <= 200; i++ {
		must(t, l.Append(Batch{Entries: run(i, i, 1, 50)}))
	}
	before, _ := l.Size()
	must(t, l.Append(Batch{Floor: 95})) // without a sync of its own
	must(t, l.Release(150))
	must(t, l.Release(120)) // behind: nothing
	same(t, "first", l.FirstIndex(), uint64(151))
	after, bytes := l.Size()
	free := 0
	for _, f := range d.Files() {
		if strings.HasSuffix(f, freeSuffix) {
			free++
		}
	}
	if after >= before || bytes > int64(after)<<10 || free != 2 {
		t.Errorf("segments %d to %d, %d bytes, %d kept", before, after, bytes, free)
	}
	o.FS = d.Crash(disk.CrashOptions{})
	r, st := mustOpen(t, o)
	if st.Base.Index < 100 || st.Base.Index > 150 || st.Last != 200 || st.Floor != 95 || st.HardState.Vote != 2 {
		t.Errorf("recovered %+v", st)
	}
	same(t, "entries", all(t, r), run(st.First, 200, 1, 50))
}

// A suffix is replaced from an index on that an older segment held, and that
// segment is released: what is left begins in the middle of things.
func TestReleaseOfASegmentWhoseEndWasReplaced(t *testing.T) {
	d := disk.NewFaultFS()
	o := small(d)
	l := mustCreate(t, o)
	must(t, l.Append(Batch{Entries: run(1, 10, 1, 80)}))
	must(t, l.Append(Batch{Entries: run(11, 20, 1, 80)})) // second segment
	must(t, l.Append(Batch{Entries: run(5, 8, 2, 10)}))   // third
	must(t, l.Append(Batch{Entries: run(9, 9, 2, 10)}))
	must(t, l.Release(6))
	if n, _ := l.Size(); n != 1 || l.segments[0].head.last.Index != 20 {
		t.Fatalf("%d segments, the first after %d", n, l.segments[0].head.last.Index)
	}
	o.FS = d.Crash(disk.CrashOptions{})
	r, st := mustOpen(t, o)
	same(t, "base", st.Base, Position{4, 1})
	same(t, "entries", all(t, r), run(5, 9, 2, 10))
	must(t, r.Append(Batch{Entries: run(6, 7, 3, 10)}))
	o.FS = o.FS.(*disk.FaultFS).Crash(disk.CrashOptions{})
	r, _ = mustOpen(t, o)
	same(t, "entries", all(t, r), append(run(5, 5, 2, 10), run(6, 7, 3, 10)...))
}

func TestResetStartsAgainAndForgets(t *testing.T) {
	d := disk.NewFaultFS()
	l := lived(t, d)
	hs := raft.HardState{Term: 9, Commit: 500}
	must(t, l.Reset(500, 8, hs, 490))
	if _, err := l.Entries(90, 91, 1); !errors.Is(err, raft.ErrCompacted) {
		t.Fatalf("read before the base: %v", err)
	}
	n, _ := l.Size()
	same(t, "segments", n, 1)
	must(t, l.Append(Batch{Entries: run(501, 502, 9, 10)}))
	r, st := mustOpen(t, small(d.Crash(disk.CrashOptions{})))
	same(t, "state", st, State{HardState: hs, Base: Position{500, 8}, First: 501, Last: 502, Floor: 490})
	same(t, "entries", all(t, r), run(501, 502, 9, 10))
	// A reset that shortens the log and lowers the floor is as good.
	must(t, r.Reset(40, 2, raft.HardState{Term: 9, Commit: 40}, 0))
	same(t, "last", r.LastIndex(), uint64(40))
	same(t, "floor", r.floor, uint64(0))
}
