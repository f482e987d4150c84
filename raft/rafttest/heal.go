package rafttest

import (
	"chainfire/raft/confchange"
)

// healTicks is how long a healed cluster may take to make progress, in election
// timeouts.
const healTicks = 60

// calmTicks is how long the healed cluster is then watched, in election
// timeouts.
const calmTicks = 5

// heal ends all faults, but for up to a minority of the voters, who stay down for
// good in some runs, and those whose disk was wiped, whom others replace. It
// demands, in bounded time: a leader, a new write applied by every member of the
// configuration that can take part, no joint configuration, an answer to every
// read, every acknowledged write in its place; and from then on no further
// election.
func (s *Schedule) heal() {
	s.net.cut, s.outboxes = nil, false
	for s.release() {
	}
	s.doom()
	s.plan.drift = false // also of members that come now
	s.note(Event{Kind: EventHeal})
	for _, m := range s.list {
		m.rate = nominal
		if !m.retired && !m.doomed {
			m.paused = false
			s.Start(m.id)
		}
	}
	s.lazy = s.coin()
	write, written := proposal{}, false
	for range s.patience() {
		s.Settle()
		switch lead := s.members[s.Leader()]; {
		case s.err != nil:
			return
		case lead != nil && s.repair(lead):
		case written && s.arrived(write):
			s.checkAcknowledged()
			s.watch()
			return
		case lead != nil && (!written || s.lost(write)):
			write, written = s.propose(lead)
		}
		s.pass()
	}
	s.breaks(progresses, "no progress after healing")
}

// doom chooses who stays down for good.
func (s *Schedule) doom() {
	if !s.plan.doom {
		return
	}
	for _, m := range s.list {
		if m.up() && m.fresh {
			s.Ready(m.id)
		}
	}
	conf, _ := s.check.conf()
	for _, id := range conf.IDs() {
		if m := s.members[id]; m.able() && s.coin() && s.canSpare(m) {
			s.note(Event{Kind: EventDoom, Member: id})
			if m.up() {
				s.crash(m)
			}
			m.doomed = true
		}
	}
}

// repair is the operator who takes out members whose disk was wiped, and puts new
// ones in the place of those that voted. It reports whether it did anything.
func (s *Schedule) repair(lead *member) bool {
	st := s.status(lead)
	if st.ConfPending || st.Conf.Joint() {
		return false
	}
	conf := st.Conf.Clone()
	for _, id := range conf.IDs() {
		if !s.members[id].refusedByPeers {
			continue
		}
		change := confchange.Change{Steps: []confchange.Step{{Kind: confchange.Remove, ID: id}}}
		if conf.IsVoter(id) {
			change.Steps = append(change.Steps, confchange.Step{Kind: confchange.AddVoter, ID: s.nextID})
		}
		return s.proposeChange(lead, &conf, change)
	}
	return false
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
	for _, m := range c.list {
		last = max(last, m.view.LastIndex())
	}
	return int(last)
}

// pass lets one tick pass for everyone.
func (s *Schedule) pass() {
	s.passUnevenly()
	s.switchOff()
	if s.ticks++; s.ticks%lazyTicks == 0 {
		s.sync()
	}
}

// watch demands that a healed cluster keeps its leader, in some runs also when
// one of the others does not hear it any more.
func (s *Schedule) watch() {
	lead := s.Leader()
	term := s.members[lead].core.Term()
	s.deafen(lead)
	for range calmTicks * s.cfg.ElectionTicks {
		s.pass()
		s.Settle()
		if s.err != nil {
			return
		}
		if now := s.Leader(); now != lead || s.members[lead].core.Term() != term {
			s.breaks(stableLeader, "leader %d of term %d gave way without a fault", lead, term)
			return
		}
	}
}

// deafen makes one member no longer hear the leader, whom the others can do
// without. It asks them for votes, and nobody who hears the leader may listen.
func (s *Schedule) deafen(lead uint64) {
	deaf := s.some((*member).runs)
	if s.coin() || deaf == nil || deaf.id == lead {
		return
	}
	conf := s.members[lead].seen.conf
	if majorities(&conf, func(id uint64) bool { return id != deaf.id && s.members[id].runs() && s.members[id].able() }) {
		s.Cut(lead, deaf.id, true)
	}
}

// lost reports whether a write can no longer be committed.
func (s *Schedule) lost(p proposal) bool {
	if p.index <= uint64(len(s.check.ledger)) {
		return s.check.ledger[p.index-1].entry.Term != p.term
	}
	lead := s.members[s.Leader()]
	return lead != nil && !lead.view.holds(p.index, p.term)
}

// arrived reports whether a write and all that healing asks for are there.
func (s *Schedule) arrived(p proposal) bool {
	lead := s.members[s.Leader()]
	if lead == nil || p.index > uint64(len(s.check.ledger)) || s.check.ledger[p.index-1].entry.Term != p.term {
		return false
	}
	conf := lead.core.Status().Conf
	if conf.Joint() || !conf.IsVoter(lead.id) || len(s.check.reads) > 0 {
		return false
	}
	for _, id := range conf.IDs() {
		m := s.members[id]
		if m.doomed {
			continue
		}
		if m.refusedByPeers || m.machine.Index < p.index || !m.core.Status().Conf.Equal(conf) {
			return false
		}
	}
	return true
}

// switchOff stops for good the members that the last membership change took
// out, as soon as an operator may: when a majority of those who vote now has
// applied it.
func (s *Schedule) switchOff() {
	if !s.plan.retire || len(s.check.removed) == 0 {
		return
	}
	conf, index := s.check.conf()
	knows := 0
	for _, id := range conf.Voters {
		if s.members[id].machine.Index >= index && s.members[id].up() {
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
		for _, m := range c.list {
			if m.runs() {
				busy = c.work(m) || busy
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
	c.breaks(progresses, "messages go on without end")
}

// work does all that a member's host has to do, and reports whether there was
// anything.
func (c *Cluster) work(m *member) (busy bool) {
	// Without an input a core has nothing new to put out.
	busy = m.fresh && c.Ready(m.id)
	if n := len(m.outbox); n > 0 {
		c.Send(m.id, n)
		busy = true
	}
	if n := len(m.disk.queue); n > 0 && !c.lazy {
		busy = c.Persist(m.id, n) > 0 || busy
	}
	if m.written > 0 {
		c.Report(m.id)
		busy = true
	}
	if n := len(m.applying); n > 0 {
		busy = c.Apply(m.id, n) > 0 || busy
	}
	if m.applied > 0 {
		c.Settled(m.id)
		busy = true
	}
	return busy
}

// sync makes every queued write durable.
func (c *Cluster) sync() {
	for _, m := range c.list {
		if m.runs() {
			c.Persist(m.id, len(m.disk.queue))
		}
	}
}
