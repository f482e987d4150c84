package raft_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"chainfire/raft"
	"chainfire/raft/confchange"
	"chainfire/raft/rafttest"
)

// growth is a cluster of one on its way to three: at every step one thing
// happens, which one is left to chance.
type growth struct {
	c   *rafttest.Cluster
	rng *rand.Rand
	// todo are the changes still to be made, in order.
	todo   []confchange.Change
	writes int
}

func newGrowth(seed uint64) *growth {
	g := &growth{rng: rand.New(rand.NewPCG(seed, 0))}
	pick := func(n ...uint64) uint64 { return n[g.rng.IntN(len(n))] }
	g.c = rafttest.New(rafttest.Options{
		EarlyReads: g.rng.IntN(2) == 0,
		Config: raft.Config{
			MaxMessageBytes: pick(1, 60, 0), MaxInflight: int(pick(1, 2, 0)), MaxApplyingBytes: pick(1, 0),
		},
	})
	step := func(kind confchange.Kind, ids ...uint64) {
		var change confchange.Change
		for _, id := range ids {
			change.Steps = append(change.Steps, confchange.Step{Kind: kind, ID: id})
		}
		g.todo = append(g.todo, change)
	}
	step(confchange.AddLearner, 2)
	if g.rng.IntN(2) == 0 {
		// Promotion does not wait for the learner to have caught up.
		step(confchange.AddLearner, 3)
		step(confchange.AddVoter, 2, 3)
	} else {
		step(confchange.AddVoter, 2)
		step(confchange.AddLearner, 3)
		step(confchange.AddVoter, 3)
	}
	g.c.Bootstrap([]uint64{1}, g.rng.IntN(2) == 0)
	g.c.Add(2)
	g.c.Add(3)
	return g
}

func (g *growth) write(lead uint64) {
	g.writes++
	// What the leader refuses is in nobody's log.
	_, _, _ = g.c.Propose(lead, fmt.Append(nil, "w", g.writes))
}

// grow makes the next change, if the leader takes it.
func (g *growth) grow(lead uint64) {
	if len(g.todo) == 0 {
		return
	}
	if _, _, err := g.c.ProposeConf(lead, g.todo[0]); err == nil {
		g.todo = g.todo[1:]
	}
}

// step lets one thing happen.
func (g *growth) step() {
	id := 1 + g.rng.Uint64N(3)
	up := g.c.Core(id) != nil
	flying := len(g.c.Flying())
	switch x := g.rng.IntN(100); {
	case !up:
		if x < 30 {
			g.c.Start(id)
		}
	case x < 25:
		g.c.Ready(id)
	case x < 40:
		g.c.Persist(id, 1)
	case x < 50:
		g.c.Apply(id, 1)
	case x < 75:
		if flying > 0 {
			m := g.c.Take(g.rng.IntN(flying))
			if g.rng.IntN(20) > 0 {
				g.c.Deliver(m)
			}
		}
	case x < 82:
		g.c.Tick(id)
	case x < 84 && id != 1:
		g.c.Crash(id, g.rng.IntN(3), g.rng.IntN(2) == 0)
	case x < 86:
		g.c.Flush(id)
		g.c.Compact(id, g.c.Applied(id)-min(g.c.Applied(id), g.rng.Uint64N(3)))
	case g.c.Leader() == raft.None:
	case x < 93:
		g.write(g.c.Leader())
	default:
		g.grow(g.c.Leader())
	}
}

// settled reports whether all three vote and have applied the last write.
func (g *growth) settled() bool {
	lead := g.c.Leader()
	if lead == raft.None || len(g.todo) > 0 {
		return false
	}
	for _, id := range g.c.Members() {
		s := g.c.Core(id).Status()
		if s.Conf.Joint() || len(s.Conf.Voters) != 3 || s.Applied != g.c.Core(lead).Status().Last {
			return false
		}
	}
	return true
}

// Whatever the timing of heartbeats, appends, snapshots, losses, restarts of the
// newcomers, compactions and promotions: nobody stops, nothing that is promised is
// broken, and in the end there are three voters with the same log. No write is
// needed for that.
func TestGrowthFromOneToThreeAtAnyTiming(t *testing.T) {
	t.Parallel()
	const runs, steps, patience = 600, 400, 600
	for seed := range uint64(runs) {
		g := newGrowth(seed)
		for range 3 {
			g.c.Tick(1)
			g.c.Settle()
		}
		for range steps {
			g.step()
		}
		for ticks := 0; !g.settled() && g.c.Err() == nil; ticks++ {
			if ticks > patience {
				t.Fatalf("seed %d: no three voters after %d ticks, %d changes left:%s", seed, ticks, len(g.todo), g.c.Describe())
			}
			for _, id := range g.c.Members() {
				g.c.Start(id)
				g.c.Tick(id)
			}
			g.c.Settle()
			if lead := g.c.Leader(); lead != raft.None {
				g.grow(lead)
			}
		}
		if err := g.c.Err(); err != nil {
			t.Fatalf("seed %d: %v%s", seed, err, g.c.Describe())
		}
	}
}

// Two hundred conflicting entries of twenty terms, with a heartbeat between any
// two messages: the logs meet in a few steps, and meet.
func TestManyConflictsMeetInFewSteps(t *testing.T) {
	c := rafttest.New(rafttest.Options{})
	c.Bootstrap([]uint64{1, 2, 3}, false)
	old := elect(t, c)
	others := []uint64{1, 2, 3}
	others = append(others[:old-1], others[old:]...)
	for _, id := range others {
		c.Cut(old, id, true)
		c.Cut(id, old, true)
	}
	for i := range 200 {
		propose(t, c, old, fmt.Sprint("lost", i))
	}
	c.Settle()
	for term := range 20 {
		run(t, c, 1)
		lead := elect(t, c)
		for lead == old {
			run(t, c, electionTicks)
			lead = elect(t, c)
		}
		for i := range 10 {
			propose(t, c, lead, fmt.Sprint("kept", term, i))
		}
		c.Settle()
		if err := c.Transfer(lead, others[0]+others[1]-lead); err != nil {
			t.Fatal(err)
		}
		c.Settle()
	}
	for _, id := range others {
		c.Cut(old, id, false)
		c.Cut(id, old, false)
	}
	lead := elect(t, c)
	rejected := 0
	for range 2 * electionTicks {
		c.Tick(lead)
		for _, id := range c.Members() {
			c.Ready(id)
			c.Persist(id, 100)
			c.Apply(id, 1000)
		}
		for range len(c.Flying()) {
			m := c.Take(0)
			if m.Type == raft.MsgAppendResp && m.Reject {
				rejected++
			}
			c.Deliver(m)
		}
	}
	run(t, c, 2*electionTicks)
	index := c.Core(lead).Status().Last
	if err := c.Err(); err != nil || c.Applied(old) < index || rejected > 10 {
		t.Fatalf("%v, %d rejections, applied %d of %d%s", err, rejected, c.Applied(old), index, c.Describe())
	}
}
