package main

import (
	"context"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// fakeLeases is etcd's Lease service of a fake member, whose leases all have 7 s of 9.
type fakeLeases struct {
	etcdserverpb.UnimplementedLeaseServer
	f *fakeMember
}

func (l fakeLeases) LeaseGrant(_ context.Context, r *etcdserverpb.LeaseGrantRequest) (*etcdserverpb.LeaseGrantResponse, error) {
	id := r.GetID()
	if id == 0 {
		id = 0x694d
	}
	return &etcdserverpb.LeaseGrantResponse{Header: l.f.keep(r), ID: id, TTL: r.GetTTL()}, nil
}

func (l fakeLeases) LeaseRevoke(_ context.Context, r *etcdserverpb.LeaseRevokeRequest) (*etcdserverpb.LeaseRevokeResponse, error) {
	return &etcdserverpb.LeaseRevokeResponse{Header: l.f.keep(r)}, nil
}

func (l fakeLeases) LeaseKeepAlive(s grpc.BidiStreamingServer[etcdserverpb.LeaseKeepAliveRequest, etcdserverpb.LeaseKeepAliveResponse]) error {
	for {
		r, err := s.Recv()
		if err != nil {
			return err
		}
		ttl := int64(7)
		if r.GetID() == 0xdead {
			ttl = 0
		}
		if err := s.Send(&etcdserverpb.LeaseKeepAliveResponse{Header: l.f.keep(r), ID: r.GetID(), TTL: ttl}); err != nil {
			return err
		}
	}
}

func (l fakeLeases) LeaseTimeToLive(_ context.Context, r *etcdserverpb.LeaseTimeToLiveRequest) (*etcdserverpb.LeaseTimeToLiveResponse, error) {
	if r.GetID() == 0xdead {
		return &etcdserverpb.LeaseTimeToLiveResponse{Header: l.f.keep(r), ID: r.GetID(), TTL: -1}, nil
	}
	out := &etcdserverpb.LeaseTimeToLiveResponse{Header: l.f.keep(r), ID: r.GetID(), TTL: 7, GrantedTTL: 9}
	if r.GetKeys() {
		out.Keys = [][]byte{[]byte("a"), {0xff}}
	}
	return out, nil
}

func (l fakeLeases) LeaseLeases(_ context.Context, r *etcdserverpb.LeaseLeasesRequest) (*etcdserverpb.LeaseLeasesResponse, error) {
	return &etcdserverpb.LeaseLeasesResponse{Header: l.f.keep(r), Leases: []*etcdserverpb.LeaseStatus{{ID: -1}, {ID: 31}}}, nil
}
