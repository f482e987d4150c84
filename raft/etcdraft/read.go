package etcdraft

import (
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"chainfire/raft"
)

// reads are those that wait for their index.
type reads struct {
	// waiting are not in a batch yet.
	waiting []readRequest
	// asked are this member's batches at the reference or, through it, at the
	// leader; the oldest first.
	asked []readBatch
	// batch is the id of the last batch. None is ever used twice.
	batch uint64
	done  []raft.ReadState
}

// readRequest is a read of this member (from 0, id) or a batch of another's.
type readRequest struct{ from, id uint64 }

type readBatch struct {
	batch uint64
	ids   []uint64
	ticks int
}

// ReadIndex asks for an index whose state reflects every write that was
// acknowledged before the call.
func (e *engine) ReadIndex(id uint64) {
	if e.err == nil {
		e.reads.waiting = append(e.reads.waiting, readRequest{id: id})
	}
}

// readAsked takes in a batch of another member.
func (e *engine) readAsked(m raft.Message) {
	if m.Term > e.now.term {
		// The reference takes over the term, and drops the question.
		e.step(toMessage(m))
		e.drain()
	}
	if m.Term < e.now.term || e.now.role != raft.Leader {
		e.refuseRead(m.From, m.Round)
		return
	}
	e.reads.waiting = append(e.reads.waiting, readRequest{from: m.From, id: m.Round})
}

func (e *engine) refuseRead(to, round uint64) {
	e.msgs = append(e.msgs, raft.Message{
		Type: raft.MsgReadIndexResp, From: e.id, To: to, Term: e.now.term, Round: round, Reject: true,
	})
}

// readAnswered takes in the leader's answer to a batch of this member.
func (e *engine) readAnswered(m raft.Message) {
	if !m.Reject {
		e.step(toMessage(m))
		return
	}
	if i := e.reads.find(m.Round); i >= 0 && m.From == e.now.lead {
		e.rejectBatch(i)
	}
}

func (r *reads) find(batch uint64) int {
	return slices.IndexFunc(r.asked, func(b readBatch) bool { return b.batch == batch })
}

// readConfirmed takes in what the reference answers to a batch.
func (e *engine) readConfirmed(batch, index uint64) {
	r := &e.reads
	i := r.find(batch)
	if i < 0 {
		return
	}
	for _, id := range r.asked[i].ids {
		r.done = append(r.done, raft.ReadState{ID: id, Index: index})
	}
	r.asked = slices.Delete(r.asked, i, i+1)
}

// flushReads forms a batch of all reads of this member that wait, and passes on
// those of others.
func (e *engine) flushReads() {
	if len(e.reads.waiting) == 0 {
		return
	}
	switch {
	case e.leader != nil && !e.conf.IsVoter(e.id):
		// The reference would answer alone where one other voter is left.
		e.rejectWaiting()
	case e.leader != nil && !e.committedInTerm():
		// A leader that has committed nothing of its own term does not know the
		// commit index. The reference knows that too, except as a single voter.
	case e.leader == nil && e.now.lead == raft.None:
		e.rejectWaiting()
	default:
		e.askReads()
	}
}

func (e *engine) askReads() {
	r := &e.reads
	waiting := r.waiting
	r.waiting = nil
	var ids []uint64
	for _, q := range waiting {
		switch {
		case q.from == raft.None:
			ids = append(ids, q.id)
		case e.leader == nil:
			e.refuseRead(q.from, q.id)
		default:
			e.step(&pb.Message{
				Type: pb.MsgReadIndex.Enum(), From: new(q.from), To: new(e.id),
				Entries: []*pb.Entry{{Data: readContext(q.id)}},
			})
		}
	}
	if len(ids) > 0 {
		r.batch++
		r.asked = append(r.asked, readBatch{batch: r.batch, ids: ids})
		e.node.ReadIndex(readContext(r.batch))
	}
}

// tickReads gives up on batches whose question or answer was lost, or which the
// reference forgot.
func (e *engine) tickReads() {
	for i := 0; i < len(e.reads.asked); {
		if e.reads.asked[i].ticks++; e.reads.asked[i].ticks < e.cfg.ElectionTicks {
			i++
			continue
		}
		e.rejectBatch(i)
	}
}

func (e *engine) rejectBatch(i int) {
	r := &e.reads
	for _, id := range r.asked[i].ids {
		r.done = append(r.done, raft.ReadState{ID: id, Rejected: true})
	}
	r.asked = slices.Delete(r.asked, i, i+1)
}

func (e *engine) rejectWaiting() {
	r := &e.reads
	for _, q := range r.waiting {
		if q.from == raft.None {
			r.done = append(r.done, raft.ReadState{ID: q.id, Rejected: true})
			continue
		}
		e.refuseRead(q.from, q.id)
	}
	r.waiting = nil
}

// rejectReads ends every read that waits, as leadership or the leader changed.
func (e *engine) rejectReads() {
	e.rejectWaiting()
	for len(e.reads.asked) > 0 {
		e.rejectBatch(0)
	}
}
