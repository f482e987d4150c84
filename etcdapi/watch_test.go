package etcdapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"chainfire"
)

// watcher is a raw watch stream.
type watcher struct {
	t      *testing.T
	stream pb.Watch_WatchClient
	last   int64
}

func watch(t *testing.T, f *fixture) *watcher {
	t.Helper()
	s, err := pb.NewWatchClient(f.conn).Watch(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return &watcher{t: t, stream: s}
}

func (w *watcher) send(r *pb.WatchRequest) {
	w.t.Helper()
	if err := w.stream.Send(r); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watcher) create(r *pb.WatchCreateRequest) {
	w.t.Helper()
	w.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
}

func (w *watcher) cancel(id int64) {
	w.t.Helper()
	w.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}}})
}

func (w *watcher) progress() {
	w.t.Helper()
	w.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

// recv returns the next answer, whose revision must not go back.
func (w *watcher) recv() *pb.WatchResponse {
	w.t.Helper()
	r, err := w.stream.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	if r.Header.Revision < w.last {
		w.t.Errorf("header went back from %d to %d", w.last, r.Header.Revision)
	}
	w.last = r.Header.Revision
	return r
}

func (w *watcher) want(r *pb.WatchResponse) {
	w.t.Helper()
	wantProto(w.t, w.recv(), r)
}

func event(key, value string, rev, version int64) *mvccpb.Event {
	return &mvccpb.Event{Kv: &mvccpb.KeyValue{
		Key: []byte(key), Value: []byte(value), CreateRevision: rev - version + 1, ModRevision: rev, Version: version,
	}}
}

func TestWatchIsCreatedBeforeItsFirstEvent(t *testing.T) {
	f := start(t)
	put(t, f, "a", "1")
	put(t, f, "a", "2")
	w := watch(t, f)
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: 2, PrevKv: true})
	w.want(&pb.WatchResponse{Header: header(3), Created: true})
	second := event("a", "2", 3, 2)
	second.PrevKv = event("a", "1", 2, 1).Kv
	w.want(&pb.WatchResponse{Header: header(3), Events: []*mvccpb.Event{event("a", "1", 2, 1), second}})
	put(t, f, "b", "not watched")
	if _, err := f.kv.DeleteRange(bounded(t), &pb.DeleteRangeRequest{Key: []byte("a")}); err != nil {
		t.Fatal(err)
	}
	gone := &mvccpb.Event{
		Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte("a"), ModRevision: 5},
		PrevKv: event("a", "2", 3, 2).Kv,
	}
	w.want(&pb.WatchResponse{Header: header(5), Events: []*mvccpb.Event{gone}})
}

func TestWatchFromNowSeesAllAfterItsHeader(t *testing.T) {
	f := start(t)
	// A write comes in after the header's revision is read and before the
	// member opens the watch.
	f.set(func() {
		f.hook = func(_ context.Context, call string) error {
			if call != "Watch" {
				return nil
			}
			return f.write(func(rev int64) error {
				_, err := f.put(&chainfire.PutRequest{Key: []byte("a"), Value: []byte("x")}, rev)
				return err
			})
		}
	})
	w := watch(t, f)
	w.create(&pb.WatchCreateRequest{Key: []byte("a")})
	w.want(&pb.WatchResponse{Header: header(1), Created: true})
	w.want(&pb.WatchResponse{Header: header(2), Events: []*mvccpb.Event{event("a", "x", 2, 1)}})
}

func TestWatchIDsAreTheClientsOrCountUp(t *testing.T) {
	f := start(t)
	w := watch(t, f)
	for _, tc := range []struct{ ask, get int64 }{{0, 0}, {0, 1}, {2, 2}, {0, 3}, {-7, -7}, {1 << 40, 1 << 40}} {
		w.create(&pb.WatchCreateRequest{Key: []byte("a"), WatchId: tc.ask})
		w.want(&pb.WatchResponse{Header: header(1), Created: true, WatchId: tc.get})
	}
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), WatchId: 2})
	w.want(&pb.WatchResponse{
		Header: header(1), Created: true, Canceled: true, WatchId: -1,
		CancelReason: "mvcc: duplicate watch ID provided on the WatchStream",
	})
	w.cancel(2)
	w.want(&pb.WatchResponse{Header: header(1), Canceled: true, WatchId: 2})
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), WatchId: 2})
	w.want(&pb.WatchResponse{Header: header(1), Created: true, WatchId: 2})
}

