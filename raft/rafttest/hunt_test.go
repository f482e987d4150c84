//go:build mutants

package rafttest_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"chainfire/raft/rafttest"
)

var (
	huntFrom  = flag.Uint64("hunt-from", 1, "first seed of a hunt")
	huntSeeds = flag.Uint64("hunt-seeds", 200, "how many seeds a hunt may take")
	huntSteps = flag.Int("hunt-steps", 1500, "random events of each schedule of a hunt")
)

// huntHang is how long one schedule may run. A hundred of them take a few
// seconds; what takes this long is in an endless loop.
const huntHang = 60 * time.Second

// TestHunt runs the schedules of consecutive seeds until one breaks a promise,
// and says which. It is what each mutant's binary runs; here it is the control.
func TestHunt(t *testing.T) {
	for seed := *huntFrom; seed < *huntFrom+*huntSeeds; seed++ {
		if err := huntSeed(seed); err != nil {
			t.Fatal(foundLine(seed, err.Error()))
		}
	}
}

// foundLine is how a hunt reports its find to the one who started it.
func foundLine(seed uint64, reason string) string {
	reason, _, _ = strings.Cut(strings.TrimSpace(reason), "\n")
	return fmt.Sprintf("%s%d: %s", foundPrefix, seed, reason)
}

// huntSeed runs one schedule and then the drills. A core that panics or runs
// for ever is found as well.
func huntSeed(seed uint64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	alarm := time.AfterFunc(huntHang, func() {
		fmt.Println(foundLine(seed, "the schedule does not end"))
		os.Exit(1)
	})
	defer alarm.Stop()
	s := rafttest.NewSchedule(seed, nil)
	if err := s.Run(*huntSteps); err != nil {
		return err
	}
	_, err = s.Drill()
	return err
}
