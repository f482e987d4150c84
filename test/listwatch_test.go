package test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var (
	soakFlag     = flag.Duration("soak", 0, "how long TestListAndWatch kills members; 0 is 12s, or 4s with -short")
	watchersFlag = flag.Int("watchers", 12, "how many clients list and watch in TestListAndWatch")
)

// watchedPrefix is where TestListAndWatch keeps its keys, and watchedEnd the last of
// them: it is written when all is over.
const (
	watchedPrefix = "watched/"
	watchedEnd    = watchedPrefix + "~"
)

// seen is one change, as a watch shows it or as its writer was told.
type seen struct {
	revision   int64
	key, value string
	deleted    bool
}

// span is one list and what the watch after it showed: all that happened after
// revision from, up to revision to.
type span struct {
	from, to int64
	listed   map[string]string
	events   []seen
}

// at is the state at a revision within the span.
func (s *span) at(revision int64) map[string]string {
	state := maps.Clone(s.listed)
	for _, e := range s.events {
		switch {
		case e.revision > revision:
			return state
		case e.deleted:
			delete(state, e.key)
		default:
			state[e.key] = e.value
		}
	}
	return state
}

// add takes in one answer of the watch. Revisions must rise from answer to answer, and
// inside one never fall; a progress mark promises that nothing up to it is missing.
func (s *span) add(r clientv3.WatchResponse) error {
	last := s.to
	for _, e := range r.Events {
		c := seen{revision: e.Kv.ModRevision, key: string(e.Kv.Key), value: string(e.Kv.Value), deleted: e.Type == mvccpb.Event_DELETE}
		if c.revision <= last || c.revision < s.to {
			return fmt.Errorf("revision %d of %s is shown after %d", c.revision, c.key, s.to)
		}
		s.to = c.revision
		s.events = append(s.events, c)
	}
	if r.IsProgressNotify() {
		if r.Header.Revision < s.to {
			return fmt.Errorf("a progress mark of %d after revision %d", r.Header.Revision, s.to)
		}
		s.to = r.Header.Revision
	}
	return nil
}

// reflector lists and watches, as controllers of Kubernetes do: when the watch is told
// that its history is gone, it lists again.
type reflector struct {
	client *clientv3.Client
	// lazy ones leave their watch now and then until it is too late to go on.
	lazy      bool
	compacted *atomic.Int64
	spans     []*span
	// compactions counts the watches that ended because history was gone.
	compactions int
}

// run ends when a list or a watch has shown the end, or the context's.
func (r *reflector) run(ctx context.Context) error {
	for {
		s, err := r.list(ctx)
		if err != nil {
			return err
		}
		if n := len(r.spans); n > 0 && s.from < r.spans[n-1].to {
			return fmt.Errorf("a list is of revision %d, after revision %d was seen", s.from, r.spans[n-1].to)
		}
		r.spans = append(r.spans, s)
		if _, ended := s.listed[watchedEnd]; ended {
			return nil // who came back so late is not shown it any more
		}
		if end, err := r.follow(ctx, s); end || err != nil {
			return err
		}
		r.compactions++
	}
}

// list reads page by page, at the revision of the first.
func (r *reflector) list(ctx context.Context) (*span, error) {
	for {
		s, err := r.pages(ctx)
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
	}
}

func (r *reflector) pages(ctx context.Context) (*span, error) {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), callTime)
	defer cancel()
	s := &span{listed: map[string]string{}}
	key, end := watchedPrefix, clientv3.GetPrefixRangeEnd(watchedPrefix)
	for {
		page, err := r.client.Get(ctx, key, clientv3.WithRange(end), clientv3.WithLimit(7), clientv3.WithRev(s.from))
		if err != nil {
			return nil, err
		}
		if s.from == 0 {
			s.from, s.to = page.Header.Revision, page.Header.Revision
		}
		for _, kv := range page.Kvs {
			s.listed[string(kv.Key)] = string(kv.Value)
			key = string(kv.Key) + "\x00"
		}
		if !page.More {
			return s, nil
		}
	}
}

// follow watches from the end of the span on. It returns true at the end of all, and
// false when the history it needs is gone.
func (r *reflector) follow(ctx context.Context, s *span) (bool, error) {
	for {
		end, gone, err := r.watch(ctx, s)
		switch {
		case end || err != nil:
			return end, err
		case gone:
			return false, nil
		case ctx.Err() != nil:
			return false, fmt.Errorf("watch: the end was not seen, but revision %d: %w", s.to, ctx.Err())
		}
		if r.lazy {
			r.doze(ctx, s.to)
		}
	}
}

