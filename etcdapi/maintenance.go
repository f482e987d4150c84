package etcdapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
)

// maintenanceServer is etcd's Maintenance service.
type maintenanceServer struct {
	member interface {
		chainfire.Maintenance
		Header() chainfire.Header
	}
	log     *slog.Logger
	metrics *serverMetrics
	pb.UnsafeMaintenanceServer
}

var _ pb.MaintenanceServer = (*maintenanceServer)(nil)

// Status describes this member. The version is that of etcd whose behavior is
// offered, since clients choose what they use by it.
func (s *maintenanceServer) Status(ctx context.Context, _ *pb.StatusRequest) (*pb.StatusResponse, error) {
	st, err := s.member.Status(ctx)
	if err != nil {
		return nil, toGRPC(err)
	}
	out := &pb.StatusResponse{
		Header: newHeader(st.Header), Version: etcdVersion, StorageVersion: etcdStorageVersion,
		Leader: st.Leader, IsLearner: st.Learner, RaftTerm: st.Header.RaftTerm,
		// What etcd calls its raft index is the index of the last commit.
		RaftIndex: st.CommitIndex, RaftAppliedIndex: st.AppliedIndex,
		DbSize: st.StoreBytes, DbSizeInUse: st.LiveBytes, DbSizeQuota: st.QuotaBytes,
		DowngradeInfo: &pb.DowngradeInfo{},
	}
	noLeader := chainfire.ErrNoLeader.Error()
	if st.Leader == 0 {
		out.Errors = append(out.Errors, errorText(chainfire.ErrNoLeader))
	}
	for _, e := range st.Errors {
		if e != noLeader { // said above in etcd's words
			out.Errors = append(out.Errors, e)
		}
	}
	for _, a := range s.member.Alarms() {
		out.Errors = append(out.Errors, newAlarm(a).String())
	}
	return out, nil
}

// MoveLeader hands leadership to another voter.
func (s *maintenanceServer) MoveLeader(ctx context.Context, r *pb.MoveLeaderRequest) (*pb.MoveLeaderResponse, error) {
	if err := s.member.MoveLeader(ctx, r.TargetID); err != nil {
		return nil, toGRPC(err)
	}
	return &pb.MoveLeaderResponse{}, nil
}

// Alarm lists alarms, raises one or takes one back.
func (s *maintenanceServer) Alarm(ctx context.Context, r *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	req := &chainfire.AlarmRequest{Alarm: chainfire.Alarm{MemberID: r.MemberID, Type: chainfire.AlarmType(r.Alarm)}}
	switch {
	case pb.AlarmType_name[int32(r.Alarm)] == "":
		return nil, toGRPC(chainfire.ErrUnknownAlarm)
	case r.Action == pb.AlarmRequest_GET:
	case r.Action == pb.AlarmRequest_ACTIVATE:
		req.Action = chainfire.AlarmActivate
	case r.Action == pb.AlarmRequest_DEACTIVATE:
		req.Action = chainfire.AlarmDeactivate
	default: // as in etcd an empty answer
		return &pb.AlarmResponse{Header: newHeader(s.member.Header())}, nil
	}
	a, err := s.member.Alarm(ctx, req)
	if err != nil {
		return nil, toGRPC(err)
	}
	out := &pb.AlarmResponse{Header: newHeader(a.Header)}
	for _, a := range a.Alarms {
		out.Alarms = append(out.Alarms, newAlarm(a))
	}
	return out, nil
}

func newAlarm(a chainfire.Alarm) *pb.AlarmMember {
	return &pb.AlarmMember{MemberID: a.MemberID, Alarm: pb.AlarmType(a.Type)}
}

// Defragment has nothing to do: the store gives space back by itself.
func (s *maintenanceServer) Defragment(context.Context, *pb.DefragmentRequest) (*pb.DefragmentResponse, error) {
	s.log.Info("asked to defragment: there is nothing to do, the store gives space back by itself")
	return &pb.DefragmentResponse{}, nil
}

// Hash is, where etcd hashes its file, a hash of the key space at its current
// revision: the formats of the files differ.
func (s *maintenanceServer) Hash(ctx context.Context, _ *pb.HashRequest) (*pb.HashResponse, error) {
	began := time.Now()
	h, err := s.member.HashKV(ctx, 0)
	if err != nil {
		return nil, toGRPC(err)
	}
	s.metrics.hash.Observe(time.Since(began).Seconds())
	return &pb.HashResponse{Header: newHeader(h.Header), Hash: h.Hash}, nil
}

// HashKV is etcd's hash of the key space. At the compacted revision itself etcd answers
// with the hash that it computed before that compaction; this is the one after it.
func (s *maintenanceServer) HashKV(ctx context.Context, r *pb.HashKVRequest) (*pb.HashKVResponse, error) {
	began := time.Now()
	h, err := s.member.HashKV(ctx, r.Revision)
	if err != nil {
		return nil, toGRPC(err)
	}
	s.metrics.hashRev.Observe(time.Since(began).Seconds())
	return &pb.HashKVResponse{
		Header: newHeader(h.Header), Hash: h.Hash, CompactRevision: h.CompactRevision, HashRevision: h.HashRevision,
	}, nil
}

// snapshotPart is how much of a snapshot one message has, as in etcd.
const snapshotPart = 32 << 10

// Snapshot sends the state of this member as etcd's database file, and after it the
// SHA-256 of the file.
func (s *maintenanceServer) Snapshot(_ *pb.SnapshotRequest, stream pb.Maintenance_SnapshotServer) (err error) {
	began := time.Now()
	defer func() { s.metrics.backups.Observe(time.Since(began).Seconds()) }()
	f, err := s.member.EtcdSnapshot(stream.Context())
	if errors.Is(err, chainfire.ErrNoRoom) {
		return status.Error(codes.ResourceExhausted, "etcdserver: "+err.Error())
	}
	if err != nil {
		return toGRPC(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	hash := sha256.New()
	for left := f.Size(); left > 0; {
		// A message may be under way when Send returns.
		part := make([]byte, min(left, snapshotPart))
		if _, err := io.ReadFull(f, part); err != nil {
			return toGRPC(fmt.Errorf("read the snapshot: %w", err))
		}
		left -= int64(len(part))
		if err := stream.Send(&pb.SnapshotResponse{RemainingBytes: uint64(left), Blob: part, Version: f.Version()}); err != nil {
			return err
		}
		_, _ = hash.Write(part) // a hash takes everything
	}
	return stream.Send(&pb.SnapshotResponse{Blob: hash.Sum(nil), Version: f.Version()})
}
