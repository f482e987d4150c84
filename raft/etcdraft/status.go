package etcdraft

import (
	etcd "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"chainfire/raft"
	"chainfire/raft/progress"
)

var progressStates = map[tracker.StateType]progress.State{
	tracker.StateProbe: progress.Probe, tracker.StateReplicate: progress.Replicate,
	tracker.StateSnapshot: progress.Snapshot,
}

// Status describes the engine. The lists are copies.
func (e *engine) Status() raft.Status {
	s := raft.Status{
		ID: e.id, Term: e.now.term, Vote: e.now.vote, Leader: e.now.lead, Role: e.now.role,
		First: e.log.first(), Last: e.log.last(), Stable: e.log.stable,
		Commit: e.now.commit, Applied: e.applied, Conf: e.conf.Clone(),
	}
	l := e.leader
	if l == nil {
		return s
	}
	s.Transferee = e.now.transferee
	s.ConfPending, s.CommittedInTerm = e.confBusy(), e.committedInTerm()
	e.node.WithProgress(func(id uint64, _ etcd.ProgressType, pr tracker.Progress) {
		p := l.peers[id]
		if p == nil {
			return
		}
		s.Peers = append(s.Peers, raft.PeerStatus{
			ID: id, State: progressStates[pr.State], Match: pr.Match, Next: pr.Next, Applied: p.applied,
			Active: p.silentTicks < e.cfg.ElectionTicks, Acked: p.acked, SilentTicks: p.silentTicks,
		})
	})
	return s
}

// Leader is the leader of the term, or raft.None.
func (e *engine) Leader() uint64 { return e.now.lead }

// Term is the current term.
func (e *engine) Term() uint64 { return e.now.term }

// Role is the member's role in its term.
func (e *engine) Role() raft.Role { return e.now.role }

// Commit is the highest index known committed.
func (e *engine) Commit() uint64 { return e.now.commit }
