package rafttest

import "chainfire/raft"

// question is a read asked for and not answered yet.
type question struct {
	member, life uint64
	// floor is the lowest index that may be the answer.
	floor uint64
}

// ask notes a read: everything that anyone has called committed by now must be
// in its answer. No client was told of more (paper §8).
func (k *checker) ask(m *member, id uint64) {
	k.reads[id] = question{member: m.id, life: m.life, floor: k.known}
}

// forget drops what a crash takes away from a member.
func (k *checker) forget(m *member) {
	for id, q := range k.reads {
		if q.member == m.id {
			delete(k.reads, id)
		}
	}
}

// checkAnswers: the answer to a read is no older than what was committed when it
// was asked, and no newer than what is committed now (paper §8, thesis §6.4).
func (c *Cluster) checkAnswers(m *member, reads []raft.ReadState) {
	k := &c.check
	for _, r := range reads {
		q, ok := k.reads[r.ID]
		if !ok || q.member != m.id || q.life != m.life {
			c.breaks(readOnce, "%d: answer to read %d, which is not open there", m.id, r.ID)
			return
		}
		delete(k.reads, r.ID)
		if !r.Rejected && (r.Index < q.floor || r.Index > k.known) {
			c.breaks(readFloor, "%d: read %d has index %d, want [%d, %d]", m.id, r.ID, r.Index, q.floor, k.known)
		}
	}
}
