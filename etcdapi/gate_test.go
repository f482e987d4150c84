package etcdapi

import (
	"context"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"chainfire"
)

// demanding is a context whose calls require a leader.
func demanding(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader)
}

func TestCallThatRequiresALeaderFailsWithoutOne(t *testing.T) {
	f := start(t)
	f.set(func() { f.leader = 0 })
	ctx := demanding(bounded(t))
	_, err := f.kv.Put(ctx, &pb.PutRequest{Key: []byte("k")})
	wantStatus(t, err, rpctypes.ErrGRPCNoLeader)
	s, err := pb.NewWatchClient(f.conn).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Recv()
	wantStatus(t, err, rpctypes.ErrGRPCNoLeader)
	if _, err := f.kv.Range(bounded(t), &pb.RangeRequest{Key: []byte("k"), Serializable: true}); err != nil {
		t.Errorf("call that requires none: %v", err)
	}
	f.set(func() { f.leader = fakeID })
	if _, err := f.kv.Put(ctx, &pb.PutRequest{Key: []byte("k")}); err != nil {
		t.Errorf("with a leader: %v", err)
	}
}

func TestStreamThatRequiresALeaderEndsAfterItWasLostForLong(t *testing.T) {
	f := start(t, func(o *Options) { o.NoLeaderTimeout = 60 * time.Millisecond })
	open := func(ctx context.Context) pb.Watch_WatchClient {
		s, err := pb.NewWatchClient(f.conn).Watch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		w := &watcher{t: t, stream: s}
		w.create(&pb.WatchCreateRequest{Key: []byte("a")})
		w.recv()
		return s
	}
	strict, lax := open(demanding(bounded(t))), open(bounded(t))
	f.set(func() { f.leader = 0 })
	lost := time.Now()
	_, err := strict.Recv()
	wantStatus(t, err, rpctypes.ErrGRPCNoLeader)
	if d := time.Since(lost); d < 40*time.Millisecond {
		t.Errorf("ended %v after the leader was lost", d)
	}
	put(t, f, "a", "1")
	if r, err := lax.Recv(); err != nil || len(r.Events) != 1 {
		t.Errorf("stream that requires no leader: %v, %v", r, err)
	}
}

func TestShortLossOfTheLeaderEndsNoStream(t *testing.T) {
	f := start(t, func(o *Options) { o.NoLeaderTimeout = time.Hour })
	s, err := pb.NewWatchClient(f.conn).Watch(demanding(bounded(t)))
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{t: t, stream: s}
	w.create(&pb.WatchCreateRequest{Key: []byte("a")})
	w.recv()
	f.set(func() { f.leader = 0 })
	seen := func(leader uint64) func() bool {
		return func() bool {
			f.server.monitor.mu.Lock()
			defer f.server.monitor.mu.Unlock()
			return f.server.monitor.leader == leader
		}
	}
	eventually(t, "loss noticed", seen(0))
	f.set(func() { f.leader = 99 })
	eventually(t, "new leader noticed", seen(99))
	put(t, f, "a", "1")
	if r := w.recv(); len(r.Events) != 1 {
		t.Errorf("got %v", r)
	}
}

func TestLearnerServesStatusAndSerializableReadsOnly(t *testing.T) {
	f := start(t)
	f.set(func() { f.learner = true })
	eventually(t, "role noticed", func() bool { return f.server.monitor.isLearner(bounded(t)) })
	ctx := bounded(t)
	k := []byte("k")
	for name, call := range map[string]func() error{
		"put":               func() error { _, err := f.kv.Put(ctx, &pb.PutRequest{Key: k}); return err },
		"linearizable read": func() error { _, err := f.kv.Range(ctx, &pb.RangeRequest{Key: k}); return err },
		"put without a key": func() error { _, err := f.kv.Put(demanding(ctx), &pb.PutRequest{}); return err },
		"member list": func() error {
			_, err := pb.NewClusterClient(f.conn).MemberList(ctx, &pb.MemberListRequest{})
			return err
		},
		"watch": func() error {
			s, err := pb.NewWatchClient(f.conn).Watch(ctx)
			if err != nil {
				return err
			}
			_, err = s.Recv()
			return err
		},
		"range stream": func() error {
			_, err := readStream(t, f, &pb.RangeRequest{Key: k, Serializable: true})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { wantStatus(t, call(), rpctypes.ErrGRPCNotSupportedForLearner) })
	}
	if _, err := f.kv.Range(ctx, &pb.RangeRequest{Key: k, Serializable: true}); err != nil {
		t.Errorf("serializable read: %v", err)
	}
	if _, err := pb.NewMaintenanceClient(f.conn).Status(ctx, &pb.StatusRequest{}); err != nil {
		t.Errorf("status: %v", err)
	}
	if _, err := healthpb.NewHealthClient(f.conn).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	f.set(func() { f.learner = false })
	if _, err := f.kv.Put(ctx, &pb.PutRequest{Key: k}); err != nil {
		t.Errorf("first call after the promotion: %v", err)
	}
}

func TestWatchEndsAsStoppedWhenTheMemberStops(t *testing.T) {
	s := &scripted{answers: make(chan *chainfire.WatchResponse), asked: make(chan struct{}, 1)}
	stopped := &stopping{scripted: s, stop: make(chan struct{})}
	f := start(t, func(o *Options) {
		s.fakeMember = o.Member.(*fakeMember)
		o.Member = stopped
	})
	w := watch(t, f)
	close(stopped.stop)
	_, err := w.stream.Recv()
	wantStatus(t, err, rpctypes.ErrGRPCStopped)
}

// stopping is a member whose watch streams end when it stops.
type stopping struct {
	*scripted
	stop chan struct{}
}

func (s *stopping) NewWatchStream() chainfire.WatchStream {
	s.scripted.NewWatchStream()
	return s
}

func (s *stopping) Recv(ctx context.Context) (*chainfire.WatchResponse, error) {
	select {
	case <-s.stop:
		return nil, chainfire.ErrWatchStreamClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestClientVersionThatIsNoTextIsRefused(t *testing.T) {
	g := &gate{}
	ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs(rpctypes.MetadataClientAPIVersionKey, "\xff"))
	_, err := g.checkMetadata(ctx, "unary")
	wantStatus(t, err, rpctypes.ErrGRPCInvalidClientAPIVersion)
}
