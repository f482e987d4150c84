package wal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"chainfire/internal/disk"
	"chainfire/raft"
)

// seen is all that an inspection told.
type seen struct {
	*Inspection
	segments []InspectedSegment
	faults   []Fault
	// entries are those that no later record replaced.
	entries []raft.Entry
	records int
	loose   int
}

// inspect inspects the log of newLog's test options, and fails if that changes
// anything.
func inspect(t *testing.T, d *disk.FaultFS, file string) (*seen, error) {
	t.Helper()
	d.Observe(func(e disk.Event) {
		if e.Op != disk.OpRead {
			t.Errorf("the inspection changes the disk: %v", e)
		}
	})
	defer d.Observe(nil)
	s := &seen{}
	type placed struct {
		seq uint64
		e   raft.Entry
	}
	var all []placed
	var err error
	s.Inspection, err = Inspect(InspectOptions{
		FS: d, Dir: "wal", File: file,
		Segment: func(i *InspectedSegment) error { s.segments = append(s.segments, *i); return nil },
		Fault:   func(f *Fault) error { s.faults = append(s.faults, *f); return nil },
		Record: func(r *InspectedRecord) error {
			s.records++
			if r.Unchecked {
				s.loose++
			}
			for _, e := range r.Entries {
				e.Data = slices.Clone(e.Data)
				all = append(all, placed{r.Seq, e})
			}
			return nil
		},
	})
	if err != nil {
		return s, err
	}
	for _, p := range all {
		if !s.Replaced(p.seq, p.e.Index) && p.e.Index >= s.First {
			s.entries = append(s.entries, p.e)
		}
	}
	return s, nil
}

func mustInspect(t *testing.T, d *disk.FaultFS, file string) *seen {
	t.Helper()
	s, err := inspect(t, d, file)
	must(t, err)
	return s
}

// has reports whether a fault of the kind is told at a place.
func (s *seen) has(kind FaultKind, file string, off int64) bool {
	return slices.ContainsFunc(s.faults, func(f Fault) bool {
		return f.Kind == kind && f.File == file && f.Offset == off
	})
}

