package node

import (
	"context"
	"errors"
	"time"

	"chainfire"
	"chainfire/internal/sched"
)

// revisionsEvery is how often a history that is bounded by revisions is compacted, and
// periodPart how many times within a period, or an hour of it, one that is bounded by
// time: as in etcd, which compacts less often by time.
const (
	revisionsEvery = 5 * time.Minute
	periodPart     = 10
)

// compactor decides up to where the history is compacted. It belongs to one goroutine.
type compactor struct {
	period    time.Duration
	revisions int64
	// marks are the revisions of moments within the period, the oldest first, and the
	// last one before it.
	marks []mark
}

type mark struct {
	at  time.Duration
	rev int64
}

// every is how often it is to look.
func (c *compactor) every() time.Duration {
	if c.period > 0 {
		return min(c.period, time.Hour) / periodPart
	}
	return revisionsEvery
}

// look takes in the current revision of a moment, and returns up to where the history
// may go; 0 is nowhere.
func (c *compactor) look(now time.Duration, rev int64) int64 {
	if c.period <= 0 {
		return max(0, rev-c.revisions)
	}
	c.marks = append(c.marks, mark{now, rev})
	old := 0
	for old+1 < len(c.marks) && c.marks[old+1].at <= now-c.period {
		old++
	}
	c.marks = c.marks[old:]
	if c.marks[0].at > now-c.period {
		return 0
	}
	return c.marks[0].rev
}

// autoCompact runs until the node stops. Every member remembers when there were which
// revisions, so that one that begins to lead goes on where the last one was.
func (n *Node) autoCompact() {
	c := &compactor{period: n.opts.CompactPeriod, revisions: n.opts.CompactRevisions}
	every := c.every()
	if n.opts.Bounds.CompactEvery > 0 {
		every = n.opts.Bounds.CompactEvery
	}
	ticks, stop := sched.Tick(n.sched, every)
	defer stop()
	start := n.sched.Now()
	for n.sched.Wait(n.stop, ticks) == 1 {
		rev := c.look(n.sched.Now().Sub(start), n.machine.Revision())
		if rev <= max(0, n.machine.CompactRevision()) || n.leadingTerm() == 0 {
			continue
		}
		_, err := n.Compact(context.Background(), &chainfire.CompactRequest{Revision: rev})
		switch {
		case err == nil:
			n.log.Info("history compacted", "revision", rev)
		case errors.Is(err, chainfire.ErrCompacted), errors.Is(err, chainfire.ErrStopped):
		default:
			n.log.Warn("history was not compacted; it is tried again", "revision", rev, "err", err)
		}
	}
}
