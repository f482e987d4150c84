package raft

import "errors"

// Errors that hosts decide on.
var (
	// ErrCompacted says that an index lies before the first entry of the log.
	ErrCompacted = errors.New("log index is compacted")
	// ErrUnavailable says that an index lies after the last entry of the log.
	ErrUnavailable = errors.New("log index is not available")
	// ErrNotLeader refuses what only a leader does.
	ErrNotLeader = errors.New("not the leader")
	// ErrTransferring refuses proposals while leadership is being handed over.
	ErrTransferring = errors.New("leadership is being transferred")
	// ErrTooMuchUncommitted refuses a proposal until the log's uncommitted tail
	// shrinks.
	ErrTooMuchUncommitted = errors.New("too much uncommitted data in the log")
	// ErrConfPending refuses a membership change while one is not yet applied,
	// or before the leader has committed an entry of its own term.
	ErrConfPending = errors.New("a membership change is in progress")
	// ErrNotMember refuses an operation on, or by, a member that is not in the
	// configuration or may not do it.
	ErrNotMember = errors.New("not a member of the configuration in that role")
	// ErrBadChange is wrapped around the reason a membership change is refused.
	ErrBadChange = errors.New("membership change refused")
)
