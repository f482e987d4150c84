package bodies

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"chainfire/blob"
	"chainfire/internal/disk"
	"chainfire/object"
	"chainfire/object/objecttest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a cluster in one process: one state that all members see, and the members' stores.
type world struct {
	t testing.TB

	mu      sync.Mutex
	rows    *objecttest.Memory
	index   uint64
	voters  []uint64
	members map[uint64]*member
	absent  map[uint64]bool
	leader  uint64
	changes []*object.Change
}

// member is one member of the world.
type member struct {
	w  *world
	id uint64
	fs *disk.FaultFS
	*Bodies

	// behind is how many indexes of the log it has not applied; cut, where it is not nil, what it sees
	// since it was cut off the others. Both are guarded by world.mu.
	behind uint64
	cut    *cutOff

	mu sync.Mutex
	// fault is what others meet who call it.
	fault fault
	// calls counts those of others, by name, and the member's own views of the state.
	calls map[string]int
}

// fault is how a member fails.
type fault uint8

const (
	healthy fault = iota
	// down refuses every call, mute never answers, stuck takes extents and never syncs.
	down
	mute
	stuck
)

var errDown = errors.New("connection refused")

// cutOff is the state as a member had it when it was cut off.
type cutOff struct {
	rows  object.Reader
	index uint64
	// late has its changes happen, though it does not hear of them.
	late bool
}

// cutOff takes a member off the others, both ways, until join.
func (w *world) cutOff(id uint64, late bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.members[id].cut = &cutOff{rows: w.rows.Snapshot(), index: w.index, late: late}
}

func (w *world) join(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.members[id].cut = nil
}

func (m *member) isCut() *cutOff {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return m.cut
}

// short are the times of tests. A member that is only late, on a busy machine, is waited for; where one
// never answers, tests have less patience.
func short(o *Options) {
	o.Patience, o.Stall = 10*time.Second, time.Minute
	o.RetryEvery = 10 * time.Millisecond
	o.CollectEvery, o.Grace = 10*time.Millisecond, 30*time.Millisecond
	o.BytesPerSecond, o.ExtentBytes = 1<<30, unit
}

func newWorld(t testing.TB, voters ...uint64) *world {
	w := &world{
		t: t, rows: objecttest.New(), index: 100, voters: voters, leader: voters[0],
		members: map[uint64]*member{}, absent: map[uint64]bool{},
	}
	for _, id := range voters {
		w.start(id, disk.NewFaultFS(), 1, short)
	}
	t.Cleanup(func() {
		for _, m := range w.members {
			if err := m.Close(); err != nil && !errors.Is(err, blob.ErrClosed) {
				t.Errorf("close member %d: %v", m.id, err)
			}
		}
	})
	_, err := w.Change(context.Background(), &object.Change{CreateBucket: &object.CreateBucket{Name: "bucket", Owner: "x"}})
	must(t, err)
	return w
}

// start begins a member on a disk.
func (w *world) start(id uint64, fs *disk.FaultFS, boots uint64, tune func(*Options)) *member {
	w.t.Helper()
	m := &member{w: w, id: id, fs: fs, calls: map[string]int{}}
	o := Options{
		Member: id, Boots: boots, State: m, Peers: m,
		Blob: blob.Options{FS: fs, Dir: "blob", FloorBytes: -1, CacheBytes: 1 << 20, Salt: id},
	}
	short(&o)
	tune(&o)
	w.mu.Lock()
	w.members[id] = m
	w.mu.Unlock()
	b, err := New(o)
	must(w.t, err)
	w.mu.Lock()
	m.Bodies = b
	w.mu.Unlock()
	return m
}

func (w *world) member(id uint64) *member {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.members[id]
}

func (w *world) place(id object.ExtentID) []uint64 {
	placed := slices.Clone(w.voters)
	slices.SortFunc(placed, func(a, b uint64) int {
		weigh := func(m uint64) uint64 {
			return rand.New(rand.NewPCG(m, id.Body.Lease<<40^uint64(id.Body.N)<<20^uint64(id.N))).Uint64()
		}
		if weigh(a) < weigh(b) {
			return -1
		}
		return 1
	})
	placed = placed[:min(3, len(placed))]
	slices.Sort(placed)
	return placed
}

// Change applies a change at once.
func (w *world) Change(_ context.Context, c *object.Change) (*object.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.index++
	w.changes = append(w.changes, c)
	return object.Apply(w.rows, w.index, w.place, c)
}

// opened counts the leases that were opened.
func (w *world) opened() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.changes {
		if c.OpenLease != nil {
			n++
		}
	}
	return n
}

func (w *world) leases() []object.Lease {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := object.NewView(w.rows.Snapshot(), nil).Leases()
	must(w.t, err)
	return l
}

func (w *world) setVoters(voters ...uint64) {
	w.mu.Lock()
	w.voters = voters
	w.mu.Unlock()
	for _, m := range w.members {
		m.Kick()
	}
}

func (w *world) become(id uint64, f fault) {
	m := w.member(id)
	m.mu.Lock()
	m.fault = f
	m.mu.Unlock()
}

// The member as State.

