package main

import (
	"context"
	"net"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"chainfire"
	"chainfire/api"
)

// fakeMember answers every request with a header, and keeps the last one.
type fakeMember struct {
	etcdserverpb.UnimplementedKVServer
	etcdserverpb.UnimplementedClusterServer
	mu     sync.Mutex
	last   proto.Message
	status *chainfire.ClusterStatus
}

func (f *fakeMember) keep(m proto.Message) *etcdserverpb.ResponseHeader {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = proto.Clone(m)
	return testHeader()
}

func (f *fakeMember) taken() proto.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

func testHeader() *etcdserverpb.ResponseHeader {
	return &etcdserverpb.ResponseHeader{ClusterId: 0xabcdef, MemberId: 12, Revision: 34, RaftTerm: 5}
}

func (f *fakeMember) Range(_ context.Context, r *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	return &etcdserverpb.RangeResponse{Header: f.keep(r)}, nil
}

func (f *fakeMember) Put(_ context.Context, r *etcdserverpb.PutRequest) (*etcdserverpb.PutResponse, error) {
	return &etcdserverpb.PutResponse{Header: f.keep(r)}, nil
}

func (f *fakeMember) DeleteRange(_ context.Context, r *etcdserverpb.DeleteRangeRequest) (*etcdserverpb.DeleteRangeResponse, error) {
	return &etcdserverpb.DeleteRangeResponse{Header: f.keep(r)}, nil
}

func (f *fakeMember) Txn(_ context.Context, r *etcdserverpb.TxnRequest) (*etcdserverpb.TxnResponse, error) {
	return &etcdserverpb.TxnResponse{Header: f.keep(r)}, nil
}

func (f *fakeMember) MemberList(context.Context, *etcdserverpb.MemberListRequest) (*etcdserverpb.MemberListResponse, error) {
	return &etcdserverpb.MemberListResponse{Header: testHeader(), Members: testMembers()}, nil
}

func testMembers() []*etcdserverpb.Member {
	return []*etcdserverpb.Member{
		{ID: 1, Name: "a", PeerURLs: []string{"http://h:1"}, ClientURLs: []string{"http://h:2"}},
		{ID: 77, Name: "b", PeerURLs: []string{"http://h:3"}, IsLearner: true},
	}
}

// fakeCluster is api.Cluster, beside that of etcd.
type fakeCluster struct {
	api.UnimplementedClusterServer
	f *fakeMember
}

func (c fakeCluster) ClusterStatus(context.Context, *api.ClusterStatusRequest) (*api.ClusterStatusResponse, error) {
	return api.NewClusterStatusResponse(c.f.status), nil
}

func (c fakeCluster) RemoveMember(_ context.Context, r *api.RemoveMemberRequest) (*api.RemoveMemberResponse, error) {
	c.f.keep(r)
	out := &api.RemoveMemberResponse{
		Header: &api.Header{ClusterId: 0xabcdef, MemberId: 12, Revision: 34, RaftTerm: 5}, Removed: &api.Member{Id: 77, Name: "b"},
		Members: []*api.Member{{Id: 1, Name: "a", PeerUrls: []string{"http://h:1"}, ClientUrls: []string{"http://h:2"}}},
	}
	if r.GetForce() {
		out.Warning = "without it there is no majority"
	}
	return out, nil
}

func (c fakeCluster) ReplaceMember(_ context.Context, r *api.ReplaceMemberRequest) (*api.ReplaceMemberResponse, error) {
	c.f.keep(r)
	out := &api.ReplaceMemberResponse{
		Header: &api.Header{ClusterId: 0xabcdef, MemberId: 12, Revision: 34, RaftTerm: 5}, Replaced: &api.Member{Id: 77, Name: "b", PeerUrls: []string{"https://10.0.0.3:2380"}},
	}
	if r.GetBy() == "" {
		out.Reason = "no member stands by"
		return out, nil
	}
	out.By = &api.Member{Id: 88, Name: r.GetBy()}
	out.Members = []*api.Member{out.By}
	return out, nil
}

// startFake serves a fake member and returns it with its address.
func startFake(t *testing.T, status *chainfire.ClusterStatus) (*fakeMember, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if status == nil {
		status = &chainfire.ClusterStatus{}
	}
	f := &fakeMember{status: status}
	s := grpc.NewServer()
	etcdserverpb.RegisterKVServer(s, f)
	etcdserverpb.RegisterClusterServer(s, f)
	etcdserverpb.RegisterLeaseServer(s, fakeLeases{f: f})
	api.RegisterClusterServer(s, fakeCluster{f: f})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return f, l.Addr().String()
}
