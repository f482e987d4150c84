package wal

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"chainfire/internal/disk"
	"chainfire/raft"
)

// lived makes a log with a life behind it: recycled segments, a replaced suffix,
// a released front, hard states, a floor. It is not closed.
func lived(t *testing.T, d *disk.FaultFS) *Log {
	t.Helper()
	l := mustCreate(t, small(d))
	for i := uint64(1); i <= 60; i++ {
		must(t, l.Append(Batch{Entries: run(i, i, 1, 50)}))
	}
	must(t, l.Release(45))
	for i := uint64(61); i <= 90; i++ {
		must(t, l.Append(Batch{Entries: run(i, i, 1, 50), Floor: i - 20}))
	}
	must(t, l.Append(Batch{HardState: &raft.HardState{Term: 2, Vote: 3, Commit: 60}, Entries: run(80, 84, 2, 50)}))
	must(t, l.Append(Batch{HardState: &raft.HardState{Term: 2, Vote: 3, Commit: 80}}))
	must(t, l.Append(Batch{Entries: run(85, 86, 2, 20)}))
	return l
}

// content is all that a log holds.
func content(t *testing.T, l *Log, st State) string {
	t.Helper()
	st.Torn = nil
	return fmt.Sprintf("%+v %+v", st, all(t, l))
}

func contents(t *testing.T, d *disk.FaultFS) string {
	t.Helper()
	var b strings.Builder
	for _, name := range d.Files() {
		data, err := disk.ReadFile(d, name, 1<<30)
		must(t, err)
		fmt.Fprintf(&b, "%s %d\n", name, len(data))
		b.Write(data)
	}
	return b.String()
}

// flipEach opens the log once for every step-th byte of its segments with a bit
// of that byte flipped. An open must either fail with an error that names the place, and
// change nothing on disk, or be judged by ok.
func flipEach(t *testing.T, d *disk.FaultFS, step int64, ok func(file string, off int64, l *Log, st State)) (refused int) {
	t.Helper()
	for _, file := range d.Files() {
		if !strings.HasSuffix(file, segmentSuffix) {
			continue
		}
		info, err := d.Stat(file)
		must(t, err)
		for off := int64(0); off < info.Size(); off += step {
			image := d.Crash(disk.CrashOptions{Tear: disk.TearKeepAll, Names: disk.NamesAll})
			must(t, image.FlipBit(file, off, uint(off)))
			var changes int
			image.Observe(func(e disk.Event) {
				if e.Op != disk.OpRead {
					changes++
				}
			})
			l, st, err := Open(small(image))
			if err == nil {
				ok(file, off, l, st)
				continue
			}
			refused++
			var bad *CorruptError
			if !errors.As(err, &bad) || bad.File != file || bad.Offset > off || !strings.Contains(err.Error(), file) {
				t.Fatalf("bit flipped in %s at %d: %v", file, off, err)
			}
			if changes > 0 {
				t.Fatalf("bit flipped in %s at %d: the refused open changed the disk", file, off)
			}
		}
	}
	return refused
}

func TestEveryFlippedBitOfAClosedLogIsFoundOrHarmless(t *testing.T) {
	d := disk.NewFaultFS()
	must(t, lived(t, d).Close())
	r, st := mustOpen(t, small(d.Crash(disk.CrashOptions{})))
	want := content(t, r, st)
	var live int64
	for _, s := range r.segments {
		live += s.end
	}
	harmless := 0
	refused := flipEach(t, d, 1, func(file string, off int64, l *Log, st State) {
		harmless++
		if got := content(t, l, st); got != want {
			t.Fatalf("bit flipped in %s at %d goes unseen:\n%s\nwant\n%s", file, off, got, want)
		}
	})
	// Every live byte counts; the seal is none of them.
	if want := int(live); refused != want || harmless == 0 {
		t.Errorf("%d flips refused, %d harmless, want %d refused", refused, harmless, want)
	}
}

func TestRotInALogNotClosedCanCostItsLastBatchOnly(t *testing.T) {
	d := disk.NewFaultFS()
	l := lived(t, d)
	last := l.cur.path
	lastStart := l.cur.end - recordHeaderBytes - 1 - entriesHeadBytes - 2*(entryHeadBytes+20)
	r, st := mustOpen(t, small(d.Crash(disk.CrashOptions{})))
	want := content(t, r, st)
	es := all(t, r)
	st.Last = 84
	lost := fmt.Sprintf("%+v %+v", st, es[:len(es)-2])
	flipEach(t, d, 3, func(file string, off int64, l *Log, st State) {
		got := content(t, l, st)
		inLast := file == last && off >= lastStart
		if got != want && (!inLast || got != lost) {
			t.Fatalf("bit flipped in %s at %d goes unseen:\n%s\nwant\n%s", file, off, got, want)
		}
	})
}

