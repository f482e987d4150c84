package rafttest

import "chainfire/raft"

// stepFault makes something go wrong at one member.
func (s *Schedule) stepFault(a action, m *member) bool {
	switch a {
	case actCrash:
		s.crash(s.victim(m))
	case actPause:
		m.paused = true
		s.note(Event{Kind: EventPause, Member: m.id})
	case actClock:
		s.drift(m)
	case actWipe:
		return s.wipe(m)
	case actUnreachable:
		s.Unreachable(m.id, s.anyone())
	case actLeaderGone:
		s.LeaderGone(m.id, m.core.Leader())
	}
	return true
}

// victim is who crashes: this one, or one that is in the middle of something.
func (s *Schedule) victim(m *member) *member {
	if s.coin() {
		return m
	}
	if s.plan.half {
		if v := s.some(func(m *member) bool { return m.up() && len(m.disk.queue) > 0 && m.disk.queue[0].Snapshot != nil }); v != nil {
			return v
		}
	}
	busy := func(m *member) bool { return m.up() && len(m.disk.queue)+len(m.outbox)+len(m.applying) > 0 }
	if v := s.some(busy); v != nil {
		return v
	}
	return m
}

// crash stops a member at any point of its work: any part of what is queued is
// durable, whatever was sent, applied or reported of it.
func (s *Schedule) crash(m *member) {
	n := len(m.disk.queue)
	if s.plan.torn && n > 0 && s.coin() {
		s.CrashTorn(m.id, s.rand.IntN(5))
		return
	}
	half := s.plan.half && s.coin()
	if half && n > 0 && m.disk.queue[0].Snapshot != nil {
		n = 0 // of that one only the snapshot
	}
	s.Crash(m.id, s.rand.IntN(n+1), half)
}

// powerCut stops all members at once.
func (s *Schedule) powerCut() bool {
	some := false
	for _, m := range s.list {
		if m.up() {
			s.crash(m)
			some = true
		}
	}
	return some
}

// drift gives a member's clock another rate.
func (s *Schedule) drift(m *member) {
	if !s.plan.drift {
		return
	}
	m.rate = s.pick(2, 3, 4, 4, 5, 8)
	s.note(Event{Kind: EventClock, Member: m.id, N: uint64(m.rate)})
}

// passUnevenly lets one tick pass for everyone who runs, by the clock of each.
func (s *Schedule) passUnevenly() {
	s.rounds++
	for _, m := range s.list {
		if !m.runs() {
			continue
		}
		for m.phase += m.rate; m.phase >= nominal && m.runs(); m.phase -= nominal {
			s.Tick(m.id)
		}
	}
}

// wipe takes a member's disk away, if the others can do without it. It comes
// back under its old id, and they refuse it: they know it by its disk. From then
// on it is as good as down, until it is removed and another takes its place.
func (s *Schedule) wipe(m *member) bool {
	if !s.canSpare(m) {
		return false
	}
	if m.up() {
		s.crash(m)
	}
	s.Wipe(m.id)
	s.Refuse(m.id)
	return true
}

// canSpare reports whether a majority is left in every configuration that there
// may be if a member never takes part again.
func (s *Schedule) canSpare(m *member) bool {
	for _, l := range s.list {
		// It may have begun a change that is nowhere yet, as a leader or before it
		// stepped down.
		if l.up() && (l.fresh && l.core.Role() == raft.Leader || s.status(l).Last > l.view.LastIndex()) {
			return false
		}
	}
	m.doomed = true
	ok := s.viableEverywhere()
	m.doomed = false
	return ok
}

// viable reports whether a configuration has its majorities of members that can
// take part.
func (c *Cluster) viable(conf *raft.ConfState) bool {
	return majorities(conf, func(id uint64) bool { m := c.members[id]; return m == nil || m.able() })
}

// viableEverywhere is viable of the configuration that is committed, of those
// before it back to the last one that a voter knows to be committed, crash or not,
// and of all that changes in logs and messages may lead to.
func (c *Cluster) viableEverywhere() bool {
	conf, _ := c.check.conf()
	var known uint64
	for _, id := range conf.Voters {
		if m := c.members[id]; m != nil && m.able() {
			known = max(known, m.disk.durable.hard.Commit, m.disk.durable.machine.Index)
		}
	}
	for i := len(c.check.confs) - 1; i >= 0; i-- {
		if !c.viable(&c.check.confs[i].conf) {
			return false
		}
		if c.check.confs[i].index <= known {
			break
		}
	}
	for _, m := range c.list {
		// What replaces entries may not be durable when the member crashes.
		if !c.holdsViable(conf, &m.view) || !c.holdsViable(conf, &m.disk.durable.log) {
			return false
		}
	}
	for i := range c.net.flying {
		if !c.carriesViable(conf, c.net.at(i)) {
			return false
		}
	}
	for i := range c.net.stash {
		if !c.carriesViable(conf, &c.net.stash[i]) {
			return false
		}
	}
	return true
}

