package chainfire

// Counts is what a member counted since it started.
type Counts struct {
	// ProposalsPending are the commands that wait now to be applied, ProposalsFailed
	// those that were given up: their time was over, or they could not be taken.
	ProposalsPending, ProposalsFailed uint64
	// LogSyncs is how long the write-ahead log took to write and to sync what it wrote,
	// StoreFlushes how long what the store held in memory took to get to disk for good.
	LogSyncs, StoreFlushes Histogram
	// SlowApplies are the rounds of applying that took longer than they should.
	SlowApplies uint64
	// HeartbeatsLate are the heartbeats that this member sent late while it led.
	HeartbeatsLate uint64
	// SlowReadIndexes are the rounds for linearizable reads that took long to be confirmed
	// and applied here, FailedReadIndexes those that whoever began them gave up.
	SlowReadIndexes, FailedReadIndexes uint64
	// Restoring says that a snapshot becomes the state of this member now.
	Restoring bool
	Leases    LeaseCounts
	Store     StoreCounts
	// Promoted are the learners that became voters by a call to this member,
	// PromotionsFailed, by the reason, those that did not.
	Promoted         uint64
	PromotionsFailed map[string]uint64
	// Bodies are the bytes of objects that are not in the store.
	Bodies BodyCounts
	// Peers are the other members, as far as this one exchanges messages with them.
	Peers []PeerCounts
}

// BodyCounts is what a member has of the bytes of objects that are not in the store, and what was
// done with them since its start.
type BodyCounts struct {
	// Extents are those on this member, of LiveBytes; FileBytes is what their files take.
	// Damaged are those that were found damaged and are not healed, MissingExtents those that the
	// member should have and that no other could give at the last look.
	Extents, LiveBytes, FileBytes, Damaged, MissingExtents int64
	// BytesPerSecond is how fast bodies may be written here, since keys are being written; 0 is
	// as fast as can be.
	BytesPerSecond int64
	// Corrupt extents were found, Repaired ones, of RepairedBytes, were fetched from others;
	// Collected ones were let go, as nothing refers to them or others hold them. RemoteReads were
	// served by another member, FailedReads by none. ScrubbedBytes were read and checked.
	Corrupt, Repaired, RepairedBytes, Collected, RemoteReads, FailedReads, ScrubbedBytes uint64
}

// StoreCounts is what the store did, and what it has to do with.
type StoreCounts struct {
	// Puts, Deletes and Ranges count operations, those of transactions among them, Txns the
	// transactions of more than one.
	Puts, Deletes, Ranges, Txns uint64
	// Read and ReadFailed are how long ranges took, without the wait for their turn.
	Read, ReadFailed Histogram
	// CompactRevision is the compacted revision. Compactions is how long it took to give the
	// space of what was compacted back; Dropped are the versions that went, and
	// LastCompaction, in seconds since 1970, is when; 0 is never.
	CompactRevision int64
	Compactions     Histogram
	Dropped         uint64
	LastCompaction  int64
	// WatchStreams and Watches are those that are open now.
	WatchStreams, Watches uint64
}

// PeerCounts is what was exchanged with another member.
type PeerCounts struct {
	ID uint64
	// Connected says that it takes messages of this member now; Disconnects are the
	// connections to it that ended.
	Connected   bool
	Disconnects uint64
	// SentBytes and ReceivedBytes are those of messages; what makes up a snapshot is none.
	SentBytes, ReceivedBytes uint64
	// SendFailures are the messages that were dropped, as there was no connection or no
	// room, ReceiveFailures the connections that ended over what could not be understood.
	SendFailures, ReceiveFailures uint64
	// RoundTrips is how long pings took there and back.
	RoundTrips Histogram
}

// Histogram counts how often something took how long.
type Histogram struct {
	// Counts are, by an upper bound in seconds, how often it took at most that.
	Counts map[float64]uint64
	// Count is how often in all, Sum how long in all, in seconds.
	Count uint64
	Sum   float64
}
