package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire/api"
	"chainfire/raft"
)

// Service answers the snapshot calls of the Peer service; a gRPC server
// delegates to its methods of the same names. It may be called from any
// goroutine.
type Service struct {
	server    *Server
	clusterID uint64
}

// NewService serves the snapshots of s to members of that cluster.
func NewService(s *Server, clusterID uint64) *Service {
	return &Service{server: s, clusterID: clusterID}
}

// OpenSnapshot implements the call of that name.
func (s *Service) OpenSnapshot(ctx context.Context, r *api.OpenSnapshotRequest) (*api.OpenSnapshotResponse, error) {
	if r.GetClusterId() != s.clusterID {
		return nil, status.Errorf(codes.FailedPrecondition, "this member belongs to cluster %x, not %x", s.clusterID, r.GetClusterId())
	}
	o, err := s.server.Open(ctx, r.GetMinIndex())
	if err != nil {
		return nil, toStatus(err)
	}
	return offerToProto(o), nil
}

// ReadSnapshot implements the call of that name.
func (s *Service) ReadSnapshot(r *api.ReadSnapshotRequest, stream grpc.ServerStreamingServer[api.SnapshotChunk]) error {
	offset := int64(r.GetOffset())
	for {
		// A buffer of its own for each chunk: gRPC may look at a message after
		// Send has returned.
		buf := make([]byte, BlockSize)
		n, err := s.server.ReadChunk(stream.Context(), r.GetSnapshotId(), r.GetFile(), offset, buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return toStatus(err)
		}
		err = stream.Send(&api.SnapshotChunk{
			File: r.GetFile(), Offset: uint64(offset), Data: buf[:n], Crc32C: checksum(buf[:n]),
		})
		if err != nil {
			return err
		}
		offset += int64(n)
	}
}

// CloseSnapshot implements the call of that name.
func (s *Service) CloseSnapshot(_ context.Context, r *api.CloseSnapshotRequest) (*api.CloseSnapshotResponse, error) {
	s.server.CloseSnapshot(r.GetSnapshotId())
	return &api.CloseSnapshotResponse{}, nil
}

// toStatus chooses the code by which the other side knows whether to retry.
func toStatus(err error) error {
	code := codes.Unavailable
	var corrupt *CorruptError
	switch {
	case errors.Is(err, ErrClosed):
		code = codes.Unavailable
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	case errors.Is(err, ErrUnknownSnapshot):
		code = codes.NotFound
	case errors.Is(err, ErrBusy):
		code = codes.ResourceExhausted
	case errors.Is(err, ErrBehind):
		code = codes.OutOfRange
	case errors.Is(err, ErrBadRequest):
		code = codes.InvalidArgument
	case errors.As(err, &corrupt), errors.Is(err, syscall.EIO):
		code = codes.DataLoss
	case errors.Is(err, ErrManifest), errors.Is(err, ErrCut):
		code = codes.FailedPrecondition
	}
	return status.Error(code, err.Error())
}

// fromStatus is its counterpart. What is not known to be definite passes.
func fromStatus(err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch s.Code() {
	case codes.NotFound:
		return fmt.Errorf("%w: %s", ErrUnknownSnapshot, s.Message())
	case codes.OutOfRange:
		return fmt.Errorf("%w: %s", ErrBehind, s.Message())
	case codes.InvalidArgument, codes.FailedPrecondition, codes.PermissionDenied,
		codes.Unauthenticated, codes.Unimplemented, codes.DataLoss:
		return fmt.Errorf("%w (%s): %s", ErrRefused, s.Code(), s.Message())
	}
	return err
}

// Calls are the calls for snapshots, as both the service of peers and that of
// clients have them.
type Calls interface {
	OpenSnapshot(ctx context.Context, q *api.OpenSnapshotRequest, o ...grpc.CallOption) (*api.OpenSnapshotResponse, error)
	ReadSnapshot(ctx context.Context, q *api.ReadSnapshotRequest, o ...grpc.CallOption) (grpc.ServerStreamingClient[api.SnapshotChunk], error)
	CloseSnapshot(ctx context.Context, q *api.CloseSnapshotRequest, o ...grpc.CallOption) (*api.CloseSnapshotResponse, error)
}

