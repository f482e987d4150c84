package rafttest

import (
	"chainfire/raft"
)

// checker knows what happened in the whole cluster, as no member can, and holds
// every member's doings against it.
type checker struct {
	// terms is what is known of each term.
	terms []termRecord
	// entries are all entries ever written anywhere, by index.
	entries [][]written
	// ledger holds the committed entries from index 1 on.
	ledger []committed
	// confs are the configurations that the ledger went through.
	confs []confRecord
	// removed are the members that the last membership changes took out, gone
	// all that ever were taken out.
	removed, gone map[uint64]bool
	// known is the highest index that any core has called committed.
	known uint64
	reads map[uint64]question
	// wiped are the members that lost a disk.
	wiped map[uint64]bool
}

// termRecord is what is known of one term: who led it, in which life, and how
// each member voted, as it said and as it is durable.
type termRecord struct {
	leader, life uint64
	ballots      []ballot
}

type ballot struct{ voter, said, durable uint64 }

func newChecker() checker {
	return checker{
		removed: map[uint64]bool{}, gone: map[uint64]bool{},
		reads: map[uint64]question{}, wiped: map[uint64]bool{},
	}
}

// maxTerm is more terms than any run has.
const maxTerm = 1 << 20

// term is the record of a term.
func (k *checker) term(c *Cluster, t uint64) *termRecord {
	if t > maxTerm {
		c.breaks(onlyForward, "term %d is out of all proportion", t)
		t = maxTerm
	}
	for uint64(len(k.terms)) <= t {
		k.terms = append(k.terms, termRecord{})
	}
	return &k.terms[t]
}

func (r *termRecord) ballot(voter uint64) *ballot {
	for i := range r.ballots {
		if r.ballots[i].voter == voter {
			return &r.ballots[i]
		}
	}
	r.ballots = append(r.ballots, ballot{voter: voter})
	return &r.ballots[len(r.ballots)-1]
}

// status is how a member's core stands now, good until the next call.
func (c *Cluster) status(m *member) *raft.Status {
	if m.statusTo != nil {
		m.statusTo(&c.now)
	} else {
		c.now = m.core.Status()
	}
	return &c.now
}

// observe checks a member after an input.
func (c *Cluster) observe(m *member) {
	if c.err != nil {
		return
	}
	if err := m.core.Err(); err != nil {
		c.breaks(coreRuns, "core of %d stopped: %w", m.id, err)
		return
	}
	s := c.status(m)
	c.hash.add(s.Term | s.Commit<<32)
	c.hash.add(s.Last | s.Applied<<32)
	c.checkForward(m, s)
	if s.Amnesia && !c.check.wiped[m.id] {
		c.breaks(honestDisk, "%d: thought to have lost entries, but its disk is whole", m.id)
	}
	if s.Role == raft.Leader {
		c.observeLeader(m, s)
	}
	c.checkConf(m, s)
	c.check.known = max(c.check.known, s.Commit)
	m.seen.term, m.seen.role, m.seen.commit, m.seen.applied, m.seen.first = s.Term, s.Role, s.Commit, s.Applied, s.First
	if !m.seen.conf.Equal(s.Conf) {
		m.seen.conf, m.seen.lead.since = s.Conf.Clone(), m.ticks
	}
}

func (c *Cluster) observeLeader(m *member, s *raft.Status) {
	if m.seen.role != raft.Leader || m.seen.term != s.Term {
		m.seen.peers = m.seen.peers[:0]
		m.seen.lead = leadership{
			term: s.Term, last: s.Last, change: lastChange(&m.view),
			since: m.ticks, heard: m.seen.lead.heard[:0],
		}
		m.stall = 0
		c.checkElectionSafety(m, s)
		c.checkElectionQuorum(m, s)
		c.checkComplete(m, s)
	} else if s.Commit > m.seen.commit {
		c.checkCommitTerm(m, s)
		c.checkCommitQuorum(m, s)
		c.checkLedger(m)
	}
	c.checkAppendOnly(m, s)
	c.observePeers(m, s)
}

// observePeers holds what a leader believes of the others against their disks.
// What did not change since the last look is not looked at again.
func (c *Cluster) observePeers(m *member, s *raft.Status) {
	same := len(s.Peers) == len(m.seen.peers)
	for i := range s.Peers {
		p := &s.Peers[i]
		peer := c.members[p.ID]
		if peer == nil {
			continue
		}
		var before *seenPeer
		if same && m.seen.peers[i].status.ID == p.ID {
			before = &m.seen.peers[i]
		} else {
			before = m.seen.peer(p.ID)
		}
		if before != nil && before.writes == peer.disk.writes && before.status.Match == p.Match &&
			before.status.Applied == p.Applied && before.status.State == p.State {
			continue
		}
		same = same && before != nil
		c.checkMatchGrows(m, p, before)
		c.checkMatchTrue(m, p, peer)
		if same {
			before.status, before.writes = *p, peer.disk.writes
		}
	}
	if same {
		return
	}
	m.seen.peers = m.seen.peers[:0]
	for i := range s.Peers {
		seen := seenPeer{status: s.Peers[i]}
		if peer := c.members[seen.status.ID]; peer != nil {
			seen.writes = peer.disk.writes
		}
		m.seen.peers = append(m.seen.peers, seen)
	}
}
