package bodies

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chainfire/object"
)

// cutWork is clients that write, copy and delete objects while members are cut off and everyone collects.
type cutWork struct {
	t    *testing.T
	w    *world
	seed uint64
	stop chan struct{}
	wg   sync.WaitGroup
	// acked counts the changes that were acknowledged, refused those of a body whose lease was
	// closed, unknown those without an answer.
	acked, refused, unknown atomic.Int64

	mu sync.Mutex
	// over is closed, and made anew, when a cut is over.
	over chan struct{}
	// holds are the bytes of each object whose last change was answered; nil is none.
	holds map[string][]byte
}

// TestWhatIsAcknowledgedOutlivesCutsWhileBytesAreCollected cuts one of three members off again and again,
// so that it goes on with the state that it had, and the leader takes it for absent, while clients of all
// members write, copy and delete and every member collects. Whatever was acknowledged is whole at every
// member then, without the others; and nobody has anything else.
func TestWhatIsAcknowledgedOutlivesCutsWhileBytesAreCollected(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := newWorld(t, 1, 2, 3)
	for id := range uint64(3) {
		must(t, w.member(id+1).Close())
		w.start(id+1, w.member(id+1).fs, 2, func(o *Options) {
			o.LeaseFor, o.Stall, o.AbsentFor = 50*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
			o.RecentEvery, o.RepairEvery = 20*time.Millisecond, 200*time.Millisecond
			o.Blob.SegmentBytes = 16 * unit
		})
	}
	c := &cutWork{t: t, w: w, seed: seed, stop: make(chan struct{}), over: make(chan struct{}), holds: map[string][]byte{}}
	for i := range 6 {
		c.wg.Go(func() { c.work(i) })
	}
	c.wg.Go(func() { c.workSlowly(6) })
	rng := rand.New(rand.NewPCG(seed, 100))
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	for range rounds {
		c.cut(1+rng.Uint64N(3), rng)
	}
	close(c.stop)
	c.wg.Wait()
	if t.Failed() {
		return
	}
	c.settle()
	c.verify()
	t.Logf("%d changes acknowledged, %d refused, %d without an answer", c.acked.Load(), c.refused.Load(), c.unknown.Load())
}

// cut takes a member off until the others have got on.
func (c *cutWork) cut(id uint64, rng *rand.Rand) {
	c.w.cutOff(id, rng.IntN(2) == 0)
	c.w.mu.Lock()
	c.w.leader = id%3 + 1
	c.w.absent[id] = rng.IntN(2) == 0
	c.w.mu.Unlock()
	from, most := c.acked.Load(), int64(rng.IntN(60))
	until(c.t, "the others get on", func() bool { return c.t.Failed() || c.acked.Load() >= from+most })
	c.w.join(id)
	c.w.mu.Lock()
	c.w.absent[id] = false
	c.w.mu.Unlock()
	c.mu.Lock()
	close(c.over)
	c.over = make(chan struct{})
	c.mu.Unlock()
	until(c.t, "all get on", func() bool { return c.t.Failed() || c.acked.Load() >= from+most+5 })
}

// work is one client's, with keys of its own.
func (c *cutWork) work(id int) {
	rng := rand.New(rand.NewPCG(c.seed, uint64(id)))
	now := map[string][]byte{}
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		key := fmt.Sprintf("%d/%d", id, rng.IntN(8))
		m := c.w.member(1 + rng.Uint64N(3))
		next, err := c.change(rng, m, key, now)
		if known := c.answered(key, next, err); known && err == nil {
			now[key] = next
		} else if !known {
			delete(now, key)
		}
		if c.t.Failed() {
			return
		}
	}
}

// workSlowly is one client's that puts objects whose bytes were written before a cut, or at its
// beginning, once it is over.
func (c *cutWork) workSlowly(id int) {
	rng := rand.New(rand.NewPCG(c.seed, uint64(id)))
	for n := 0; !c.t.Failed(); n++ {
		key, m := fmt.Sprintf("%d/%d", id, n), c.w.member(1+rng.Uint64N(3))
		c.mu.Lock()
		over := c.over
		c.mu.Unlock()
		data := random(rng.Uint64(), 3*unit)
		c.answered(key, data, c.writeUntil(m, key, data, over))
		select {
		case <-over:
		case <-c.stop:
			return
		}
	}
}