// watch takes in what one watch shows, until that ends: for want of a leader, of
// patience, or of history.
func (r *reflector) watch(ctx context.Context, s *span) (end, gone bool, err error) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	shown := 0
	for a := range r.client.Watch(ctx, watchedPrefix, clientv3.WithPrefix(), clientv3.WithRev(s.to+1), clientv3.WithProgressNotify()) {
		if a.CompactRevision > 0 {
			return false, true, nil
		}
		if a.Err() != nil {
			return false, false, nil
		}
		if err := s.add(a); err != nil {
			return false, false, err
		}
		if n := len(s.events); n > 0 && s.events[n-1].key == watchedEnd {
			return true, false, nil
		}
		if shown++; shown%64 == 0 {
			_ = r.client.RequestProgress(ctx) // if it gets lost, the next one comes
		}
		if r.lazy && shown == 20 {
			return false, false, nil
		}
	}
	return false, false, nil
}

// doze waits until the revision after the one given is compacted.
func (r *reflector) doze(ctx context.Context, revision int64) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Second); r.compacted.Load() <= revision+1 && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// watchedWriter puts, deletes, and does both in one transaction, and keeps what it was told.
type watchedWriter struct {
	id     int
	client *clientv3.Client
	acks   atomic.Int64
	told   []seen
}

func (w *watchedWriter) run(ctx context.Context, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, uint64(w.id)))
	n := 0
	every(ctx, 4*time.Millisecond, func() {
		if changes, err := w.write(ctx, rng, n); err == nil {
			w.told = append(w.told, changes...)
			w.acks.Add(1)
		}
		n++
	})
}

// write changes one or two keys of its own, in one revision.
func (w *watchedWriter) write(ctx context.Context, rng *rand.Rand, n int) ([]seen, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	value := fmt.Sprintf("writer %d write %d", w.id, n)
	first := rng.IntN(20)
	key := func(i int) string { return fmt.Sprintf("%s%d/%02d", watchedPrefix, w.id, (first+i)%20) }
	puts := []clientv3.Op{clientv3.OpPut(key(0), value)}
	var del clientv3.Op
	switch p := rng.IntN(10); {
	case p < 2:
		puts = append(puts, clientv3.OpPut(key(1), value))
	case p < 4:
		del = clientv3.OpDelete(key(1))
	}
	ops := puts
	if del.IsDelete() {
		ops = append(ops, del)
	}
	r, err := w.client.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, err
	}
	var out []seen
	for _, p := range puts {
		out = append(out, seen{revision: r.Header.Revision, key: string(p.KeyBytes()), value: value})
	}
	if del.IsDelete() && r.Responses[len(ops)-1].GetResponseDeleteRange().Deleted > 0 {
		out = append(out, seen{revision: r.Header.Revision, key: string(del.KeyBytes()), deleted: true})
	}
	return out, nil
}

// soak is a cluster, those who write to it, and those who watch.
type soak struct {
	t          *testing.T
	cluster    *cluster
	writers    []*watchedWriter
	reflectors []*reflector
	compacted  atomic.Int64
}

// compact drops all but the last revisions, again and again.
func (k *soak) compact(ctx context.Context, c *clientv3.Client) {
	every(ctx, 200*time.Millisecond, func() {
		try, cancel := context.WithTimeout(ctx, time.Second)
		r, err := c.Get(try, watchedEnd)
		if err == nil && r.Header.Revision > 40 {
			at := r.Header.Revision - 20
			if _, err = c.Compact(try, at); err == nil {
				k.compacted.Store(at)
			}
		}
		cancel()
	})
}

func (k *soak) acks() int64 {
	n := int64(0)
	for _, w := range k.writers {
		n += w.acks.Load()
	}
	return n
}

func (k *soak) awaitAcks(n int64) {
	k.t.Helper()
	from := k.acks()
	await(k.t, fmt.Sprintf("%d more acknowledged writes", n), patience, func(context.Context) error {
		if have := k.acks() - from; have < n {
			return fmt.Errorf("%d writes", have)
		}
		return nil
	})
}

