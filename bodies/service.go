package bodies

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
	"chainfire/blob"
	"chainfire/object"
)

// pieceBytes is how much of an extent goes in one message.
const pieceBytes = 64 << 10

// Service answers the calls of the Bodies service for other members; a gRPC server delegates to its
// methods of the same names. It may be called from any goroutine.
type Service struct {
	store   *blob.Store
	cluster uint64
	// extents has memory for an extent that comes in.
	extents sync.Pool
}

// NewService serves the extents of this member to members of that cluster.
func (b *Bodies) NewService(cluster uint64) *Service {
	return &Service{store: b.store, cluster: cluster}
}

func (s *Service) member(cluster uint64) error {
	if cluster != s.cluster {
		return status.Errorf(codes.FailedPrecondition, "this member belongs to cluster %x, not %x", s.cluster, cluster)
	}
	return nil
}

// PutExtents implements the call of that name.
func (s *Service) PutExtents(stream grpc.BidiStreamingServer[api.PutExtentsRequest, api.PutExtentsResponse]) error {
	in := incoming{s: s, stream: stream}
	defer in.end()
	m := &api.PutExtentsRequest{} // its memory is used again, see Codec
	for first := true; ; first = false {
		err := stream.RecvMsg(m)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if first {
			if err := s.member(m.GetClusterId()); err != nil {
				return err
			}
		}
		if m.GetSync() {
			err = in.sync()
		} else {
			err = in.piece(m)
		}
		if err != nil {
			return toStatus(err)
		}
	}
}

// incoming is a stream of extents.
type incoming struct {
	s      *Service
	stream grpc.BidiStreamingServer[api.PutExtentsRequest, api.PutExtentsResponse]
	// put is how many extents were put; what is of the one that comes in.
	put  uint64
	id   object.ExtentID
	size int
	crc  uint32
	buf  []byte
	// memory is what buf is in, of the pool.
	memory *[]byte
}

var errProtocol = status.Error(codes.InvalidArgument, "not in the order of the protocol, or too large")

func (in *incoming) piece(m *api.PutExtentsRequest) error {
	if id := m.GetId(); id != nil {
		if len(in.buf) < in.size || m.GetSize() == 0 || m.GetSize() > object.MaxExtent {
			return errProtocol
		}
		in.id, in.size, in.crc = fromID(id), int(m.GetSize()), m.GetCrc32C()
		in.begin()
	}
	if len(m.GetData()) == 0 || len(in.buf)+len(m.GetData()) > in.size {
		return errProtocol
	}
	in.buf = append(in.buf, m.GetData()...)
	if len(in.buf) < in.size {
		return nil
	}
	if err := in.s.store.Put(in.stream.Context(), in.id, in.buf, in.crc); err != nil {
		return err
	}
	in.put++
	return nil
}

// begin makes room for an extent.
func (in *incoming) begin() {
	if in.memory == nil {
		in.memory, _ = in.s.extents.Get().(*[]byte)
	}
	if in.memory == nil {
		in.memory = &[]byte{}
	}
	if cap(*in.memory) < in.size {
		*in.memory = make([]byte, 0, in.size)
	}
	in.buf = (*in.memory)[:0]
}

// end gives back the room for extents.
func (in *incoming) end() {
	if in.memory != nil {
		in.s.extents.Put(in.memory)
	}
}

func (in *incoming) sync() error {
	if len(in.buf) < in.size {
		return errProtocol
	}
	if err := in.s.store.Sync(in.stream.Context()); err != nil {
		return err
	}
	return in.stream.Send(&api.PutExtentsResponse{Extents: in.put})
}

// GetExtent implements the call of that name.
func (s *Service) GetExtent(q *api.GetExtentRequest, stream grpc.ServerStreamingServer[api.GetExtentResponse]) error {
	if err := s.member(q.GetClusterId()); err != nil {
		return err
	}
	id := fromID(q.GetId())
	for off, left := int64(q.GetOffset()), int64(q.GetLength()); left > 0; {
		// A buffer of its own for each piece: gRPC may look at a message after Send
		// has returned.
		data := make([]byte, min(left, pieceBytes))
		if err := s.store.Get(id, off, data); err != nil {
			return toStatus(err)
		}
		if err := stream.Send(&api.GetExtentResponse{Data: data, Crc32C: crc32.Checksum(data, castagnoli)}); err != nil {
			return err
		}
		off, left = off+int64(len(data)), left-int64(len(data))
	}
	return nil
}

// HasExtents implements the call of that name.
func (s *Service) HasExtents(_ context.Context, q *api.HasExtentsRequest) (*api.HasExtentsResponse, error) {
	if err := s.member(q.GetClusterId()); err != nil {
		return nil, err
	}
	if len(q.GetIds()) > MaxHas {
		return nil, status.Errorf(codes.InvalidArgument, "%d extents are asked for, more than %d", len(q.GetIds()), MaxHas)
	}
	ids := make([]object.ExtentID, len(q.GetIds()))
	for i, id := range q.GetIds() {
		ids[i] = fromID(id)
	}
	has, err := hasAll(s.store, ids)
	if err != nil {
		return nil, toStatus(err)
	}
	return &api.HasExtentsResponse{Has: has}, nil
}

func fromID(id *api.ExtentId) object.ExtentID {
	return object.ExtentID{Body: object.BodyID{Lease: id.GetLease(), N: id.GetBody()}, N: id.GetExtent()}
}

func toID(id object.ExtentID) *api.ExtentId {
	return &api.ExtentId{Lease: id.Body.Lease, Body: id.Body.N, Extent: id.N}
}

// toStatus chooses the code by which the other side knows what it is.
func toStatus(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	code := codes.Unavailable
	switch {
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	case errors.Is(err, chainfire.ErrNoRoom):
		code = codes.ResourceExhausted
	case errors.Is(err, blob.ErrChecksum), errors.Is(err, blob.ErrConflict):
		code = codes.DataLoss
	case errors.Is(err, blob.ErrNotFound), errors.Is(err, chainfire.ErrCorrupt):
		code = codes.NotFound
	case errors.Is(err, blob.ErrRange):
		code = codes.OutOfRange
	}
	return status.Error(code, err.Error())
}
