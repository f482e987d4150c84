package rafttest

import "chainfire/raft"

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

// checkWrite checks what a core hands out to be written.
func (c *Cluster) checkWrite(m *member, p *raft.Persist) {
	if p.Seq != m.seen.seq+1 {
		c.breaks(soundWrites, "%d: write %d follows write %d", m.id, p.Seq, m.seen.seq)
	}
	m.seen.seq = p.Seq
	c.checkOwnLog(m, p)
	c.checkLogMatching(m, p)
	for i := range p.Entries {
		if p.Entries[i].Type == raft.EntryConf {
			c.checkOneChange(m, &p.Entries[i])
		}
	}
}

// checkLogMatching: an index and a term name one entry, everywhere, with one
// entry before it (paper §5.3). By induction that is the whole log up to there.
func (c *Cluster) checkLogMatching(m *member, p *raft.Persist) {
	prev := m.view.LastIndex()
	prevTerm, _ := m.view.Term(prev) // the last index is always there
	if p.Snapshot != nil {
		prev, prevTerm = p.Snapshot.Index, p.Snapshot.Term
		c.checkSnapshot(m, p.Snapshot)
	}
	if len(p.Entries) > 0 && p.Entries[0].Index <= prev {
		prev = p.Entries[0].Index - 1
		t, err := m.view.Term(prev)
		if err != nil {
			c.breaks(soundWrites, "%d: write after index %d: %w", m.id, prev, err)
		}
		prevTerm = t
	}
	for i := range p.Entries {
		e := &p.Entries[i]
		if e.Index != prev+1 || e.Term < prevTerm {
			c.breaks(soundWrites, "%d: writes entry %d/%d after %d/%d", m.id, e.Index, e.Term, prev, prevTerm)
			return
		}
		if !c.check.match(e, prevTerm) {
			c.breaks(logMatching, "%d writes entry %d/%d, which elsewhere is another or follows another", m.id, e.Index, e.Term)
		}
		prev, prevTerm = e.Index, e.Term
	}
}

// checkAppendOnly: the log of a leader never gets shorter (paper §5.3).
func (c *Cluster) checkAppendOnly(m *member, s *raft.Status) {
	if s.Last < m.seen.lead.last {
		c.breaks(leaderAppendOnly, "%d: its log as leader of term %d went from %d to %d", m.id, s.Term, m.seen.lead.last, s.Last)
	}
	m.seen.lead.last = s.Last
}

// checkOwnLog: a leader writes only after its last entry, in its own term (paper
// §5.3: it never overwrites or deletes), and nobody overwrites what is committed
// (paper §5.4). The first Ready of a leadership may still hold what came before.
func (c *Cluster) checkOwnLog(m *member, p *raft.Persist) {
	if len(p.Entries) > 0 && p.Entries[0].Index <= m.seen.ledger {
		c.breaks(committedStays, "%d: overwrites committed entry %d", m.id, p.Entries[0].Index)
	}
	l := &m.seen.lead
	if m.core.Role() != raft.Leader || m.core.Term() != l.term || !l.handed {
		return
	}
	if p.Snapshot != nil {
		c.breaks(leaderAppendOnly, "%d: replaces its log as leader of term %d by a snapshot", m.id, l.term)
	}
	if len(p.Entries) == 0 {
		return
	}
	if e := &p.Entries[0]; e.Index <= m.view.LastIndex() || e.Term != l.term {
		c.breaks(leaderAppendOnly, "%d: writes entry %d/%d as leader of term %d with a log up to %d", m.id, e.Index, e.Term, l.term, m.view.LastIndex())
	}
}

// checkComplete: a leader has every entry that was committed before its term
// (paper §5.4). The last of them vouches for all before it, as every write is
// held against log matching.
func (c *Cluster) checkComplete(m *member, s *raft.Status) {
	k := &c.check
	for i := len(k.ledger) - 1; i >= 0; i-- {
		if k.ledger[i].inTerm >= s.Term {
			continue
		}
		if e := &k.ledger[i].entry; !m.view.holds(e.Index, e.Term) {
			c.breaks(complete, "%d leads term %d without committed entry %d/%d", m.id, s.Term, e.Index, e.Term)
		}
		return
	}
}

// checkApplied: whoever applies an index applies the same as the others (paper
// §5.4.3), and it is committed.
func (c *Cluster) checkApplied(m *member, e *raft.Entry) {
	k := &c.check
	if e.Index > uint64(len(k.ledger)) {
		c.breaks(stateSafety, "%d: applied %d, which is not committed", m.id, e.Index)
		return
	}
	if m.machine.Hash != k.ledger[e.Index-1].hash {
		c.breaks(stateSafety, "%d differs after applying %d/%d", m.id, e.Index, e.Term)
	}
	if want := k.confAt(e.Index); !m.machine.Conf.Equal(*want) {
		c.breaks(confSequence, "%d: after applying %d the configuration is %v, want %v", m.id, e.Index, m.machine.Conf, want)
	}
}

// checkInstalled: a snapshot is the state after the committed entries that it
// stands for (paper §5.4.3 and §7).
func (c *Cluster) checkInstalled(m *member) {
	k, s := &c.check, &m.machine
	if s.Index == 0 || s.Index > uint64(len(k.ledger)) || k.ledger[s.Index-1].hash != s.Hash {
		c.breaks(stateSafety, "%d: installed a snapshot at %d that is not the state there", m.id, s.Index)
	}
}

// checkSnapshot: a snapshot that replaces a log stands for committed entries
// (paper §7), and never for fewer than are known committed there (§5.4).
func (c *Cluster) checkSnapshot(m *member, s *raft.SnapshotMeta) {
	k := &c.check
	if s.Index > uint64(len(k.ledger)) || k.ledger[s.Index-1].entry.Term != s.Term {
		c.breaks(logMatching, "%d: takes a snapshot at %d/%d, which is not committed", m.id, s.Index, s.Term)
	}
	if s.Index < m.seen.ledger {
		c.breaks(committedStays, "%d: a snapshot at %d replaces entries committed up to %d", m.id, s.Index, m.seen.ledger)
	}
}

// checkLogsAgree compares the logs of all members, entry by entry, from the last
// entry that two of them share down (paper §5.3). It is the slow way, for the
// end of a run.
func (c *Cluster) checkLogsAgree() {
	for i, a := range c.list {
		for _, b := range c.list[i+1:] {
			la, lb := &a.view, &b.view
			agree := false
			for at := min(la.LastIndex(), lb.LastIndex()); at > max(la.base, lb.base); at-- {
				ea, eb := &la.entries[at-la.base-1], &lb.entries[at-lb.base-1]
				same := ea.Term == eb.Term
				if agree && !same || same && entrySum(ea) != entrySum(eb) {
					c.breaks(logMatching, "logs of %d and %d differ at %d and agree later", a.id, b.id, at)
				}
				agree = same
			}
		}
	}
}
