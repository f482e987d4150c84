package test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// The packages that come with etcd's client, each with several clients that get in each
// other's way, through different members.

// onAll is one cluster of three with a client of each member.
func onAll(t *testing.T) (*cluster, []*clientv3.Client) {
	t.Helper()
	c := here.newCluster(t)
	var out []*clientv3.Client
	for _, m := range c.members {
		out = append(out, m.kv())
	}
	return c, out
}

// together runs f for n clients at once, and fails with what any of them returns.
func together(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- f(i) }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// number is the value of a key that holds a number, 0 if there is none.
func number(r *clientv3.GetResponse) (int, error) {
	if len(r.Kvs) == 0 {
		return 0, nil
	}
	return strconv.Atoi(string(r.Kvs[0].Value))
}

func mustBeNumber(ctx context.Context, t *testing.T, c *clientv3.Client, key string, want int) {
	t.Helper()
	r, err := c.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := number(r); err != nil || n != want {
		t.Errorf("%s is %d, %v; want %d", key, n, err, want)
	}
}

// TestSTMKeepsWhatItsLevelPromises counts, and moves an amount between two accounts,
// from six clients. A level that guards what was read loses no count; one that sees a
// snapshot never sees an amount that is under way.
func TestSTMKeepsWhatItsLevelPromises(t *testing.T) {
	t.Parallel()
	_, clients := onAll(t)
	const each, total = 15, 1000
	for name, level := range map[string]struct {
		isolation        concurrency.Isolation
		counts, snapshot bool
	}{
		"SerializableSnapshot": {concurrency.SerializableSnapshot, true, true},
		"Serializable":         {concurrency.Serializable, true, true},
		"RepeatableReads":      {concurrency.RepeatableReads, true, false},
		"ReadCommitted":        {concurrency.ReadCommitted, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			key := func(k string) string { return name + "/" + k }
			if _, err := clients[0].Put(ctx, key("from"), strconv.Itoa(total)); err != nil {
				t.Fatal(err)
			}
			move := func(s concurrency.STM) error {
				from, _ := strconv.Atoi(s.Get(key("from"))) // nothing is 0
				to, _ := strconv.Atoi(s.Get(key("to")))
				n, _ := strconv.Atoi(s.Get(key("count")))
				if level.snapshot && from+to != total {
					return fmt.Errorf("saw %d and %d, of %d", from, to, total)
				}
				s.Put(key("from"), strconv.Itoa(from-1))
				s.Put(key("to"), strconv.Itoa(to+1))
				s.Put(key("count"), strconv.Itoa(n+1))
				return nil
			}
			together(t, 6, func(i int) error {
				for range each {
					if _, err := concurrency.NewSTM(clients[i%3], move, concurrency.WithIsolation(level.isolation), concurrency.WithAbortContext(ctx)); err != nil {
						return err
					}
				}
				return nil
			})
			if level.counts {
				mustBeNumber(ctx, t, clients[1], key("count"), 6*each)
				mustBeNumber(ctx, t, clients[2], key("from"), total-6*each)
				return
			}
			// Counts may be lost, but what one transaction writes is written as one.
			r, err := clients[1].Get(ctx, key(""), clientv3.WithPrefix())
			if err != nil || len(r.Kvs) != 3 || r.Kvs[0].ModRevision != r.Kvs[2].ModRevision || r.Kvs[1].ModRevision != r.Kvs[2].ModRevision {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// TestMutexLetsOneInAtATime counts under it, by a read and a write that nothing else
// guards, while one of the members is killed.
func TestMutexLetsOneInAtATime(t *testing.T) {
	t.Parallel()
	c, clients := onAll(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	victim := c.awaitLeader()
	at := slices.Index(c.members, victim)
	clients = slices.Delete(clients, at, at+1)
	const each, n = 10, 6
	var inside, done atomic.Int64
	var killed atomic.Bool
	together(t, n+1, func(i int) error {
		if i == n { // the one who kills, midway
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for done.Load() < n*each/2 {
				select {
				case <-ctx.Done():
					return fmt.Errorf("half of the turns: %w", ctx.Err())
				case <-tick.C:
				}
			}
			killed.Store(true)
			return victim.proc.kill()
		}
		s, err := concurrency.NewSession(clients[i%len(clients)], concurrency.WithTTL(30))
		if err != nil {
			return err
		}
		defer s.Close()
		m := concurrency.NewMutex(s, "mutex")
		for range each {
			if err := count(ctx, clients[i%len(clients)], m, &inside); err != nil {
				return fmt.Errorf("client %d, after a kill: %v: %w", i, killed.Load(), err)
			}
			done.Add(1)
		}
		return nil
	})
	mustBeNumber(ctx, t, clients[0], "counted", n*each)
}

// count adds one under a lock. It asks again what the death of a leader left open, which
// is no danger: it writes what it read.
func count(ctx context.Context, c *clientv3.Client, m *concurrency.Mutex, inside *atomic.Int64) error {
	if err := again(ctx, func() error { return m.Lock(ctx) }); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if n := inside.Add(1); n != 1 {
		return fmt.Errorf("%d have the lock", n)
	}
	var was int
	err := again(ctx, func() error {
		r, err := c.Get(ctx, "counted")
		if err == nil {
			was, err = number(r)
		}
		return err
	})
	if err == nil {
		err = again(ctx, func() error {
			_, err := c.Put(ctx, "counted", strconv.Itoa(was+1))
			return err
		})
	}
	inside.Add(-1)
	if err != nil {
		return err
	}
	return again(ctx, func() error { return m.Unlock(ctx) })
}

// again repeats what fails because a leader is missing.
func again(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "leader") && !strings.Contains(err.Error(), "unavailable") {
			return err
		}
	}
}

// TestElectionIsWonByOneAtATime lets six stand for it; each leads once.
func TestElectionIsWonByOneAtATime(t *testing.T) {
	t.Parallel()
	_, clients := onAll(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var leaders atomic.Int64
	together(t, 6, func(i int) error {
		s, err := concurrency.NewSession(clients[i%3], concurrency.WithTTL(30))
		if err != nil {
			return err
		}
		defer s.Close()
		e := concurrency.NewElection(s, "election")
		me := fmt.Sprint("candidate ", i)
		if err := e.Campaign(ctx, me); err != nil {
			return err
		}
		if n := leaders.Add(1); n != 1 {
			return fmt.Errorf("%d lead", n)
		}
		r, err := concurrency.NewElection(s, "election").Leader(ctx)
		if err != nil || string(r.Kvs[0].Value) != me {
			return fmt.Errorf("%s leads, but %v, %w is seen", me, r, err)
		}
		if err := e.Proclaim(ctx, me+" again"); err != nil {
			return err
		}
		leaders.Add(-1)
		return e.Resign(ctx)
	})
}
