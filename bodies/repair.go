package bodies

import (
	"context"
	"errors"
	"fmt"
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
	// recent is the first lease of which bodies may be new since the last pass; the goroutine of
	// repair's own.
	recent uint64
}

func (r *repairs) init() {
	r.ids, r.wake = map[object.ExtentID]bool{}, make(chan struct{}, 1)
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

// repair brings to this member what it should have, until Close.
func (b *Bodies) repair() {
	next := time.NewTimer(b.opts.RepairEvery)
	defer next.Stop()
	recent := time.NewTicker(b.opts.RecentEvery)
	defer recent.Stop()
	for {
		select {
		case <-b.repairs.wake:
		case <-recent.C:
			if missing, err := b.passRecent(b.ctx); !b.told("repair of recent object bodies", err) || missing > 0 {
				next.Reset(b.opts.RetryEvery)
			}
			continue
		case <-next.C:
			b.repairs.kick()
			continue
		case <-b.ctx.Done():
			return
		}
		ids, all := b.repairs.take()
		missing, err := 0, error(nil)
		switch {
		case all:
			missing, err = b.pass(b.ctx)
		case len(ids) > 0:
			missing, err = b.mend(b.ctx, ids)
		default:
			continue
		}
		again := b.opts.RepairEvery
		if !b.told("repair of object bodies", err) || missing > 0 {
			again = b.opts.RetryEvery
		}
		next.Reset(again)
	}
}

// mend repairs single extents.
func (b *Bodies) mend(ctx context.Context, ids []object.ExtentID) (missing int, err error) {
	slices.SortFunc(ids, compareIDs)
	for len(ids) > 0 {
		body, err := b.bodyOf(ctx, ids[0].Body)
		if err != nil {
			return missing, err
		}
		var want []uint32
		for len(ids) > 0 && (body == nil || ids[0].Body == body.ID) {
			if body != nil {
				want = append(want, ids[0].N)
			}
			ids = ids[1:]
			if body == nil {
				break // it was let go, or is not referred to yet
			}
		}
		n, err := b.mendBody(ctx, body, want)
		missing += n
		if err != nil {
			return missing, err
		}
	}
	return missing, b.store.Sync(ctx)
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

// bodyOf reads a body of extents; nil is none that is referred to.
func (b *Bodies) bodyOf(ctx context.Context, id object.BodyID) (body *object.Body, err error) {
	before := object.BodyID{Lease: id.Lease, N: id.N - 1}
	if id.N == 0 {
		before = object.BodyID{Lease: id.Lease - 1, N: 1<<32 - 1}
	}
	err = b.view(ctx, func(v *object.View) error {
		return v.Bodies(before, func(found *object.Body) bool {
			if found.ID == id {
				body = found
			}
			return false
		})
	})
	return body, err
}

// view pins the state for f.
func (b *Bodies) view(ctx context.Context, f func(*object.View) error) error {
	v, err := b.opts.State.Local(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(v), v.Close())
}

// pass looks through all bodies, and fetches what this member should have and has not. missing is
// what nobody could give.
func (b *Bodies) pass(ctx context.Context) (missing int, err error) {
	began := time.Now()
	before := b.counts.repaired.Load()
	if missing, err = b.passFrom(ctx, 0); err != nil {
		return missing, err
	}
	b.counts.missing.Store(int64(missing))
	b.counts.passes.Add(1)
	if n := b.counts.repaired.Load() - before; n > 0 || missing > 0 {
		b.log.Info("looked through all object bodies", "fetched", n, "missing", missing, "took", time.Since(began))
	}
	if missing > 0 {
		return missing, nil
	}
	return 0, b.store.Settle(ctx)
}

// passRecent looks through the bodies that the state may have got since the pass before.
func (b *Bodies) passRecent(ctx context.Context) (missing int, err error) {
	return b.passFrom(ctx, b.repairs.recent)
}

// passFrom looks through the bodies of leases from one on, and notes from which on the next ones are
// new. It runs on the goroutine of repair.
func (b *Bodies) passFrom(ctx context.Context, lease uint64) (missing int, err error) {
	recent, err := b.lowestLease(ctx)
	if err != nil {
		return 0, err
	}
	after := object.BodyID{}
	if lease > 0 {
		after = object.BodyID{Lease: lease - 1, N: 1<<32 - 1}
	}
	for {
		page, err := b.page(ctx, after)
		if err != nil {
			return missing, err
		}
		if len(page) == 0 {
			b.repairs.recent = recent
			return missing, nil
		}
		for _, body := range page {
			n, err := b.mendBody(ctx, body, nil)
			missing += n
			if err != nil {
				return missing, err
			}
		}
		if err := b.store.Sync(ctx); err != nil {
			return missing, err
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
func (b *Bodies) mendBody(ctx context.Context, body *object.Body, only []uint32) (missing int, err error) {
	if body == nil {
		return 0, nil
	}
	for n := range body.Extents {
		if err := ctx.Err(); err != nil {
			return missing, err
		}
		id := object.ExtentID{Body: body.ID, N: uint32(n)}
		if only != nil && !slices.Contains(only, id.N) || !slices.Contains(b.opts.State.Place(id), b.opts.Member) || body.Extents[n].External() {
			continue
		}
		has, err := b.store.Has(id)
		if err != nil {
			return missing, err
		}
		if has {
			continue
		}
		switch err := b.bring(ctx, id, &body.Extents[n]); {
		case errors.Is(err, object.ErrUnavailable):
			missing++
			b.log.Debug("an extent is missing", "err", err)
		case err != nil:
			return missing, err
		}
	}
	return missing, nil
}

// bring fetches an extent from another member and puts it.
func (b *Bodies) bring(ctx context.Context, id object.ExtentID, e *object.Extent) error {
	if err := b.limit.WaitN(ctx, int(e.Size)); err != nil {
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
