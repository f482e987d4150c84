package sim

import "time"

// event is something that is due. A canceled one has no f.
type event struct {
	at  time.Duration
	seq uint64
	p   *proc
	f   func()
}

// eventHeap is a heap by time, then by the order of scheduling.
type eventHeap []*event

func before(a, b *event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (h *eventHeap) push(e *event) {
	s := append(*h, e)
	i := len(s) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !before(s[i], s[up]) {
			break
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
	*h = s
}

func (h *eventHeap) pop() *event {
	s := *h
	e, last := s[0], len(s)-1
	s[0] = s[last]
	s[last] = nil
	s = s[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			break
		}
		if down+1 < last && before(s[down+1], s[down]) {
			down++
		}
		if !before(s[down], s[i]) {
			break
		}
		s[i], s[down] = s[down], s[i]
		i = down
	}
	*h = s
	return e
}