// writeUntil writes a body and has a key refer to it when something is over.
func (c *cutWork) writeUntil(m *member, key string, data []byte, over <-chan struct{}) error {
	ctx := context.Background()
	b, err := m.NewBody(ctx, -1)
	if err != nil {
		return err
	}
	defer b.Close()
	if _, err := b.Write(data); err != nil {
		return err
	}
	body, err := b.Finish(ctx)
	if err != nil {
		return err
	}
	select {
	case <-over:
	case <-c.stop:
	}
	_, err = m.Change(ctx, &object.Change{Put: &object.Put{Bucket: "bucket", Key: key, Body: body}})
	return err
}

// answered notes how a change of an object ended, and reports whether it is known what that holds.
func (c *cutWork) answered(key string, next []byte, err error) (known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.acked.Add(1)
		c.holds[key] = next
		return true
	case errors.Is(err, errDown), errors.Is(err, object.ErrUnavailable):
		// It may have happened: whoever reads may find either.
		c.unknown.Add(1)
		delete(c.holds, key)
		return false
	case errors.Is(err, object.ErrLeaseGone):
		c.refused.Add(1)
		return true
	}
	c.t.Errorf("change of %s: %v", key, err)
	return false
}

// change makes one change of an object, and returns what it holds then.
func (c *cutWork) change(rng *rand.Rand, m *member, key string, now map[string][]byte) ([]byte, error) {
	ctx := context.Background()
	switch p := rng.IntN(10); {
	case p < 2:
		_, err := m.Change(ctx, &object.Change{Delete: &object.Delete{Bucket: "bucket", Objects: []object.DeleteObject{{Key: key}}}})
		return nil, err
	case p < 4:
		for from, data := range now {
			if data != nil && from != key {
				return data, c.copy(m, from, key)
			}
		}
	case p < 5:
		c.leave(rng, m)
	}
	data := random(rng.Uint64(), object.MaxInline+1+rng.IntN(4*unit))
	_, err := m.write(key, data)
	return data, err
}

// leave begins a body and goes away in the middle.
func (c *cutWork) leave(rng *rand.Rand, m *member) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b, err := m.NewBody(ctx, -1)
	if err != nil {
		return // the member is cut off
	}
	defer b.Close()
	_, _ = b.Write(random(rng.Uint64(), 3*unit)) // nobody is told how it ended
}

// copy has another key refer to the body of an object.
func (c *cutWork) copy(m *member, from, to string) error {
	body, seq, err := c.w.body(from)
	if err != nil || body == nil {
		return errors.Join(fmt.Errorf("%s is not there", from), err)
	}
	_, err = m.Change(context.Background(), &object.Change{Copy: &object.Copy{
		SourceBucket: "bucket", SourceKey: from, SourceSeq: seq, Bucket: "bucket", Key: to,
	}})
	return err
}

// body is that of an object, nil where there is none.
func (w *world) body(key string) (*object.Body, uint64, error) {
	w.mu.Lock()
	v := object.NewView(w.rows.Snapshot(), nil)
	w.mu.Unlock()
	b, err := v.Bucket("bucket")
	if err != nil {
		return nil, 0, err
	}
	ver, err := v.Version(b, key, nil)
	if errors.Is(err, object.ErrNoSuchKey) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	body, err := v.Body(ver.Body)
	return body, ver.Seq, err
}

// settle waits until every member has exactly the extents that the state refers to.
func (c *cutWork) settle() {
	var want []object.ExtentID
	must(c.t, c.w.member(1).view(context.Background(), func(v *object.View) error {
		return v.Bodies(object.BodyID{}, func(b *object.Body) bool {
			for n := range b.Extents {
				want = append(want, object.ExtentID{Body: b.ID, N: uint32(n)})
			}
			return true
		})
	}))
	for _, m := range c.w.members {
		until(c.t, fmt.Sprintf("member %d has the %d extents and nothing else", m.id, len(want)), func() bool {
			have, err := m.store.IDs(object.ExtentID{}, 2*len(want)+1)
			must(c.t, err)
			return slices.Equal(have, want)
		})
	}
}

// verify reads everything from every member alone.
func (c *cutWork) verify() {
	for id := range uint64(3) {
		for _, o := range c.w.members {
			c.w.become(o.id, down)
		}
		for key, data := range c.holds {
			body, _, err := c.w.body(key)
			must(c.t, err)
			if (body == nil) != (data == nil) {
				c.t.Errorf("%s is there: %v; it should be: %v", key, body != nil, data != nil)
				continue
			}
			if body == nil {
				continue
			}
			if err := c.w.member(id+1).holds(body, data); err != nil {
				c.t.Errorf("%s from member %d alone: %v", key, id+1, err)
			}
		}
	}
}
