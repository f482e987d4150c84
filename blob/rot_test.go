package blob

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/object"
)

// filled makes a store of several segments in which all extents are there, and closes it.
func filled(t *testing.T, n, size int) *disk.FaultFS {
	t.Helper()
	fs := disk.NewFaultFS()
	s := open(t, options(fs))
	for i := range n {
		must(t, put(s, ext(1, i), size))
		if i%3 == 0 {
			must(t, s.Sync(context.Background()))
		}
	}
	must(t, s.Close())
	return fs
}

func segmentsOf(fs *disk.FaultFS) []string {
	var names []string
	for _, name := range fs.Files() {
		if _, ok := segmentID(strings.TrimPrefix(name, "blob/")); ok {
			names = append(names, name)
		}
	}
	return names
}

// A bit flipped anywhere in a segment is found by a scrub, and by whoever reads the extent that it
// is in; wrong bytes are never served, and everything else still is.
func TestABitFlippedAnywhereIsFoundAndNeverServed(t *testing.T) {
	const extents, size = 12, 3000
	flips := 300
	if testing.Short() {
		flips = 40
	}
	image := filled(t, extents, size)
	rng := rand.New(rand.NewPCG(3, 3))
	names := segmentsOf(image)
	if len(names) < 3 {
		t.Fatalf("only %d segments", len(names))
	}
	for i := range flips {
		fs := image.Fork()
		name := names[rng.IntN(len(names))]
		st, err := fs.Stat(name)
		must(t, err)
		off := rng.Int64N(st.Size())
		if i%4 == 0 {
			off = rng.Int64N(2 * segmentHeaderBytes) // the headers are small, and matter most
		}
		must(t, fs.FlipBit(name, off, uint(rng.IntN(8))))
		if seen := inspect(t, fs, ""); seen.damage() != 1 || !seen.faults[0].covers(name, off) {
			t.Errorf("%s at %d: a look at it tells of %+v", name, off, seen.faults)
		}
		lost := map[object.ExtentID]bool{}
		o := options(fs)
		o.Corrupt = func(id object.ExtentID, err *CorruptError) {
			if lost[id] || err.File != name {
				t.Errorf("%s at %d: told that %v is lost, again or of another file: %v", name, off, id, err)
			}
			lost[id] = true
		}
		s := open(t, o)
		told := s.Usage().Damaged // by recovery, if it looked at it
		readFirst := i%2 == 0
		bad := 0
		if readFirst {
			bad = readAll(t, s, extents, size)
		}
		done, err := s.Scrub(context.Background(), nil, func(err *CorruptError) {
			if err.File != name || err.Offset > off || !errors.Is(err, chainfire.ErrCorrupt) {
				t.Errorf("%s at %d: reported as %v", name, off, err)
			}
		})
		must(t, err)
		if done.Corrupt+told == 0 {
			t.Errorf("%s at %d: not found by a scrub", name, off)
		}
		gone := readAll(t, s, extents, size)
		if gone != len(lost) || gone > 1 || readFirst && bad != gone {
			t.Errorf("%s at %d: %d extents are gone, %d were told; %d at first", name, off, gone, len(lost), bad)
		}
		must(t, s.Close())
	}
}

// readAll reads all extents and counts those that are not served.
func readAll(t *testing.T, s *Store, n, size int) int {
	t.Helper()
	gone := 0
	for i := range n {
		err := holds(s, ext(1, i), size)
		switch {
		case err == nil:
		case errors.Is(err, ErrNotFound) || errors.Is(err, chainfire.ErrCorrupt):
			gone++
		default:
			t.Errorf("extent %d: %v", i, err)
		}
	}
	return gone
}

