package etcdraft

import (
	pb "go.etcd.io/raft/v3/raftpb"

	"chainfire/raft"
)

// aboutVotes takes in votes and answers to them.
func (e *engine) aboutVotes(m raft.Message) {
	e.learnCommit(m)
	if m.Type == raft.MsgPreVoteResp && !m.Reject && (e.now.role != raft.PreCandidate || m.Term != e.now.term+1) {
		// It is the answer to an earlier question, which the reference would count.
		return
	}
	e.step(toMessage(m))
}

// learnCommit takes in what a message of an election says is committed, if that
// entry is in this log: without it an election can hang for ever, as raft.Core
// has it. The reference learns such a thing only from a leader; so it is told by
// an empty append, and then to forget that leader. Where a leader is known its
// own word is waited for.
func (e *engine) learnCommit(m raft.Message) {
	if e.now.lead != raft.None || m.HintTerm == 0 || m.Commit <= e.now.commit {
		return
	}
	if t, err := e.log.term(m.Commit); err != nil || t != m.HintTerm {
		return
	}
	told := m
	told.Type, told.Term, told.Session, told.Round = raft.MsgAppend, e.now.term, 0, 0
	told.Index, told.LogTerm, told.Entries = m.Commit, m.HintTerm, nil
	e.echo, e.deaf = &told, true
	e.step(toMessage(told))
	e.step(&pb.Message{Type: pb.MsgForgetLeader.Enum()})
	e.drain()
	e.echo, e.deaf = nil, false
}
