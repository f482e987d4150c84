package etcdapi

import (
	"context"
	"errors"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"chainfire"
)

// leaseServer is etcd's Lease service.
type leaseServer struct {
	member chainfire.Lease
	// header is that of the member as it is now.
	header func() chainfire.Header
	pb.UnsafeLeaseServer
}

var _ pb.LeaseServer = (*leaseServer)(nil)

// LeaseGrant makes a lease.
func (s *leaseServer) LeaseGrant(ctx context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	g, err := s.member.LeaseGrant(ctx, &chainfire.LeaseGrantRequest{ID: r.ID, TTL: r.TTL})
	if err != nil {
		return nil, toGRPC(err)
	}
	return &pb.LeaseGrantResponse{Header: newHeader(g.Header), ID: g.ID, TTL: g.TTL}, nil
}

// LeaseRevoke ends a lease.
func (s *leaseServer) LeaseRevoke(ctx context.Context, r *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	g, err := s.member.LeaseRevoke(ctx, r.ID)
	if err != nil {
		return nil, toGRPC(err)
	}
	return &pb.LeaseRevokeResponse{Header: newHeader(g.Header)}, nil
}

// LeaseKeepAlive renews leases, one after the other. One that does not exist has a TTL
// of 0; any other failure ends the stream, as do the server and the loss of a leader that
// the client asked for.
func (s *leaseServer) LeaseKeepAlive(stream pb.Lease_LeaseKeepAliveServer) error {
	ended := make(chan error, 1)
	// It outlives this call until gRPC ends the stream, as it does when this call returns.
	go func() { ended <- s.keepAlive(stream) }()
	select {
	case err := <-ended:
		return err
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
}

func (s *leaseServer) keepAlive(stream pb.Lease_LeaseKeepAliveServer) error {
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		// From before the renewal, as in etcd: a client that sees a revision in which the
		// lease was revoked must not see it renewed at that.
		out := &pb.LeaseKeepAliveResponse{Header: newHeader(s.header()), ID: r.ID}
		out.TTL, err = s.member.LeaseRenew(stream.Context(), r.ID)
		if err != nil && !errors.Is(err, chainfire.ErrLeaseNotFound) {
			return toGRPC(err)
		}
		if err := stream.Send(out); err != nil {
			return err
		}
	}
}

// noLease is the TTL of a lease that does not exist.
const noLease = -1

// LeaseTimeToLive says how much is left of a lease.
func (s *leaseServer) LeaseTimeToLive(ctx context.Context, r *pb.LeaseTimeToLiveRequest) (*pb.LeaseTimeToLiveResponse, error) {
	l, err := s.member.LeaseTimeToLive(ctx, r.ID, r.Keys)
	if errors.Is(err, chainfire.ErrLeaseNotFound) {
		return &pb.LeaseTimeToLiveResponse{Header: newHeader(s.header()), ID: r.ID, TTL: noLease}, nil
	}
	if err != nil {
		return nil, toGRPC(err)
	}
	return &pb.LeaseTimeToLiveResponse{
		Header: newHeader(l.Header), ID: r.ID, TTL: l.TTL, GrantedTTL: l.GrantedTTL, Keys: l.Keys,
	}, nil
}

// LeaseLeases lists leases.
func (s *leaseServer) LeaseLeases(ctx context.Context, _ *pb.LeaseLeasesRequest) (*pb.LeaseLeasesResponse, error) {
	l, err := s.member.LeaseList(ctx)
	if err != nil {
		return nil, toGRPC(err)
	}
	out := &pb.LeaseLeasesResponse{Header: newHeader(l.Header), Leases: make([]*pb.LeaseStatus, len(l.IDs))}
	for i, id := range l.IDs {
		out.Leases[i] = &pb.LeaseStatus{ID: id}
	}
	return out, nil
}
