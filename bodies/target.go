package bodies

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"chainfire/blob"
	"chainfire/object"
)

// item is an extent on its way to members.
type item struct {
	id   object.ExtentID
	data []byte
	crc  uint32
	// left is how many members are still to be sent it, guarded by writer.mu; with the last
	// of them land is called.
	left int
	land func()
}

// target is the sending of a body to one member, on a goroutine of its own.
type target struct {
	w      *writer
	member uint64
	ctx    context.Context
	cancel context.CancelFunc
	// queue has the extents that are to be sent, and nil for a sync, after which nothing comes.
	queue chan *item

	// Guarded by writer.mu. extents are those given to it, the first synced of which are on
	// its disk; began is since when it is at what it does, zero while it waits.
	extents []uint32
	synced  int
	began   time.Time
	failed  error
	ended   bool
}

// holds reports whether the member has an extent on disk. writer.mu is held.
func (t *target) holds(n uint32) bool {
	_, found := slices.BinarySearch(t.extents[:t.synced], n)
	return found
}

// slow reports whether the member takes longer for what it is at than it may. writer.mu is held.
func (t *target) slow() bool {
	patience := t.w.b.opts.Patience
	if t.w.b.health.suspect(t.member) {
		patience /= 8
	}
	return !t.began.IsZero() && time.Since(t.began) > patience
}

// drop goes on without the member. writer.mu is held.
func (t *target) drop(err error) {
	if t.failed != nil || t.ended {
		return
	}
	t.failed = err
	t.cancel()
	t.w.tell()
}

// run sends what is queued, until the sync after all of it.
func (t *target) run() {
	defer t.cancel()
	s, err := t.open()
	if err == nil {
		err = t.send(s)
		err = errors.Join(err, s.Close())
	}
	w := t.w
	if err != nil && w.sendTo.Err() == nil && !errors.Is(err, context.Canceled) {
		w.b.health.fail(t.member)
		w.b.log.Debug("a body is written without a member", "member", t.member, "err", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		t.drop(err)
	}
	t.ended, t.began = true, time.Time{}
	// Nothing is queued for it any more, now that it has failed or is at its end.
	for len(t.queue) > 0 {
		if it := <-t.queue; it != nil {
			it.done()
		}
	}
	w.tell()
}

// done says that one member less is to be sent the item. writer.mu is held.
func (it *item) done() {
	if it.left--; it.left == 0 {
		it.land()
	}
}

func (t *target) open() (Stream, error) {
	w := t.w
	w.mu.Lock()
	t.began = time.Now()
	w.mu.Unlock()
	if t.member == w.b.opts.Member {
		return &ownStream{ctx: t.ctx, store: w.b.store}, nil
	}
	p, err := w.b.peer(t.member)
	if err != nil {
		return nil, err
	}
	return p.Put(t.ctx)
}

func (t *target) send(s Stream) error {
	w := t.w
	for sent := 0; ; sent++ {
		w.mu.Lock()
		t.began = time.Time{}
		w.mu.Unlock()
		var it *item
		select {
		case it = <-t.queue:
		case <-t.ctx.Done():
			return t.ctx.Err()
		}
		w.mu.Lock()
		t.began = time.Now()
		w.mu.Unlock()
		if it == nil {
			if err := s.Sync(); err != nil {
				return err
			}
			w.b.health.good(t.member)
			w.mu.Lock()
			t.synced = sent
			w.tell()
			w.mu.Unlock()
			return nil
		}
		err := s.Send(it.id, it.data, it.crc)
		w.mu.Lock()
		it.done()
		w.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// ownStream is a Stream to this member's store.
type ownStream struct {
	ctx   context.Context
	store *blob.Store
}

// Send implements Stream.
func (o *ownStream) Send(id object.ExtentID, data []byte, crc uint32) error {
	return o.store.Put(o.ctx, id, data, crc)
}

// Sync implements Stream.
func (o *ownStream) Sync() error {
	if err := o.store.Sync(o.ctx); err != nil {
		return fmt.Errorf("sync extents: %w", err)
	}
	return nil
}

// Close implements Stream.
func (o *ownStream) Close() error { return nil }
