package rafttest

import (
	"math/rand/v2"
	"testing"

	"chainfire/raft/confchange"
)

// A search is only as good as its copies and their fingerprints: what happens
// to a copy must be what would have happened to the original, and must leave
// the original alone.
func TestACloneGoesOnLikeItsOriginal(t *testing.T) {
	step := confchange.Step{Kind: confchange.AddVoter, ID: 3}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		x := newExplorer(Exploration{
			Voters: []uint64{1, 2}, Strangers: []uint64{3}, SlowDisks: seed%2 == 0,
			Changes:   []Proposal{func(uint64) confchange.Change { return confchange.Change{Steps: []confchange.Step{step}} }},
			Campaigns: 3, Writes: 5, Crashes: 2, Heartbeats: 5, Doubles: 3, Reads: 3,
		})
		s := x.begin(nil)
		var path []event
		for range 150 {
			next := x.events(s)
			if len(next) == 0 {
				break
			}
			ev := next[r.IntN(len(next))]
			path = append(path, ev)
			before := x.key(s)
			copied := x.copyOf(s)
			if got := x.key(copied); got != before {
				t.Fatalf("seed %d, event %d: a copy has fingerprint %x, its original %x", seed, len(path), got, before)
			}
			x.perform(copied, ev)
			if got := x.key(s); got != before {
				t.Fatalf("seed %d, event %d: %v on a copy changed its original", seed, len(path), ev)
			}
			x.perform(s, ev)
			if x.key(copied) != x.key(s) {
				t.Fatalf("seed %d, event %d: %v on a copy led elsewhere", seed, len(path), ev)
			}
			if s.err != nil || copied.err != nil {
				t.Fatalf("seed %d: %v, %v", seed, s.err, copied.err)
			}
			s = copied
		}
		again := x.begin(nil)
		for _, ev := range path {
			x.perform(again, ev)
		}
		if x.key(again) != x.key(s) {
			t.Errorf("seed %d: the same %d events from the start lead elsewhere", seed, len(path))
		}
	}
}

// Two runs that differ in what is still possible must not be taken for one.
func TestFingerprintsTellStatesApart(t *testing.T) {
	x := newExplorer(Exploration{Voters: []uint64{1, 2}, Campaigns: 2, Writes: 2, Crashes: 2, Heartbeats: 2, SlowDisks: true})
	start := x.begin(nil)
	seen := map[uint64]event{x.key(start): {}}
	for _, ev := range x.events(start) {
		s := x.copyOf(start)
		x.perform(s, ev)
		// The budget alone would tell most of them apart.
		s.done = start.done
		key := x.key(s)
		if other, ok := seen[key]; ok && ev.kind != evCampaign {
			t.Errorf("%v leads to the same as %v", ev, other)
		}
		seen[key] = ev
	}
}