func TestWatchThatCannotBeIsRefusedInEtcdsWords(t *testing.T) {
	f := start(t)
	w := watch(t, f)
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), WatchId: 5})
	w.recv()
	const empty = "mvcc: watcher range is empty"
	for _, tc := range []struct {
		name, reason string
		r            *pb.WatchCreateRequest
	}{
		{"negative revision, before its range", "etcdserver: mvcc: required revision has been compacted", &pb.WatchCreateRequest{Key: []byte("b"), RangeEnd: []byte("a"), StartRevision: -1}},
		{"empty interval", empty, &pb.WatchCreateRequest{Key: []byte("b"), RangeEnd: []byte("b")}},
		{"upside down, before its id", empty, &pb.WatchCreateRequest{Key: []byte("b"), RangeEnd: []byte("a"), WatchId: 5}},
		{"no key up to the smallest", "", &pb.WatchCreateRequest{RangeEnd: []byte{0}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.create(tc.r)
			r := w.recv()
			if !r.Created || r.CancelReason != tc.reason || r.Canceled != (tc.reason != "") || r.Canceled != (r.WatchId == -1) {
				t.Errorf("got %v", r)
			}
		})
	}
	f.set(func() {
		f.hook = func(_ context.Context, call string) error {
			if call == "Watch" {
				return fmt.Errorf("open watch: %w", chainfire.ErrStopped)
			}
			return nil
		}
	})
	w.create(&pb.WatchCreateRequest{Key: []byte("a")})
	if r := w.recv(); !r.Canceled || r.CancelReason != "etcdserver: server stopped" {
		t.Errorf("got %v", r)
	}
}

func TestWatchOfTheWholeKeySpace(t *testing.T) {
	f := start(t)
	w := watch(t, f)
	w.create(&pb.WatchCreateRequest{RangeEnd: []byte{0}})
	w.recv()
	put(t, f, "zz", "1")
	w.want(&pb.WatchResponse{Header: header(2), Events: []*mvccpb.Event{event("zz", "1", 2, 1)}})
}

func TestFiltersReachTheMember(t *testing.T) {
	f := start(t)
	c := f.client(t)
	ctx := bounded(t)
	noPut := c.Watch(ctx, "a", clientv3.WithFilterPut(), clientv3.WithRev(2))
	noDelete := c.Watch(ctx, "a", clientv3.WithFilterDelete(), clientv3.WithRev(2))
	put(t, f, "a", "1")
	if _, err := c.Delete(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	put(t, f, "a", "2")
	first := func(ch clientv3.WatchChan, n int) (kinds string) {
		for len(kinds) < n {
			for _, ev := range (<-ch).Events {
				kinds += ev.Type.String()[:1]
			}
		}
		return kinds
	}
	if got := first(noPut, 1); got != "D" {
		t.Errorf("without puts: %s", got)
	}
	if got := first(noDelete, 2); got != "PP" {
		t.Errorf("without deletes: %s", got)
	}
}

func TestNothingFollowsTheAnswerToACancel(t *testing.T) {
	f := start(t)
	w := watch(t, f)
	for i := range 50 {
		w.create(&pb.WatchCreateRequest{Key: []byte("a"), WatchId: 9})
		for r := w.recv(); !r.Created; r = w.recv() {
			t.Fatalf("round %d: %v before created", i, r)
		}
		put(t, f, "a", fmt.Sprint(i))
		w.cancel(9)
		canceled := false
		for !canceled {
			r := w.recv()
			if canceled = r.Canceled; canceled && r.CancelReason != "" {
				t.Errorf("reason %q for a cancel that was asked for", r.CancelReason)
			}
		}
	}
	w.cancel(9) // unknown now: etcd says nothing
	w.create(&pb.WatchCreateRequest{Key: []byte("b")})
	w.recv()
	w.progress()
	if r := w.recv(); r.WatchId != -1 || r.Canceled {
		t.Errorf("got %v", r)
	}
}

func TestCompactedStartEndsTheWatchWithTheRevision(t *testing.T) {
	f := start(t)
	c := f.client(t)
	ctx := bounded(t)
	for i := range 5 {
		put(t, f, "a", fmt.Sprint(i))
	}
	if _, err := c.Compact(ctx, 4); err != nil {
		t.Fatal(err)
	}
	w := watch(t, f)
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: 2, WatchId: 3})
	w.want(&pb.WatchResponse{Header: header(6), WatchId: 3, Created: true})
	w.want(&pb.WatchResponse{Header: header(6), WatchId: 3, Canceled: true, CompactRevision: 4})
	// As with etcd, the id stays taken until the client cancels.
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), WatchId: 3})
	if r := w.recv(); !r.Canceled || r.WatchId != -1 {
		t.Errorf("got %v", r)
	}
	w.cancel(3)
	w.want(&pb.WatchResponse{Header: header(6), WatchId: 3, Canceled: true})
	resp := <-c.Watch(ctx, "a", clientv3.WithRev(2))
	if !errors.Is(resp.Err(), rpctypes.ErrCompacted) || resp.CompactRevision != 4 {
		t.Errorf("etcd's client got %v at %d", resp.Err(), resp.CompactRevision)
	}
}

