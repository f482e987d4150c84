package test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"chainfire"
)

// successor is a newcomer that is to take a member's place, under its name.
func (l *lab) successor(t *testing.T, of *member, args ...string) *member {
	t.Helper()
	return l.newMember(t, of.name, append(args, "--replace", of.name)...)
}

// in puts the newcomer where the other was in the list.
func (c *cluster) in(newcomer *member, old *member) {
	for i, m := range c.members {
		if m == old {
			c.members[i] = newcomer
		}
	}
}

// awaitGone waits until nobody has the id any more.
func (c *cluster) awaitGone(id uint64) {
	c.t.Helper()
	asked := c.running()[0]
	asked.await(fmt.Sprintf("the end of member %d", id), patience, func(ctx context.Context) error {
		s, err := asked.status(ctx)
		if err != nil {
			return err
		}
		for _, m := range s.Members {
			if m.ID == id {
				return fmt.Errorf("it is there as %s", m.Phase)
			}
		}
		return nil
	})
}

// TestDeadVoterIsReplacedByANewcomer starts a new machine in place of a dead one, under
// load, with the dead one's name: the newcomer votes, the other is removed by the same
// change, and is told so when it comes back.
func TestDeadVoterIsReplacedByANewcomer(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, brisk()...)
	asked, dead := c.awaitLeader(), c.followers()[0]
	id := dead.id(asked)
	var rest []*member
	for _, m := range c.members {
		if m != dead {
			rest = append(rest, m)
		}
	}
	l := startLoad(t, loadOptions{endpoints: []string{rest[0].client, rest[1].client}, clients: 4, pace: 20 * time.Millisecond})
	l.awaitWrites(50)
	dead.kill()
	by := here.successor(t, dead, brisk()...)
	by.launch(rest[0].peer, rest[1].peer)
	c.in(by, dead)
	by.awaitStep("voter")
	c.awaitGone(id)
	c.awaitVoters(3, 3)
	l.awaitWrites(50)
	if n := c.done("exchange"); n != 1 || c.done("promote") != 1 {
		t.Errorf("%d exchanges, %d promotions", n, c.done("promote"))
	}
	dead.launch()
	dead.mustFail(patience, "was removed from the cluster", "wipe the data directory and join again")
	// Stopped, it goes on as any member does.
	by.stop()
	by.args = brisk()
	by.start()
	c.awaitVoters(3, 3)
	l.verify(c.members)
	l.mustHaveNoErrors()
	c.mustHoldTheSame("")
}

// TestWipedVoterIsToldToReplaceItself loses the data of a voter: under its name and at
// its address it is recognised, and comes in again with the words that it is told.
func TestWipedVoterIsToldToReplaceItself(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, brisk()...)
	asked, wiped := c.awaitLeader(), c.followers()[0]
	id := wiped.id(asked)
	put(t, asked, "before", "the loss")
	wiped.kill()
	if err := os.RemoveAll(wiped.dir); err != nil {
		t.Fatal(err)
	}
	wiped.launch(asked.peer)
	wiped.mustFail(patience, fmt.Sprintf("is that of member %d (%s, voter)", id, wiped.name), "with its data lost", "start it with --replace "+wiped.name)
	wiped.args = append(brisk(), "--replace", wiped.name)
	wiped.launch(asked.peer)
	wiped.awaitStep("voter")
	c.awaitGone(id)
	c.awaitVoters(3, 3)
	wiped.awaitServing()
	c.mustHoldTheSame("")
}

// TestReplacementThatCannotBeIsRefused asks for the places of members that are at work,
// or are none: nothing changes.
func TestReplacementThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, brisk()...)
	leader, follower := c.awaitLeader(), c.followers()[0]
	for old, words := range map[string][]string{
		follower.name: {"is up; stop it first", "chainfire member replace"},
		leader.name:   {"leads the cluster; stop it first", "etcdctl move-leader"},
		"nobody":      {`no member is called "nobody"`, follower.name},
		"12345678":    {`no member is called "12345678"`},
	} {
		n := here.newMember(t, "new", "--replace", old)
		n.launch(follower.peer)
		n.mustFail(patience, append(words, "--replace")...)
	}
	n := here.newMember(t, "new", "--replace", "a")
	n.launch()
	n.mustFail(soon, "--replace a: name members of its cluster with --join")
	c.mustBeWhole(soon)
}

// TestReplacementThatIsGivenUpLeavesTheOldMember kills the newcomer in its seed, for
// good: its place expires, and the old member is one as before.
func TestReplacementThatIsGivenUpLeavesTheOldMember(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, append(slowSeed(), brisk()...)...)
	asked, old := c.awaitLeader(), c.followers()[0]
	ballast(t, asked.kv(), seedSize)
	id := old.id(asked)
	old.kill()
	n := here.successor(t, old)
	n.launch(asked.peer)
	n.awaitSeeding(512 << 10)
	// Another cannot have that place meanwhile.
	other := here.newMember(t, "other", "--replace", old.name)
	other.launch(asked.peer)
	other.mustFail(patience, fmt.Sprintf("the place of member %d (%s) is promised to member", id, old.name))
	n.kill()
	asked.await("the end of the reservation", patience, func(ctx context.Context) error {
		s, err := asked.status(ctx)
		if err == nil && len(s.Members) != 3 {
			err = fmt.Errorf("status is %+v", s)
		}
		return err
	})
	old.start()
	c.awaitVoters(3, 3)
	if now := old.id(asked); now != id {
		t.Errorf("it was member %d and is member %d", id, now)
	}
	c.mustHoldTheSame("ballast/")
}

