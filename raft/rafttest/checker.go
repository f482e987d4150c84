package rafttest

import (
	"chainfire/raft"
	"chainfire/raft/progress"
)

// checker knows what happened in the whole cluster, as no member can, and holds
// every member's doings against it.
type checker struct {
	// leaders is who led each term, in which life.
	leaders map[uint64][2]uint64
	// votes is whom a member voted for in a term: by {member, term}.
	votes map[[2]uint64]uint64
	// entries are all entries ever written anywhere, by index.
	entries [][]written
	// ledger holds the committed entries from index 1 on, and hashes the state
	// after each.
	ledger []raft.Entry
	hashes []uint64
	// terms says in which term, at the latest, each was committed.
	terms []uint64
	// conf is the configuration after the ledger's last membership change, at
	// confIndex; removed are the members that a change took out.
	conf      raft.ConfState
	confIndex uint64
	removed   map[uint64]bool
	// known is the highest index that any core has called committed.
	known uint64
	reads map[uint64]question
	wiped map[uint64]bool
}

// written is what log matching needs of an entry: its content and the term of
// the entry before it.
type written struct {
	term, sum, prevTerm uint64
}

// match notes an entry that is in some log, and reports whether the index and
// the term name no other one.
func (k *checker) match(e *raft.Entry, prevTerm uint64) bool {
	now := written{e.Term, entrySum(e), prevTerm}
	for uint64(len(k.entries)) <= e.Index {
		k.entries = append(k.entries, nil)
	}
	for _, had := range k.entries[e.Index] {
		if had.term == e.Term {
			return had == now
		}
	}
	k.entries[e.Index] = append(k.entries[e.Index], now)
	return true
}

// question is a read asked for and not answered yet.
type question struct {
	member, life uint64
	// floor is the lowest index that may be the answer.
	floor uint64
}

func newChecker() checker {
	return checker{
		leaders: map[uint64][2]uint64{}, votes: map[[2]uint64]uint64{},
		removed: map[uint64]bool{}, reads: map[uint64]question{}, wiped: map[uint64]bool{},
	}
}

// forget drops what a crash takes away from a member.
func (k *checker) forget(m *member) {
	for id, q := range k.reads {
		if q.member == m.id {
			delete(k.reads, id)
		}
	}
}

// observe checks a member after an input.
func (c *Cluster) observe(m *member) {
	if c.err != nil {
		return
	}
	k, core := &c.check, m.core
	if err := core.Err(); err != nil {
		c.fail("core of %d stopped: %w", m.id, err)
		return
	}
	s := c.status(m)
	if s.Term < m.seen.term {
		c.fail("%d: term went from %d to %d", m.id, m.seen.term, s.Term)
	}
	if s.Commit < m.seen.commit {
		c.fail("%d: commit went from %d to %d", m.id, m.seen.commit, s.Commit)
	}
	if s.Amnesia && !k.wiped[m.id] {
		c.fail("%d: thought to have lost entries, but its disk is whole", m.id)
	}
	if s.Term != m.seen.term || s.Role != m.seen.role {
		m.seen.peers = m.seen.peers[:0]
	}
	if s.Role == raft.Leader {
		c.observeLeader(m, s)
	}
	k.known = max(k.known, s.Commit)
	m.seen.term, m.seen.role, m.seen.commit = s.Term, s.Role, s.Commit
	if !m.seen.conf.Equal(s.Conf) {
		m.seen.conf = s.Conf.Clone()
	}
}

// status is how a member's core stands now, good until the next call.
func (c *Cluster) status(m *member) *raft.Status {
	if core, ok := m.core.(interface{ StatusTo(s *raft.Status) }); ok {
		core.StatusTo(&c.now)
	} else {
		c.now = m.core.Status()
	}
	return &c.now
}

