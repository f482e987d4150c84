package rafttest_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"chainfire/raft"
	"chainfire/raft/etcdraft"
	"chainfire/raft/rafttest"
)

var (
	plans = flag.Int("plans", 250, "number of new plans that the engines are compared by")
	plan  = flag.Uint64("plan", 0, "compare the engines by the one plan of this seed, with the traces")
)

// fixedPlans are plans that find a bug when its rule is taken out of an engine, and
// some that never did.
var fixedPlans = []uint64{
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
	// Entries that a snapshot overtook count as being applied for ever.
	13622235306004440554,
}

// companies are the clusters that are compared.
var companies = []struct {
	name   string
	engine func(seed uint64) func(id uint64) raft.NewEngine
}{
	{"ours", func(seed uint64) func(uint64) raft.NewEngine { return rafttest.Mix(seed, raft.NewCore) }},
	{"reference", func(seed uint64) func(uint64) raft.NewEngine { return rafttest.Mix(seed, etcdraft.New) }},
	{"mixed", func(seed uint64) func(uint64) raft.NewEngine { return rafttest.Mix(seed, raft.NewCore, etcdraft.New) }},
}

// compare puts every company through the plan of a seed and says where one does
// not come to what the plan expects, which is what all others come to.
func compare(seed uint64, trace func(company, line string)) error {
	p := rafttest.NewPlan(seed)
	want := p.Expected()
	for _, c := range companies {
		var tr func(string, ...any)
		if trace != nil {
			tr = func(format string, args ...any) { trace(c.name, fmt.Sprintf(format, args...)) }
		}
		got, err := p.Run(c.engine(seed), tr)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", c.name, err)
		case !slices.Equal(got.Commands, want.Commands):
			return fmt.Errorf("%s: committed %v, want %v", c.name, got.Commands, want.Commands)
		case !got.Conf.Equal(want.Conf):
			return fmt.Errorf("%s: the configuration is %v, want %v", c.name, got.Conf, want.Conf)
		}
	}
	return nil
}

func comparePlan(t *testing.T, seed uint64) {
	t.Helper()
	err := compare(seed, nil)
	if err == nil {
		return
	}
	t.Fatalf("plan %d: %v\nreplay, with traces: go test ./raft/rafttest -run TestDifferential -plan %d", seed, err, seed)
}

// TestDifferentialEnginesComeToTheSame puts a cluster of cores, one of the
// reference and a mixed one through the same commands, membership changes and
// faults. What is committed and which configuration is left must not depend on
// the engine.
func TestDifferentialEnginesComeToTheSame(t *testing.T) {
	if *plan != 0 {
		traces := map[string]*strings.Builder{}
		err := compare(*plan, func(company, line string) {
			if traces[company] == nil {
				traces[company] = &strings.Builder{}
			}
			fmt.Fprintln(traces[company], line)
		})
		for _, c := range companies {
			if b := traces[c.name]; b != nil {
				t.Logf("%s:\n%s", c.name, b)
			}
		}
		if err != nil {
			t.Fatalf("plan %d: %v", *plan, err)
		}
		return
	}
	for _, seed := range fixedPlans {
		comparePlan(t, seed)
	}
	for range *plans {
		comparePlan(t, rand.Uint64())
	}
}
