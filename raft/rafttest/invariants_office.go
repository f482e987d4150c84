package rafttest

import "chainfire/raft"

// checkOffice: when a tick has passed, a leader that may not go on is none any
// more.
func (c *Cluster) checkOffice(m *member, s *raft.Status) {
	l := &m.seen.lead
	if s.Role != raft.Leader || s.Term != l.term {
		return
	}
	c.checkHeard(m, s)
	c.checkStall(m)
}

// checkHeard: a leader that hears from no majority of its voters for longer than
// two rounds of its check, each an election timeout, gives up (thesis §6.2).
func (c *Cluster) checkHeard(m *member, s *raft.Status) {
	l := &m.seen.lead
	limit := 2 * c.electionTicks()
	if m.ticks-l.since <= limit {
		return
	}
	if !m.ours() {
		return // the reference counts more as a sign of life than what is checked here
	}
	heard := func(id uint64) bool {
		if id == m.id {
			return true
		}
		for i := range l.heard {
			if l.heard[i].id == id {
				return m.ticks-l.heard[i].tick <= limit
			}
		}
		return false
	}
	if !majorities(&s.Conf, heard) {
		c.breaks(hearsQuorum, "%d leads term %d and has heard from no majority of %v for %d ticks", m.id, s.Term, s.Conf, limit)
	}
}

// heard notes that a leader hears from a member in its term.
func (m *member) heard(msg *raft.Message) {
	l := &m.seen.lead
	if msg.Term != l.term || m.seen.role != raft.Leader {
		return
	}
	for i := range l.heard {
		if l.heard[i].id == msg.From {
			l.heard[i].tick = m.ticks
			return
		}
	}
	l.heard = append(l.heard, sign{msg.From, m.ticks})
}

// checkStall: a leader gives up when its own disk completes no write for
// DiskStallTicks (raft.Config). The reference does not when it decides alone
// (package etcdraft).
func (c *Cluster) checkStall(m *member) {
	limit := c.cfg.DiskStallTicks
	if limit == 0 {
		limit = 8 * c.electionTicks()
	}
	if !m.ours() && m.core.SoleVoter() {
		return // package etcdraft says so of the reference
	}
	if m.stall > limit {
		c.breaks(diskStall, "%d leads term %d, and its disk completed no write for %d ticks", m.id, m.seen.lead.term, m.stall)
	}
}

// writing reports whether the core waits for its disk.
func (m *member) writing() bool { return len(m.disk.queue) > 0 || m.written > 0 }

// checkTakeOver: a leader asks only a voter that has its whole log to take over
// (thesis §3.10).
func (c *Cluster) checkTakeOver(m *member, msg *raft.Message) {
	term, err := m.view.Term(m.view.LastIndex())
	p := c.members[msg.To]
	if err != nil || p == nil || c.check.wiped[msg.To] || p.disk.durable.hard.Term > msg.Term {
		return
	}
	if !p.holds(m.view.LastIndex(), term) {
		c.breaks(takeOver, "%d asks %d to take over, which does not hold entry %d/%d", m.id, msg.To, m.view.LastIndex(), term)
	}
}

func (c *Cluster) electionTicks() int {
	if c.cfg.ElectionTicks == 0 {
		return 10
	}
	return c.cfg.ElectionTicks
}
