package bodies

import (
	"context"
	"slices"

	"chainfire/object"
)

// Sole counts the extents, of bodies that something refers to, that would be lost with a member: those
// that it has and no other member that can be asked. mute are the others that cannot be asked. If the
// member itself cannot be, what nobody else has counts as its own.
func (b *Bodies) Sole(ctx context.Context, member uint64) (n int, mute []uint64, err error) {
	ask := asking{b: b, member: member}
	for after := (object.BodyID{}); ; {
		page, err := b.page(ctx, after)
		if err != nil {
			return n, ask.mute, err
		}
		if len(page) == 0 {
			return n, ask.mute, nil
		}
		var ids []object.ExtentID
		for _, body := range page {
			for i := range body.Extents {
				if body.Extents[i].External() {
					continue
				}
				ids = append(ids, object.ExtentID{Body: body.ID, N: uint32(i)})
			}
		}
		for len(ids) > 0 {
			k := min(len(ids), MaxHas)
			more, err := ask.sole(ctx, ids[:k])
			if err != nil {
				return n, ask.mute, err
			}
			n, ids = n+more, ids[k:]
		}
		after = page[len(page)-1].ID
	}
}

// asking asks members which extents they have.
type asking struct {
	b      *Bodies
	member uint64
	// mute are those that could not be asked, once, and are not asked again.
	mute []uint64
}

func (a *asking) has(ctx context.Context, member uint64, ids []object.ExtentID) ([]bool, error) {
	has, err := a.b.has(ctx, member, ids)
	if err == nil || member == a.b.opts.Member || ctx.Err() != nil {
		return has, err
	}
	if member != a.member {
		a.b.log.Warn("a member cannot be asked which extents it has", "member", member, "err", err)
		a.mute = append(a.mute, member)
	}
	return nil, nil
}

// sole counts those of some extents that only the member has.
func (a *asking) sole(ctx context.Context, ids []object.ExtentID) (int, error) {
	left := ids
	// This member costs least to ask, and leaves less to ask the others for.
	members := append([]uint64{a.b.opts.Member}, a.b.opts.State.Members()...)
	for i, m := range members {
		if m == a.member || i > 0 && m == a.b.opts.Member || len(left) == 0 || slices.Contains(a.mute, m) {
			continue
		}
		has, err := a.has(ctx, m, left)
		if err != nil {
			return 0, err
		}
		if has != nil {
			left = without(left, has)
		}
	}
	if len(left) == 0 {
		return 0, nil
	}
	has, err := a.has(ctx, a.member, left)
	if err != nil || has == nil {
		return len(left), err
	}
	return len(left) - len(without(left, has)), nil
}

// without are the extents that were not found.
func without(ids []object.ExtentID, has []bool) []object.ExtentID {
	var left []object.ExtentID
	for i, id := range ids {
		if !has[i] {
			left = append(left, id)
		}
	}
	return left
}