// The same without the index: what a scan finds damaged is kept, and the rest is there.
func TestAScanPassesDamageAndFindsTheRest(t *testing.T) {
	const extents, size = 12, 3000
	flips := 100
	if testing.Short() {
		flips = 30
	}
	image := filled(t, extents, size)
	rng := rand.New(rand.NewPCG(4, 4))
	names := segmentsOf(image)
	for range flips {
		fs := image.Fork()
		must(t, fs.RemoveAll("blob/index"))
		name := names[rng.IntN(len(names))]
		st, err := fs.Stat(name)
		must(t, err)
		off := rng.Int64N(st.Size())
		must(t, fs.FlipBit(name, off, uint(rng.IntN(8))))
		seen := inspect(t, fs, "")
		s := open(t, options(fs))
		told := s.Usage().Damaged
		if gone := readAll(t, s, extents, size); gone > 1 {
			t.Errorf("%s at %d: %d extents are gone", name, off, gone)
		}
		done, err := s.Scrub(context.Background(), nil, nil)
		must(t, err)
		if (done.Corrupt+told > 0) != (seen.damage() > 0) {
			t.Errorf("%s at %d: recovery finds %d and a scrub %d, a look without the store %+v", name, off, told, done.Corrupt, seen.faults)
		}
		for i := range extents {
			must(t, put(s, ext(1, i), size)) // as a repair does
		}
		must(t, s.Sync(context.Background()))
		must(t, s.Settle(context.Background()))
		if gone := readAll(t, s, extents, size); gone != 0 {
			t.Errorf("%s at %d: %d extents are gone after they were put again", name, off, gone)
		}
		if u := s.Usage(); u.Damaged != 0 || u.Extents != extents {
			t.Errorf("%s at %d: %+v after the repair", name, off, u)
		}
		must(t, s.Close())
	}
}

func TestASegmentWithDamageStaysUntilItIsHealed(t *testing.T) {
	const extents, size = 12, 3000
	fs := filled(t, extents, size)
	must(t, fs.FlipBit("blob/SEG-00000001", segmentHeaderBytes+maxHeadBytes+500, 1))
	s := open(t, options(fs))
	defer s.Close()
	ctx := context.Background()
	if err := holds(s, ext(1, 0), size); !errors.Is(err, chainfire.ErrCorrupt) {
		t.Fatalf("the damaged extent: %v", err)
	}
	if err := holds(s, ext(1, 0), size); !errors.Is(err, ErrNotFound) {
		t.Fatalf("the damaged extent, again: %v", err)
	}
	bad, err := damages(s)
	must(t, err)
	if len(bad) != 1 || bad[0].extent != ext(1, 0) || !bad[0].known || bad[0].at.segment != 1 {
		t.Errorf("damage: %+v", bad)
	}
	// What else is in its segment is deleted, so that only damage keeps it.
	must(t, s.Delete(ctx, ext(1, 1), ext(1, 2), ext(1, 3), ext(1, 4)))
	if done, err := s.Compact(ctx, nil); err != nil || done.Segments != 0 {
		t.Fatalf("compacted %+v, %v", done, err)
	}
	must(t, put(s, ext(1, 0), size))
	must(t, s.Sync(ctx))
	if done, err := s.Compact(ctx, nil); err != nil || done.Segments != 1 {
		t.Fatalf("compacted %+v, %v", done, err)
	}
	if _, err := fs.Stat("blob/SEG-00000001"); err == nil {
		t.Error("the segment is still there")
	}
	must(t, holds(s, ext(1, 0), size))
}

// A file that lost its end, as some file systems leave it, is damage and no end.
func TestASegmentThatLostItsEndIsDamage(t *testing.T) {
	const extents, size = 12, 3000
	for _, withIndex := range []bool{true, false} {
		fs := filled(t, extents, size)
		if !withIndex {
			must(t, fs.RemoveAll("blob/index"))
		}
		cutFile(t, fs, "blob/SEG-00000001", segmentHeaderBytes+2*(size+recordHeaderBytes+4)+100)
		s := open(t, options(fs))
		done, err := s.Scrub(context.Background(), nil, nil)
		must(t, err)
		if done.Corrupt+s.Usage().Damaged == 0 {
			t.Errorf("index %v: nothing was found", withIndex)
		}
		if gone := readAll(t, s, extents, size); gone != 3 {
			t.Errorf("index %v: %d extents are gone, want 3", withIndex, gone)
		}
		must(t, s.Close())
	}
}

