package rafttest_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"chainfire/raft"
	"chainfire/raft/etcdraft"
	"chainfire/raft/rafttest"
)

// casts are the ways to choose the engines of a cluster.
var casts = map[string]func(seed uint64) func(id uint64) raft.NewEngine{
	"reference": func(seed uint64) func(uint64) raft.NewEngine { return rafttest.Mix(seed, etcdraft.New) },
	"mixed": func(seed uint64) func(uint64) raft.NewEngine {
		return rafttest.Mix(seed, etcdraft.New, raft.NewCore)
	},
}

// traceCast runs a schedule again and returns the end of its trace.
func traceCast(cast string, seed uint64) (string, error) {
	var lines []string
	err := rafttest.NewScheduleOf(seed, casts[cast](seed), func(format string, args ...any) {
		lines = append(lines, fmt.Sprintf(format, args...))
	}).Run(*steps)
	return shorten(lines), err
}

func runCast(t *testing.T, cast string, seed uint64) {
	t.Helper()
	if err := rafttest.NewScheduleOf(seed, casts[cast](seed), nil).Run(*steps); err != nil {
		tail, again := traceCast(cast, seed)
		t.Fatalf("%s\nseed %d: %v\n(again: %v)\nreplay: go test ./raft/rafttest -run 'TestRandomSchedulesOfEngines/%s' -seed %d -steps %d",
			tail, seed, err, again, cast, seed, *steps)
	}
}

// castShare is how many schedules of our core alone go on one of each cast.
const castShare = 5

// TestRandomSchedulesOfEngines holds clusters of the reference, and such where
// each member draws its engine at each start, against the same checker.
func TestRandomSchedulesOfEngines(t *testing.T) {
	for cast := range casts {
		t.Run(cast, func(t *testing.T) {
			if *seed != 0 {
				tail, err := traceCast(cast, *seed)
				t.Logf("%s\nseed %d: %v", tail, *seed, err)
				if err != nil {
					t.Fail()
				}
				return
			}
			for _, s := range fixedSeeds {
				runCast(t, cast, s)
			}
			for range *seeds / castShare {
				runCast(t, cast, rand.Uint64())
			}
		})
	}
}

// TestSameSeedGivesTheSameRunWhateverTheEngine compares whole traces: chance that
// is not the seed's would show.
func TestSameSeedGivesTheSameRunWhateverTheEngine(t *testing.T) {
	for cast := range casts {
		for _, s := range fixedSeeds {
			one, err := traceCast(cast, s)
			if err != nil {
				t.Fatalf("%s, seed %d: %v", cast, s, err)
			}
			if other, err := traceCast(cast, s); err != nil || one != other {
				t.Fatalf("%s: seed %d gave two runs (%v)", cast, s, err)
			}
		}
	}
}
