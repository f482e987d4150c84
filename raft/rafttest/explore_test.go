package rafttest_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"chainfire/raft/confchange"
	"chainfire/raft/rafttest"
)

var bud = flag.String("bud", "2,1,1,1,0,0", "")
var ord = flag.Bool("ord", false, "")

var exploreDepth = flag.Int("depth", 8, "events of one run of the exhaustive search")

func propose(joint bool, steps ...confchange.Step) rafttest.Proposal {
	return func(uint64) confchange.Change { return confchange.Change{Steps: steps, Joint: joint} }
}

func removeLeader(lead uint64) confchange.Change {
	return confchange.Change{Steps: []confchange.Step{{Kind: confchange.Remove, ID: lead}}}
}

var explorations = []struct {
	name string
	rafttest.Exploration
}{
	{"1 to 2", rafttest.Exploration{Voters: []uint64{1}, Strangers: []uint64{2}, Changes: []rafttest.Proposal{propose(false, confchange.Step{Kind: confchange.AddVoter, ID: 2})}}},
	{"1 to 2 by a learner", rafttest.Exploration{Voters: []uint64{1}, Strangers: []uint64{2}, Changes: []rafttest.Proposal{propose(false, confchange.Step{Kind: confchange.AddLearner, ID: 2}), propose(false, confchange.Step{Kind: confchange.AddVoter, ID: 2})}}},
	{"2 to 1", rafttest.Exploration{Voters: []uint64{1, 2}, Changes: []rafttest.Proposal{propose(false, confchange.Step{Kind: confchange.Remove, ID: 2})}}},
	{"2 to 1, the leader leaves", rafttest.Exploration{Voters: []uint64{1, 2}, Changes: []rafttest.Proposal{removeLeader}}},
	{"2 to 3", rafttest.Exploration{Voters: []uint64{1, 2}, Strangers: []uint64{3}, Changes: []rafttest.Proposal{propose(false, confchange.Step{Kind: confchange.AddVoter, ID: 3})}}},
	{"3 to 2", rafttest.Exploration{Voters: []uint64{1, 2, 3}, Changes: []rafttest.Proposal{propose(false, confchange.Step{Kind: confchange.Remove, ID: 3})}}},
	{"3 to 2, the leader leaves", rafttest.Exploration{Voters: []uint64{1, 2, 3}, Changes: []rafttest.Proposal{removeLeader}}},
	{"replace one of 2", rafttest.Exploration{Voters: []uint64{1, 2}, Strangers: []uint64{3}, Changes: []rafttest.Proposal{propose(true, confchange.Step{Kind: confchange.AddVoter, ID: 3}, confchange.Step{Kind: confchange.Remove, ID: 2})}}},
	{"1 to 3", rafttest.Exploration{Voters: []uint64{1}, Strangers: []uint64{2, 3}, Changes: []rafttest.Proposal{propose(true, confchange.Step{Kind: confchange.AddVoter, ID: 2}, confchange.Step{Kind: confchange.AddVoter, ID: 3})}}},
	{"3", rafttest.Exploration{Voters: []uint64{1, 2, 3}}},
}

func TestEveryInterleaving(t *testing.T) {
	for _, e := range explorations {
		fmt.Sscanf(*bud, "%d,%d,%d,%d,%d,%d", &e.Campaigns, &e.Writes, &e.Crashes, &e.Heartbeats, &e.Losses, &e.Doubles)
		e.Ordered = *ord
		for mode, apart := range map[string]bool{"whole": false, "apart": true} {
			t.Run(e.name+"/"+mode, func(t *testing.T) {
				e.Depth, e.Apart = *exploreDepth, apart
				begin := time.Now()
				found, err := e.Run()
				t.Logf("%v, %.1fs", found, time.Since(begin).Seconds())
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
}
