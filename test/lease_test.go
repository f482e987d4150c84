package test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// attached grants a lease and writes keys that hang on it.
func attached(t *testing.T, m *member, ttl int64, keys ...string) clientv3.LeaseID {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	g, err := m.kv().Grant(ctx, ttl)
	if err != nil {
		t.Fatalf("grant a lease at %s: %v", m.name, err)
	}
	for _, k := range keys {
		if _, err := m.kv().Put(ctx, k, "v", clientv3.WithLease(g.ID)); err != nil {
			t.Fatalf("put %s at %s: %v", k, m.name, err)
		}
	}
	return g.ID
}

func isThere(ctx context.Context, m *member, key string) error {
	r, err := m.kv().Get(ctx, key)
	if err == nil && r.Count == 0 {
		err = fmt.Errorf("%s is gone", key)
	}
	return err
}

func TestExpiredLeaseTakesItsKeysInOneRevisionWhoeverIsAsked(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	follower := c.followers()[0]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	const ttl = 8 // seconds, of which what comes before the end takes a part
	now, err := follower.kv().Get(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	id := attached(t, follower, ttl, "a", "b", "c")
	for _, m := range c.members {
		l, err := m.kv().TimeToLive(ctx, id, clientv3.WithAttachedKeys())
		if err != nil || l.TTL > ttl || l.GrantedTTL != ttl || len(l.Keys) != 3 {
			t.Errorf("at %s: %+v, %v", m.name, l, err)
		}
		list, err := m.kv().Leases(ctx)
		if err != nil || !slices.ContainsFunc(list.Leases, func(s clientv3.LeaseStatus) bool { return s.ID == id }) {
			t.Errorf("at %s: %+v, %v", m.name, list, err)
		}
	}
	var gone []string
	r := <-follower.kv().Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithFilterPut(), clientv3.WithRev(now.Header.Revision+1))
	for _, e := range r.Events {
		gone = append(gone, string(e.Kv.Key))
		if in := r.Events[0].Kv.ModRevision; e.Kv.ModRevision != in {
			t.Errorf("%s went in %d, another in %d", e.Kv.Key, e.Kv.ModRevision, in)
		}
	}
	if took := time.Since(began); took < ttl*time.Second {
		t.Errorf("the lease of %d s ended after %v", ttl, took)
	}
	if !slices.Equal(gone, []string{"a", "b", "c"}) {
		t.Errorf("gone are %v", gone)
	}
	for _, m := range c.members {
		if l, err := m.kv().TimeToLive(ctx, id); err != nil || l.TTL != -1 {
			t.Errorf("at %s: %+v, %v", m.name, l, err)
		}
		if _, err := m.kv().KeepAliveOnce(ctx, id); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			t.Errorf("at %s: renewed: %v", m.name, err)
		}
		if _, err := m.kv().Revoke(ctx, id); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			t.Errorf("at %s: revoked: %v", m.name, err)
		}
	}
}

// TestLeaseThatIsKeptAliveOutlivesItsLeaders kills one leader and stops another, while a
// client renews through all members.
func TestLeaseThatIsKeptAliveOutlivesItsLeaders(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	cl, err := newClient(c.endpoints()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	id := attached(t, c.awaitLeader(), 10, "kept")
	kept, err := cl.KeepAlive(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for r := range kept {
			if r == nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	for _, end := range []func(*member){(*member).kill, (*member).stop} {
		old := c.awaitLeader()
		end(old)
		leader := c.awaitLeader()
		// Longer than the lease has, with what a new leader gives it.
		began := time.Now()
		await(t, "12 seconds with another leader", patience, func(ctx context.Context) error {
			if err := isThere(ctx, leader, "kept"); err != nil {
				t.Fatalf("%v after the leader changed: %v", time.Since(began), err)
			}
			if d := time.Since(began); d < 12*time.Second {
				return fmt.Errorf("%v", d)
			}
			return nil
		})
		old.start()
		old.awaitServing()
	}
	if err := cl.Close(); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	leader := c.awaitLeader()
	await(t, "the end of a lease that nobody renews", patience, func(ctx context.Context) error {
		if err := isThere(ctx, leader, "kept"); err == nil {
			return errors.New("its key is there")
		}
		return nil
	})
	if l, err := leader.kv().TimeToLive(ctx, id); err != nil || l.TTL != -1 {
		t.Errorf("%+v, %v", l, err)
	}
}

// TestFrozenLeaderRevokesNothingWhenItGoesOn stops the leader for longer than a lease
// has, which its successor keeps alive meanwhile (etcd's issue 15247).
func TestFrozenLeaderRevokesNothingWhenItGoesOn(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	old := c.awaitLeader()
	id := attached(t, old, 6, "kept")
	if err := old.proc.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	frozen := time.Now()
	rest := &cluster{t: t, members: slices.DeleteFunc(slices.Clone(c.members), func(m *member) bool { return m == old })}
	leader := rest.awaitLeader()
	renew := func(ctx context.Context) error {
		_, err := leader.kv().KeepAliveOnce(ctx, id)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			t.Fatalf("after %v: %v", time.Since(frozen), err)
		}
		return err
	}
	await(t, "8 seconds of a frozen leader", patience, func(ctx context.Context) error {
		if err := renew(ctx); err != nil {
			return err
		}
		if d := time.Since(frozen); d < 8*time.Second {
			return fmt.Errorf("%v", d)
		}
		return nil
	})
	if err := old.proc.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	awake := time.Now()
	old.awaitServing()
	await(t, "3 seconds with the old leader", patience, func(ctx context.Context) error {
		if err := renew(ctx); err != nil {
			return err
		}
		if err := isThere(ctx, old, "kept"); err != nil {
			t.Fatalf("%v after the old leader went on: %v", time.Since(awake), err)
		}
		if d := time.Since(awake); d < 3*time.Second {
			return fmt.Errorf("%v", d)
		}
		return nil
	})
}

// TestLeaseWithMoreKeysThanFitIntoAMessageIsShownByAnyMember: keys of 20 MiB in all.
func TestLeaseWithMoreKeysThanFitIntoAMessageIsShownByAnyMember(t *testing.T) {
	t.Parallel()
	const keys, size = 200, 100 << 10
	c := here.newCluster(t, calm()...)
	f := c.followers()[0]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	id := attached(t, f, 100)
	for from := 0; from < keys; from += 10 {
		var ops []clientv3.Op
		for i := range 10 {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("%0*d", size, from+i), "", clientv3.WithLease(id)))
		}
		if _, err := f.kv().Txn(ctx).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := f.kv().TimeToLive(ctx, id, clientv3.WithAttachedKeys())
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Keys) != keys || len(l.Keys[keys-1]) != size {
		t.Errorf("%d keys", len(l.Keys))
	}
	// etcd's client sends a revocation again when the first one's answer was lost with a leader.
	if _, err := f.kv().Revoke(ctx, id); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		t.Fatal(err)
	}
	if r, err := f.kv().Get(ctx, "", clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil || r.Count != 0 {
		t.Errorf("%d keys are left, %v", r.Count, err)
	}
}
