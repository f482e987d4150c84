package rafttest

import (
	"slices"

	"chainfire/raft"
)

// drillTransfer demands that leadership does not go to a follower before it has
// everything, and that it does then.
func (s *Schedule) drillTransfer(lead uint64) {
	others := s.others(lead)
	if len(others) == 0 {
		return
	}
	to := others[0]
	if _, ok := s.propose(s.members[lead]); !ok {
		s.breaks(progresses, "drill: leader %d of a healed cluster refuses a write", lead)
		return
	}
	if err := s.Transfer(lead, to); err != nil {
		s.breaks(progresses, "drill: leader %d refuses a transfer: %w", lead, err)
		return
	}
	s.Ready(lead)
	for _, m := range s.Flying() {
		if m.Type == raft.MsgTimeoutNow {
			s.breaks(takeOver, "drill: %d is told to take over without the last write", to)
			return
		}
	}
	s.Settle()
	if s.err == nil && !s.Leads(to) {
		s.breaks(progresses, "drill: leadership was not transferred to %d:%s", to, s.Describe())
	}
}

// drillSplit leaves a leader with the learners alone. The other voters go on
// without it, its reads wait, and it gives up.
func (s *Schedule) drillSplit(lead uint64) {
	voters := s.others(lead)
	if len(voters) == 0 {
		return
	}
	s.newLearners(lead, len(voters)+1-len(s.conf(lead).Learners))
	rest := s.apart(voters)
	s.part(voters, rest)
	s.goOn(voters)
	s.Read(lead)
	s.Settle()
	s.giveUp(lead, rest)
	s.mendAll()
}

// drillStalledDisk demands that a leader whose disk hangs gives up.
func (s *Schedule) drillStalledDisk(lead uint64) {
	s.propose(s.members[lead])
	s.lazy = true
	limit := s.cfg.DiskStallTicks
	if limit == 0 {
		limit = 8 * s.cfg.ElectionTicks
	}
	for range limit + 1 {
		s.Settle()
		for _, id := range s.order {
			if m := s.members[id]; id != lead && m.runs() {
				s.Persist(id, len(m.disk.queue))
			}
			s.Tick(id)
		}
	}
	s.lazy = false
	if s.err == nil && s.Leads(lead) {
		s.breaks(diskStall, "drill: %d leads on with a disk that hangs:%s", lead, s.Describe())
	}
}

// drillDisturb demands that a member which asks for votes in spite of a leader
// gets none.
func (s *Schedule) drillDisturb(lead uint64) {
	for _, id := range s.order {
		if s.members[id].runs() {
			s.Tick(id)
		}
	}
	s.Settle()
	others := s.others(lead)
	if len(others) == 0 {
		return
	}
	id := others[s.rand.IntN(len(others))]
	s.Campaign(id)
	s.Settle()
	if s.err == nil && !s.Leads(lead) {
		s.breaks(stableLeader, "drill: %d campaigned and leader %d gave way:%s", id, lead, s.Describe())
	}
}

// drillTerms leaves two voters of three: one whose campaigns the other did not
// hear of, and the other with a longer log in an older term.
func (s *Schedule) drillTerms(lead uint64) {
	others := s.voters(lead, 3)
	if s.err != nil {
		return
	}
	high, long := others[0], others[1]
	s.propose(s.members[lead])
	s.Ready(lead)
	late := slices.DeleteFunc(s.Flying(), func(m raft.Message) bool { return m.To != long })
	s.net.clear()
	s.part([]uint64{lead}, s.order)
	s.Crash(lead, 0, false)
	s.members[lead].retired = true
	for range s.cfg.ElectionTicks {
		s.Tick(long)
	}
	for range 3 {
		s.Campaign(high)
		s.until(high, func() bool { return s.Core(high).Role() == raft.Candidate })
		s.Ready(high)
		s.Persist(high, len(s.members[high].disk.queue))
		s.net.clear()
	}
	s.Cut(lead, long, false)
	for _, m := range late {
		s.Deliver(m)
	}
	s.mustGoOn([]uint64{high, long})
}

