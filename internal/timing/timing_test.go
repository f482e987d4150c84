package timing

import (
	"math"
	"testing"
	"time"
)

func TestATimeCountsAtEveryBoundThatItIsWithin(t *testing.T) {
	h := Histogram{Bounds: Bounds{First: time.Millisecond, Number: 3}}
	for _, d := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, 4 * time.Millisecond, time.Hour} {
		h.Observe(d)
	}
	within, count, sum := h.Sums()
	if len(within) != 3 || within[0.001] != 2 || within[0.002] != 3 || within[0.004] != 4 || count != 5 {
		t.Errorf("%v of %d", within, count)
	}
	if want := (time.Hour + 6*time.Millisecond + 1).Seconds(); math.Abs(sum-want) > 1e-9 {
		t.Errorf("%v in all, want %v", sum, want)
	}
}
