package raft

import "chainfire/raft/progress"

// check verifies, in checked cores, what must hold after every input. A
// violation stops the core; it names the rule.
func (c *Core) check() {
	if !c.cfg.Checked || c.err != nil {
		return
	}
	l := &c.log
	switch {
	case l.applied > l.applying:
		c.fail("invariant: applied %d > applying %d", l.applied, l.applying)
	case l.snap == nil && l.applying > l.committed:
		c.fail("invariant: applying %d > committed %d", l.applying, l.committed)
	case l.committed > l.last():
		c.fail("invariant: committed %d > last %d", l.committed, l.last())
	case l.stable > l.last():
		c.fail("invariant: stable %d > last %d", l.stable, l.last())
	case l.handed > l.last():
		c.fail("invariant: handed %d > last %d", l.handed, l.last())
	case c.term < c.handed.Term:
		c.fail("invariant: term %d < persisted term %d", c.term, c.handed.Term)
	}
	if term, err := l.term(l.last()); err != nil || term > c.term {
		c.fail("invariant: term %d < term %d of the last entry (%v)", c.term, term, err)
	}
	if len(l.unstable) > 0 {
		if err := contiguous(l.unstable, l.offset); err != nil {
			c.fail("invariant: unstable: %w", err)
		}
	}
	if err := c.conf.Validate(); err != nil {
		c.fail("invariant: configuration: %w", err)
	}
	if c.role == Leader {
		c.checkLeader()
	}
}

func (c *Core) checkLeader() {
	if c.lead != c.id {
		c.fail("invariant: leader %d follows %d", c.id, c.lead)
	}
	if !c.conf.IsVoter(c.id) && !c.leader.leaving {
		c.fail("invariant: leader %d is no voter of %v", c.id, c.conf)
	}
	if len(c.leader.peers) != len(c.leader.progress) {
		c.fail("invariant: %d peers with %d progresses", len(c.leader.peers), len(c.leader.progress))
	}
	for _, id := range c.leader.peers {
		p := c.leader.progress[id]
		switch {
		case p == nil || !c.conf.Contains(id):
			c.fail("invariant: progress of %d does not fit %v", id, c.conf)
		case p.Match >= p.Next:
			c.fail("invariant: %d: match %d >= next %d", id, p.Match, p.Next)
		case p.Match > c.log.last():
			c.fail("invariant: %d: match %d > last %d", id, p.Match, c.log.last())
		case p.Next > c.log.last()+1:
			c.fail("invariant: %d: next %d > last %d + 1", id, p.Next, c.log.last())
		case p.State == progress.Quarantined && p.Match != 0:
			c.fail("invariant: %d is quarantined with match %d", id, p.Match)
		}
	}
}
