package rafttest

import "chainfire/raft"

// checkElectionSafety: at most one leader in a term (paper §5.2).
func (c *Cluster) checkElectionSafety(m *member, s *raft.Status) {
	t := c.check.term(c, s.Term)
	if t.leader != raft.None && (t.leader != m.id || t.life != m.life) {
		c.breaks(electionSafety, "term %d is led by %d and by %d", s.Term, t.leader, m.id)
	}
	t.leader, t.life = m.id, m.life
	c.vote(m.id, s.Term, m.id)
}

// checkElectionQuorum counts, on the disks, who voted for a new leader: a
// majority of its voters, of both halves while they are joint, and nobody else
// counts (paper §5.2, thesis §4.3; learners: thesis §4.2.1).
func (c *Cluster) checkElectionQuorum(m *member, s *raft.Status) {
	t := c.check.term(c, s.Term)
	voted := func(id uint64) bool { return t.ballot(id).durable == m.id }
	if !majorities(&s.Conf, voted) {
		c.breaks(electionQuorum, "%d leads term %d without durable votes of a majority of %v", m.id, s.Term, s.Conf)
	}
}

// vote notes whom a member voted for by its words: one in a term, in all its
// lives (paper §5.2: each server votes for at most one candidate).
func (c *Cluster) vote(voter, term, candidate uint64) {
	b := c.check.term(c, term).ballot(voter)
	if b.said != raft.None && b.said != candidate {
		c.breaks(oneVote, "%d voted for %d and for %d in term %d", voter, b.said, candidate, term)
	}
	b.said = candidate
}

// checkBallot notes the vote on a member's disk: also there one in a term, in
// all its lives (paper, figure 2: votedFor is stable).
func (c *Cluster) checkBallot(m *member) {
	hard := &m.disk.durable.hard
	if hard.Vote == raft.None {
		return
	}
	c.vote(m.id, hard.Term, hard.Vote)
	c.check.term(c, hard.Term).ballot(m.id).durable = hard.Vote
}

// checkForward: a member's term and commit index only grow (paper §5.1 and
// figure 2).
func (c *Cluster) checkForward(m *member, s *raft.Status) {
	if s.Term < m.seen.term {
		c.breaks(onlyForward, "%d: term went from %d to %d", m.id, m.seen.term, s.Term)
	}
	if s.Commit < m.seen.commit {
		c.breaks(onlyForward, "%d: commit went from %d to %d", m.id, m.seen.commit, s.Commit)
	}
}

// checkFollows: whoever hears from the leader of its term follows it (paper §5.2).
func (c *Cluster) checkFollows(m *member, msg *raft.Message) {
	switch msg.Type {
	case raft.MsgAppend, raft.MsgHeartbeat, raft.MsgSnapshot:
	default:
		return
	}
	if msg.Term == m.core.Term() && (m.core.Role() != raft.Follower || m.core.Leader() != msg.From) && m.core.Err() == nil {
		c.breaks(follows, "%d is %v of term %d after %s", m.id, m.core.Role(), msg.Term, describeMessage(*msg))
	}
}

// checkTermOfLog: nobody is in an earlier term than an entry of its log (paper,
// figure 2: currentTerm is the latest term the server has seen).
func (c *Cluster) checkTermOfLog(m *member) {
	if term, err := m.view.Term(m.view.LastIndex()); err != nil || term > m.core.Term() {
		c.breaks(onlyForward, "%d is in term %d with a log of term %d (%v)", m.id, m.core.Term(), term, err)
	}
}

// majorities reports whether those who fit are a majority of the voters, and of
// the outgoing ones of a joint configuration. It counts by hand, not by package
// quorum, which is under test.
func majorities(conf *raft.ConfState, fits func(id uint64) bool) bool {
	return majority(conf.Voters, fits) && (len(conf.Outgoing) == 0 || majority(conf.Outgoing, fits))
}

func majority(ids []uint64, fits func(id uint64) bool) bool {
	n := 0
	for _, id := range ids {
		if fits(id) {
			n++
		}
	}
	return 2*n > len(ids)
}
