package etcdapi

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a server for a fake member on loopback, with clients.
type fixture struct {
	*fakeMember
	server *Server
	addr   string
	served chan error
	conn   *grpc.ClientConn
	kv     pb.KVClient
}

func start(t *testing.T, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{fakeMember: newFake(), served: make(chan error, 1)}
	opts := Options{Member: f.fakeMember, StatusInterval: 5 * time.Millisecond}
	for _, c := range change {
		c(&opts)
	}
	var err error
	if f.server, err = New(opts); err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = lis.Addr().String()
	go func() { f.served <- f.server.Serve(lis) }()
	if f.conn, err = grpc.NewClient(f.addr, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	f.kv = pb.NewKVClient(f.conn)
	t.Cleanup(func() {
		f.conn.Close()
		f.stop(t)
	})
	return f
}

// stop shuts the server down, once or again.
func (f *fixture) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := f.server.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	select {
	case err := <-f.served:
		if !errors.Is(err, ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
		f.served <- err
	case <-ctx.Done():
		t.Error("serve does not return after shutdown")
	}
}

// client is etcd's own client.
func (f *fixture) client(t *testing.T) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{f.addr}, DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// bounded is a context that no test should outlive.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// wantStatus checks code and text of a gRPC error against another one.
func wantStatus(t *testing.T, got, want error) {
	t.Helper()
	g, w := status.Convert(got), status.Convert(want)
	if g.Code() != w.Code() || g.Message() != w.Message() {
		t.Errorf("got %v %q, want %v %q", g.Code(), g.Message(), w.Code(), w.Message())
	}
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if c := status.Code(err); c != want {
		t.Errorf("got %v (%v), want %v", c, err, want)
	}
}

// eventually polls a condition until it holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx := bounded(t)
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

func put(t *testing.T, f *fixture, key, value string) int64 {
	t.Helper()
	resp, err := f.kv.Put(bounded(t), &pb.PutRequest{Key: []byte(key), Value: []byte(value)})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}
