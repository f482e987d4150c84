package sim

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"chainfire/internal/disk"
)

// Runner runs seeds. Its methods may be called from any goroutine.
type Runner struct {
	mu     sync.Mutex
	images map[int][]*disk.FaultFS
}

// Result is what became of a run.
type Result struct {
	Seed uint64
	// Trace is a hash of everything that happened: equal for equal seeds.
	Trace uint64
	// Simulated is how much time passed in it.
	Simulated time.Duration
	// Operations are those of the clients, Renewals those of leases that were answered,
	// Steps those of all tasks.
	Operations, Acknowledged int
	Renewals                 int
	// Objects are the operations on objects that were answered.
	Objects int
	// Shown are the events that watches of all kinds showed.
	Shown int
	Steps uint64
	// Crashes and so on count what a run was made of.
	Crashes, Joins, Removed, Replaced, Rotten, Refused int
	// Err says what was wrong; nil is nothing.
	Err error
}

// Run runs a seed. It writes the story of the run to out, unless that is nil,
// with every message if messages is set.
func (r *Runner) Run(seed uint64, out io.Writer, messages bool) Result {
	c := newCluster(seed, &story{out: out, messages: messages})
	images, err := r.imagesOf(c.swarm.members)
	if err != nil {
		return Result{Seed: seed, Err: err}
	}
	c.tellPlan()
	c.begin(images)
	c.startFaults()
	c.w.run(c.swarm.duration)
	c.heal()
	c.converge()
	if len(c.w.wrong) == 0 {
		c.finish()
	}
	return c.end()
}

func (c *cluster) tellPlan() {
	if !c.w.story.on() {
		return
	}
	c.w.story.tell("world", "%d members (0 founds), %v of faults, %+v", c.swarm.members, c.swarm.duration, c.set)
	for _, name := range sortedKeys(c.swarm.every) {
		c.w.story.tell("world", "%s about every %v", name, c.swarm.every[name])
	}
}

// end clears away and sums up.
func (c *cluster) end() Result {
	for _, h := range c.hosts {
		if h.up() {
			h.life.void = true
			h.finish(true)
		}
	}
	c.w.outside.kill()
	out := Result{
		Seed: c.w.seed, Trace: c.w.trace, Simulated: c.w.now, Operations: len(c.ops), Renewals: c.counts.renewals, Steps: c.w.steps,
		Crashes: c.counts.crashes, Joins: c.counts.joins, Removed: c.counts.removed, Replaced: c.counts.replaced,
		Rotten: c.counts.rotten, Refused: c.counts.refused,
	}
	for _, o := range c.ops {
		if o.wrote {
			out.Acknowledged++
		}
	}
	for _, o := range c.objectOps {
		if o.end == answered {
			out.Objects++
		}
	}
	for _, o := range c.onlookers {
		out.Shown += o.shown
	}
	if len(c.w.wrong) > 0 {
		out.Err = errors.New(strings.Join(c.w.wrong, "\n"))
	}
	return out
}

// imagesSeed is the seed of the run that makes the disks other runs begin with.
const imagesSeed = 1

// imagesOf returns the disks of a cluster of so many members, made by founding
// it and joining the rest, each a copy.
func (r *Runner) imagesOf(members int) ([]*disk.FaultFS, error) {
	if members == 0 {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.images == nil {
		r.images = map[int][]*disk.FaultFS{}
	}
	if r.images[members] == nil {
		made, err := makeImages(members)
		if err != nil {
			return nil, fmt.Errorf("make a cluster of %d members: %w", members, err)
		}
		r.images[members] = made
	}
	var out []*disk.FaultFS
	for _, d := range r.images[members] {
		out = append(out, d.Crash(disk.CrashOptions{Names: disk.NamesAll, Tear: disk.TearKeepAll}))
	}
	return out, nil
}

func makeImages(members int) ([]*disk.FaultFS, error) {
	c := newCluster(imagesSeed, &story{})
	c.w.drift, c.set.segment, c.set.keepLog = 0, 32<<10, 1<<20
	c.addHost(disk.NewFaultFS()).start()
	c.startOperator()
	for len(c.hosts) < members {
		c.w.run(c.w.now + time.Second)
		c.join()
	}
	for limit := c.w.now + time.Minute; len(c.voters()) < members || c.unsettled(0) != ""; {
		c.w.run(c.w.now + healLook)
		if len(c.w.wrong) > 0 || c.w.now > limit {
			return nil, fmt.Errorf("%s %s: %v", c.unsettled(0), c.describe(), c.w.wrong)
		}
	}
	for _, h := range c.hosts {
		h.stop()
		h.retired, c.expelled[h.name] = true, true // it stays down
	}
	c.w.run(c.w.now + 20*time.Second)
	var out []*disk.FaultFS
	for _, h := range c.hosts {
		if h.up() {
			return nil, fmt.Errorf("%s does not stop", h.name)
		}
		out = append(out, h.disk)
	}
	return out, c.end().Err
}
