package etcdraft

import (
	"chainfire/raft"
)

// aboutVotes takes in votes and answers to them.
func (e *engine) aboutVotes(m raft.Message) {
	if m.Type == raft.MsgPreVoteResp && !m.Reject && (e.now.role != raft.PreCandidate || m.Term != e.now.term+1) {
		// It is the answer to an earlier question, which the reference would count.
		return
	}
	e.step(toMessage(m))
}