func TestInspectionOfASoundLogSaysWhatOpenSays(t *testing.T) {
	for name, end := range map[string]func(*Log) error{
		"closed":     (*Log).Close,
		"not closed": func(*Log) error { return nil },
		"reset": func(l *Log) error {
			return errors.Join(l.Reset(500, 8, raft.HardState{Term: 9, Commit: 500}, 490), l.Append(Batch{Entries: run(501, 502, 9, 10)}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := disk.NewFaultFS()
			must(t, end(lived(t, d)))
			image := d.Crash(disk.CrashOptions{Names: disk.NamesAll})
			s := mustInspect(t, image, "")
			l, st := mustOpen(t, small(image))
			same(t, "state", s.State, st)
			same(t, "entries", s.entries, all(t, l))
			same(t, "faults", s.faults, []Fault(nil))
			same(t, "sealed", s.Sealed, name == "closed")
			live := 0
			for _, g := range s.segments {
				if g.State != SegmentLive {
					continue
				}
				// Open writes what may be seen in memory only anew, after the last.
				own, last := l.segments[live], live == s.Segments-1
				if g.ID != own.id || !g.Header || !last && (g.End != own.end || g.Records != own.records) ||
					g.End < own.end || g.Records < own.records {
					t.Errorf("segment %d is reported as %+v", own.id, g)
				}
				live++
			}
			if opened := len(l.segments); live != s.Segments || opened != live && opened != live+1 {
				t.Errorf("%d segments are live, %d counted, %d opened", live, s.Segments, opened)
			}
		})
	}
}

// agrees checks an inspection against what Open makes of the same disk, which is
// used up by that.
func agrees(t *testing.T, what string, s *seen, image *disk.FaultFS) {
	t.Helper()
	l, st, err := Open(small(image))
	var bad *CorruptError
	switch {
	case errors.As(err, &bad):
		if s.Damage == 0 || !slices.ContainsFunc(s.faults, func(f Fault) bool {
			return f.Kind != FaultTorn && f.File == bad.File && f.Offset == bad.Offset
		}) {
			t.Fatalf("%s: open says %v, the inspection %+v", what, err, s.faults)
		}
		return
	case err != nil:
		t.Fatal(err)
	}
	defer func() { must(t, l.Close()) }()
	if s.Damage != 0 {
		t.Fatalf("%s: opens, but the inspection says %+v", what, s.faults)
	}
	if got, want := fmt.Sprintf("%+v", s.State), fmt.Sprintf("%+v", st); st.Torn == nil && got != want {
		t.Fatalf("%s: state %s, want %s", what, got, want)
	}
	if (st.Torn == nil) != (s.Torn == nil) || st.Torn != nil && *st.Torn != *s.Torn {
		t.Fatalf("%s: torn %+v, want %+v", what, s.Torn, st.Torn)
	}
	if diff := entriesDiffer(all(t, l), s.entries); diff != "" {
		t.Fatalf("%s: %s", what, diff)
	}
}

// TestInspectionFindsWhatOpenFindsForEveryFlippedBit also checks that it goes on
// behind the damage: one bit costs one record, and the entries in it.
func TestInspectionFindsWhatOpenFindsForEveryFlippedBit(t *testing.T) {
	d := disk.NewFaultFS()
	must(t, lived(t, d).Close())
	whole := mustInspect(t, d, "")
	damaged, loose := 0, 0
	for _, g := range whole.segments {
		if g.State != SegmentLive {
			continue
		}
		for off := range g.FileBytes {
			image := d.Crash(disk.CrashOptions{Names: disk.NamesAll})
			must(t, image.FlipBit(g.File, off, uint(off)))
			what := fmt.Sprintf("bit flipped in %s at %d", g.File, off)
			s := mustInspect(t, image, "")
			agrees(t, what, s, image)
			if s.Damage == 0 {
				continue
			}
			damaged++
			loose += s.loose
			if s.records < whole.records-1 || len(s.Lost) > 1 {
				t.Fatalf("%s costs %d records and the entries %v", what, whole.records-s.records, s.Lost)
			}
			// The record of entries 80 to 84 may be the one that is lost: then it
			// is not known that it replaced others.
			for _, e := range s.entries {
				if k := slices.IndexFunc(whole.entries, func(w raft.Entry) bool { return w.Index == e.Index }); k >= 0 &&
					entriesDiffer(whole.entries[k:k+1], []raft.Entry{e}) != "" && (e.Index < 80 || e.Index > 84) {
					t.Fatalf("%s: entry %d is told as %+v", what, e.Index, e)
				}
			}
			// That there were entries 85 and 86 is said by their record alone.
			if s.HardState != whole.HardState || s.Last != whole.Last && (s.Last != 84 || g.Last != 86) {
				t.Fatalf("%s: the end is told as %+v", what, s.State)
			}
		}
	}
	if damaged == 0 || loose == 0 {
		t.Errorf("%d flips damage the log, %d records are left unchecked by them", damaged, loose)
	}
}

func TestInspectionSaysWhatEachDamageIs(t *testing.T) {
	type damage struct {
		do   func(t *testing.T, d *disk.FaultFS, l *Log) (kind FaultKind, file string, off int64)
		lost bool
	}
	flip := func(t *testing.T, d *disk.FaultFS, file string, off int64) {
		t.Helper()
		must(t, d.FlipBit(file, off, 3))
	}
	for name, c := range map[string]damage{
		"segment header": {do: func(t *testing.T, d *disk.FaultFS, l *Log) (FaultKind, string, int64) {
			flip(t, d, l.segments[1].path, 60)
			return FaultRotten, l.segments[1].path, 0
		}},
		"seed of a segment": {do: func(t *testing.T, d *disk.FaultFS, l *Log) (FaultKind, string, int64) {
			flip(t, d, l.segments[1].path, 125)
			return FaultRotten, l.segments[1].path, 0
		}},
		"record header": {lost: true, do: func(t *testing.T, d *disk.FaultFS, l *Log) (FaultKind, string, int64) {
			flip(t, d, l.segments[1].path, segmentHeaderBytes+17)
			return FaultRotten, l.segments[1].path, segmentHeaderBytes
		}},
		"entries": {lost: true, do: func(t *testing.T, d *disk.FaultFS, l *Log) (FaultKind, string, int64) {
			flip(t, d, l.segments[1].path, segmentHeaderBytes+90)
			return FaultRotten, l.segments[1].path, segmentHeaderBytes
		}},
		"missing segment": {lost: true, do: func(t *testing.T, d *disk.FaultFS, l *Log) (FaultKind, string, int64) {
			must(t, d.Remove(l.segments[2].path))
			return FaultMissing, l.segments[2].path, 0
		}},
		"segment cut short": {lost: true, do: func(t *testing.T, d *disk.FaultFS, l *Log) (FaultKind, string, int64) {
			b, err := disk.ReadFile(d, l.segments[1].path, 1<<20)
			must(t, err)
			must(t, disk.WriteFileAtomic(d, l.segments[1].path, b[:segmentHeaderBytes+10]))
			return FaultRotten, l.segments[1].path, segmentHeaderBytes
		}},
		"segment without content": {lost: true, do: func(t *testing.T, d *disk.FaultFS, l *Log) (FaultKind, string, int64) {
			must(t, disk.WriteFileAtomic(d, l.segments[1].path, nil))
			return FaultRotten, l.segments[1].path, 0
		}},
		"foreign segment": {lost: true, do: func(t *testing.T, d *disk.FaultFS, l *Log) (FaultKind, string, int64) {
			must(t, disk.WriteFileAtomic(d, l.segments[1].path, []byte(strings.Repeat("foreign ", 200))))
			return FaultRotten, l.segments[1].path, 0
		}},
		"disk that fails to read": {lost: true, do: func(_ *testing.T, d *disk.FaultFS, l *Log) (FaultKind, string, int64) {
			// The headers are read before.
			d.Fail(disk.Rule{Op: disk.OpRead, Path: l.segments[1].path, After: 1, Err: errors.New("I/O error")})
			return FaultUnreadable, l.segments[1].path, segmentHeaderBytes
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := disk.NewFaultFS()
			l := lived(t, d)
			must(t, l.Close())
			kind, file, off := c.do(t, d, l)
			s := mustInspect(t, d, "")
			if !s.has(kind, file, off) || len(s.faults) != 1 || s.Damage != 1 {
				t.Errorf("told is %+v, want %s in %s at %d", s.faults, kind, file, off)
			}
			if (len(s.Lost) > 0) != c.lost || s.Last != 86 || s.HardState.Commit != 80 {
				t.Errorf("lost are %v, the state is %+v", s.Lost, s.State)
			}
		})
	}
}

func TestInspectionTellsATornTailFromRot(t *testing.T) {
	d := disk.NewFaultFS()
	o := small(d)
	l := mustCreate(t, o)
	must(t, l.Append(Batch{HardState: &raft.HardState{Term: 1}, Entries: run(1, 4, 1, 20)}))
	hole := l.cur.end
	must(t, l.Append(Batch{HardState: &raft.HardState{Term: 1, Commit: 2}}))
	must(t, l.Append(Batch{HardState: &raft.HardState{Term: 1, Commit: 4}, Entries: run(5, 5, 1, 20)}))
	look := func() *seen {
		image := d.Crash(disk.CrashOptions{})
		must(t, image.FlipBit(l.cur.path, hole+recordHeaderBytes+3, 1))
		s := mustInspect(t, image, "")
		agrees(t, "flipped", s, image)
		return s
	}
	if s := look(); s.Damage != 0 || !s.has(FaultTorn, l.cur.path, hole) || s.Last != 4 {
		t.Errorf("without a proof that it was durable: %+v", s.faults)
	}
	must(t, l.Append(Batch{Entries: run(6, 6, 1, 20)}))
	s := look()
	if s.Damage != 1 || !s.has(FaultRotten, l.cur.path, hole) || s.Last != 6 || !strings.Contains(s.faults[0].Reason, "was durable") {
		t.Errorf("with a proof: %+v", s.faults)
	}
}

func TestInspectionOfOneSegment(t *testing.T) {
	d := disk.NewFaultFS()
	l := lived(t, d)
	must(t, l.Close())
	middle := l.segments[1]
	name := d.PathBase(middle.path)
	s := mustInspect(t, d, name)
	if s.Segments != 1 || len(s.segments) != 1 || s.segments[0].End != middle.end || s.Damage != 0 || int(s.Records) != middle.records {
		t.Errorf("a segment in its place: %+v, %+v", s.segments, s.faults)
	}
	b, err := disk.ReadFile(d, middle.path, 1<<20)
	must(t, err)
	other := disk.NewFaultFS()
	must(t, disk.MkdirAll(other, "wal"))
	must(t, disk.WriteFileAtomic(other, "wal/copy", b))
	must(t, disk.WriteFileAtomic(other, "wal/foreign", []byte(strings.Repeat("text", 100))))
	must(t, disk.WriteFileAtomic(other, "wal/empty", nil))
	if s = mustInspect(t, other, "copy"); s.Segments != 1 || int(s.Records) != middle.records || s.Damage != 0 {
		t.Errorf("a copy by another name: %+v, %+v", s.segments, s.faults)
	}
	for _, name := range []string{"foreign", "empty"} {
		if _, err := inspect(t, other, name); !errors.Is(err, ErrNotSegment) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInspectionOfNoLogSaysSo(t *testing.T) {
	d := disk.NewFaultFS()
	if _, err := inspect(t, d, ""); !errors.Is(err, ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	must(t, disk.MkdirAll(d, "wal"))
	must(t, disk.WriteFileAtomic(d, "wal/notes.txt", []byte("hello")))
	if _, err := inspect(t, d, ""); !errors.Is(err, ErrNotExist) {
		t.Errorf("a directory without a segment: %v", err)
	}
}

func TestInspectionListsWhatIsNotOfTheLog(t *testing.T) {
	d := disk.NewFaultFS()
	l := lived(t, d)
	must(t, disk.WriteFileAtomic(d, "wal/notes.txt", []byte("hello")))
	must(t, disk.WriteFileAtomic(d, l.segmentPath(99, tempSuffix), []byte("half")))
	before := l.cur.path
	must(t, errors.Join(l.restart(Position{200, 2}, raft.HardState{Term: 2}, 0), l.Close()))
	must(t, disk.WriteFileAtomic(d, before, []byte("what a crash left of the log before")))
	got := map[string]SegmentState{}
	for _, g := range mustInspect(t, d, "").segments {
		got[g.File] = g.State
	}
	want := map[string]SegmentState{
		"wal/notes.txt": SegmentForeign, l.segmentPath(99, tempSuffix): SegmentUnfinished,
		before: SegmentVoid, l.cur.path: SegmentLive,
	}
	for file, state := range want {
		if got[file] != state {
			t.Errorf("%s is %q, want %q", file, got[file], state)
		}
	}
	if len(got) <= len(want) {
		t.Errorf("no free segment is listed: %v", got)
	}
}

func TestCallbackThatFailsEndsTheInspection(t *testing.T) {
	d := disk.NewFaultFS()
	must(t, lived(t, d).Close())
	cause, calls := errors.New("cause"), 0
	_, err := Inspect(InspectOptions{FS: d, Dir: "wal", Record: func(*InspectedRecord) error { calls++; return cause }})
	if !errors.Is(err, cause) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}
