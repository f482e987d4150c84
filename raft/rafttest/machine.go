package rafttest

import (
	"fmt"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// machine is a state machine reduced to what can be compared: how far it is,
// a hash of everything applied, and the configuration, computed here once more
// beside the core.
type machine struct {
	Index, Term uint64
	Hash        uint64
	Conf        raft.ConfState
}

// refusal is the context of a membership change that the state machine refuses.
const refusal = "refuse"

// apply applies an entry, and reports whether the machine refuses the
// membership change that it holds.
func (m *machine) apply(e *raft.Entry) (refused bool, err error) {
	if e.Index != m.Index+1 {
		return false, fmt.Errorf("entry %d applied after %d", e.Index, m.Index)
	}
	m.Index, m.Term = e.Index, e.Term
	m.Hash = chain(m.Hash, e)
	if e.Type != raft.EntryConf {
		return false, nil
	}
	change, err := raft.DecodeChange(e.Data)
	if err != nil {
		return false, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	if string(change.Context) == refusal {
		return true, nil
	}
	if next, err := confchange.Apply(m.Conf, change); err == nil {
		m.Conf = next
	}
	return false, nil
}

func (m *machine) meta() *raft.SnapshotMeta {
	return &raft.SnapshotMeta{Index: m.Index, Term: m.Term, Conf: m.Conf.Clone()}
}

// chain is the hash of a state after one more entry.
func chain(hash uint64, e *raft.Entry) uint64 { return hash*1099511628211 ^ entrySum(e) }

// entrySum identifies an entry's content.
func entrySum(e *raft.Entry) uint64 {
	h := newHash()
	h.add(e.Index)
	h.add(e.Term)
	h.add(uint64(e.Type))
	h.addBytes(e.Data)
	return uint64(h)
}
