package mvcc

import "chainfire"

// eventOverhead is what an event counts in the ring besides its key and value.
const eventOverhead = 160

// block is what one revision changed. It is never modified once published.
type block struct {
	rev    int64
	events []chainfire.Event
	bytes  int64
	// large says that the block is too large to be kept: its events share
	// memory with the round that made them and are only good for publish.
	large bool
}

// newBlock makes a block, with copies of the events' keys and values.
func newBlock(rev int64, events []chainfire.Event, limit int64) *block {
	b := &block{rev: rev, events: events}
	for i := range events {
		b.bytes += eventBytes(&events[i])
	}
	if b.bytes > limit {
		b.large = true
		return b
	}
	for i := range events {
		events[i].KV = cloneKeyValue(events[i].KV)
	}
	return b
}

func eventBytes(e *chainfire.Event) int64 {
	return int64(len(e.KV.Key)+len(e.KV.Value)) + eventOverhead
}

// ring holds the most recent blocks, one for each revision from first on,
// bounded in bytes.
type ring struct {
	limit  int64
	bytes  int64
	first  int64
	blocks []*block
	head   int
}

// reset empties the ring; the next block will be of revision first.
func (r *ring) reset(first int64) {
	*r = ring{limit: r.limit, first: first}
}

func (r *ring) push(b *block) {
	if b.large {
		r.reset(b.rev + 1)
		return
	}
	r.blocks = append(r.blocks, b)
	r.bytes += b.bytes
	for r.bytes > r.limit {
		r.bytes -= r.blocks[r.head].bytes
		r.blocks[r.head] = nil
		r.head++
		r.first++
	}
	if r.head > 64 && r.head*2 > len(r.blocks) {
		n := copy(r.blocks, r.blocks[r.head:])
		clear(r.blocks[n:])
		r.blocks, r.head = r.blocks[:n], 0
	}
}

// appendFrom appends the blocks from one revision to another, at most limit of
// them. The ring must hold the first.
func (r *ring) appendFrom(dst []*block, from, to int64, limit int) []*block {
	held := r.blocks[r.head:]
	i := int(from - r.first)
	n := min(int(to-from)+1, len(held)-i, limit)
	return append(dst, held[i:i+n]...)
}
