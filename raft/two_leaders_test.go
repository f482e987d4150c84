package raft_test

import (
	"testing"

	"chainfire/raft"
	"chainfire/raft/confchange"
	"chainfire/raft/rafttest"
)

// split is one case of TestTwoLeadersNeverDecideApart: member 1 leads and proposes
// changes, which reach some followers; then the cluster falls into two, and each
// side goes on as it may. Sets of members are bits.
type split struct {
	voters        uint64
	first, second []confchange.Change
	reach, side   uint64
}

// shortElection is an election timeout in ticks.
const shortElection = 3

// Two members join later, if at all. They are on the side of member 1.
const newcomers = 1<<8 | 1<<9

func (w split) run() error {
	c := rafttest.New(rafttest.Options{Config: raft.Config{ElectionTicks: shortElection}})
	var ids []uint64
	for id := uint64(1); id <= w.voters; id++ {
		ids = append(ids, id)
	}
	c.Bootstrap(ids, false)
	c.Add(8)
	c.Add(9)
	c.Campaign(1)
	c.Settle()
	for _, change := range w.first {
		// What is refused is in no log.
		_, _, _ = c.ProposeConf(1, change)
	}
	for range 4 {
		for _, id := range c.Members() {
			c.Ready(id)
			c.Persist(id, 9)
		}
		c.Apply(1, 9)
		for range len(c.Flying()) {
			if m := c.Take(0); (1<<m.To|1<<m.From)&^(w.reach|newcomers|1<<1) == 0 {
				c.Deliver(m)
			}
		}
	}
	for _, a := range c.Members() {
		for _, b := range c.Members() {
			c.Cut(a, b, (1<<a&w.side == 0) != (1<<b&w.side == 0))
		}
	}
	w.live(c, 4*shortElection)
	for _, a := range c.Members() {
		for _, b := range c.Members() {
			c.Cut(a, b, false)
		}
	}
	w.live(c, 2*shortElection)
	return c.Err()
}

// live lets time pass, while whoever leads writes, and member 2 changes the
// configuration if it leads.
func (w split) live(c *rafttest.Cluster, ticks int) {
	for range ticks {
		for _, id := range c.Members() {
			c.Tick(id)
		}
		c.Settle()
		for _, id := range c.Members() {
			if !c.Leads(id) {
				continue
			}
			_, _, _ = c.Propose(id, []byte("x"))
			if id == 2 && len(w.second) > 0 {
				_, _, _ = c.ProposeConf(id, w.second[0])
			}
		}
	}
}

// Changes one after the other and at once, of one leader and of the next, in every
// small cluster, with every reach and every partition: there is one history.
func TestTwoLeadersNeverDecideApart(t *testing.T) {
	t.Parallel()
	one := func(kind confchange.Kind, id uint64) confchange.Change {
		return confchange.Change{Steps: []confchange.Step{{Kind: kind, ID: id}}}
	}
	firsts := [][]confchange.Change{
		{one(confchange.AddVoter, 8)},
		{one(confchange.Remove, 2)},
		{one(confchange.AddVoter, 8), one(confchange.AddVoter, 9)},
		{one(confchange.Remove, 2), one(confchange.Remove, 3)},
	}
	seconds := [][]confchange.Change{nil, {one(confchange.AddVoter, 9)}, {one(confchange.Remove, 1)}}
	cases := 0
	for voters := uint64(2); voters <= 4; voters++ {
		followers := uint64(1)<<(voters+1) - 4
		for bits := range (followers + 4) * (followers + 4) / 16 {
			reach, side := bits*4&followers, bits/(followers/4+1)*4
			for _, first := range firsts {
				for _, second := range seconds {
					w := split{voters, first, second, reach, side | 1<<1 | newcomers}
					if err := w.run(); err != nil {
						t.Fatalf("%+v: %v", w, err)
					}
					cases++
				}
			}
		}
	}
	t.Logf("%d cases", cases)
}
