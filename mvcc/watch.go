package mvcc

import (
	"sync"

	"chainfire"
)

// hub connects what the applier publishes with the streams that watch it.
//
// A watch holds no events, only a position. While nothing that concerns it
// happens it costs nothing; when something does, it is put into its stream's
// queue once, and the reader of the stream takes the events from the ring of
// recent blocks or, when those are gone, from the store. Publishing therefore
// never waits for a reader.
type hub struct {
	store *Store

	// mu guards everything below, and the fields of streams and watches that
	// say so.
	mu        sync.Mutex
	rev       int64
	compacted int64
	ring      ring
	index     watchIndex
	streams   map[*stream]struct{}
	// asked are the streams that wait to hand out a progress mark.
	asked  map[*stream]struct{}
	closed bool
}

func newHub(s *Store, st State) *hub {
	h := &hub{
		store: s, rev: st.Revision, compacted: st.Compacted,
		ring:    ring{limit: s.opts.RingBytes},
		streams: map[*stream]struct{}{},
		asked:   map[*stream]struct{}{},
	}
	h.ring.reset(st.Revision + 1)
	return h
}

// watch is one watch of a stream. Its fields from next on are guarded by the
// hub's lock.
type watch struct {
	id     int64
	stream *stream
	iv     interval
	// min is the first revision of interest.
	min             int64
	prevKV          bool
	noPut, noDelete bool
	notify          bool

	// next is the first revision not handed out yet, while the watch lags: in
	// history, or with something found at or before last.
	next    int64
	last    int64
	history bool
	// queued says that the watch is in its stream's queue.
	queued bool
	// mark asks for a progress mark; busy says that there were events since the
	// last time one was due.
	mark, busy bool
	// refused says that the watch started below the compacted revision: its end
	// is all that it hands out. gone says that it has ended.
	refused, gone bool
	// slot is its place in the index.
	slot int
}

// lagging reports whether there may be something to hand out.
func (w *watch) lagging() bool { return w.history || w.last > 0 }

// wants reports whether the watch's filters let a type of event through.
func (w *watch) wants(t chainfire.EventType) bool {
	return t == chainfire.EventPut && !w.noPut || t == chainfire.EventDelete && !w.noDelete
}

// publish shows new blocks to the watches, and where the store stands now.
func (h *hub) publish(blocks []*block, st State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.compacted = st.Compacted
	for _, b := range blocks {
		h.rev = b.rev
		h.ring.push(b)
		for i := range b.events {
			e := &b.events[i]
			h.index.match(e.KV.Key, func(w *watch) { w.offer(b.rev, e.Type) })
		}
	}
	for s := range h.asked {
		s.wake()
	}
}

// offer tells a watch that a revision has an event for it.
func (w *watch) offer(rev int64, t chainfire.EventType) {
	if w.history || rev < w.min || !w.wants(t) {
		return // a watch in history comes to it by itself
	}
	if w.last == 0 {
		w.next = rev
	}
	w.last = rev
	w.stream.enqueue(w)
}

// replace moves the watches to a store that another one replaced. What happened
// in between they read from its history.
func (h *hub) replace(st State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.rev
	h.rev, h.compacted = st.Revision, st.Compacted
	h.ring.reset(st.Revision + 1)
	for s := range h.streams {
		for w := range s.inOrder() {
			if w.refused {
				continue
			}
			if !w.lagging() {
				w.next = max(old+1, w.min)
			}
			w.last = 0
			if w.next <= h.rev {
				w.history = true
				s.enqueue(w)
			}
		}
		s.wake()
	}
}

// close ends every stream.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.streams {
		s.closeLocked()
	}
}

// NewWatchStream opens a stream of watches. Any goroutine.
func (s *Store) NewWatchStream() chainfire.WatchStream {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	st := &stream{hub: h, watches: map[int64]*watch{}, woken: make(chan struct{}, 1), done: make(chan struct{})}
	h.streams[st] = struct{}{}
	if h.closed {
		st.closeLocked()
	}
	return st
}

// Watches is how many watch streams are open, and how many watches in them. Any goroutine.
func (s *Store) Watches() (streams, watches uint64) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	for st := range h.streams {
		watches += uint64(len(st.watches))
	}
	return uint64(len(h.streams)), watches
}

// NotifyProgress makes every watch that asked for it, and has neither events to
// come nor had any since the last call, hand out a progress mark. The host
// calls it from time to time. Any goroutine.
func (s *Store) NotifyProgress() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	for st := range h.streams {
		for w := range st.inOrder() {
			switch {
			case !w.notify || w.refused:
			case w.busy || w.lagging():
				w.busy = false
			default:
				w.mark = true
				st.enqueue(w)
			}
		}
	}
}
