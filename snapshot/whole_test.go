package snapshot

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"chainfire/api"
	"chainfire/internal/sched"
)

// clusterCalls is the Cluster service with GetSnapshot only.
type clusterCalls struct {
	api.UnimplementedClusterServer
	s *Service
}

func (c clusterCalls) GetSnapshot(q *api.GetSnapshotRequest, out grpc.ServerStreamingServer[api.GetSnapshotResponse]) error {
	return c.s.GetSnapshot(q, out)
}

func serveWhole(t *testing.T, s *Server) api.ClusterClient {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gs := grpc.NewServer()
	api.RegisterClusterServer(gs, clusterCalls{s: NewService(s, testCluster)})
	done := make(chan error, 1)
	go func() { done <- gs.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		gs.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return api.NewClusterClient(conn)
}

// pulled is what came of a snapshot so far.
type pulled struct {
	meta  *api.SnapshotMeta
	files map[string][]byte
	at    uint64
	done  bool
}

// pull takes at most so many chunks of a stream, and cuts it.
func (p *pulled) pull(t *testing.T, c api.ClusterClient, chunks int) error {
	t.Helper()
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	q := &api.GetSnapshotRequest{MinIndex: 50, SnapshotId: p.meta.GetSnapshotId(), Offset: p.at}
	stream, err := c.GetSnapshot(ctx, q)
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetMeta() == nil {
		t.Fatalf("the stream begins with %v", first)
	}
	p.meta = first.GetMeta()
	for range chunks {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		if r.GetDone() {
			if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
				t.Errorf("after the end: %v", err)
			}
			p.done = true
			return nil
		}
		k := r.GetChunk()
		if k.GetOffset() != p.at || checksum(k.GetData()) != k.GetCrc32C() || len(k.GetData()) == 0 {
			t.Fatalf("at %d came %d bytes of %s at %d", p.at, len(k.GetData()), k.GetFile(), k.GetOffset())
		}
		p.files[k.GetFile()] = append(p.files[k.GetFile()], k.GetData()...)
		p.at += uint64(len(k.GetData()))
	}
	return nil
}

func (p *pulled) mustBe(t *testing.T, want map[string][]byte) {
	t.Helper()
	m, err := ManifestOf(p.meta)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Files) != len(want) || p.at != p.meta.GetTotalBytes() || m.Meta.Index != 100 || m.Meta.Conf.String() != "(1 2)" {
		t.Errorf("%d files of %d bytes, meta %+v", len(m.Files), p.at, m.Meta)
	}
	for _, f := range m.Files {
		if string(p.files[f.Name]) != string(want[f.Name]) || checksum(p.files[f.Name]) != f.CRC {
			t.Errorf("%s differs", f.Name)
		}
	}
}

func TestWholeSnapshotComesInOneCallAndIsClosedSoonAfterItsEnd(t *testing.T) {
	clk := &clock{Scheduler: sched.Go{}, now: time.Unix(1000, 0)}
	s, st, _ := server(t, func(o *ServerOptions) { o.Sched = clk })
	p := pulled{files: map[string][]byte{}}
	if err := p.pull(t, serveWhole(t, s), 1000); err != nil || !p.done {
		t.Fatalf("done %v, %v", p.done, err)
	}
	p.mustBe(t, st.files)
	clk.advance(14 * time.Second)
	s.Sweep()
	if _, err := s.Opened(p.meta.GetSnapshotId()); err != nil {
		t.Errorf("before its end may have arrived: %v", err)
	}
	clk.advance(time.Second)
	s.Sweep()
	if _, err := s.Opened(p.meta.GetSnapshotId()); !errors.Is(err, ErrUnknownSnapshot) || len(s.cuts) != 0 {
		t.Errorf("after the end: %v, %d snapshots", err, len(s.cuts))
	}
}

