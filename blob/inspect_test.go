package blob

import (
	"context"
	"errors"
	"strings"
	"testing"

	"chainfire/internal/disk"
)

// looked is what Inspect told of a store.
type looked struct {
	*Inspection
	segments []SegmentInfo
	faults   []Fault
}

// inspect looks at the store, or one segment of it, which must stay as it is.
func inspect(t testing.TB, fs *disk.FaultFS, file string) looked {
	t.Helper()
	var l looked
	var err error
	l.Inspection, err = Inspect(context.Background(), InspectOptions{
		FS: fs, Dir: "blob", File: file,
		Segment: func(s *SegmentInfo) error {
			l.segments = append(l.segments, *s)
			return nil
		},
		Fault: func(f *Fault) error {
			l.faults = append(l.faults, *f)
			return nil
		},
	})
	must(t, err)
	return l
}

// damage counts what is no torn write.
func (l *looked) damage() int {
	n := 0
	for _, f := range l.faults {
		if f.Kind != FaultTorn {
			n++
		}
	}
	return n
}

// covers reports whether a fault names a byte of a file.
func (f *Fault) covers(file string, off int64) bool {
	return f.File == file && f.Offset <= off && off < f.Offset+f.Bytes
}

func TestInspectTellsWhatAStoreHolds(t *testing.T) {
	const extents, size, record = 12, 3000, recordHeaderBytes + 4 + 3000
	fs := filled(t, extents, size)
	s := open(t, options(fs))
	must(t, s.Delete(context.Background(), ext(1, 0), ext(1, 7)))
	want := s.Usage()
	must(t, s.Close())
	fs.Observe(func(e disk.Event) {
		if e.Op != disk.OpRead {
			t.Errorf("the look changes the disk: %v", e)
		}
	})
	l := inspect(t, fs, "")
	if len(l.faults) != 0 || !l.Index || l.NoIndex || l.Salt != 7 || l.Noted != 0 || l.Segments != 3 || len(l.segments) != 3 {
		t.Fatalf("%+v, %+v, %+v", l.Inspection, l.segments, l.faults)
	}
	first, last := l.segments[0], l.segments[2]
	if first.File != "blob/SEG-00000001" || first.ID != 1 || !first.Ended || first.Closed || first.Size != first.End ||
		first.Extents != 5 || first.LiveExtents != 4 || first.LiveBytes != 4*record {
		t.Errorf("the first: %+v", first)
	}
	if last.ID != 3 || last.Ended || !last.Closed || last.Extents != 2 || last.LiveExtents != 2 {
		t.Errorf("the last: %+v", last)
	}
	live := int64(0)
	for _, s := range l.segments {
		live += s.LiveExtents
	}
	if live != want.Extents {
		t.Errorf("%d extents are there, and the store has %d", live, want.Extents)
	}
	if one := inspect(t, fs, "SEG-00000002"); len(one.segments) != 1 || one.segments[0] != l.segments[1] {
		t.Errorf("one of them: %+v", one.segments)
	}
}

// Also without the index all is checked; what is deleted is not known then.
func TestInspectReadsAStoreWithoutItsIndex(t *testing.T) {
	fs := filled(t, 12, 3000)
	must(t, fs.RemoveAll("blob/index"))
	l := inspect(t, fs, "")
	if len(l.faults) != 0 || l.Index || !l.NoIndex || l.Salt != 7 || l.segments[0].Extents != 5 || l.segments[0].LiveExtents != 0 {
		t.Errorf("%+v, %+v, %+v", l.Inspection, l.segments, l.faults)
	}
	must(t, fs.FlipBit("blob/SEG-00000001", 20, 1)) // another tells the salt
	l = inspect(t, fs, "SEG-00000001")
	if l.damage() != 1 || l.segments[0].Extents != 5 || l.faults[0].Offset != 0 || l.faults[0].Bytes != segmentHeaderBytes {
		t.Errorf("with a damaged header: %+v, %+v", l.segments, l.faults)
	}
	for _, name := range []string{"blob/SEG-00000002", "blob/SEG-00000003"} {
		must(t, fs.Remove(name))
	}
	l = inspect(t, fs, "")
	if l.damage() != 1 || !strings.Contains(l.faults[0].Reason, "nothing in it can be checked") || l.segments[0].Extents != 0 {
		t.Errorf("alone, with a damaged header: %+v, %+v", l.segments, l.faults)
	}
}

// What is behind the last record that was acknowledged is torn; the same before it is damage.
func TestInspectTellsATornTailFromDamage(t *testing.T) {
	fs := disk.NewFaultFS()
	s := open(t, options(fs))
	must(t, put(s, ext(1, 0), 3000))
	must(t, s.Sync(context.Background()))
	must(t, put(s, ext(1, 1), 3000))
	// A process that is killed leaves what it wrote, and an index that knows less.
	image := fs.Fork()
	must(t, s.Close())
	// Behind the first is the seal that its sync left.
	const second = segmentHeaderBytes + recordHeaderBytes + 4 + 3000 + recordHeaderBytes
	cutFile(t, image, "blob/SEG-00000001", second+1000)
	l := inspect(t, image, "")
	if len(l.faults) != 1 || l.faults[0].Kind != FaultTorn || l.faults[0].Offset != second || l.faults[0].Bytes != 1000 ||
		l.segments[0].End != second || l.segments[0].Extents != 1 || l.segments[0].Faults != 1 {
		t.Errorf("torn: %+v, %+v", l.segments, l.faults)
	}
	// The seal says that the first was on disk.
	image = fs.Fork()
	must(t, image.FlipBit("blob/SEG-00000001", segmentHeaderBytes+1000, 1))
	l = inspect(t, image, "")
	if l.damage() != 1 || !l.faults[0].covers("blob/SEG-00000001", segmentHeaderBytes+1000) || !strings.Contains(l.faults[0].Reason, "extent 0 of body ") {
		t.Errorf("rotten: %+v", l.faults)
	}
}

