package node

import (
	"sync"
	"time"

	"chainfire/internal/sched"
)

// While clients write at busyRate or more, in entries a second, newcomers are seeded
// at yieldRate, in bytes a second: on a small machine a seed at full speed doubles
// what a write takes.
const (
	busyRate  = 100
	yieldRate = 16 << 20
	// busyWindow is over how long the rate of the entries is taken.
	busyWindow = 500 * time.Millisecond
)

// pace says whether entries are applied at a rate that means clients at work.
type pace struct {
	sched   sched.Scheduler
	applied func() uint64

	mu    sync.Mutex
	since time.Time
	from  uint64
	is    bool
}

// busy implements snapshot.ServerOptions.Busy.
func (p *pace) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, applied := p.sched.Now(), p.applied()
	if d := now.Sub(p.since); d >= busyWindow {
		// The first time d is longer than can be multiplied.
		p.is = float64(applied-p.from) >= busyRate*d.Seconds()
		p.since, p.from = now, applied
	}
	return p.is
}
