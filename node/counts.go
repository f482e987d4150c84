package node

import (
	"sync"
	"time"

	"chainfire"
)

// syncBounds are the upper bounds of the histogram of syncs: as in etcd 1 ms, 2 ms, 4 ms
// and so on.
const syncBounds = 14

// counts is what the member counts beside what others of its parts do.
type counts struct {
	mu     sync.Mutex
	failed uint64
	// syncs are, by the lowest of the bounds that is not exceeded, the last being none.
	syncs [syncBounds + 1]uint64
	sum   time.Duration
}

func (c *counts) proposalFailed() {
	c.mu.Lock()
	c.failed++
	c.mu.Unlock()
}

func (c *counts) synced(d time.Duration) {
	i := 0
	for i < syncBounds && d > time.Millisecond<<i {
		i++
	}
	c.mu.Lock()
	c.syncs[i]++
	c.sum += d
	c.mu.Unlock()
}

func (c *counts) histogram() (h chainfire.Histogram, failed uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h = chainfire.Histogram{Counts: make(map[float64]uint64, syncBounds), Sum: c.sum.Seconds()}
	for i, n := range c.syncs {
		h.Count += n
		if i < syncBounds {
			h.Counts[(time.Millisecond << i).Seconds()] = h.Count
		}
	}
	return h, c.failed
}

// Counts implements chainfire.Maintenance.
func (n *Node) Counts() chainfire.Counts {
	out := chainfire.Counts{ProposalsPending: n.waiters.len()}
	out.LogSyncs, out.ProposalsFailed = n.counts.histogram()
	n.lessors.mu.Lock()
	defer n.lessors.mu.Unlock()
	out.Leases = n.lessors.counts
	return out
}