func (c *Cluster) observeLeader(m *member, s *raft.Status) {
	k := &c.check
	if m.seen.role != raft.Leader || m.seen.term != s.Term {
		me := [2]uint64{m.id, m.life}
		if other, ok := k.leaders[s.Term]; ok && other != me {
			c.fail("election safety: term %d is led by %d and by %d", s.Term, other[0], m.id)
		}
		k.leaders[s.Term] = me
		k.vote(c, m.id, s.Term, m.id)
	}
	if s.Commit > m.seen.commit && m.seen.role == raft.Leader {
		c.checkQuorum(m, s)
	}
	for i := range s.Peers {
		c.checkPeer(m, &s.Peers[i], m.seen.peer(s.Peers[i].ID))
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

// checkPeer holds what a leader believes of a follower against the follower's
// disk.
func (c *Cluster) checkPeer(m *member, p *raft.PeerStatus, before *seenPeer) {
	peer := c.members[p.ID]
	if peer == nil || c.check.wiped[p.ID] {
		return
	}
	if before != nil && before.writes == peer.disk.writes && before.status.Match == p.Match &&
		before.status.Applied == p.Applied && before.status.State == p.State {
		return
	}
	if p.State == progress.Quarantined {
		c.fail("%d quarantined %d, whose disk is whole", m.id, p.ID)
	}
	if before != nil && p.Match < before.status.Match {
		c.fail("%d: match of %d went from %d to %d", m.id, p.ID, before.status.Match, p.Match)
	}
	// A follower of a newer leader may have replaced what it acknowledged here.
	follows := peer.disk.durable.hard.Term <= m.core.Term()
	if term, err := m.view.Term(p.Match); err == nil && p.Match > 0 && follows && !peer.holds(p.Match, term) {
		c.fail("%d: match of %d is %d/%d, which is not on its disk", m.id, p.ID, p.Match, term)
	}
	if p.Applied > peer.disk.durable.log.LastIndex() {
		c.fail("%d: %d is said to have applied %d, which is not on its disk", m.id, p.ID, p.Applied)
	}
}

// checkQuorum counts, the slow way and on the disks themselves, who holds what a
// leader just committed.
func (c *Cluster) checkQuorum(m *member, s *raft.Status) {
	term, err := m.view.Term(s.Commit)
	if err != nil || term != s.Term {
		c.fail("%d: committed index %d of term %d in term %d (%v)", m.id, s.Commit, term, s.Term, err)
		return
	}
	if !c.onQuorum(s.Conf, s.Commit, term) && !c.onQuorum(m.seen.conf, s.Commit, term) {
		c.fail("%d: committed index %d, which is on no quorum of %v", m.id, s.Commit, s.Conf)
	}
}

func (c *Cluster) onQuorum(conf raft.ConfState, index, term uint64) bool {
	for _, half := range [][]uint64{conf.Voters, conf.Outgoing} {
		n := 0
		for _, id := range half {
			if p := c.members[id]; p != nil && (p.holds(index, term) || c.check.wiped[id]) {
				n++
			}
		}
		if len(half) > 0 && 2*n <= len(half) {
			return false
		}
	}
	return true
}

// persist checks log matching: an index and a term name one entry, everywhere,
// with one entry before it.
func (k *checker) persist(c *Cluster, m *member, p *raft.Persist) {
	prev := m.view.LastIndex()
	prevTerm, _ := m.view.Term(prev) // the last index is always there
	if p.Snapshot != nil {
		prev, prevTerm = p.Snapshot.Index, p.Snapshot.Term
	}
	if len(p.Entries) > 0 && p.Entries[0].Index <= m.seen.ledger {
		c.fail("%d: overwrites committed entry %d", m.id, p.Entries[0].Index)
	}
	if len(p.Entries) > 0 && p.Entries[0].Index <= prev {
		prev = p.Entries[0].Index - 1
		t, err := m.view.Term(prev)
		if err != nil {
			c.fail("%d: write after index %d: %w", m.id, prev, err)
		}
		prevTerm = t
	}
	for i := range p.Entries {
		e := &p.Entries[i]
		if e.Index != prev+1 || e.Term < prevTerm {
			c.fail("%d: writes entry %d/%d after %d/%d", m.id, e.Index, e.Term, prev, prevTerm)
		}
		if !k.match(e, prevTerm) {
			c.fail("log matching: %d writes entry %d/%d, which elsewhere is another or follows another", m.id, e.Index, e.Term)
		}
		prev, prevTerm = e.Index, e.Term
	}
}

// commit adds the next entry to the ledger.
func (k *checker) commit(e raft.Entry, term uint64) {
	var before uint64
	if n := len(k.hashes); n > 0 {
		before = k.hashes[n-1]
	}
	k.ledger, k.terms = append(k.ledger, e), append(k.terms, term)
	k.hashes = append(k.hashes, chain(before, &e))
	if e.Type != raft.EntryConf {
		return
	}
	state := machine{Index: e.Index - 1, Conf: k.conf}
	// What does not decode stops the cores, which is noticed there.
	_, _ = state.apply(&e)
	for _, id := range k.conf.IDs() {
		if !state.Conf.Contains(id) {
			k.removed[id] = true
		}
	}
	for _, id := range state.Conf.IDs() {
		delete(k.removed, id)
	}
	k.conf, k.confIndex = state.Conf, e.Index
}

// committed checks and extends the ledger with what a member calls committed,
// and the log of a new leader against it.
func (k *checker) committed(c *Cluster, m *member) {
	for i := max(m.view.base, m.seen.ledger) + 1; i <= m.core.Commit(); i++ {
		e := &m.view.entries[i-m.view.base-1]
		if i > uint64(len(k.ledger))+1 {
			c.fail("%d: committed %d, but nobody has committed %d", m.id, i, len(k.ledger)+1)
			return
		}
		m.seen.ledger = i
		if i == uint64(len(k.ledger))+1 {
			k.commit(*e, m.core.Term())
			continue
		}
		if had := &k.ledger[i-1]; had.Term != e.Term || entrySum(had) != entrySum(e) {
			c.fail("%d: committed %d/%d where %d/%d was", m.id, e.Index, e.Term, had.Index, had.Term)
			return
		}
	}
	if m.core.Role() == raft.Leader && m.seen.complete != m.core.Term() {
		m.seen.complete = m.core.Term()
		k.complete(c, m)
	}
}

// complete checks the log of a new leader. The last of the entries that were
// committed before its term vouches for all before it, as every write is held
// against log matching.
func (k *checker) complete(c *Cluster, m *member) {
	for i := len(k.ledger) - 1; i >= 0; i-- {
		if k.terms[i] >= m.core.Term() {
			continue
		}
		if e := &k.ledger[i]; !m.view.holds(e.Index, e.Term) {
			c.fail("leader completeness: %d leads term %d without committed entry %d/%d", m.id, m.core.Term(), e.Index, e.Term)
		}
		return
	}
}

// handedOut checks that what goes to the state machine is durable here.
func (k *checker) handedOut(c *Cluster, m *member, es []raft.Entry) {
	for i := range es {
		if !m.holds(es[i].Index, es[i].Term) {
			c.fail("%d: handed out %d/%d, which is not on its disk", m.id, es[i].Index, es[i].Term)
		}
	}
}

// applied checks state machine safety.
func (k *checker) applied(c *Cluster, m *member, e *raft.Entry) {
	if e.Index > uint64(len(k.ledger)) {
		c.fail("%d: applied %d, which is not committed", m.id, e.Index)
		return
	}
	if m.machine.Hash != k.hashes[e.Index-1] {
		c.fail("state machine safety: %d differs after applying %d/%d", m.id, e.Index, e.Term)
	}
}

// message checks what leaves a member.
func (k *checker) message(c *Cluster, m *member, msg *raft.Message) {
	if msg.From != m.id || msg.To == m.id || msg.To == raft.None {
		c.fail("%d sends %s", m.id, describeMessage(*msg))
	}
	switch msg.Type {
	case raft.MsgVote:
		k.vote(c, m.id, msg.Term, m.id)
	case raft.MsgVoteResp:
		if !msg.Reject {
			k.vote(c, m.id, msg.Term, msg.To)
		}
	case raft.MsgAppend:
		prev, prevTerm := msg.Index, msg.LogTerm
		for i := range msg.Entries {
			e := &msg.Entries[i]
			if e.Index != prev+1 || e.Term < prevTerm {
				c.fail("malformed %s", describeMessage(*msg))
			}
			if !k.match(e, prevTerm) {
				c.fail("log matching: %d sends another entry %d/%d", m.id, e.Index, e.Term)
			}
			prev, prevTerm = e.Index, e.Term
		}
	}
}

func (k *checker) vote(c *Cluster, member, term, candidate uint64) {
	at := [2]uint64{member, term}
	if had, ok := k.votes[at]; ok && had != candidate {
		c.fail("%d voted for %d and for %d in term %d", member, had, candidate, term)
	}
	k.votes[at] = candidate
}

// promises checks that what votes and acknowledgements say is on the disk when
// they leave.
func (k *checker) promises(c *Cluster, m *member, msgs []raft.Message) {
	hard := &m.disk.durable.hard
	if hard.Vote != raft.None {
		k.vote(c, m.id, hard.Term, hard.Vote)
	}
	for i := range msgs {
		msg := &msgs[i]
		granted := msg.Type == raft.MsgVote || msg.Type == raft.MsgVoteResp && !msg.Reject
		candidate := msg.To
		if msg.Type == raft.MsgVote {
			candidate = m.id
		}
		switch {
		case hard.Term < msg.Term:
			c.fail("%d: %s leaves before its term is durable", m.id, describeMessage(*msg))
		case granted && hard.Term == msg.Term && hard.Vote != candidate:
			c.fail("%d: %s leaves before its vote is durable", m.id, describeMessage(*msg))
		case msg.Type == raft.MsgAppendResp && !msg.Reject && hard.Term == msg.Term && msg.Index > m.disk.durable.log.LastIndex():
			c.fail("%d: %s leaves before the entries are durable", m.id, describeMessage(*msg))
		}
	}
}

// ask notes a read: everything that anyone has called committed by now must be
// in its answer.
func (k *checker) ask(m *member, id uint64) {
	k.reads[id] = question{member: m.id, life: m.life, floor: k.known}
}

// answers checks the answers to reads.
func (k *checker) answers(c *Cluster, m *member, reads []raft.ReadState) {
	for _, r := range reads {
		q, ok := k.reads[r.ID]
		if !ok || q.member != m.id || q.life != m.life {
			c.fail("%d: answer to read %d, which is not open there", m.id, r.ID)
			return
		}
		delete(k.reads, r.ID)
		if !r.Rejected && (r.Index < q.floor || r.Index > k.known) {
			c.fail("%d: read %d has index %d, want [%d, %d]", m.id, r.ID, r.Index, q.floor, k.known)
		}
	}
}
