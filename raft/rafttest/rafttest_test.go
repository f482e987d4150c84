package rafttest_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"chainfire/raft/rafttest"
)

var (
	seeds = flag.Int("seeds", 200, "number of new random schedules")
	seed  = flag.Uint64("seed", 0, "run the one schedule of this seed, with its trace")
	steps = flag.Int("steps", 2500, "random events of a schedule")
)

// traceTail is how many lines of the trace a failure prints.
const traceTail = 3000

// fixedSeeds are schedules that find a bug when its rule is taken out of the
// core, and some that never did.
var fixedSeeds = []uint64{
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
	// A rejection overtaken by the acknowledgement of what it lacked.
	13105793478998764407,
	// A full window whose only append was lost, and then the question about it.
	10509508280343937730,
	// Writes after the change that removed the leader, and one that left office
	// before anyone could follow.
	17746740426796791949, 3060612179151188185,
	// A campaign in a configuration that a committed change had ended; members
	// that do not know of it and cannot be elected without those it took out; a
	// change forgotten in a crash.
	670019096204601537, 2679859113718677147, 12819483478777383701, 13607212474530622160,
	7497487556258197108,
	// A snapshot that was not installed yet.
	7537255076967090919,
	// Two changes under way at once.
	15354620284166672022,
	// Reads: an old round, and a leader that did not know what is committed.
	13287537864674463939, 3050063322203262033,
	// Votes: by term and index apart, and before they were durable.
	11175615009730336791, 13441583541319108454,
}

// trace runs a schedule again and returns the end of its trace.
func trace(seed uint64) (string, error) {
	var lines []string
	err := rafttest.NewSchedule(seed, func(format string, args ...any) {
		lines = append(lines, fmt.Sprintf(format, args...))
	}).Run(*steps)
	if n := len(lines); n > traceTail {
		lines = append([]string{fmt.Sprintf("(%d events before)", n-traceTail)}, lines[n-traceTail:]...)
	}
	return strings.Join(lines, "\n"), err
}

func runSeed(t *testing.T, seed uint64) {
	t.Helper()
	if err := rafttest.NewSchedule(seed, nil).Run(*steps); err != nil {
		tail, again := trace(seed)
		t.Fatalf("%s\nseed %d: %v\n(again: %v)\nreplay: go test ./raft/rafttest -run TestRandomSchedules -seed %d -steps %d",
			tail, seed, err, again, seed, *steps)
	}
}

func TestRandomSchedules(t *testing.T) {
	if *seed != 0 {
		tail, err := trace(*seed)
		t.Logf("%s\nseed %d: %v", tail, *seed, err)
		if err != nil {
			t.Fail()
		}
		return
	}
	for _, s := range fixedSeeds {
		runSeed(t, s)
	}
	for range *seeds {
		runSeed(t, rand.Uint64())
	}
}
