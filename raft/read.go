package raft

import (
	"math"

	"chainfire/raft/quorum"
)

// readState is what a member knows of reads that wait for their index (thesis
// §6.4). On the leader a batch takes the commit index and one read round; it is
// answered when a quorum has answered that round or a later one. Rounds are
// never used twice, so that no answer to an earlier question confirms a later
// one.
type readState struct {
	// waiting are reads that are not in a batch yet.
	waiting []readRequest
	// rounds are the leader's batches, oldest first.
	rounds []readRound
	// asked are a follower's batches at the leader.
	asked map[uint64]*readBatch
	// batch is the id of the last batch sent to a leader.
	batch uint64
	done  []ReadState
}

// readRequest is a read of this member (from 0, id) or a batch of another's.
type readRequest struct {
	from uint64
	id   uint64
}

type readRound struct {
	round    uint64
	index    uint64
	requests []readRequest
}

type readBatch struct {
	ids   []uint64
	ticks int
}

// ReadIndex asks for an index whose state reflects every write that was
// acknowledged before the call. The answer is a ReadState with the same id, in
// a later Ready.
func (c *Core) ReadIndex(id uint64) {
	if c.err == nil {
		c.reads.waiting = append(c.reads.waiting, readRequest{id: id})
	}
}

func (c *Core) handleReadIndex(m Message) {
	if c.role != Leader {
		c.send(Message{Type: MsgReadIndexResp, To: m.From, Round: m.Round, Reject: true})
		return
	}
	c.reads.waiting = append(c.reads.waiting, readRequest{from: m.From, id: m.Round})
}

func (c *Core) handleReadIndexResp(m Message) {
	b := c.reads.asked[m.Round]
	if b == nil || m.From != c.lead {
		return
	}
	delete(c.reads.asked, m.Round)
	for _, id := range b.ids {
		c.reads.done = append(c.reads.done, ReadState{ID: id, Index: m.Index, Rejected: m.Reject})
	}
}

// flushReads forms a batch of all reads that wait.
func (c *Core) flushReads() {
	r := &c.reads
	if len(r.waiting) == 0 {
		return
	}
	switch {
	case c.role == Leader && c.committedInTerm():
		c.openRound()
	case c.role == Leader:
		// Until an entry of its own term is committed a leader does not know
		// the commit index; the reads wait.
	case c.lead == None:
		c.rejectWaiting()
	default:
		c.askLeader()
	}
}

func (c *Core) openRound() {
	r := &c.reads
	c.leader.round++
	r.rounds = append(r.rounds, readRound{c.leader.round, c.log.committed, r.waiting})
	r.waiting = nil
	c.confirmReads()
	if len(r.rounds) > 0 {
		c.broadcastHeartbeat()
	}
}

// confirmReads answers the batches whose round a quorum has answered.
func (c *Core) confirmReads() {
	r := &c.reads
	if len(r.rounds) == 0 {
		return
	}
	confirmed := quorum.Committed(c.conf.Voters, c.conf.Outgoing, func(id uint64) uint64 {
		if id == c.id {
			return math.MaxUint64
		}
		if p := c.leader.progress[id]; p != nil {
			return p.Round
		}
		return 0
	})
	n := 0
	for ; n < len(r.rounds) && r.rounds[n].round <= confirmed; n++ {
		for _, q := range r.rounds[n].requests {
			c.answerRead(q, r.rounds[n].index)
		}
	}
	r.rounds = append(r.rounds[:0], r.rounds[n:]...)
}

func (c *Core) answerRead(q readRequest, index uint64) {
	if q.from != None {
		c.send(Message{Type: MsgReadIndexResp, To: q.from, Round: q.id, Index: index})
		return
	}
	c.reads.done = append(c.reads.done, ReadState{ID: q.id, Index: index})
}

func (c *Core) askLeader() {
	r := &c.reads
	var ids []uint64
	for _, q := range r.waiting {
		if q.from != None {
			c.send(Message{Type: MsgReadIndexResp, To: q.from, Round: q.id, Reject: true})
			continue
		}
		ids = append(ids, q.id)
	}
	r.waiting = nil
	if len(ids) == 0 {
		return
	}
	r.batch++
	if r.asked == nil {
		r.asked = map[uint64]*readBatch{}
	}
	r.asked[r.batch] = &readBatch{ids: ids}
	c.send(Message{Type: MsgReadIndex, To: c.lead, Round: r.batch})
}

// tickReads gives up on batches whose question or answer was lost.
func (c *Core) tickReads() {
	r := &c.reads
	if len(r.asked) == 0 {
		return
	}
	for _, b := range c.batchIDs() {
		if r.asked[b].ticks++; r.asked[b].ticks >= c.cfg.ElectionTicks {
			c.rejectBatch(b)
		}
	}
}

// batchIDs lists the batches at the leader in the order in which they went out.
func (c *Core) batchIDs() []uint64 {
	ids := make([]uint64, 0, len(c.reads.asked))
	for b := c.reads.batch; len(ids) < len(c.reads.asked); b-- {
		if c.reads.asked[b] != nil {
			ids = append(ids, b)
		}
	}
	return ids
}

func (c *Core) rejectBatch(b uint64) {
	for _, id := range c.reads.asked[b].ids {
		c.reads.done = append(c.reads.done, ReadState{ID: id, Rejected: true})
	}
	delete(c.reads.asked, b)
}

func (c *Core) rejectWaiting() {
	w := c.reads.waiting
	c.reads.waiting = nil
	c.rejectRequests(w)
}

func (c *Core) rejectRequests(requests []readRequest) {
	for _, q := range requests {
		if q.from != None {
			c.send(Message{Type: MsgReadIndexResp, To: q.from, Round: q.id, Reject: true})
			continue
		}
		c.reads.done = append(c.reads.done, ReadState{ID: q.id, Rejected: true})
	}
}

// rejectReads ends every read that waits, as leadership or the leader changed.
func (c *Core) rejectReads() {
	r := &c.reads
	rounds := r.rounds
	r.rounds = nil
	for _, b := range rounds {
		c.rejectRequests(b.requests)
	}
	c.rejectWaiting()
	for _, b := range c.batchIDs() {
		c.rejectBatch(b)
	}
}
