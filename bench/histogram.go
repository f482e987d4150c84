package main

import (
	"math"
	"math/bits"
	"time"
)

// Buckets are linear below 2^subBits nanoseconds, and above it each power of two
// is cut into 2^subBits parts, so that a value is known to 1.6 %.
const (
	subBits     = 6
	subBuckets  = 1 << subBits
	bucketCount = (64 - subBits) * subBuckets
)

// histogram counts durations in memory that does not grow. The zero value is
// empty. It belongs to one goroutine.
type histogram struct {
	counts [bucketCount]uint64
	n      uint64
	max    time.Duration
}

func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift*subBuckets + int(v>>shift)
}

// bucketEnd is the largest value of a bucket.
func bucketEnd(b int) uint64 {
	if b < 2*subBuckets {
		return uint64(b)
	}
	shift := b/subBuckets - 1
	return uint64(b-shift*subBuckets+1)<<shift - 1
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))]++
	h.n++
	h.max = max(h.max, d)
}

func (h *histogram) merge(o *histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
	h.max = max(h.max, o.max)
}

// quantile returns a duration that the part q of all values, between 0 and 1,
// does not exceed; 0 when there are no values.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.n)))
	seen := uint64(0)
	for i, c := range h.counts {
		if seen += c; c > 0 && seen >= rank {
			return min(time.Duration(bucketEnd(i)), h.max)
		}
	}
	return h.max
}
