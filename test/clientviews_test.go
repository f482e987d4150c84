package test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/ordering"
)

// The packages of etcd's client that look at keys and watches in a way of their own.

// TestLeasingKVNeverServesWhatAnotherOverwrote has two caches of the same keys: each
// reads its own, and gives it up when the other writes.
func TestLeasingKVNeverServesWhatAnotherOverwrote(t *testing.T) {
	t.Parallel()
	_, clients := onAll(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var caches []clientv3.KV
	for _, c := range clients {
		kv, end, err := leasing.NewKV(c, "leasing/", concurrency.WithTTL(30))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(end)
		caches = append(caches, kv)
	}
	for n := range 20 {
		want := strconv.Itoa(n)
		if _, err := caches[n%3].Put(ctx, "cached", want); err != nil {
			t.Fatal(err)
		}
		for i, kv := range caches {
			for range 2 { // the second is out of the cache
				r, err := kv.Get(ctx, "cached")
				if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != want {
					t.Fatalf("cache %d has %v, %v; want %s", i, r, err, want)
				}
			}
		}
	}
	const each = 10
	together(t, 3, func(i int) error {
		for done := 0; done < each; {
			r, err := caches[i].Get(ctx, "sum")
			if err != nil {
				return err
			}
			n, err := number(r)
			if err != nil {
				return err
			}
			at := int64(0)
			if len(r.Kvs) > 0 {
				at = r.Kvs[0].ModRevision
			}
			txn, err := caches[i].Txn(ctx).If(clientv3.Compare(clientv3.ModRevision("sum"), "=", at)).
				Then(clientv3.OpPut("sum", strconv.Itoa(n+1))).Commit()
			if err != nil {
				return err
			}
			if txn.Succeeded {
				done++
			}
		}
		return nil
	})
	mustBeNumber(ctx, t, clients[0], "sum", 3*each)
}

// TestMirrorIsWhatItMirrors reads more keys than fit into a page of the syncer while
// others change them, follows, and has the same keys in the end.
func TestMirrorIsWhatItMirrors(t *testing.T) {
	t.Parallel()
	_, clients := onAll(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	const keys = 2_500
	key := func(i int) string { return fmt.Sprintf("mirror/%05d", i) }
	for from := 0; from < keys; from += 100 {
		var ops []clientv3.Op
		for i := range 100 {
			ops = append(ops, clientv3.OpPut(key(from+i), "0"))
		}
		if _, err := clients[0].Txn(ctx).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	changed := make(chan error, 1)
	go func() {
		for n := range 300 {
			if _, err := clients[1].Txn(ctx).Then(clientv3.OpPut(key(n*8), strconv.Itoa(n)), clientv3.OpDelete(key(n*8+1))).Commit(); err != nil {
				changed <- err
				return
			}
		}
		_, err := clients[1].Put(ctx, "mirror/~", "the end")
		changed <- err
	}()
	s := mirror.NewSyncer(clients[2], "mirror/", 0)
	have := map[string]string{}
	base, errs := s.SyncBase(ctx)
	for r := range base {
		for _, kv := range r.Kvs {
			have[string(kv.Key)] = string(kv.Value)
		}
	}
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	for r := range s.SyncUpdates(ctx) {
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Events {
			if e.Type == clientv3.EventTypeDelete {
				delete(have, string(e.Kv.Key))
			} else {
				have[string(e.Kv.Key)] = string(e.Kv.Value)
			}
		}
		if have["mirror/~"] != "" {
			break
		}
	}
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	r, err := clients[0].Get(ctx, "mirror/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range r.Kvs {
		want[string(kv.Key)] = string(kv.Value)
	}
	if !maps.Equal(have, want) {
		t.Errorf("the mirror has %d keys, the store %d, and they differ", len(have), len(want))
	}
}

// TestOrderingKVNeverGoesBack reads what each member has, one after the other.
func TestOrderingKVNeverGoesBack(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	all, err := newClient(c.endpoints()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = all.Close() }) // nothing is in flight on it
	kv := ordering.NewKV(all.KV, ordering.NewOrderViolationSwitchEndpointClosure(all))
	last := int64(0)
	for n := range 200 {
		put(t, c.members[n%3], "ordered", strconv.Itoa(n))
		r, err := kv.Get(ctx, "ordered", clientv3.WithSerializable())
		if errors.Is(err, ordering.ErrNoGreaterRev) {
			continue // all are behind, which it may say
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Header.Revision < last {
			t.Fatalf("revision %d after %d", r.Header.Revision, last)
		}
		last = r.Header.Revision
	}
}

// TestNamespaceIsAWorldOfItsOwn wraps keys, watches and leases.
func TestNamespaceIsAWorldOfItsOwn(t *testing.T) {
	t.Parallel()
	m := oneMember(t).members[0]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	outside := m.kv()
	kv, watcher, lease := namespace.NewKV(outside.KV, "in/"), namespace.NewWatcher(outside.Watcher, "in/"), namespace.NewLease(outside.Lease, "in/")
	for _, k := range []string{"a", "in/b", "z"} {
		put(t, m, k, "outside")
	}
	watch := watcher.Watch(ctx, "", clientv3.WithFromKey())
	g, err := lease.Grant(ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	// The watch is there when it shows a key.
	seen := make(chan clientv3.WatchResponse, 1)
	go func() { seen <- <-watch }()
	await(t, "an event", soon, func(ctx context.Context) error {
		if _, err := kv.Put(ctx, "c", "inside", clientv3.WithLease(g.ID)); err != nil {
			return err
		}
		select {
		case r := <-seen:
			if r.Err() != nil || string(r.Events[0].Kv.Key) != "c" {
				return &hopeless{fmt.Errorf("%+v", r)}
			}
			return nil
		default:
			return errors.New("none came")
		}
	})
	r, err := kv.Get(ctx, "", clientv3.WithFromKey())
	if err != nil || len(r.Kvs) != 2 || string(r.Kvs[0].Key) != "b" || string(r.Kvs[1].Key) != "c" {
		t.Errorf("inside are %+v, %v", r, err)
	}
	l, err := lease.TimeToLive(ctx, g.ID, clientv3.WithAttachedKeys())
	if err != nil || len(l.Keys) != 1 || string(l.Keys[0]) != "c" {
		t.Errorf("the lease has %+v, %v", l, err)
	}
	txn, err := kv.Txn(ctx).If(clientv3.Compare(clientv3.Value("b"), "=", "outside"), clientv3.Compare(clientv3.CreateRevision("a"), "=", 0)).
		Then(clientv3.OpDelete("", clientv3.WithFromKey())).Commit()
	if err != nil || !txn.Succeeded || txn.Responses[0].GetResponseDeleteRange().Deleted != 2 {
		t.Errorf("%+v, %v", txn, err)
	}
	if r, err := outside.Get(ctx, "", clientv3.WithFromKey()); err != nil || len(r.Kvs) != 2 {
		t.Errorf("outside are %+v, %v", r, err)
	}
}

// TestWatchPutsFragmentsTogether replays more at once than a message of the wire may hold.
func TestWatchPutsFragmentsTogether(t *testing.T) {
	t.Parallel()
	m := oneMember(t).members[0]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	large := strings.Repeat("x", 1<<20)
	const n = 6
	for i := range n {
		put(t, m, fmt.Sprint("large/", i), large)
	}
	var keys []string
	for r := range m.kv().Watch(ctx, "large/", clientv3.WithPrefix(), clientv3.WithRev(1), clientv3.WithFragment()) {
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Events {
			if string(e.Kv.Value) != large {
				t.Errorf("%s has %d bytes", e.Kv.Key, len(e.Kv.Value))
			}
			keys = append(keys, string(e.Kv.Key))
		}
		if len(keys) >= n {
			break
		}
	}
	if !slices.IsSorted(keys) || len(slices.Compact(keys)) != n {
		t.Errorf("seen are %v", keys)
	}
}

// TestWatchThatRequiresALeaderEndsWithout also shows that the next one goes on where it
// ended.
func TestWatchThatRequiresALeaderEndsWithout(t *testing.T) {
	t.Parallel()
	c, _ := onAll(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	m := c.members[2]
	from, err := m.kv().Get(ctx, "led")
	if err != nil {
		t.Fatal(err)
	}
	watch := func() clientv3.WatchChan {
		return m.kv().Watch(clientv3.WithRequireLeader(ctx), "led", clientv3.WithRev(from.Header.Revision+1))
	}
	first := watch()
	c.members[0].kill()
	c.members[1].kill()
	r, open := <-first
	if !open || !errors.Is(r.Err(), rpctypes.ErrNoLeader) {
		t.Fatalf("without a leader the watch says %v, %v", r.Err(), open)
	}
	c.members[0].start()
	put(t, c.awaitLeader(), "led", "again")
	await(t, "the event", patience, func(context.Context) error {
		r := <-watch()
		if r.Err() != nil || len(r.Events) != 1 || string(r.Events[0].Kv.Value) != "again" {
			return fmt.Errorf("%+v, %w", r, r.Err())
		}
		return nil
	})
}
