package sim_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"chainfire/sim"
)

var (
	seeds    = flag.Int("seeds", 0, "run this many seeds; 0 is a sample")
	oneSeed  = flag.Uint64("seed", 0, "run this seed alone, and tell its story")
	base     = flag.Uint64("base", 0, "the first seed; 0 takes one from the clock")
	minutes  = flag.Int("minutes", 0, "run seeds for so long")
	messages = flag.Bool("messages", false, "with -seed: tell of every message")
	stopAt   = flag.Bool("stop", false, "stop at the first seed that fails")
	again    = flag.Bool("twice", false, "run every seed twice, as the sample does")
	workers  = flag.Int("workers", 0, "seeds at the same time; 0 is one for each processor")
)

// sampleTime is about how long the seeds of an ordinary test run take.
const sampleTime = 25 * time.Second

// TestSimulation runs random seeds. Each seed of the sample runs twice, and must
// do the same both times.
func TestSimulation(t *testing.T) {
	r := &sim.Runner{}
	if *oneSeed != 0 {
		res := r.Run(*oneSeed, os.Stdout, *messages)
		t.Logf("%+v", res)
		if res.Err != nil {
			t.Fatal(res.Err)
		}
		return
	}
	first := *base
	if first == 0 {
		first = uint64(time.Now().UnixNano())%1_000_000_000*1000 + 1
	}
	c := campaign{t: t, r: r, first: first, began: time.Now(), twice: *again || *seeds == 0 && *minutes == 0}
	switch {
	case *seeds > 0:
		c.limit = *seeds
	case *minutes > 0:
		c.until = c.began.Add(time.Duration(*minutes) * time.Minute)
	default:
		c.until = c.began.Add(sampleTime)
		if testing.Short() {
			c.until = c.began.Add(sampleTime / 5)
		}
	}
	t.Logf("base seed %d (go test ./sim -run TestSimulation -base=%d)", first, first)
	c.run()
}

// campaign is many seeds.
type campaign struct {
	t     *testing.T
	r     *sim.Runner
	first uint64
	began time.Time
	limit int
	until time.Time
	twice bool

	next  atomic.Int64
	mu    sync.Mutex
	done  int
	bad   int
	total sim.Result
	told  time.Time
}

func (c *campaign) run() {
	n := *workers
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	var wg sync.WaitGroup
	for range n {
		wg.Go(c.work)
	}
	wg.Wait()
	c.t.Log(c.summary())
	if c.done == 0 {
		c.t.Error("no seed was run")
	}
	// Where nobody is granted a lease, none ends too early.
	if c.done >= 10 && c.total.Renewals == 0 {
		c.t.Error("no lease was renewed in any of them")
	}
	if c.done >= 10 && c.total.Shown == 0 {
		c.t.Error("nobody was shown an event in any of them")
	}
	if c.done >= 10 && c.total.Objects == 0 {
		c.t.Error("no operation on an object was answered in any of them")
	}
}

func (c *campaign) work() {
	for {
		if *stopAt && c.failed() {
			return
		}
		i := c.next.Add(1) - 1
		if c.limit > 0 && i >= int64(c.limit) || !c.until.IsZero() && time.Now().After(c.until) {
			return
		}
		seed := c.first + uint64(i)
		res := c.r.Run(seed, nil, false)
		if c.twice && res.Err == nil {
			if second := c.r.Run(seed, nil, false); second.Trace != res.Trace {
				res.Err = fmt.Errorf("not the same twice: trace %x after %d steps, and %x after %d", res.Trace, res.Steps, second.Trace, second.Steps)
			}
		}
		c.add(res)
	}
}

func (c *campaign) failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bad > 0
}

func (c *campaign) add(res sim.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done++
	c.total.Simulated += res.Simulated
	c.total.Steps += res.Steps
	c.total.Operations += res.Operations
	c.total.Acknowledged += res.Acknowledged
	c.total.Renewals += res.Renewals
	c.total.Shown += res.Shown
	c.total.Objects += res.Objects
	c.total.Crashes += res.Crashes
	c.total.Joins += res.Joins
	c.total.Removed += res.Removed
	c.total.Replaced += res.Replaced
	c.total.Rotten += res.Rotten
	c.total.Refused += res.Refused
	if res.Err != nil {
		c.bad++
		c.t.Errorf("seed %d: %v\nreplay: go test ./sim -run TestSimulation -seed=%d -v", res.Seed, res.Err, res.Seed)
	}
	if now := time.Now(); now.Sub(c.told) > 10*time.Second && now.Sub(c.began) > 9*time.Second {
		c.told = now
		fmt.Println(c.summary())
	}
}

func (c *campaign) summary() string {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		c.t.Error(err)
	}
	cpu := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	real := time.Since(c.began)
	x := &c.total
	return fmt.Sprintf("%v: %d seeds, %d bad; %v simulated (%.0f a real second), %v of CPU (%v a seed); %d operations, %d writes acknowledged, %d on objects, %d renewals of leases, %d events shown; %d crashes, %d joins, %d removals, %d replacements, %d bits rotten, %d hosts refused to start",
		real.Round(time.Second), c.done, c.bad, x.Simulated.Round(time.Second), x.Simulated.Seconds()/real.Seconds(), cpu.Round(time.Second),
		(cpu / time.Duration(max(1, c.done))).Round(time.Millisecond), x.Operations, x.Acknowledged, x.Objects, x.Renewals, x.Shown, x.Crashes, x.Joins, x.Removed, x.Replaced, x.Rotten, x.Refused)
}

// found are seeds that found something, and what.
var found = map[uint64]string{
	9:            "a log that believed what a disk showed after a failed sync had a hole after the next power cut",
	126:          "a store that could not be opened on a full disk was taken for damaged and set aside",
	169:          "a follower far behind never found a leader that had joined while it was away",
	670458093042: "a run was not the same twice: a failed flush that was tried again and again changed what a power cut kept",
	698068172300: "a leader that had stepped down called a forwarded write refused that was in its log, and it was written twice",
	895021621546: "a snapshot that waited for a slow log to be installed was wiped for the next one",
	572054374082: "a follower far behind never answered a leader of which it had only heard that a place is kept for it",
	857646135676: "a member that met rot while it applied entries did not note it, and met it again at every start",
	830907970556: "a leader whose store's options had rotted could seed nobody, and led on",
	473582780037: "a run was not the same twice: watches that were marked at once were served in an order of chance",
	557999712145: "a member that knew of the leader's reservation only had nowhere to answer it",
}

func TestSeedsThatFoundSomethingStayGreen(t *testing.T) {
	r := &sim.Runner{}
	for seed, what := range found {
		res := r.Run(seed, nil, false)
		if res.Err != nil {
			t.Errorf("seed %d, which found that %s: %v", seed, what, res.Err)
		}
		if again := r.Run(seed, nil, false); again.Trace != res.Trace {
			t.Errorf("seed %d, which found that %s, is not the same twice", seed, what)
		}
	}
}