func (m *member) Change(ctx context.Context, c *object.Change) (*object.Result, error) {
	if cut := m.isCut(); cut != nil {
		if cut.late {
			if _, err := m.w.Change(ctx, c); err != nil {
				return nil, errors.Join(errDown, err)
			}
		}
		return nil, errDown
	}
	return m.w.Change(ctx, c)
}

func (m *member) Local(context.Context) (*object.View, error) {
	m.mu.Lock()
	m.calls["view"]++
	m.mu.Unlock()
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if m.cut != nil {
		return object.NewView(m.cut.rows, nil), nil
	}
	return object.NewView(m.w.rows.Snapshot(), nil), nil
}

func (m *member) Applied() uint64 {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if m.cut != nil {
		return m.cut.index
	}
	return m.w.index - m.behind
}

func (m *member) fallBehind(n uint64) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.behind = n
}

func (m *member) Place(id object.ExtentID) []uint64 {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return m.w.place(id)
}

func (m *member) Members() []uint64 {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	var ids []uint64
	for id := range m.w.members {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (m *member) Leads() bool {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return m.w.leader == m.id
}

func (m *member) Absent(id uint64, _ time.Duration) bool {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return m.w.absent[id]
}

// The member as Peers: what it reaches is another's store, through that one's fault.

func (m *member) Peer(id uint64) (Peer, error) {
	to := m.w.member(id)
	if to == nil {
		return nil, fmt.Errorf("there is no member %d", id)
	}
	return memPeer{m, to}, nil
}

type memPeer struct{ from, to *member }

func (p memPeer) call(ctx context.Context, name string) (fault, error) {
	p.to.w.mu.Lock()
	started := p.to.Bodies != nil
	p.to.w.mu.Unlock()
	if !started || p.from.isCut() != nil || p.to.isCut() != nil {
		return down, errDown
	}
	p.to.mu.Lock()
	f := p.to.fault
	p.to.calls[name]++
	p.to.mu.Unlock()
	switch f {
	case down:
		return f, errDown
	case mute:
		<-ctx.Done()
		return f, ctx.Err()
	}
	return f, nil
}

func (p memPeer) Put(ctx context.Context) (Stream, error) { return &memStream{p: p, ctx: ctx}, nil }

func (p memPeer) Get(ctx context.Context, id object.ExtentID, off int64, dst []byte) error {
	if _, err := p.call(ctx, "get"); err != nil {
		return err
	}
	return p.to.store.Get(id, off, dst)
}

func (p memPeer) Has(ctx context.Context, ids []object.ExtentID) ([]bool, error) {
	if _, err := p.call(ctx, "has"); err != nil {
		return nil, err
	}
	return hasAll(p.to.store, ids)
}

type memStream struct {
	p   memPeer
	ctx context.Context
}

func (s *memStream) Send(id object.ExtentID, data []byte, crc uint32) error {
	if _, err := s.p.call(s.ctx, "send"); err != nil {
		return err
	}
	return s.p.to.store.Put(s.ctx, id, data, crc)
}

func (s *memStream) Sync() error {
	f, err := s.p.call(s.ctx, "sync")
	if err != nil {
		return err
	}
	if f == stuck {
		<-s.ctx.Done()
		return s.ctx.Err()
	}
	return s.p.to.store.Sync(s.ctx)
}

func (s *memStream) Close() error { return nil }

// What tests do with members.

// random are bytes that follow from a seed.
func random(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 0, n+8)
	for len(b) < n {
		x := r.Uint64()
		b = append(b, byte(x), byte(x>>8), byte(x>>16), byte(x>>24), byte(x>>32), byte(x>>40), byte(x>>48), byte(x>>56))
	}
	return b[:n]
}

// write writes a body and has a key refer to it.
func (m *member) write(key string, data []byte) (object.Body, error) {
	ctx := context.Background()
	w, err := m.NewBody(ctx, -1)
	if err != nil {
		return object.Body{}, err
	}
	defer w.Close()
	for at := 0; at < len(data); at += 100_000 {
		if _, err := w.Write(data[at:min(len(data), at+100_000)]); err != nil {
			return object.Body{}, err
		}
	}
	body, err := w.Finish(ctx)
	if err != nil {
		return body, err
	}
	_, err = m.Change(ctx, &object.Change{Put: &object.Put{Bucket: "bucket", Key: key, Body: body}})
	return body, err
}

// read reads a stretch of a body.
func (m *member) read(body *object.Body, off, n int) ([]byte, error) {
	r, err := m.OpenBody(context.Background(), body, int64(off), int64(n))
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

// holds reads a body whole and compares it.
func (m *member) holds(body *object.Body, want []byte) error {
	got, err := m.read(body, 0, len(want))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("other bytes were read")
	}
	return nil
}

// has counts the extents of a body that a member has itself.
func (m *member) has(body *object.Body) (n int) {
	for i := range body.Extents {
		has, err := m.store.Has(object.ExtentID{Body: body.ID, N: uint32(i)})
		must(m.w.t, err)
		if has {
			n++
		}
	}
	return n
}

// until waits for a condition.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func crcOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
