package test

import (
	"fmt"
	"strings"
	"testing"
)

// seeders are the members of which a newcomer says that it is seeded by them.
func (c *cluster) seeders(newcomer *member) []string {
	var out []string
	for _, m := range c.members {
		if newcomer.proc.said(func(e event) bool { return e.Step == "seed" && strings.HasSuffix(e.Text, " at "+m.peer) }) {
			out = append(out, m.name)
		}
	}
	return out
}

// TestNewcomerIsSeededByTheMemberThatItNames brings in one newcomer by each of two
// named members, the leader among them, which is the last that would be chosen.
func TestNewcomerIsSeededByTheMemberThatItNames(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, calm()...)
	leader, follower := c.awaitLeader(), c.followers()[0]
	ballast(t, leader.kv(), 1<<20)
	for i, named := range []*member{leader, follower} {
		who := named.name
		if i == 1 {
			who = fmt.Sprint(named.id(leader))
		}
		m := here.newMember(t, "by-"+named.name, append(calm(), "--bootstrap-from", who)...)
		m.start(c.members[0].peer, c.members[1].peer)
		if got := c.seeders(m); len(got) != 1 || got[0] != named.name {
			t.Errorf("%s is seeded by %v", m.name, got)
		}
		c.members = append(c.members, m)
	}
	c.awaitVoters(5, 5)
	c.mustHoldTheSame("")
	// A directory in use has no use for it, whether there is such a member or not.
	last := c.members[4]
	last.stop()
	last.args = append(calm(), "--bootstrap-from", "nobody")
	last.start(c.members[0].peer)
	last.awaitServing()
}

func TestSourceThatIsNoneOrDownEndsTheJoinAndLeavesNothing(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, brisk()...)
	leader := c.awaitLeader()
	silent := c.followers()[0]
	possible := fmt.Sprintf("%d (%s)", leader.id(leader), leader.name)
	wrong := here.newMember(t, "wrong", brisk("--bootstrap-from", "nobody")...)
	wrong.launch(leader.peer)
	wrong.mustFail(patience, "seed: --bootstrap-from nobody: no member is called", possible, silent.name)
	c.awaitVoters(3, 3)
	id := silent.id(leader)
	silent.kill()
	leader.awaitSilence(id, 0)
	down := here.newMember(t, "down", brisk("--bootstrap-from", silent.name)...)
	down.launch(leader.peer)
	down.mustFail(patience, fmt.Sprintf("member %d (%s) is not a voter that is up", id, silent.name), possible, "leave --bootstrap-from away")
	silent.start()
	c.awaitVoters(3, 3)
}

// TestNewcomerWaitsForTheSourceThatItNames kills it in the middle of the seed: the
// newcomer asks no other, goes on when it is back, and gives up when it stays away.
func TestNewcomerWaitsForTheSourceThatItNames(t *testing.T) {
	for name, back := range shortened(map[string]bool{"and goes on": true, "and gives up": false}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := here.newCluster(t, brisk("--seed-rate", "1MiB")...)
			leader, source := c.awaitLeader(), c.followers()[0]
			ballast(t, leader.kv(), seedSize)
			d := here.newMember(t, "d", brisk("--bootstrap-from", source.name)...)
			d.launch(leader.peer)
			d.awaitSeeding(512 << 10)
			source.kill()
			if back {
				source.start()
				d.awaitReady()
				c.members = append(c.members, d)
				c.awaitVoters(4, 3)
				c.mustHoldTheSame("ballast/")
			} else {
				d.mustFail(2*patience, "from member", source.peer, "nothing came for", "no other member was asked", "--bootstrap-from "+source.name)
				source.start()
				c.awaitVoters(3, 3)
			}
			if got := c.seeders(d); len(got) != 1 || got[0] != source.name {
				t.Errorf("the newcomer is seeded by %v", got)
			}
		})
	}
}
