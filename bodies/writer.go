package bodies

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"
	"time"

	"chainfire/object"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Errors of a writer that is not used as it should be.
var errFinished = errors.New("the body is finished, or was given up")

// errSlow is why a body goes on without a member.
var errSlow = errors.New("too slow for this body")

// NewBody begins to write a body: see object.Service. It does not wait, and the writer has memory for
// one extent from the start or the first Write on. The Write or Finish that gives the first extent to
// members waits until fewer than Options.Writers others have done so and are not closed; ctx ends that.
func (b *Bodies) NewBody(ctx context.Context, size int64) (object.BodyWriter, error) {
	if size > object.MaxPutSize {
		return nil, fmt.Errorf("a body of %d bytes: %w", size, object.ErrTooLarge)
	}
	if err := b.ctx.Err(); err != nil {
		return nil, fmt.Errorf("write a body: %w", err)
	}
	w := &writer{b: b, ctx: ctx, large: size > object.MaxInline}
	if size > 0 && !w.large {
		// A little more, so that its end is found without more memory.
		w.buf = make([]byte, 0, min(int(size)+bytes.MinRead, b.opts.ExtentBytes))
	}
	return w, nil
}

// writer writes one body. But for what mu guards it belongs to its caller's goroutine.
type writer struct {
	b   *Bodies
	ctx context.Context

	// buf is the extent that is being filled, memory what it is in where others use that after.
	buf    []byte
	memory *[object.MaxExtent]byte
	size   int64
	// large says that the body will not be inline.
	large bool
	// done says that there is nothing more to write, err why there never will be.
	done bool
	err  error

	// What follows is of a body that is not inline.
	lease *lease
	id    object.BodyID
	// flight has a token of each extent that some member is still to be sent; stop ends
	// all sending.
	flight chan struct{}
	sendTo context.Context
	stop   context.CancelFunc

	mu      sync.Mutex
	targets []*target
	extents []extent
	// changed is closed, and made anew, when something of a target has.
	changed chan struct{}
}

// extent is one extent and the members that are to hold it.
type extent struct {
	object.Extent
	placed []uint64
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	if w.err == nil && w.done {
		return 0, errFinished
	}
	n := 0
	for len(p) > 0 {
		room, err := w.room()
		if err != nil {
			return n, err
		}
		k := copy(room, p)
		if err := w.filled(k); err != nil {
			return n, err
		}
		n, p = n+k, p[k:]
	}
	return n, w.err
}

