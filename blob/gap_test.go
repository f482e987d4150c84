package blob

import (
	"context"
	"math/rand/v2"
	"testing"

	"chainfire/internal/disk"
)

// After a kill nothing on disk says that what was synced last ever was. A bit that is flipped there
// costs the extent that it is in, and none of those behind it.
func TestABitFlippedAfterAKillCostsNoExtentButItsOwn(t *testing.T) {
	const extents, size = 5, 3000
	flips := 300
	if testing.Short() {
		flips = 60
	}
	fs := disk.NewFaultFS()
	o := options(fs)
	o.SegmentBytes = 1 << 20
	s := open(t, o)
	for i := range extents {
		must(t, put(s, ext(1, i), size))
	}
	must(t, s.Sync(context.Background()))
	killed := fs.Crash(disk.CrashOptions{Tear: disk.TearKeepAll})
	must(t, s.Close())
	name := segmentsOf(killed)[0]
	st, err := killed.Stat(name)
	must(t, err)
	record := newExtent(ext(1, 0), bytesOf(ext(1, 0), size))
	rng := rand.New(rand.NewPCG(5, 5))
	for i := range flips {
		image := killed.Fork()
		off := segmentHeaderBytes + rng.Int64N(st.Size()-segmentHeaderBytes)
		if i%2 == 0 { // heads are small
			off = segmentHeaderBytes + rng.Int64N(extents)*record.size() + rng.Int64N(record.headSize())
		}
		must(t, image.FlipBit(name, off, uint(rng.IntN(8))))
		hit := int((off - segmentHeaderBytes) / record.size())
		if seen := inspect(t, image, ""); seen.damage() != 0 || len(seen.faults) != 1 || seen.segments[0].Extents != extents-1 {
			t.Errorf("at %d: a look at it tells of %+v, in %+v", off, seen.faults, seen.segments)
		}
		o := options(image)
		o.SegmentBytes = 1 << 20
		s := open(t, o)
		check := func(when string) {
			t.Helper()
			for n := range extents {
				if err := holds(s, ext(1, n), size); (err != nil) != (n == hit) {
					t.Errorf("a bit of extent %d at %d, %s: extent %d: %v", hit, off, when, n, err)
				}
			}
		}
		check("at first")
		must(t, put(s, ext(2, i), size))
		must(t, s.Sync(context.Background()))
		image = image.Crash(disk.CrashOptions{Tear: disk.TearKeepAll})
		must(t, s.Close())
		if seen := inspect(t, image, ""); len(seen.faults) != 0 {
			t.Errorf("at %d: after the next kill a look at it tells of %+v", off, seen.faults)
		}
		o.FS = image
		s = open(t, o)
		check("after the next kill")
		if err := holds(s, ext(2, i), size); err != nil {
			t.Errorf("at %d: what was put then: %v", off, err)
		}
		done, err := s.Scrub(context.Background(), nil, nil)
		if u := s.Usage(); err != nil || done.Corrupt != 0 || u.Damaged != 0 || u.Extents != extents {
			t.Errorf("at %d: a scrub found %+v in %+v, %v", off, done, u, err)
		}
		must(t, s.Close())
	}
}
