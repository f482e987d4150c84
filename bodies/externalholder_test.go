package bodies

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"chainfire/blob"
	"chainfire/internal/disk"
	"chainfire/object"
)

// outside is an external store in memory.
type outside struct {
	mu   sync.Mutex
	has  map[object.ExtentID][]byte
	down bool
}

func (o *outside) Put(context.Context) (Stream, error) { return &outsideStream{o: o}, nil }

func (o *outside) Get(_ context.Context, id object.ExtentID, off int64, dst []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	data, found := o.has[id]
	if !found {
		return blob.ErrNotFound
	}
	copy(dst, data[off:])
	return nil
}

func (o *outside) Has(context.Context, []object.ExtentID) ([]bool, error) {
	return nil, errors.New("nobody has to ask it")
}

type outsideStream struct{ o *outside }

func (s *outsideStream) Send(id object.ExtentID, data []byte, _ uint32) error {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	if s.o.down {
		return errDown
	}
	s.o.has[id] = slices.Clone(data)
	return nil
}

func (s *outsideStream) Sync() error  { return nil }
func (s *outsideStream) Close() error { return nil }

func TestBodiesOfAnExternalStoreAreOnNoMember(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	data := random(3, 2*object.MaxExtent+5)
	before, err := w.member(1).write("before", data)
	must(t, err)
	store := &outside{has: map[object.ExtentID][]byte{}}
	for id := uint64(1); id <= 3; id++ {
		must(t, w.member(id).Close())
		w.start(id, w.member(id).fs, 2, func(o *Options) { o.External = store })
	}
	body, err := w.member(1).write("key", data)
	must(t, err)
	for i := range body.Extents {
		if !body.Extents[i].External() {
			t.Errorf("extent %d is on %v", i, body.Extents[i].Holders)
		}
	}
	for id := uint64(1); id <= 3; id++ {
		m := w.member(id)
		passes := m.counts.passes.Load()
		m.Kick()
		until(t, "a look through all bodies", func() bool { return m.counts.passes.Load() > passes })
		if n, missing := m.has(&body), m.counts.missing.Load(); n != 0 || missing != 0 {
			t.Errorf("member %d has %d extents of the external body, and misses %d", id, n, missing)
		}
		must(t, m.holds(&body, data))
		must(t, m.holds(&before, data)) // what members held they hold
	}
	if n, _, err := w.member(1).Sole(context.Background(), 3); n != 0 || err != nil {
		t.Errorf("%d extents are only on a member, %v", n, err)
	}

	without := w.start(4, disk.NewFaultFS(), 1, func(*Options) {})
	if err := without.holds(&body, data); !errors.Is(err, object.ErrUnavailable) || !strings.Contains(err.Error(), "started without one") {
		t.Errorf("read by a member that knows no external store: %v", err)
	}
	store.mu.Lock()
	store.down = true
	store.mu.Unlock()
	if _, err := w.member(1).write("late", data); !errors.Is(err, object.ErrUnavailable) || !strings.Contains(err.Error(), "external store") {
		t.Errorf("written while the external store is down: %v", err)
	}
}
