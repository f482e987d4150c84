package node

import (
	"slices"
	"testing"
	"time"
)

// looks are the moments, in seconds, of an hour at which it was time to compare members.
func looks(r *rounds, compacted func(second int) int64, cost time.Duration) (out []int) {
	start := time.Unix(0, 0)
	r.begin(start, compacted(0))
	for s := range 3600 {
		now := start.Add(time.Duration(s) * time.Second)
		if r.look(now, compacted(s)) {
			out = append(out, s)
			r.begin(now, compacted(s))
			r.rested = now.Add(costTimes * cost)
		}
	}
	return out
}

func TestMembersAreComparedAsOftenAsIsSaidUnlessItCostsTooMuch(t *testing.T) {
	never := func(int) int64 { return 0 }
	for name, c := range map[string]struct {
		every, cost time.Duration
		times       int
	}{
		"every minute":                         {time.Minute, 0, 59},
		"a second's work is one of 50 seconds": {10 * time.Second, time.Second, 72},
		"a minute's work fills the hour":       {time.Minute, time.Minute, 2},
		"what costs little does not matter":    {time.Minute, time.Second, 59},
		"never":                                {0, 0, 0},
	} {
		got := looks(&rounds{every: c.every}, never, c.cost)
		if len(got) != c.times {
			t.Errorf("%s: %d times, at %v; want %d", name, len(got), got, c.times)
		}
	}
}

func TestMembersAreComparedAfterCompactionsButNotAfterEach(t *testing.T) {
	// At 600 s, and at 610 s and 620 s.
	compacted := func(s int) int64 { return int64(min(max(s-590, 0)/10, 3)) }
	got := looks(&rounds{compactEvery: time.Minute}, compacted, 0)
	if !slices.Equal(got, []int{600, 660}) {
		t.Errorf("members are compared at %v", got)
	}
	if got := looks(&rounds{}, compacted, 0); len(got) != 0 {
		t.Errorf("members are compared at %v, which nobody wants", got)
	}
}
