package raft

import (
	"slices"

	"chainfire/raft/progress"
)

// PeerStatus is what a leader knows of one follower.
type PeerStatus struct {
	ID          uint64
	State       progress.State
	Match, Next uint64
	Applied     uint64
	Active      bool
	Acked       bool
	SilentTicks int
}

// Status is a core as it stands.
type Status struct {
	ID, Term, Vote, Leader       uint64
	Role                         Role
	First, Last, Stable          uint64
	Commit, Applied              uint64
	Conf                         ConfState
	Transferee                   uint64
	ConfPending, CommittedInTerm bool
	// Amnesia says that the leader believes this member holds entries that it
	// does not have: its disk lost them.
	Amnesia bool
	// Peers is sorted by id; it is empty on others than the leader.
	Peers []PeerStatus
}

// Status describes the core. The lists are copies.
func (c *Core) Status() Status {
	var s Status
	c.StatusTo(&s)
	return s
}

// StatusTo is Status into a value that was used before: its lists are written
// over, so that asking after every input costs no memory.
func (c *Core) StatusTo(s *Status) {
	conf, peers := s.Conf, s.Peers[:0]
	conf.Voters = append(conf.Voters[:0], c.conf.Voters...)
	conf.Outgoing = append(conf.Outgoing[:0], c.conf.Outgoing...)
	conf.Learners = append(conf.Learners[:0], c.conf.Learners...)
	conf.LearnersNext = append(conf.LearnersNext[:0], c.conf.LearnersNext...)
	conf.AutoLeave = c.conf.AutoLeave
	*s = Status{
		ID: c.id, Term: c.term, Vote: c.vote, Leader: c.lead, Role: c.role,
		First: c.log.first(), Last: c.log.last(), Stable: c.log.stable,
		Commit: c.log.committed, Applied: c.log.applied, Conf: conf, Amnesia: c.amnesia, Peers: peers,
	}
	if c.role != Leader {
		return
	}
	s.Transferee = c.leader.transferee
	s.ConfPending, s.CommittedInTerm = c.confBusy(), c.committedInTerm()
	for _, id := range c.leader.peers {
		p := c.leader.progress[id]
		s.Peers = append(s.Peers, PeerStatus{
			ID: id, State: p.State, Match: p.Match, Next: p.Next, Applied: p.Applied,
			Active: p.SilentTicks < c.cfg.ElectionTicks, Acked: p.Acked, SilentTicks: p.SilentTicks,
		})
	}
}

// Leader is the leader of the term, or None. Like Term and Role it is cheap
// enough to be asked after every round.
func (c *Core) Leader() uint64 { return c.lead }

// Term is the current term.
func (c *Core) Term() uint64 { return c.term }

// Role is the member's role in its term.
func (c *Core) Role() Role { return c.role }

// Commit is the highest index known committed.
func (c *Core) Commit() uint64 { return c.log.committed }

// SoleVoter reports whether this member alone decides everything.
func (c *Core) SoleVoter() bool {
	return !c.conf.Joint() && slices.Equal(c.conf.Voters, []uint64{c.id})
}
