package test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var objectsFlag = flag.Int("objects", 0, "how many objects TestCallsOfAnAPIServer creates; 0 is 3,000, or 1,000 with -short")

const (
	registry   = "/registry/pods/"
	compactKey = "compact_rev_key"
	// pageSize is how many objects kube-apiserver's clients ask for at a time.
	pageSize = 500
)

// apiServer makes the calls that kube-apiserver makes of its store.
type apiServer struct {
	t       *testing.T
	ctx     context.Context
	client  *clientv3.Client
	objects int
	// states are what there was at some revisions.
	states map[int64]map[string]string
	now    map[string]string
}

func objectKey(i int) string { return fmt.Sprintf("%snamespace-%03d/object-%06d", registry, i%50, i) }

// object is as large as a small pod.
func object(i int, version string) string {
	return fmt.Sprintf("k8s\x00 %d %s %s", i, version, strings.Repeat("spec ", 200))
}

// TestCallsOfAnAPIServer creates, updates, lists, watches, compacts and deletes as
// kube-apiserver does, and holds every list to the state at its revision. At its size:
//
//	go test ./test -run 'TestCallsOfAnAPIServer$' -v -objects=100000 -timeout 0
func TestCallsOfAnAPIServer(t *testing.T) {
	t.Parallel()
	n := *objectsFlag
	if n == 0 {
		n = 3_000
		if testing.Short() {
			n = 1_000
		}
	}
	c := here.newCluster(t, calm()...)
	all, err := newClient(c.endpoints()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = all.Close() }) // nothing is in flight on it
	a := &apiServer{t: t, ctx: t.Context(), client: all, objects: n, states: map[int64]map[string]string{}, now: map[string]string{}}
	for _, step := range []struct {
		name string
		run  func()
	}{
		{"create", a.create},
		{"update", a.update},
		{"list", a.list},
		{"watch", a.watch},
		{"lease", a.lease},
		{"delete", a.deleteSome},
		{"list again", a.list},
		{"compact", a.compact},
	} {
		began := time.Now()
		step.run()
		if t.Failed() {
			t.FailNow()
		}
		t.Logf("%s: %v", step.name, time.Since(began).Round(time.Millisecond))
	}
	a.status()
}

// keep remembers the state at a revision.
func (a *apiServer) keep(revision int64) { a.states[revision] = maps.Clone(a.now) }

// create puts each object if it is not there, sixteen at a time; a second try is told
// what is there.
func (a *apiServer) create() {
	const writers = 16
	type made struct{ key, value string }
	out := make(chan made, a.objects)
	together(a.t, writers, func(w int) error {
		for i := w; i < a.objects; i += writers {
			key, value := objectKey(i), object(i, "1")
			r, err := a.put(key, value, 0)
			if err != nil {
				return fmt.Errorf("create %s: %w", key, err)
			}
			if !r.Succeeded {
				return fmt.Errorf("%s was there before it was created", key)
			}
			out <- made{key, value}
		}
		return nil
	})
	close(out)
	for m := range out {
		a.now[m.key] = m.value
	}
	r, err := a.put(objectKey(0), "another", 0)
	if err != nil || r.Succeeded || string(r.Responses[0].GetResponseRange().Kvs[0].Value) != object(0, "1") {
		a.t.Errorf("created again: %+v, %v", r, err)
	}
	a.keep(r.Header.Revision)
}