func TestProgressIsToldOnRequestAndByOption(t *testing.T) {
	f := start(t)
	w := watch(t, f)
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), WatchId: 4, ProgressNotify: true})
	w.recv()
	put(t, f, "b", "not watched")
	w.want(&pb.WatchResponse{Header: header(2), WatchId: 4})
	w.progress()
	w.want(&pb.WatchResponse{Header: header(2), WatchId: -1})
	c := f.client(t)
	ctx := clientv3.WithRequireLeader(bounded(t))
	ch := c.Watch(ctx, "a", clientv3.WithCreatedNotify())
	if r := <-ch; !r.Created {
		t.Fatalf("got %v", r)
	}
	if err := c.RequestProgress(ctx); err != nil {
		t.Fatal(err)
	}
	if r := <-ch; !r.IsProgressNotify() || r.Header.Revision != 2 {
		t.Errorf("got %v", r)
	}
}

// TestStreamWithoutWatchesHasNoProgress: there is nothing that a mark would be true of.
func TestStreamWithoutWatchesHasNoProgress(t *testing.T) {
	f := start(t)
	w := watch(t, f)
	w.progress()
	w.create(&pb.WatchCreateRequest{Key: []byte("a")})
	w.want(&pb.WatchResponse{Header: header(1), Created: true})
	w.cancel(0)
	w.want(&pb.WatchResponse{Header: header(1), Canceled: true})
	w.progress()
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), WatchId: 5})
	w.want(&pb.WatchResponse{Header: header(1), WatchId: 5, Created: true})
	put(t, f, "a", "1")
	if r := w.recv(); len(r.Events) != 1 {
		t.Errorf("got %v before the event", r)
	}
}

// scripted is a member whose watch stream hands out what a test says.
type scripted struct {
	*fakeMember
	chainfire.WatchStream
	answers chan *chainfire.WatchResponse
	asked   chan struct{}
}

func (s *scripted) NewWatchStream() chainfire.WatchStream {
	s.WatchStream = s.fakeMember.NewWatchStream()
	return s
}

func (s *scripted) RequestProgress() { s.asked <- struct{}{} }

