package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"chainfire/internal/disk"
)

func TestFetchBringsEveryByteAndTheMarkLast(t *testing.T) {
	s, st, _ := server(t, nil)
	fsys := disk.NewFaultFS()
	src := &direct{s: s}
	o := fetchOptions(fsys, src)
	var last, total int64
	o.Progress = func(d, n int64) {
		if d < last {
			t.Errorf("progress went from %d to %d", last, d)
		}
		last, total = d, n
	}
	meta, err := Fetch(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	holds(t, fsys, o.Dir, st.files)
	if meta.Index != 100 || meta.Term != 3 || len(meta.Conf.Voters) != 2 || last != total || total != int64(src.bytes) {
		t.Fatalf("meta %+v, progress %d of %d", meta, last, total)
	}
	if _, ok := s.LowestIndex(); ok {
		t.Fatal("the snapshot was not closed at its source")
	}
	if _, err := Fetch(within(t), o); err != nil || src.opens != 1 {
		t.Fatalf("fetched again: %d opens, %v", src.opens, err)
	}
	o.MinIndex, st.index, last = 150, 160, 0
	if meta, err := Fetch(within(t), o); err != nil || meta.Index != 160 {
		t.Fatalf("index %d, %v", meta.Index, err)
	}
	holds(t, fsys, o.Dir, st.files)
}

// cutAfter ends the stream after n chunks with an error that passes.
func cutAfter(n int) func(*Chunk) error {
	return func(*Chunk) error {
		if n--; n < 0 {
			return errors.New("connection lost")
		}
		return nil
	}
}

func TestFetchGoesOnAfterARestartAtTheNextBlock(t *testing.T) {
	for stop := range 10 {
		t.Run(fmt.Sprint(stop), func(t *testing.T) {
			s, st, _ := server(t, nil)
			fsys := disk.NewFaultFS()
			src := &direct{s: s}
			o := fetchOptions(fsys, src)
			ctx, cancel := context.WithCancel(within(t))
			chunks := 0
			src.onChunk = func(*Chunk) error {
				if chunks++; chunks > stop {
					cancel()
					return ctx.Err()
				}
				return nil
			}
			_, err := Fetch(ctx, o)
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
			put(t, fsys, o.Dir+"/stray.log", []byte("x"))
			src.onChunk = nil
			// The process is gone, its disk is as the system left it.
			fsys = fsys.Crash(disk.CrashOptions{Names: disk.NamesAll, Tear: disk.TearKeepAll})
			o.FS = fsys
			if _, err := Fetch(within(t), o); err != nil {
				t.Fatal(err)
			}
			holds(t, fsys, o.Dir, st.files)
			m, err := Load(fsys, o.Dir)
			if err != nil {
				t.Fatal(err)
			}
			if src.opens != 1 || int64(src.bytes) != m.TotalBytes() {
				t.Fatalf("%d opens, %d bytes for %d", src.opens, src.bytes, m.TotalBytes())
			}
		})
	}
}

func TestFetchStartsAfreshWhenTheSourceForgotTheSnapshot(t *testing.T) {
	s, st, _ := server(t, nil)
	fsys := disk.NewFaultFS()
	src := &direct{s: s, onChunk: cutAfter(3)}
	o := fetchOptions(fsys, src)
	chunks := 0
	src.onChunk = func(*Chunk) error {
		if chunks++; chunks == 4 {
			st.files, st.index = map[string][]byte{"000003.sst": noise(9, 5)}, 110
			s.Close()
			fresh, err := NewServer(s.o)
			if err != nil {
				return err
			}
			t.Cleanup(fresh.Close)
			src.s = fresh
			return errors.New("connection lost")
		}
		return nil
	}
	meta, err := Fetch(within(t), o)
	if err != nil || meta.Index != 110 {
		t.Fatalf("index %d, %v", meta.Index, err)
	}
	holds(t, fsys, o.Dir, st.files)
}

func TestFetchDoesNotReopenForEver(t *testing.T) {
	s, _, _ := server(t, nil)
	src := &direct{s: s, readErr: fmt.Errorf("read: %w", ErrUnknownSnapshot)}
	if _, err := Fetch(within(t), fetchOptions(disk.NewFaultFS(), src)); !errors.Is(err, ErrUnknownSnapshot) {
		t.Fatalf("got %v", err)
	}
}

func TestDamagedChunkIsAskedForAgain(t *testing.T) {
	s, st, _ := server(t, nil)
	fsys := disk.NewFaultFS()
	damaged := false
	src := &direct{s: s, onChunk: func(c *Chunk) error {
		if !damaged && c.Offset == BlockSize {
			damaged = true
			c.Data[7] ^= 1
		}
		return nil
	}}
	if _, err := Fetch(within(t), fetchOptions(fsys, src)); err != nil || !damaged {
		t.Fatalf("damaged %t, %v", damaged, err)
	}
	holds(t, fsys, "in/seed", st.files)
}

func TestWhatNoRetryMendsEndsTheFetchAndNamesThePlace(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*Server, *direct, *disk.FaultFS)
		want    string
	}{
		"rot at the source": {func(s *Server, d *direct, f *disk.FaultFS) {
			d.onChunk = func(*Chunk) error {
				d.onChunk = nil
				s.mu.Lock()
				defer s.mu.Unlock()
				return f.FlipBit(s.cuts[0].dir+"/000001.sst", 2*BlockSize+1, 1)
			}
		}, "000001.sst of the snapshot at index 100 is corrupt in bytes [524288, 786432)"},
		"always damaged": {func(_ *Server, d *direct, _ *disk.FaultFS) {
			d.onChunk = func(c *Chunk) error { c.Data[0] ^= 1; return nil }
		}, "000001.sst of member 2 is corrupt in bytes [0, 262144): damaged on the way 3 times"},
		"other content": {func(_ *Server, d *direct, _ *disk.FaultFS) {
			d.onChunk = func(c *Chunk) error { c.Data[0] ^= 1; c.CRC = checksum(c.Data); return nil }
		}, "the source sends checksum"},
		"other file": {func(_ *Server, d *direct, _ *disk.FaultFS) {
			d.onChunk = func(c *Chunk) error { c.File = "CURRENT"; return nil }
		}, `instead of 262144 bytes of "000001.sst" at 0`},
		"refusal": {func(_ *Server, d *direct, _ *disk.FaultFS) {
			d.openErr = fmt.Errorf("%w: not you", ErrRefused)
		}, "open a snapshot: source refuses: not you"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, sfs := server(t, nil)
			src := &direct{s: s}
			c.prepare(s, src, sfs)
			_, err := Fetch(within(t), fetchOptions(disk.NewFaultFS(), src))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "member 2") {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestUnfitOfferIsRefusedBeforeAnythingIsRemoved(t *testing.T) {
	s, _, _ := server(t, nil)
	for name, change := range map[string]func(*FetchOptions){
		"cluster": func(o *FetchOptions) { o.ClusterID = 9 },
		"index":   func(o *FetchOptions) { o.MinIndex = 101 },
		"size":    func(o *FetchOptions) { o.MaxBytes = 1 << 20 },
	} {
		fsys := disk.NewFaultFS()
		put(t, fsys, "in/seed/precious", []byte("x"))
		o := fetchOptions(fsys, &direct{s: s})
		change(&o)
		if _, err := Fetch(within(t), o); !definite(err) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := fsys.Stat("in/seed/precious"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFullDiskAtTheReceiverIsNamedAndGoneOnFromLater(t *testing.T) {
	for name, fill := range map[string]func(*disk.FaultFS){
		"seen before": func(f *disk.FaultFS) { f.LimitSpace(BlockSize) },
		"hit on the way": func(f *disk.FaultFS) {
			f.Fail(disk.Rule{Op: disk.OpWrite, Path: "000002.sst", After: 1, Err: syscall.ENOSPC})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, st, _ := server(t, nil)
			fsys := disk.NewFaultFS()
			fill(fsys)
			o := fetchOptions(fsys, &direct{s: s})
			_, err := Fetch(within(t), o)
			if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "in/seed") {
				t.Fatalf("got %v", err)
			}
			if _, err := Load(fsys, o.Dir); !errors.Is(err, ErrNotComplete) {
				t.Fatalf("got %v", err)
			}
			fsys.Heal()
			if _, err := Fetch(within(t), o); err != nil {
				t.Fatal(err)
			}
			holds(t, fsys, o.Dir, st.files)
		})
	}
}

func TestSnapshotThatLeavesLessThanTheReserveIsRefusedBeforeAnythingIsSent(t *testing.T) {
	s, st, _ := server(t, nil)
	fsys := disk.NewFaultFS()
	src := &direct{s: s}
	o := fetchOptions(fsys, src)
	o.Reserve = 8 << 20
	fsys.LimitSpace(9 << 20)
	_, err := Fetch(within(t), o)
	const want = "1.8 MiB of the state are to come into in/seed and 8.0 MiB to stay free beside it, but only 9.0 MiB are free there"
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), want) || src.bytes != 0 {
		t.Fatalf("%d bytes were sent, got %v", src.bytes, err)
	}
	fsys.LimitSpace(10 << 20)
	if _, err := Fetch(within(t), o); err != nil {
		t.Fatal(err)
	}
	holds(t, fsys, o.Dir, st.files)
}

func TestFileWhoseSyncFailedIsFetchedAgain(t *testing.T) {
	s, st, _ := server(t, nil)
	fsys := disk.NewFaultFS()
	fsys.Fail(disk.Rule{Op: disk.OpSync, Path: "000002.sst", Times: 1})
	o := fetchOptions(fsys, &direct{s: s})
	if _, err := Fetch(within(t), o); !errors.Is(err, disk.ErrInjected) || !strings.Contains(err.Error(), "sync") {
		t.Fatalf("got %v", err)
	}
	if _, err := Fetch(within(t), o); err != nil {
		t.Fatal(err)
	}
	holds(t, fsys.Crash(disk.CrashOptions{}), o.Dir, st.files)
}

func TestCrashAtAnyPointLeavesNoFalseMark(t *testing.T) {
	s, st, _ := server(t, nil)
	fsys := disk.NewFaultFS()
	o := fetchOptions(fsys, &direct{s: s})
	// An older snapshot is in the way: its mark must not outlive its files.
	if _, err := Fetch(within(t), o); err != nil {
		t.Fatal(err)
	}
	st.files["000001.sst"] = noise(77, 2*BlockSize)
	st.index, o.MinIndex = 200, 200
	var images []*disk.FaultFS
	fsys.Observe(func(disk.Event) {
		seed := uint64(len(images))
		images = append(images,
			fsys.Crash(disk.CrashOptions{}),
			fsys.Crash(disk.CrashOptions{Seed: seed, Names: disk.NamesPrefix, Tear: disk.TearGarble}),
			fsys.Crash(disk.CrashOptions{Seed: seed, Names: disk.NamesAll, Tear: disk.TearSectors}))
	})
	if _, err := Fetch(within(t), o); err != nil {
		t.Fatal(err)
	}
	fsys.Observe(nil)
	for i, image := range images {
		if m, err := Load(image, o.Dir); err == nil {
			if err := Verify(within(t), image, o.Dir, m); err != nil {
				t.Fatalf("image %d has the mark of index %d: %v", i, m.Meta.Index, err)
			}
		}
		if i%7 == 0 {
			again := o
			again.FS = image
			if _, err := Fetch(within(t), again); err != nil {
				t.Fatalf("image %d: %v", i, err)
			}
			holds(t, image, o.Dir, st.files)
		}
	}
	if len(images) < 60 {
		t.Fatalf("only %d images", len(images))
	}
}

// hung is a stream that never brings anything.
type hung struct{ ctx context.Context }

func (h hung) Recv() (Chunk, error) {
	<-h.ctx.Done()
	return Chunk{}, h.ctx.Err()
}

type hangsOnce struct {
	*direct
	hung bool
}

func (h *hangsOnce) Read(ctx context.Context, id, file string, offset int64) (Stream, error) {
	if !h.hung {
		h.hung = true
		return hung{ctx}, nil
	}
	return h.direct.Read(ctx, id, file, offset)
}

func TestQuietStreamIsEndedAndTriedAgain(t *testing.T) {
	s, st, _ := server(t, nil)
	fsys := disk.NewFaultFS()
	o := fetchOptions(fsys, &hangsOnce{direct: &direct{s: s}})
	o.StallTimeout = 20 * time.Millisecond
	if _, err := Fetch(within(t), o); err != nil {
		t.Fatal(err)
	}
	holds(t, fsys, o.Dir, st.files)
}

func TestSourceThatGivesNothingIsGivenUp(t *testing.T) {
	s, _, _ := server(t, nil)
	fsys := disk.NewFaultFS()
	src := &direct{s: s}
	o := fetchOptions(fsys, src)
	o.Patience = 20 * time.Millisecond
	gone := errors.New("gone")
	src.onChunk = func(*Chunk) error { return gone }
	if _, err := Fetch(within(t), o); !errors.Is(err, gone) || !strings.Contains(err.Error(), "nothing came for 20ms") {
		t.Fatalf("got %v", err)
	}
	// A source that fails again and again, and gives something between, is not.
	o.Patience = patience
	chunks := 0
	src.onChunk = func(*Chunk) error {
		if chunks++; chunks%2 == 0 {
			return gone
		}
		return nil
	}
	if _, err := Fetch(within(t), o); err != nil {
		t.Fatal(err)
	}
}

// mute is a source that never offers anything.
type mute struct{ *direct }

func (m mute) Open(ctx context.Context, _ uint64) (Offer, error) {
	m.opens++
	<-ctx.Done()
	return Offer{}, ctx.Err()
}

func TestSourceThatOffersNothingIsGivenUpAtTheBound(t *testing.T) {
	s, _, _ := server(t, nil)
	src := mute{&direct{s: s}}
	o := fetchOptions(disk.NewFaultFS(), src)
	o.OpenTimeout, o.Patience = 20*time.Millisecond, 20*time.Millisecond
	_, err := Fetch(within(t), o)
	if !errors.Is(err, errNoOffer) || !strings.Contains(err.Error(), "no snapshot was offered within 20ms") || src.opens != 1 {
		t.Fatalf("opened %d times, got %v", src.opens, err)
	}
}
