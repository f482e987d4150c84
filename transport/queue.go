package transport

import (
	"fmt"
	"sync"

	"chainfire/raft"
)

// lane is a bounded queue of one kind of thing.
type lane[T any] struct {
	items    []T
	sizes    []int
	bytes    int
	maxItems int
	maxBytes int
}

// push adds an item, or reports that there is no room. An empty lane takes one
// item of any size.
func (l *lane[T]) push(v T, size int) bool {
	if len(l.items) > 0 && (len(l.items) >= l.maxItems || l.bytes+size > l.maxBytes) {
		return false
	}
	l.items = append(l.items, v)
	l.sizes = append(l.sizes, size)
	l.bytes += size
	return true
}

// take moves items to out until they weigh target bytes, at least one.
func (l *lane[T]) take(out []T, target int) []T {
	n, weight := 0, 0
	for n < len(l.items) && (n == 0 || weight+l.sizes[n] <= target) {
		weight += l.sizes[n]
		n++
	}
	out = append(out, l.items[:n]...)
	l.drop(n)
	l.bytes -= weight
	return out
}

// drop removes the first n items and keeps the room for the next ones. What is
// left is short: the lane is bounded.
func (l *lane[T]) drop(n int) {
	kept := copy(l.items, l.items[n:])
	clear(l.items[kept:])
	l.items = l.items[:kept]
	l.sizes = l.sizes[:copy(l.sizes, l.sizes[n:])]
}

func (l *lane[T]) clear() {
	l.drop(len(l.items))
	l.bytes = 0
}

// queue is what waits for one peer, in three lanes: what must not wait behind
// anything, the node's own messages, and appends.
type queue struct {
	mu        sync.Mutex
	urgent    lane[raft.Message]
	envelopes lane[Envelope]
	appends   lane[raft.Message]
	// open is false while there is no connection to wait for: what is queued
	// then would be stale before it could go out.
	open bool
	// overflowed is set from the first append dropped until the lane has been
	// emptied, so that one episode is reported once.
	overflowed bool
	dropped    uint64

	// wake has room for one token: there is something to take.
	wake chan struct{}
}

func newQueue(o *Options) *queue {
	return &queue{
		urgent:    lane[raft.Message]{maxItems: o.QueueMessages, maxBytes: urgentBytes},
		envelopes: lane[Envelope]{maxItems: o.QueueMessages, maxBytes: o.QueueBytes},
		appends:   lane[raft.Message]{maxItems: o.QueueMessages, maxBytes: o.QueueBytes},
		wake:      make(chan struct{}, 1),
	}
}

// batch is what one write carries. Its slices are reused.
type batch struct {
	urgent    []raft.Message
	envelopes []Envelope
	appends   []raft.Message
}

func (b *batch) empty() bool {
	return len(b.urgent)+len(b.envelopes)+len(b.appends) == 0
}

func (b *batch) reset() {
	clear(b.urgent)
	clear(b.envelopes)
	clear(b.appends)
	b.urgent, b.envelopes, b.appends = b.urgent[:0], b.envelopes[:0], b.appends[:0]
}

// send queues messages for one peer. What does not fit is dropped; the error
// says why, once per episode.
func (q *queue) send(msgs []raft.Message, maxFrame int) (err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.open {
		q.dropped += uint64(len(msgs))
		return nil
	}
	for i := range msgs {
		reason := q.push(&msgs[i], maxFrame)
		if reason == nil {
			continue
		}
		q.dropped++
		if !q.overflowed {
			q.overflowed = true
			err = reason
		}
	}
	q.signal()
	return err
}

func (q *queue) push(m *raft.Message, maxFrame int) error {
	size := sizeBound(m)
	if size > maxFrame || len(m.Entries) > maxFrameEntries {
		return fmt.Errorf("%w: %d entries, about %d bytes", ErrTooLarge, len(m.Entries), size)
	}
	l := &q.urgent
	if m.Type == raft.MsgAppend {
		l = &q.appends
	}
	if !l.push(*m, size) {
		return fmt.Errorf("%w: %d messages, %d bytes wait", ErrQueueFull, len(l.items), l.bytes)
	}
	return nil
}

func (q *queue) sendEnvelope(e Envelope) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.open {
		return ErrNotConnected
	}
	if !q.envelopes.push(e, len(e.Payload)+headerSize) {
		return ErrQueueFull
	}
	q.signal()
	return nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take fills b with everything urgent and with about target bytes of each other
// lane.
func (q *queue) take(b *batch, target int) {
	b.reset()
	q.mu.Lock()
	defer q.mu.Unlock()
	b.urgent = q.urgent.take(b.urgent, urgentBytes)
	b.envelopes = q.envelopes.take(b.envelopes, target)
	b.appends = q.appends.take(b.appends, target)
	if len(q.appends.items) == 0 {
		q.overflowed = false
	}
}

// setOpen opens the queue for an attempt to connect, or closes and empties it.
func (q *queue) setOpen(open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open = open
	if !open {
		q.dropped += uint64(len(q.urgent.items) + len(q.appends.items))
		q.urgent.clear()
		q.envelopes.clear()
		q.appends.clear()
		q.overflowed = false
	}
}

func (q *queue) stats() (messages, bytes int, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	messages = len(q.urgent.items) + len(q.envelopes.items) + len(q.appends.items)
	return messages, q.urgent.bytes + q.envelopes.bytes + q.appends.bytes, q.dropped
}
