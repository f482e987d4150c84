package mvcc

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"

	"chainfire"
)

// blocksPerTurn bounds the recent revisions that one turn of a watch looks at.
const blocksPerTurn = 256

// stream is a chainfire.WatchStream. All fields but hub, woken and done are
// guarded by the hub's lock.
type stream struct {
	hub     *hub
	watches map[int64]*watch
	nextID  int64
	queue   watchQueue
	asked   bool
	closed  bool
	// woken holds a token when there may be something to hand out.
	woken chan struct{}
	done  chan struct{}
}

var _ chainfire.WatchStream = (*stream)(nil)

func (s *stream) wake() {
	select {
	case s.woken <- struct{}{}:
	default: // the reader will look anyway
	}
}

func (s *stream) enqueue(w *watch) {
	if !w.queued {
		w.queued = true
		s.queue.push(w)
		s.wake()
	}
}

// inOrder is its watches by their numbers: where several are served at once, in which order
// must not be chance.
func (s *stream) inOrder() iter.Seq[*watch] {
	return func(yield func(*watch) bool) {
		for _, id := range slices.Sorted(maps.Keys(s.watches)) {
			if !yield(s.watches[id]) {
				return
			}
		}
	}
}

// Watch opens a watch; see chainfire.WatchStream.
func (s *stream) Watch(r *chainfire.WatchRequest) (int64, error) {
	w := &watch{
		stream: s,
		prevKV: r.PrevKV, noPut: r.NoPut, noDelete: r.NoDelete, notify: r.ProgressNotify,
	}
	key := append([]byte{}, r.Key...)
	if len(key) == 0 {
		key = []byte{0} // the smallest key there is
	}
	w.iv = newInterval(key, append([]byte(nil), r.RangeEnd...))
	if w.iv.empty() {
		return 0, chainfire.ErrEmptyWatcherRange
	}
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.closed {
		return 0, chainfire.ErrWatchStreamClosed
	}
	w.id = r.ID
	if w.id == 0 {
		for s.watches[s.nextID] != nil {
			s.nextID++
		}
		w.id = s.nextID
		s.nextID++
	} else if s.watches[w.id] != nil {
		return 0, chainfire.ErrWatchDuplicateID
	}
	s.watches[w.id] = w
	w.start(h, r.StartRevision)
	return w.id, nil
}

// start puts a new watch where its first revision is.
func (w *watch) start(h *hub, from int64) {
	w.min = from
	if from <= 0 {
		w.min = h.rev + 1
	}
	if w.min < h.compacted {
		w.refused = true
		w.stream.enqueue(w)
		return
	}
	h.index.add(w)
	if w.min > h.rev {
		return
	}
	w.next = w.min
	w.resume(h)
	w.stream.enqueue(w)
}

// resume decides where a watch that lags behind from next on is served from.
func (w *watch) resume(h *hub) {
	w.last = 0
	w.history = w.next <= h.rev && w.next < h.ring.first
	if w.next <= h.rev && !w.history {
		w.last = h.rev
	}
}

// Cancel ends a watch; see chainfire.WatchStream.
func (s *stream) Cancel(id int64) error {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	w := s.watches[id]
	if w == nil {
		return chainfire.ErrWatcherNotExist
	}
	s.drop(w)
	if s.asked {
		s.wake() // it may have been the one that lagged
	}
	return nil
}

func (s *stream) drop(w *watch) {
	if !w.refused {
		s.hub.index.remove(w)
	}
	w.gone = true
	delete(s.watches, w.id)
}

// RequestProgress asks for a progress mark; see chainfire.WatchStream.
func (s *stream) RequestProgress() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if !s.closed {
		s.asked = true
		s.hub.asked[s] = struct{}{}
		s.wake()
	}
}

// Close releases the stream; see chainfire.WatchStream.
func (s *stream) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.closeLocked()
}

func (s *stream) closeLocked() {
	if s.closed {
		return
	}
	s.closed = true
	for _, w := range s.watches {
		s.drop(w)
	}
	delete(s.hub.streams, s)
	delete(s.hub.asked, s)
	close(s.done)
}