// TestListAndWatch kills the members of a cluster in turn while clients write, list,
// watch, and compact. Nobody who watches may miss a change or see one twice, and every
// list must be the state at its revision. At length:
//
//	go test ./test -run 'TestListAndWatch$' -v -soak=10m -watchers=50 -timeout 0
func TestListAndWatch(t *testing.T) {
	t.Parallel()
	long := *soakFlag
	if long == 0 {
		long = 12 * time.Second
		if testing.Short() {
			long = 4 * time.Second
		}
	}
	k := &soak{t: t, cluster: here.newCluster(t)}
	client := func(endpoints ...string) *clientv3.Client {
		c, err := newClient(endpoints...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() }) // what was on its way is over
		return c
	}
	ctx, cancel := context.WithTimeout(t.Context(), long+3*patience)
	defer cancel()
	writing, stop := context.WithCancel(ctx)
	defer stop()
	seed := rand.Uint64()
	t.Logf("seed %d of what is written", seed)
	active := make(chan struct{})
	run := func(f func()) { go func() { f(); active <- struct{}{} }() }
	for i := range 4 {
		w := &watchedWriter{id: i, client: client(k.cluster.endpoints()...)}
		k.writers = append(k.writers, w)
		run(func() { w.run(writing, seed) })
	}
	compactor := client(k.cluster.endpoints()...)
	run(func() { k.compact(writing, compactor) })
	results := make(chan error, *watchersFlag)
	for i := range *watchersFlag {
		// Every other one knows a single member, and goes on there when it is back.
		endpoints := k.cluster.endpoints()
		if i%2 == 1 {
			endpoints = endpoints[i/2%3:][:1]
		}
		r := &reflector{client: client(endpoints...), lazy: i%4 == 0, compacted: &k.compacted}
		k.reflectors = append(k.reflectors, r)
		go func() { results <- r.run(ctx) }()
	}
	kills := 0
	for began := time.Now(); time.Since(began) < long; kills++ {
		m := k.cluster.members[kills%3]
		k.awaitAcks(50)
		m.kill()
		k.awaitAcks(50)
		m.launch()
		m.awaitServing()
	}
	stop()
	for range len(k.writers) + 1 {
		<-active
	}
	end := k.end(ctx)
	for range k.reflectors {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	k.verify(end, kills)
}

// end writes the last key, and returns the state with it.
func (k *soak) end(ctx context.Context) *clientv3.GetResponse {
	k.t.Helper()
	m := k.cluster.members[0]
	_, err := m.kv().Put(ctx, watchedEnd, "the end")
	var r *clientv3.GetResponse
	if err == nil {
		r, err = m.kv().Get(ctx, watchedPrefix, clientv3.WithPrefix())
	}
	if err != nil {
		k.t.Fatal(err)
	}
	return r
}

// verify holds each one's spans against what all others saw and what writers were told.
func (k *soak) verify(end *clientv3.GetResponse, kills int) {
	k.t.Helper()
	type place struct {
		revision int64
		key      string
	}
	all := map[place]seen{}
	merge := func(who string, e seen) {
		at := place{e.revision, e.key}
		if other, ok := all[at]; ok && other != e {
			k.t.Errorf("%s: %+v, and also %+v", who, e, other)
		}
		all[at] = e
	}
	for _, w := range k.writers {
		for _, e := range w.told {
			merge(fmt.Sprintf("writer %d was told", w.id), e)
		}
	}
	spans, compactions := 0, 0
	for i, r := range k.reflectors {
		compactions += r.compactions
		for _, s := range r.spans {
			spans++
			for _, e := range s.events {
				merge(fmt.Sprintf("watcher %d saw", i), e)
			}
		}
	}
	final := map[string]string{}
	for _, kv := range end.Kvs {
		final[string(kv.Key)] = string(kv.Value)
	}
	inOrder := slices.SortedFunc(maps.Keys(all), func(a, b place) int { return cmp.Compare(a.revision, b.revision) })
	var problems []error
	for i, r := range k.reflectors {
		for _, s := range r.spans {
			have := map[place]bool{}
			for _, e := range s.events {
				have[place{e.revision, e.key}] = true
			}
			if len(have) != len(s.events) {
				problems = append(problems, fmt.Errorf("watcher %d saw %d changes twice", i, len(s.events)-len(have)))
			}
			first, _ := slices.BinarySearchFunc(inOrder, s.from+1, func(p place, rev int64) int { return cmp.Compare(p.revision, rev) })
			for _, at := range inOrder[first:] {
				if at.revision > s.to {
					break
				}
				if !have[at] {
					problems = append(problems, fmt.Errorf("watcher %d saw all from %d to %d, but not %+v", i, s.from, s.to, all[at]))
				}
			}
			problems = append(problems, k.listsAgree(s)...)
		}
		if n := len(r.spans); n > 0 && !maps.Equal(r.spans[n-1].at(end.Header.Revision), final) {
			problems = append(problems, fmt.Errorf("watcher %d has another state than the store", i))
		}
	}
	if len(problems) > 0 {
		k.t.Errorf("%d problems: %v", len(problems), errors.Join(problems[:min(len(problems), maxProblems)]...))
	}
	if compactions == 0 {
		k.t.Error("no watch was told that its history is gone")
	}
	k.t.Logf("%d kills, %d acknowledged writes, %d changes seen by %d watchers in %d spans, %d of which ended by compaction",
		kills, k.acks(), len(all), len(k.reflectors), spans, compactions)
}

// listsAgree holds the lists of all others to the state that this span has at their
// revisions.
func (k *soak) listsAgree(s *span) (problems []error) {
	for i, r := range k.reflectors {
		for _, other := range r.spans {
			if other.from >= s.from && other.from <= s.to && !maps.Equal(s.at(other.from), other.listed) {
				problems = append(problems, fmt.Errorf("watcher %d listed another state of revision %d than watches show", i, other.from))
			}
		}
	}
	return problems
}
