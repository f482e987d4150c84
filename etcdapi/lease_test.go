package etcdapi

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"chainfire"
)

func wantMessage(t *testing.T, got, want proto.Message, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	} else if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestLeasesAreGrantedListedAskedForAndRevoked(t *testing.T) {
	f := start(t)
	c, ctx := pb.NewLeaseClient(f.conn), bounded(t)
	h := &pb.ResponseHeader{ClusterId: fakeCluster, MemberId: fakeID, Revision: 1, RaftTerm: fakeTerm}
	g, err := c.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: -7, TTL: 1})
	wantMessage(t, g, &pb.LeaseGrantResponse{Header: h, ID: -7, TTL: fakeTTL}, err)
	_, err = c.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: -7, TTL: 1})
	wantStatus(t, err, rpctypes.ErrGRPCLeaseExist)
	left, err := c.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: -7})
	wantMessage(t, left, &pb.LeaseTimeToLiveResponse{Header: h, ID: -7, TTL: fakeTTL - 1, GrantedTTL: fakeTTL}, err)
	left, err = c.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: -7, Keys: true})
	wantMessage(t, left, &pb.LeaseTimeToLiveResponse{Header: h, ID: -7, TTL: fakeTTL - 1, GrantedTTL: fakeTTL, Keys: [][]byte{[]byte("k")}}, err)
	list, err := c.LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
	wantMessage(t, list, &pb.LeaseLeasesResponse{Header: h, Leases: []*pb.LeaseStatus{{ID: -7}}}, err)
	r, err := c.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: -7})
	wantMessage(t, r, &pb.LeaseRevokeResponse{Header: h}, err)
	_, err = c.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: -7})
	wantStatus(t, err, rpctypes.ErrGRPCLeaseNotFound)
	left, err = c.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: -7, Keys: true})
	wantMessage(t, left, &pb.LeaseTimeToLiveResponse{Header: h, ID: -7, TTL: -1}, err)
}

func TestKeepAliveAnswersEachRequestWithAHeaderFromBeforeIt(t *testing.T) {
	f := start(t)
	f.set(func() { f.leases[5] = 30 })
	s, err := pb.NewLeaseClient(f.conn).LeaseKeepAlive(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []*pb.LeaseKeepAliveResponse{{ID: 5, TTL: 30}, {ID: 6, TTL: 0}, {ID: 5, TTL: 30}} {
		if err := s.Send(&pb.LeaseKeepAliveRequest{ID: want.ID}); err != nil {
			t.Fatal(err)
		}
		want.Header = &pb.ResponseHeader{ClusterId: fakeCluster, MemberId: fakeID, Revision: int64(i) + 1, RaftTerm: fakeTerm}
		got, err := s.Recv()
		wantMessage(t, got, want, err)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the client's end: %v", err)
	}
}

func TestKeepAliveEndsWithTheReasonWhyALeaseCouldNotBeRenewed(t *testing.T) {
	f := start(t)
	f.set(func() {
		f.hook = func(context.Context, string) error { return chainfire.ErrTimeout }
	})
	s, err := pb.NewLeaseClient(f.conn).LeaseKeepAlive(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&pb.LeaseKeepAliveRequest{ID: 5}); err != nil {
		t.Fatal(err)
	}
	_, err = s.Recv()
	wantStatus(t, err, rpctypes.ErrGRPCTimeout)
}

func TestIdleKeepAliveDoesNotHoldTheServerUp(t *testing.T) {
	f := start(t)
	s, err := pb.NewLeaseClient(f.conn).LeaseKeepAlive(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&pb.LeaseKeepAliveRequest{ID: 5}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	if err := f.server.Shutdown(ctx); err != nil || time.Since(began) > 10*time.Second {
		t.Errorf("shutdown after %v: %v", time.Since(began), err)
	}
	_, err = s.Recv()
	wantStatus(t, err, rpctypes.ErrGRPCStopped)
}

func TestLeasesAreNotForLearners(t *testing.T) {
	f := start(t)
	f.set(func() { f.learner = true })
	eventually(t, "role noticed", func() bool { return f.server.monitor.isLearner(bounded(t)) })
	c, ctx := pb.NewLeaseClient(f.conn), bounded(t)
	_, err := c.LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
	wantStatus(t, err, rpctypes.ErrGRPCNotSupportedForLearner)
	s, err := c.LeaseKeepAlive(ctx)
	if err == nil {
		_, err = s.Recv()
	}
	wantStatus(t, err, rpctypes.ErrGRPCNotSupportedForLearner)
}
