// Package timing counts how often something took how long.
package timing

import (
	"sync"
	"time"
)

// Bounds are the upper bounds of a histogram: the first, and each twice the one before.
type Bounds struct {
	First time.Duration
	// Number is how many there are, at most MaxBounds.
	Number int
}

// MaxBounds is the most bounds that a histogram has.
const MaxBounds = 20

// Histogram counts. Its zero value with bounds is ready for use, by any goroutine.
type Histogram struct {
	Bounds Bounds

	mu sync.Mutex
	// counts are, by the lowest of the bounds that is not exceeded, the last being none.
	counts [MaxBounds + 1]uint64
	sum    time.Duration
}

// Observe counts one time.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < h.Bounds.Number && d > h.Bounds.First<<i {
		i++
	}
	h.mu.Lock()
	h.counts[i]++
	h.sum += d
	h.mu.Unlock()
}

// Sums is what was counted until now: by each bound in seconds how often it took at most
// that, how often in all, and how long in all, in seconds.
func (h *Histogram) Sums() (within map[float64]uint64, count uint64, sum float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	within = make(map[float64]uint64, h.Bounds.Number)
	for i, n := range h.counts[:h.Bounds.Number+1] {
		count += n
		if i < h.Bounds.Number {
			within[h.Bounds.First.Seconds()*float64(uint64(1)<<i)] = count
		}
	}
	return within, count, h.sum.Seconds()
}
