package rafttest

import (
	"slices"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// drillJointSplit replaces every voter but the leader in one joint change, and
// cuts the cluster in two between the halves as soon as the change is committed.
// Both sides then try to go on.
func (s *Schedule) drillJointSplit(lead uint64) {
	old := s.others(lead)
	if len(old) == 0 {
		return
	}
	fresh := s.newLearners(lead, len(old))
	if s.err != nil {
		return
	}
	var steps []confchange.Step
	for i := range old {
		steps = append(steps, confchange.Step{Kind: confchange.Remove, ID: old[i]}, confchange.Step{Kind: confchange.AddVoter, ID: fresh[i]})
	}
	at := s.mustConf(lead, steps...)
	s.await(raft.None, func() bool { return s.Core(lead).Commit() >= at })
	s.part(old, s.apart(old))
	s.Settle()
	if s.err == nil && !s.conf(lead).Joint() {
		s.breaks(confSequence, "drill: a change of several voters was not joint:%s", s.Describe())
	}
	s.goOn(old)
	s.Read(lead)
	s.Settle()
	s.giveUp(lead, append(fresh, lead))
	s.goOn(append(fresh, lead))
	s.goOn(old)
	s.mendAll()
}

// promote makes a learner a voter.
func (s *Schedule) promote(lead, id uint64) {
	s.reconfigure(lead, confchange.Step{Kind: confchange.AddVoter, ID: id})
	s.catchUp(lead, id)
}

// voters makes the cluster one of n voters and returns those that follow.
func (s *Schedule) voters(lead uint64, n int) []uint64 {
	for s.err == nil && len(s.conf(lead).Voters) < n {
		s.promote(lead, s.newLearners(lead, 1)[0])
	}
	for s.err == nil && len(s.conf(lead).Voters) > n {
		s.reconfigure(lead, confchange.Step{Kind: confchange.Remove, ID: s.others(lead)[0]})
	}
	return s.others(lead)
}

// drillLeave has a leader remove itself, and switches it off as soon as it has
// left office. The others go on without it.
func (s *Schedule) drillLeave(lead uint64) {
	others := s.others(lead)
	if len(others) == 0 {
		return
	}
	for s.err == nil && len(others) > 1 && s.rand.IntN(4) > 0 {
		s.reconfigure(lead, confchange.Step{Kind: confchange.Remove, ID: others[0]})
		others = others[1:]
	}
	if s.err != nil {
		return
	}
	at := s.mustConf(lead, confchange.Step{Kind: confchange.Remove, ID: lead})
	if _, ok := s.propose(s.members[lead]); ok {
		s.breaks(progresses, "drill: leader %d takes a write after its own removal", lead)
		return
	}
	// The others acknowledge the change, twice, and do not hear that it is
	// committed.
	s.Ready(lead)
	s.Persist(lead, len(s.members[lead].disk.queue))
	for _, id := range others {
		s.deliverTo(id)
		s.host(id)
	}
	acks := slices.DeleteFunc(s.Flying(), func(m raft.Message) bool { return m.To != lead })
	for _, id := range others {
		s.Cut(lead, id, true)
	}
	s.Settle()
	for _, m := range acks {
		s.Deliver(m)
	}
	s.Settle()
	if s.Leads(lead) {
		s.mendAll()
		s.await(raft.None, func() bool { return !s.Leads(lead) && s.Applied(lead) >= at })
	}
	s.Crash(lead, 0, false)
	s.members[lead].retired = true
	s.net.clear()
	s.mustGoOn(others)
}

// drillShrink removes the other one of two voters and demands that the one who
// remains finishes what waited for both, without another input.
func (s *Schedule) drillShrink(lead uint64) {
	others := s.voters(lead, 2)
	if s.err != nil {
		return
	}
	id := others[0]
	at := s.mustConf(lead, confchange.Step{Kind: confchange.Remove, ID: id})
	s.Ready(lead)
	s.Persist(lead, len(s.members[lead].disk.queue))
	sent := s.Flying()
	write, _ := s.propose(s.members[lead])
	s.Read(lead)
	s.Ready(lead)
	s.Persist(lead, len(s.members[lead].disk.queue))
	s.net.clear()
	for i := range sent {
		s.net.put(&sent[i])
	}
	s.await(raft.None, func() bool { return s.Core(lead).Commit() >= at })
	s.part([]uint64{lead}, []uint64{id})
	s.Settle()
	switch {
	case s.err != nil:
	case s.Core(lead).Commit() < write.index:
		s.breaks(progresses, "drill: sole voter %d does not commit %d:%s", lead, write.index, s.Describe())
	case len(s.check.reads) > 0:
		s.breaks(progresses, "drill: sole voter %d does not answer a read", lead)
	}
}

// drillUnaware takes two of four voters out, in one change. They know that it is
// committed and have the longest logs. Of those who remain the one with the
// longer log does not know, and still needs the vote of one who is out.
func (s *Schedule) drillUnaware(lead uint64) {
	others := s.voters(lead, 4)
	if s.err != nil {
		return
	}
	unaware, out := others[0], others[1:]
	s.mustConf(lead, confchange.Step{Kind: confchange.Remove, ID: out[0]}, confchange.Step{Kind: confchange.Remove, ID: out[1]})
	s.await(raft.None, func() bool { return s.conf(lead).Joint() })
	// The change that leaves the joint configuration is in the leader's log now.
	for len(s.net.flying) > 0 {
		s.Deliver(s.Take(0))
		for _, id := range others {
			s.host(id)
		}
	}
	s.Ready(lead)
	s.Persist(lead, len(s.members[lead].disk.queue))
	s.deliverTo(unaware)
	s.host(unaware)
	s.deliverTo(lead)
	s.propose(s.members[lead])
	s.Ready(lead)
	s.deliverTo(unaware)
	s.host(unaware)
	s.propose(s.members[lead])
	s.part([]uint64{unaware}, s.order)
	s.until(lead, func() bool { return false })
	s.Crash(lead, 0, false)
	s.Start(lead)
	s.net.clear()
	s.mendAll()
	s.mustGoOn(append(others, lead))
}

// host does once what a member's host has to do.
func (s *Schedule) host(id uint64) {
	s.Ready(id)
	s.Persist(id, len(s.members[id].disk.queue))
	s.Apply(id, len(s.members[id].applying))
}

// drillRejoin removes a member and adds it again, empty, under the same id and
// leader. What it acknowledged before arrives only now. Hosts never use an id
// again, but the core does not count on that: sessions tell the two apart.
func (s *Schedule) drillRejoin(lead uint64) {
	ids := s.newLearners(lead, 1)
	if s.err != nil {
		return
	}
	id := ids[0]
	late := s.acknowledgement(lead, id)
	s.reconfigure(lead, confchange.Step{Kind: confchange.Remove, ID: id})
	s.replaceDisk(id)
	s.part([]uint64{id}, s.order)
	delete(s.check.gone, id)
	s.reconfigure(lead, confchange.Step{Kind: confchange.AddLearner, ID: id})
	s.mendAll()
	for _, m := range late {
		s.Deliver(m)
	}
	if s.err != nil {
		return
	}
	if p := s.peer(lead, id); p.Match > 0 {
		s.breaks(matchTrue, "drill: an answer of %d from before its removal gives it match %d", id, p.Match)
		return
	}
	s.catchUp(lead, id)
}
