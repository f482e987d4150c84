package rafttest_test

import (
	"flag"
	"testing"
	"time"

	"chainfire/raft/confchange"
	"chainfire/raft/rafttest"
)

var deeper = flag.Int("explore-deeper", 0, "events by which the bounded searches of TestEveryInterleaving go deeper; 4 takes minutes")

func add(id uint64) confchange.Step { return confchange.Step{Kind: confchange.AddVoter, ID: id} }

func learn(id uint64) confchange.Step { return confchange.Step{Kind: confchange.AddLearner, ID: id} }

func remove(id uint64) confchange.Step { return confchange.Step{Kind: confchange.Remove, ID: id} }

func change(steps ...confchange.Step) rafttest.Proposal {
	return func(uint64) confchange.Change { return confchange.Change{Steps: steps} }
}

// leaderLeaves is the change by which a leader removes itself.
func leaderLeaves(lead uint64) confchange.Change {
	return confchange.Change{Steps: []confchange.Step{remove(lead)}}
}

// small are clusters of two and three members in one change of membership, or
// none. The depths bound the searches with messages in order and one of them
// lost, with messages in any order, and with writes that take their time; where a
// depth is 0 the search is whole.
var small = []struct {
	name               string
	voters, strangers  []uint64
	changes            []rafttest.Proposal
	ordered, any, slow int
}{
	{"1 to 2", []uint64{1}, []uint64{2}, []rafttest.Proposal{change(add(2))}, 0, 0, 0},
	{"1 to 2 by a learner", []uint64{1}, []uint64{2}, []rafttest.Proposal{change(learn(2)), change(add(2))}, 0, 11, 10},
	{"2 to 1", []uint64{1, 2}, nil, []rafttest.Proposal{change(remove(2))}, 0, 9, 9},
	{"2 to 1, the leader leaves", []uint64{1, 2}, nil, []rafttest.Proposal{leaderLeaves}, 0, 9, 9},
	{"2 to 3", []uint64{1, 2}, []uint64{3}, []rafttest.Proposal{change(add(3))}, 8, 7, 7},
	{"3 to 2", []uint64{1, 2, 3}, nil, []rafttest.Proposal{change(remove(3))}, 6, 6, 6},
	{"3 to 2, the leader leaves", []uint64{1, 2, 3}, nil, []rafttest.Proposal{leaderLeaves}, 6, 6, 6},
	{"one of 2 replaced", []uint64{1, 2}, []uint64{3}, []rafttest.Proposal{change(add(3), remove(2))}, 8, 7, 7},
	{"1 to 3", []uint64{1}, []uint64{2, 3}, []rafttest.Proposal{change(add(2), add(3))}, 9, 8, 9},
	{"two changes", []uint64{1}, []uint64{2, 3}, []rafttest.Proposal{change(add(2)), change(add(3))}, 11, 10, 10},
}

// shortDepth bounds all searches of short test runs.
const shortDepth = 4

// explore runs one search as a test. Without a bound it must have been whole.
func explore(t *testing.T, name string, e rafttest.Exploration) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		bounded := e.Depth > 0 || testing.Short()
		switch {
		case testing.Short():
			e.Depth = shortDepth
		case bounded:
			e.Depth += *deeper
		}
		begin := time.Now()
		found, err := e.Run()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%v, %.1fs", found, time.Since(begin).Seconds())
		if !bounded && !found.Whole || found.States < 10 {
			t.Errorf("%v: want all of it", found)
		}
	})
}

// In every order of events, up to a depth, small clusters that change keep every
// promise that the random schedules are held to. In each run there may be one
// campaign, one write and one crash, at any time and anywhere.
func TestEveryInterleavingOfASmallChange(t *testing.T) {
	for _, c := range small {
		e := rafttest.Exploration{
			Voters: c.voters, Strangers: c.strangers, Changes: c.changes, Campaigns: 1, Writes: 1, Crashes: 1,
		}
		e.Depth, e.Ordered, e.Losses = c.ordered, true, 1
		explore(t, c.name+"/in order", e)
		e.Depth, e.Ordered, e.Losses = c.any, false, 0
		explore(t, c.name+"/in any order", e)
		e.Depth, e.SlowDisks = c.slow, true
		explore(t, c.name+"/slow disks", e)
	}
}

// Two campaigns at any time, and nothing else, have all their outcomes here.
func TestEveryInterleavingOfTwoElections(t *testing.T) {
	e := rafttest.Exploration{Voters: []uint64{1, 2, 3}, Campaigns: 2, Ordered: true}
	explore(t, "at once", e)
	e.Writes, e.SlowDisks, e.Depth = 1, true, 9
	explore(t, "with a write and slow disks", e)
	e.Voters, e.Writes, e.Crashes, e.Depth = []uint64{1, 2}, 1, 1, 0
	explore(t, "of two, with a crash", e)
	e.Voters = []uint64{1}
	explore(t, "of one, with a crash", e)
}
