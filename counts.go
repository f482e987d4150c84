package chainfire

// Counts is what a member counted since it started.
type Counts struct {
	// ProposalsPending are the commands that wait now to be applied, ProposalsFailed
	// those that were given up: their time was over, or they could not be taken.
	ProposalsPending, ProposalsFailed uint64
	// LogSyncs is how long the write-ahead log took to write and to sync what it wrote.
	LogSyncs Histogram
	Leases   LeaseCounts
}

// Histogram counts how often something took how long.
type Histogram struct {
	// Counts are, by an upper bound in seconds, how often it took at most that.
	Counts map[float64]uint64
	// Count is how often in all, Sum how long in all, in seconds.
	Count uint64
	Sum   float64
}
