package raft

import (
	"fmt"
	"math"
)

// becomeFollower enters a term, or leaves a role within it.
func (c *Core) becomeFollower(term, lead uint64) {
	if term > c.term {
		c.vote = None
	}
	wasLeader := c.role == Leader
	c.term, c.lead, c.role = term, lead, Follower
	c.votes, c.ownVote = nil, 0
	c.resetElection()
	if wasLeader {
		c.leader = leaderState{}
	}
	c.rejectReads()
}

func (c *Core) resetElection() {
	c.elapsed = 0
	c.timeout = c.cfg.ElectionTicks + c.cfg.Jitter(c.cfg.Spread())
}

func (c *Core) tickFollower() {
	c.elapsed++
	if c.SoleVoter() {
		// It waits for nobody; but a vote that its own disk still writes must
		// not be outdated by the next one.
		if c.role != Candidate && c.promotable() {
			c.campaign(false)
		}
		return
	}
	if c.elapsed >= c.timeout && c.promotable() {
		c.campaign(false)
	}
}

// LeaderGone tells the core that the host knows the leader's process to be
// gone. The member asks for votes after a short random wait, not after the
// whole election timeout; nothing else changes, so a false alarm costs a
// pre-vote.
func (c *Core) LeaderGone(id uint64) {
	if c.err != nil || c.role != Follower || id == None || c.lead != id {
		return
	}
	c.elapsed = max(c.elapsed, c.cfg.ElectionTicks)
	c.timeout = min(c.timeout, c.elapsed+1+c.cfg.Jitter(c.cfg.ElectionTicks/2+1))
}

// stepFromLeader handles what only the leader of this term sends.
func (c *Core) stepFromLeader(m Message) {
	if c.role == Leader {
		c.fail("%d also leads term %d", m.From, m.Term)
		return
	}
	if c.role != Follower {
		c.becomeFollower(m.Term, m.From)
	}
	if c.lead != m.From {
		c.lead = m.From
		c.rejectReads()
	}
	c.elapsed = 0
	switch m.Type {
	case MsgAppend:
		c.handleAppend(m)
	case MsgHeartbeat:
		c.handleHeartbeat(m)
	case MsgSnapshot:
		c.handleSnapshot(m)
	}
}

func (c *Core) reply(m Message, t MessageType, index uint64) Message {
	return Message{
		Type: t, To: m.From, Term: c.term, Session: m.Session, Round: m.Round,
		Index: index, Applied: c.log.applied,
	}
}

// handleAppend is AppendEntries (paper §5.3): it truncates only from an entry
// that really conflicts, so that an old or doubled append takes nothing away.
func (c *Core) handleAppend(m Message) {
	if err := contiguousAfter(m); err != nil {
		c.fail("append from %d: %w", m.From, err)
		return
	}
	// What is committed is the same on every member; only what follows it needs
	// comparing.
	if cut := c.log.committed; m.Index < cut {
		n := min(cut-m.Index, uint64(len(m.Entries)))
		m.Entries = m.Entries[n:]
		if len(m.Entries) == 0 {
			c.sendDurable(c.reply(m, MsgAppendResp, cut))
			return
		}
		t, err := c.log.term(cut)
		if err != nil {
			c.fail("read term of committed index %d: %w", cut, err)
			return
		}
		m.Index, m.LogTerm = cut, t
	}
	if !c.log.matches(m.Index, m.LogTerm) {
		r := c.reply(m, MsgAppendResp, m.Index)
		r.Reject = true
		r.Hint, r.HintTerm = c.log.meeting(min(m.Index, c.log.last()), m.LogTerm)
		c.send(r)
		return
	}
	last := m.Index + uint64(len(m.Entries))
	for i := range m.Entries {
		e := &m.Entries[i]
		if c.log.matches(e.Index, e.Term) {
			continue
		}
		if e.Index <= c.log.committed {
			c.fail("append from %d conflicts with committed index %d", m.From, e.Index)
			return
		}
		c.log.append(m.Entries[i:])
		break
	}
	c.log.commitTo(min(m.Commit, last))
	c.amnesia = false
	c.sendDurable(c.reply(m, MsgAppendResp, last))
}

func contiguousAfter(m Message) error {
	if len(m.Entries) == 0 {
		return nil
	}
	if m.Entries[0].Term < m.LogTerm {
		return ErrUnavailable
	}
	if last := m.Entries[len(m.Entries)-1].Term; last > m.Term {
		return fmt.Errorf("an entry of term %d in a message of term %d", last, m.Term)
	}
	return contiguous(m.Entries, m.Index+1)
}

func (c *Core) handleHeartbeat(m Message) {
	if m.Commit > c.log.last() {
		// The leader goes by what this member acknowledged. Nothing is committed
		// on its word; the appends that follow show the loss to the leader.
		c.amnesia = true
	} else {
		c.log.commitTo(m.Commit)
	}
	c.send(c.reply(m, MsgHeartbeatResp, c.log.committed))
}

// handleSnapshot takes a snapshot that the host holds complete and verified.
func (c *Core) handleSnapshot(m Message) {
	s := m.Snapshot
	if s == nil {
		return
	}
	if s.Index == math.MaxUint64 {
		c.fail("snapshot from %d at index %d, after which there is no other", m.From, s.Index)
		return
	}
	if s.Index <= c.log.committed {
		c.sendDurable(c.reply(m, MsgAppendResp, c.log.committed))
		return
	}
	if c.log.matches(s.Index, s.Term) {
		c.log.commitTo(s.Index)
		c.sendDurable(c.reply(m, MsgAppendResp, c.log.committed))
		return
	}
	meta := *s
	meta.Conf = s.Conf.Clone()
	if s.Term > c.term {
		// It was fetched later than it was offered. A log of a later term than
		// the member's own would let it be elected in a term that had a leader.
		c.becomeFollower(s.Term, None)
	}
	c.log.restore(&meta)
	c.confs, c.handouts = nil, nil
	c.conf = meta.Conf.Clone()
	c.amnesia = false
	c.sendDurable(c.reply(m, MsgAppendResp, s.Index))
}

// handleTimeoutNow campaigns at the leader's word (thesis §3.10).
func (c *Core) handleTimeoutNow(m Message) {
	if c.role == Follower && c.lead == m.From && c.promotable() {
		c.campaign(true)
	}
}
