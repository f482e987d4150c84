package main

import (
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
)

// watchServer sends what is put to every watch.
type watchServer struct {
	pb.UnimplementedWatchServer
	mu      sync.Mutex
	watches []func(*mvccpb.KeyValue) error
	// cancels refuses all watches.
	cancels bool
}

func (s *watchServer) Watch(stream pb.Watch_WatchServer) error {
	var sending sync.Mutex
	send := func(r *pb.WatchResponse) error {
		sending.Lock()
		defer sending.Unlock()
		return stream.Send(r)
	}
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		s.mu.Lock()
		s.watches = append(s.watches, func(kv *mvccpb.KeyValue) error {
			return send(&pb.WatchResponse{Events: []*mvccpb.Event{{Kv: kv}}})
		})
		s.mu.Unlock()
		if err := send(&pb.WatchResponse{Created: true, Canceled: s.cancels, CancelReason: "for a test"}); err != nil {
			return err
		}
	}
}

func (s *watchServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.watches)
}

func (s *watchServer) tell(t *testing.T, kv *mvccpb.KeyValue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, tell := range s.watches {
		if err := tell(kv); err != nil {
			t.Error(err)
		}
	}
}

func serveWatched(t *testing.T, w *watchServer) lanes {
	kv := newSortedKV()
	kv.put = func(kv *mvccpb.KeyValue) { w.tell(t, kv) }
	return serveLanes(t, func(s *grpc.Server) {
		pb.RegisterKVServer(s, kv)
		pb.RegisterWatchServer(s, w)
	})
}

func TestEveryWatchSeesEveryPut(t *testing.T) {
	const watches, puts = 250, 7
	w := &watchServer{}
	l := serveWatched(t, w)
	f, err := openFanout(t.Context(), l, watches)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.streams) != 3 || w.count() != watches {
		t.Errorf("%d watches on %d streams, want %d on 3", w.count(), len(f.streams), watches)
	}
	if _, err := newCrew(l, 1, putStamped(64)).run(t.Context(), limit{total: puts}); err != nil {
		t.Fatal(err)
	}
	if err := f.await(watches * puts); err != nil {
		t.Fatal(err)
	}
	h := f.takeDelays()
	if h.n != watches*puts || h.max <= 0 || h.max > time.Minute {
		t.Errorf("%d events, the last after %v", h.n, h.max)
	}
	if h := f.takeDelays(); h.n != 0 {
		t.Errorf("%d events are counted again", h.n)
	}
	if err := f.await(watches*puts - 1); err == nil {
		t.Error("an event too many is not noticed")
	}
	if err := f.close(); err != nil {
		t.Error(err)
	}
}

func TestACanceledWatchIsAnError(t *testing.T) {
	l := serveWatched(t, &watchServer{cancels: true})
	if f, err := openFanout(t.Context(), l, 1); err == nil {
		t.Error("a watch that was canceled is taken", f.close())
	}
}

func TestAnEventWithoutItsMomentFailsTheWatches(t *testing.T) {
	w := &watchServer{}
	f, err := openFanout(t.Context(), serveWatched(t, w), 2)
	if err != nil {
		t.Fatal(err)
	}
	w.tell(t, &mvccpb.KeyValue{Key: fanoutKey, Value: []byte("short")})
	if err := f.await(2); err == nil {
		t.Error("an event without a moment is counted")
	}
	if err := f.close(); err == nil {
		t.Error("watches that failed end without an error")
	}
}

func TestThePaceIsSlowerForMoreWatches(t *testing.T) {
	for watches, want := range map[int]time.Duration{1: 2 * time.Millisecond, 1000: 50 * time.Millisecond, 10_000: 500 * time.Millisecond, 1_000_000: 500 * time.Millisecond} {
		if got := (&fanout{watches: watches}).pace(); got != want {
			t.Errorf("with %d watches a put every %v, want %v", watches, got, want)
		}
	}
}
