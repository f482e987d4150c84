package mvcc

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestIndexFindsExactlyTheWatchesOfAKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x watchIndex
		var live []*watch
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				w := &watch{id: int64(len(live)), iv: newInterval(drawKey(t, "from"), drawEnd(t))}
				x.add(w)
				live = append(live, w)
			},
			"remove": func(t *rapid.T) {
				if len(live) > 0 {
					i := rapid.IntRange(0, len(live)-1).Draw(t, "which")
					x.remove(live[i])
					live = slices.Delete(live, i, i+1)
				}
			},
			"": func(t *rapid.T) {
				for _, key := range testKeys {
					got := map[*watch]int{}
					x.match([]byte(key), func(w *watch) { got[w]++ })
					for _, w := range live {
						if want := w.iv.contains([]byte(key)); want != (got[w] == 1) {
							t.Fatalf("key %q, watch of %+v: found %d times", key, w.iv, got[w])
						}
						delete(got, w)
					}
					if len(got) > 0 {
						t.Fatalf("key %q finds %d watches that are gone", key, len(got))
					}
				}
			},
		})
		for _, w := range live {
			x.remove(w)
		}
		if x.root != nil || len(x.keys) > 0 {
			t.Fatal("an index without watches is not empty")
		}
	})
}

func TestIndexStaysBalanced(t *testing.T) {
	var x watchIndex
	for i := range 1 << 14 {
		key := []byte{byte(i >> 8), byte(i)}
		x.add(&watch{iv: newInterval(key, append(key, 0))})
	}
	var depth func(n *intervalNode) int
	depth = func(n *intervalNode) int {
		if n == nil {
			return 0
		}
		return 1 + max(depth(n.left), depth(n.right))
	}
	if d := depth(x.root); d > 60 {
		t.Fatalf("%d intervals in order make a tree of depth %d", 1<<14, d)
	}
}
