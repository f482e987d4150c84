package snapshot

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"chainfire/internal/disk"
	"chainfire/internal/sched"
)

func withClock(c *clock) func(*ServerOptions) {
	c.Scheduler = sched.Go{}
	return func(o *ServerOptions) { o.Sched = c }
}

func TestSnapshotIsReadAsItWasCut(t *testing.T) {
	s, st, _ := server(t, nil)
	o, err := s.Open(within(t), 100)
	if err != nil {
		t.Fatal(err)
	}
	if o.Manifest.Meta.Index != 100 || o.Manifest.Meta.ClusterID != testCluster {
		t.Fatalf("meta is %+v", o.Manifest.Meta)
	}
	for name, want := range st.files {
		got, err := readAll(within(t), s, o.ID, name)
		if err != nil || string(got) != string(want) {
			t.Fatalf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestReadersAtOnceShareOneCut(t *testing.T) {
	s, st, _ := server(t, nil)
	st.gate = make(chan struct{})
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			o, err := s.Open(within(t), uint64(50+i))
			if err != nil {
				t.Error(err)
			}
			ids[i] = o.ID
		})
	}
	if _, ok := waitPinned(t, s); !ok {
		t.Fatal("the log is not kept while a snapshot is cut")
	}
	close(st.gate)
	wg.Wait()
	if st.cuts != 1 {
		t.Fatalf("%d cuts", st.cuts)
	}
	for _, id := range ids[1:] {
		s.CloseSnapshot(id)
		s.CloseSnapshot(id)
	}
	if _, err := readAll(within(t), s, ids[0], "CURRENT"); err != nil {
		t.Fatalf("the others closed it: %v", err)
	}
	s.CloseSnapshot(ids[0])
	if _, ok := s.LowestIndex(); ok {
		t.Fatal("the log is kept for nobody")
	}
}

// waitPinned waits until a cut is being made.
func waitPinned(t *testing.T, s *Server) (uint64, bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx := within(t); ; {
		if i, ok := s.LowestIndex(); ok {
			return i, ok
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, false
		}
	}
}

