package mvcc

import (
	"bytes"
	"slices"
)

// watchSet is the watches of one interval.
type watchSet []*watch

func (s *watchSet) add(w *watch) {
	w.slot = len(*s)
	*s = append(*s, w)
}

func (s *watchSet) remove(w *watch) {
	l := *s
	n := len(l) - 1
	l[w.slot] = l[n]
	l[w.slot].slot = w.slot
	l[n] = nil
	*s = l[:n]
}

// watchIndex finds the watches that a key concerns: those of that one key, and
// those of intervals around it, in a treap ordered by the intervals' starts in
// which each node knows the furthest end below it.
type watchIndex struct {
	keys map[string]*watchSet
	root *intervalNode
	seed uint64
}

// intervalNode is an interval with its watches.
type intervalNode struct {
	iv          interval
	watches     watchSet
	priority    uint64
	left, right *intervalNode
	// max is the furthest end in the subtree; maxOpen is no end at all.
	max     []byte
	maxOpen bool
}

func (x *watchIndex) add(w *watch) {
	if w.iv.one {
		if x.keys == nil {
			x.keys = map[string]*watchSet{}
		}
		set := x.keys[string(w.iv.from)]
		if set == nil {
			set = &watchSet{}
			x.keys[string(w.iv.from)] = set
		}
		set.add(w)
		return
	}
	if n := x.find(w.iv); n != nil {
		n.watches.add(w)
		return
	}
	n := &intervalNode{iv: w.iv, priority: x.random()}
	n.watches.add(w)
	left, right := split(x.root, w.iv)
	x.root = join(join(left, n.update()), right)
}

func (x *watchIndex) remove(w *watch) {
	if w.iv.one {
		set := x.keys[string(w.iv.from)]
		set.remove(w)
		if len(*set) == 0 {
			delete(x.keys, string(w.iv.from))
		}
		return
	}
	n := x.find(w.iv)
	n.watches.remove(w)
	if len(n.watches) == 0 {
		x.root = without(x.root, w.iv)
	}
}

// match calls f with every watch that a key concerns.
func (x *watchIndex) match(key []byte, f func(*watch)) {
	if set := x.keys[string(key)]; set != nil {
		for _, w := range *set {
			f(w)
		}
	}
	x.root.stab(key, f)
}

// stab calls f with the watches of every interval that holds the key.
func (n *intervalNode) stab(key []byte, f func(*watch)) {
	for n != nil && (n.maxOpen || bytes.Compare(key, n.max) < 0) {
		n.left.stab(key, f)
		if bytes.Compare(key, n.iv.from) < 0 {
			return // so are all intervals to the right
		}
		if n.iv.contains(key) {
			for _, w := range n.watches {
				f(w)
			}
		}
		n = n.right
	}
}

// random draws the next priority (splitmix64). Any sequence gives the same
// answers; this one keeps the tree balanced.
func (x *watchIndex) random() uint64 {
	x.seed += 0x9e3779b97f4a7c15
	z := x.seed
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// compareIntervals orders intervals by their starts, then by their ends.
func compareIntervals(a, b interval) int {
	if c := bytes.Compare(a.from, b.from); c != 0 {
		return c
	}
	switch {
	case a.open && b.open:
		return 0
	case a.open:
		return 1
	case b.open:
		return -1
	}
	return bytes.Compare(a.to, b.to)
}

func (x *watchIndex) find(iv interval) *intervalNode {
	for n := x.root; n != nil; {
		switch c := compareIntervals(iv, n.iv); {
		case c == 0:
			return n
		case c < 0:
			n = n.left
		default:
			n = n.right
		}
	}
	return nil
}

// update recomputes a node's furthest end.
func (n *intervalNode) update() *intervalNode {
	n.max, n.maxOpen = n.iv.to, n.iv.open
	for _, c := range [2]*intervalNode{n.left, n.right} {
		if c == nil {
			continue
		}
		n.maxOpen = n.maxOpen || c.maxOpen
		if bytes.Compare(c.max, n.max) > 0 {
			n.max = c.max
		}
	}
	return n
}

// split divides a tree into the intervals below iv and those above it.
func split(n *intervalNode, iv interval) (low, high *intervalNode) {
	if n == nil {
		return nil, nil
	}
	if compareIntervals(n.iv, iv) < 0 {
		n.right, high = split(n.right, iv)
		return n.update(), high
	}
	low, n.left = split(n.left, iv)
	return low, n.update()
}

// join puts two trees together, all of low below all of high.
func join(low, high *intervalNode) *intervalNode {
	switch {
	case low == nil:
		return high
	case high == nil:
		return low
	case low.priority > high.priority:
		low.right = join(low.right, high)
		return low.update()
	default:
		high.left = join(low, high.left)
		return high.update()
	}
}

// without is the tree without the node of an interval.
func without(n *intervalNode, iv interval) *intervalNode {
	switch c := compareIntervals(iv, n.iv); {
	case c == 0:
		return join(n.left, n.right)
	case c < 0:
		n.left = without(n.left, iv)
	default:
		n.right = without(n.right, iv)
	}
	return n.update()
}

// watchQueue is a queue of watches, first in, first out.
type watchQueue struct {
	items []*watch
	head  int
}

func (q *watchQueue) push(w *watch) { q.items = append(q.items, w) }

func (q *watchQueue) pop() *watch {
	if q.head == len(q.items) {
		return nil
	}
	w := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	if q.head*2 > len(q.items) {
		q.items = slices.Delete(q.items, 0, q.head)
		q.head = 0
	}
	return w
}
