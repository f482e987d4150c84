package rafttest_test

import (
	"flag"
	"fmt"
	"testing"

	"chainfire/raft/rafttest"
)

var drillSeed = flag.Uint64("drill-seed", 1<<63, "run the one drill of this seed, and tell its story")

// drillSteps are the events before a drill; TestRandomSchedules has the many.
const drillSteps = 300

// tellDrill runs a schedule and its drill and returns the story.
func tellDrill(seed uint64) (string, error) {
	var lines []string
	s := rafttest.NewSchedule(seed, func(format string, args ...any) {
		lines = append(lines, fmt.Sprintf(format, args...))
	})
	err := s.Run(drillSteps)
	if err == nil {
		_, err = s.Drill()
	}
	return shorten(lines), err
}

func TestDrillsAfterRandomSchedules(t *testing.T) {
	if *drillSeed != 1<<63 {
		told, err := tellDrill(*drillSeed)
		t.Logf("\n%s", told)
		if err != nil {
			t.Fatalf("seed %d: %v", *drillSeed, err)
		}
		return
	}
	held := map[string]int{}
	for seed := range uint64(250) {
		s := rafttest.NewSchedule(seed, nil)
		err := s.Run(drillSteps)
		if err == nil {
			var name string
			name, err = s.Drill()
			held[name]++
		}
		if err != nil {
			t.Errorf("seed %d: %v\nreplay: go test ./raft/rafttest -run TestDrillsAfterRandomSchedules -v -drill-seed=%d", seed, err, seed)
		}
	}
	for _, name := range rafttest.Drills() {
		if held[name] == 0 {
			t.Errorf("no schedule held the drill %q", name)
		}
	}
}
