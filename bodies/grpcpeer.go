package bodies

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
	"chainfire/blob"
	"chainfire/object"
)

// GRPCPeer is another member over gRPC.
type GRPCPeer struct {
	Client api.BodiesClient
	// Cluster is the id of the cluster of both.
	Cluster uint64
	// Breathe, if set, is called between two pieces of an extent that is sent.
	Breathe func()
}

var _ Peer = GRPCPeer{}

// Put implements Peer.
func (p GRPCPeer) Put(ctx context.Context) (Stream, error) {
	// To end the context is the only way to give a stream up.
	ctx, cancel := context.WithCancel(ctx)
	s, err := p.Client.PutExtents(ctx)
	if err != nil {
		cancel()
		return nil, fromStatus(err)
	}
	return &grpcStream{s: s, cancel: cancel, cluster: p.Cluster, breathe: p.Breathe}, nil
}

// grpcStream is a Stream over gRPC.
type grpcStream struct {
	s       grpc.BidiStreamingClient[api.PutExtentsRequest, api.PutExtentsResponse]
	cancel  context.CancelFunc
	cluster uint64
	breathe func()
	sent    uint64
}

// Send implements Stream.
func (g *grpcStream) Send(id object.ExtentID, data []byte, crc uint32) error {
	m := &api.PutExtentsRequest{ClusterId: g.cluster, Id: toID(id), Size: uint32(len(data)), Crc32C: crc}
	for len(data) > 0 {
		n := min(len(data), pieceBytes)
		m.Data, data = data[:n], data[n:]
		if err := g.send(m); err != nil {
			return err
		}
		m = &api.PutExtentsRequest{}
		if g.breathe != nil && len(data) > 0 {
			g.breathe()
		}
	}
	g.sent++
	return nil
}

func (g *grpcStream) send(m *api.PutExtentsRequest) error {
	err := g.s.Send(m)
	if errors.Is(err, io.EOF) {
		// The other side has ended it, and said why.
		if _, err = g.s.Recv(); err == nil {
			err = errors.New("the stream of extents was ended")
		}
	}
	return fromStatus(err)
}

// Sync implements Stream.
func (g *grpcStream) Sync() error {
	if err := g.send(&api.PutExtentsRequest{ClusterId: g.cluster, Sync: true}); err != nil {
		return err
	}
	r, err := g.s.Recv()
	if err != nil {
		return fromStatus(err)
	}
	if r.GetExtents() != g.sent {
		return fmt.Errorf("of %d extents that were sent, %d were put", g.sent, r.GetExtents())
	}
	return nil
}

// Close implements Stream.
func (g *grpcStream) Close() error {
	g.cancel()
	return nil
}

// Get implements Peer.
func (p GRPCPeer) Get(ctx context.Context, id object.ExtentID, off int64, dst []byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := p.Client.GetExtent(ctx, &api.GetExtentRequest{
		ClusterId: p.Cluster, Id: toID(id), Offset: uint32(off), Length: uint32(len(dst)),
	})
	if err != nil {
		return fromStatus(err)
	}
	for at := 0; at < len(dst); {
		m, err := s.Recv()
		if err != nil {
			return fromStatus(err)
		}
		data := m.GetData()
		if len(data) == 0 || len(data) > len(dst)-at || crc32.Checksum(data, castagnoli) != m.GetCrc32C() {
			return errors.New("a piece of an extent does not have its checksum, or not its length")
		}
		at += copy(dst[at:], data)
	}
	return nil
}

// Has implements Peer.
func (p GRPCPeer) Has(ctx context.Context, ids []object.ExtentID) ([]bool, error) {
	q := &api.HasExtentsRequest{ClusterId: p.Cluster}
	for _, id := range ids {
		q.Ids = append(q.Ids, toID(id))
	}
	r, err := p.Client.HasExtents(ctx, q)
	if err != nil {
		return nil, fromStatus(err)
	}
	return r.GetHas(), nil
}

// fromStatus is the counterpart of toStatus.
func fromStatus(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	known := map[codes.Code]error{
		codes.NotFound:          blob.ErrNotFound,
		codes.OutOfRange:        blob.ErrRange,
		codes.ResourceExhausted: chainfire.ErrNoRoom,
		codes.Canceled:          context.Canceled,
		codes.DeadlineExceeded:  context.DeadlineExceeded,
	}[s.Code()]
	if known == nil {
		return err
	}
	return fmt.Errorf("%w: %s", known, s.Message())
}
