package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestEveryValueIsInTheBucketThatEndsAtOrAboveIt(t *testing.T) {
	for shift := range 63 {
		for _, v := range []uint64{1<<shift - 1, 1 << shift, 1<<shift + 1} {
			b := bucketOf(v)
			if b >= bucketCount {
				t.Fatalf("value %d is in bucket %d of %d", v, b, bucketCount)
			}
			end := bucketEnd(b)
			if end < v || float64(end-v) > float64(v)/subBuckets {
				t.Errorf("value %d is in a bucket that ends at %d", v, end)
			}
			if b > 0 && bucketEnd(b-1) >= v {
				t.Errorf("value %d would fit into the bucket before, which ends at %d", v, bucketEnd(b-1))
			}
		}
	}
}

func TestQuantilesAreWithinABucketOfTheExactOnes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var parts [3]histogram
	values := make([]time.Duration, 10_001)
	for i := range values {
		values[i] = time.Duration(rng.ExpFloat64() * float64(time.Millisecond))
		parts[i%3].add(values[i])
	}
	var h histogram
	for i := range parts {
		h.merge(&parts[i])
	}
	slices.Sort(values)
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
		exact := values[int(q*float64(len(values)-1))]
		got := h.quantile(q)
		if got < exact || float64(got-exact) > float64(exact)/16 {
			t.Errorf("quantile %v is %v, exactly it is %v", q, got, exact)
		}
	}
	if h.max != values[len(values)-1] || h.quantile(1) != h.max {
		t.Errorf("max is %v and the last quantile %v, want %v", h.max, h.quantile(1), values[len(values)-1])
	}
}

func TestEmptyHistogramAnswersZero(t *testing.T) {
	var h histogram
	if got := h.quantile(0.99); got != 0 {
		t.Errorf("quantile of nothing is %v", got)
	}
}

func TestSummaryTakesTheMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   sample
	}{
		{nil, sample{}},
		{[]float64{3}, sample{3, 3, 3}},
		{[]float64{9, 1, 2}, sample{2, 1, 9}},
		{[]float64{4, 1, 2, 10}, sample{3, 1, 10}},
	} {
		if got := summarize(c.values); got != c.want {
			t.Errorf("summary of %v is %v, want %v", c.values, got, c.want)
		}
	}
	if got := (sample{Median: 50, Min: 40, Max: 60}).spread(); got != 0.4 {
		t.Errorf("spread is %v, want 0.4", got)
	}
	if got := (sample{}).spread(); got != 0 {
		t.Errorf("spread of nothing is %v", got)
	}
}