// GRPCSource fetches from a member over gRPC.
type GRPCSource struct {
	Client Calls
	// Label names the member in errors, by id and address for example.
	Label string
	// ClusterID is the cluster that the snapshot must be of, MemberID the id of
	// the one that fetches.
	ClusterID, MemberID uint64
}

// Name implements Source.
func (g *GRPCSource) Name() string { return g.Label }

// Open implements Source. It checks the manifest against its checksum.
func (g *GRPCSource) Open(ctx context.Context, minIndex uint64) (Offer, error) {
	r, err := g.Client.OpenSnapshot(ctx, &api.OpenSnapshotRequest{
		ClusterId: g.ClusterID, MemberId: g.MemberID, MinIndex: minIndex,
	}, grpc.MaxCallRecvMsgSize(maxManifest))
	if err != nil {
		return Offer{}, fromStatus(err)
	}
	return offerFromProto(r)
}

// Read implements Source.
func (g *GRPCSource) Read(ctx context.Context, id, file string, offset int64) (Stream, error) {
	s, err := g.Client.ReadSnapshot(ctx, &api.ReadSnapshotRequest{SnapshotId: id, File: file, Offset: uint64(offset)})
	if err != nil {
		return nil, fromStatus(err)
	}
	return grpcStream{s}, nil
}

// Close implements Source.
func (g *GRPCSource) Close(ctx context.Context, id string) error {
	_, err := g.Client.CloseSnapshot(ctx, &api.CloseSnapshotRequest{SnapshotId: id})
	return err
}

type grpcStream struct {
	s grpc.ServerStreamingClient[api.SnapshotChunk]
}

// Recv implements Stream.
func (g grpcStream) Recv() (Chunk, error) {
	c, err := g.s.Recv()
	if errors.Is(err, io.EOF) {
		return Chunk{}, io.EOF
	}
	if err != nil {
		return Chunk{}, fromStatus(err)
	}
	return Chunk{File: c.GetFile(), Offset: int64(c.GetOffset()), Data: c.GetData(), CRC: c.GetCrc32C()}, nil
}

func offerToProto(o Offer) *api.OpenSnapshotResponse {
	m := o.Manifest
	r := &api.OpenSnapshotResponse{
		SnapshotId: o.ID, Index: m.Meta.Index, Term: m.Meta.Term, ClusterId: m.Meta.ClusterID,
		Conf: &api.ConfState{
			Voters: m.Meta.Conf.Voters, Outgoing: m.Meta.Conf.Outgoing, Learners: m.Meta.Conf.Learners,
			LearnersNext: m.Meta.Conf.LearnersNext, AutoLeave: m.Meta.Conf.AutoLeave,
		},
		TotalBytes: uint64(m.TotalBytes()), ManifestCrc32C: m.sum(),
	}
	for i := range m.Files {
		f := &m.Files[i]
		r.Files = append(r.Files, &api.SnapshotFile{Name: f.Name, Size: uint64(f.Size), Crc32C: f.CRC, Blocks: f.Blocks})
	}
	return r
}

func offerFromProto(r *api.OpenSnapshotResponse) (Offer, error) {
	c := r.GetConf()
	m := &Manifest{Meta: Meta{ClusterID: r.GetClusterId(), SnapshotMeta: raft.SnapshotMeta{
		Index: r.GetIndex(), Term: r.GetTerm(),
		Conf: raft.ConfState{
			Voters: c.GetVoters(), Outgoing: c.GetOutgoing(), Learners: c.GetLearners(),
			LearnersNext: c.GetLearnersNext(), AutoLeave: c.GetAutoLeave(),
		},
	}}}
	for _, f := range r.GetFiles() {
		m.Files = append(m.Files, File{Name: f.GetName(), Size: int64(f.GetSize()), CRC: f.GetCrc32C(), Blocks: f.GetBlocks()})
	}
	if err := m.Validate(); err != nil {
		return Offer{}, err
	}
	if got := m.sum(); got != r.GetManifestCrc32C() {
		return Offer{}, fmt.Errorf("%w: checksum %08x, expected %08x", ErrManifest, got, r.GetManifestCrc32C())
	}
	return Offer{ID: r.GetSnapshotId(), Manifest: m}, nil
}
