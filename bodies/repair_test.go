package bodies

import (
	"context"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"chainfire/object"
)

// lose takes an extent from all members of the world.
func (w *world) lose(id object.ExtentID) {
	for _, m := range w.members {
		must(w.t, m.store.Delete(context.Background(), id))
	}
}

func (m *member) called(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[name]
}

func TestAnExtentThatNobodyHasIsAskedForAgainByItself(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	data := random(4, 3*unit)
	body, err := w.member(1).write("key", data)
	must(t, err)
	until(t, "all have it", func() bool {
		return w.member(1).has(&body)+w.member(2).has(&body)+w.member(3).has(&body) == 9
	})
	lost := object.ExtentID{Body: body.ID, N: 1}
	m := w.member(3)
	until(t, "what there was at the start is looked through", func() bool { return m.Counts().Passes > 0 })
	before := m.Counts().Passes
	w.lose(lost)
	m.Kick()
	until(t, "it is known to be missing", func() bool { return m.Counts().Missing == 1 && m.Counts().Passes > before })
	passes, asked := m.Counts().Passes, w.member(1).called("get")
	until(t, "it is asked for again and again", func() bool { return w.member(1).called("get") > asked+20 })
	must(t, w.member(1).store.Put(context.Background(), lost, data[unit:2*unit], body.Extents[1].CRC))
	must(t, w.member(1).store.Sync(context.Background()))
	until(t, "it is there, and counts as missing no more", func() bool { return m.has(&body) == 3 && m.Counts().Missing == 0 })
	if n := m.Counts().Passes; n != passes {
		t.Errorf("all bodies were looked through %d times for it", n-passes)
	}
}

func TestWhatIsMissingDoesNotPutOffTheLookThroughAllBodies(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	body, err := w.member(1).write("key", random(4, 3*unit))
	must(t, err)
	until(t, "all have it", func() bool {
		return w.member(1).has(&body)+w.member(2).has(&body)+w.member(3).has(&body) == 9
	})
	w.lose(object.ExtentID{Body: body.ID, N: 1})
	must(t, w.member(3).Close())
	m := w.start(3, w.member(3).fs, 2, func(o *Options) {
		o.RecentEvery, o.RetryEvery, o.RepairEvery = 5*time.Millisecond, 40*time.Millisecond, 40*time.Millisecond
	})
	until(t, "they are looked through time and again", func() bool { return m.Counts().Passes > 3 })
}

func TestTooManyMissingExtentsAreLookedForLessAndLess(t *testing.T) {
	o := &Options{RetryEvery: 30 * time.Second, RepairEvery: time.Hour}
	r := &repairs{missing: map[object.ExtentID]bool{}}
	for n := range uint32(maxRepairs + 2) {
		r.miss(object.ExtentID{N: n})
	}
	r.miss(object.ExtentID{})
	if len(r.missing) != maxRepairs || r.more != 2 {
		t.Fatalf("%d are remembered, and %d more", len(r.missing), r.more)
	}
	for n, c := range []struct {
		fetched int64
		err     error
		want    time.Duration
	}{
		{want: 30 * time.Second},
		{want: time.Minute},
		{want: 2 * time.Minute},
		{err: errDown, want: 30 * time.Second},
		{want: 4 * time.Minute},
		{fetched: 1, want: 30 * time.Second},
	} {
		if got := r.next(o, c.fetched, c.err); got != c.want {
			t.Errorf("look %d: the next one is in %v, want %v", n, got, c.want)
		}
	}
	for range 20 {
		if got := r.next(o, 0, nil); got > o.RepairEvery {
			t.Fatalf("the next one is in %v", got)
		}
	}
	if r.more = 0; r.next(o, 0, nil) != o.RepairEvery {
		t.Error("all that is missing is remembered, and all bodies are looked through early")
	}
}

func TestRepairCompactionAndScrubsHaveARateEach(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	must(t, w.member(3).Close())
	m := w.start(3, w.member(3).fs, 2, func(o *Options) { o.BytesPerSecond = 1 })
	for _, l := range []*rate.Limiter{m.limits.compact, m.limits.scrub} {
		if !l.AllowN(time.Now(), l.Burst()) {
			t.Fatal("nothing was done yet, and there is a wait")
		}
	}
	w.become(3, down)
	body, err := w.member(1).write("key", random(4, 2*unit))
	must(t, err)
	w.become(3, healthy)
	m.Kick()
	until(t, "it is repaired while the others wait", func() bool { return m.has(&body) == 2 })
}

func TestPurgeKeepsWhatTheStateHasAndLooksAtItOnceAPage(t *testing.T) {
	w := newWorld(t, 1)
	m := w.member(1)
	ctx := context.Background()
	data := random(4, 3*unit)
	body, err := m.write("key", data)
	must(t, err)
	put := func(id object.ExtentID, data []byte) {
		t.Helper()
		must(t, m.store.Put(ctx, id, data, crcOf(data)))
		must(t, m.store.Sync(ctx))
	}
	other := object.ExtentID{Body: body.ID, N: 1}
	must(t, m.store.Delete(ctx, other))
	put(other, random(5, unit))
	put(object.ExtentID{Body: body.ID, N: 3}, data[:10])
	const strange = 200
	for n := range uint32(strange) {
		put(object.ExtentID{Body: object.BodyID{Lease: body.ID.Lease, N: 1000 + n}}, data[:10])
	}
	views := m.called("view")
	must(t, m.Purge(ctx))
	if n := m.called("view") - views; n > strange/2 {
		t.Errorf("the state was looked at %d times", n)
	}
	if n := m.Counts().Extents; n != 2 || m.has(&body) != 2 {
		t.Errorf("%d extents are left, %d of them of the body", n, m.has(&body))
	}
}
