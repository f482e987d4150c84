package rafttest

import (
	"chainfire/raft"
	"chainfire/raft/confchange"
)

// Bootstrap makes the first members, all voters. The log begins with one
// membership change for each, committed in term 1 and applied: a member that
// comes later and replays the log from its beginning finds the configuration
// there. With compacted set those entries are no longer in the logs, so that
// later members need a snapshot first.
func (c *Cluster) Bootstrap(ids []uint64, compacted bool) {
	var log memLog
	var state machine
	for i, id := range ids {
		change := confchange.Change{Steps: []confchange.Step{{Kind: confchange.AddVoter, ID: id}}}
		e := raft.Entry{Index: uint64(i + 1), Term: 1, Type: raft.EntryConf, Data: raft.EncodeChange(change)}
		log.entries = append(log.entries, e)
		if _, err := state.apply(&e); err != nil {
			c.breaks(simulation, "bootstrap: %w", err)
			return
		}
		c.check.match(&e, min(uint64(i), 1))
		c.commit(e, e.Term)
	}
	for _, id := range ids {
		c.add(id)
		d := &c.members[id].disk.durable
		d.hard = raft.HardState{Term: 1, Commit: uint64(len(ids))}
		d.log, d.machine = log.clone(), state
		if compacted {
			d.log.compact(uint64(len(ids)))
		}
		c.members[id].disk.written = d.log.clone()
	}
	for _, id := range ids {
		c.Start(id)
	}
}

func (c *Cluster) add(id uint64) {
	if c.members[id] != nil {
		c.breaks(freshIdentity, "id %d used twice", id)
		return
	}
	m := &member{id: id, disk: newDisk(c.early), rate: nominal}
	c.members[id] = m
	c.order, c.list = append(c.order, id), append(c.list, m)
}

// Add makes a member with an empty disk and starts it.
func (c *Cluster) Add(id uint64) {
	c.add(id)
	c.Start(id)
}
