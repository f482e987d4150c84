package rafttest

import (
	"chainfire/raft"
	"chainfire/raft/progress"
)

// committed is one entry of the ledger, the hash of the state after it, and the
// term in which a leader committed it.
type committed struct {
	entry  raft.Entry
	hash   uint64
	inTerm uint64
}

// commit adds the next entry to the ledger.
func (c *Cluster) commit(e raft.Entry, term uint64) {
	k := &c.check
	var before uint64
	if n := len(k.ledger); n > 0 {
		before = k.ledger[n-1].hash
	}
	k.ledger = append(k.ledger, committed{e, chain(before, &e), term})
	if e.Type == raft.EntryConf {
		c.commitChange(&e)
	}
}

// checkLedger holds what a member calls committed, as far as it has handed it
// out to be written, against what is: the same entries, and of a leader the next
// ones (paper §5.4). Others only ever know what a leader committed.
func (c *Cluster) checkLedger(m *member) {
	k := &c.check
	upTo := min(m.core.Commit(), m.view.LastIndex())
	for i := max(m.view.base, m.seen.ledger) + 1; i <= upTo; i++ {
		e := &m.view.entries[i-m.view.base-1]
		m.seen.ledger = i
		if i > uint64(len(k.ledger)) {
			if m.core.Role() != raft.Leader {
				c.breaks(commitQuorum, "%d: calls %d committed, which no leader has committed", m.id, i)
				return
			}
			c.commit(*e, m.core.Term())
			continue
		}
		if had := &k.ledger[i-1].entry; had.Term != e.Term || entrySum(had) != entrySum(e) {
			c.breaks(committedStays, "%d: committed %d/%d where %d/%d was", m.id, e.Index, e.Term, had.Index, had.Term)
			return
		}
	}
}

// checkCommitTerm: a leader counts disks only for entries of its own term (paper
// §5.4.2).
func (c *Cluster) checkCommitTerm(m *member, s *raft.Status) {
	if term, err := m.view.Term(s.Commit); err != nil || term != s.Term {
		c.breaks(commitInTerm, "%d: commits index %d of term %d in term %d (%v)", m.id, s.Commit, term, s.Term, err)
	}
}

// checkCommitQuorum counts, the slow way and on the disks themselves, who holds
// what a leader just committed: a majority of the voters of the configuration in
// force before the event or after it, of both halves while they are joint, and
// nobody else counts (paper §5.3, thesis §4.3; learners: thesis §4.2.1). A disk
// that was wiped counts with what was on it.
func (c *Cluster) checkCommitQuorum(m *member, s *raft.Status) {
	holds := func(id uint64) bool {
		p := c.members[id]
		return p != nil && p.held(s.Commit, s.Term)
	}
	if !majorities(&s.Conf, holds) && !majorities(&m.seen.conf, holds) {
		c.breaks(commitQuorum, "%d: commits index %d, which is on no majority of %v", m.id, s.Commit, s.Conf)
	}
}

// checkMatchGrows: within a session match never goes back (paper, figure 2:
// matchIndex increases monotonically).
func (c *Cluster) checkMatchGrows(m *member, p *raft.PeerStatus, before *seenPeer) {
	if before != nil && p.Match < before.status.Match && !c.check.wiped[p.ID] {
		c.breaks(matchGrows, "%d: match of %d went from %d to %d", m.id, p.ID, before.status.Match, p.Match)
	}
}

// checkMatchTrue: what a leader believes to be on a follower's disk is there
// (paper, figure 2: matchIndex is known to be replicated).
func (c *Cluster) checkMatchTrue(m *member, p *raft.PeerStatus, peer *member) {
	if c.check.wiped[p.ID] {
		return
	}
	if p.State == progress.Quarantined {
		c.breaks(honestDisk, "%d quarantined %d, whose disk is whole", m.id, p.ID)
	}
	// A follower of a newer leader may have replaced what it acknowledged here.
	follows := peer.disk.durable.hard.Term <= m.core.Term()
	if term, err := m.view.Term(p.Match); err == nil && p.Match > 0 && follows && !peer.holds(p.Match, term) {
		c.breaks(matchTrue, "%d: match of %d is %d/%d, which is not on its disk", m.id, p.ID, p.Match, term)
	}
	if p.Applied > peer.disk.durable.log.LastIndex() {
		c.breaks(matchTrue, "%d: %d is said to have applied %d, which is not on its disk", m.id, p.ID, p.Applied)
	}
}

// checkAcknowledged: every write that a client was told is done stands where it
// was put (paper §8).
func (s *Schedule) checkAcknowledged() {
	s.acknowledge()
	for _, p := range s.acked {
		if got := string(s.check.ledger[p.index-1].entry.Data); got != p.data {
			s.breaks(acknowledged, "acknowledged write %q at %d is now %q", p.data, p.index, got)
			return
		}
	}
}
