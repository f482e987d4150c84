package rafttest

import (
	"chainfire/raft"
)

// member is one simulated member: a core, its disk and its state machine.
type member struct {
	id   uint64
	life uint64
	core raft.Engine // nil while down
	disk *disk
	// machine is what was applied in this life; what of it was flushed is in
	// the disk's image.
	machine  machine
	applying []raft.Entry
	// view is the log with everything that the core handed out to be written.
	view   memLog
	paused bool
	// fresh says that there were inputs since the last Ready.
	fresh bool
	// retired says that the member was switched off for good, after its removal.
	retired bool

	seen seen
}

// seen is what the checker last saw of a member in this life.
type seen struct {
	term, commit uint64
	role         raft.Role
	conf         raft.ConfState
	matches      map[uint64]uint64
	// complete is the term of the leadership whose log was checked.
	complete uint64
}

func (m *member) up() bool { return m.core != nil }

// runs reports whether the member does anything now.
func (m *member) runs() bool { return m.core != nil && !m.paused }

// holds reports whether an entry is durable on this member.
func (m *member) holds(index, term uint64) bool {
	return m.disk.durable.log.holds(index, term)
}
