package sim

import (
	"cmp"
	"slices"
)

// ordered demands of the operations on one key what linearizable does, by the
// order that the store itself gave to the writes. That makes it exact and quick:
// a search among all orders may take for ever to find that there is none.
func (c *cluster) ordered(key string) {
	var writes, reads []*op
	for _, o := range c.ops {
		switch {
		case o.key != key:
		case o.wrote || o.found:
			writes = append(writes, o)
		case o.end == answered:
			reads = append(reads, o)
		}
	}
	slices.SortFunc(writes, func(a, b *op) int { return cmp.Compare(a.revision, b.revision) })
	// states[i] is the key after i writes.
	states := []keyState{{}}
	latest := int64(0) // call of a write before, the latest
	var late *op
	for _, o := range writes {
		s := states[len(states)-1]
		if o.end == answered && o.seen != s {
			c.w.violate("%s: it should have seen %+v", o, s)
		}
		if o.kind == opSwap && o.expect != s.mod {
			c.w.violate("%s: it wrote although the mod revision was %d", o, s.mod)
		}
		if o.end == answered && o.answer < latest {
			c.w.violate("%s ended before %s began, and comes after it", o, late)
		}
		if o.call > latest {
			latest, late = o.call, o
		}
		if o.kind == opDelete {
			states = append(states, keyState{})
		} else {
			states = append(states, keyState{o.value, o.revision, s.version + 1})
		}
	}
	c.placeReads(writes, reads, states)
}

// placeReads finds for each read, those that ended first before the others, the
// first place among the writes where it fits.
func (c *cluster) placeReads(writes, reads []*op, states []keyState) {
	slices.SortFunc(reads, func(a, b *op) int { return cmp.Compare(a.answer, b.answer) })
	places := make([]int, len(reads))
	for i, r := range reads {
		lo, hi := 0, len(writes)
		for k, w := range writes {
			if w.end == answered && w.answer < r.call {
				lo = k + 1
			}
			if w.call > r.answer && k < hi {
				hi = k
			}
		}
		for k := range i {
			if reads[k].answer < r.call {
				lo = max(lo, places[k])
			}
		}
		at := lo
		for at <= hi && (states[at] != r.seen || r.kind == opSwap && r.expect == r.seen.mod || r.kind == opDelete && r.seen.mod != 0) {
			at++
		}
		if at > hi {
			c.w.violate("%s, from %d to %d, fits nowhere between write %d and write %d of %s; stale by what was acknowledged before it began",
				r, r.call, r.answer, lo, hi, r.key)
			return
		}
		places[i] = at
	}
}
