package etcdapi

import (
	"context"
	"slices"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

func TestMembersAreAddedChangedAndRemoved(t *testing.T) {
	f := start(t)
	ctx := bounded(t)
	c := pb.NewClusterClient(f.conn)
	// The membership calls name no revision.
	h := &pb.ResponseHeader{ClusterId: fakeCluster, MemberId: fakeID, RaftTerm: fakeTerm}
	one := &pb.Member{ID: fakeID, Name: "one", PeerURLs: []string{"http://127.0.0.1:1"}, ClientURLs: []string{"http://127.0.0.1:2"}}

	added, err := c.MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: []string{" http://b:1", "http://a:1"}, IsLearner: true})
	if err != nil {
		t.Fatal(err)
	}
	two := &pb.Member{ID: 101, PeerURLs: []string{"http://a:1", "http://b:1"}, IsLearner: true}
	wantProto(t, added, &pb.MemberAddResponse{Header: h, Member: two, Members: []*pb.Member{one, two}})

	updated, err := c.MemberUpdate(ctx, &pb.MemberUpdateRequest{ID: 101, PeerURLs: []string{"https://c:1"}})
	if err != nil {
		t.Fatal(err)
	}
	two.PeerURLs = []string{"https://c:1"}
	wantProto(t, updated, &pb.MemberUpdateResponse{Header: h, Members: []*pb.Member{one, two}})

	promoted, err := c.MemberPromote(ctx, &pb.MemberPromoteRequest{ID: 101})
	if err != nil {
		t.Fatal(err)
	}
	two.IsLearner = false
	wantProto(t, promoted, &pb.MemberPromoteResponse{Header: h, Members: []*pb.Member{one, two}})

	removed, err := c.MemberRemove(ctx, &pb.MemberRemoveRequest{ID: 101})
	if err != nil {
		t.Fatal(err)
	}
	wantProto(t, removed, &pb.MemberRemoveResponse{Header: h, Members: []*pb.Member{one}})

	_, err = c.MemberRemove(ctx, &pb.MemberRemoveRequest{ID: 101})
	wantStatus(t, err, rpctypes.ErrGRPCMemberNotFound)
	_, err = c.MemberPromote(ctx, &pb.MemberPromoteRequest{ID: 101})
	wantStatus(t, err, rpctypes.ErrGRPCMemberNotFound)
	_, err = c.MemberUpdate(ctx, &pb.MemberUpdateRequest{ID: 101, PeerURLs: []string{"http://a:1"}})
	wantStatus(t, err, rpctypes.ErrGRPCMemberNotFound)
}

func TestMemberListAsksAQuorumOnlyIfTold(t *testing.T) {
	f := start(t)
	var calls []string
	f.set(func() {
		f.hook = func(_ context.Context, call string) error {
			if call == "Members" || call == "MembersLinearizable" {
				calls = append(calls, call)
			}
			return nil
		}
	})
	c := pb.NewClusterClient(f.conn)
	for _, linearizable := range []bool{false, true} {
		resp, err := c.MemberList(bounded(t), &pb.MemberListRequest{Linearizable: linearizable})
		if err != nil || len(resp.Members) != 1 {
			t.Errorf("got %v, %v", resp, err)
		}
	}
	if !slices.Equal(calls, []string{"Members", "MembersLinearizable"}) {
		t.Errorf("the member was asked for %v", calls)
	}
	if list, err := f.client(t).MemberList(bounded(t)); err != nil || list.Members[0].Name != "one" {
		t.Errorf("etcd's client got %v, %v", list, err)
	}
}

func TestPeerURLThatNobodyCanDialIsRefused(t *testing.T) {
	f := start(t)
	c := pb.NewClusterClient(f.conn)
	for _, urls := range [][]string{
		nil, {""}, {"a:1"}, {"http://a"}, {"http://a:1/path"}, {"ftp://a:1"}, {"http://a:1", "::"}, {"http://%zz:1"}, {"\x7f"},
	} {
		_, err := c.MemberAdd(bounded(t), &pb.MemberAddRequest{PeerURLs: urls})
		wantStatus(t, err, rpctypes.ErrGRPCMemberBadURLs)
		_, err = c.MemberUpdate(bounded(t), &pb.MemberUpdateRequest{ID: fakeID, PeerURLs: urls})
		wantStatus(t, err, rpctypes.ErrGRPCMemberBadURLs)
	}
	for _, good := range []string{"http://a:1", "https://[::1]:2380", "unix://peer.sock", "unixs://peer.sock"} {
		if _, err := checkPeerURLs([]string{good}); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}
