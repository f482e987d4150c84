package raft_test

import (
	"errors"
	"fmt"
	"testing"

	"chainfire/raft"
	"chainfire/raft/confchange"
	"chainfire/raft/rafttest"
)

// run lets the whole cluster live for n ticks, with prompt disks and network.
func run(t *testing.T, c *rafttest.Cluster, n int) {
	t.Helper()
	for range n {
		c.Settle()
		for _, id := range c.Members() {
			c.Tick(id)
		}
	}
	c.Settle()
	if err := c.Err(); err != nil {
		t.Fatalf("%v\n%s", err, c.Describe())
	}
}

// electionTicks is the default election timeout.
const electionTicks = 10

// elect waits for a leader.
func elect(t *testing.T, c *rafttest.Cluster) uint64 {
	t.Helper()
	for range 20 * electionTicks {
		if id := c.Leader(); id != raft.None {
			return id
		}
		run(t, c, 1)
	}
	t.Fatalf("no leader:%s", c.Describe())
	return raft.None
}

func propose(t *testing.T, c *rafttest.Cluster, id uint64, data string) (index, term uint64) {
	t.Helper()
	index, term, err := c.Propose(id, []byte(data))
	if err != nil {
		t.Fatalf("propose %q to %d: %v", data, id, err)
	}
	return index, term
}

func change(t *testing.T, c *rafttest.Cluster, id uint64, steps ...confchange.Step) {
	t.Helper()
	if _, _, err := c.ProposeConf(id, confchange.Change{Steps: steps}); err != nil {
		t.Fatalf("change %v at %d: %v", steps, id, err)
	}
}

// wantEntry demands that every member named has data at index.
func wantEntry(t *testing.T, c *rafttest.Cluster, index uint64, data string, ids ...uint64) {
	t.Helper()
	for _, id := range ids {
		found := false
		for _, e := range c.Log(id) {
			found = found || e.Index == index && string(e.Data) == data
		}
		if !found || c.Applied(id) < index {
			t.Errorf("%d has no applied %q at %d:%s", id, data, index, c.Describe())
		}
	}
}

// One member, grown to three by join: two learners with empty disks catch up and
// become voters in one joint change; when the leader dies another one leads.
func TestThreeNodeLeaderElectionWithJoin(t *testing.T) {
	c := rafttest.New(rafttest.Options{})
	c.Bootstrap([]uint64{1}, false)
	if lead := elect(t, c); lead != 1 {
		t.Fatalf("%d leads", lead)
	}
	index, _ := propose(t, c, 1, "before")
	run(t, c, 1)

	c.Add(2)
	c.Add(3)
	change(t, c, 1, confchange.Step{Kind: confchange.AddLearner, ID: 2}, confchange.Step{Kind: confchange.AddLearner, ID: 3})
	run(t, c, 5)
	wantEntry(t, c, index, "before", 1, 2, 3)
	for _, p := range c.Core(1).Status().Peers {
		if !p.Acked || p.Applied < index {
			t.Fatalf("learner %d has not caught up: %+v", p.ID, p)
		}
	}

	change(t, c, 1, confchange.Step{Kind: confchange.AddVoter, ID: 2}, confchange.Step{Kind: confchange.AddVoter, ID: 3})
	run(t, c, 5)
	for _, id := range []uint64{1, 2, 3} {
		if conf := c.Core(id).Status().Conf; conf.Joint() || len(conf.Voters) != 3 {
			t.Fatalf("%d has configuration %v", id, conf)
		}
	}

	term := c.Core(1).Term()
	c.Crash(1, 0, false)
	lead := elect(t, c)
	if lead == 1 || c.Core(lead).Term() <= term {
		t.Fatalf("%d leads term %d after the leader of term %d died", lead, c.Core(lead).Term(), term)
	}
	index, _ = propose(t, c, lead, "after")
	run(t, c, 2)
	c.Start(1)
	run(t, c, 5)
	wantEntry(t, c, index, "after", 1, 2, 3)
}