// ReadFrom implements io.ReaderFrom: what is read comes to where it is sent from.
func (w *writer) ReadFrom(from io.Reader) (total int64, err error) {
	if w.err == nil && w.done {
		return 0, errFinished
	}
	for {
		room, err := w.room()
		if err != nil {
			return total, err
		}
		n, err := from.Read(room)
		if err := w.filled(n); err != nil {
			return total, err
		}
		total += int64(n)
		if err == io.EOF { //nolint:errorlint // what wraps it is a refusal of the source, which is not whole
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// room is where the next bytes go: in the extent that is being filled, or in the next one. It is
// never empty.
func (w *writer) room() ([]byte, error) {
	if w.err == nil && len(w.buf) == w.b.opts.ExtentBytes {
		w.err = w.dispatch()
	}
	if w.err != nil {
		return nil, w.err
	}
	if w.buf == nil && (w.large || len(w.extents) > 0) {
		w.memory = buffers.Get().(*[object.MaxExtent]byte)
		w.buf = w.memory[:0:w.b.opts.ExtentBytes]
	}
	if len(w.buf) == cap(w.buf) {
		w.buf = slices.Grow(w.buf, bytes.MinRead)
	}
	return w.buf[len(w.buf):min(cap(w.buf), w.b.opts.ExtentBytes)], nil
}

// filled says that so many bytes came into the room, and waits until more may come.
func (w *writer) filled(n int) error {
	if w.size+int64(n) > object.MaxPutSize {
		w.err = fmt.Errorf("a body of more than %d bytes: %w", int64(object.MaxPutSize), object.ErrTooLarge)
		return w.err
	}
	w.buf = w.buf[:len(w.buf)+n]
	w.size += int64(n)
	if w.b.opts.Pass != nil {
		if err := w.b.opts.Pass(w.ctx, n); err != nil {
			w.err = fmt.Errorf("write a body: %w", err)
		}
	}
	return w.err
}

// begin makes the body one of extents.
func (w *writer) begin() (err error) {
	select {
	case w.b.writing <- struct{}{}:
	case <-w.ctx.Done():
		return fmt.Errorf("wait to write a body: %w", w.ctx.Err())
	case <-w.b.ctx.Done():
		return fmt.Errorf("wait to write a body: %w", w.b.ctx.Err())
	}
	if w.id, w.lease, err = w.b.leases.take(w.ctx); err != nil {
		<-w.b.writing
		return err
	}
	w.flight = make(chan struct{}, flightOfBody)
	w.sendTo, w.stop = context.WithCancel(w.b.ctx)
	w.changed = make(chan struct{})
	return nil
}

// dispatch gives what is buffered to the members that are to hold it, as the next extent.
func (w *writer) dispatch() error {
	if w.lease == nil {
		if err := w.begin(); err != nil {
			return err
		}
	}
	if err := w.fly(); err != nil {
		return err
	}
	data, memory := w.buf, w.memory
	w.buf, w.memory = nil, nil
	id := object.ExtentID{Body: w.id, N: uint32(len(w.extents))}
	e := extent{
		Extent: object.Extent{Size: uint32(len(data)), CRC: crc32.Checksum(data, castagnoli)},
		placed: w.b.placeNew(id),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.extents = append(w.extents, e)
	it := &item{id: id, data: data, crc: e.CRC, land: func() { w.land(memory) }}
	for _, m := range e.placed {
		if t := w.target(m); t != nil && t.failed == nil {
			it.left++
			t.queue <- it // never waits: it has room for all that fly, and a sync
			t.extents = append(t.extents, id.N)
		}
	}
	if it.left == 0 {
		it.land()
	}
	return w.lost()
}

// fly waits until another extent may be in flight. Members that hold it up are left behind, where the
// others are enough.
func (w *writer) fly() error {
	stalled := time.NewTimer(w.b.opts.Stall)
	defer stalled.Stop()
	look := time.NewTicker(max(w.b.opts.Patience/8, time.Millisecond))
	defer look.Stop()
	mine, all := w.flight, chan struct{}(nil)
	for {
		select {
		case mine <- struct{}{}:
			mine, all = nil, w.b.flight
		case all <- struct{}{}:
			return nil
		case <-look.C:
			w.leaveSlow()
			w.mu.Lock()
			err := w.lost()
			w.mu.Unlock()
			if err != nil {
				return err
			}
		case <-stalled.C:
			return w.unavailable(errors.New("members take too long"))
		case <-w.ctx.Done():
			return fmt.Errorf("write a body: %w", w.ctx.Err())
		case <-w.b.ctx.Done():
			return fmt.Errorf("write a body: %w", w.b.ctx.Err())
		}
	}
}

// land gives back the tokens, and the memory, of an extent that no member is to be sent any more.
func (w *writer) land(memory *[object.MaxExtent]byte) {
	if memory != nil {
		buffers.Put(memory)
	}
	<-w.flight
	<-w.b.flight
}

// leaveSlow drops members that take longer than they may, where enough others do not; the next bodies
// do not wait as long for them.
func (w *writer) leaveSlow() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.targets {
		if t.failed == nil && t.slow() && w.without(t) {
			w.b.health.fail(t.member)
			t.drop(errSlow)
		}
	}
}

// without reports whether the body gets on without a member: what it was given is with enough others
// that are not slow themselves. mu is held.
func (w *writer) without(t *target) bool {
	for _, n := range t.extents {
		if !w.enough(n, func(o *target) bool { return o != t && o.failed == nil && !o.slow() }) {
			return false
		}
	}
	return true
}

// enough reports whether a majority of the members that are to hold an extent are good. mu is held.
func (w *writer) enough(n uint32, good func(*target) bool) bool {
	placed, have := w.extents[n].placed, 0
	for _, t := range w.targets {
		if slices.Contains(placed, t.member) && good(t) {
			have++
		}
	}
	return 2*have > len(placed)
}

// lost is why the body cannot be held by enough members any more, or nil. mu is held.
func (w *writer) lost() error {
	failed := false
	for _, t := range w.targets {
		failed = failed || t.failed != nil
	}
	for n := range w.extents {
		if (failed || len(w.extents[n].placed) == 0) && !w.enough(uint32(n), func(t *target) bool { return t.failed == nil || t.holds(uint32(n)) }) {
			return w.whyLocked(nil)
		}
	}
	return nil
}

func (w *writer) unavailable(why error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.whyLocked(why)
}

// whyLocked is ErrUnavailable with what is known of each member.
func (w *writer) whyLocked(why error) error {
	var r reasons
	if why != nil {
		r = append(r, why)
	}
	for _, t := range w.targets {
		switch {
		case t.failed != nil:
			r.add(t.member, t.failed)
		case len(t.extents) > t.synced:
			r.add(t.member, errors.New("has not answered yet"))
		}
	}
	return r.unavailable("write a body")
}

// target finds or begins the sending to a member. mu is held.
func (w *writer) target(member uint64) *target {
	for _, t := range w.targets {
		if t.member == member {
			return t
		}
	}
	t := &target{w: w, member: member, queue: make(chan *item, flightOfBody+1)}
	t.ctx, t.cancel = context.WithCancel(w.sendTo)
	if !w.b.goes(t.run) {
		t.cancel()
		return nil // the lack of it is found by lost
	}
	w.targets = append(w.targets, t)
	return t
}

// tell has whoever waits look again. mu is held.
func (w *writer) tell() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// Finish implements object.BodyWriter.
func (w *writer) Finish(ctx context.Context) (object.Body, error) {
	if w.err == nil && w.done {
		return object.Body{}, errFinished
	}
	if w.err == nil && w.lease == nil && w.size <= object.MaxInline {
		w.done = true
		return object.Body{Size: w.size, Inline: w.buf}, nil
	}
	if w.err == nil && len(w.buf) > 0 {
		w.err = w.dispatch()
	}
	if w.err == nil {
		w.err = w.await(ctx)
	}
	if w.err != nil {
		return object.Body{}, w.err
	}
	w.done = true
	return w.body(), nil
}

// await has all members sync, and waits until a majority has for each extent.
func (w *writer) await(ctx context.Context) error {
	stalled := time.NewTimer(w.b.opts.Stall)
	defer stalled.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.targets {
		if t.failed == nil {
			t.queue <- nil
		}
	}
	for {
		if err := w.lost(); err != nil {
			return err
		}
		if w.durable() {
			return nil
		}
		changed := w.changed
		w.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-stalled.C:
			err = w.unavailable(errors.New("members take too long"))
		case <-ctx.Done():
			err = w.unavailable(ctx.Err())
		case <-w.b.ctx.Done():
			err = fmt.Errorf("write a body: %w", w.b.ctx.Err())
		}
		w.mu.Lock()
		if err != nil {
			return err
		}
	}
}

// durable reports whether a majority has every extent on disk. mu is held.
func (w *writer) durable() bool {
	for n := range w.extents {
		if !w.enough(uint32(n), func(t *target) bool { return t.holds(uint32(n)) }) {
			return false
		}
	}
	return true
}

// body is what was written, with the members that have it by now.
func (w *writer) body() object.Body {
	w.mu.Lock()
	defer w.mu.Unlock()
	body := object.Body{ID: w.id, Size: w.size}
	for n, e := range w.extents {
		for _, t := range w.targets {
			if t.holds(uint32(n)) {
				e.Holders = append(e.Holders, t.member)
			}
		}
		slices.Sort(e.Holders)
		body.Extents = append(body.Extents, e.Extent)
	}
	return body
}

// Close implements object.BodyWriter. Members that are not done with a finished body have a moment to
// be.
func (w *writer) Close() {
	finished := w.done
	w.done = true
	if w.lease == nil {
		return
	}
	w.b.leases.release(w.lease)
	w.lease = nil
	<-w.b.writing
	if !finished || w.err != nil {
		w.stop()
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.targets {
		if t.failed == nil && !t.ended {
			time.AfterFunc(w.b.opts.Patience, w.stop)
			return
		}
	}
	w.stop()
}
