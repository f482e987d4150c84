package blob

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"chainfire/internal/disk"
	"chainfire/object"
)

// crasher runs random work on a store, and looks at what is left of it after a crash at
// operations on its disk.
type crasher struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand
	fs   *disk.FaultFS
	s    *Store
	// sizes are those of all extents ever put; durable are the ones that a sync has
	// acknowledged and nobody began to delete.
	sizes   map[object.ExtentID]int
	durable map[object.ExtentID]bool
	recent  []object.ExtentID
	// one in so many operations is looked at.
	every  int
	images int
}

func (c *crasher) look(e disk.Event) {
	// What the index does is on goroutines of its own, and not the same each time.
	if e.Op == disk.OpRead || strings.Contains(e.Path, indexName) || c.t.Failed() || c.rng.IntN(c.every) != 0 {
		return
	}
	for _, o := range []disk.CrashOptions{
		{},
		{Names: disk.NamesAll, Tear: disk.TearKeepAll},
		{Names: disk.Names(c.rng.IntN(3)), Tear: disk.Tear(c.rng.IntN(5))},
	} {
		o.Seed = c.rng.Uint64()
		image := c.fs.Crash(o)
		c.check(image, fmt.Sprintf("seed %d, %v of %s, %+v", c.seed, e.Op, e.Path, o))
	}
	c.check(c.fs.Fork(), fmt.Sprintf("seed %d, killed at %v of %s", c.seed, e.Op, e.Path))
}

// check opens an image and finds every acknowledged extent in it; then puts more, crashes again, and
// finds all of it again.
func (c *crasher) check(image *disk.FaultFS, how string) {
	c.images++
	found := c.whole(image, how, nil)
	if c.images%4 != 0 || c.t.Failed() {
		return
	}
	s, err := Open(options(image))
	if err != nil {
		c.t.Errorf("%s: open: %v", how, err)
		return
	}
	more := ext(1<<20, c.images)
	must(c.t, put(s, more, 3000))
	must(c.t, s.Sync(context.Background()))
	c.sizes[more] = 3000
	found[more] = true
	again := image.Crash(disk.CrashOptions{})
	must(c.t, s.Close())
	c.whole(again, how+", and again", found)
	delete(c.sizes, more)
}

// whole opens an image, in which every extent is whole or absent, those acknowledged are there, and
// also those given; and returns what is there.
func (c *crasher) whole(image *disk.FaultFS, how string, also map[object.ExtentID]bool) map[object.ExtentID]bool {
	for _, f := range inspect(c.t, image, "").faults {
		if f.Kind != FaultTorn {
			c.t.Errorf("%s: a look at it tells of damage: %+v", how, f)
		}
	}
	s, err := Open(options(image))
	if err != nil {
		c.t.Errorf("%s: open: %v", how, err)
		return nil
	}
	found := map[object.ExtentID]bool{}
	for id, size := range c.sizes {
		err := holds(s, id, size)
		switch {
		case err == nil:
			found[id] = true
		case !errors.Is(err, ErrNotFound):
			c.t.Errorf("%s: extent %v: %v", how, id, err)
		case c.durable[id] || also[id]:
			c.t.Errorf("%s: extent %v was acknowledged and is gone", how, id)
		}
	}
	if u := s.Usage(); u.Damaged != 0 || u.Extents != int64(len(found)) {
		bad, err := damages(s)
		c.t.Errorf("%s: %+v, found %d extents; damage: %+v, %v", how, u, len(found), bad, err)
	}
	if done, err := s.Scrub(context.Background(), nil, nil); err != nil || done.Corrupt != 0 {
		c.t.Errorf("%s: scrub: %+v, %v", how, done, err)
	}
	must(c.t, s.Close())
	return found
}

func (c *crasher) step(n int) {
	ctx := context.Background()
	switch k := c.rng.IntN(20); {
	case k < 11:
		id, size := ext(uint64(1+n%7), n), 1+c.rng.IntN(4000)
		c.sizes[id] = size
		must(c.t, put(c.s, id, size))
		c.recent = append(c.recent, id)
	case k < 15:
		must(c.t, c.s.Sync(ctx))
		for _, id := range c.recent {
			c.durable[id] = true
		}
		c.recent = nil
	case k < 18:
		// The map's order is no matter: which are deleted is drawn from the seed.
		var gone []object.ExtentID
		for i := range n {
			id := ext(uint64(1+i%7), i)
			if c.durable[id] && c.rng.IntN(3) == 0 {
				gone = append(gone, id)
				delete(c.durable, id)
			}
		}
		must(c.t, c.s.Delete(ctx, gone...))
	case k == 18:
		_, err := c.s.Compact(ctx, nil)
		must(c.t, err)
	default:
		must(c.t, c.s.Close())
		c.s = open(c.t, options(c.fs))
	}
}

func TestAcknowledgedExtentsSurviveACrashAtAnyPoint(t *testing.T) {
	seeds, steps, every := uint64(3), 60, 6
	if testing.Short() {
		seeds, steps, every = 1, 50, 15
	}
	for seed := range seeds {
		c := &crasher{
			t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), fs: disk.NewFaultFS(),
			sizes: map[object.ExtentID]int{}, durable: map[object.ExtentID]bool{}, every: every,
		}
		c.s = open(t, options(c.fs))
		c.fs.Observe(c.look)
		c.run(steps)
		c.fs.Observe(nil)
		must(t, c.s.Close())
		t.Logf("seed %d: %d images, %d extents", seed, c.images, len(c.sizes))
	}
}

// run does the steps, until a crash has lost something.
func (c *crasher) run(steps int) {
	for n := 0; n < steps && !c.t.Failed(); n++ {
		c.step(n)
	}
}
