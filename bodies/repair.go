package bodies

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"chainfire/blob"
	"chainfire/object"
)

// Bounds of repair: how many extents are remembered one by one, beyond which all bodies are looked
// through, and how many extents one look at the state takes.
const (
	maxRepairs   = 4096
	extentsAPage = 4096
)

// repairs are what is to be repaired.
type repairs struct {
	mu sync.Mutex
	// ids are extents that are missing here, all says that all bodies are to be looked
	// through.
	ids map[object.ExtentID]bool
	all bool
	// wake has repair look.
	wake chan struct{}

	// What follows is the goroutine of repair's own. recent is the first lease of which bodies
	// may be new since the last pass.
	recent uint64
	// missing are extents that nobody could give, at most maxRepairs; more is how many there are
	// beyond these.
	missing map[object.ExtentID]bool
	more    int
	// wait is how long it is from a pass with more to the next.
	wait time.Duration
}

func (r *repairs) init() {
	r.ids, r.missing, r.wake = map[object.ExtentID]bool{}, map[object.ExtentID]bool{}, make(chan struct{}, 1)
	r.kick() // what happened before the start is not known
}

func (r *repairs) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *repairs) add(id object.ExtentID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ids) < maxRepairs {
		r.ids[id] = true
	} else {
		r.all = true
	}
	r.rouse()
}

func (r *repairs) kick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = true
	r.rouse()
}

// take returns what there is to do, and forgets it.
func (r *repairs) take() (ids []object.ExtentID, all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.ids {
		ids = append(ids, id)
	}
	all = r.all
	clear(r.ids)
	r.all = false
	return ids, all
}

// miss notes that nobody could give an extent.
func (r *repairs) miss(id object.ExtentID) {
	switch {
	case r.missing[id]:
	case len(r.missing) < maxRepairs:
		r.missing[id] = true
	default:
		r.more++
	}
}

// next is how long it is to the next look through all bodies, after one that ended with an error and
// fetched so many extents.
func (r *repairs) next(o *Options, fetched int64, err error) time.Duration {
	switch {
	case err != nil:
		return o.RetryEvery
	case r.more == 0:
		r.wait = 0
		return o.RepairEvery
	case fetched > 0:
		r.wait = 0
	}
	// Too many are missing to remember each. While nobody gives any, it is tried less and less.
	r.wait = min(max(2*r.wait, o.RetryEvery), o.RepairEvery)
	return r.wait
}

// repair brings to this member what it should have, until Close. What nobody could give is tried again
// by itself: it neither takes another look through all bodies nor puts the next one off.
func (b *Bodies) repair() {
	full := time.NewTimer(b.opts.RepairEvery)
	defer full.Stop()
	recent, retry := time.NewTicker(b.opts.RecentEvery), time.NewTicker(b.opts.RetryEvery)
	defer recent.Stop()
	defer retry.Stop()
	for {
		select {
		case <-b.repairs.wake:
			ids, all := b.repairs.take()
			switch {
			case all:
				before := b.counts.repaired.Load()
				err := b.pass(b.ctx)
				b.told("repair of all object bodies", err)
				full.Reset(b.repairs.next(&b.opts, b.counts.repaired.Load()-before, err))
			case len(ids) > 0:
				b.told("repair of object bodies", b.mend(b.ctx, ids))
			}
		case <-full.C:
			b.repairs.kick()
		case <-recent.C:
			b.told("repair of recent object bodies", b.passFrom(b.ctx, b.repairs.recent))
		case <-retry.C:
			b.told("repair of missing object bodies", b.retry(b.ctx))
		case <-b.ctx.Done():
			return
		}
	}
}

// retry tries again to get what nobody could give.
func (b *Bodies) retry(ctx context.Context) error {
	r := &b.repairs
	if len(r.missing) == 0 {
		return nil
	}
	before := b.counts.repaired.Load()
	err := b.mend(ctx, slices.Collect(maps.Keys(r.missing)))
	switch {
	case r.more > 0 && b.counts.repaired.Load() > before:
		r.kick() // who gave some may give those that are not remembered
	case len(r.missing) == 0 && b.store.Usage().Damaged > 0:
		r.kick() // only a look through all bodies can say that nothing is missed of it
	}
	return err
}

// mend repairs single extents.
func (b *Bodies) mend(ctx context.Context, ids []object.ExtentID) error {
	defer b.tally(b.repairs.more)
	b.repairs.more = 0
	slices.SortFunc(ids, compareIDs)
	for len(ids) > 0 {
		n := 1
		for n < len(ids) && ids[n].Body == ids[0].Body {
			n++
		}
		if err := b.mendOf(ctx, ids[:n]); err != nil {
			for _, id := range ids {
				b.repairs.miss(id) // so that it is not forgotten
			}
			return err
		}
		ids = ids[n:]
	}
	return b.store.Sync(ctx)
}

// mendOf repairs single extents of one body.
func (b *Bodies) mendOf(ctx context.Context, ids []object.ExtentID) error {
	var body *object.Body
	var found bool
	err := b.view(ctx, func(v *object.View) (err error) {
		body, found, err = v.FindBody(ids[0].Body)
		return err
	})
	if err != nil {
		return err
	}
	var want []uint32
	for _, id := range ids {
		delete(b.repairs.missing, id)
		want = append(want, id.N)
	}
	if !found {
		return nil // it was let go, or is not referred to yet
	}
	return b.mendBody(ctx, body, want)
}