func TestRotUnderAnOpenLogIsAnErrorOfTheRead(t *testing.T) {
	d := disk.NewFaultFS()
	l := lived(t, d)
	want := all(t, l)
	first := l.FirstIndex()
	wrong := 0
	for i, s := range l.segments {
		for off := int64(0); off < s.end; off += 7 {
			must(t, d.FlipBit(s.path, off, uint(i)))
			for lo := first; lo <= l.LastIndex(); lo += 3 {
				es, err := l.Entries(lo, min(lo+5, l.LastIndex()+1), 1<<20)
				var bad *CorruptError
				if errors.As(err, &bad) && bad.File == s.path {
					wrong++
				} else if diff := entriesDiffer(want[lo-first:][:len(es)], es); err != nil || diff != "" || len(es) == 0 {
					t.Fatalf("bit flipped in %s at %d, read %d: %v %s", s.path, off, lo, err, diff)
				}
			}
			must(t, d.FlipBit(s.path, off, uint(i)))
		}
	}
	if wrong == 0 {
		t.Error("no read came from disk")
	}
}

func TestDiskThatFailsToReadIsNotATornTail(t *testing.T) {
	d := disk.NewFaultFS()
	must(t, lived(t, d).Close())
	cause := errors.New("cause")
	for after := 0; ; after++ {
		d.Heal()
		d.Fail(disk.Rule{Op: disk.OpRead, After: after, Err: cause})
		before := contents(t, d.Crash(disk.CrashOptions{}))
		l, _, err := Open(small(d))
		if err == nil {
			if after < 5 {
				t.Fatalf("open took %d reads", after)
			}
			must(t, l.Close())
			return
		}
		var bad *CorruptError
		if !errors.Is(err, cause) || errors.As(err, &bad) {
			t.Fatalf("read %d fails: %v", after, err)
		}
		if contents(t, d.Crash(disk.CrashOptions{})) != before {
			t.Fatalf("read %d fails: the disk was changed", after)
		}
	}
}

func TestMissingSegmentIsNamed(t *testing.T) {
	d := disk.NewFaultFS()
	l := lived(t, d)
	middle := l.segments[1].path
	must(t, l.Close())
	must(t, d.Remove(middle))
	_, _, err := Open(small(d))
	var bad *CorruptError
	if !errors.As(err, &bad) || bad.File != middle {
		t.Fatalf("open without %s: %v", middle, err)
	}
}

func TestSegmentOfAnotherLogIsRefused(t *testing.T) {
	d := disk.NewFaultFS()
	l := lived(t, d)
	other := disk.NewFaultFS()
	o := small(other)
	o.Salt++
	lo := mustCreate(t, o)
	for lo.cur.id < l.cur.id {
		must(t, lo.Append(Batch{Entries: run(lo.last+1, lo.last+1, 1, 300)}))
	}
	data, err := disk.ReadFile(other, lo.cur.path, 1<<20)
	must(t, err)
	must(t, disk.WriteFileAtomic(d, lo.cur.path, data))
	var bad *CorruptError
	if _, _, err := Open(small(d)); !errors.As(err, &bad) {
		t.Fatalf("open with a foreign last segment: %v", err)
	}
}

// Two histories part and go on with records of the same sizes, so that every
// record of one fits the place of the other's by its header. The chain alone
// tells them apart.
func TestRecordOfAnotherHistoryBreaksTheChain(t *testing.T) {
	d, other := disk.NewFaultFS(), disk.NewFaultFS()
	var logs []*Log
	for _, fs := range []disk.FS{d, other} {
		o := small(fs)
		o.Salt = 7
		logs = append(logs, mustCreate(t, o))
		must(t, logs[len(logs)-1].Append(Batch{Entries: run(1, 3, 1, 10)}))
	}
	l, lo := logs[0], logs[1]
	parts := l.cur.end
	var ends []int64
	for i := uint64(4); i <= 20; i++ {
		must(t, l.Append(Batch{Entries: run(i, i, 1, 100)}))
		theirs := run(i, i, 1, 100)
		theirs[0].Data[50]++
		must(t, lo.Append(Batch{Entries: theirs}))
		if l.cur.id == 1 {
			ends = append(ends, l.cur.end)
		}
	}
	first := l.segments[0].path
	ours, err := disk.ReadFile(d, first, 1<<20)
	must(t, err)
	theirs, err := disk.ReadFile(other, first, 1<<20)
	must(t, err)
	check := func(what string, data []byte, off int64) {
		t.Helper()
		image := d.Crash(disk.CrashOptions{})
		must(t, disk.WriteFileAtomic(image, first, data))
		var bad *CorruptError
		if _, _, err := Open(small(image)); !errors.As(err, &bad) || bad.File != first || bad.Offset != off {
			t.Errorf("%s: %v, want offset %d", what, err, off)
		}
	}
	check("the whole segment", theirs, ends[len(ends)-1])
	check("the first record after the parting", append(append(ours[:parts:parts], theirs[parts:ends[0]]...), ours[ends[0]:]...), ends[0])
	check("the second", append(append(ours[:ends[0]:ends[0]], theirs[ends[0]:ends[1]]...), ours[ends[1]:]...), ends[0])
}
