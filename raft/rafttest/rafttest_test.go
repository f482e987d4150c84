package rafttest_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chainfire/raft/rafttest"
)

var (
	seeds   = flag.Int("seeds", 1000, "number of new random schedules")
	minutes = flag.Float64("minutes", 0, "run new random schedules for so long, instead of a number of them")
	base    = flag.Uint64("base", 0, "what the seeds of the new schedules are drawn from, 0 for anything")
	seed    = flag.Uint64("seed", 0, "run the one schedule of this seed, and tell its story")
	steps   = flag.Int("steps", 1000, "random events of a schedule")
)

// A story is printed from its beginning, which says what the seed chose, and
// from its end.
const (
	storyHead = 30
	storyTail = 3000
)

// fixedSeeds are schedules that found a bug, or find one when its rule is taken
// out of the core.
var fixedSeeds = []uint64{
	// A snapshot fetched from a later term than it was offered in.
	12526390343846752605,
	// A vote that only a later term on the disk makes durable.
	6781208815926451729,
	// Votes: a log compared by its length in the same term, or by term and index
	// apart; a pre-vote of an older term that nobody answers; a learner that
	// campaigns; a member that disturbs a leader; one half of a joint configuration.
	11121259634958061521, 286469416771971184, 9548944441472738624, 12847718811672424211, 7316158455828861274,
	15549461479054694038,
	// Campaigns in a configuration that a committed change had ended, by a timeout
	// and by a transfer; elections that do not tell what is committed, or tell it
	// to logs that do not hold it.
	14188208158146338857, 17935528189373182470, 13415075490469252460, 13412043756507193509,
	// Commits by one half of a joint configuration, and a term begun without an
	// entry of its own.
	15852911538174043857, 10945868875927473824,
	// Appends without a check, or refused below the commit index; a rejection
	// that was overtaken; probes and appends that were lost; a window kept open.
	17477791663140169137, 9808923076671166411, 17148084142081977370, 12523721461337461113,
	4833926581205880802, 12985276953071715388,
	// An answer to an earlier leadership of the same leader.
	1687606460321186022,
	// A transfer that never ends.
	14437478343599406687,
	// What a start forgets; a snapshot of what the log holds already.
	9266959513798895718, 7050926007806611603,
}

// tell runs a schedule and returns its story.
func tell(seed uint64) (string, error) {
	var lines []string
	err := rafttest.NewSchedule(seed, func(format string, args ...any) {
		lines = append(lines, fmt.Sprintf(format, args...))
	}).Run(*steps)
	return shorten(lines), err
}

// shorten leaves the middle of a long story out.
func shorten(lines []string) string {
	if n := len(lines) - storyHead - storyTail; n > 0 {
		lines = slices.Concat(lines[:storyHead], []string{fmt.Sprintf("... %d events ...", n)}, lines[storyHead+n:])
	}
	return strings.Join(lines, "\n")
}

// stream runs schedules on all cores and counts them.
type stream struct {
	base  uint64
	steps int
	// twice runs every schedule again and compares.
	twice  bool
	next   atomic.Uint64
	done   atomic.Uint64
	events atomic.Uint64
	// failed is the seed of a schedule that broke a rule, and broken why.
	once   sync.Once
	failed uint64
	broken error
	stop   atomic.Bool
}

// fixed runs seeds that are known.
func (s *stream) fixed(seeds []uint64) {
	s.twice = true
	s.run(func(n uint64) bool { return n < uint64(len(seeds)) }, func(n uint64) uint64 { return seeds[n] })
}

// seedOf is the seed of the n-th schedule: the base fixes the whole stream.
func (s *stream) seedOf(n uint64) uint64 {
	return rand.New(rand.NewPCG(s.base, n)).Uint64()
}

// run runs schedules until more says that there are enough, or one fails.
func (s *stream) run(more func(n uint64) bool, seedOf func(n uint64) uint64) {
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for !s.stop.Load() {
				n := s.next.Add(1) - 1
				if !more(n) {
					return
				}
				s.schedule(seedOf(n))
			}
		})
	}
	workers.Wait()
}

func (s *stream) schedule(seed uint64) {
	run := rafttest.NewSchedule(seed, nil)
	err := run.Run(s.steps)
	if s.twice {
		again := rafttest.NewSchedule(seed, nil)
		if e := again.Run(s.steps); (e == nil) != (err == nil) || again.Hash() != run.Hash() {
			err = fmt.Errorf("the seed gives two runs: %d events with hash %x (%w), %d events with hash %x (%w)",
				run.Events(), run.Hash(), err, again.Events(), again.Hash(), e)
		}
	}
	s.done.Add(1)
	s.events.Add(uint64(run.Events()))
	if err != nil {
		s.stop.Store(true)
		s.once.Do(func() { s.failed, s.broken = seed, err })
	}
}

// report fails the test with the story of the schedule that broke a rule.
func (s *stream) report(t *testing.T) {
	t.Helper()
	if s.broken == nil {
		return
	}
	told, again := tell(s.failed)
	t.Fatalf("%s\n\nseed %d: %v\n(again: %v)\nreplay: go test ./raft/rafttest -run TestRandomSchedules -v -seed=%d -steps=%d",
		told, s.failed, s.broken, again, s.failed, *steps)
}

// collectSeldom lets garbage pile up: a schedule leaves much and keeps little.
func collectSeldom(t *testing.T) {
	before := debug.SetGCPercent(1000)
	t.Cleanup(func() { debug.SetGCPercent(before) })
}

// The schedules that once found something still run, and find nothing.
func TestFixedSchedules(t *testing.T) {
	collectSeldom(t)
	s := stream{steps: *steps}
	s.fixed(fixedSeeds)
	s.report(t)
}

// New schedules in each run, on all cores. Each runs twice and must be the same
// to the last number; the base that is printed gives all of them again.
func TestRandomSchedules(t *testing.T) {
	collectSeldom(t)
	if *seed != 0 {
		told, err := tell(*seed)
		t.Logf("\n%s", told)
		if err != nil {
			t.Fatalf("seed %d: %v", *seed, err)
		}
		return
	}
	s := stream{base: *base, steps: *steps, twice: *minutes == 0}
	if s.base == 0 {
		s.base = rand.Uint64()
	}
	began := time.Now()
	if *minutes > 0 {
		fmt.Printf("base %d: the same schedules again with -base=%d\n", s.base, s.base)
		s.runFor(time.Duration(*minutes * float64(time.Minute)))
	} else {
		t.Logf("base %d: the same schedules again with -base=%d", s.base, s.base)
		n := uint64(*seeds)
		if testing.Short() {
			n /= 10
		}
		s.run(func(i uint64) bool { return i < n }, s.seedOf)
		t.Log(s.progress(time.Since(began)))
	}
	s.report(t)
}

// runFor runs schedules for some time and prints how far it is.
func (s *stream) runFor(d time.Duration) {
	began := time.Now()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.run(func(uint64) bool { return time.Since(began) < d }, s.seedOf)
	}()
	every := time.NewTicker(10 * time.Second)
	defer every.Stop()
	for {
		select {
		case <-ended:
			fmt.Println(s.progress(time.Since(began)))
			return
		case <-every.C:
			fmt.Println(s.progress(time.Since(began)))
		}
	}
}

func (s *stream) progress(spent time.Duration) string {
	violations := 0
	if s.stop.Load() {
		violations = 1
	}
	done, events := s.done.Load(), s.events.Load()
	return fmt.Sprintf("%6.1fs: %d schedules, %d events, %d violations, %.0f schedules a minute",
		spent.Seconds(), done, events, violations, float64(done)/spent.Minutes())
}
