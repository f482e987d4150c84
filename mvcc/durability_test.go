package mvcc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"chainfire"
	"chainfire/internal/disk"
)

func TestOpenOfNothingSaysSo(t *testing.T) {
	if _, err := Open(Options{FS: disk.NewFaultFS(), Dir: "none"}); !errors.Is(err, ErrNotExist) {
		t.Fatalf("open of nothing: %v", err)
	}
	fs := disk.NewFaultFS()
	opts := Options{FS: fs, Dir: "data"}
	if err := Create(opts, State{}, nil); err != nil {
		t.Fatal(err)
	}
	if err := Create(opts, State{}, nil); !errors.Is(err, ErrExist) {
		t.Fatalf("create over a store: %v", err)
	}
}

func TestCrashDuringCreateLeavesNoStoreOrAWholeOne(t *testing.T) {
	fs := disk.NewFaultFS()
	var images []*disk.FaultFS
	fs.Observe(func(disk.Event) { images = append(images, fs.Crash(disk.CrashOptions{})) })
	rows := []MetaRow{{Name: "cluster", Value: []byte("x")}}
	if err := Create(Options{FS: fs, Dir: "data"}, State{Applied: 3, Term: 2}, rows); err != nil {
		t.Fatal(err)
	}
	fs.Observe(nil)
	images = append(images, fs.Crash(disk.CrashOptions{}))
	found := 0
	for i, image := range images {
		s, err := Open(Options{FS: image, Dir: "data"})
		if errors.Is(err, ErrNotExist) {
			if found > 0 {
				t.Fatalf("image %d lost the store", i)
			}
			continue
		}
		if err != nil {
			t.Fatalf("image %d: %v", i, err)
		}
		found++
		b, ok, err := s.Meta("cluster")
		if st := s.State(); err != nil || !ok || string(b) != "x" || st.Applied != 3 || st.Revision != 1 {
			t.Fatalf("image %d: %v %v %q %+v", i, err, ok, b, st)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Fatal("no image holds the store")
	}
}

// newStore makes a store with small memory tables on the given disk.
func newStore(t *testing.T, fs FS, change func(*Options)) *Store {
	t.Helper()
	opts := Options{FS: fs, Dir: "data", MemTableBytes: 64 << 10, CacheBytes: 1 << 20}
	if change != nil {
		change(&opts)
	}
	if err := Create(opts, State{}, nil); err != nil {
		t.Fatal(err)
	}
	s, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// write puts n keys from one number on, a hundred a round, with a log index for
// each round. The values do not compress.
func write(s *Store, from, n, valueBytes int) error {
	noise := rand.NewChaCha8([32]byte{byte(from)})
	for at := from; at < from+n; at += 100 {
		var r round
		for i := at; i < min(at+100, from+n); i++ {
			value := make([]byte, valueBytes)
			if _, err := noise.Read(value); err != nil {
				return err
			}
			r.txns = append(r.txns, []op{{key: fmt.Appendf(nil, "key-%08d", i), value: value}})
		}
		if err := apply(s, []round{r}, s.State().Applied+1); err != nil {
			return err
		}
	}
	return nil
}

func TestFlushedIndexNeverClaimsMoreThanACrashKeeps(t *testing.T) {
	fs := disk.NewFaultFS()
	s := newStore(t, fs, nil)
	type shot struct {
		claimed uint64
		image   *disk.FaultFS
	}
	var mu sync.Mutex
	var shots []shot
	fs.Observe(func(e disk.Event) {
		if e.Op != disk.OpSync && e.Op != disk.OpSyncDir {
			return // nothing becomes durable by it
		}
		mu.Lock()
		defer mu.Unlock()
		claimed := s.FlushedIndex()
		shots = append(shots, shot{claimed, fs.Crash(disk.CrashOptions{})})
	})
	if err := write(s, 0, 2500, 64); err != nil {
		t.Fatal(err)
	}
	// One batch that is larger than a memory table takes another way.
	if err := apply(s, []round{{txns: [][]op{{{key: []byte("large"), value: make([]byte, 1<<20)}}}}}, s.State().Applied+1); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	fs.Observe(nil)
	if got, want := s.FlushedIndex(), s.State().Applied; got != want {
		t.Fatalf("flushed index %d after a flush at %d", got, want)
	}
	shots = append(shots, shot{s.FlushedIndex(), fs.Crash(disk.CrashOptions{})})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	grew := 0
	for i, x := range shots {
		opts := s.opts
		opts.FS = x.image
		again, err := Open(opts)
		if err != nil {
			t.Fatalf("image %d: %v", i, err)
		}
		if got := again.State().Applied; got < x.claimed {
			t.Fatalf("image %d holds index %d, claimed was %d", i, got, x.claimed)
		}
		if i > 0 && x.claimed > shots[i-1].claimed {
			grew++
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if grew < 3 {
		t.Fatalf("the flushed index grew %d times over %d images", grew, len(shots))
	}
}

func TestFailedSyncStopsTheStore(t *testing.T) {
	for _, rule := range []disk.Rule{
		{Op: disk.OpSync, Path: ".sst"},
		{Op: disk.OpSync, Path: "MANIFEST"},
		{Op: disk.OpWrite, Path: ".sst"},
		{Op: disk.OpSyncDir, Path: "store-"},
		{Op: disk.OpCreate, Path: ".sst"},
	} {
		t.Run(string(rule.Op)+" "+rule.Path, func(t *testing.T) {
			fs := disk.NewFaultFS()
			told := make(chan error, 10)
			s := newStore(t, fs, func(o *Options) { o.Fatal = func(err error) { told <- err } })
			// Too little for a flush of the engine's own, before the rule is there.
			if err := write(s, 0, 5, 10); err != nil {
				t.Fatal(err)
			}
			fs.Fail(rule)
			if err := s.Flush(context.Background()); !errors.Is(err, disk.ErrInjected) {
				t.Fatalf("flush: %v", err)
			}
			if err := <-told; !errors.Is(err, disk.ErrInjected) {
				t.Fatalf("told: %v", err)
			}
			if _, err := s.NewWriter(); !errors.Is(err, disk.ErrInjected) {
				t.Fatalf("writer after the failure: %v", err)
			}
			if _, err := s.Count(context.Background()); !errors.Is(err, disk.ErrInjected) {
				t.Fatalf("read after the failure: %v", err)
			}
			if s.FlushedIndex() != 0 {
				t.Fatalf("flushed index is %d", s.FlushedIndex())
			}
			if err := s.Close(); !errors.Is(err, disk.ErrInjected) {
				t.Fatalf("close: %v", err)
			}
			if len(told) > 0 {
				t.Fatal("told twice")
			}
		})
	}
}

func TestRottenTableStopsTheStore(t *testing.T) {
	fs := disk.NewFaultFS()
	told := make(chan error, 1)
	s := newStore(t, fs, func(o *Options) { o.Fatal = func(err error) { told <- err } })
	if err := errors.Join(write(s, 0, 2000, 100), s.Close()); err != nil {
		t.Fatal(err)
	}
	dir := fs.PathJoin("data", engineName(1))
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if len(name) > 4 && name[len(name)-4:] == ".sst" {
			if err := fs.FlipBit(fs.PathJoin(dir, name), 1000, 3); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, err = Open(s.opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Count(context.Background()); err == nil {
		t.Fatal("rot was read")
	}
	select {
	case err := <-told:
		if !errors.Is(err, chainfire.ErrCorrupt) {
			t.Fatalf("told: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was told")
	}
	if err := s.Close(); err == nil {
		t.Fatal("close after rot says nothing")
	}
}

func TestCrashDuringReplaceLeavesTheOldStoreOrTheNewOne(t *testing.T) {
	ctx := context.Background()
	fs := disk.NewFaultFS()
	s := newStore(t, fs, nil)
	if err := write(s, 0, 300, 50); err != nil {
		t.Fatal(err)
	}
	if err := s.Checkpoint(ctx, "base"); err != nil {
		t.Fatal(err)
	}
	other := s.opts
	other.Dir = "ahead"
	if err := Install(other, "base"); err != nil {
		t.Fatal(err)
	}
	ahead, err := Open(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write(ahead, 300, 300, 50), ahead.Checkpoint(ctx, "copy"), ahead.Close()); err != nil {
		t.Fatal(err)
	}
	var images []*disk.FaultFS
	var mu sync.Mutex
	shoot := func(disk.Event) {
		mu.Lock()
		defer mu.Unlock()
		images = append(images, fs.Crash(disk.CrashOptions{}), fs.Crash(disk.CrashOptions{Names: disk.NamesAll}))
	}
	fs.Observe(shoot)
	if err := s.Replace("copy"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fs.Observe(nil)
	shoot(disk.Event{})
	counts := map[int64]int{}
	for i, image := range images {
		opts := s.opts
		opts.FS = image
		again, err := Open(opts)
		if err != nil {
			t.Fatalf("image %d: %v", i, err)
		}
		n, err := again.Count(ctx)
		if st := again.State(); err != nil || n != int64(st.Applied)*100 || st.Revision != n+1 {
			t.Fatalf("image %d: %d keys at %+v, %v", i, n, st, err)
		}
		counts[n]++
		names, err := image.List("data")
		if err != nil || len(names) > 3 {
			t.Fatalf("image %d: left-overs in %v, %v", i, names, err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if counts[600] == 0 || counts[600]+counts[300]+counts[0] != len(images) {
		t.Fatalf("key counts of the images: %v", counts)
	}
}

// meter counts the bytes read from a file system.
type meter struct {
	FS
	read atomic.Int64
}

type meteredFile struct {
	disk.File
	m *meter
}

func (m *meter) Open(name string, opts ...vfs.OpenOption) (disk.File, error) {
	f, err := m.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	return meteredFile{f, m}, nil
}

func (f meteredFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	f.m.read.Add(int64(n))
	return n, err
}

func (f meteredFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.m.read.Add(int64(n))
	return n, err
}

func TestOpeningAndReadingOneKeyDoesNotReadTheOthers(t *testing.T) {
	m := &meter{FS: disk.NewFaultFS()}
	s := newStore(t, m, func(o *Options) { o.MemTableBytes = 4 << 20 })
	err := write(s, 0, 30_000, 300)
	// Leave the engine nothing to tidy up when it opens.
	err = errors.Join(err, s.eng.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	m.read.Store(0)
	if s, err = Open(s.opts); err != nil {
		t.Fatal(err)
	}
	w, err := s.NewWriter()
	if err != nil {
		t.Fatal(err)
	}
	if _, found, err := w.Get([]byte("key-00015000")); err != nil || !found {
		t.Fatal(found, err)
	}
	if err := errors.Join(w.Abort(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if n := m.read.Load(); n > 1<<20 {
		t.Fatalf("opening a store of 30,000 keys and reading one read %d bytes", n)
	}
}

// tables lists the tables of the first engine directory.
func tables(t *testing.T, fs FS) []string {
	t.Helper()
	names, err := fs.List(fs.PathJoin("data", engineName(1)))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".sst") })
}

// manifestOf is the manifest of the first engine directory in force.
func manifestOf(t *testing.T, fs FS) string {
	t.Helper()
	dir := fs.PathJoin("data", engineName(1))
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	last := ""
	for _, n := range names {
		if strings.HasPrefix(n, "MANIFEST-") {
			last = max(last, n)
		}
	}
	return fs.PathJoin(dir, last)
}

// lastRecord is where the last record of a manifest begins.
func lastRecord(t *testing.T, fs FS, manifest string) int64 {
	t.Helper()
	b, err := disk.ReadFile(fs, manifest, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for at := 0; at < len(b); {
		size, begins := chunk(b[at:])
		if size == 0 {
			t.Fatalf("manifest %s does not check at %d", manifest, at)
		}
		if begins {
			last = at
		}
		at += size
	}
	return int64(last)
}

// TestManifestCutShortByACrashIsNotTakenForRot cuts the manifest at every length:
// what is missing at the end was a write under way, which the floor decides on.
func TestManifestCutShortByACrashIsNotTakenForRot(t *testing.T) {
	fs := disk.NewFaultFS()
	s := newStore(t, fs, nil)
	if err := errors.Join(write(s, 0, 100, 10), s.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := disk.ReadFile(fs, manifestOf(t, fs), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(b) {
		if bad, err := rottenChunk(bytes.NewReader(b[:n])); bad >= 0 || err != nil {
			t.Fatalf("the first %d bytes: rot at %d, %v", n, bad, err)
		}
	}
}

// TestRottenManifestLosesNothingWithoutAWord turns each bit of the manifest, as it
// is before and after a compaction. In all records but the last that is rot: the
// store is refused, with every table still there. In the last one it cannot be told
// from a write that a crash cut short: the store opens with everything that it is
// known to hold, or is refused.
func TestRottenManifestLosesNothingWithoutAWord(t *testing.T) {
	keep := disk.CrashOptions{Names: disk.NamesAll, Tear: disk.TearKeepAll}
	fs := disk.NewFaultFS()
	s := newStore(t, fs, nil)
	images := []*disk.FaultFS{}
	var mu sync.Mutex
	fs.Observe(func(e disk.Event) {
		if e.Op == disk.OpCreate && strings.HasSuffix(e.Path, ".sst") {
			mu.Lock()
			defer mu.Unlock()
			images = append(images, fs.Crash(keep))
		}
	})
	if err := errors.Join(write(s, 0, 100, 10), s.Close()); err != nil {
		t.Fatal(err)
	}
	for i, image := range append(images, fs.Crash(keep)) {
		o := s.opts
		o.FS = image.Crash(keep)
		whole, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		o.Floor = whole.State().Applied
		if err := whole.Close(); err != nil {
			t.Fatal(err)
		}
		manifest := manifestOf(t, image)
		info, err := image.Stat(manifest)
		if err != nil {
			t.Fatal(err)
		}
		last := lastRecord(t, image, manifest)
		for bit := range 8 * info.Size() {
			rotten := image.Crash(keep)
			if err := rotten.FlipBit(manifest, bit/8, uint(bit%8)); err != nil {
				t.Fatal(err)
			}
			o.FS = rotten
			s, err := Open(o)
			if err == nil {
				err = s.Close()
			}
			if left, had := tables(t, rotten), tables(t, image); err != nil && !slices.Equal(left, had) {
				t.Fatalf("image %d, bit %d: refused with %v, and of the tables %v only %v are left", i, bit, err, had, left)
			}
			if bit/8 < last && (!errors.Is(err, chainfire.ErrCorrupt) || !strings.Contains(err.Error(), manifest)) {
				t.Fatalf("image %d, bit %d of a record before the last: %v", i, bit, err)
			}
		}
	}
}
