package bodies

import (
	"sync/atomic"

	"chainfire/blob"
)

// counts are the counters of Counts.
type counts struct {
	corrupt, repaired, repairedBytes, missing atomic.Int64
	passes, collected, moved                  atomic.Int64
	remote, unavailable                       atomic.Int64
	scrubbed                                  atomic.Int64
}

// Counts is what was done since the start, and what is there now.
type Counts struct {
	blob.Usage
	// Corrupt extents were found on this member; Repaired ones, of RepairedBytes, were fetched
	// from others. Missing are those that repair could not get when it last tried.
	Corrupt, Repaired, RepairedBytes, Missing int64
	// Passes of repair came to their end.
	Passes int64
	// Collected extents were let go because nothing refers to them, Moved ones because other
	// members hold them now.
	Collected, Moved int64
	// Remote reads were served by another member, Unavailable ones by none.
	Remote, Unavailable int64
	// All scrubs read ScrubbedBytes.
	ScrubbedBytes int64
}

// Counts counts.
func (b *Bodies) Counts() Counts {
	c := &b.counts
	return Counts{
		Usage:   b.store.Usage(),
		Corrupt: c.corrupt.Load(), Repaired: c.repaired.Load(), RepairedBytes: c.repairedBytes.Load(), Missing: c.missing.Load(),
		Passes: c.passes.Load(), Collected: c.collected.Load(), Moved: c.moved.Load(),
		Remote: c.remote.Load(), Unavailable: c.unavailable.Load(),
		ScrubbedBytes: c.scrubbed.Load(),
	}
}
