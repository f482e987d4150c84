package etcdapi

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func TestShutdownEndsWatchesAndLetsCallsFinish(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	f := start(t)
	entered, release := make(chan struct{}), make(chan struct{})
	f.set(func() {
		f.hook = func(_ context.Context, call string) error {
			if call == "Put" {
				close(entered)
				<-release
			}
			return nil
		}
	})
	w := watch(t, f)
	w.create(&pb.WatchCreateRequest{Key: []byte("a")})
	w.recv()
	probe, err := healthpb.NewHealthClient(f.conn).Watch(bounded(t), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := probe.Recv(); err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health is %v, %v", r, err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := f.kv.Put(bounded(t), &pb.PutRequest{Key: []byte("b")})
		answered <- err
	}()
	<-entered
	down := make(chan error, 1)
	go func() { down <- f.server.Shutdown(bounded(t)) }()
	_, err = w.stream.Recv()
	wantStatus(t, err, rpctypes.ErrGRPCStopped)
	select {
	case err := <-down:
		t.Errorf("shutdown did not wait for the call in flight: %v", err)
	default:
	}
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("call in flight: %v", err)
	}
	if err := <-down; err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if n := f.openStreams(); n != 0 {
		t.Errorf("%d watch streams of the member are open", n)
	}
	f.conn.Close()
	f.stop(t)
}

func TestShutdownCutsOffWhatOutlivesItsContext(t *testing.T) {
	f := start(t)
	entered := make(chan struct{})
	f.set(func() {
		f.hook = func(ctx context.Context, call string) error {
			if call == "Put" {
				close(entered)
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
	})
	answered := make(chan error, 1)
	go func() {
		_, err := f.kv.Put(bounded(t), &pb.PutRequest{Key: []byte("b")})
		answered <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := f.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v", err)
	}
	wantCode(t, <-answered, codes.Unavailable)
}

// TestRequestThatNeverEndsDoesNotUseUpTheTimeOfCallsInFlight has a body of which no more
// comes, while a call of gRPC takes longer than HTTP is waited for.
func TestRequestThatNeverEndsDoesNotUseUpTheTimeOfCallsInFlight(t *testing.T) {
	f := start(t)
	entered, release := make(chan struct{}), make(chan struct{})
	f.set(func() {
		f.hook = func(_ context.Context, call string) error {
			if call == "Put" {
				close(entered)
				<-release
			}
			return nil
		}
	})
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the server cuts it off
	if _, err := conn.Write([]byte("POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := f.kv.Put(bounded(t), &pb.PutRequest{Key: []byte("b")})
		answered <- err
	}()
	<-entered
	down := make(chan error, 1)
	go func() { down <- f.server.Shutdown(bounded(t)) }()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the request that never ends was answered")
	}
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("call in flight: %v", err)
	}
	if err := <-down; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

func TestServerServesSeveralListeners(t *testing.T) {
	f := start(t)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(lis) }()
	second := &fixture{fakeMember: f.fakeMember, addr: lis.Addr().String()}
	if _, err := second.client(t).Put(bounded(t), "a", "1"); err != nil {
		t.Fatal(err)
	}
	put(t, f, "b", "2")
	f.stop(t)
	if err := <-served; !errors.Is(err, ErrServerClosed) {
		t.Errorf("second serve: %v", err)
	}
	if err := f.server.Serve(lis); !errors.Is(err, ErrServerClosed) {
		t.Errorf("serve after shutdown: %v", err)
	}
}

func TestServeReturnsWhenItsListenerFails(t *testing.T) {
	f := start(t)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(lis) }()
	lis.Close()
	if err := <-served; err == nil || errors.Is(err, ErrServerClosed) {
		t.Errorf("serve on a closed listener: %v", err)
	}
	put(t, f, "a", "1") // the other listener goes on
}

func TestServicesOfTheCallerRunOnTheSameServer(t *testing.T) {
	called := make(chan struct{}, 1)
	desc := grpc.ServiceDesc{
		ServiceName: "test.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			called <- struct{}{}
			req := new(pb.PutRequest)
			return &pb.PutResponse{}, decode(req)
		}}},
	}
	f := start(t, func(o *Options) {
		o.Register = func(r grpc.ServiceRegistrar) { r.RegisterService(&desc, struct{}{}) }
	})
	if err := f.conn.Invoke(bounded(t), "/test.Echo/Say", &pb.PutRequest{}, &pb.PutResponse{}); err != nil {
		t.Error(err)
	}
	<-called
}

func TestOptionsOutOfRangeAreRefused(t *testing.T) {
	m := newFake()
	for _, o := range []Options{
		{}, {Member: m, MaxRequestBytes: -1}, {Member: m, MaxRequestBytes: 1 << 31}, {Member: m, MaxTxnOps: -1},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	if s, err := New(Options{Member: m}); err != nil {
		t.Error(err)
	} else if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("shutdown of a server that never served: %v", err)
	}
}
