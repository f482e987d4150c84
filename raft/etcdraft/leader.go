package etcdraft

import (
	"fmt"

	etcd "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// leadership is what the contract asks of a leader and the reference does not
// keep; it begins and ends with a leadership.
type leadership struct {
	term  uint64
	peers map[uint64]*peer
	// start is the index of the first entry of this term.
	start uint64
	// lastConf is the index of the last membership change that may be in the
	// log; while it is not applied no other may follow.
	lastConf    uint64
	uncommitted uint64
	// round is the last read round that heartbeats carried.
	round uint64
	// leaving says that a change in the log takes this leader out of the voters.
	leaving bool
}

// peer is what a leader knows of a follower beside the reference's progress.
type peer struct {
	applied       uint64
	acked         bool
	silentTicks   int
	snapshotTicks int
}

// release takes entries that are handed out to be applied out of the uncommitted
// size, into which only those of this leadership went.
func (l *leadership) release(es []raft.Entry) {
	for i := range es {
		if es[i].Index >= l.start {
			l.uncommitted -= min(l.uncommitted, es[i].Size())
		}
	}
}

// lead begins a leadership; the reference has appended its first entry.
func (e *engine) lead() {
	l := &leadership{term: e.now.term, start: e.log.last(), peers: map[uint64]*peer{}}
	for {
		t, err := e.log.term(l.start - 1)
		if err != nil || t != l.term {
			break
		}
		l.start--
	}
	l.lastConf = l.start - 1
	e.leader, e.stall = l, 0
	for i := e.now.commit + 1; i <= e.log.last() && e.err == nil; i++ {
		en, err := e.log.entry(i)
		switch {
		case err != nil:
			e.fail("read uncommitted entries: %w", err)
		case i >= l.start:
			e.appended([]raft.Entry{en})
		case en.Type == raft.EntryConf:
			// A change of an earlier leader.
			l.leaving = l.leaving || e.takesOut(&en)
		}
	}
	e.syncPeers()
}

// syncPeers drops what is known of members that are gone, and begins with those
// that are new.
func (e *engine) syncPeers() {
	l := e.leader
	for id := range l.peers {
		if !e.conf.Contains(id) {
			delete(l.peers, id)
		}
	}
	for _, id := range e.conf.IDs() {
		if id != e.id && l.peers[id] == nil {
			l.peers[id] = &peer{}
		}
	}
}

// appended takes in what came to the log; on a leader they are its own entries.
func (e *engine) appended(es []raft.Entry) {
	l := e.leader
	if l == nil || e.now.role != raft.Leader || e.now.term != l.term {
		return
	}
	for i := range es {
		l.uncommitted += es[i].Size()
		if es[i].Type == raft.EntryConf {
			l.lastConf, l.leaving = es[i].Index, e.takesOut(&es[i])
		}
	}
}

// takesOut reports whether a change takes this member out of the voters.
func (e *engine) takesOut(en *raft.Entry) bool {
	change, err := raft.DecodeChange(en.Data)
	if err != nil {
		e.fail("entry %d: %w", en.Index, err)
		return false
	}
	next, err := confchange.Apply(e.conf, change)
	return err == nil && !next.IsVoter(e.id)
}

func (e *engine) committedInTerm() bool { return e.now.commit >= e.leader.start }

func (e *engine) confBusy() bool { return !e.committedInTerm() || e.leader.lastConf > e.applied }

// mayPropose gives the errors that proposals of both kinds have in common.
func (e *engine) mayPropose() error {
	switch {
	case e.err != nil:
		return e.err
	case e.leader == nil:
		return raft.ErrNotLeader
	case e.now.transferee != raft.None || e.leader.leaving:
		return raft.ErrTransferring
	}
	return nil
}

// Propose appends one command to the log of a leader and returns where it
// stands; the errors are those of raft.Core.
func (e *engine) Propose(data []byte) (index, term uint64, err error) {
	if err := e.mayPropose(); err != nil {
		return 0, 0, err
	}
	size := (&raft.Entry{Data: data}).Size()
	if u := e.leader.uncommitted; u+size > e.cfg.MaxUncommittedBytes && u > 0 {
		return 0, 0, raft.ErrTooMuchUncommitted
	}
	return e.propose(&pb.Entry{Type: pb.EntryNormal.Enum(), Data: data})
}

// ProposeConf appends a membership change to the log of a leader and returns
// where it stands; the errors are those of raft.Core.
func (e *engine) ProposeConf(change confchange.Change) (index, term uint64, err error) {
	if err := e.mayPropose(); err != nil {
		return 0, 0, err
	}
	if e.confBusy() {
		return 0, 0, raft.ErrConfPending
	}
	data := raft.EncodeChange(change)
	if _, err := raft.DecodeChange(data); err != nil {
		return 0, 0, fmt.Errorf("%w: %w", raft.ErrBadChange, err)
	}
	if _, err := confchange.Apply(e.conf, change); err != nil {
		return 0, 0, fmt.Errorf("%w: %w", raft.ErrBadChange, err)
	}
	return e.propose(&pb.Entry{Type: pb.EntryConfChangeV2.Enum(), Data: wrap(data)})
}

func (e *engine) propose(en *pb.Entry) (index, term uint64, err error) {
	e.input(func() {
		err = e.node.Step(&pb.Message{Type: pb.MsgProp.Enum(), From: new(e.id), Entries: []*pb.Entry{en}})
		if err != nil {
			err = fmt.Errorf("%w: %w", raft.ErrTransferring, err)
			return
		}
		e.drain()
		index, term = e.log.last(), e.now.term
	})
	if e.err != nil {
		return 0, 0, e.err
	}
	return index, term, err
}

func (e *engine) tickLeader() {
	for _, p := range e.leader.peers {
		p.silentTicks++
	}
	e.node.Tick()
	e.drain()
	if e.now.role != raft.Leader {
		return
	}
	if e.stall >= e.cfg.DiskStallTicks {
		// Heartbeats alone would keep a leader in office that can write nothing.
		e.stepDown()
		return
	}
	e.tickSnapshots()
	if e.conf.Joint() && e.conf.AutoLeave && e.now.transferee == raft.None && !e.confBusy() {
		// The reference tries once, when the joint configuration is applied, and
		// again only when more is. One that it drops follows at the next tick.
		_ = e.node.ProposeConfChange(nil)
	}
}

// tickSnapshots asks again for snapshots that nothing came of.
func (e *engine) tickSnapshots() {
	e.node.WithProgress(func(id uint64, _ etcd.ProgressType, pr tracker.Progress) {
		p := e.leader.peers[id]
		switch {
		case p == nil:
		case pr.State != tracker.StateSnapshot:
			p.snapshotTicks = 0
		default:
			if p.snapshotTicks++; p.snapshotTicks%(4*e.cfg.ElectionTicks) == 0 {
				e.msgs = append(e.msgs, raft.Message{Type: raft.MsgSnapshot, From: e.id, To: id, Term: e.now.term})
			}
		}
	})
}

// stepDown makes a leader a follower of its own term: the reference's check for
// a quorum is made twice with nothing heard in between. A voter that decides
// alone stays.
func (e *engine) stepDown() {
	for range 2 {
		e.step(&pb.Message{Type: pb.MsgCheckQuorum.Enum(), From: new(etcd.LocalAppendThread), To: new(e.id)})
	}
	e.drain()
}

// fromFollower takes in what a follower answers.
func (e *engine) fromFollower(m raft.Message) {
	if e.leader != nil && m.Term == e.now.term {
		if m.Session != 0 {
			return
		}
		ack := m.Type == raft.MsgAppendResp && !m.Reject
		if ack && m.Index > e.log.last() {
			e.fail("%d acknowledged index %d but this leader's log ends at %d", m.From, m.Index, e.log.last())
			return
		}
		// No round was opened that is later than this.
		m.Round = min(m.Round, e.leader.round)
		if p := e.leader.peers[m.From]; p != nil {
			p.silentTicks = 0
			p.applied = max(p.applied, m.Applied)
			p.acked = p.acked || ack
		}
	}
	e.step(toMessage(m))
	e.drain()
	e.maybeHandOver()
}

// maybeHandOver ends the leadership of a leader that is no voter any more, once
// a voter holds the whole log and has applied the change: that one can win by
// the votes of the new configuration alone.
func (e *engine) maybeHandOver() {
	l := e.leader
	if l == nil || e.now.role != raft.Leader || !l.leaving || e.conf.IsVoter(e.id) {
		return
	}
	to := raft.None
	e.node.WithProgress(func(id uint64, _ etcd.ProgressType, pr tracker.Progress) {
		p := l.peers[id]
		if to == raft.None && p != nil && e.conf.IsVoter(id) && pr.Match == e.log.last() && p.applied >= l.lastConf {
			to = id
		}
	})
	if to == raft.None {
		return
	}
	e.msgs = append(e.msgs, raft.Message{Type: raft.MsgTimeoutNow, From: e.id, To: to, Term: e.now.term})
	e.stepDown()
}

// Unreachable takes in that messages to a member may have been lost.
func (e *engine) Unreachable(id uint64) {
	e.input(func() {
		if e.leader != nil && e.leader.peers[id] != nil {
			e.node.ReportUnreachable(id)
		}
	})
}

// TransferLeader hands leadership to a voter; the errors are those of raft.Core.
func (e *engine) TransferLeader(to uint64) error {
	switch {
	case e.err != nil:
		return e.err
	case e.leader == nil:
		return raft.ErrNotLeader
	case to != e.id && (!e.conf.IsVoter(to) || e.leader.peers[to] == nil):
		return raft.ErrNotMember
	}
	e.input(func() { e.node.TransferLeader(to) })
	return e.err
}
