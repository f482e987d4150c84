package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/object"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ext(lease uint64, n int) object.ExtentID {
	return object.ExtentID{Body: object.BodyID{Lease: lease, N: uint32(n / 4)}, N: uint32(n % 4)}
}

// bytesOf are the bytes of the tests' extents: they follow from the id.
func bytesOf(id object.ExtentID, size int) []byte {
	r := rand.New(rand.NewPCG(id.Body.Lease, uint64(id.Body.N)<<32|uint64(id.N)))
	b := make([]byte, 0, size+8)
	for len(b) < size {
		b = le.AppendUint64(b, r.Uint64())
	}
	return b[:size]
}

func crcOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func put(s *Store, id object.ExtentID, size int) error {
	b := bytesOf(id, size)
	return s.Put(context.Background(), id, b, crcOf(b))
}

func options(fs disk.FS) Options {
	return Options{FS: fs, Dir: "blob", SegmentBytes: 16 << 10, Salt: 7, FloorBytes: -1, CacheBytes: 1 << 20}
}

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	must(t, err)
	return s
}

// holds reads an extent whole and compares it.
func holds(s *Store, id object.ExtentID, size int) error {
	got := make([]byte, size)
	if err := s.Get(id, 0, got); err != nil {
		return err
	}
	if !bytes.Equal(got, bytesOf(id, size)) {
		return fmt.Errorf("extent %v was served with other bytes", id)
	}
	return nil
}

func TestAnExtentIsReadBackInAnyPart(t *testing.T) {
	s := open(t, Options{FS: disk.NewFaultFS(), Dir: "blob"})
	defer s.Close()
	const size = 3*PieceBytes + 17
	id := ext(5, 1)
	must(t, put(s, id, size))
	want := bytesOf(id, size)
	for _, c := range []struct{ off, n int }{
		{0, size},
		{0, 1},
		{0, PieceBytes},
		{PieceBytes, PieceBytes},
		{PieceBytes - 1, 2},
		{3 * PieceBytes, 17},
		{size - 1, 1},
		{5, size - 5},
		{size, 0},
		{0, 0},
	} {
		got := make([]byte, c.n)
		if err := s.Get(id, int64(c.off), got); err != nil || !bytes.Equal(got, want[c.off:c.off+c.n]) {
			t.Errorf("%d bytes at %d: %v", c.n, c.off, err)
		}
	}
	for _, c := range []struct{ off, n int }{{size, 1}, {-1, 1}, {0, size + 1}} {
		if err := s.Get(id, int64(c.off), make([]byte, c.n)); !errors.Is(err, ErrRange) {
			t.Errorf("%d bytes at %d: %v, want ErrRange", c.n, c.off, err)
		}
	}
	if err := s.Get(ext(5, 2), 0, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("an extent that was not put: %v", err)
	}
}

func TestAnExtentThatIsNotTheOneWantedIsNotServed(t *testing.T) {
	s := open(t, Options{FS: disk.NewFaultFS(), Dir: "blob"})
	defer s.Close()
	const size = 2 * PieceBytes
	id := ext(5, 1)
	must(t, put(s, id, size))
	crc, got := crcOf(bytesOf(id, size)), make([]byte, 10)
	must(t, s.GetOf(id, Info{size, crc}, 7, got))
	if !bytes.Equal(got, bytesOf(id, size)[7:17]) {
		t.Errorf("other bytes: %x", got)
	}
	for _, want := range []Info{{size, crc + 1}, {size - 1, crc}} {
		if err := s.GetOf(id, want, 7, got); !errors.Is(err, ErrConflict) {
			t.Errorf("%+v instead of %+v: %v", Info{size, crc}, want, err)
		}
	}
}

