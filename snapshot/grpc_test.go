package snapshot

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"chainfire/api"
	"chainfire/internal/disk"
	"chainfire/raft"
)

// peer is the Peer service with the snapshot calls only.
type peer struct {
	api.UnimplementedPeerServer
	*Service
}

func (p peer) OpenSnapshot(ctx context.Context, r *api.OpenSnapshotRequest) (*api.OpenSnapshotResponse, error) {
	return p.Service.OpenSnapshot(ctx, r)
}

func (p peer) ReadSnapshot(r *api.ReadSnapshotRequest, s grpc.ServerStreamingServer[api.SnapshotChunk]) error {
	return p.Service.ReadSnapshot(r, s)
}

func (p peer) CloseSnapshot(ctx context.Context, r *api.CloseSnapshotRequest) (*api.CloseSnapshotResponse, error) {
	return p.Service.CloseSnapshot(ctx, r)
}

// overGRPC serves s on loopback and returns a source that dials with dial.
func overGRPC(t testing.TB, s *Server, dial func(context.Context, string) (net.Conn, error)) *GRPCSource {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gs := grpc.NewServer()
	api.RegisterPeerServer(gs, peer{Service: NewService(s, testCluster)})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := gs.Serve(l); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			MinConnectTimeout: 5 * time.Second,
			Backoff:           backoff.Config{BaseDelay: time.Millisecond, Multiplier: 1.1, MaxDelay: 10 * time.Millisecond},
		}),
	}
	if dial != nil {
		options = append(options, grpc.WithContextDialer(dial))
	}
	conn, err := grpc.NewClient(l.Addr().String(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		gs.Stop()
		wg.Wait()
	})
	return &GRPCSource{Client: api.NewPeerClient(conn), Label: "member 2", ClusterID: testCluster, MemberID: 7}
}

// flaky closes after a number of bytes, wherever they end.
type flaky struct {
	net.Conn
	left atomic.Int64
}

func (f *flaky) Read(p []byte) (int, error) {
	left := f.left.Load()
	if left <= 0 {
		return 0, errors.Join(errors.New("cut"), f.Close())
	}
	n, err := f.Conn.Read(p[:min(int64(len(p)), left)])
	f.left.Add(-int64(n))
	return n, err
}

func TestFetchOverGRPCSurvivesCutsAtAnyByte(t *testing.T) {
	s, st, _ := server(t, nil)
	r := rand.New(rand.NewPCG(5, 5))
	var mu sync.Mutex
	cuts := 0
	src := overGRPC(t, s, func(ctx context.Context, addr string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		cuts++
		f := &flaky{Conn: c}
		f.left.Store(1000 + r.Int64N(3*BlockSize))
		return f, nil
	})
	fsys := disk.NewFaultFS()
	o := fetchOptions(fsys, src)
	meta, err := Fetch(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	if meta.Index != 100 || meta.Conf.String() != "(1 2)" {
		t.Fatalf("meta %+v", meta)
	}
	holds(t, fsys, o.Dir, st.files)
	if cuts < 4 || st.cuts > 2 {
		t.Fatalf("%d connections, %d snapshots", cuts, st.cuts)
	}
}

func TestRefusalsKeepTheirMeaningOverGRPC(t *testing.T) {
	s, _, sfs := server(t, nil)
	src := overGRPC(t, s, nil)
	ctx := within(t)
	if _, err := src.Open(ctx, 101); !errors.Is(err, ErrBehind) {
		t.Errorf("behind: %v", err)
	}
	other := *src
	other.ClusterID = 9
	if _, err := other.Open(ctx, 1); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "cluster c1, not 9") {
		t.Errorf("cluster: %v", err)
	}
	o, err := src.Open(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	read := func(id, file string, offset int64) error {
		stream, err := src.Read(ctx, id, file, offset)
		for err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	if err := read("gone", "CURRENT", 0); !errors.Is(err, ErrUnknownSnapshot) {
		t.Errorf("id: %v", err)
	}
	if err := read(o.ID, "../CURRENT", 0); !errors.Is(err, ErrRefused) {
		t.Errorf("file: %v", err)
	}
	if err := read(o.ID, "CURRENT", -5); !errors.Is(err, ErrRefused) {
		t.Errorf("offset: %v", err)
	}
	if err := sfs.FlipBit(s.cuts[0].dir+"/CURRENT", 3, 1); err != nil {
		t.Fatal(err)
	}
	if err := read(o.ID, "CURRENT", 0); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "DataLoss") {
		t.Errorf("rot: %v", err)
	}
	if err := src.Close(ctx, o.ID); err != nil {
		t.Error(err)
	}
	if err := src.Close(ctx, o.ID); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

// bulk is a Cutter of files of repeated blocks, which writes them on demand.
type bulk struct {
	files, blocks int
}

func (bulk) Verify(context.Context, string) error { return nil }

func (b bulk) Cut(_ context.Context, dir string) (raft.SnapshotMeta, error) {
	fsys := disk.OS()
	if err := disk.MkdirAll(fsys, dir); err != nil {
		return raft.SnapshotMeta{}, err
	}
	for i := range b.files {
		f, err := fsys.Create(path.Join(dir, fmt.Sprintf("%06d.sst", i)), disk.Category)
		if err != nil {
			return raft.SnapshotMeta{}, err
		}
		block := noise(byte(i), BlockSize)
		for range b.blocks {
			if _, err := f.Write(block); err != nil {
				return raft.SnapshotMeta{}, err
			}
		}
		if err := f.Close(); err != nil {
			return raft.SnapshotMeta{}, err
		}
	}
	return raft.SnapshotMeta{Index: 100, Term: 1}, nil
}

func TestServingAndFetchingTakeLittleMemory(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	dir := t.TempDir()
	s, err := NewServer(ServerOptions{FS: disk.OS(), Dir: path.Join(dir, "work"), Cutter: bulk{files: 2, blocks: 128}, ClusterID: testCluster})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	o := fetchOptions(disk.OS(), overGRPC(t, s, nil))
	o.Dir = path.Join(dir, "seed")
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	idle, peak, blocks := m.HeapAlloc, uint64(0), 0
	o.Progress = func(done, total int64) {
		if blocks++; blocks%8 == 0 {
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
		if total != 64<<20 {
			t.Errorf("total is %d", total)
		}
	}
	if _, err := Fetch(within(t), o); err != nil {
		t.Fatal(err)
	}
	// Both sides are in this process, with garbage between two collections.
	if grew := int64(peak) - int64(idle); grew > 24<<20 {
		t.Fatalf("heap grew by %d MiB for a snapshot of 64 MiB", grew>>20)
	} else {
		t.Logf("heap grew by %d KiB", grew>>10)
	}
}
