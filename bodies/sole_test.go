package bodies

import (
	"context"
	"slices"
	"testing"

	"chainfire/object"
)

func TestSoleCountsWhatWouldBeLostWithAMember(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	ctx := context.Background()
	body, err := w.member(1).write("key", random(1, 3*unit))
	must(t, err)
	until(t, "all have it", func() bool {
		return w.member(1).has(&body)+w.member(2).has(&body)+w.member(3).has(&body) == 9
	})
	sole := func(member uint64, want int) {
		t.Helper()
		if n, _, err := w.member(1).Sole(ctx, member); err != nil || n != want {
			t.Errorf("only member %d has %d extents, %v; want %d", member, n, err, want)
		}
	}
	sole(3, 0)
	// Nobody repairs while this is counted.
	for id := range uint64(3) {
		w.member(id + 1).repairs.mu.Lock()
		defer w.member(id + 1).repairs.mu.Unlock()
	}
	lost := object.ExtentID{Body: body.ID, N: 1}
	must(t, w.member(1).store.Delete(ctx, lost))
	must(t, w.member(2).store.Delete(ctx, lost))
	sole(3, 1)
	sole(1, 0)
	w.become(2, down)
	if n, mute, err := w.member(1).Sole(ctx, 3); n != 1 || err != nil || !slices.Equal(mute, []uint64{2}) {
		t.Errorf("with a member that cannot be asked: %d, %v, %v", n, mute, err)
	}
	w.become(2, healthy)
	w.become(3, down)
	sole(3, 1) // it cannot say that it has none
	w.become(3, healthy)
	must(t, w.member(3).store.Delete(ctx, lost))
	sole(3, 0) // what nobody has is not lost with it
}
