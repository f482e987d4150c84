package blob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"chainfire/internal/disk"
	"chainfire/object"
)

// storeModel is what a store must be: which extents are there, and which of them on disk.
type storeModel struct {
	fs    *disk.FaultFS
	s     *Store
	there map[object.ExtentID]int
	// synced are those on disk, kept those that were when the index was last durable at
	// the latest: deleting may be taken back by a crash.
	synced map[object.ExtentID]bool
	gone   map[object.ExtentID]int
}

var sizes = rapid.SampledFrom([]int{1, 100, 3000, PieceBytes, PieceBytes + 1, 2*PieceBytes + 5})

func (m *storeModel) id(t *rapid.T) object.ExtentID {
	return object.ExtentID{
		Body: object.BodyID{Lease: rapid.Uint64Range(1, 3).Draw(t, "lease"), N: rapid.Uint32Range(0, 2).Draw(t, "body")},
		N:    rapid.Uint32Range(0, 3).Draw(t, "extent"),
	}
}

func (m *storeModel) check(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func (m *storeModel) Put(t *rapid.T) {
	id, size := m.id(t), sizes.Draw(t, "size")
	was, found := m.there[id]
	err := put(m.s, id, size)
	switch {
	case found && was != size:
		if !errors.Is(err, ErrConflict) {
			t.Fatalf("put %v again with other bytes: %v", id, err)
		}
	default:
		m.check(t, err)
		m.there[id] = size
		delete(m.gone, id)
	}
}

func (m *storeModel) Sync(t *rapid.T) {
	m.check(t, m.s.Sync(context.Background()))
	for id := range m.there {
		m.synced[id] = true
	}
}

func (m *storeModel) Delete(t *rapid.T) {
	id := m.id(t)
	m.check(t, m.s.Delete(context.Background(), id))
	if size, found := m.there[id]; found {
		m.gone[id] = size
	}
	delete(m.there, id)
	delete(m.synced, id)
}

func (m *storeModel) Get(t *rapid.T) {
	id := m.id(t)
	size, found := m.there[id]
	if !found {
		if err := m.s.Get(id, 0, nil); !errors.Is(err, ErrNotFound) {
			t.Fatalf("get %v, which is not there: %v", id, err)
		}
		return
	}
	off := rapid.IntRange(0, size-1).Draw(t, "off")
	got := make([]byte, rapid.IntRange(0, size-off).Draw(t, "n"))
	m.check(t, m.s.Get(id, int64(off), got))
	if !slices.Equal(got, bytesOf(id, size)[off:off+len(got)]) {
		t.Fatalf("other bytes of %v at %d", id, off)
	}
}

func (m *storeModel) Compact(t *rapid.T) {
	_, err := m.s.Compact(context.Background(), nil)
	m.check(t, err)
	// To compact syncs whatever it copies with.
}

func (m *storeModel) Scrub(t *rapid.T) {
	done, err := m.s.Scrub(context.Background(), nil, nil)
	m.check(t, err)
	if done.Corrupt != 0 {
		t.Fatalf("a scrub of whole segments: %+v", done)
	}
}

func (m *storeModel) Reopen(t *rapid.T) {
	m.check(t, m.s.Close())
	var err error
	m.s, err = Open(options(m.fs))
	m.check(t, err)
	for id := range m.there {
		m.synced[id] = true
	}
}

// Crash takes back what is not on disk, and may take back that something was deleted.
func (m *storeModel) Crash(t *rapid.T) {
	o := disk.CrashOptions{
		Seed:  rapid.Uint64().Draw(t, "seed"),
		Names: rapid.SampledFrom([]disk.Names{disk.NamesSynced, disk.NamesAll, disk.NamesPrefix}).Draw(t, "names"),
		Tear:  rapid.SampledFrom([]disk.Tear{disk.TearNothing, disk.TearKeepAll, disk.TearPrefix, disk.TearSectors, disk.TearGarble}).Draw(t, "tear"),
	}
	image := m.fs.Crash(o)
	m.check(t, m.s.Close())
	m.fs = image
	var err error
	m.s, err = Open(options(m.fs))
	m.check(t, err)
	for id, size := range m.there {
		if !m.synced[id] {
			size = m.sizeOf(id, size)
			m.there[id] = size
		}
		if err := holds(m.s, id, size); errors.Is(err, ErrNotFound) && !m.synced[id] {
			delete(m.there, id)
			m.gone[id] = size
		} else {
			m.check(t, err)
			m.synced[id] = true
		}
	}
	for id, size := range m.gone {
		size = m.sizeOf(id, size)
		if err := holds(m.s, id, size); err == nil {
			m.there[id], m.synced[id] = size, true
			delete(m.gone, id)
		} else if !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
	}
}

// sizeOf is the size that an extent has, or the one given where it is not there: one that was deleted
// and put again with other bytes may be there as it was before, because neither was on disk.
func (m *storeModel) sizeOf(id object.ExtentID, size int) int {
	if info, err := m.s.Stat(id); err == nil {
		return int(info.Size)
	}
	return size
}

func (m *storeModel) LoseIndex(t *rapid.T) {
	m.check(t, m.s.Close())
	m.check(t, m.fs.RemoveAll("blob/index"))
	var err error
	m.s, err = Open(options(m.fs))
	m.check(t, err)
	// What was deleted is back as far as its segment is still there, under the size that it
	// had last or, if it was there several times, before.
	for _, id := range m.ids(t) {
		if _, found := m.there[id]; found {
			continue
		}
		info, err := m.s.Stat(id)
		m.check(t, err)
		m.there[id] = int(info.Size)
		delete(m.gone, id)
	}
	for id := range m.there {
		m.synced[id] = true
	}
}

func (m *storeModel) ids(t *rapid.T) []object.ExtentID {
	ids, err := m.s.IDs(object.ExtentID{}, 1000)
	m.check(t, err)
	return ids
}

// Check compares the list and the counts.
func (m *storeModel) Check(t *rapid.T) {
	ids := m.ids(t)
	u := m.s.Usage()
	if u.Extents != int64(len(ids)) || u.Damaged != 0 {
		t.Fatalf("%+v, with %d extents listed", u, len(ids))
	}
	var live int64
	for _, id := range ids {
		size, found := m.there[id]
		if !found {
			t.Fatalf("%v is listed and was deleted", id)
		}
		live += place{length: uint32(size)}.size()
	}
	if live != u.Live {
		t.Fatalf("%d bytes are there, counted as %d", live, u.Live)
	}
	for id := range m.synced {
		if !slices.Contains(ids, id) {
			t.Fatalf("%v is on disk and not listed", id)
		}
	}
}

func TestTheStoreBehavesAsASetOfExtents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &storeModel{
			fs: disk.NewFaultFS(), there: map[object.ExtentID]int{},
			synced: map[object.ExtentID]bool{}, gone: map[object.ExtentID]int{},
		}
		var err error
		m.s, err = Open(options(m.fs))
		m.check(t, err)
		defer m.s.Close()
		t.Repeat(map[string]func(*rapid.T){
			"Put": m.Put, "PutMore": m.Put, "PutMost": m.Put, "Sync": m.Sync, "Delete": m.Delete, "Get": m.Get,
			"Compact": m.Compact, "Scrub": m.Scrub, "Reopen": m.Reopen, "Crash": m.Crash, "LoseIndex": m.LoseIndex,
			"": m.Check,
		})
	})
}