func TestWholeSnapshotGoesOnAfterACutAtAnyChunk(t *testing.T) {
	s, st, _ := server(t, nil)
	c := serveWhole(t, s)
	p := pulled{files: map[string][]byte{}}
	pulls := 0
	for !p.done {
		if err := p.pull(t, c, 1); err != nil {
			t.Fatal(err)
		}
		pulls++
	}
	p.mustBe(t, st.files)
	if st.cuts != 1 || pulls < 9 {
		t.Errorf("%d snapshots were cut for %d streams", st.cuts, pulls)
	}
}

func TestUseOfASnapshotThatWasSentGivesWayToAnother(t *testing.T) {
	s, _, _ := server(t, func(o *ServerOptions) { o.MaxReaders = 1 })
	p := pulled{files: map[string][]byte{}}
	if err := p.pull(t, serveWhole(t, s), 1000); err != nil || !p.done {
		t.Fatalf("done %v, %v", p.done, err)
	}
	if _, err := s.Open(within(t), 1); err != nil {
		t.Error(err)
	}
	if _, err := s.Open(within(t), 1); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: %v", err)
	}
}

func TestCutStreamKeepsItsSnapshotForItsTimeToLive(t *testing.T) {
	clk := &clock{Scheduler: sched.Go{}, now: time.Unix(1000, 0)}
	s, _, _ := server(t, func(o *ServerOptions) { o.Sched, o.TTL = clk, time.Hour })
	c := serveWhole(t, s)
	p := pulled{files: map[string][]byte{}}
	if err := p.pull(t, c, 2); err != nil {
		t.Fatal(err)
	}
	clk.advance(59 * time.Minute)
	s.Sweep()
	if err := p.pull(t, c, 1); err != nil {
		t.Fatal(err)
	}
	for { // the server may be about to read the chunk after the cut
		clk.advance(2 * time.Hour)
		s.Sweep()
		if _, err := s.Opened(p.meta.GetSnapshotId()); err != nil {
			break
		}
	}
	if err := p.pull(t, c, 1); status.Code(err) != codes.NotFound {
		t.Errorf("after its time: %v", err)
	}
}

func TestWholeSnapshotIsRefusedWithTheCodesOfItsParts(t *testing.T) {
	s, _, sfs := server(t, nil)
	c := serveWhole(t, s)
	ask := func(q *api.GetSnapshotRequest) error {
		stream, err := c.GetSnapshot(within(t), q)
		for err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	o, err := s.Open(within(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	total := uint64(o.Manifest.TotalBytes())
	for name, x := range map[string]struct {
		q    *api.GetSnapshotRequest
		code codes.Code
	}{
		"an index that is not there":        {&api.GetSnapshotRequest{MinIndex: 101}, codes.OutOfRange},
		"an unknown snapshot":               {&api.GetSnapshotRequest{SnapshotId: "gone"}, codes.NotFound},
		"an offset of no snapshot":          {&api.GetSnapshotRequest{Offset: BlockSize}, codes.InvalidArgument},
		"the middle of a chunk":             {&api.GetSnapshotRequest{SnapshotId: o.ID, Offset: 1}, codes.InvalidArgument},
		"a block of the sequence, no chunk": {&api.GetSnapshotRequest{SnapshotId: o.ID, Offset: 4 * BlockSize}, codes.InvalidArgument},
		"after the end":                     {&api.GetSnapshotRequest{SnapshotId: o.ID, Offset: total + 1}, codes.InvalidArgument},
		"far after the end":                 {&api.GetSnapshotRequest{SnapshotId: o.ID, Offset: 1<<64 - 1}, codes.InvalidArgument},
	} {
		if err := ask(x.q); status.Code(err) != x.code {
			t.Errorf("%s: %v, want %v", name, err, x.code)
		}
	}
	if err := sfs.FlipBit(s.cuts[0].dir+"/CURRENT", 3, 1); err != nil {
		t.Fatal(err)
	}
	if err := ask(&api.GetSnapshotRequest{SnapshotId: o.ID}); status.Code(err) != codes.DataLoss {
		t.Errorf("rot: %v", err)
	}
	if err := ask(&api.GetSnapshotRequest{SnapshotId: o.ID, Offset: total}); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}