// holdsViable reports whether every change in a log leads from the committed
// configuration to a viable one.
func (c *Cluster) holdsViable(conf *raft.ConfState, log *memLog) bool {
	state := machine{Index: uint64(len(c.check.ledger)), Conf: *conf}
	for i := range log.entries {
		if e := &log.entries[i]; e.Index > state.Index && !c.leadsToViable(&state, e) {
			return false
		}
	}
	return true
}

// carriesViable reports whether every change in a message leads from the
// committed configuration to a viable one.
func (c *Cluster) carriesViable(conf *raft.ConfState, msg *raft.Message) bool {
	for i := range msg.Entries {
		e := &msg.Entries[i]
		state := machine{Conf: *conf}
		if e.Index > uint64(len(c.check.ledger)) && !c.leadsToViable(&state, e) {
			return false
		}
	}
	return true
}

// leadsToViable applies one more entry and reports whether the configuration is
// viable then.
func (c *Cluster) leadsToViable(state *machine, e *raft.Entry) bool {
	state.Index = e.Index - 1
	if _, err := state.apply(e); err != nil {
		return false
	}
	return e.Type != raft.EntryConf || c.viable(&state.Conf)
}

// cut takes away one way, or isolates a member.
func (s *Schedule) cut() {
	one, other := s.anyone(), s.anyone()
	if s.coin() {
		s.Cut(one, other, true)
		return
	}
	for _, id := range s.order {
		s.Cut(one, id, true)
		s.Cut(id, one, true)
	}
}

// mend restores the ways to and from one member, or all of them.
func (s *Schedule) mend() bool {
	if len(s.net.cut) == 0 {
		return false
	}
	id := s.anyone()
	all := s.rand.IntN(3) == 0
	for _, from := range s.order {
		for _, to := range s.order {
			if s.net.cut[[2]uint64{from, to}] && (all || from == id || to == id) {
				s.Cut(from, to, false)
			}
		}
	}
	return true
}

// stepNetwork delivers, drops or doubles a message: any one, or the oldest on
// its way where there is no overtaking.
func (s *Schedule) stepNetwork(a action) bool {
	n := len(s.net.flying)
	if n == 0 {
		return false
	}
	i := s.rand.IntN(n)
	if !s.plan.reorder {
		at := s.net.at(i)
		from, to := at.From, at.To
		for i = 0; s.net.at(i).From != from || s.net.at(i).To != to; i++ {
		}
	}
	switch {
	case a == actDrop || n > maxFlying:
		s.drop(i)
	case a == actDouble:
		s.note(Event{Kind: EventDouble, Message: s.net.at(i)})
		s.net.put(s.net.at(i))
	default:
		if m := s.members[s.net.at(i).To]; m != nil && m.paused {
			return false
		}
		s.Deliver(s.Take(i))
	}
	return true
}

func (s *Schedule) drop(i int) {
	s.note(Event{Kind: EventDrop, Message: s.net.at(i)})
	s.net.take(i)
}

// failSnapshot makes a snapshot that is under way fail.
func (s *Schedule) failSnapshot() bool {
	for i := range s.net.flying {
		if s.net.at(i).Type == raft.MsgSnapshot {
			s.drop(i)
			return true
		}
	}
	return false
}

// maxStash bounds the messages held back.
const maxStash = 40

// hold takes a message out of the flow, so that it arrives when everyone has
// forgotten it: any one, or half the time an acknowledgement, which then speaks
// of another leadership.
func (s *Schedule) hold() bool {
	n := len(s.net.flying)
	if n == 0 || len(s.net.stash) == maxStash {
		return false
	}
	i := s.rand.IntN(n)
	if s.coin() {
		for k := range n {
			if m := s.net.at((i + k) % n); m.Type == raft.MsgAppendResp && !m.Reject {
				i = (i + k) % n
				break
			}
		}
	}
	s.note(Event{Kind: EventHold, Message: s.net.at(i)})
	s.net.stash = append(s.net.stash, s.net.take(i))
	return true
}

// release lets a message go that was held back.
func (s *Schedule) release() bool {
	n := len(s.net.stash)
	if n == 0 {
		return false
	}
	i := s.rand.IntN(n)
	msg := &s.net.stash[i]
	s.note(Event{Kind: EventRelease, Message: msg})
	s.net.put(msg)
	s.net.stash[i] = s.net.stash[n-1]
	s.net.stash = s.net.stash[:n-1]
	return true
}
