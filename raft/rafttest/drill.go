package rafttest

import (
	"errors"
	"slices"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// drill is one situation that a leader of a healed cluster is put into.
type drill struct {
	name string
	run  func(s *Schedule, lead uint64)
}

// drills are what Drill chooses from.
func drills() []drill {
	return []drill{
		{"transfer", (*Schedule).drillTransfer},
		{"disturb", (*Schedule).drillDisturb},
		{"split", (*Schedule).drillSplit},
		{"terms", (*Schedule).drillTerms},
		{"answers", (*Schedule).drillAnswers},
		{"votes", (*Schedule).drillVotes},
		{"refused votes", (*Schedule).drillRefusedVotes},
		{"long tail", (*Schedule).drillLongTail},
		{"joint split", (*Schedule).drillJointSplit},
		{"leave", (*Schedule).drillLeave},
		{"shrink", (*Schedule).drillShrink},
		{"unaware", (*Schedule).drillUnaware},
		{"rejoin", (*Schedule).drillRejoin},
		{"stalled disk", (*Schedule).drillStalledDisk},
		{"lost disk", (*Schedule).drillLostDisk},
		{"overrun", (*Schedule).drillOverrun},
		{"overtaken", (*Schedule).drillOvertaken},
		{"lost answer", (*Schedule).drillLostAnswer},
	}
}

// Drills names what Drill chooses from.
func Drills() (names []string) {
	for _, d := range drills() {
		names = append(names, d.name)
	}
	return names
}

// Drill leads a cluster that Run has left healed through one of a few situations
// which chance seldom arranges in full, and demands what the run cannot: that
// leaders without a quorum or a disk give up, that nobody takes over with a part
// of the log, that no half of a joint configuration decides alone, and that a
// member which comes back without its data is not taken for what it was. It
// returns the drill's name. After it the cluster is of no further use.
func (s *Schedule) Drill() (string, error) {
	all := drills()
	d := all[s.rand.IntN(len(all))]
	s.gather()
	s.checkChanges()
	if s.err == nil {
		s.note(Event{Kind: EventDrill, Data: []byte(d.name)})
		d.run(s, s.Leader())
	}
	if s.story != nil {
		s.story.end(s)
	}
	return d.name, s.err
}

// gather ends what Run left broken: every way is there again, and those who were
// to stay down come back. It demands that everyone follows one leader then.
func (s *Schedule) gather() {
	s.lazy = false
	s.mendAll()
	for _, m := range s.list {
		if m.doomed {
			m.doomed = false
			s.Start(m.id)
		}
	}
	s.sync()
	for range healTicks * s.cfg.ElectionTicks {
		if s.Settle(); s.err != nil || s.gathered() {
			return
		}
		s.pass()
	}
	s.breaks(progresses, "drill: not everyone follows one leader:%s", s.Describe())
}

// gathered reports whether every member of the configuration follows one leader
// and has applied all that it has committed.
func (s *Schedule) gathered() bool {
	lead := s.members[s.Leader()]
	if lead == nil || !lead.core.Status().CommittedInTerm {
		return false
	}
	conf := s.conf(lead.id)
	return !conf.Joint() && !slices.ContainsFunc(conf.IDs(), func(id uint64) bool {
		m := s.members[id]
		return !m.runs() || m.core.Leader() != lead.id || m.machine.Index != lead.core.Commit()
	})
}

// checkChanges demands of the committed membership changes that each fits the
// configuration that the one before led to. It does when one at a time is under
// way, as leaders propose only what fits theirs.
func (s *Schedule) checkChanges() {
	var conf raft.ConfState
	for i := range s.check.ledger {
		e := &s.check.ledger[i].entry
		if e.Type != raft.EntryConf {
			continue
		}
		change, err := raft.DecodeChange(e.Data)
		next, misfit := confchange.Apply(conf, change)
		if err != nil || misfit != nil {
			s.breaks(confSequence, "change %d/%d, %s, does not fit %v: %w", e.Index, e.Term, describeChange(change), conf, errors.Join(err, misfit))
			return
		}
		if string(change.Context) != refusal {
			conf = next
		}
	}
}

// others are the voters other than one.
func (s *Schedule) others(lead uint64) []uint64 {
	return slices.DeleteFunc(s.conf(lead).Voters, func(id uint64) bool { return id == lead })
}

// apart are the members other than some.
func (s *Schedule) apart(ids []uint64) []uint64 {
	return slices.DeleteFunc(slices.Clone(s.order), func(id uint64) bool { return slices.Contains(ids, id) })
}

// conf is the configuration in force on a member.
func (s *Schedule) conf(id uint64) raft.ConfState { return s.Core(id).Status().Conf }

// reconfigure has a membership change proposed and carried out.
func (s *Schedule) reconfigure(lead uint64, steps ...confchange.Step) {
	s.mustConf(lead, steps...)
	for range s.cfg.ElectionTicks * healTicks {
		s.Settle()
		if s.err != nil || !s.Leads(lead) || !s.Core(lead).Status().ConfPending && !s.conf(lead).Joint() {
			break
		}
		s.Tick(lead)
	}
	if s.err == nil && !s.Leads(lead) {
		s.breaks(stableLeader, "drill: leader %d gave way in a change:%s", lead, s.Describe())
	}
}

// mustConf proposes a change and returns its index.
func (s *Schedule) mustConf(lead uint64, steps ...confchange.Step) uint64 {
	index, _, err := s.ProposeConf(lead, confchange.Change{Steps: steps})
	if err != nil {
		s.breaks(progresses, "drill: leader %d of a healed cluster refuses a change: %w", lead, err)
	}
	return index
}

// newLearners adds members and waits until they hold the log.
func (s *Schedule) newLearners(lead uint64, n int) (ids []uint64) {
	for range n {
		id := s.nextID
		s.nextID++
		s.Add(id)
		ids = append(ids, id)
		s.reconfigure(lead, confchange.Step{Kind: confchange.AddLearner, ID: id})
		s.catchUp(lead, id)
	}
	return ids
}

// catchUp demands that a member comes to hold the leader's whole log.
func (s *Schedule) catchUp(lead, id uint64) {
	for range s.cfg.ElectionTicks * healTicks {
		s.Settle()
		if s.err != nil || !s.Leads(lead) || s.peer(lead, id).Match == s.Core(lead).Status().Last {
			return
		}
		s.Tick(lead)
	}
	s.breaks(progresses, "drill: %d does not catch up with %d:%s", id, lead, s.Describe())
}

// peer is what the leader knows of a member; the zero value if nothing.
func (s *Schedule) peer(lead, id uint64) raft.PeerStatus {
	for _, p := range s.Core(lead).Status().Peers {
		if p.ID == id {
			return p
		}
	}
	return raft.PeerStatus{}
}

// part cuts every way between two groups of members.
func (s *Schedule) part(some, others []uint64) {
	for _, a := range some {
		for _, b := range others {
			s.Cut(a, b, true)
			s.Cut(b, a, true)
		}
	}
}

// mendAll restores every way.
func (s *Schedule) mendAll() {
	for _, a := range s.order {
		for _, b := range s.order {
			if s.net.cut[[2]uint64{a, b}] {
				s.Cut(a, b, false)
			}
		}
	}
}

// until is Settle up to an event after which something holds; it reports whether
// that came. The disk of the member called slow writes nothing.
func (s *Schedule) until(slow uint64, done func() bool) bool {
	for range settleRounds + 10*s.longest() {
		busy := false
		for _, id := range s.order {
			m := s.members[id]
			if !m.runs() {
				continue
			}
			busy = s.Ready(id) || busy
			if id != slow {
				busy = s.Persist(id, len(m.disk.queue)) > 0 || busy
			}
			busy = s.Apply(id, len(m.applying)) > 0 || busy
			if done() {
				return true
			}
		}
		for range len(s.net.flying) {
			if s.Deliver(s.Take(0)); done() {
				return true
			}
			busy = true
		}
		if !busy || s.err != nil {
			return false
		}
	}
	s.breaks(progresses, "messages go on without end")
	return false
}

// await demands that something comes to hold within a few election timeouts.
func (s *Schedule) await(slow uint64, done func() bool) {
	for range 4 * s.cfg.ElectionTicks {
		if s.until(slow, done) || s.err != nil {
			return
		}
		for _, id := range s.order {
			if s.members[id].runs() {
				s.Tick(id)
			}
		}
	}
	s.breaks(progresses, "drill: what is waited for does not come:%s", s.Describe())
}

// deliverTo delivers what is under way to a member.
func (s *Schedule) deliverTo(id uint64) {
	for i := 0; i < len(s.net.flying); {
		if s.net.at(i).To == id {
			s.Deliver(s.Take(i))
		} else {
			i++
		}
	}
}

// acknowledgement has a write replicated to a member and returns a copy of the
// answer, which stays under way as well.
func (s *Schedule) acknowledgement(lead, id uint64) []raft.Message {
	s.propose(s.members[lead])
	s.Ready(lead)
	s.deliverTo(id)
	s.Ready(id)
	s.Persist(id, len(s.members[id].disk.queue))
	var kept []raft.Message
	for _, m := range s.Flying() {
		if m.From == id && m.Type == raft.MsgAppendResp && !m.Reject && m.Index == s.Core(lead).Status().Last {
			kept = append(kept, m)
		}
	}
	if s.err == nil && len(kept) == 0 {
		s.breaks(progresses, "drill: %d does not acknowledge a write of %d:%s", id, lead, s.Describe())
	}
	s.Settle()
	return kept
}

// goOn lets time pass for some members until one of them leads and has
// committed a write, or reports that none does.
func (s *Schedule) goOn(ids []uint64) bool {
	var written bool
	for range healTicks * s.cfg.ElectionTicks {
		s.Settle()
		for _, id := range ids {
			m := s.members[id]
			switch {
			case s.err != nil:
				return false
			case !m.leads() || !m.core.Status().CommittedInTerm:
			case written:
				return true
			default:
				_, written = s.propose(m)
			}
		}
		for _, id := range ids {
			s.Tick(id)
		}
	}
	return false
}

// mustGoOn demands that some members go on by themselves.
func (s *Schedule) mustGoOn(ids []uint64) {
	if !s.goOn(ids) && s.err == nil {
		s.breaks(progresses, "drill: %v do not go on:%s", ids, s.Describe())
	}
}

// giveUp demands that a leader which hears of no quorum steps down.
func (s *Schedule) giveUp(lead uint64, with []uint64) {
	for range 2 * s.cfg.ElectionTicks {
		for _, id := range with {
			s.Tick(id)
		}
		s.Settle()
	}
	if s.err == nil && s.Leads(lead) {
		s.breaks(hearsQuorum, "drill: %d leads on without a quorum:%s", lead, s.Describe())
	}
}