func (s *scripted) Recv(ctx context.Context) (*chainfire.WatchResponse, error) {
	select {
	case r := <-s.answers:
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestHeadersOfAStreamNeverGoBack(t *testing.T) {
	s := &scripted{answers: make(chan *chainfire.WatchResponse), asked: make(chan struct{}, 1)}
	f := start(t, func(o *Options) {
		s.fakeMember = o.Member.(*fakeMember)
		o.Member = s
	})
	f.set(func() { f.rev = 50 })
	w := watch(t, f)
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: 10})
	w.want(&pb.WatchResponse{Header: header(50), Created: true})
	ev := chainfire.Event{KV: chainfire.KeyValue{Key: []byte("a"), ModRevision: 20, CreateRevision: 20, Version: 1}}
	s.answers <- &chainfire.WatchResponse{WatchID: 1, Revision: 20, Events: []chainfire.Event{ev}}
	w.want(&pb.WatchResponse{Header: header(50), Events: []*mvccpb.Event{event("a", "", 20, 1)}})
	// Marks below 50 would promise what is not so; one that was asked for is
	// asked for again.
	s.answers <- &chainfire.WatchResponse{WatchID: 1, Revision: 30}
	s.answers <- &chainfire.WatchResponse{WatchID: chainfire.AllWatches, Revision: 30}
	<-s.asked
	s.answers <- &chainfire.WatchResponse{WatchID: chainfire.AllWatches, Revision: 60}
	w.want(&pb.WatchResponse{Header: header(60), WatchId: -1})
	// What is left of a watch that is gone is not handed out.
	w.cancel(0)
	w.recv()
	s.answers <- &chainfire.WatchResponse{WatchID: 1, Revision: 70, Events: []chainfire.Event{ev}}
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), WatchId: 8})
	w.want(&pb.WatchResponse{Header: header(60), WatchId: 8, Created: true})
	s.answers <- &chainfire.WatchResponse{WatchID: 2, Revision: 70, Canceled: true, Err: chainfire.ErrCorrupt}
	w.want(&pb.WatchResponse{Header: header(70), WatchId: 8, Canceled: true, CancelReason: "etcdserver: corrupt cluster"})
}

func TestLargeAnswerIsSplitOnlyForAWatchThatAllowsIt(t *testing.T) {
	const limit = 8192
	f := start(t, func(o *Options) { o.MaxRequestBytes = limit })
	for i := range 10 {
		put(t, f, fmt.Sprintf("k%d", i), string(bytes.Repeat([]byte("v"), limit-100)))
	}
	f.set(func() { // fill one answer beyond the limit of a message
		for i := range 90 {
			big := chainfire.KeyValue{Key: fmt.Appendf(nil, "l%d", i), Value: make([]byte, limit-100), ModRevision: f.rev, CreateRevision: f.rev, Version: 1}
			f.events = append(f.events, chainfire.Event{KV: big})
		}
	})
	for _, fragment := range []bool{true, false} {
		w := watch(t, f)
		w.create(&pb.WatchCreateRequest{Key: []byte("k"), RangeEnd: []byte("m"), StartRevision: 2, Fragment: fragment})
		w.recv()
		var keys, parts int
		for more := true; more; parts++ {
			r := w.recv()
			keys, more = keys+len(r.Events), r.Fragment
		}
		if keys != 100 || (parts > 1) != fragment {
			t.Errorf("fragment %v: %d events in %d parts", fragment, keys, parts)
		}
	}
	got := <-f.client(t).Watch(bounded(t), "k", clientv3.WithRange("m"), clientv3.WithRev(2), clientv3.WithFragment())
	if len(got.Events) != 100 {
		t.Errorf("etcd's client put %d events together", len(got.Events))
	}
}

func TestManyWatchesOfOneStreamShareItsGoroutines(t *testing.T) {
	f := start(t)
	w := watch(t, f)
	w.create(&pb.WatchCreateRequest{Key: []byte("a")})
	w.recv()
	before := runtime.NumGoroutine()
	const n = 2000
	go func() {
		create := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("a")}}}
		for range n {
			if err := w.stream.Send(create); err != nil {
				t.Errorf("create: %v", err)
				return
			}
		}
	}()
	for range n {
		w.recv()
	}
	if after := runtime.NumGoroutine(); after > before+10 {
		t.Errorf("%d watches took %d goroutines", n, after-before)
	}
	put(t, f, "a", "1")
	for range n + 1 {
		if r := w.recv(); len(r.Events) != 1 {
			t.Fatalf("got %v", r)
		}
	}
}

func TestMembersStreamIsClosedWithTheClients(t *testing.T) {
	f := start(t)
	ctx, cancel := context.WithCancel(bounded(t))
	s, err := pb.NewWatchClient(f.conn).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "stream opened", func() bool { return f.openStreams() == 1 })
	if err := s.CloseSend(); err != nil { // ends the requests, not the stream
		t.Fatal(err)
	}
	cancel()
	_, err = s.Recv()
	wantCode(t, err, codes.Canceled)
	eventually(t, "stream closed", func() bool { return f.openStreams() == 0 })
}
