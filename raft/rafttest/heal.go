package rafttest

import (
	"chainfire/raft"
)

// healTicks is how long a healed cluster may take to make progress, in election
// timeouts.
const healTicks = 60

// calmTicks is how long the healed cluster is then watched, in election
// timeouts.
const calmTicks = 5

// heal ends all faults and demands, in bounded time: a leader, a new write
// applied by every member of the configuration, no joint configuration, an
// answer to every read, every acknowledged write in its place; and from then on
// no further election.
func (s *Schedule) heal() {
	s.note(Event{Kind: EventHeal})
	s.net.cut = nil
	for _, id := range s.order {
		if m := s.members[id]; !m.retired {
			m.paused = false
			s.Start(id)
		}
	}
	s.lazy = s.rand.IntN(2) == 0
	write, written := proposal{}, false
	for range s.patience() {
		s.Settle()
		switch lead := s.members[s.Leader()]; {
		case s.err != nil:
			return
		case written && s.arrived(write):
			s.checkAcked()
			s.watch()
			return
		case lead != nil && (!written || s.lost(write)):
			write, written = s.propose(lead)
		}
		s.pass()
	}
	s.fail("no progress after healing: %s", s.Describe())
}

// patience is how many ticks healing may take.
func (s *Schedule) patience() int {
	ticks := healTicks * s.cfg.ElectionTicks
	if s.lazy {
		// The smallest window moves one entry in the time of two writes.
		ticks += 4 * lazyTicks * s.longest()
	}
	return ticks
}

// longest is the last index of the longest log.
func (c *Cluster) longest() int {
	var last uint64
	for _, m := range c.members {
		last = max(last, m.view.LastIndex())
	}
	return int(last)
}

// pass lets one tick pass for everyone.
func (s *Schedule) pass() {
	for _, id := range s.order {
		s.Tick(id)
	}
	s.switchOff()
	if s.ticks++; s.ticks%lazyTicks == 0 {
		s.sync()
	}
}

// watch demands that a healed cluster keeps its leader.
func (s *Schedule) watch() {
	lead := s.Leader()
	term := s.members[lead].core.Term()
	for range calmTicks * s.cfg.ElectionTicks {
		s.pass()
		s.Settle()
		if s.err != nil {
			return
		}
		if now := s.Leader(); now != lead || s.members[lead].core.Term() != term {
			s.fail("leader %d of term %d gave way without a fault:%s", lead, term, s.Describe())
			return
		}
	}
}

// lost reports whether a write can no longer be committed.
func (s *Schedule) lost(p proposal) bool {
	if p.index <= uint64(len(s.check.ledger)) {
		return s.check.ledger[p.index-1].Term != p.term
	}
	lead := s.members[s.Leader()]
	return lead != nil && !lead.view.holds(p.index, p.term)
}

// arrived reports whether a write and all that healing asks for are there.
func (s *Schedule) arrived(p proposal) bool {
	lead := s.members[s.Leader()]
	if lead == nil || p.index > uint64(len(s.check.ledger)) || s.check.ledger[p.index-1].Term != p.term {
		return false
	}
	conf := lead.core.Status().Conf
	if conf.Joint() || !conf.IsVoter(lead.id) || len(s.check.reads) > 0 {
		return false
	}
	for _, id := range conf.IDs() {
		m := s.members[id]
		if m.machine.Index < p.index || !m.core.Status().Conf.Equal(conf) {
			return false
		}
	}
	return true
}

// switchOff stops for good the members that the last membership change took
// out, as soon as an operator may: when a majority of those who vote now has
// applied it.
func (s *Schedule) switchOff() {
	if !s.retire || len(s.check.removed) == 0 {
		return
	}
	conf, knows := &s.check.conf, 0
	for _, id := range conf.Voters {
		if s.members[id].machine.Index >= s.check.confIndex && s.members[id].up() {
			knows++
		}
	}
	if conf.Joint() || 2*knows <= len(conf.Voters) {
		return
	}
	for _, id := range s.order {
		m := s.members[id]
		if !m.retired && s.check.removed[id] && !s.Leads(id) {
			s.note(Event{Kind: EventSwitchOff, Member: id})
			s.Crash(id, 0, false)
			m.retired = true
		}
	}
}

func (s *Schedule) checkAcked() {
	s.acknowledge()
	for index, data := range s.acked {
		if got := string(s.check.ledger[index-1].Data); got != data {
			s.fail("acknowledged write %q at %d is now %q", data, index, got)
		}
	}
}

// lazyTicks is how long a write takes in a healed cluster with slow disks.
const lazyTicks = 2

// settleRounds bounds, with a few rounds more for each entry, how long messages
// may beget messages without a tick.
const settleRounds = 2000

// Settle takes every Ready, makes everything durable and applied and delivers
// every message in order, until nothing moves.
func (c *Cluster) Settle() {
	for range settleRounds + 10*c.longest() {
		busy := false
		for _, id := range c.order {
			m := c.members[id]
			if !m.runs() {
				continue
			}
			// Without an input a core has nothing new to put out.
			busy = m.fresh && c.Ready(id) || busy
			if n := len(m.disk.queue); n > 0 && !c.lazy {
				busy = c.Persist(id, n) > 0 || busy
			}
			if n := len(m.applying); n > 0 {
				busy = c.Apply(id, n) > 0 || busy
			}
		}
		for range len(c.net.flying) {
			c.Deliver(c.Take(0))
			busy = true
		}
		if !busy || c.err != nil {
			return
		}
	}
	c.fail("messages go on without end")
}

// sync makes every queued write durable.
func (c *Cluster) sync() {
	for _, id := range c.order {
		if m := c.members[id]; m.runs() {
			c.Persist(id, len(m.disk.queue))
		}
	}
}

// Leads reports whether a member is the leader.
func (c *Cluster) Leads(id uint64) bool {
	m := c.members[id]
	return m.up() && m.core.Role() == raft.Leader
}
