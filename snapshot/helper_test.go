package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"chainfire/internal/disk"
	"chainfire/internal/sched"
	"chainfire/raft"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testCluster = 0xc1
	patience    = 30 * time.Second
)

// noise is size bytes that depend on the seed only.
func noise(seed byte, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return b
}

// state is what a cut of the test store holds: sizes below, at and above block
// borders, and a file in a directory.
func state() map[string][]byte {
	return map[string][]byte{
		"000001.sst": noise(1, 3*BlockSize+17), "000002.sst": noise(2, 2*BlockSize), "CURRENT": noise(3, 16),
		"empty": {}, "deep/down/file": noise(4, BlockSize+1), "OPTIONS-7": noise(5, BlockSize-1),
	}
}

func put(t testing.TB, fsys disk.FS, name string, data []byte) {
	t.Helper()
	if err := disk.MkdirAll(fsys, fsys.PathDir(name)); err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteFileAtomic(fsys, name, data); err != nil {
		t.Fatal(err)
	}
}

// store is a Cutter of fixed content.
type store struct {
	fs    disk.FS
	mu    sync.Mutex
	files map[string][]byte
	index uint64
	cuts  int
	err   error
	// rot is what verifying finds.
	rot error
	// gate, if set, holds every cut up until it is closed.
	gate chan struct{}
}

func (s *store) Cut(ctx context.Context, dir string) (raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts++
	if s.gate != nil {
		select {
		case <-s.gate:
		case <-ctx.Done():
			return raft.SnapshotMeta{}, ctx.Err()
		}
	}
	for name, data := range s.files {
		full := path.Join(dir, name)
		if err := disk.MkdirAll(s.fs, path.Dir(full)); err != nil {
			return raft.SnapshotMeta{}, err
		}
		if err := disk.WriteFileAtomic(s.fs, full, data); err != nil {
			return raft.SnapshotMeta{}, err
		}
	}
	return raft.SnapshotMeta{Index: s.index, Term: 3, Conf: raft.ConfState{Voters: []uint64{1, 2}}}, s.err
}

func (s *store) Verify(context.Context, string) error { return s.rot }

// clock is a settable time.
type clock struct {
	sched.Scheduler
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// server serves the test state at index 100 from a disk of its own.
func server(t testing.TB, change func(*ServerOptions)) (*Server, *store, *disk.FaultFS) {
	t.Helper()
	fsys := disk.NewFaultFS()
	st := &store{fs: fsys, files: state(), index: 100}
	o := ServerOptions{FS: fsys, Dir: "work", Cutter: st, ClusterID: testCluster}
	if change != nil {
		change(&o)
	}
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, st, fsys
}

// direct is a Source without a network, which counts and can interfere.
type direct struct {
	s *Server
	// bytes counts what was read, opens how often a snapshot was opened.
	bytes, opens int
	// onChunk, if set, sees every chunk and may change it or end the stream.
	onChunk func(c *Chunk) error
	openErr error
	readErr error
}

func (d *direct) Name() string { return "member 2" }

func (d *direct) Open(ctx context.Context, minIndex uint64) (Offer, error) {
	d.opens++
	if d.openErr != nil {
		return Offer{}, d.openErr
	}
	return d.s.Open(ctx, minIndex)
}

func (d *direct) Read(ctx context.Context, id, file string, offset int64) (Stream, error) {
	if d.readErr != nil {
		return nil, d.readErr
	}
	return &directStream{d: d, ctx: ctx, id: id, file: file, offset: offset}, nil
}

func (d *direct) Close(_ context.Context, id string) error {
	d.s.CloseSnapshot(id)
	return nil
}

type directStream struct {
	d        *direct
	ctx      context.Context
	id, file string
	offset   int64
}

func (s *directStream) Recv() (Chunk, error) {
	buf := make([]byte, BlockSize)
	n, err := s.d.s.ReadChunk(s.ctx, s.id, s.file, s.offset, buf)
	if err != nil {
		return Chunk{}, err
	}
	c := Chunk{File: s.file, Offset: s.offset, Data: buf[:n], CRC: checksum(buf[:n])}
	s.offset += int64(n)
	if s.d.onChunk != nil {
		if err := s.d.onChunk(&c); err != nil {
			return Chunk{}, err
		}
	}
	s.d.bytes += n
	return c, nil
}

func fetchOptions(fsys disk.FS, src Source) FetchOptions {
	return FetchOptions{
		FS: fsys, Dir: "in/seed", Source: src, ClusterID: testCluster, MinIndex: 50,
		BackoffMin: time.Millisecond, BackoffMax: 5 * time.Millisecond,
	}
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errors.New("the test ran out of patience"))
	t.Cleanup(cancel)
	return ctx
}

// holds checks that dir is a complete snapshot of exactly these files.
func holds(t testing.TB, fsys disk.FS, dir string, files map[string][]byte) {
	t.Helper()
	m, err := Load(fsys, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(within(t), fsys, dir, m); err != nil {
		t.Fatal(err)
	}
	if len(m.Files) != len(files) {
		t.Fatalf("%d files, want %d", len(m.Files), len(files))
	}
	for name, want := range files {
		got, err := disk.ReadFile(fsys, path.Join(dir, name), 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Fatalf("%s differs", name)
		}
	}
}

// readAll reads a file of an open snapshot through the server.
func readAll(ctx context.Context, s *Server, id, name string) ([]byte, error) {
	var out []byte
	buf := make([]byte, BlockSize)
	for {
		n, err := s.ReadChunk(ctx, id, name, int64(len(out)), buf)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("at %d: %w", len(out), err)
		}
		out = append(out, buf[:n]...)
	}
}