// Every write is appended by the leader, replicated, committed and applied on
// every member in the same order.
func TestWriteReplicateCommit(t *testing.T) {
	c := rafttest.New(rafttest.Options{})
	c.Bootstrap([]uint64{1, 2, 3}, false)
	lead := elect(t, c)
	const writes = 50
	at := map[uint64]string{}
	for i := range writes {
		data := fmt.Sprintf("write %d", i)
		index, term := propose(t, c, lead, data)
		if term != c.Core(lead).Term() {
			t.Fatalf("written in term %d", term)
		}
		at[index] = data
		if i%7 == 0 {
			run(t, c, 1)
		}
	}
	run(t, c, 2)
	if len(at) != writes {
		t.Fatalf("%d places for %d writes", len(at), writes)
	}
	for index, data := range at {
		wantEntry(t, c, index, data, 1, 2, 3)
		if commit := c.Core(lead).Commit(); commit < index {
			t.Errorf("commit is %d, want at least %d", commit, index)
		}
	}
}

// What was committed stays, whoever dies; what was not committed by a leader
// that is cut off is replaced, on every member alike.
func TestCommitConsistency(t *testing.T) {
	c := rafttest.New(rafttest.Options{})
	c.Bootstrap([]uint64{1, 2, 3}, false)
	old := elect(t, c)
	kept, _ := propose(t, c, old, "kept")
	run(t, c, 2)

	others := []uint64{1, 2, 3}
	for i, id := range others {
		if id == old {
			others = append(others[:i:i], others[i+1:]...)
			break
		}
	}
	for _, id := range others {
		c.Cut(old, id, true)
		c.Cut(id, old, true)
	}
	lost, _ := propose(t, c, old, "lost")
	run(t, c, 5*electionTicks)
	if c.Core(old).Commit() >= lost {
		t.Fatal("a leader without a majority committed")
	}
	next := elect(t, c)
	if next == old {
		t.Fatal("the leader that is cut off still leads")
	}
	replaced, _ := propose(t, c, next, "instead")
	run(t, c, 2)
	for _, id := range others {
		c.Cut(old, id, false)
		c.Cut(id, old, false)
	}
	run(t, c, 3*electionTicks)
	wantEntry(t, c, kept, "kept", 1, 2, 3)
	wantEntry(t, c, replaced, "instead", 1, 2, 3)
	for _, e := range c.Log(old) {
		if string(e.Data) == "lost" {
			t.Error("an entry that was never committed is still there")
		}
	}

	// All die and come back: the same log.
	for _, id := range []uint64{1, 2, 3} {
		c.Crash(id, 0, false)
	}
	for _, id := range []uint64{1, 2, 3} {
		c.Start(id)
	}
	elect(t, c)
	run(t, c, 2)
	wantEntry(t, c, kept, "kept", 1, 2, 3)
	wantEntry(t, c, replaced, "instead", 1, 2, 3)
}

// A follower, and a learner, never append a client's write themselves: they
// refuse it, name the leader, and their logs stay as they are.
func TestLeaderOnlyWrite(t *testing.T) {
	c := rafttest.New(rafttest.Options{})
	c.Bootstrap([]uint64{1, 2, 3}, false)
	lead := elect(t, c)
	c.Add(4)
	change(t, c, lead, confchange.Step{Kind: confchange.AddLearner, ID: 4})
	run(t, c, 3)
	for _, id := range c.Members() {
		if id == lead {
			continue
		}
		last := c.Core(id).Status().Last
		if _, _, err := c.Propose(id, []byte("stray")); !errors.Is(err, raft.ErrNotLeader) {
			t.Errorf("write at follower %d: %v", id, err)
		}
		removal := confchange.Change{Steps: []confchange.Step{{Kind: confchange.Remove, ID: 4}}}
		if _, _, err := c.ProposeConf(id, removal); !errors.Is(err, raft.ErrNotLeader) {
			t.Errorf("membership change at follower %d: %v", id, err)
		}
		if err := c.Transfer(id, id); !errors.Is(err, raft.ErrNotLeader) {
			t.Errorf("transfer at follower %d: %v", id, err)
		}
		if got := c.Core(id).Leader(); got != lead {
			t.Errorf("%d names %d as leader, want %d", id, got, lead)
		}
		if got := c.Core(id).Status().Last; got != last {
			t.Errorf("log of follower %d went from %d to %d", id, last, got)
		}
	}
	run(t, c, 3)
	for _, id := range c.Members() {
		for _, e := range c.Log(id) {
			if string(e.Data) == "stray" {
				t.Errorf("%d has the stray write", id)
			}
		}
	}
}
