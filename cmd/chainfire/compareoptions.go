package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"chainfire/node"
)

// The defaults and bounds of how often members are compared.
const (
	defaultCompareEvery = time.Minute
	minCompareEvery     = time.Second
	maxCompareEvery     = 365 * 24 * time.Hour
)

// compareOptions say how often the members' key spaces are compared, with etcd's flags.
type compareOptions struct {
	every, compactEvery time.Duration
	atStart             bool
}

func (o *compareOptions) flags(f *pflag.FlagSet) {
	f.DurationVar(&o.every, "corrupt-check-time", defaultCompareEvery, "how often the leader compares what the members hold, at most: it waits 50 times as long as hashing took; 0 is never")
	f.DurationVar(&o.compactEvery, "compact-hash-check-time", defaultCompareEvery, "how soon after a compaction the leader does so, where --corrupt-check-time is longer or 0; 0 is never")
	f.BoolVar(&o.atStart, "initial-corrupt-check", false, "compare what this member holds with the other members before it serves; one that differs from a majority ends")
}

func (o *compareOptions) check() error {
	for _, f := range []struct {
		name string
		d    time.Duration
	}{{"--corrupt-check-time", o.every}, {"--compact-hash-check-time", o.compactEvery}} {
		if f.d != 0 && (f.d < minCompareEvery || f.d > maxCompareEvery) {
			return fmt.Errorf("%s %v: give a time from %v to %v, or 0 for never", f.name, f.d, minCompareEvery, maxCompareEvery)
		}
	}
	return nil
}

// apply puts them into the options of a member.
func (o *compareOptions) apply(to *node.Options) {
	to.CompareEvery, to.CompareCompactedEvery, to.CompareAtStart = o.every, o.compactEvery, o.atStart
}
