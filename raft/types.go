// Package raft is consensus as a function: a Core takes inputs (ticks,
// messages, proposals, completions) and produces a Ready. It has no goroutine,
// no clock, no I/O, no protobuf and no logger; chance is an argument. The same
// inputs always give the same outputs.
//
// It follows Ongaro and Ousterhout, "In Search of an Understandable Consensus
// Algorithm" (the paper), and Ongaro's dissertation (the thesis).
package raft

import (
	"chainfire/raft/confchange"
)

// None is the id of no member.
const None uint64 = 0

// EntryType says what an entry's data is.
type EntryType uint8

// The entry types. A normal entry with no data is the one that a new leader
// appends to commit what came before it (paper §8).
const (
	EntryNormal EntryType = iota
	// EntryConf holds an encoded confchange.Change (EncodeChange).
	EntryConf
)

// Entry is one entry of the log. Data is never modified once it is in an entry,
// by anyone, so that it may be shared.
type Entry struct {
	Index uint64
	Term  uint64
	Type  EntryType
	Data  []byte
}

// Size is what an entry counts in limits: its data and a fixed overhead.
func (e *Entry) Size() uint64 { return uint64(len(e.Data)) + entryOverhead }

const entryOverhead = 24

// HardState is what must be durable before a member answers (paper, figure 2),
// and the commit index, which is kept so that a restart applies without waiting
// for a leader.
type HardState struct {
	Term   uint64
	Vote   uint64
	Commit uint64
}

// ConfState is a configuration (package confchange).
type ConfState = confchange.State

// SnapshotMeta says what a snapshot of the state machine holds: every entry up
// to Index, which was of Term, and the configuration in force after it.
type SnapshotMeta struct {
	Index uint64
	Term  uint64
	Conf  ConfState
}

// MessageType is the kind of a message.
type MessageType uint8

// The message types. Every reply echoes Term (its own), Session and Round.
const (
	// MsgVote and MsgPreVote ask for a vote: LogTerm and Index are the
	// candidate's last entry. Transfer is set when the leader asked for the
	// election itself. They and their answers also name the last entry that the
	// sender knows committed, by Commit and HintTerm.
	MsgVote MessageType = iota + 1
	MsgVoteResp
	MsgPreVote
	MsgPreVoteResp
	// MsgAppend carries Entries after (Index, LogTerm) and the leader's Commit.
	MsgAppend
	// MsgAppendResp acknowledges everything up to Index, durably; or, with
	// Reject, says that (Index, LogTerm) of the append is not in the log, with
	// Hint and HintTerm as the place to try next.
	MsgAppendResp
	// MsgHeartbeat carries Commit (never above what the follower matched) and Round.
	MsgHeartbeat
	MsgHeartbeatResp
	// MsgSnapshot asks the host of the leader to stream a snapshot to the
	// follower. The follower's host hands it to its core, with Snapshot filled
	// in, once the snapshot is complete and verified there.
	MsgSnapshot
	// MsgTimeoutNow asks the target of a leadership transfer to campaign.
	MsgTimeoutNow
	// MsgReadIndex asks the leader for a read index on behalf of a follower;
	// Round is the follower's batch id and comes back in MsgReadIndexResp with
	// Index, or with Reject when the receiver does not lead.
	MsgReadIndex
	MsgReadIndexResp
)

// Message is what members say to each other.
type Message struct {
	Type MessageType
	From uint64
	To   uint64
	Term uint64
	// Session is the session of the leader's progress that the message belongs
	// to; a reply from another session is dropped by the leader.
	Session uint64
	// Index and LogTerm name an entry; see the types.
	Index   uint64
	LogTerm uint64
	Commit  uint64
	// Round is the leader's read round (or a follower's read batch id).
	Round    uint64
	Hint     uint64
	HintTerm uint64
	// Applied is the last index that the sender of a reply has applied.
	Applied  uint64
	Entries  []Entry
	Snapshot *SnapshotMeta
	Reject   bool
	// Transfer marks a vote asked for by a leadership transfer, which is
	// answered even by members that hear from a leader.
	Transfer bool
}

// Storage is the durable log as the core reads it. It holds what was persisted;
// what the core has handed out in a Ready but not yet seen persisted, the core
// holds itself. Calls must not block on anything but a local disk.
type Storage interface {
	// FirstIndex is the index of the first entry held, LastIndex of the last;
	// LastIndex is FirstIndex-1 when none is held.
	FirstIndex() uint64
	LastIndex() uint64
	// Term is the term of entry i, for i in [FirstIndex-1, LastIndex]. Below it
	// returns ErrCompacted, above ErrUnavailable.
	Term(i uint64) (uint64, error)
	// Entries returns the entries [lo, hi), cut after maxBytes of Entry.Size
	// but always at least one. It returns ErrCompacted when lo is below
	// FirstIndex, ErrUnavailable when hi is above LastIndex+1, and any error of
	// the disk: never a shorter or shifted slice to hide one.
	Entries(lo, hi, maxBytes uint64) ([]Entry, error)
}

// Persist is the work of the disk in a Ready. The host writes HardState and
// Entries (the first entry replaces everything from its index on) in one
// durable step, also where only the commit index is new: a membership change
// waits for it. Then it sends Messages, then calls Core.Persisted(Seq). With a
// Snapshot it first makes the snapshot, which it already holds, its state, and
// restarts its log after Snapshot.Index.
type Persist struct {
	// Seq numbers the writes; they complete in order.
	Seq       uint64
	HardState *HardState
	Entries   []Entry
	Snapshot  *SnapshotMeta
	// Messages promise what is being written: votes and acknowledgements.
	Messages []Message
}

// ReadState answers a read asked for by ReadIndex: it may be served once Index
// is applied.
type ReadState struct {
	ID    uint64
	Index uint64
	// Rejected says that no index can be had now (no leader, or leadership was
	// lost); the host asks again under another id.
	Rejected bool
}

// Ready is the core's one output. The order of the parts is in the types: what
// may go out now, what must be durable first and what may go out only then,
// what is committed.
type Ready struct {
	Messages []Message
	Persist  *Persist
	// Committed are entries to apply, contiguous, in order, all of them durable
	// on this member. The host answers with Core.Applied.
	Committed []Entry
	Reads     []ReadState
}

// Role is what a member is in its term.
type Role uint8

// The roles.
const (
	Follower Role = iota
	PreCandidate
	Candidate
	Leader
)

// String names the role for logs and scripts.
func (r Role) String() string {
	return [...]string{"follower", "pre-candidate", "candidate", "leader"}[r]
}
