package test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestPausedLeaderIsReplacedAndServesNothingStale stops the leader's process for
// longer than an election takes. Reads that were sent to it meanwhile are what it
// finds first when it goes on, before it hears of the new leader.
func TestPausedLeaderIsReplacedAndServesNothingStale(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	l := startLoad(t, loadOptions{endpoints: c.endpoints(), patience: 300 * time.Millisecond})
	l.awaitWrites(100)
	old := c.awaitLeader()
	put(t, old, "paused", "before")
	from := l.now()
	paused := time.Now()
	if err := old.proc.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var others []*member
	for _, m := range c.members {
		if m != old {
			others = append(others, m)
		}
	}
	rest := &cluster{t: t, members: others}
	leader := rest.awaitLeader()
	put(t, leader, "paused", "after")
	l.awaitWrites(50)
	t.Logf("the pause of the leader cost %v", l.longestPause(from, l.now()))

	const readers = 16
	answers := make(chan error, readers)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range readers {
		go func() { answers <- fresh(ctx, old) }()
	}
	await(t, "3 seconds of pause", soon, func(context.Context) error {
		if d := time.Since(paused); d < 3*time.Second {
			return fmt.Errorf("%v", d)
		}
		return nil
	})
	if err := old.proc.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for range readers {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	c.awaitVoters(3, 3)
	old.awaitServing()
	if now := c.awaitLeader(); now == old {
		t.Errorf("the paused leader leads again")
	}
	l.awaitWrites(50)
	l.verify(c.members)
}

func put(t *testing.T, m *member, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if _, err := m.kv().Put(ctx, key, value); err != nil {
		t.Fatalf("put %s at %s: %v", key, m.name, err)
	}
}

// fresh reads at a member and returns an error for an answer that is out of
// date. No answer is none that is wrong.
func fresh(ctx context.Context, m *member) error {
	r, err := m.kv().Get(ctx, "paused")
	if err != nil {
		return nil
	}
	if got := firstOf(r.Kvs).value; got != "after" {
		return fmt.Errorf("a linearizable read at the paused leader answered %q, which was overwritten before it was sent", got)
	}
	return nil
}

func TestRequestLimitIsThatOfEtcd(t *testing.T) {
	t.Parallel()
	a := oneMember(t).members[0]
	const limit = 1536 << 10
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	value := string(make([]byte, limit-64))
	if _, err := a.kv().Put(ctx, "large", value); err != nil {
		t.Errorf("a put of 1.5 MiB with its key and overhead: %v", err)
	}
	if r, err := a.kv().Get(ctx, "large"); err != nil || firstOf(r.Kvs).value != value {
		t.Errorf("it was not read back: %v", err)
	}
	txn := a.kv().Txn(ctx).Then(clientv3.OpPut("half", value[:limit/2]), clientv3.OpPut("other half", value[:limit/2]))
	if _, err := txn.Commit(); !errors.Is(err, rpctypes.ErrRequestTooLarge) {
		t.Errorf("a transaction of more than 1.5 MiB: %v", err)
	}
	_, err := a.kv().Put(ctx, "too large", string(make([]byte, limit)))
	if !errors.Is(err, rpctypes.ErrRequestTooLarge) || err.Error() != "etcdserver: request is too large" {
		t.Errorf("a put of more than 1.5 MiB: %v", err)
	}
	if r, err := a.kv().Get(ctx, "too large"); err != nil || len(r.Kvs) != 0 {
		t.Errorf("the refused put left %v, %v", r, err)
	}
}
