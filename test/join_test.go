package test

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// electionTimeout is the default of serve.
const electionTimeout = 250 * time.Millisecond

func TestJoinWhereNobodyListensEndsAndNamesTheAddress(t *testing.T) {
	nobody := here.port(t)
	b := here.newMember(t, "b")
	b.launch(nobody)
	// It tries for half a minute: other tests may run meanwhile.
	t.Parallel()
	b.mustFail(patience+soon, "no member answered within", nobody, "connection refused", "check the addresses given to --join")
}

func TestClusterGrowsByJoinUnderLoadWithoutAnErrorOrALostWrite(t *testing.T) {
	a := here.newMember(t, "a")
	a.start()
	a.awaitServing()
	c := &cluster{t: t, members: []*member{a}}
	l := startLoad(t, loadOptions{endpoints: []string{a.client}})
	l.awaitWrites(200)
	from := l.now()
	for _, name := range []string{"b", "c"} {
		m := here.newMember(t, name)
		m.launch(a.peer)
		c.members = append(c.members, m)
		m.awaitReady()
		l.awaitWrites(200)
	}
	c.awaitVoters(3, 3)
	l.awaitWrites(200)
	pause := l.longestPause(from, l.now())
	t.Logf("while two members joined, the longest pause between acknowledged writes was %v (election timeout %v)", pause, electionTimeout)
	if pause > time.Second {
		t.Errorf("writes paused for %v", pause)
	}
	for _, m := range c.members {
		m.awaitServing()
	}
	l.verify(c.members)
	l.mustHaveNoErrors()
	c.mustHoldTheSame("")
}

// mustHoldTheSame waits until every member, asked by itself, counts what the
// leader counts under a prefix.
func (c *cluster) mustHoldTheSame(prefix string) {
	c.t.Helper()
	opts := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithCountOnly()}
	leader := c.awaitLeader()
	for _, m := range c.running() {
		m.await("every key", soon, func(ctx context.Context) error {
			// Counted anew each time: a put that was never answered may still come.
			want, err := leader.kv().Get(ctx, prefix, opts...)
			if err != nil {
				return err
			}
			have, err := m.kv().Get(ctx, prefix, append(opts, clientv3.WithSerializable())...)
			if err != nil {
				return err
			}
			if have.Count != want.Count {
				return errors.New("a different number of keys")
			}
			return nil
		})
	}
}
