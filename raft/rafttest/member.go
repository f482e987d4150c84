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
	// ready is the last Ready taken.
	ready raft.Ready
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
	// peers are those of a leader.
	peers []seenPeer
	// ledger is the last index whose entry was held against the ledger.
	ledger uint64
	// complete is the term of the leadership whose log was checked.
	complete uint64
}

// seenPeer is what a leader last said of a follower, and how many writes that one
// had made durable by then.
type seenPeer struct {
	status raft.PeerStatus
	writes uint64
}

func (s *seen) peer(id uint64) *seenPeer {
	for i := range s.peers {
		if s.peers[i].status.ID == id {
			return &s.peers[i]
		}
	}
	return nil
}

func (m *member) up() bool { return m.core != nil }

// runs reports whether the member does anything now.
func (m *member) runs() bool { return m.core != nil && !m.paused }

// holds reports whether an entry is durable on this member.
func (m *member) holds(index, term uint64) bool {
	return m.disk.durable.log.holds(index, term)
}
