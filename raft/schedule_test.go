package raft_test

import (
	"fmt"
	"slices"
	"testing"

	"chainfire/raft/rafttest"
)

// Chance comes from the seed alone: twice the same seed is the same run, event by
// event, to the last message.
func TestSeedReplaysItsScheduleExactly(t *testing.T) {
	for seed := range uint64(20) {
		var runs [2][]string
		for i := range runs {
			err := rafttest.NewSchedule(seed, func(format string, args ...any) {
				runs[i] = append(runs[i], fmt.Sprintf(format, args...))
			}).Run(300)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if len(runs[0]) < 100 {
			t.Fatalf("seed %d: only %d events", seed, len(runs[0]))
		}
		if !slices.Equal(runs[0], runs[1]) {
			t.Fatalf("seed %d: two runs differ", seed)
		}
	}
}