// drillAnswers takes leadership from a leader and gives it back. What a follower
// answered in the first term arrives in the last.
func (s *Schedule) drillAnswers(lead uint64) {
	others := s.others(lead)
	if len(others) == 0 {
		return
	}
	id := others[0]
	late := s.acknowledgement(lead, id)
	for _, step := range [][2]uint64{{lead, id}, {id, lead}} {
		if err := s.Transfer(step[0], step[1]); err != nil {
			s.breaks(progresses, "drill: leader %d refuses a transfer: %w", step[0], err)
			return
		}
		s.until(raft.None, func() bool { return s.Leads(step[1]) })
	}
	if s.err != nil || s.peer(lead, id).Match > 0 {
		return
	}
	for _, m := range late {
		s.Deliver(m)
	}
	if p := s.peer(lead, id); s.err == nil && p.Match > 0 {
		s.breaks(matchTrue, "drill: an answer of %d in an older term gives it match %d", id, p.Match)
	}
}

// drillVotes crashes a member between its vote, its own or for another, and the
// disk, and then has the other ask for votes in the same term.
func (s *Schedule) drillVotes(lead uint64) {
	others := s.voters(lead, 3)
	if s.err != nil {
		return
	}
	one, other := others[0], others[1]
	s.Crash(lead, 0, false)
	s.Start(lead)
	s.net.clear()
	for range s.cfg.ElectionTicks {
		s.Tick(one)
		s.Tick(other)
	}
	s.Campaign(one)
	if !s.until(one, func() bool { return s.Core(one).Role() == raft.Candidate }) {
		return
	}
	s.net.clear()
	s.Ready(one)
	if s.rand.IntN(2) == 0 {
		s.Crash(one, 0, false)
		s.Start(one)
	} else {
		s.Persist(one, len(s.members[one].disk.queue))
		for range len(s.net.flying) {
			if m := s.Take(0); m.To == other {
				s.Deliver(m)
			}
		}
		s.Ready(other)
		s.Crash(other, 0, false)
		s.Start(other)
	}
	s.net.clear()
	s.Campaign(other)
	s.Settle()
	s.mustGoOn([]uint64{one, other, lead})
}

// drillLongTail leaves two voters of three: one with a long tail of an older
// term, and one with a shorter log of a newer.
func (s *Schedule) drillLongTail(lead uint64) {
	others := s.voters(lead, 3)
	if s.err != nil {
		return
	}
	s.leaveBehind(lead, others)
	s.Crash(others[0], 0, false)
	s.members[others[0]].retired = true
	s.Crash(others[1], 0, false)
	s.Start(others[1])
	s.mustGoOn([]uint64{lead, others[1]})
}

// drillRefusedVotes leaves four voters of five: one with the longest log, and one
// who asks it for its vote again and again, and gets none. The time until the
// election of the first runs on all the same.
func (s *Schedule) drillRefusedVotes(lead uint64) {
	others := s.voters(lead, 5)
	if s.err != nil {
		return
	}
	long, other := others[0], others[1]
	s.part([]uint64{lead}, others[1:])
	s.propose(s.members[lead])
	s.Ready(lead)
	s.deliverTo(long)
	s.host(long)
	s.Crash(lead, 0, false)
	s.members[lead].retired = true
	s.net.clear()
	for range s.cfg.ElectionTicks {
		for _, id := range others {
			s.Tick(id)
		}
	}
	s.net.clear()
	for range 2 * s.cfg.ElectionTicks {
		s.Campaign(other)
		if !s.until(raft.None, func() bool { return s.Core(other).Role() == raft.Candidate }) {
			break
		}
		// Nobody else hears of it.
		s.host(other)
		s.deliverTo(long)
		s.host(long)
		s.net.clear()
		if s.Tick(long); s.err != nil || s.Core(long).Role() != raft.Follower {
			s.mustGoOn(others)
			return
		}
	}
	if s.err == nil {
		s.breaks(progresses, "drill: %d has the longest log and asks for no votes:%s", long, s.Describe())
	}
}