func TestInspectNamesEveryPieceThatIsBad(t *testing.T) {
	fs := disk.NewFaultFS()
	o := options(fs)
	o.SegmentBytes = 1 << 20
	s := open(t, o)
	must(t, put(s, ext(1, 0), 5*PieceBytes-100))
	must(t, s.Close())
	const start = segmentHeaderBytes + recordHeaderBytes + 4*5
	for _, off := range []int64{start + PieceBytes, start + 2*PieceBytes + 5, start + 5*PieceBytes - 101} {
		must(t, fs.FlipBit("blob/SEG-00000001", off, 0))
	}
	l := inspect(t, fs, "")
	want := []int64{start + PieceBytes, start + 2*PieceBytes, start + 4*PieceBytes}
	if len(l.faults) != len(want) || l.segments[0].Faults != len(want) {
		t.Fatalf("%+v", l.faults)
	}
	for i, f := range l.faults {
		if f.Offset != want[i] || f.Bytes != PieceBytes && i < 2 || i == 2 && f.Bytes != PieceBytes-100 {
			t.Errorf("fault %d: %+v", i, f)
		}
	}
}

func TestInspectNamesWhatOpenCannotUse(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(t *testing.T, fs *disk.FaultFS)
		want Fault
	}{
		"a lost segment": {
			func(t *testing.T, fs *disk.FaultFS) { must(t, fs.Remove("blob/SEG-00000002")) },
			Fault{Kind: FaultMissing, File: "blob/SEG-00000002", Reason: "the index has 5 extents in this segment"},
		},
		"a segment of another store": {func(t *testing.T, fs *disk.FaultFS) {
			b, err := disk.ReadFile(fs, "blob/SEG-00000002", 1<<20)
			must(t, err)
			must(t, disk.WriteFileAtomic(fs, "blob/SEG-00000002", append(encodeSegmentHeader(8, 2), b[segmentHeaderBytes:]...)))
		}, Fault{Kind: FaultForeign, File: "blob/SEG-00000002", Reason: "its salt is another"}},
		"a segment under another's name": {func(t *testing.T, fs *disk.FaultFS) {
			must(t, fs.Rename("blob/SEG-00000001", "blob/SEG-00000002"))
			b, err := disk.ReadFile(fs, "blob/SEG-00000003", 1<<20)
			must(t, err)
			must(t, disk.WriteFileAtomic(fs, "blob/SEG-00000001", b))
		}, Fault{Kind: FaultRotten, File: "blob/SEG-00000001", Reason: "the file is of segment 3"}},
		"an index that was found damaged": {func(t *testing.T, fs *disk.FaultFS) {
			must(t, disk.WriteFileAtomic(fs, "blob/index.damaged", []byte("x")))
		}, Fault{Kind: FaultIndex, File: "blob/index", Reason: "makes it anew at its next start"}},
		"an index that does not open": {func(t *testing.T, fs *disk.FaultFS) {
			for _, f := range fs.Files() {
				if strings.HasPrefix(f, "blob/index/MANIFEST") {
					must(t, fs.Remove(f))
				}
			}
		}, Fault{Kind: FaultIndex, File: "blob/index", Reason: "MANIFEST"}},
		"a segment that lost its end": {func(t *testing.T, fs *disk.FaultFS) {
			must(t, fs.RemoveAll("blob/index"))
			cutFile(t, fs, "blob/SEG-00000001", segmentHeaderBytes+recordHeaderBytes+4+3000)
		}, Fault{Kind: FaultRotten, File: "blob/SEG-00000001", Offset: segmentHeaderBytes + recordHeaderBytes + 4 + 3000, Reason: "by which a segment ends"}},
	} {
		t.Run(name, func(t *testing.T) {
			fs := filled(t, 12, 3000)
			c.do(t, fs)
			l := inspect(t, fs, "")
			if len(l.faults) == 0 {
				t.Fatal("nothing was found")
			}
			got := l.faults[0]
			if got.Kind != c.want.Kind || got.File != c.want.File || got.Offset != c.want.Offset || !strings.Contains(got.Reason, c.want.Reason) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestInspectRefusesWhatIsNoStore(t *testing.T) {
	fs := filled(t, 2, 3000)
	must(t, disk.MkdirAll(fs, "other"))
	must(t, disk.MkdirAll(fs, "other/index"))
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := Inspect(ctx, InspectOptions{FS: fs, Dir: "other"}); !errors.Is(err, ErrNoStore) {
		t.Errorf("a folder of something else: %v", err)
	}
	for _, file := range []string{"LOCK", "SEG-00000009", "SEG-1"} {
		if _, err := Inspect(ctx, InspectOptions{FS: fs, Dir: "blob", File: file}); !errors.Is(err, ErrNotSegment) {
			t.Errorf("%s: %v", file, err)
		}
	}
	cancel()
	none := func(*Fault) error { return nil }
	if _, err := Inspect(ctx, InspectOptions{FS: fs, Dir: "blob", Fault: none}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
