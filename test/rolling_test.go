package test

import (
	"testing"
	"time"
)

// TestRollingRestartFailsNoRequest restarts every member in turn, the leader among
// them, while clients that know all members read and write.
func TestRollingRestartFailsNoRequest(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	l := startLoad(t, loadOptions{endpoints: c.endpoints(), patience: 5 * time.Second})
	l.awaitWrites(200)
	from := l.now()
	leaders := 0
	for range 2 {
		for _, m := range c.members {
			if c.awaitLeader() == m {
				leaders++
			}
			m.stop()
			l.awaitWrites(50)
			m.start()
			m.awaitServing()
			c.awaitVoters(3, 3)
			l.awaitWrites(50)
		}
	}
	t.Logf("6 restarts, %d of them of the leader: the longest pause between acknowledged writes was %v", leaders, l.longestPause(from, l.now()))
	if leaders == 0 {
		t.Error("no leader was restarted")
	}
	l.verify(c.members)
	l.mustHaveNoErrors()
	c.mustHoldTheSame("")
}