// Recv hands out the next answer; see chainfire.WatchStream. The keys and
// values in it are shared with other streams: they must not be modified.
func (s *stream) Recv(ctx context.Context) (*chainfire.WatchResponse, error) {
	for {
		resp, t, err := s.take()
		if resp != nil || err != nil {
			return resp, err
		}
		if t != nil {
			if resp, err := t.serve(ctx); resp != nil || err != nil {
				return resp, err
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			continue
		}
		select {
		case <-s.woken:
		case <-s.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// turn is one watch's turn to be served: revisions from one on, out of blocks
// or, if there are none, out of history up to another.
type turn struct {
	w        *watch
	from, to int64
	blocks   []*block
}

// take finds what to hand out next: an answer, or a watch's turn. Both are nil
// when there is nothing.
func (s *stream) take() (*chainfire.WatchResponse, *turn, error) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.closed {
		return nil, nil, chainfire.ErrWatchStreamClosed
	}
	for w := s.queue.pop(); w != nil; w = s.queue.pop() {
		w.queued = false
		switch {
		case w.gone:
		case w.refused:
			s.drop(w)
			return w.compactedAway(h), nil, nil
		case w.lagging():
			w.mark = false
			if !w.history && w.next < h.ring.first {
				w.history, w.last = true, 0
			}
			t := &turn{w: w, from: w.next, to: h.rev}
			if !w.history {
				t.blocks = h.ring.appendFrom(nil, w.next, w.last, blocksPerTurn)
			}
			return nil, t, nil
		case w.mark:
			w.mark = false
			if w.min <= h.rev+1 {
				return &chainfire.WatchResponse{WatchID: w.id, Revision: h.rev}, nil, nil
			}
		}
	}
	if s.asked && s.synced() {
		s.asked = false
		delete(h.asked, s)
		return &chainfire.WatchResponse{WatchID: chainfire.AllWatches, Revision: h.rev}, nil, nil
	}
	return nil, nil, nil
}

// synced reports whether a progress mark is true of every watch. One that
// starts in the future would take the mark for its own progress.
func (s *stream) synced() bool {
	for _, w := range s.watches {
		if w.lagging() || w.refused || w.min > s.hub.rev+1 {
			return false
		}
	}
	return true
}

// serve takes one turn. It returns nil for both when the turn found no events.
func (t *turn) serve(ctx context.Context) (*chainfire.WatchResponse, error) {
	var events []chainfire.Event
	var through int64
	var err error
	if t.blocks != nil {
		events, through = t.fromBlocks()
		if t.w.prevKV {
			err = t.w.stream.hub.store.addPrevious(ctx, events)
		}
	} else {
		events, through, err = t.w.stream.hub.store.history(ctx, t.w, t.from, t.to)
	}
	h := t.w.stream.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.w.gone {
		return nil, nil
	}
	if errors.Is(err, chainfire.ErrCompacted) {
		t.w.stream.drop(t.w)
		return t.w.compactedAway(h), nil
	}
	if err != nil {
		t.w.stream.enqueue(t.w) // another Recv begins the turn again
		return nil, err
	}
	return t.w.advance(h, events, through), nil
}

// compactedAway is the last answer of a watch whose next revision is compacted.
func (w *watch) compactedAway(h *hub) *chainfire.WatchResponse {
	return &chainfire.WatchResponse{WatchID: w.id, Revision: h.rev, Canceled: true, CompactRevision: h.compacted}
}

// advance moves a watch on after a turn and makes the turn's answer.
func (w *watch) advance(h *hub, events []chainfire.Event, through int64) *chainfire.WatchResponse {
	switch {
	case w.history:
		w.next = through + 1
		w.resume(h)
	case w.last > through:
		w.next = through + 1
	default:
		w.last = 0
	}
	resp := &chainfire.WatchResponse{WatchID: w.id, Revision: h.rev, Events: events}
	if w.lagging() {
		resp.Revision = through
		w.stream.enqueue(w)
	}
	if len(events) == 0 {
		return nil
	}
	w.busy = true
	return resp
}
