package replica

import "chainfire/raft"

// reads are the linearizable reads of this member's clients. All that ask
// between two Outputs share one read index.
type reads struct {
	next uint64
	// asking wait to be asked for; at the core are those that wait for their
	// index, by the core's id; waiting have it and wait to be applied.
	asking  []uint64
	atCore  map[uint64][]uint64
	refused []uint64
	waiting []waitingRead
	ready   []uint64
}

type waitingRead struct {
	index uint64
	ids   []uint64
}

// Read asks that a read be served once it sees every write that was
// acknowledged before this call. The answer is its id in Output.Reads; a read
// that finds no leader waits for one.
func (r *Replica) Read(id uint64) { r.reads.asking = append(r.reads.asking, id) }

// ask puts the reads that wait to the core, as one.
func (r *Replica) ask() {
	q := &r.reads
	if r.lead == raft.None {
		return
	}
	if len(q.asking) == 0 {
		return
	}
	q.next++
	if q.atCore == nil {
		q.atCore = map[uint64][]uint64{}
	}
	q.atCore[q.next] = q.asking
	q.asking = nil
	r.core.ReadIndex(q.next)
}

func (r *Replica) takeReads(states []raft.ReadState) {
	q := &r.reads
	for _, s := range states {
		ids := q.atCore[s.ID]
		delete(q.atCore, s.ID)
		switch {
		case s.Rejected:
			// Asked again when the leader changes, or by the next tick.
			q.refused = append(q.refused, ids...)
		case s.Index <= r.applied:
			q.ready = append(q.ready, ids...)
		default:
			q.waiting = append(q.waiting, waitingRead{s.Index, ids})
		}
	}
}

func (q *reads) applied(index uint64) {
	keep := q.waiting[:0]
	for _, w := range q.waiting {
		if w.index <= index {
			q.ready = append(q.ready, w.ids...)
		} else {
			keep = append(keep, w)
		}
	}
	q.waiting = keep
}

// again lets refused reads be asked anew.
func (q *reads) again() {
	q.asking = append(q.refused, q.asking...)
	q.refused = nil
}