// put writes a key whose last change was at a revision, and else reads it.
func (a *apiServer) put(key, value string, revision int64, opts ...clientv3.OpOption) (*clientv3.TxnResponse, error) {
	return a.client.Txn(a.ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
		Then(clientv3.OpPut(key, value, opts...)).Else(clientv3.OpGet(key)).Commit()
}

// update changes every tenth object, from a version that is out of date at first.
func (a *apiServer) update() {
	var last int64
	for i := 0; i < a.objects; i += 10 {
		key, value, at := objectKey(i), object(i, "2"), int64(1)
		for try := 1; ; try++ {
			r, err := a.put(key, value, at)
			if err != nil {
				a.t.Fatalf("update %s: %v", key, err)
			}
			last = r.Header.Revision
			if r.Succeeded {
				break
			}
			if try == 2 {
				a.t.Fatalf("%s: a version that was just read is out of date", key)
			}
			at = r.Responses[0].GetResponseRange().Kvs[0].ModRevision
		}
		a.now[key] = value
	}
	a.keep(last)
}

// list reads every state that was kept, by pages and as a stream, and the counts.
func (a *apiServer) list() {
	for revision, want := range a.states {
		if err := a.paged(revision, want); err != nil {
			a.t.Errorf("pages at revision %d: %v", revision, err)
		}
		stream, err := a.client.GetStream(a.ctx, registry, clientv3.WithPrefix(), clientv3.WithRev(revision))
		if err != nil {
			a.t.Fatal(err)
		}
		r, err := clientv3.GetStreamToGetResponse(stream)
		if err != nil {
			a.t.Fatalf("stream at revision %d: %v", revision, err)
		}
		if err := same(r, want); err != nil {
			a.t.Errorf("stream at revision %d: %v", revision, err)
		}
		r, err = a.client.Get(a.ctx, registry, clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithRev(revision))
		if err != nil || r.Count != int64(len(want)) || len(r.Kvs) != 0 {
			a.t.Errorf("count at revision %d: %d, %v; want %d", revision, r.Count, err, len(want))
		}
	}
	key := objectKey(a.objects / 2)
	r, err := a.client.Get(a.ctx, key)
	if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != a.now[key] {
		a.t.Errorf("one object: %+v, %v", r, err)
	}
}

// paged reads a state page by page, and holds it to what there was.
func (a *apiServer) paged(revision int64, want map[string]string) error {
	whole := &clientv3.GetResponse{}
	key := registry
	for left := int64(len(want)); ; {
		page, err := a.client.Get(a.ctx, key, clientv3.WithRange(clientv3.GetPrefixRangeEnd(registry)), clientv3.WithLimit(pageSize), clientv3.WithRev(revision))
		if err != nil {
			return err
		}
		if page.Count != left || page.More != (left > pageSize) {
			return fmt.Errorf("from %s on there are %d, more %v; %d are left", key, page.Count, page.More, left)
		}
		whole.Kvs = append(whole.Kvs, page.Kvs...)
		if !page.More {
			return same(whole, want)
		}
		left -= int64(len(page.Kvs))
		key = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

// same says how a list differs from a state, or that it is out of order.
func same(r *clientv3.GetResponse, want map[string]string) error {
	last := ""
	for _, kv := range r.Kvs {
		key := string(kv.Key)
		if key <= last {
			return fmt.Errorf("%s comes after %s", key, last)
		}
		if v, ok := want[key]; !ok || v != string(kv.Value) {
			return fmt.Errorf("%s is of revision %d, which is not what was there", key, kv.ModRevision)
		}
		last = key
	}
	if len(r.Kvs) != len(want) {
		return fmt.Errorf("%d objects, %d were there", len(r.Kvs), len(want))
	}
	return nil
}

// watch replays what followed the first state, asks for progress, and must come to the
// present state.
func (a *apiServer) watch() {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(a.ctx))
	defer cancel()
	var from int64
	for revision := range a.states {
		if from == 0 || revision < from {
			from = revision
		}
	}
	now, err := a.client.Get(ctx, objectKey(0))
	if err != nil {
		a.t.Fatal(err)
	}
	state := maps.Clone(a.states[from])
	w := a.client.Watch(ctx, registry, clientv3.WithPrefix(), clientv3.WithRev(from+1), clientv3.WithPrevKV(), clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	for r := range w {
		if err := r.Err(); err != nil {
			a.t.Fatal(err)
		}
		if r.IsProgressNotify() && r.Header.Revision >= now.Header.Revision {
			break
		}
		if r.Created {
			if err := a.client.RequestProgress(ctx); err != nil {
				a.t.Fatal(err)
			}
		}
		for _, e := range r.Events {
			key := string(e.Kv.Key)
			if e.PrevKv == nil || string(e.PrevKv.Value) != state[key] {
				a.t.Fatalf("%s was %v before, the watch says %v", key, state[key], e.PrevKv)
			}
			state[key] = string(e.Kv.Value)
		}
	}
	if !maps.Equal(state, a.now) {
		a.t.Error("the watch comes to another state than the writes")
	}
}

// lease hangs many events on one lease, as kube-apiserver does for a minute's, and ends
// it.
func (a *apiServer) lease() {
	const prefix = "/registry/events/"
	g, err := a.client.Grant(a.ctx, 3600)
	if err != nil {
		a.t.Fatal(err)
	}
	n := min(a.objects, 1000)
	for i := range n {
		if r, err := a.put(fmt.Sprintf("%s%06d", prefix, i), "event", 0, clientv3.WithLease(g.ID)); err != nil || !r.Succeeded {
			a.t.Fatalf("%+v, %v", r, err)
		}
	}
	l, err := a.client.TimeToLive(a.ctx, g.ID, clientv3.WithAttachedKeys())
	if err != nil || len(l.Keys) != n {
		a.t.Fatalf("%d keys, %v; want %d", len(l.Keys), err, n)
	}
	if _, err := a.client.Revoke(a.ctx, g.ID); err != nil {
		a.t.Fatal(err)
	}
	if r, err := a.client.Get(a.ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil || r.Count != 0 {
		a.t.Errorf("%d events are left, %v", r.Count, err)
	}
}

// deleteSome deletes every seventh object, if it is as it was read.
func (a *apiServer) deleteSome() {
	var last int64
	for i := 0; i < a.objects; i += 7 {
		key := objectKey(i)
		r, err := a.client.Get(a.ctx, key)
		if err != nil || len(r.Kvs) != 1 {
			a.t.Fatalf("%+v, %v", r, err)
		}
		d, err := a.client.Txn(a.ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", r.Kvs[0].ModRevision)).
			Then(clientv3.OpDelete(key)).Else(clientv3.OpGet(key)).Commit()
		if err != nil || !d.Succeeded || d.Responses[0].GetResponseDeleteRange().Deleted != 1 {
			a.t.Fatalf("delete %s: %+v, %v", key, d, err)
		}
		last = d.Header.Revision
		delete(a.now, key)
	}
	a.keep(last)
}

// compact is kube-apiserver's: whoever moves the key on compacts, and no other. What was
// before is gone then, and the present is all there.
func (a *apiServer) compact() {
	var at int64
	for version, want := range map[int64]bool{0: true, 7: false} {
		r, err := a.client.Txn(a.ctx).If(clientv3.Compare(clientv3.Version(compactKey), "=", version)).
			Then(clientv3.OpPut(compactKey, "1")).Else(clientv3.OpGet(compactKey)).Commit()
		if err != nil || r.Succeeded != want {
			a.t.Fatalf("the key at version %d: %+v, %v", version, r, err)
		}
		at = max(at, r.Header.Revision)
	}
	if _, err := a.client.Compact(a.ctx, at); err != nil {
		a.t.Fatal(err)
	}
	for revision := range a.states {
		if err := a.paged(revision, a.states[revision]); !errors.Is(err, rpctypes.ErrCompacted) {
			a.t.Errorf("pages at revision %d, after a compaction: %v", revision, err)
		}
	}
	if err := a.paged(at, a.now); err != nil {
		a.t.Errorf("pages at the compacted revision: %v", err)
	}
	r := <-a.client.Watch(a.ctx, registry, clientv3.WithPrefix(), clientv3.WithRev(at-1))
	if r.CompactRevision != at || !errors.Is(r.Err(), rpctypes.ErrCompacted) {
		a.t.Errorf("a watch from before: %+v, %v", r, r.Err())
	}
}

// status is asked of every member: what it says of the size is what is alerted on.
func (a *apiServer) status() {
	for _, e := range a.client.Endpoints() {
		s, err := a.client.Status(a.ctx, e)
		if err != nil || s.DbSize <= 0 || s.DbSizeInUse <= 0 || s.Leader == 0 || len(s.Errors) > 0 {
			a.t.Errorf("status of %s: %+v, %v", e, s, err)
		}
	}
}

// TestIdleWatchIsToldHowFarItIs has other keys change, and none that is watched.
func TestIdleWatchIsToldHowFarItIs(t *testing.T) {
	t.Parallel()
	m := oneMember(t, "--watch-progress-notify-interval", "100ms").members[0]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	idle := m.kv().Watch(ctx, "idle", clientv3.WithRev(1), clientv3.WithProgressNotify())
	for _, value := range []string{"1", "2"} {
		put(t, m, "other", value)
		now, err := m.kv().Get(ctx, "other")
		if err != nil {
			t.Fatal(err)
		}
		for at := int64(0); at < now.Header.Revision; {
			r, open := <-idle
			if !open || r.Err() != nil || !r.IsProgressNotify() || r.Header.Revision < at {
				t.Fatalf("after revision %d the watch says %+v, %v", at, r, r.Err())
			}
			at = r.Header.Revision
		}
	}
}
