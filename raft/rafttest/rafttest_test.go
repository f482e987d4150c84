package rafttest_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
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
	seed    = flag.Uint64("seed", 0, "run the one schedule of this seed, with its trace")
	steps   = flag.Int("steps", 1000, "random events of a schedule")
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

// stream runs schedules on all cores and counts them.
type stream struct {
	base   uint64
	steps  int
	next   atomic.Uint64
	done   atomic.Uint64
	events atomic.Uint64
	// failed is the seed of a schedule that broke a rule, and broken why.
	once   sync.Once
	failed uint64
	broken error
	stop   atomic.Bool
}

// seedOf is the seed of the n-th schedule: the base fixes the whole stream.
func (s *stream) seedOf(n uint64) uint64 {
	return rand.New(rand.NewPCG(s.base, n)).Uint64()
}

// run runs schedules until more says that there are enough, or one fails.
func (s *stream) run(more func(n uint64) bool) {
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for !s.stop.Load() {
				n := s.next.Add(1) - 1
				if !more(n) {
					return
				}
				s.schedule(s.seedOf(n))
			}
		})
	}
	workers.Wait()
}

func (s *stream) schedule(seed uint64) {
	run := rafttest.NewSchedule(seed, nil)
	err := run.Run(s.steps)
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
	if s.broken != nil {
		fail(t, s.failed, s.broken)
	}
}

func fail(t *testing.T, seed uint64, err error) {
	t.Helper()
	tail, again := trace(seed)
	t.Fatalf("%s\nseed %d: %v\n(again: %v)\nreplay: go test ./raft/rafttest -run TestRandomSchedules -seed=%d -steps=%d",
		tail, seed, err, again, seed, *steps)
}

// collectSeldom lets garbage pile up: a schedule leaves much and keeps little.
func collectSeldom(t *testing.T) {
	before := debug.SetGCPercent(1000)
	t.Cleanup(func() { debug.SetGCPercent(before) })
}

func TestRandomSchedules(t *testing.T) {
	collectSeldom(t)
	if *seed != 0 {
		tail, err := trace(*seed)
		t.Logf("%s\nseed %d: %v", tail, *seed, err)
		if err != nil {
			t.Fail()
		}
		return
	}
	for _, s := range fixedSeeds {
		if err := rafttest.NewSchedule(s, nil).Run(*steps); err != nil {
			fail(t, s, err)
		}
	}
	s := stream{base: *base, steps: *steps}
	if s.base == 0 {
		s.base = rand.Uint64()
	}
	t.Logf("base %d: the same schedules again with -base=%d", s.base, s.base)
	began := time.Now()
	if *minutes > 0 {
		s.runFor(t, time.Duration(*minutes*float64(time.Minute)))
	} else {
		s.run(func(n uint64) bool { return n < uint64(*seeds) })
	}
	t.Log(s.progress(time.Since(began)))
	s.report(t)
}

// runFor runs schedules for some time and prints how far it is.
func (s *stream) runFor(t *testing.T, d time.Duration) {
	began := time.Now()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.run(func(uint64) bool { return time.Since(began) < d })
	}()
	every := time.NewTicker(10 * time.Second)
	defer every.Stop()
	for {
		select {
		case <-ended:
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