func TestPutRefusesWhatIsNotWhole(t *testing.T) {
	s := open(t, Options{FS: disk.NewFaultFS(), Dir: "blob"})
	defer s.Close()
	ctx, id, data := context.Background(), ext(1, 1), []byte("bytes")
	for _, c := range []struct {
		what string
		data []byte
		crc  uint32
		want error
	}{
		{"no bytes", nil, 0, ErrRange},
		{"too many bytes", make([]byte, object.MaxExtent+1), crcOf(make([]byte, object.MaxExtent+1)), ErrRange},
		{"another checksum", data, crcOf(data) + 1, ErrChecksum},
		{"the bytes", data, crcOf(data), nil},
		{"the same again", data, crcOf(data), nil},
		{"other bytes", []byte("other"), crcOf([]byte("other")), ErrConflict},
	} {
		if err := s.Put(ctx, id, c.data, c.crc); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
	must(t, s.Sync(ctx))
	if u := s.Usage(); u.Extents != 1 {
		t.Errorf("%d extents, want 1", u.Extents)
	}
}

func TestOnlyWhatIsSyncedCountsAsThere(t *testing.T) {
	s := open(t, options(disk.NewFaultFS()))
	defer s.Close()
	id := ext(1, 1)
	must(t, put(s, id, 100))
	if has, err := s.Has(id); has || err != nil {
		t.Errorf("before the sync: %v, %v", has, err)
	}
	must(t, s.Sync(context.Background()))
	if has, err := s.Has(id); !has || err != nil {
		t.Errorf("after the sync: %v, %v", has, err)
	}
	must(t, s.Delete(context.Background(), id))
	if has, err := s.Has(id); has || err != nil {
		t.Errorf("after deleting: %v, %v", has, err)
	}
}

func TestWhatWasDeletedBeforeAFlushStaysSo(t *testing.T) {
	fs := disk.NewFaultFS()
	s := open(t, options(fs))
	must(t, put(s, ext(1, 1), 100))
	must(t, put(s, ext(1, 2), 100))
	must(t, s.Sync(context.Background()))
	must(t, s.Delete(context.Background(), ext(1, 1)))
	must(t, s.Flush())
	image := fs.Crash(disk.CrashOptions{})
	must(t, s.Close())
	s = open(t, options(image))
	defer s.Close()
	if err := s.Get(ext(1, 1), 0, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("what was deleted: %v", err)
	}
	must(t, holds(s, ext(1, 2), 100))
}

func TestIDsAreListedInOrderAndInPages(t *testing.T) {
	s := open(t, options(disk.NewFaultFS()))
	defer s.Close()
	var want []object.ExtentID
	for n := range 25 {
		want = append(want, ext(uint64(n%3+1), n))
	}
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(len(want)) {
		must(t, put(s, want[i], 50+i))
	}
	must(t, s.Sync(context.Background()))
	slices.SortFunc(want, func(a, b object.ExtentID) int {
		return bytes.Compare(appendExtent(nil, a), appendExtent(nil, b))
	})
	var got []object.ExtentID
	for after := (object.ExtentID{}); ; {
		page, err := s.IDs(after, 4)
		must(t, err)
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		after = page[len(page)-1]
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestManySyncsShareOne(t *testing.T) {
	fs := disk.NewFaultFS()
	s := open(t, options(fs))
	defer s.Close()
	must(t, put(s, ext(1, 0), 10))
	must(t, s.Sync(context.Background()))
	// The first sync waits until all others wait for it.
	const others = 8
	var mu sync.Mutex
	syncs := 0
	entered, goOn := make(chan struct{}), make(chan struct{})
	fs.Observe(func(e disk.Event) {
		if e.Op != disk.OpSync || !strings.Contains(e.Path, segmentPrefix) {
			return
		}
		mu.Lock()
		syncs++
		first := syncs == 1
		mu.Unlock()
		if first {
			close(entered)
			<-goOn
		}
	})
	must(t, put(s, ext(1, 1), 10))
	var wg sync.WaitGroup
	wg.Go(func() { must(t, s.Sync(context.Background())) })
	<-entered
	for n := range others {
		must(t, put(s, ext(1, 2+n), 10))
		wg.Go(func() { must(t, s.Sync(context.Background())) })
	}
	close(goOn)
	wg.Wait()
	fs.Observe(nil)
	// Those who came while the first ran need at most one more; one that came after it
	// had ended may have led another for itself.
	if syncs < 2 || syncs > 1+others {
		t.Errorf("%d syncs", syncs)
	}
	for n := range others + 2 {
		must(t, holds(s, ext(1, n), 10))
	}
}

func TestAFailedWriteOrSyncEndsTheStore(t *testing.T) {
	for _, op := range []disk.Op{disk.OpWrite, disk.OpSync} {
		t.Run(string(op), func(t *testing.T) {
			fs := disk.NewFaultFS()
			fatal := make(chan error, 1)
			o := options(fs)
			o.Fatal = func(err error) { fatal <- err }
			s := open(t, o)
			must(t, put(s, ext(1, 1), 100))
			must(t, s.Sync(context.Background()))
			fs.Fail(disk.Rule{Op: op, Path: segmentPrefix, Times: 1})
			err := put(s, ext(1, 2), 100)
			if err == nil {
				err = s.Sync(context.Background())
			}
			if !errors.Is(err, ErrFailed) || !errors.Is(err, disk.ErrInjected) {
				t.Fatalf("the failure: %v", err)
			}
			if err := <-fatal; !errors.Is(err, disk.ErrInjected) {
				t.Errorf("told as fatal: %v", err)
			}
			if err := put(s, ext(1, 3), 100); !errors.Is(err, ErrFailed) {
				t.Errorf("a put after it: %v", err)
			}
			if err := s.Sync(context.Background()); !errors.Is(err, ErrFailed) {
				t.Errorf("a sync after it: %v", err)
			}
			must(t, holds(s, ext(1, 1), 100))
			s.Close()
			s = open(t, options(fs.Crash(disk.CrashOptions{})))
			must(t, holds(s, ext(1, 1), 100))
			must(t, s.Close())
		})
	}
}

func TestAFullDiskRefusesAndGoesOnAfterwards(t *testing.T) {
	fs := disk.NewFaultFS()
	s := open(t, options(fs))
	must(t, put(s, ext(1, 0), 1000))
	must(t, s.Sync(context.Background()))
	must(t, s.index.flush())
	// The index is not to find the disk full, too, by merging its tables in the background.
	must(t, s.index.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false))
	// What fits of a refused record stays behind the end, and is written over.
	for _, room := range []int64{0, 10, 63, 64, 100, 300, 500} {
		fs.LimitSpace(room)
		if err := put(s, ext(2, 1), 1000); !errors.Is(err, chainfire.ErrNoRoom) {
			t.Fatalf("with %d bytes left: %v", room, err)
		}
		if err := s.Get(ext(2, 1), 0, nil); !errors.Is(err, ErrNotFound) {
			t.Fatalf("what was refused: %v", err)
		}
		fs.Heal()
	}
	// A new segment needs room, too.
	n := 1
	for ; s.active.end+1068+recordHeaderBytes <= s.opts.SegmentBytes; n++ {
		must(t, put(s, ext(1, n), 1000))
	}
	for _, room := range []int64{0, 30, segmentHeaderBytes, segmentHeaderBytes + 30} {
		fs.LimitSpace(room)
		if err := put(s, ext(1, n), 1000); !errors.Is(err, chainfire.ErrNoRoom) {
			t.Fatalf("a new segment with %d bytes left: %v", room, err)
		}
		fs.Heal()
	}
	must(t, put(s, ext(1, n), 1000))
	must(t, s.Sync(context.Background()))
	for i := range n + 1 {
		must(t, holds(s, ext(1, i), 1000))
	}
	image := fs.Crash(disk.CrashOptions{})
	must(t, s.Close())
	s = open(t, options(image))
	defer s.Close()
	for i := range n + 1 {
		must(t, holds(s, ext(1, i), 1000))
	}
	if u := s.Usage(); u.Damaged != 0 {
		t.Errorf("%d damages after a full disk", u.Damaged)
	}
}

func TestTheFloorKeepsRoomOnTheDisk(t *testing.T) {
	fs := disk.NewFaultFS()
	o := options(fs)
	o.FloorBytes = 5000
	s := open(t, o)
	defer s.Close()
	fs.LimitSpace(5000 + 1068)
	if err := put(s, ext(1, 1), 1001); !errors.Is(err, chainfire.ErrNoRoom) {
		t.Errorf("one byte too much: %v", err)
	}
	must(t, put(s, ext(1, 1), 1000))
}

// An index that cannot be written for want of room refuses what would change it, and is written
// once there is room.
func TestAnIndexWithoutRoomRefusesPutsAndRecovers(t *testing.T) {
	fs := disk.NewFaultFS()
	s := open(t, options(fs))
	defer s.Close()
	must(t, put(s, ext(1, 1), 100))
	must(t, s.Sync(context.Background()))
	fs.Fail(disk.Rule{Op: disk.OpCreate, Path: indexName, Times: 2, Err: syscall.ENOSPC})
	if err := s.index.flush(); !noRoom(err) {
		t.Fatalf("flush: %v", err)
	}
	if err := put(s, ext(1, 2), 100); !errors.Is(err, chainfire.ErrNoRoom) {
		t.Errorf("put: %v", err)
	}
	if err := s.Delete(context.Background(), ext(1, 1)); !errors.Is(err, chainfire.ErrNoRoom) {
		t.Errorf("delete: %v", err)
	}
	fs.Heal()
	for s.index.full.Load() { // the engine tries again by itself
		must(t, s.index.flush())
	}
	must(t, put(s, ext(1, 2), 100))
	must(t, holds(s, ext(1, 1), 100))
}

func TestADirectoryBelongsToOneStore(t *testing.T) {
	fs := disk.NewFaultFS()
	s := open(t, options(fs))
	if _, err := Open(options(fs)); !errors.Is(err, disk.ErrInUse) {
		t.Errorf("a second store: %v", err)
	}
	must(t, s.Close())
	if err := put(s, ext(1, 1), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("put after close: %v", err)
	}
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("close after close: %v", err)
	}
	must(t, open(t, options(fs)).Close())
}

func TestAllGoroutinesEndAtClose(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := open(t, options(disk.NewFaultFS()))
	ctx, began := context.Background(), make(chan struct{})
	for n := range 40 {
		must(t, put(s, ext(1, n), 1000))
	}
	must(t, s.Sync(ctx))
	// A scrub that has to wait for its rate ends with the store.
	var wg sync.WaitGroup
	wg.Go(func() {
		close(began)
		limit := NewLimiter(1)
		limit.AllowN(time.Now(), limit.Burst())
		if _, err := s.Scrub(ctx, limit, nil); err == nil {
			t.Error("the scrub came to its end")
		}
	})
	<-began
	must(t, s.Close())
	wg.Wait()
}

func TestAStoreOnARealDisk(t *testing.T) {
	o := Options{Dir: t.TempDir() + "/blob", FloorBytes: -1, SegmentBytes: 3 << 20}
	s := open(t, o)
	for n := range 5 {
		must(t, put(s, ext(1, n), object.MaxExtent))
	}
	must(t, s.Sync(context.Background()))
	if u := s.Usage(); u.Extents != 5 || u.Segments < 2 || u.Free <= 0 {
		t.Errorf("%+v", u)
	}
	must(t, s.Delete(context.Background(), ext(1, 0), ext(1, 1)))
	_, err := s.Compact(context.Background(), nil)
	must(t, err)
	must(t, s.Close())
	s = open(t, o)
	defer s.Close()
	for n := 2; n < 5; n++ {
		must(t, holds(s, ext(1, n), object.MaxExtent))
	}
}

func TestALongWriteBreathesBetweenItsSteps(t *testing.T) {
	fs, breaths := disk.NewFaultFS(), 0
	o := options(fs)
	o.SegmentBytes, o.Breathe = 4<<20, func() { breaths++ }
	s := open(t, o)
	must(t, put(s, ext(1, 1), 3000))
	if breaths != 0 {
		t.Errorf("%d breaths in a short write", breaths)
	}
	must(t, put(s, ext(1, 2), object.MaxExtent))
	if want := object.MaxExtent / stepBytes; breaths != want {
		t.Errorf("%d breaths, not %d", breaths, want)
	}
	must(t, s.Sync(context.Background()))
	must(t, s.Close())
	s = open(t, options(fs))
	must(t, holds(s, ext(1, 1), 3000))
	must(t, holds(s, ext(1, 2), object.MaxExtent))
	must(t, s.Close())
}