// tally counts what is missing. Of extents beyond those remembered, the same may be met again and
// again: there are as many as were met at once, which before is of earlier.
func (b *Bodies) tally(before int) {
	r := &b.repairs
	r.more = max(r.more, before)
	b.counts.missing.Store(int64(len(r.missing) + r.more))
}

func compareIDs(x, y object.ExtentID) int {
	if c := compareBodies(x.Body, y.Body); c != 0 {
		return c
	}
	return int(int64(x.N) - int64(y.N))
}

func compareBodies(x, y object.BodyID) int {
	switch {
	case x.Lease < y.Lease || x.Lease == y.Lease && x.N < y.N:
		return -1
	case x == y:
		return 0
	}
	return 1
}

func (b *Bodies) view(ctx context.Context, f func(*object.View) error) error {
	return view(ctx, b.opts.State, f)
}

// pass looks through all bodies, and fetches what this member should have and has not.
func (b *Bodies) pass(ctx context.Context) error {
	r := &b.repairs
	began, before := time.Now(), b.counts.repaired.Load()
	known, more := r.missing, r.more
	r.missing, r.more = map[object.ExtentID]bool{}, 0
	if err := b.passFrom(ctx, 0); err != nil {
		for id := range known {
			r.miss(id) // it may not have been come to
		}
		b.tally(more)
		return err
	}
	b.counts.passes.Add(1)
	missing := len(r.missing) + r.more
	if n := b.counts.repaired.Load() - before; n > 0 || missing > 0 {
		b.log.Info("looked through all object bodies", "fetched", n, "missing", missing, "took", time.Since(began))
	}
	if missing > 0 {
		return nil
	}
	return b.store.Settle(ctx)
}

// passFrom looks through the bodies of leases from one on, and notes from which on the next ones are
// new. It runs on the goroutine of repair.
func (b *Bodies) passFrom(ctx context.Context, lease uint64) error {
	defer b.tally(b.repairs.more)
	b.repairs.more = 0
	recent, err := b.lowestLease(ctx)
	if err != nil {
		return err
	}
	after := object.BodyID{}
	if lease > 0 {
		after = object.BodyID{Lease: lease - 1, N: 1<<32 - 1}
	}
	for {
		page, err := b.page(ctx, after)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			b.repairs.recent = recent
			return nil
		}
		for _, body := range page {
			if err := b.mendBody(ctx, body, nil); err != nil {
				return err
			}
		}
		if err := b.store.Sync(ctx); err != nil {
			return err
		}
		after = page[len(page)-1].ID
	}
}

// lowestLease is the first lease under which the state may yet get bodies.
func (b *Bodies) lowestLease(ctx context.Context) (lowest uint64, err error) {
	lowest = b.opts.State.Applied() + 1
	err = b.view(ctx, func(v *object.View) error {
		open, err := v.Leases()
		for _, l := range open {
			lowest = min(lowest, l.ID)
		}
		return err
	})
	return lowest, err
}

// page reads some bodies after one.
func (b *Bodies) page(ctx context.Context, after object.BodyID) (page []*object.Body, err error) {
	extents := 0
	err = b.view(ctx, func(v *object.View) error {
		return v.Bodies(after, func(body *object.Body) bool {
			page = append(page, body)
			extents += len(body.Extents)
			return extents < extentsAPage
		})
	})
	return page, err
}

// mendBody fetches the extents of a body that this member should have and has not: those given, or
// any.
func (b *Bodies) mendBody(ctx context.Context, body *object.Body, only []uint32) error {
	for n := range body.Extents {
		if err := ctx.Err(); err != nil {
			return err
		}
		id := object.ExtentID{Body: body.ID, N: uint32(n)}
		if only != nil && !slices.Contains(only, id.N) || !slices.Contains(b.opts.State.Place(id), b.opts.Member) || body.Extents[n].External() {
			continue
		}
		has, err := b.store.Has(id)
		if err != nil {
			return err
		}
		if has {
			continue
		}
		switch err := b.bring(ctx, id, &body.Extents[n]); {
		case errors.Is(err, object.ErrUnavailable):
			b.repairs.miss(id)
			b.log.Debug("an extent is missing", "err", err)
		case err != nil:
			return err
		}
	}
	return nil
}

// bring fetches an extent from another member and puts it.
func (b *Bodies) bring(ctx context.Context, id object.ExtentID, e *object.Extent) error {
	if err := b.limits.repair.WaitN(ctx, int(e.Size)); err != nil {
		return fmt.Errorf("wait for the rate of repair: %w", err)
	}
	buf := buffers.Get().(*[object.MaxExtent]byte)
	defer buffers.Put(buf)
	data := buf[:e.Size]
	var why reasons
	if err := b.fetchFrom(ctx, id, e, 0, data, &why); err != nil {
		return err
	}
	err := b.store.Put(ctx, id, data, e.CRC)
	if errors.Is(err, blob.ErrConflict) {
		return fmt.Errorf("extent %d of body %d.%d: %w: %w", id.N, id.Body.Lease, id.Body.N, object.ErrUnavailable, err)
	}
	if err != nil {
		return err
	}
	b.counts.repaired.Add(1)
	b.counts.repairedBytes.Add(int64(e.Size))
	return nil
}
