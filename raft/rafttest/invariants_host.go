package rafttest

import "chainfire/raft"

// checkHandedOut: what goes to a state machine is durable on that member
// (decisions: an entry is applied only where it is durable).
func (c *Cluster) checkHandedOut(m *member, es []raft.Entry) {
	for i := range es {
		if !m.holds(es[i].Index, es[i].Term) {
			c.breaks(appliedDurable, "%d: handed out %d/%d, which is not on its disk", m.id, es[i].Index, es[i].Term)
		}
	}
}

// checkMessage checks what leaves a member.
func (c *Cluster) checkMessage(m *member, msg *raft.Message) {
	if msg.From != m.id || msg.To == m.id || msg.To == raft.None {
		c.breaks(soundMessages, "%d sends %s", m.id, describeMessage(*msg))
	}
	switch msg.Type {
	case raft.MsgVote:
		c.checkVote(m, msg, m.id)
	case raft.MsgVoteResp:
		if !msg.Reject {
			c.checkVote(m, msg, msg.To)
		}
	case raft.MsgAppendResp:
		if !msg.Reject {
			c.checkAcknowledgement(m, msg)
		}
	case raft.MsgTimeoutNow:
		c.checkTakeOver(m, msg)
	case raft.MsgAppend:
		c.checkAppend(m, msg)
	case raft.MsgHeartbeat:
		c.checkHeartbeat(m, msg)
	}
}

// checkVote: a vote is durable before anyone hears of it (paper, figure 2), and
// it is the only one in its term (§5.2). A later term on the disk makes it as
// durable: in the earlier one the member will never vote again.
func (c *Cluster) checkVote(m *member, msg *raft.Message, candidate uint64) {
	c.vote(m.id, msg.Term, candidate)
	switch hard := &m.disk.durable.hard; {
	case hard.Term > msg.Term:
		c.check.term(c, msg.Term).ballot(m.id).durable = candidate
	case hard.Term < msg.Term || hard.Vote != candidate:
		c.breaks(durableFirst, "%d: %s leaves before its vote is durable", m.id, describeMessage(*msg))
	}
}

// checkAcknowledgement: entries are durable before they are acknowledged, and so
// is the term in which they came (paper, figure 2).
func (c *Cluster) checkAcknowledgement(m *member, msg *raft.Message) {
	d := &m.disk.durable
	if d.hard.Term < msg.Term || d.hard.Term == msg.Term && msg.Index > d.log.LastIndex() {
		c.breaks(durableFirst, "%d: %s leaves before what it acknowledges is durable", m.id, describeMessage(*msg))
	}
}

// checkTerm: what waits for a write waits for the term too (paper, figure 2).
func (c *Cluster) checkTerm(m *member, msgs []raft.Message) {
	for i := range msgs {
		if m.disk.durable.hard.Term < msgs[i].Term {
			c.breaks(durableFirst, "%d: %s leaves before its term is durable", m.id, describeMessage(msgs[i]))
		}
	}
}

// checkAppend: an append holds entries that follow each other and are the same
// as everywhere (paper §5.3).
func (c *Cluster) checkAppend(m *member, msg *raft.Message) {
	prev, prevTerm := msg.Index, msg.LogTerm
	for i := range msg.Entries {
		e := &msg.Entries[i]
		if e.Index != prev+1 || e.Term < prevTerm || e.Term > msg.Term {
			c.breaks(soundMessages, "malformed %s", describeMessage(*msg))
			return
		}
		if !c.check.match(e, prevTerm) {
			c.breaks(logMatching, "%d sends another entry %d/%d", m.id, e.Index, e.Term)
		}
		prev, prevTerm = e.Index, e.Term
	}
}

// checkHeartbeat: a heartbeat names no commit index that its receiver does not
// hold (paper §5.3: a follower commits only what was held against its log).
func (c *Cluster) checkHeartbeat(m *member, msg *raft.Message) {
	p := c.members[msg.To]
	if p == nil || c.check.wiped[msg.To] || p.disk.durable.hard.Term > msg.Term {
		return
	}
	if msg.Commit > p.disk.durable.log.LastIndex() {
		c.breaks(matchTrue, "%d: %s, but its log ends at %d", m.id, describeMessage(*msg), p.disk.durable.log.LastIndex())
	}
}
