package rafttest

import (
	"chainfire/raft"
)

// member is one simulated member: a core, its disk and its state machine.
type member struct {
	id   uint64
	life uint64
	core raft.Engine // nil while down
	// statusTo is the core's Status without memory of its own, if it has that.
	statusTo func(*raft.Status)
	disk     *disk
	// machine is what was applied in this life; what of it was flushed is in
	// the disk's image.
	machine  machine
	applying []raft.Entry
	// ready is the last Ready taken.
	ready raft.Ready
	// outbox are messages that the core let go and the host has not sent yet.
	outbox []raft.Message
	// written is the last write that is durable and not reported to the core,
	// applied the last index that is applied and not reported, refused the
	// membership changes among it that the state machine refused; 0 and nil
	// when everything is reported.
	written, applied uint64
	refused          []uint64
	// reached is the last index that it applied in any life.
	reached uint64
	// view is the log with everything that the core handed out to be written.
	view   memLog
	paused bool
	// fresh says that there were inputs since the last Ready.
	fresh bool
	// retired says that the member was switched off for good, after its removal;
	// doomed that it stays down although it is a member.
	retired, doomed bool
	// refusedByPeers says that its disk was wiped: it is not who it was, and the
	// others take no connection of it.
	refusedByPeers bool
	// lost are the disks that were wiped under this id.
	lost []*disk

	// rate is how fast its clock runs, in quarters; phase is what is left of a
	// tick, ticks are those of this life.
	rate, phase, ticks int
	// stall are the ticks since its core waits for its disk, or since a write was
	// last reported to it.
	stall  int
	keeper keeper

	seen seen
}

// nominal is the rate of a clock that is right.
const nominal = 4

// seen is what the checker last saw of a member in this life.
type seen struct {
	term, commit, applied, first uint64
	role                         raft.Role
	conf                         raft.ConfState
	// peers are those of a leader.
	peers []seenPeer
	// ledger is the last index whose entry was held against the ledger.
	ledger uint64
	// seq is the number of the last write handed out.
	seq  uint64
	lead leadership
}

// leadership is what the checker knows of a member's last time as leader.
type leadership struct {
	term uint64
	// last is the last index of its log.
	last uint64
	// handed says that a Ready was taken in it.
	handed bool
	// change is the last membership change in its log.
	change uint64
	// since is the tick at which it, or its configuration, began; heard is when
	// it heard from whom.
	since int
	heard []sign
}

// sign is a sign of life at a tick.
type sign struct {
	id   uint64
	tick int
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

// ours reports whether the engine is raft.Core. The few rules that the reference
// does not keep ask for it, each where it says so.
func (m *member) ours() bool { _, ok := m.core.(*raft.Core); return ok }

func (m *member) up() bool { return m.core != nil }

// runs reports whether the member does anything now.
func (m *member) runs() bool { return m.core != nil && !m.paused }

// leads reports whether the member runs and is a leader.
func (m *member) leads() bool { return m.runs() && m.core.Role() == raft.Leader }

// able reports whether the member can ever take part again.
func (m *member) able() bool { return !m.retired && !m.doomed && !m.refusedByPeers }

// holds reports whether an entry is durable on this member.
func (m *member) holds(index, term uint64) bool {
	return m.disk.durable.log.holds(index, term)
}

// held reports whether an entry is durable on this member, or was on a disk that
// it lost.
func (m *member) held(index, term uint64) bool {
	if m.holds(index, term) {
		return true
	}
	for _, d := range m.lost {
		if d.durable.log.holds(index, term) {
			return true
		}
	}
	return false
}