// Writers, readers, who deletes and who compacts, all at once: an extent that was put and is not
// deleted is read whole at any time.
func TestReadersAndWritersGoOnWhileSegmentsAreCompacted(t *testing.T) {
	const writers, size = 4, 900
	each := 120
	if testing.Short() {
		each = 40
	}
	fs := disk.NewFaultFS()
	s := open(t, options(fs))
	ctx := context.Background()
	kept := func(n int) bool { return n%5 == 0 }
	done := make(chan struct{})
	var work, background sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for n := range each {
				id := ext(uint64(w+1), n)
				if err := put(s, id, size); err != nil {
					t.Error(err)
					return
				}
				if err := s.Sync(ctx); err != nil {
					t.Error(err)
				}
				if n > 0 && !kept(n-1) {
					if err := s.Delete(ctx, ext(uint64(w+1), n-1)); err != nil {
						t.Error(err)
					}
				}
				for _, back := range []int{n, n / 2, n / 5} {
					if err := holds(s, ext(uint64(w+1), back), size); kept(back) && err != nil || err != nil && !errors.Is(err, ErrNotFound) {
						t.Errorf("extent %d of writer %d: %v", back, w, err)
					}
				}
			}
		})
	}
	loop := func(f func() error) {
		background.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := f(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	loop(func() error { _, err := s.Compact(ctx, nil); return err })
	loop(func() error {
		r, err := s.Scrub(ctx, nil, nil)
		if err == nil && r.Corrupt > 0 {
			err = fmt.Errorf("a scrub found %d damages", r.Corrupt)
		}
		return err
	})
	work.Wait()
	close(done)
	background.Wait()
	_, err := s.Compact(ctx, nil)
	must(t, err)
	if u := s.Usage(); u.Damaged != 0 || u.Bytes > 4*u.Live+4*s.opts.SegmentBytes {
		t.Errorf("%+v", u)
	}
	must(t, s.Close())
	s = open(t, options(fs))
	defer s.Close()
	for w := range writers {
		for n := range each {
			if kept(n) {
				must(t, holds(s, ext(uint64(w+1), n), size))
			}
		}
	}
}
