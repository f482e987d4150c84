package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// gatekeeper gives a token to each login once it is let go on, and wants the last one.
type gatekeeper struct {
	pb.UnimplementedAuthServer
	pb.UnimplementedKVServer
	logins atomic.Int64
	// entered has a login that began, ended one that its client gave up.
	entered, ended chan struct{}
	goOn           chan struct{}
}

func (g *gatekeeper) Authenticate(ctx context.Context, _ *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	n := g.logins.Add(1)
	g.entered <- struct{}{}
	select {
	case <-g.goOn:
		return &pb.AuthenticateResponse{Token: fmt.Sprint("token-", n)}, nil
	case <-ctx.Done():
		g.ended <- struct{}{}
		return nil, ctx.Err()
	}
}

func (g *gatekeeper) Range(ctx context.Context, _ *pb.RangeRequest) (*pb.RangeResponse, error) {
	got := metadata.ValueFromIncomingContext(ctx, rpctypes.TokenFieldNameGRPC)
	if want := fmt.Sprint("token-", g.logins.Load()); len(got) != 1 || got[0] != want {
		return nil, rpctypes.ErrGRPCInvalidAuthToken
	}
	return &pb.RangeResponse{}, nil
}

func keepGate(t *testing.T) (*gatekeeper, *login, pb.KVClient) {
	t.Helper()
	g := &gatekeeper{entered: make(chan struct{}, 10), ended: make(chan struct{}, 10), goOn: make(chan struct{})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterAuthServer(s, g)
	pb.RegisterKVServer(s, g)
	go func() { _ = s.Serve(l) }() // it ends with the test
	t.Cleanup(s.Stop)
	eve := &login{user: "eve", password: "pw"}
	cc, err := grpc.NewClient(l.Addr().String(), append(eve.options(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return g, eve, pb.NewKVClient(cc)
}

func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("never: %s", what)
	}
}

// awaitWaiters waits until so many calls wait for the login under way.
func awaitWaiters(t *testing.T, l *login, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	have := 0
	for end := time.Now().Add(20 * time.Second); have != n; <-tick.C {
		l.mu.Lock()
		if have = 0; l.under != nil {
			have = l.under.waits
		}
		l.mu.Unlock()
		if have != n && time.Now().After(end) {
			t.Fatalf("%d calls wait for the login, not %d", have, n)
		}
	}
}

func TestCallsThatNeedALoginWaitForOneEachForAsLongAsItLikes(t *testing.T) {
	g, eve, kv := keepGate(t)
	patient, hasty := make(chan error, 4), make(chan error, 1)
	hastyCtx, giveUp := context.WithCancel(t.Context())
	// The hasty one begins the login.
	go func() { _, err := kv.Range(hastyCtx, &pb.RangeRequest{Key: []byte("k")}); hasty <- err }()
	within(t, "the login begins", g.entered)
	for range cap(patient) {
		go func() { _, err := kv.Range(t.Context(), &pb.RangeRequest{Key: []byte("k")}); patient <- err }()
	}
	awaitWaiters(t, eve, 1+cap(patient))
	// A call with a token of its own time finds the others waiting, and leaves them.
	brief, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := kv.Range(brief, &pb.RangeRequest{Key: []byte("k")}); status.Code(err) != codes.DeadlineExceeded && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call whose time is over: %v", err)
	}
	giveUp()
	if err := <-hasty; status.Code(err) != codes.Canceled {
		t.Errorf("a call that gives up: %v", err)
	}
	close(g.goOn)
	for range cap(patient) {
		if err := <-patient; err != nil {
			t.Errorf("a call that waits: %v", err)
		}
	}
	if n := g.logins.Load(); n != 1 {
		t.Errorf("%d logins for one connection", n)
	}
}

func TestALoginThatNobodyWaitsForIsGivenUp(t *testing.T) {
	g, _, kv := keepGate(t)
	ctx, giveUp := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("k")}); done <- err }()
	within(t, "the login begins", g.entered)
	giveUp()
	if err := <-done; status.Code(err) != codes.Canceled {
		t.Errorf("a call that gives up: %v", err)
	}
	within(t, "the member is told", g.ended)
	close(g.goOn)
	if _, err := kv.Range(t.Context(), &pb.RangeRequest{Key: []byte("k")}); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestATokenThatIsNotGoodAnyMoreIsReplacedOnce(t *testing.T) {
	g, _, kv := keepGate(t)
	close(g.goOn)
	for range 3 {
		if _, err := kv.Range(t.Context(), &pb.RangeRequest{Key: []byte("k")}); err != nil {
			t.Fatal(err)
		}
	}
	if n := g.logins.Load(); n != 1 {
		t.Fatalf("%d logins for three calls", n)
	}
	g.logins.Add(1) // the token given is one of before
	if _, err := kv.Range(t.Context(), &pb.RangeRequest{Key: []byte("k")}); err != nil {
		t.Fatal(err)
	}
	if n := g.logins.Load(); n != 3 {
		t.Errorf("%d logins, one more was due", n-2)
	}
}
