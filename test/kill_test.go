package test

import (
	"testing"
)

func TestKilledLeaderCostsNoAcknowledgedWrite(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	l := startLoad(t, loadOptions{endpoints: c.endpoints()})
	l.awaitWrites(100)
	leader := c.awaitLeader()
	from := l.now()
	leader.kill()
	l.awaitWrites(200)
	t.Logf("the death of the leader cost %v", l.longestPause(from, l.now()))
	leader.start()
	c.awaitVoters(3, 3)
	l.awaitWrites(100)
	leader.awaitServing()
	l.verify(c.members)
}

func TestKilledFollowerCostsNoAcknowledgedWrite(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	l := startLoad(t, loadOptions{endpoints: c.endpoints()})
	l.awaitWrites(100)
	follower := c.followers()[0]
	from := l.now()
	follower.kill()
	l.awaitWrites(200)
	t.Logf("the death of a follower cost %v", l.longestPause(from, l.now()))
	follower.start()
	c.awaitVoters(3, 3)
	l.awaitWrites(100)
	follower.awaitServing()
	l.verify(c.members)
}

func TestKilledClusterComesBackWithEveryAcknowledgedWrite(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	l := startLoad(t, loadOptions{endpoints: c.endpoints()})
	l.awaitWrites(200)
	for _, m := range c.members {
		m.kill()
	}
	for _, m := range c.members {
		m.launch()
	}
	l.awaitWrites(200)
	c.awaitVoters(3, 3)
	for _, m := range c.members {
		m.awaitServing()
	}
	l.verify(c.members)
}
