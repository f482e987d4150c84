package raft

import "chainfire/raft/quorum"

// promotable reports whether this member may ask for votes: it is a voter, its
// state and its disk are in order, and no membership change that is committed
// is still unapplied here (else it would campaign in a configuration that is
// already history).
func (c *Core) promotable() bool {
	return c.conf.IsVoter(c.id) && c.log.snap == nil && c.stall < c.cfg.DiskStallTicks && !c.hasUnappliedConf()
}

func (c *Core) hasUnappliedConf() bool {
	if len(c.confs) > 0 {
		return true
	}
	for lo, hi := c.log.applying+1, c.log.committed+1; lo < hi; {
		es, err := c.log.entries(lo, hi, c.cfg.MaxApplyingBytes)
		if err != nil {
			c.fail("read committed entries from %d: %w", lo, err)
			return true
		}
		for i := range es {
			if es[i].Type == EntryConf {
				return true
			}
		}
		lo = es[len(es)-1].Index + 1
	}
	return false
}

// Campaign starts an election at once, with a pre-vote. Hosts and tests that
// know the time has come may call it; members that may not lead ignore it.
func (c *Core) Campaign() {
	if c.err == nil && c.role != Leader && c.promotable() {
		c.campaign(false)
		c.check()
	}
}

// campaign asks for votes: first whether it would win (thesis §9.6, pre-vote),
// unless it is told to by the leader or decides alone.
func (c *Core) campaign(transfer bool) {
	last := c.log.last()
	lastTerm, err := c.log.term(last)
	if err != nil {
		c.fail("read term of last index %d: %w", last, err)
		return
	}
	pre := !transfer && !c.SoleVoter()
	m := c.tellCommit(Message{Type: MsgVote, Index: last, LogTerm: lastTerm, Transfer: transfer})
	c.lead, c.votes = None, map[uint64]bool{}
	c.resetElection()
	c.rejectReads()
	if pre {
		c.role = PreCandidate
		m.Type, m.Term = MsgPreVote, c.term+1
	} else {
		c.becomeCandidate()
	}
	for _, id := range c.conf.IDs() {
		if id == c.id || !c.conf.IsVoter(id) {
			continue
		}
		m.To = id
		if pre {
			c.send(m)
		} else {
			c.sendDurable(m)
		}
	}
	if pre {
		c.recordVote(c.id, true)
	}
}

// becomeCandidate enters the next term with its own vote, which counts once it
// is durable.
func (c *Core) becomeCandidate() {
	c.term++
	c.vote = c.id
	c.role = Candidate
	c.ownVote = c.term
	c.votes = map[uint64]bool{}
}

// tellCommit puts into a message of an election what its sender knows committed.
//
// Without it an election can hang for ever: of the members that could be elected
// the one with the longest log may not know that a membership change is
// committed, and so need the vote of a member that the change took out and that
// has a longer log still, while those who know have shorter logs.
func (c *Core) tellCommit(m Message) Message {
	if t, err := c.log.term(c.log.committed); err == nil {
		m.Commit, m.HintTerm = c.log.committed, t
	}
	return m
}

// learnCommit takes in what a message of an election says is committed: if the
// entry is in this log, everything up to it is (paper §5.3, log matching). Who
// asks for votes in a configuration that is then history stops asking.
func (c *Core) learnCommit(m Message) {
	switch m.Type {
	case MsgVote, MsgPreVote, MsgVoteResp, MsgPreVoteResp:
	default:
		return
	}
	if c.role == Leader || m.HintTerm == 0 || !c.log.matches(m.Commit, m.HintTerm) || !c.log.commitTo(m.Commit) {
		return
	}
	if c.role != Follower && c.hasUnappliedConf() {
		c.becomeFollower(c.term, None)
	}
}

// handleVote answers a vote or a pre-vote. The answer to a vote is a promise
// and waits for the disk. A learner answers too: the candidate may know of its
// promotion before it does.
func (c *Core) handleVote(m Message) {
	pre := m.Type == MsgPreVote
	free := c.vote == m.From || c.vote == None && c.lead == None
	if pre {
		free = free || m.Term > c.term
	}
	r := c.tellCommit(Message{Type: MsgVoteResp, To: m.From, Term: c.term})
	if pre {
		r.Type = MsgPreVoteResp
	}
	if !free || !c.log.upToDate(m.Index, m.LogTerm) {
		r.Reject = true
		c.send(r)
		return
	}
	if pre {
		r.Term = m.Term
		c.send(r)
		return
	}
	c.vote = m.From
	// A draw that lost this election would lose the next one as well.
	c.resetElection()
	c.sendDurable(r)
}

func (c *Core) handleVoteResp(m Message) {
	switch {
	case m.Type == MsgPreVoteResp && c.role == PreCandidate && (m.Reject || m.Term == c.term+1):
	case m.Type == MsgVoteResp && c.role == Candidate && m.Term == c.term:
	default:
		return
	}
	c.recordVote(m.From, !m.Reject)
}

func (c *Core) recordVote(id uint64, granted bool) {
	if _, ok := c.votes[id]; !ok {
		c.votes[id] = granted
	}
	result := quorum.Vote(c.conf.Voters, c.conf.Outgoing, func(id uint64) (bool, bool) {
		g, ok := c.votes[id]
		return g, ok
	})
	switch {
	case result == quorum.Won && c.role == PreCandidate:
		c.becomeRealCandidate()
	case result == quorum.Won:
		c.becomeLeader()
	case result == quorum.Lost:
		c.becomeFollower(c.term, None)
	}
}

// becomeRealCandidate turns a won pre-vote into an election.
func (c *Core) becomeRealCandidate() {
	last := c.log.last()
	lastTerm, err := c.log.term(last)
	if err != nil {
		c.fail("read term of last index %d: %w", last, err)
		return
	}
	c.becomeCandidate()
	c.resetElection()
	for _, id := range c.conf.IDs() {
		if id != c.id && c.conf.IsVoter(id) {
			c.sendDurable(c.tellCommit(Message{Type: MsgVote, To: id, Index: last, LogTerm: lastTerm}))
		}
	}
}
