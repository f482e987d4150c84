package wal

import (
	"slices"
	"sort"

	"chainfire/raft"
)

// pointBytes is how much of a segment lies between two points of its index.
const pointBytes = 32 << 10

// point says where the record begins that holds the entry at index as its first.
type point struct {
	index  uint64
	offset uint32
	// chain is the checksum that the record continues.
	chain uint32
	// cut says that entries from index on stood before this record too, and
	// were replaced by it: a scan from an earlier point ends here.
	cut bool
}

// segmentIndex finds entries in a segment. It holds a point every 32 KiB, not
// one per entry.
type segmentIndex struct {
	points []point
	// last is the last live entry in the segment; meaningful with points only.
	last uint64
}

// add takes note of a record with entries [first, last] at offset.
func (x *segmentIndex) add(first, last uint64, offset int64, chain uint32, cut bool) {
	if n := len(x.points); n == 0 || cut || offset-int64(x.points[n-1].offset) >= pointBytes {
		x.points = append(x.points, point{index: first, offset: uint32(offset), chain: chain, cut: cut})
	}
	x.last = last
}

// truncate forgets the entries from index on.
func (x *segmentIndex) truncate(index uint64) {
	n := sort.Search(len(x.points), func(i int) bool { return x.points[i].index >= index })
	x.points = x.points[:n]
	x.last = min(x.last, index-1)
}

// first is the first live entry in the segment, if there is one.
func (x *segmentIndex) first() (uint64, bool) {
	if len(x.points) == 0 {
		return 0, false
	}
	return x.points[0].index, true
}

// find returns the point to scan from for index, and the first index that a scan
// from there does not reach.
func (x *segmentIndex) find(index uint64) (from point, stop uint64) {
	i := sort.Search(len(x.points), func(i int) bool { return x.points[i].index > index })
	from, stop = x.points[i-1], x.last+1
	for _, p := range x.points[i:] {
		if p.cut {
			stop = p.index
			break
		}
	}
	return from, stop
}

// termRuns holds the term of every entry from the base on, as runs.
type termRuns []Position

func (r termRuns) term(index uint64) uint64 {
	i := sort.Search(len(r), func(i int) bool { return r[i].Index > index })
	return r[i-1].Term
}

func (r *termRuns) add(index, term uint64) {
	if n := len(*r); n == 0 || (*r)[n-1].Term != term {
		*r = append(*r, Position{index, term})
	}
}

// truncate forgets the terms from index on; index lies after the base.
func (r *termRuns) truncate(index uint64) {
	n := sort.Search(len(*r), func(i int) bool { return (*r)[i].Index >= index })
	*r = (*r)[:n]
}

// release makes the entry at base the first one known.
func (r *termRuns) release(base uint64) {
	i := sort.Search(len(*r), func(i int) bool { return (*r)[i].Index > base })
	*r = slices.Clone((*r)[i-1:])
	(*r)[0].Index = base
}

// entryCache holds the most recent entries, contiguous up to the log's last.
type entryCache struct {
	entries []raft.Entry
	// head is where the first entry held is in entries.
	head  int
	bytes uint64
	limit uint64
}

// first is the index of the first entry held, given the log's last.
func (c *entryCache) first(last uint64) uint64 {
	return last + 1 - uint64(len(c.entries)-c.head)
}

func (c *entryCache) add(entries []raft.Entry) {
	for i := range entries {
		c.bytes += entries[i].Size()
	}
	c.entries = append(c.entries, entries...)
	drop := 0
	for at := c.head; c.bytes > c.limit; at++ {
		c.bytes -= c.entries[at].Size()
		drop++
	}
	c.drop(drop)
}

// drop forgets the first n entries; their bytes are already counted off.
func (c *entryCache) drop(n int) {
	clear(c.entries[c.head : c.head+n])
	c.head += n
	if c.head == len(c.entries) {
		c.entries, c.head = c.entries[:0], 0
	} else if c.head > 1024 && c.head > len(c.entries)/2 {
		k := copy(c.entries, c.entries[c.head:])
		clear(c.entries[k:])
		c.entries, c.head = c.entries[:k], 0
	}
}

// release forgets the entries up to index.
func (c *entryCache) release(index uint64) {
	n := 0
	for _, e := range c.entries[c.head:] {
		if e.Index > index {
			break
		}
		c.bytes -= e.Size()
		n++
	}
	c.drop(n)
}

// truncate forgets the entries from index on.
func (c *entryCache) truncate(index uint64) {
	n := len(c.entries)
	for n > c.head && c.entries[n-1].Index >= index {
		n--
		c.bytes -= c.entries[n].Size()
	}
	clear(c.entries[n:])
	c.entries = c.entries[:n]
}

// reset forgets everything.
func (c *entryCache) reset() {
	*c = entryCache{limit: c.limit}
}

// slice appends the entries [lo, hi), all of them held, to out, up to the budget.
func (c *entryCache) slice(out []raft.Entry, lo, hi uint64, b *budget) []raft.Entry {
	if lo >= hi {
		return out
	}
	from := c.entries[c.head+int(lo-c.entries[c.head].Index):][:hi-lo]
	n := 0
	for n < len(from) && b.take(&from[n]) {
		n++
	}
	return append(out, from[:n]...)
}

// budget counts the bytes of an answer: it is cut at limit, but never before the
// first entry.
type budget struct {
	limit, used uint64
	any, full   bool
}

func (b *budget) take(e *raft.Entry) bool {
	n := e.Size()
	if b.full || (b.any && (n > b.limit || b.used > b.limit-n)) {
		b.full = true
		return false
	}
	b.any = true
	b.used += n
	return true
}
