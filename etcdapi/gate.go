package etcdapi

import (
	"context"
	"strings"
	"unicode/utf8"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"chainfire"
)

// ofEtcd reports whether etcd's rules for learners apply to a method.
func ofEtcd(method string) bool {
	return strings.HasPrefix(method, "/etcdserverpb.") || strings.HasPrefix(method, "/v3lockpb.") || strings.HasPrefix(method, "/v3electionpb.")
}

// gate refuses calls that this member cannot serve now, before their handlers
// see them, in etcd's order: first what a learner does not serve, then a client
// version that is no text, then a missing leader that the client insists on.
type gate struct {
	member  chainfire.Maintenance
	monitor *monitor
	streams *streamSet
	metrics *serverMetrics
}

func (g *gate) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if !servedByLearner(req) && ofEtcd(info.FullMethod) && g.monitor.isLearner(ctx) &&
		(!servedByReplica(req) || !g.monitor.isReplica()) {
		return nil, rpctypes.ErrGRPCNotSupportedForLearner
	}
	if _, err := g.checkMetadata(ctx, "unary"); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

func (g *gate) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	parent := ss.Context()
	if info.FullMethod != pb.Maintenance_Snapshot_FullMethodName &&
		ofEtcd(info.FullMethod) && g.monitor.isLearner(parent) &&
		(!replicaStreams[info.FullMethod] || !g.monitor.isReplica()) {
		return rpctypes.ErrGRPCNotSupportedForLearner
	}
	needsLeader, err := g.checkMetadata(parent, "stream")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	live := &liveStream{
		end: cancel, needsLeader: needsLeader, finite: info.FullMethod == pb.KV_RangeStream_FullMethodName,
	}
	if err := g.streams.add(live); err != nil {
		return err
	}
	defer g.streams.remove(live)
	err = handler(srv, &contextStream{ServerStream: ss, ctx: ctx})
	if err != nil && parent.Err() == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// servedByLearner reports whether a learner answers the request.
func servedByLearner(req any) bool {
	switch r := req.(type) {
	case *pb.StatusRequest:
		return true
	case *pb.RangeRequest:
		return r.Serializable
	}
	return false
}

// replicaStreams are the streams that a read replica serves.
var replicaStreams = map[string]bool{
	pb.KV_RangeStream_FullMethodName: true,
	pb.Watch_Watch_FullMethodName:    true,
}

// servedByReplica reports whether a read replica answers the request. Of a
// transaction the member decides.
func servedByReplica(req any) bool {
	switch req.(type) {
	case *pb.RangeRequest, *pb.TxnRequest, *pb.MemberListRequest:
		return true
	}
	return false
}

// checkMetadata looks at what the client says about itself, and counts the call, of a
// stream or not. It reports whether the call requires a leader.
func (g *gate) checkMetadata(ctx context.Context, kind string) (needsLeader bool, err error) {
	version := "unknown"
	if v := metadata.ValueFromIncomingContext(ctx, rpctypes.MetadataClientAPIVersionKey); len(v) > 0 {
		version = v[0]
	}
	if !utf8.ValidString(version) {
		return false, rpctypes.ErrGRPCInvalidClientAPIVersion
	}
	g.metrics.client(kind, version)
	v := metadata.ValueFromIncomingContext(ctx, rpctypes.MetadataRequireLeaderKey)
	if len(v) == 0 || v[0] != rpctypes.MetadataHasLeader {
		return false, nil
	}
	if err := g.member.Health(ctx, false); err != nil {
		return true, rpctypes.ErrGRPCNoLeader
	}
	return true, nil
}
