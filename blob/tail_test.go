package blob

import (
	"context"
	"errors"
	"testing"

	"chainfire"
	"chainfire/internal/disk"
)

const tailSegment = "blob/SEG-00000001"

// unclosed makes a store with synced extents, and returns what a kill of its process leaves.
func unclosed(t *testing.T, n, size int) (*disk.FaultFS, int64) {
	t.Helper()
	fs := disk.NewFaultFS()
	s := open(t, options(fs))
	for i := range n {
		must(t, put(s, ext(1, i), size))
	}
	must(t, s.Sync(context.Background()))
	end := s.active.synced
	image := fs.Fork()
	must(t, s.Close())
	return image, end
}

// Whatever byte rots of what was synced before a process was killed, only the extent that it is in is lost,
// and it is damage.
func TestAByteThatRotsAfterAKillLosesOnlyItsExtent(t *testing.T) {
	const extents, size, recordBytes = 3, 3000, recordHeaderBytes + 4 + 3000
	image, end := unclosed(t, extents, size)
	step := int64(7)
	if testing.Short() {
		step = 97
	}
	for off := int64(0); off < end; off += step {
		if off > segmentHeaderBytes && (off-segmentHeaderBytes)%recordBytes < recordHeaderBytes+4 {
			off -= step - 1 // every byte of the heads
		}
		fs := image.Fork()
		must(t, fs.FlipBit(tailSegment, off, uint(off%8)))
		seen := inspect(t, fs, "")
		s := open(t, options(fs))
		told := s.Usage().Damaged
		for i := range extents {
			from := int64(segmentHeaderBytes + i*recordBytes)
			err := holds(s, ext(1, i), size)
			if hit := from <= off && off < from+recordBytes; hit != (err != nil) {
				t.Errorf("byte %d: extent %d: %v", off, i, err)
			} else if hit && !errors.Is(err, ErrNotFound) && !errors.Is(err, chainfire.ErrCorrupt) {
				t.Errorf("byte %d: extent %d: %v", off, i, err)
			}
		}
		if seen.damage() != 1 || off >= segmentHeaderBytes && told+s.Usage().Damaged == 0 {
			t.Errorf("byte %d: told %d at the start; a look at it tells of %+v", off, told, seen.faults)
		}
		must(t, put(s, ext(2, 0), size))
		must(t, s.Close())
		s = open(t, options(fs))
		must(t, holds(s, ext(2, 0), size))
		must(t, s.Close())
	}
}

// What was never known to be on disk and is not whole is left out for good, and no damage; what is whole
// behind it is kept, however often the store is opened, and with no index.
func TestWhatIsWholeBehindATornWriteIsKept(t *testing.T) {
	const size, recordBytes = 3000, recordHeaderBytes + 4 + 3000
	fs := disk.NewFaultFS()
	s := open(t, options(fs))
	for i := range 4 {
		must(t, put(s, ext(1, i), size))
	}
	image := fs.Fork() // nothing was synced
	must(t, s.Close())
	for _, in := range []int64{3, 25, 30, recordHeaderBytes + 1, 1000} {
		fs := image.Fork()
		for _, i := range []int64{1, 2} {
			must(t, fs.FlipBit(tailSegment, segmentHeaderBytes+i*recordBytes+in, 2))
		}
		l := inspect(t, fs, "")
		if len(l.faults) != 1 || l.faults[0].Kind != FaultTorn || l.faults[0].Offset != segmentHeaderBytes+recordBytes ||
			l.faults[0].Bytes != 2*recordBytes || l.segments[0].Extents != 2 {
			t.Errorf("byte %d: %+v, %+v", in, l.segments, l.faults)
		}
		for range 2 {
			s := open(t, options(fs))
			for i, there := range []bool{true, false, false, true} {
				if err := holds(s, ext(1, i), size); (err == nil) != there || !there && !errors.Is(err, ErrNotFound) {
					t.Errorf("byte %d: extent %d: %v", in, i, err)
				}
			}
			done, err := s.Scrub(context.Background(), NewLimiter(1<<30), nil)
			if err != nil || done.Corrupt != 0 || s.Usage().Damaged != 0 || s.Usage().Extents != 2 {
				t.Errorf("byte %d: %+v, %v, %+v", in, done, err, s.Usage())
			}
			must(t, s.Close())
			if l := inspect(t, fs, ""); len(l.faults) != 0 {
				t.Errorf("byte %d: a look at it afterwards: %+v", in, l.faults)
			}
			must(t, fs.RemoveAll("blob/index"))
		}
	}
}

// The mark that follows a sync makes nobody wait, and is on disk once the store is closed.
func TestASyncWithNothingNewTouchesNoDisk(t *testing.T) {
	fs := disk.NewFaultFS()
	s := open(t, options(fs))
	must(t, put(s, ext(1, 0), 100))
	must(t, s.Sync(context.Background()))
	fs.Observe(func(e disk.Event) {
		if e.Path == tailSegment {
			t.Errorf("%v", e)
		}
	})
	must(t, s.Sync(context.Background()))
	fs.Observe(nil)
	must(t, s.Close())
	image := fs.Crash(disk.CrashOptions{})
	if l := inspect(t, image, ""); len(l.faults) != 0 || !l.segments[0].Closed {
		t.Errorf("%+v, %+v", l.segments, l.faults)
	}
}
