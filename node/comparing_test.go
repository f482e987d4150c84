package node_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"chainfire"
	"chainfire/node"
)

// TestMembersAreComparedWhileTheyApply writes and compacts through all members, the
// leader stops, and what is compared never differs.
func TestMembersAreComparedWhileTheyApply(t *testing.T) {
	j := &journal{}
	compared := func(name string, join ...string) node.Options {
		o := options(t, name, join...)
		o.CompareEvery, o.CompareCompactedEvery = 20*time.Millisecond, 20*time.Millisecond
		o.Logger = slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
		return o
	}
	a := start(t, compared("a"))
	b := start(t, compared("b", peerAddr(t, a)))
	c := start(t, compared("c", peerAddr(t, a)))
	voters(t, 3, a, b, c)
	count := func(text string) int { return strings.Count(j.String(), text) }
	work := func(nodes ...*node.Node) {
		t.Helper()
		from, key := count("members compared"), 0
		eventually(t, "20 comparisons", func() error {
			for _, n := range nodes {
				key++
				rev := put(t, n, fmt.Sprintf("k%d", key%50), strings.Repeat("v", key%1000))
				if key%100 != 0 {
					continue
				}
				_, err := n.Compact(t.Context(), &chainfire.CompactRequest{Revision: rev - 20})
				if err != nil && !errors.Is(err, chainfire.ErrCompacted) {
					return err
				}
			}
			if n := count("members compared") - from; n < 20 {
				return fmt.Errorf("there were %d", n)
			}
			return nil
		})
	}
	work(a, b, c)
	stop(t, a)
	eventually(t, "another leader", func() error { return b.Health(t.Context(), true) })
	work(b, c)
	if alarms := append(b.Alarms(), c.Alarms()...); len(alarms) > 0 || count("members differ") > 0 {
		t.Errorf("alarms %v, and %d times members differ", alarms, count("members differ"))
	}
}