// TestPromiseOfAPlaceStands lets the old member come back while the newcomer that is to
// replace it is seeded, and the newcomer restart without saying again whom it replaces.
// The rule: what was promised stands. The old one works until the newcomer has caught
// up, and is removed then.
func TestPromiseOfAPlaceStands(t *testing.T) {
	for name, leads := range shortened(map[string]bool{"when it follows": false, "when it leads": true}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := here.newCluster(t, append(brisk(), "--seed-rate", "1MiB")...)
			asked, old := c.awaitLeader(), c.followers()[0]
			ballast(t, asked.kv(), seedSize)
			id := old.id(asked)
			old.kill()
			n := here.successor(t, old, brisk()...)
			n.launch(asked.peer)
			n.awaitSeeding(512 << 10)
			old.start()
			old.awaitServing()
			if leads {
				asked.handOverTo(id)
			}
			n.kill()
			n.args = brisk()
			n.launch(asked.peer)
			n.awaitStep("voter")
			old.mustFail(patience, "removed from the cluster")
			c.in(n, old)
			c.awaitGone(id)
			c.awaitVoters(3, 3)
			c.mustHoldTheSame("ballast/")
		})
	}
}

// handOverTo hands leadership from this member to another.
func (m *member) handOverTo(id uint64) {
	m.t.Helper()
	m.await(fmt.Sprintf("member %d as the leader", id), patience, func(ctx context.Context) error {
		s, err := m.status(ctx)
		if err == nil && s.Leader != id {
			_, err = m.kv().MoveLeader(ctx, id)
		}
		return err
	})
}

// TestLearnerIsReplacedWhenTheNewcomerHasCaughtUp has one voter, and a learner that is
// dead: the newcomer becomes the learner that stands by.
func TestLearnerIsReplacedWhenTheNewcomerHasCaughtUp(t *testing.T) {
	t.Parallel()
	c := oneMember(t, brisk()...)
	a, b := c.members[0], here.newMember(t, "b", brisk()...)
	b.start(a.peer)
	b.awaitStep("promote")
	c.members = append(c.members, b)
	c.awaitVoters(2, 1)
	id := b.id(a)
	b.kill()
	by := here.successor(t, b, brisk()...)
	by.start(a.peer)
	c.in(by, b)
	c.awaitGone(id)
	c.awaitVoters(2, 1)
	by.awaitPhase("b", chainfire.PhaseLearner)
}

// TestStandbyReplacesAVoterOnDemand exchanges a voter that is up for a learner that
// stands by, in one change; and where none stands by, prints a command that does it,
// which is run as it stands.
func TestStandbyReplacesAVoterOnDemand(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, brisk("--voters", "3")...)
	leader, f := c.awaitLeader(), c.followers()
	d := here.newMember(t, "d", brisk("--voters", "3")...)
	d.start(leader.peer)
	c.members = append(c.members, d)
	c.awaitVoters(4, 3)
	dir := t.TempDir()
	here.chainfire(t, dir, f[0], "member", "replace", leader.name).mustSay(t, 1, "leads the cluster; stop it first")
	here.chainfire(t, dir, f[0], "member", "replace", d.name).mustSay(t, 1, "does not vote", "chainfire member remove")
	here.chainfire(t, dir, f[0], "member", "replace", f[1].name, "--by", leader.name).mustSay(t, 1, "does not stand by")
	here.chainfire(t, dir, f[0], "member", "replace", f[1].name, "--wait", soon.String()).mustSay(t, 0,
		"(d) votes in place of ", "("+f[1].name+"), which is removed")
	f[1].mustFail(patience, "removed from the cluster")
	c.members = []*member{leader, f[0], d}
	c.awaitVoters(3, 3)
	f[0].kill()
	id := f[0].id(leader)
	leader.awaitSilence(id, 0)
	a := here.chainfire(t, dir, leader, "member", "replace", f[0].name)
	a.mustSay(t, 1, "no member stands by", "nothing was changed", "serve --join ", " --replace "+f[0].name+" ", "--token", "was not replaced")
	c.runLine(dir, a.stdout)
	c.members = []*member{leader, d}
	c.awaitGone(id)
	leader.await("three voters", patience, func(ctx context.Context) error {
		s, err := leader.status(ctx)
		if err != nil {
			return err
		}
		return exactly(s, 3, 3)
	})
}

// runLine runs the line of a command's output that starts a member, in a shell, until
// the end of the test.
func (c *cluster) runLine(dir, output string) {
	c.t.Helper()
	for line := range strings.Lines(output) {
		if !strings.Contains(line, " serve --join ") {
			continue
		}
		script := "cd " + dir + " && exec " + strings.TrimSpace(line) + " --progress json"
		p, err := startProcess("/bin/sh", []string{"-c", script}, dir+"/line.log")
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(func() {
			if err := p.kill(); err != nil {
				c.t.Error(err)
			}
			if c.t.Failed() {
				c.t.Logf("%s ends:\n%s", script, tail(dir+"/line.log", 30))
			}
		})
		return
	}
	c.t.Fatalf("no line starts a member in\n%s", output)
}
