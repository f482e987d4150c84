package test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"chainfire"
)

// TestLifeOfACluster is its whole story on real processes, under writes: one member,
// three, five and a standby; one dies and the standby votes in its place; two more die
// and the rest serve on; then the majority is lost for good, one survivor is made a new
// cluster, and that grows to three again. Nothing that was acknowledged is lost.
func TestLifeOfACluster(t *testing.T) {
	t.Parallel()
	args := brisk("--replace-after", "2s", "--reserve-ttl", "5s")
	c := &cluster{t: t, members: []*member{here.newMember(t, "a", args...)}}
	c.members[0].start()
	c.members[0].awaitServing()
	w := startWriter(t, []string{c.members[0].client})
	w.await(t, 50)
	for _, stage := range []struct {
		newcomers []string
		voters    int
	}{{[]string{"b", "c"}, 3}, {[]string{"d", "e"}, 5}, {[]string{"f"}, 5}} {
		for _, name := range stage.newcomers {
			m := here.newMember(t, name, args...)
			m.launch(c.members[0].peer)
			c.members = append(c.members, m)
		}
		for _, m := range c.members {
			m.awaitReady()
		}
		c.awaitVoters(len(c.members), stage.voters)
		w.await(t, 50)
	}
	w.end()
	w = w.goOn(t, c.endpoints())

	standby := c.standby()
	dead := c.followerThatVotes()
	t.Logf("%s dies; %s stands by", dead.name, standby.name)
	dead.kill()
	c.awaitPhase(standby, chainfire.PhaseVoter)
	w.await(t, 50)

	var killed []*member
	for range 2 {
		m := c.followerThatVotes()
		m.kill()
		killed = append(killed, m)
	}
	t.Logf("%s and %s die; the rest serve on", killed[0].name, killed[1].name)
	w.await(t, 50)

	// What is acknowledged from here on is on all three that are left. They go one
	// after the other, at rest.
	w.end()
	left := c.running()
	survivor := left[0]
	(&cluster{t: t, members: left}).mustHoldTheSame("w/")
	for _, m := range left {
		m.kill()
	}
	for _, m := range c.members {
		if m != survivor {
			removeAll(t, m.dir)
		}
	}
	r := survivor.recover()
	survivor.start()
	survivor.awaitServing()
	t.Logf("%s is all that is left; it was at revision %d and goes on at %d", survivor.name, r.OldRevision, r.Revision)
	grown := &cluster{t: t, members: []*member{survivor}}
	for _, name := range []string{"x", "y"} {
		m := here.newMember(t, name, args...)
		m.launch(survivor.peer)
		grown.members = append(grown.members, m)
	}
	grown.awaitVoters(3, 3)
	for _, m := range grown.members {
		m.awaitServing()
		w.mustBeAt(t, m)
	}
	grown.mustHoldTheSame("")
}

// goOn is a writer at other members that remembers what this one wrote.
func (w *writer) goOn(t *testing.T, endpoints []string) *writer {
	t.Helper()
	next := startWriter(t, endpoints, "later-")
	next.mu.Lock()
	defer next.mu.Unlock()
	next.keys = append(next.keys, w.keys...)
	next.last = max(next.last, w.last)
	return next
}

// followerThatVotes is a running voter that does not lead and did not found.
func (c *cluster) followerThatVotes() *member {
	c.t.Helper()
	s, err := c.awaitLeader().status(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, m := range c.followers() {
		if m != c.members[0] && phaseOf(s, m.name) == chainfire.PhaseVoter {
			return m
		}
	}
	c.t.Fatalf("no voter fits: %+v", s.Members)
	return nil
}

// standby is the running member that is a learner and has caught up.
func (c *cluster) standby() *member {
	c.t.Helper()
	s, err := c.awaitLeader().status(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, m := range c.running() {
		if phaseOf(s, m.name) == chainfire.PhaseLearner {
			return m
		}
	}
	c.t.Fatalf("nobody stands by: %+v", s.Members)
	return nil
}

// awaitPhase waits until the leader has a member in a phase.
func (c *cluster) awaitPhase(m *member, want chainfire.MemberPhase) {
	c.t.Helper()
	await(c.t, fmt.Sprintf("%s is a %s", m.name, want), patience+10*time.Second, func(ctx context.Context) error {
		s, err := c.awaitLeader().status(ctx)
		if err == nil && phaseOf(s, m.name) != want {
			err = fmt.Errorf("it is %q", phaseOf(s, m.name))
		}
		return err
	})
}