func TestSnapshotNotReadForItsTimeToLiveIsRemoved(t *testing.T) {
	c := &clock{now: time.Unix(1000, 0)}
	s, _, fsys := server(t, withClock(c))
	o, err := s.Open(within(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		c.advance(119 * time.Second)
		s.Sweep()
		if _, err := readAll(within(t), s, o.ID, "CURRENT"); err != nil {
			t.Fatal(err)
		}
	}
	if i, ok := s.LowestIndex(); !ok || i != 100 {
		t.Fatalf("lowest index %d, %t", i, ok)
	}
	c.advance(120 * time.Second)
	s.Sweep()
	if _, err := readAll(within(t), s, o.ID, "CURRENT"); !errors.Is(err, ErrUnknownSnapshot) {
		t.Fatalf("got %v", err)
	}
	if _, ok := s.LowestIndex(); ok {
		t.Fatal("the log is kept for nobody")
	}
	if left, err := fsys.List("work"); err != nil || len(left) != 0 {
		t.Fatalf("left over: %v, %v", left, err)
	}
}

func TestOldSnapshotIsNotSharedAndCutsAreBounded(t *testing.T) {
	c := &clock{now: time.Unix(1000, 0)}
	s, st, _ := server(t, withClock(c))
	first, err := s.Open(within(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	c.advance(time.Minute)
	st.index = 200
	second, err := s.Open(within(t), 1)
	if err != nil || second.Manifest.Meta.Index != 200 {
		t.Fatalf("index %d, %v", second.Manifest.Meta.Index, err)
	}
	if i, ok := s.LowestIndex(); !ok || i != 100 {
		t.Fatalf("lowest index %d, %t", i, ok)
	}
	if _, err := readAll(within(t), s, first.ID, "CURRENT"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(within(t), 201); !errors.Is(err, ErrBusy) {
		t.Fatalf("a third was cut: %v", err)
	}
	s.CloseSnapshot(first.ID)
	if _, err := s.Open(within(t), 201); !errors.Is(err, ErrBehind) {
		t.Fatalf("got %v", err)
	}
	st.index = 300
	if _, err := s.Open(within(t), 201); err != nil {
		t.Fatalf("a snapshot that was too old takes a place: %v", err)
	}
}

func TestSnapshotThatNobodyReadsGivesWayToANewerOne(t *testing.T) {
	c := &clock{now: time.Unix(1000, 0)}
	s, st, _ := server(t, func(o *ServerOptions) {
		withClock(c)(o)
		o.ShareFor = time.Second
	})
	var opened [2]Offer
	for i := range opened {
		var err error
		if opened[i], err = s.Open(within(t), 1); err != nil {
			t.Fatal(err)
		}
		c.advance(10 * time.Second)
	}
	c.advance(4 * time.Second)
	if _, err := readAll(within(t), s, opened[0].ID, "CURRENT"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(within(t), 1); !errors.Is(err, ErrBusy) {
		t.Fatalf("a snapshot read %v ago gave way: %v", 14*time.Second, err)
	}
	c.advance(time.Second)
	st.index = 300
	third, err := s.Open(within(t), 300)
	if err != nil || third.Manifest.Meta.Index != 300 {
		t.Fatalf("index %d, %v", third.Manifest.Meta.Index, err)
	}
	if _, err := readAll(within(t), s, opened[1].ID, "CURRENT"); !errors.Is(err, ErrUnknownSnapshot) {
		t.Fatalf("the one that nobody read for 15 s is there still: %v", err)
	}
	if _, err := readAll(within(t), s, opened[0].ID, "CURRENT"); err != nil {
		t.Fatalf("the one that was read a second ago is gone: %v", err)
	}
}

func TestSnapshotThatDoesNotVerifyIsOfferedToNobody(t *testing.T) {
	s, st, fsys := server(t, nil)
	st.rot = errors.New("table 000007.sst at offset 512: fails its checksum")
	if _, err := s.Open(within(t), 1); !errors.Is(err, ErrCut) || !errors.Is(err, st.rot) {
		t.Fatalf("got %v", err)
	}
	// Whoever asked is told before the files are removed.
	for ctx := within(t); ; runtime.Gosched() {
		left, err := fsys.List("work")
		if err == nil && len(left) == 0 {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("left over: %v, %v", left, err)
		}
	}
	st.rot = nil
	if _, err := s.Open(within(t), 1); err != nil {
		t.Fatalf("after the disk was mended: %v", err)
	}
}

func TestReadersAreBounded(t *testing.T) {
	s, _, _ := server(t, func(o *ServerOptions) { o.MaxReaders = 2 })
	for i := range 3 {
		_, err := s.Open(within(t), 1)
		if (i < 2) != (err == nil) || (i == 2 && !errors.Is(err, ErrBusy)) {
			t.Fatalf("reader %d: %v", i, err)
		}
	}
}

func TestLeftoversAreRemovedAtStartAndNothingElse(t *testing.T) {
	fsys := disk.NewFaultFS()
	put(t, fsys, "work/cut-123/deep/file", []byte("x"))
	put(t, fsys, "work/notes", []byte("x"))
	s, err := NewServer(ServerOptions{FS: fsys, Dir: "work", Cutter: &store{}, ClusterID: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if left, err := fsys.List("work"); err != nil || len(left) != 1 || left[0] != "notes" {
		t.Fatalf("left %v, %v", left, err)
	}
}

func TestFailedCutNamesTheReasonAndLeavesNothing(t *testing.T) {
	s, st, fsys := server(t, nil)
	st.err = errors.New("the store is on fire")
	if _, err := s.Open(within(t), 1); !errors.Is(err, ErrCut) || !strings.Contains(err.Error(), "on fire") {
		t.Fatalf("got %v", err)
	}
	s.Close()
	if left, err := fsys.List("work"); err != nil || len(left) != 0 {
		t.Fatalf("left over: %v, %v", left, err)
	}
	if _, err := s.Open(within(t), 1); !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v", err)
	}
}

func TestOnlyWhatTheManifestNamesCanBeRead(t *testing.T) {
	s, _, fsys := server(t, nil)
	put(t, fsys, "secret", []byte("x"))
	o, err := s.Open(within(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../../secret", "/secret", "", ".", "deep", "deep/../CURRENT", MarkName} {
		if _, err := readAll(within(t), s, o.ID, name); !errors.Is(err, ErrBadRequest) {
			t.Errorf("%q: %v", name, err)
		}
	}
	buf := make([]byte, BlockSize)
	for _, offset := range []int64{-BlockSize, 1, 4 * BlockSize} {
		if _, err := s.ReadChunk(within(t), o.ID, "000001.sst", offset, buf); !errors.Is(err, ErrBadRequest) {
			t.Errorf("offset %d: %v", offset, err)
		}
	}
	if _, err := s.ReadChunk(within(t), "../x", "CURRENT", 0, buf); !errors.Is(err, ErrUnknownSnapshot) {
		t.Errorf("id: %v", err)
	}
}

func TestReadingWaitsForTheRateLimit(t *testing.T) {
	s, _, _ := server(t, func(o *ServerOptions) { o.BytesPerSecond = 1024 })
	o, err := s.Open(within(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, BlockSize)
	if _, err := s.ReadChunk(within(t), o.ID, "000001.sst", 0, buf); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(within(t), 10*time.Millisecond)
	defer cancel()
	if _, err := s.ReadChunk(ctx, o.ID, "000001.sst", BlockSize, buf); err == nil || !strings.Contains(err.Error(), "rate limit") {
		t.Fatalf("got %v", err)
	}
}

func TestReadingGivesWayWhileThereIsOtherWork(t *testing.T) {
	busy := false
	s, _, _ := server(t, func(o *ServerOptions) { o.Busy, o.YieldBytesPerSecond = func() bool { return busy }, 1024 })
	o, err := s.Open(within(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, BlockSize)
	read := func(ctx context.Context, block int64) error {
		_, err := s.ReadChunk(ctx, o.ID, "000001.sst", block*BlockSize, buf)
		return err
	}
	for _, block := range []int64{0, 1, 0, 1} {
		if err := read(within(t), block); err != nil {
			t.Fatal(err)
		}
	}
	busy = true
	if err := read(within(t), 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(within(t), 10*time.Millisecond)
	defer cancel()
	if err := read(ctx, 1); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "goes first") {
		t.Fatalf("got %v", err)
	}
	busy = false
	if err := read(within(t), 1); err != nil {
		t.Fatal(err)
	}
}

func TestWaitingForACutEndsWithTheContext(t *testing.T) {
	s, st, _ := server(t, nil)
	st.gate = make(chan struct{})
	ctx, cancel := context.WithCancel(within(t))
	cancel()
	if _, err := s.Open(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	close(st.gate)
	if _, err := s.Open(within(t), 1); err != nil || st.cuts != 1 {
		t.Fatalf("%d cuts, %v", st.cuts, err)
	}
}
