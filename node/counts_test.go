package node

import (
	"testing"
	"time"
)

func TestSyncsAreCountedByTheirBounds(t *testing.T) {
	var c counts
	for _, d := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, 100 * time.Millisecond, time.Hour} {
		c.synced(d)
	}
	c.proposalFailed()
	h, failed := c.histogram()
	for bound, want := range map[float64]uint64{0.001: 2, 0.002: 3, 0.064: 3, 0.128: 4, 8.192: 4} {
		if h.Counts[bound] != want {
			t.Errorf("%d took at most %v s, want %d", h.Counts[bound], bound, want)
		}
	}
	if h.Count != 5 || len(h.Counts) != 14 || h.Sum < 3600 || failed != 1 {
		t.Errorf("%+v, %d failed", h, failed)
	}
}
