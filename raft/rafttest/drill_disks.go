package rafttest

import (
	"slices"

	"chainfire/raft"
	"chainfire/raft/progress"
)

// replaceDisk gives a member an empty disk.
func (s *Schedule) replaceDisk(id uint64) {
	s.Crash(id, 0, false)
	if s.err == nil {
		s.Wipe(id)
		s.Start(id)
	}
}

// drillLostDisk empties the disk of a voter and demands that the leader counts
// it for nothing from then on.
func (s *Schedule) drillLostDisk(lead uint64) {
	others := s.others(lead)
	if len(others) == 0 {
		return
	}
	id := others[0]
	late := s.acknowledgement(lead, id)
	s.replaceDisk(id)
	s.propose(s.members[lead])
	for range healTicks * s.cfg.ElectionTicks {
		s.Settle()
		if s.err != nil || s.peer(lead, id).State == progress.Quarantined {
			break
		}
		s.Tick(lead)
	}
	for _, m := range late {
		s.Deliver(m)
	}
	s.Settle()
	if s.err != nil {
		return
	}
	if p := s.peer(lead, id); p.State != progress.Quarantined || p.Match > 0 {
		s.breaks(matchTrue, "drill: %d lost its disk, and %d has it as %v with match %d", id, lead, p.State, p.Match)
	}
}

// drillOverrun leaves a leader alone with a tail of writes, durable or on their
// way to the disk, while the others go on and compact. It comes back to a
// snapshot that its log disagrees with, and may crash while it installs it.
func (s *Schedule) drillOverrun(lead uint64) {
	others := s.voters(lead, 3)
	if s.err != nil {
		return
	}
	queued := s.leaveBehind(lead, others)
	for _, id := range others {
		s.Flush(id)
		s.Compact(id, s.Applied(id))
	}
	now := s.Leader()
	if queued {
		s.await(lead, func() bool { return s.members[lead].installing() })
	} else {
		s.halfInstall(lead)
	}
	s.sync()
	if s.err == nil {
		s.catchUp(now, lead)
	}
}

// leaveBehind has a leader write ten entries that nobody else hears of, while
// the others elect another and go on. It reports whether the ten are still on
// their way to the disk.
func (s *Schedule) leaveBehind(lead uint64, others []uint64) (queued bool) {
	s.part([]uint64{lead}, s.order)
	for range 10 {
		s.propose(s.members[lead])
		s.Ready(lead)
	}
	if queued = s.rand.IntN(2) == 0; !queued {
		s.sync()
	}
	s.members[lead].paused = true
	s.mustGoOn(others)
	s.members[lead].paused = false
	s.mendAll()
	return queued
}

// drillOvertaken has a follower acknowledge an entry after the state that a
// snapshot brings it, while it does not know yet that the state is committed.
func (s *Schedule) drillOvertaken(lead uint64) {
	others := s.voters(lead, 3)
	if s.err != nil {
		return
	}
	id, other := others[0], others[1]
	first, _ := s.propose(s.members[lead])
	s.Ready(lead)
	s.deliverTo(other)
	s.propose(s.members[lead])
	s.Ready(lead)
	s.deliverTo(id)
	s.net.clear()
	s.sync()
	for _, m := range []uint64{id, other} {
		s.Ready(m)
		s.Persist(m, len(s.members[m].disk.queue))
	}
	acks := slices.DeleteFunc(s.Flying(), func(m raft.Message) bool { return m.From != id })
	s.part([]uint64{id}, s.order)
	s.await(raft.None, func() bool { return s.Applied(lead) >= first.index })
	s.Flush(lead)
	s.Compact(lead, s.Applied(lead))
	s.mendAll()
	s.Unreachable(lead, id)
	log := &s.members[id].disk.durable.log
	s.until(raft.None, func() bool { return log.base >= first.index })
	for _, m := range acks {
		s.Deliver(m)
	}
	if s.err == nil {
		s.catchUp(lead, id)
	}
}

// drillLostAnswer loses the answer of a learner that has installed a snapshot,
// and demands that the leader learns of it by the next heartbeat, not by sending
// the snapshot again.
func (s *Schedule) drillLostAnswer(lead uint64) {
	ids := s.newLearners(lead, 1)
	if s.err != nil {
		return
	}
	id := ids[0]
	s.part(ids, s.order)
	write, ok := s.propose(s.members[lead])
	s.await(raft.None, func() bool { return !ok || s.Applied(lead) >= write.index })
	s.Flush(lead)
	s.Compact(lead, s.Applied(lead))
	s.mendAll()
	s.Unreachable(lead, id)
	s.await(raft.None, func() bool { return s.members[id].disk.durable.log.base >= write.index })
	s.net.clear()
	for range 2 * s.cfg.HeartbeatTicks {
		s.Tick(lead)
		s.Settle()
	}
	if p := s.peer(lead, id); s.err == nil && p.State != progress.Replicate {
		s.breaks(progresses, "drill: %d has installed a snapshot, and %d has it as %v:%s", id, lead, p.State, s.Describe())
	}
}

// installing reports whether a snapshot is on its way to the member's disk.
func (m *member) installing() bool {
	return slices.ContainsFunc(m.disk.queue, func(p *raft.Persist) bool { return p.Snapshot != nil })
}

// halfInstall has a member hear of a new term by a snapshot, and crash when
// that is installed and the term not durable.
func (s *Schedule) halfInstall(id uint64) {
	var ask []raft.Message
	s.await(id, func() bool {
		ask = slices.DeleteFunc(s.Flying(), func(m raft.Message) bool { return m.Type != raft.MsgSnapshot || m.To != id })
		return len(ask) > 0
	})
	s.Crash(id, 0, false)
	s.Start(id)
	s.net.clear()
	for i := range ask {
		s.net.put(&ask[i])
	}
	for range 2 * len(ask) {
		s.Deliver(s.Take(0))
	}
	s.Ready(id)
	if s.err != nil {
		return
	}
	if !s.members[id].installing() {
		s.breaks(progresses, "drill: %d does not install its snapshot:%s", id, s.Describe())
		return
	}
	s.Crash(id, 0, true)
	s.Start(id)
	if s.err != nil {
		return
	}
	if last, err := s.members[id].view.Term(s.members[id].view.LastIndex()); err != nil || s.Core(id).Term() < last {
		s.breaks(onlyForward, "drill: %d starts in term %d with a log of term %d (%v)", id, s.Core(id).Term(), last, err)
	}
}
