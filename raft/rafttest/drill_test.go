package rafttest_test

import (
	"fmt"
	"testing"

	"chainfire/raft/rafttest"
)

func TestDrillsAfterRandomSchedules(t *testing.T) {
	counts := map[string]int{}
	for seed := range uint64(600) {
		run := func(trace func(string, ...any)) error {
			s := rafttest.NewSchedule(seed, trace)
			if err := s.Run(300); err != nil {
				return err
			}
			return s.Drill()
		}
		d := ""
		if err := run(func(f string, args ...any) {
			if f == "drill %d" {
				d = fmt.Sprintf(f, args...)
				counts[d]++
			}
		}); err != nil {
			counts[d+" fail"]++
			var lines []string
			if counts[d+" fail"] > 1 {
				continue
			}
			run(func(f string, args ...any) { lines = append(lines, fmt.Sprintf(f, args...)) })
			if testing.Verbose() {
				for _, l := range lines[max(0, len(lines)-60):] {
					t.Log(l)
				}
			}
			t.Errorf("seed %d %s: %v", seed, d, err)
		}
	}
	t.Log(counts)
}
