package etcdraft

import (
	etcd "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"chainfire/raft"
)

// drain takes everything that the reference wants done.
func (e *engine) drain() {
	for e.err == nil && e.node.HasReady() {
		rd := e.node.Ready()
		e.sync()
		for _, m := range rd.Messages {
			switch m.GetTo() {
			case etcd.LocalAppendThread:
				e.takeAppend(m)
			case etcd.LocalApplyThread:
				e.applying = append(e.applying, m.GetEntries()...)
			default:
				e.takeMessage(m)
			}
		}
		for _, r := range rd.ReadStates {
			e.readConfirmed(fromContext(r.RequestCtx), r.Index)
		}
		local := e.local
		e.local = nil
		for _, m := range local {
			e.step(m)
		}
	}
	e.sync()
}

func (e *engine) takeMessage(r *pb.Message) {
	m := e.message(r)
	if m.Type == raft.MsgVote {
		// It says that this member has voted for itself.
		e.durable = append(e.durable, m)
		return
	}
	e.msgs = append(e.msgs, m)
}

// takeAppend takes in what is to be written and what may be said only then.
func (e *engine) takeAppend(m *pb.Message) {
	if s := m.GetSnapshot(); s != nil && !etcd.IsEmptySnap(s) {
		e.restore(fromSnapshot(s))
	}
	es, err := fromEntries(m.GetEntries())
	if err != nil {
		e.fail("write to the log: %w", err)
		return
	}
	if len(es) > 0 {
		e.log.append(es)
		e.appended(es)
	}
	idle := e.idle()
	for _, r := range m.GetResponses() {
		// A pre-vote promises nothing.
		now := idle || r.GetType() == pb.MsgPreVoteResp
		if r.GetTo() == e.id {
			e.tellSelf(r, now)
			continue
		}
		msg := e.message(r)
		if e.deaf && msg.Type == raft.MsgAppendResp {
			continue
		}
		if msg.Type == raft.MsgVoteResp && !msg.Reject {
			e.elapsed = 0
		}
		if now {
			e.msgs = append(e.msgs, msg)
		} else {
			e.durable = append(e.durable, msg)
		}
	}
}

func (e *engine) tellSelf(r *pb.Message, now bool) {
	n := len(e.own)
	switch {
	case now:
		e.local = append(e.local, r)
	case n > 0 && ofEntriesOnly(r) && ofEntriesOnly(e.own[n-1]):
		// The later one says more.
		e.own[n-1] = r
	default:
		e.own = append(e.own, r)
	}
}

func ofEntriesOnly(r *pb.Message) bool {
	return r.GetType() == pb.MsgStorageAppendResp && r.GetSnapshot() == nil
}

// idle reports whether everything up to now is durable.
func (e *engine) idle() bool {
	l := &e.log
	return len(l.writes) == 0 && l.handed == l.last() && l.snap == nil &&
		e.now.term == e.handed.Term && e.now.vote == e.handed.Vote
}

// restore takes in that a snapshot replaces the log.
func (e *engine) restore(m *raft.SnapshotMeta) {
	e.log.restore(m)
	e.confs = nil
	e.conf = m.Conf.Clone()
}

// Ready takes what the inputs so far have led to.
func (e *engine) Ready() raft.Ready {
	e.input(e.flushReads)
	if e.err != nil {
		return raft.Ready{}
	}
	rd := raft.Ready{Committed: e.takeCommitted()}
	rd.Persist = e.takePersist()
	rd.Messages, e.msgs = e.msgs, nil
	rd.Reads, e.reads.done = e.reads.done, nil
	if e.err != nil {
		return raft.Ready{}
	}
	return rd
}

func (e *engine) takeCommitted() []raft.Entry {
	if e.log.snap != nil || e.given == len(e.applying) {
		return nil
	}
	es, err := fromEntries(e.applying[e.given:])
	if err != nil {
		e.fail("committed entries: %w", err)
		return nil
	}
	for i := range es {
		if es[i].Type != raft.EntryConf {
			continue
		}
		if es[i].Index > e.log.sure {
			e.log.awaited = es[i].Index
			es = es[:i:i]
			break
		}
		change, err := raft.DecodeChange(es[i].Data)
		if err != nil {
			e.fail("entry %d: %w", es[i].Index, err)
			return nil
		}
		e.confs = append(e.confs, pendingConf{es[i].Index, change})
	}
	if len(es) == 0 {
		return nil
	}
	e.given += len(es)
	e.handedOut = es[len(es)-1].Index
	if e.leader != nil {
		e.leader.release(es)
	}
	return es
}

func (e *engine) takePersist() *raft.Persist {
	l := &e.log
	hs := raft.HardState{Term: e.now.term, Vote: e.now.vote, Commit: e.now.commit}
	changed := hs.Term != e.handed.Term || hs.Vote != e.handed.Vote || e.handed.Commit < l.awaited
	snap := l.snap
	for i := range l.writes {
		if l.writes[i].snap == snap {
			snap = nil
		}
	}
	if !changed && snap == nil && l.handed == l.last() && len(e.durable) == 0 {
		// A commit index alone is not worth a write.
		return nil
	}
	e.seq++
	p := &raft.Persist{Seq: e.seq, Snapshot: snap, Messages: e.durable, Entries: l.unwritten()}
	e.durable = nil
	if hs != e.handed {
		p.HardState = &hs
		e.handed = hs
	}
	if len(l.writes) == 0 {
		e.stall = 0
	}
	l.writes = append(l.writes, write{
		seq: e.seq, last: l.last(), commit: e.handed.Commit, snap: snap, own: e.own,
	})
	e.own = nil
	return p
}
