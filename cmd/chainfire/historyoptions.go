package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"chainfire/node"
)

// The modes of --auto-compaction-mode, as in etcd.
const (
	compactByPeriod   = "periodic"
	compactByRevision = "revision"
)

// Bounds of --auto-compaction-retention.
const (
	minCompactPeriod    = time.Second
	maxCompactPeriod    = 10 * 365 * 24 * time.Hour
	maxCompactRevisions = 1 << 40
)

// historyOptions say how much history is kept, with etcd's flags.
type historyOptions struct {
	mode, retention string
	// What they come to, once they are parsed.
	period    time.Duration
	revisions int64
}

func (o *historyOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.mode, "auto-compaction-mode", compactByPeriod, "what --auto-compaction-retention counts: periodic (time) or revision")
	f.StringVar(&o.retention, "auto-compaction-retention", "0", "how much history is kept, as 8h, a number of hours, or a number of revisions; what is older is compacted; 0 is all of it")
}

// parse makes sense of the two flags.
func (o *historyOptions) parse() error {
	o.period, o.revisions = 0, 0
	n, err := strconv.ParseInt(o.retention, 10, 64)
	switch {
	case o.mode != compactByPeriod && o.mode != compactByRevision:
		return fmt.Errorf("--auto-compaction-mode %s: choose %s or %s", o.mode, compactByPeriod, compactByRevision)
	case err == nil && n == 0:
		return nil
	case o.mode == compactByRevision:
		if err != nil || n < 0 || n > maxCompactRevisions {
			return fmt.Errorf("--auto-compaction-retention %s: give a number of revisions up to %d, or --auto-compaction-mode %s", o.retention, int64(maxCompactRevisions), compactByPeriod)
		}
		o.revisions = n
		return nil
	case err == nil && n > 0 && n <= int64(maxCompactPeriod/time.Hour):
		o.period = time.Duration(n) * time.Hour
	default:
		if o.period, err = time.ParseDuration(o.retention); err != nil {
			o.period = -1
		}
	}
	if o.period < minCompactPeriod || o.period > maxCompactPeriod {
		given := o.retention
		o.period = 0
		return fmt.Errorf("--auto-compaction-retention %s: give a number of hours, or a time like 30m, from %v to %v, or 0", given, minCompactPeriod, maxCompactPeriod)
	}
	return nil
}

// apply puts them into the options of a member.
func (o *historyOptions) apply(to *node.Options) {
	to.CompactPeriod, to.CompactRevisions = o.period, o.revisions
}
