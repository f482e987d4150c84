package bodies

import (
	"context"
	"fmt"

	"chainfire/object"
)

// Sole counts the extents, of bodies that something refers to, that only one member has: those that
// would be lost with it. It asks all other members, so that an error is also that one of them cannot be
// asked. If the member itself cannot be asked, what no other has counts as its own.
func (b *Bodies) Sole(ctx context.Context, member uint64) (n int, err error) {
	for after := (object.BodyID{}); ; {
		page, err := b.page(ctx, after)
		if err != nil {
			return n, err
		}
		if len(page) == 0 {
			return n, nil
		}
		var ids []object.ExtentID
		for _, body := range page {
			for i := range body.Extents {
				ids = append(ids, object.ExtentID{Body: body.ID, N: uint32(i)})
			}
		}
		for len(ids) > 0 {
			k := min(len(ids), MaxHas)
			more, err := b.soleOf(ctx, member, ids[:k])
			if err != nil {
				return n, err
			}
			n, ids = n+more, ids[k:]
		}
		after = page[len(page)-1].ID
	}
}

func (b *Bodies) soleOf(ctx context.Context, member uint64, ids []object.ExtentID) (int, error) {
	left := ids
	// Whoever answers first leaves less to ask the others for; this member costs least.
	members := append([]uint64{b.opts.Member}, b.opts.State.Members()...)
	for i, m := range members {
		if m == member || i > 0 && m == b.opts.Member || len(left) == 0 {
			continue
		}
		has, err := b.has(ctx, m, left)
		if err != nil {
			return 0, fmt.Errorf("ask member %d which extents it has: %w", m, err)
		}
		left = without(left, has)
	}
	if len(left) == 0 {
		return 0, nil
	}
	has, err := b.has(ctx, member, left)
	if err != nil {
		return len(left), nil // nobody knows better than that it may have all of them
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
