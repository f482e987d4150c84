package test

import (
	"testing"
)

func TestClusterOfTheReferenceGrowsAndSurvivesItsLeader(t *testing.T) {
	t.Parallel()
	growAndBehead(t, engineEtcd)
}

func TestMixedClusterGrowsAndSurvivesItsLeader(t *testing.T) {
	t.Parallel()
	growAndBehead(t, engineMixed)
}

// growAndBehead grows a cluster under load from one member to three, kills the
// leader, and lets it come back.
func growAndBehead(t *testing.T, e engine) {
	t.Helper()
	c := &cluster{t: t}
	for _, name := range []string{"a", "b", "c"} {
		m := here.newMember(t, name)
		m.engine = e
		c.members = append(c.members, m)
	}
	a := c.members[0]
	a.start()
	a.awaitServing()
	l := startLoad(t, loadOptions{endpoints: c.endpoints()})
	l.awaitWrites(100)
	for _, m := range c.members[1:] {
		m.launch(a.peer)
		m.awaitReady()
	}
	c.awaitVoters(3, 3)
	l.awaitWrites(100)
	leader := c.awaitLeader()
	leader.kill()
	l.awaitWrites(100)
	leader.start()
	c.awaitVoters(3, 3)
	l.awaitWrites(100)
	for _, m := range c.members {
		m.awaitServing()
	}
	l.verify(c.members)
	c.mustHoldTheSame("")
}

// TestMemberChangesItsEngineBetweenStarts changes the engine of each member of a
// cluster under load, one after the other, there and back.
func TestMemberChangesItsEngineBetweenStarts(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	l := startLoad(t, loadOptions{endpoints: c.endpoints()})
	for range 2 {
		for _, m := range c.members {
			l.awaitWrites(50)
			if m.engine == engineMixed {
				m.engine = engine(m.engine.of(m.name, m.launches-1))
			}
			m.engine = m.engine.other()
			m.stop()
			m.start()
			c.awaitVoters(3, 3)
			m.awaitServing()
		}
	}
	l.awaitWrites(50)
	l.verify(c.members)
	c.mustHoldTheSame("")
}

// TestSingleMemberChangesItsEngineBetweenStarts lets each engine find again, alone
// and after a kill, what the other has written.
func TestSingleMemberChangesItsEngineBetweenStarts(t *testing.T) {
	t.Parallel()
	a := here.newMember(t, "a")
	a.engine = engineOwn
	a.start()
	a.awaitServing()
	c := &cluster{t: t, members: []*member{a}}
	l := startLoad(t, loadOptions{endpoints: c.endpoints()})
	for range 2 {
		l.awaitWrites(100)
		a.kill()
		a.engine = a.engine.other()
		a.start()
		a.awaitServing()
	}
	l.awaitWrites(100)
	l.verify(c.members)
}
