package rafttest_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"chainfire/raft/rafttest"
)

var drillTrace = flag.Uint64("drill-seed", 1<<63, "the seed of which TestDrillsAfterRandomSchedules prints the trace when it fails")

// drillSteps are the events before a drill; TestRandomSchedules has the many.
const drillSteps = 300

func TestDrillsAfterRandomSchedules(t *testing.T) {
	held := map[string]int{}
	for seed := range uint64(250) {
		var lines []string
		s := rafttest.NewSchedule(seed, func(format string, args ...any) {
			if strings.HasPrefix(format, "drill: ") {
				held[fmt.Sprintf(format, args...)]++
			}
			if *drillTrace == seed {
				lines = append(lines, fmt.Sprintf(format, args...))
			}
		})
		err := s.Run(drillSteps)
		if err == nil {
			err = s.Drill()
		}
		if err != nil {
			t.Errorf("%s\nseed %d: %v", strings.Join(lines, "\n"), seed, err)
		}
	}
	for _, name := range rafttest.Drills() {
		if held["drill: "+name] == 0 {
			t.Errorf("no schedule held the drill %q", name)
		}
	}
}
