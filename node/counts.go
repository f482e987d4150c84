package node

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"chainfire"
	"chainfire/internal/timing"
	"chainfire/machine"
	"chainfire/mvcc"
)

// counts is what the member counts beside what others of its parts do.
type counts struct {
	failed                         atomic.Uint64
	syncs, flushes, read, readFail timing.Histogram

	slowApplies, late, slowReads, failedReads atomic.Uint64
	// slowLines and lateLines bound what is logged of those two.
	slowLines, lateLines *rate.Limiter
	slowLeftOut          uint64 // the applier's own

	restoring                   atomic.Bool
	puts, deletes, ranges, txns atomic.Uint64

	compactions    timing.Histogram
	dropped        atomic.Uint64
	lastCompaction atomic.Int64

	promoted  atomic.Uint64
	mu        sync.Mutex
	unpromote map[string]uint64
}

// newCounts has etcd's bounds.
func newCounts() *counts {
	disk := timing.Bounds{First: time.Millisecond, Number: 14}
	memory := timing.Bounds{First: 100 * time.Microsecond, Number: 20}
	return &counts{
		syncs: timing.Histogram{Bounds: disk}, flushes: timing.Histogram{Bounds: disk},
		read: timing.Histogram{Bounds: memory}, readFail: timing.Histogram{Bounds: memory},
		compactions: timing.Histogram{Bounds: timing.Bounds{First: 100 * time.Millisecond, Number: 14}},
		slowLines:   rate.NewLimiter(slowLines, slowBurst), lateLines: rate.NewLimiter(rate.Every(lateInterval), 1),
		unpromote: map[string]uint64{},
	}
}

// compacted takes what a pass of the store's compactor did.
func (c *counts) compacted(p mvcc.Compaction) {
	c.compactions.Observe(p.Took)
	c.dropped.Add(p.Dropped)
	c.lastCompaction.Store(time.Now().Unix())
}

// ops counts the operations of a transaction, and the transaction if it has several.
func (c *counts) ops(t *chainfire.TxnResponse) {
	if c.opsOf(t) > 1 {
		c.txns.Add(1)
	}
}

func (c *counts) opsOf(t *chainfire.TxnResponse) (n int) {
	for i := range t.Responses {
		switch r := &t.Responses[i]; {
		case r.Txn != nil:
			n += c.opsOf(r.Txn)
			continue
		case r.Put != nil:
			c.puts.Add(1)
		case r.Delete != nil:
			c.deletes.Add(1)
		case r.Range != nil:
			c.ranges.Add(1)
		}
		n++
	}
	return n
}

// applied counts the operations of a round.
func (c *counts) applied(results []machine.Result) {
	for i := range results {
		switch r := &results[i]; {
		case r.Put != nil:
			c.puts.Add(1)
		case r.Delete != nil:
			c.deletes.Add(1)
		case r.Txn != nil:
			c.ops(r.Txn)
		}
	}
}

// ranged counts a range of this member's own.
func (c *counts) ranged(took time.Duration, err error) {
	c.ranges.Add(1)
	if err != nil {
		c.readFail.Observe(took)
		return
	}
	c.read.Observe(took)
}

// promotion counts what came of a call that promotes a learner.
func (c *counts) promotion(err error) {
	if err == nil {
		c.promoted.Add(1)
		return
	}
	reason := "another"
	for _, known := range []error{chainfire.ErrLearnerNotReady, chainfire.ErrMemberNotLearner, chainfire.ErrMemberNotFound} {
		if errors.Is(err, known) {
			reason = known.Error()
		}
	}
	c.mu.Lock()
	c.unpromote[reason]++
	c.mu.Unlock()
}

func histogram(h *timing.Histogram) (out chainfire.Histogram) {
	out.Counts, out.Count, out.Sum = h.Sums()
	return out
}

// Counts implements chainfire.Maintenance.
func (n *Node) Counts() chainfire.Counts {
	c := n.counts
	out := chainfire.Counts{
		ProposalsPending: n.waiters.len(), ProposalsFailed: c.failed.Load(),
		LogSyncs: histogram(&c.syncs), StoreFlushes: histogram(&c.flushes),
		SlowApplies: c.slowApplies.Load(), HeartbeatsLate: c.late.Load(),
		SlowReadIndexes: c.slowReads.Load(), FailedReadIndexes: c.failedReads.Load(), Restoring: c.restoring.Load(),
		Store: chainfire.StoreCounts{
			Puts: c.puts.Load(), Deletes: c.deletes.Load(), Ranges: c.ranges.Load(), Txns: c.txns.Load(),
			Read: histogram(&c.read), ReadFailed: histogram(&c.readFail),
			CompactRevision: n.machine.CompactRevision(), Compactions: histogram(&c.compactions),
			Dropped: c.dropped.Load(), LastCompaction: c.lastCompaction.Load(),
		},
		Promoted: c.promoted.Load(), Bodies: n.bodyCounts(),
	}
	out.Store.WatchStreams, out.Store.Watches = n.machine.Watches()
	c.mu.Lock()
	out.PromotionsFailed = maps.Clone(c.unpromote)
	c.mu.Unlock()
	out.Peers = n.peerCounts()
	n.lessors.mu.Lock()
	defer n.lessors.mu.Unlock()
	out.Leases = n.lessors.counts
	return out
}

func (n *Node) peerCounts() []chainfire.PeerCounts {
	var out []chainfire.PeerCounts
	for _, p := range n.streams.Peers() {
		c := chainfire.PeerCounts{
			ID: p.ID, Connected: p.Connected, Disconnects: p.Disconnects, SentBytes: p.SentBytes, ReceivedBytes: p.TotalReceivedBytes,
			SendFailures: p.DroppedMessages, ReceiveFailures: p.ReceiveFailures,
		}
		if p.RTTs != nil {
			c.RoundTrips = histogram(p.RTTs)
		}
		out = append(out, c)
	}
	return out
}