// cutFile leaves only the first n bytes of a file.
func cutFile(t *testing.T, fs *disk.FaultFS, name string, n int) {
	t.Helper()
	b, err := disk.ReadFile(fs, name, 1<<20)
	must(t, err)
	must(t, disk.WriteFileAtomic(fs, name, b[:n]))
}

func TestALostSegmentIsNoticed(t *testing.T) {
	const extents, size = 12, 3000
	fs := filled(t, extents, size)
	must(t, fs.Remove("blob/SEG-00000002"))
	s := open(t, options(fs))
	defer s.Close()
	for i := range extents {
		has, err := s.Has(ext(1, i))
		must(t, err)
		if err := holds(s, ext(1, i), size); has != (err == nil) {
			t.Errorf("extent %d: has %v, get %v", i, has, err)
		}
	}
	if u := s.Usage(); u.Extents == 0 || u.Extents == extents {
		t.Errorf("%+v", u)
	}
}

// A damaged index is made anew from the segments, whatever of it is damaged.
func TestADamagedIndexIsMadeAnew(t *testing.T) {
	const extents, size = 12, 3000
	image := filled(t, extents, size)
	// More than one generation of files in it.
	s := open(t, options(image))
	must(t, put(s, ext(1, extents), size))
	must(t, s.Close())
	var names []string
	for _, name := range image.Files() {
		if strings.HasPrefix(name, "blob/index/") && !strings.HasSuffix(name, "LOCK") {
			names = append(names, name)
		}
	}
	rng := rand.New(rand.NewPCG(5, 5))
	flips := 100
	if testing.Short() {
		flips = 40
	}
	var remade atomic.Int64
	for i := range flips {
		fs := image.Fork()
		name := names[i%len(names)]
		st, err := fs.Stat(name)
		must(t, err)
		if st.Size() == 0 {
			must(t, fs.Remove(name))
		} else {
			must(t, fs.FlipBit(name, rng.Int64N(st.Size()), uint(rng.IntN(8))))
		}
		surviveIndex(t, fs, name, extents+1, size, &remade)
	}
	if n := remade.Load(); n < int64(flips)/5 {
		t.Errorf("of %d flips %d had the index made anew", flips, n)
	}
}

// remadeLog counts how often an index was made anew.
type remadeLog struct {
	slog.Handler
	n *atomic.Int64
}

// Handle implements slog.Handler.
func (l remadeLog) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "made anew") {
		l.n.Add(1)
	}
	return nil
}

// Enabled implements slog.Handler.
func (l remadeLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// surviveIndex opens a store with a damaged index until it serves everything: at most twice, since
// damage may be found only when it is read.
func surviveIndex(t *testing.T, fs *disk.FaultFS, name string, extents, size int, remade *atomic.Int64) {
	t.Helper()
	for range 3 {
		o := options(fs)
		o.Logger = slog.New(remadeLog{slog.DiscardHandler, remade})
		s := open(t, o)
		missing := 0
		var failed error
		for i := range extents {
			if err := holds(s, ext(1, i), size); errors.Is(err, ErrNotFound) {
				missing++
			} else if err != nil {
				failed = err
			}
		}
		if err := s.failure(); err == nil && (missing > 0 || failed != nil) {
			t.Fatalf("%s: %d extents are missing, and %v", name, missing, failed)
		} else if err == nil {
			must(t, s.Close())
			return
		}
		s.Close()
	}
	t.Fatalf("%s: the store never came back", name)
}

// damages are all that a store knows of.
func damages(s *Store) (found []damage, err error) {
	err = s.eachDamage(func(d damage) bool {
		found = append(found, d)
		return true
	})
	return found, err
}
