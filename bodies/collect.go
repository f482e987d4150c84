package bodies

import (
	"context"
	"errors"
	"slices"
	"time"

	"chainfire/blob"
	"chainfire/object"
)

// idsAPage is how many extents are looked at in one view of the state.
const idsAPage = 1000

// collect lets go what this member need not keep, until Close.
func (b *Bodies) collect() {
	c := &collection{b: b}
	for b.sleep(b.opts.CollectEvery) {
		b.told("collection of object bodies", c.run(b.ctx))
		_, err := b.store.Compact(b.ctx, b.limits.compact)
		b.told("compaction of object bodies", err)
	}
}

// collection finds extents that are not wanted.
type collection struct {
	b        *Bodies
	unwanted Unwanted
}

// run looks at all extents of this member.
func (c *collection) run(ctx context.Context) error {
	for after := (object.ExtentID{}); ; {
		ids, err := c.b.store.IDs(after, idsAPage)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			c.unwanted.Looked()
			return nil
		}
		if err := c.page(ctx, ids); err != nil {
			return err
		}
		after = ids[len(ids)-1]
	}
}

// page lets go what is not wanted of some extents.
func (c *collection) page(ctx context.Context, ids []object.ExtentID) error {
	wanted, err := Wanted(ctx, c.b.opts.State, ids)
	if err != nil {
		return err
	}
	var garbage, strays []object.ExtentID
	for _, id := range ids {
		keep, known := wanted[id.Body]
		switch {
		case !known:
			// The state here does not know its lease yet.
		case keep:
			if place := c.b.opts.State.Place(id); len(place) > 0 && !slices.Contains(place, c.b.opts.Member) {
				strays = append(strays, id)
			}
		case c.unwanted.Over(id.Body, c.b.opts.Grace):
			garbage = append(garbage, id)
		}
	}
	if err := c.b.store.Delete(ctx, garbage...); err != nil {
		return err
	}
	c.b.counts.collected.Add(int64(len(garbage)))
	return c.leave(ctx, strays)
}

// Purge lets everything go that no body of the state refers to, at once: for a member whose state is
// another than the one that its extents were written under, as after a recovery of the cluster, so that
// names may have been given anew. Nothing may be written meanwhile.
func (b *Bodies) Purge(ctx context.Context) error {
	for after := (object.ExtentID{}); ; {
		ids, err := b.store.IDs(after, idsAPage)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			return b.store.Flush()
		}
		var gone []object.ExtentID
		err = b.view(ctx, func(v *object.View) (err error) {
			gone, err = b.foreign(v, ids)
			return err
		})
		if err != nil {
			return err
		}
		if err := b.store.Delete(ctx, gone...); err != nil {
			return err
		}
		b.counts.collected.Add(int64(len(gone)))
		after = ids[len(ids)-1]
	}
}

// foreign are those of some extents, in their order, that are not what a body of the state has under
// their names.
func (b *Bodies) foreign(v *object.View, ids []object.ExtentID) (gone []object.ExtentID, err error) {
	var body *object.Body
	for _, id := range ids {
		if body == nil || body.ID != id.Body {
			found := false
			if body, found, err = v.FindBody(id.Body); err != nil {
				return nil, err
			}
			if !found {
				body = &object.Body{ID: id.Body}
			}
		}
		keep := int(id.N) < len(body.Extents)
		if keep {
			info, err := b.store.Stat(id)
			if err != nil {
				return nil, err
			}
			e := &body.Extents[id.N]
			keep = info.Size == e.Size && info.CRC == e.CRC
		}
		if !keep {
			gone = append(gone, id)
		}
	}
	return gone, nil
}

// leave lets extents go that other members are to hold, once all of these have them.
func (c *collection) leave(ctx context.Context, ids []object.ExtentID) error {
	if len(ids) == 0 {
		return nil
	}
	asked := map[uint64][]object.ExtentID{}
	placed := map[object.ExtentID][]uint64{}
	for _, id := range ids {
		placed[id] = c.b.opts.State.Place(id)
		for _, m := range placed[id] {
			asked[m] = append(asked[m], id)
		}
	}
	have := map[object.ExtentID]int{}
	for m, ids := range asked {
		has, err := c.b.has(ctx, m, ids)
		if err != nil {
			c.b.log.Debug("a member could not be asked what it has", "member", m, "err", err)
			continue // what it is to hold stays here
		}
		for i, id := range ids {
			if has[i] {
				have[id]++
			}
		}
	}
	var gone []object.ExtentID
	for _, id := range ids {
		if n := len(placed[id]); n > 0 && have[id] == n && !slices.Contains(c.b.opts.State.Place(id), c.b.opts.Member) {
			gone = append(gone, id)
		}
	}
	if err := c.b.store.Delete(ctx, gone...); err != nil {
		return err
	}
	c.b.counts.moved.Add(int64(len(gone)))
	return nil
}

// has asks a member, or this one, which extents it has.
func (b *Bodies) has(ctx context.Context, member uint64, ids []object.ExtentID) ([]bool, error) {
	if member == b.opts.Member {
		return hasAll(b.store, ids)
	}
	p, err := b.peer(member)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	has, err := p.Has(ctx, ids)
	if err == nil && len(has) != len(ids) {
		err = errors.New("it answered for another number of extents")
	}
	return has, err
}

func hasAll(s *blob.Store, ids []object.ExtentID) ([]bool, error) {
	has := make([]bool, len(ids))
	for i, id := range ids {
		var err error
		if has[i], err = s.Has(id); err != nil {
			return nil, err
		}
	}
	return has, nil
}

// scrub reads and checks everything on the disk from time to time, until Close.
func (b *Bodies) scrub() {
	for b.sleep(b.opts.ScrubEvery) {
		began := time.Now()
		done, err := b.store.Scrub(b.ctx, b.limits.scrub, func(bad *blob.CorruptError) {
			b.log.Error("a scrub found damage", "err", bad)
		})
		b.counts.scrubbed.Add(done.Bytes)
		if b.told("scrub of object bodies", err) {
			b.log.Info("scrubbed object bodies", "bytes", done.Bytes, "damaged", done.Corrupt, "took", time.Since(began))
		}
		if done.Corrupt > 0 {
			b.repairs.kick()
		}
	}
}
