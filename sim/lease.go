package sim

import (
	"context"
	"errors"
	"time"

	"chainfire"
	"chainfire/node"
)

// leaseholder keeps one lease after the other alive, through any member. It must not be
// told that a lease is gone before the time that it was promised.
type leaseholder struct {
	c  *cluster
	id int64
	// ttl is what was granted, until is when the lease may end at the earliest, by the
	// clock that is fastest.
	ttl, until time.Duration
}

func (c *cluster) startLeaseholder() {
	l := &leaseholder{c: c}
	c.w.outside.Go(func() {
		for !c.quiet {
			// Some renewals come too late.
			c.w.outside.sleep(c.w.between(100*time.Millisecond, 1500*time.Millisecond))
			if !c.quiet {
				l.once()
			}
		}
	})
}

func (l *leaseholder) once() {
	c := l.c
	asked, h := c.w.now, c.anyHost()
	err := c.at(h, c.w.between(c.patience/4, c.patience), func(ctx context.Context, n *node.Node) error {
		if l.id == 0 {
			g, err := n.LeaseGrant(ctx, &chainfire.LeaseGrantRequest{TTL: 1 + c.w.rng.Int64N(10)})
			if err == nil {
				l.id, l.ttl, l.until = g.ID, time.Duration(g.TTL)*time.Second, 0
			}
			return err
		}
		_, err := n.LeaseRenew(ctx, l.id)
		return err
	})
	switch {
	case err == nil:
		if l.until != 0 {
			c.counts.renewals++
		}
		l.until = max(l.until, asked+time.Duration(float64(l.ttl)/(1+c.w.drift)))
	case errors.Is(err, chainfire.ErrLeaseNotFound):
		if c.w.now < l.until {
			c.w.violate("lease %x is gone at %v according to %s, and was to live until %v", uint64(l.id), c.w.now, h.name, l.until)
		}
		l.id = 0
	}
	c.w.story.tell("leaseholder", "lease %x at %s, to live until %v: %v", uint64(l.id), h.name, l.until, err)
}
