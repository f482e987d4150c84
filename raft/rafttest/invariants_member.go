package rafttest

import (
	"slices"

	"chainfire/raft"
)

// confRecord is the configuration after the ledger's entry at index.
type confRecord struct {
	index uint64
	conf  raft.ConfState
}

var noConf raft.ConfState

// confAt is the configuration after the ledger's entry at index.
func (k *checker) confAt(index uint64) *raft.ConfState {
	for i := len(k.confs) - 1; i >= 0; i-- {
		if k.confs[i].index <= index {
			return &k.confs[i].conf
		}
	}
	return &noConf
}

// conf is the last configuration of the ledger, and where it came about.
func (k *checker) conf() (conf *raft.ConfState, index uint64) {
	n := len(k.confs)
	if n == 0 {
		return &noConf, 0
	}
	return &k.confs[n-1].conf, k.confs[n-1].index
}

// commitChange takes a committed membership change into the ledger.
func (c *Cluster) commitChange(e *raft.Entry) {
	k := &c.check
	before, _ := k.conf()
	state := machine{Index: e.Index - 1, Conf: *before}
	// What does not decode stops the cores, which is noticed there.
	_, _ = state.apply(e)
	c.checkNextConf(e, before, &state.Conf)
	c.checkFreshIdentity(e, before, &state.Conf)
	for _, id := range before.IDs() {
		if !state.Conf.Contains(id) {
			k.removed[id], k.gone[id] = true, true
		}
	}
	for _, id := range state.Conf.IDs() {
		delete(k.removed, id)
	}
	k.confs = append(k.confs, confRecord{e.Index, state.Conf})
}

// checkNextConf: two configurations that follow each other share a majority: one
// voter more or less (thesis §4.1), or a step into or out of a joint one (§4.3).
func (c *Cluster) checkNextConf(e *raft.Entry, before, after *raft.ConfState) {
	var ok bool
	switch {
	case before.Joint() && after.Joint():
		ok = before.Equal(*after)
	case after.Joint():
		ok = slices.Equal(after.Outgoing, before.Voters)
	case before.Joint():
		ok = slices.Equal(after.Voters, before.Voters)
	default:
		ok = distance(before.Voters, after.Voters) <= 1 || len(before.Voters) == 0
	}
	if !ok {
		c.breaks(confSequence, "entry %d leads from %v to %v", e.Index, before, after)
	}
}

// distance counts the members that are in one list only.
func distance(a, b []uint64) int {
	n := 0
	for _, id := range a {
		if !slices.Contains(b, id) {
			n++
		}
	}
	for _, id := range b {
		if !slices.Contains(a, id) {
			n++
		}
	}
	return n
}

// checkFreshIdentity: who was taken out never comes back under the same id
// (decisions: member ids are log indexes).
func (c *Cluster) checkFreshIdentity(e *raft.Entry, before, after *raft.ConfState) {
	for _, id := range after.IDs() {
		if c.check.gone[id] && !before.Contains(id) {
			c.breaks(freshIdentity, "entry %d brings back %d, which was removed", e.Index, id)
		}
	}
}

// checkConf: a core's configuration is the one that the ledger leads to where the
// core has applied it, so that none is skipped and none is made up (thesis §4.1,
// §4.3). A snapshot that is being installed brings its own.
func (c *Cluster) checkConf(m *member, s *raft.Status) {
	if s.Applied == m.seen.applied && s.First == m.seen.first && m.seen.conf.Equal(s.Conf) {
		return
	}
	want := c.check.confAt(s.Applied)
	if s.Conf.Equal(*want) || s.First > s.Applied+1 && s.Conf.Equal(*c.check.confAt(s.First - 1)) {
		return
	}
	c.breaks(confSequence, "%d: the configuration is %v at index %d, want %v", m.id, s.Conf, s.Applied, want)
}

// checkOneChange: a leader begins no membership change while another one in its
// log is not applied there (thesis §4.1), nor before an entry of its own term is
// committed (Ongaro's note of 2015 on single-server changes).
func (c *Cluster) checkOneChange(m *member, e *raft.Entry) {
	l := &m.seen.lead
	if m.core.Role() != raft.Leader || m.core.Term() != l.term || e.Term != l.term {
		return
	}
	if l.change < e.Index {
		c.checkBegins(m, e.Index)
	}
}

// checkBegins checks a membership change that a leader has just put at index.
func (c *Cluster) checkBegins(m *member, index uint64) {
	l := &m.seen.lead
	s := c.status(m)
	if l.change > s.Applied {
		c.breaks(oneChange, "%d: a change at %d while the one at %d is not applied", m.id, index, l.change)
	}
	if !m.ours() && s.Conf.Joint() {
		return // the reference leaves a joint configuration as soon as that is applied
	}
	if term, err := m.view.Term(s.Commit); err != nil || term != s.Term {
		c.breaks(oneChange, "%d: a change at %d before an entry of term %d is committed", m.id, index, s.Term)
	}
	l.change = index
}

// lastChange is the index of the last membership change in a log, or 0.
func lastChange(l *memLog) uint64 {
	for i := len(l.entries) - 1; i >= 0; i-- {
		if l.entries[i].Type == raft.EntryConf {
			return l.entries[i].Index
		}
	}
	return 0
}

// checkPromotion: a learner that the keeper makes a voter had, on its disk and in
// its state machine, all that its last round of catching up began with (thesis
// §4.2.1). That the configuration before is applied is checkBegins.
func (c *Cluster) checkPromotion(m *member, id, target uint64) {
	term, err := m.view.Term(target)
	if err != nil {
		term = c.check.ledger[target-1].entry.Term // compacted here, so committed
	}
	if p := c.members[id]; p == nil || !p.held(target, term) || p.reached < target {
		c.breaks(promotion, "%d promotes %d, which does not have %d/%d", m.id, id, target, term)
	}
}
