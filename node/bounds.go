package node

import (
	"time"

	"chainfire/bodies"
	"chainfire/machine"
	"chainfire/raft"
)

// Bounds are limits of a member that its user has no use for. Zero values mean
// the defaults of production.
type Bounds struct {
	// SegmentBytes and LogCacheBytes are those of wal.Options.
	SegmentBytes, LogCacheBytes int64
	// KeepLogBytes and MaxLogBytes bound the log: below the first nothing is
	// dropped; above the second even a follower that is heard of but lags is
	// left to a snapshot. Defaults 64 MiB and 512 MiB.
	KeepLogBytes, MaxLogBytes int64
	// FlushLogBytes is about how much of the log is applied before the store is flushed, where it
	// was not by itself: what a start applies again. Default 64 MiB.
	FlushLogBytes uint64
	// StoreCacheBytes is machine.Options.CacheBytes, and Still is its Still.
	StoreCacheBytes int64
	// WatchRingBytes is machine.Options.RingBytes.
	WatchRingBytes int64
	Still          bool
	// Raft holds limits only: MaxMessageBytes, MaxInflight and the like.
	Raft raft.Config
	// SealKey is what a cluster that makes a sealing key takes in place of chance.
	SealKey []byte
	// NoBodies keeps the bytes of bodies out that are not inline: there are none.
	NoBodies bool
	// LifecycleEvery is how often the rules of buckets are applied. Default 1 hour.
	LifecycleEvery time.Duration
	// Bodies, if set, changes the options of package bodies.
	Bodies func(*bodies.Options)
	// LearnTTL is that of join.KeeperOptions.
	LearnTTL time.Duration
	// CompactEvery is how often history is compacted. Default by what is to be kept.
	CompactEvery time.Duration
	// LeaseCheckpoints is lessor.Options.CheckpointEvery.
	LeaseCheckpoints time.Duration
	// FeatureLevel is what the program knows. Default machine.FeatureLevel.
	FeatureLevel uint64
	// Opened, if set, is shown the store before it is used. The store stays the
	// member's, unless its tasks were ended from outside.
	Opened func(*machine.Machine)
}
