package bodies

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"chainfire"
	"chainfire/api"
	"chainfire/blob"
	"chainfire/internal/disk"
	"chainfire/object"
)

// lone is a store behind the service of gRPC, and the peer that reaches it.
func lone(t *testing.T, cluster uint64) (*blob.Store, GRPCPeer) {
	t.Helper()
	s, err := blob.Open(blob.Options{FS: disk.NewFaultFS(), Dir: "blob", FloorBytes: -1})
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := grpc.NewServer(grpc.ForceServerCodecV2(Codec()))
	api.RegisterBodiesServer(server, serviceOf{Service: &Service{store: s, cluster: 77}})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() {
		must(t, conn.Close())
		server.Stop()
		must(t, <-served)
		must(t, s.Close())
	})
	return s, GRPCPeer{Client: api.NewBodiesClient(conn), Cluster: cluster}
}

type serviceOf struct {
	api.UnimplementedBodiesServer
	*Service
}

func (s serviceOf) PutExtents(x grpc.BidiStreamingServer[api.PutExtentsRequest, api.PutExtentsResponse]) error {
	return s.Service.PutExtents(x)
}

func (s serviceOf) GetExtent(q *api.GetExtentRequest, x grpc.ServerStreamingServer[api.GetExtentResponse]) error {
	return s.Service.GetExtent(q, x)
}

func (s serviceOf) HasExtents(ctx context.Context, q *api.HasExtentsRequest) (*api.HasExtentsResponse, error) {
	return s.Service.HasExtents(ctx, q)
}

func TestExtentsTravelOverGRPC(t *testing.T) {
	store, p := lone(t, 77)
	ctx := context.Background()
	s, err := p.Put(ctx)
	must(t, err)
	sizes := []int{1, pieceBytes, pieceBytes + 1, object.MaxExtent}
	var ids []object.ExtentID
	for i, n := range sizes {
		ids = append(ids, object.ExtentID{Body: object.BodyID{Lease: 5, N: 6}, N: uint32(i)})
		data := random(uint64(i), n)
		must(t, s.Send(ids[i], data, crcOf(data)))
	}
	must(t, s.Sync())
	has, err := p.Has(ctx, append(ids, object.ExtentID{Body: object.BodyID{Lease: 1}}))
	if err != nil || fmt.Sprint(has) != "[true true true true false]" {
		t.Errorf("has %v, %v", has, err)
	}
	for i, n := range sizes {
		got := make([]byte, n-n/2)
		must(t, p.Get(ctx, ids[i], int64(n/2), got))
		if string(got) != string(random(uint64(i), n)[n/2:]) {
			t.Errorf("other bytes of extent %d", i)
		}
	}
	// A second sync on the stream, after more.
	more := object.ExtentID{Body: object.BodyID{Lease: 5, N: 7}}
	must(t, s.Send(more, []byte("more"), crcOf([]byte("more"))))
	must(t, s.Sync())
	if has, err := store.Has(more); !has || err != nil {
		t.Errorf("after the second sync: %v, %v", has, err)
	}
	must(t, s.Close())
}

func TestErrorsTravelOverGRPC(t *testing.T) {
	store, p := lone(t, 77)
	ctx := context.Background()
	id := object.ExtentID{Body: object.BodyID{Lease: 5, N: 6}}
	must(t, store.Put(ctx, id, []byte("bytes"), crcOf([]byte("bytes"))))
	must(t, store.Sync(ctx))
	if err := p.Get(ctx, object.ExtentID{}, 0, make([]byte, 1)); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("an extent that is not there: %v", err)
	}
	if err := p.Get(ctx, id, 4, make([]byte, 2)); !errors.Is(err, blob.ErrRange) {
		t.Errorf("past the end: %v", err)
	}
	for what, send := range map[string]func(Stream) error{
		"another checksum": func(s Stream) error { return s.Send(object.ExtentID{N: 1}, []byte("x"), 1) },
		"other bytes":      func(s Stream) error { return s.Send(id, []byte("other"), crcOf([]byte("other"))) },
		"too many bytes": func(s Stream) error {
			return s.Send(object.ExtentID{N: 2}, make([]byte, object.MaxExtent+1), 0)
		},
	} {
		s, err := p.Put(ctx)
		must(t, err)
		if err := errors.Join(send(s), s.Sync()); err == nil {
			t.Errorf("%s was taken", what)
		}
		must(t, s.Close())
	}
	stranger := GRPCPeer{Client: p.Client, Cluster: 78}
	if err := stranger.Get(ctx, id, 0, make([]byte, 1)); err == nil {
		t.Error("a member of another cluster was served")
	}
	if _, err := stranger.Has(ctx, nil); err == nil {
		t.Error("a member of another cluster was answered")
	}
	s, err := stranger.Put(ctx)
	must(t, err)
	if err := errors.Join(s.Send(object.ExtentID{N: 9}, []byte("x"), crcOf([]byte("x"))), s.Sync()); err == nil {
		t.Error("a member of another cluster put an extent")
	}
	if got := fromStatus(toStatus(fmt.Errorf("put: %w", chainfire.ErrNoRoom))); !errors.Is(got, chainfire.ErrNoRoom) {
		t.Errorf("a full disk travels as %v", got)
	}
}
