// Package chainfire is the vocabulary of the system: requests, results, errors
// and the promises between its rooms. It holds no machinery: API packages speak
// to a running member only through the interfaces declared here, and the rooms
// below them implement those interfaces.
//
// The names follow the etcd v3 data model: one key space, every change to it
// numbered by a revision, and transactions that compare and then act.
package chainfire

import (
	"context"
	"io"
)

// Header says which member answered, and at which point of the cluster's life.
type Header struct {
	ClusterID uint64
	MemberID  uint64
	// Revision is the key space's revision when the answer was made, also on
	// reads of an older revision.
	Revision int64
	// RaftTerm is the term of the answering member.
	RaftTerm uint64
}

// KV is the key space of a running member. All methods may be called from any
// goroutine, honour the context's deadline, and return the sentinel errors of
// this package (error.go) so that each protocol can map them to its own codes.
type KV interface {
	// Range reads one key or an interval. Unless Serializable is set the answer
	// is linearizable: it reflects every write acknowledged before the call.
	Range(ctx context.Context, r *RangeRequest) (*RangeResponse, error)
	// Put writes one key. It returns after the write is durable on a majority
	// and applied on this member.
	Put(ctx context.Context, r *PutRequest) (*PutResponse, error)
	// DeleteRange removes one key or an interval, in one revision.
	DeleteRange(ctx context.Context, r *DeleteRangeRequest) (*DeleteRangeResponse, error)
	// Txn compares, then performs one of two lists of operations, in at most
	// one revision. A transaction without writes is a linearizable read.
	Txn(ctx context.Context, r *TxnRequest) (*TxnResponse, error)
	// Compact drops what was superseded at or before a revision.
	Compact(ctx context.Context, r *CompactRequest) (*CompactResponse, error)
}

// Watcher opens watch streams on a running member.
type Watcher interface {
	// NewWatchStream opens a stream that any number of watches share. The
	// caller closes it.
	NewWatchStream() WatchStream
	// Revision is the member's current applied revision.
	Revision() int64
	// Header is a header at the member's current revision.
	Header() Header
}

// Cluster is the membership of the cluster as a member's API offers it. The
// explicit calls do what they say, bounded in time, on any member.
type Cluster interface {
	// MemberAdd adds a member that has not started yet, as a learner or as a voter.
	MemberAdd(ctx context.Context, r *MemberAddRequest) (*MemberChange, error)
	// MemberRemove removes a member for good: its id never returns.
	MemberRemove(ctx context.Context, id uint64) (*MemberChange, error)
	// MemberUpdate changes a member's peer URLs.
	MemberUpdate(ctx context.Context, id uint64, peerURLs []string) (*MemberChange, error)
	// MemberPromote makes a caught-up learner a voter. It returns
	// ErrLearnerNotReady while the learner has not applied what the log
	// held when it was asked, and ErrReadReplica for one that never votes.
	MemberPromote(ctx context.Context, id uint64) (*MemberChange, error)
	// Members lists the members; linearizable waits for a quorum round first.
	Members(ctx context.Context, linearizable bool) (*MemberChange, error)
}

// Maintenance is what operators and health checks ask of one member.
type Maintenance interface {
	// Status describes this member. It takes no quorum round.
	Status(ctx context.Context) (*Status, error)
	// MoveLeader hands leadership to a voter. It must be asked of the leader.
	MoveLeader(ctx context.Context, target uint64) error
	// Health returns nil when this member knows a leader and, if linearizable
	// is set, when a linearizable read succeeds.
	Health(ctx context.Context, linearizable bool) error
	// HashKV hashes the key space of this member at a revision, 0 being the current
	// one: members with the same compacted revision must have the same hash of a
	// revision. It reads the whole key space. ErrCompacted or ErrFutureRevision is
	// returned for a revision out of reach.
	HashKV(ctx context.Context, rev int64) (*KVHash, error)
	// EtcdSnapshot makes a file in etcd's format of the state of this member, which
	// holds every write that was acknowledged before the call, if there is a leader to
	// ask; else what this member has. The caller closes it, soon: it takes room on the
	// disk. ErrNoRoom is returned where the disk is too full.
	EtcdSnapshot(ctx context.Context) (EtcdFile, error)
	// Alarm asks for alarms, after all that was acknowledged before the call, raises one
	// or takes one back. It returns ErrUnknownAlarm, ErrTooManyAlarms or ErrFeatureLevel.
	Alarm(ctx context.Context, r *AlarmRequest) (*AlarmResponse, error)
	// Alarms are those that this member knows of, by type and member.
	Alarms() []Alarm
	// Counts are those of this member since it started.
	Counts() Counts
	// ClusterStatus describes the whole cluster as this member sees it; asked
	// of a follower it is answered by the leader.
	ClusterStatus(ctx context.Context) (*ClusterStatus, error)
}

// EtcdFile is a database file of etcd, which is gone once it is closed. It belongs to
// one goroutine.
type EtcdFile interface {
	io.ReadCloser
	// Size is in bytes.
	Size() int64
	// Version is etcd's storage version.
	Version() string
}

// KVHash is a hash of a member's key space.
type KVHash struct {
	// Header has the current revision.
	Header Header
	// Hash is that of etcd's HashKV, a CRC-32C.
	Hash uint32
	// HashRevision is the last revision in Hash, CompactRevision the compacted one, -1
	// before the first compaction.
	HashRevision, CompactRevision int64
}

// Member is everything an API package needs of one running member.
type Member interface {
	KV
	Watcher
	Lease
	Cluster
	Maintenance
	Auth
}
