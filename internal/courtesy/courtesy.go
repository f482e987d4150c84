// Package courtesy slows the bytes of objects down where writes of keys would wait for them.
//
// Both share the processors and the disk of a member, and of a disk that is busy with many bytes a
// small write waits for all of them. How many bytes a second are too many no setting can know. So
// the gate looks at how long small writes take: as a valve it closes fast and opens slowly (additive
// or gentle increase, multiplicative decrease, as in Chiu and Jain, "Analysis of the Increase and
// Decrease Algorithms for Congestion Avoidance in Computer Networks", 1989). While nobody writes
// keys it is open.
package courtesy

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// LeastRate is what bytes get whatever keys feel of them, in bytes a second.
	LeastRate = 4 << 20

	// mostRate is more than any member moves; firstRate is where the gate begins.
	mostRate, firstRate = 8 << 30, 16 << 20
	// activeFor is how long keys count as being written after one was.
	activeFor = 2 * time.Second
	// quietAfter is how long no bytes must have moved for a small write to tell how long it takes
	// by itself.
	quietAfter = 250 * time.Millisecond
	// window is how long is looked before the rate is changed.
	window = 200 * time.Millisecond
	// A small write is late that takes more than tolerated times as long as by itself, and slack.
	// A window is bad in which more than one of so many are. With the two factors below, the rate
	// stays as it is where about one write of a hundred is late and there are many.
	tolerated, slack = 2, time.Millisecond
	byChance         = 100
	// guessed is how long a small write takes by itself where it was never seen to.
	guessed = 3 * time.Millisecond
	// fewer and more are what the rate is multiplied with after a bad window and after a good one.
	fewer, more = 0.7, 1.1
	// burst is how many bytes may pass at once.
	burst = 128 << 10
	// breath is how long work on bytes rests between two of its steps.
	breath = time.Millisecond
)

// Gate is the gate of one member. Its methods may be called from any goroutine.
type Gate struct {
	now   func() time.Time
	pause func(context.Context, time.Duration) error

	mu      sync.Mutex
	limiter *rate.Limiter
	// keys is when a key was written last, moved when bytes were.
	keys, moved time.Time
	// alone is how long small writes take by themselves, by their kinds.
	alone [kinds]time.Duration
	// began is when the window did; seen are the small writes in it, late those that were.
	began      time.Time
	seen, late int
	// held says that bytes waited in it: a rate that holds nothing back need not grow.
	held bool
}

// Kind is a kind of small write.
type Kind int

const (
	// Sync is a sync of this member's log.
	Sync Kind = iota
	// Answer is a write of a key, from the request to the answer.
	Answer

	kinds
)

// New makes a gate by a clock, and by what waits so long or until the context ends.
func New(now func() time.Time, pause func(context.Context, time.Duration) error) *Gate {
	return &Gate{now: now, pause: pause, limiter: rate.NewLimiter(firstRate, burst)}
}

// Keys says that a key was written just now.
func (g *Gate) Keys() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys = g.now()
}

// Took says how long a small write took that has just ended.
func (g *Gate) Took(k Kind, d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	alone := &g.alone[k]
	if now.Sub(g.moved) > quietAfter {
		if *alone == 0 {
			*alone = d
		}
		*alone += (d - *alone) / 16
		return
	}
	if !g.busy(now) {
		return // syncs for the bytes themselves may take what they take
	}
	usual := *alone
	if usual == 0 {
		usual = guessed
	}
	g.seen++
	if d > tolerated*usual+slack {
		g.late++
	}
	g.turn(now)
}

// turn ends the window, if it is time to. mu is held.
func (g *Gate) turn(now time.Time) {
	if now.Sub(g.began) < window {
		return
	}
	r := float64(g.limiter.Limit())
	switch {
	case byChance*g.late > g.seen:
		r = max(r*fewer, LeastRate)
	case g.held:
		r = min(r*more, mostRate)
	}
	g.limiter.SetLimitAt(now, rate.Limit(r))
	g.began, g.seen, g.late, g.held = now, 0, 0, false
}

// Busy reports whether keys are being written, and takes note that bytes are.
func (g *Gate) Busy() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.moved = now
	return g.busy(now)
}

func (g *Gate) busy(now time.Time) bool { return !g.keys.IsZero() && now.Sub(g.keys) < activeFor }

// Pass waits until n bytes may move, or returns the error of the pause that was ended.
func (g *Gate) Pass(ctx context.Context, n int) error {
	for ; n > 0; n -= burst {
		wait := g.reserve(min(n, burst))
		if wait <= 0 {
			continue
		}
		if err := g.pause(ctx, wait); err != nil {
			return fmt.Errorf("let keys go first: %w", err)
		}
	}
	return nil
}

// Breathe is called between two steps of work on bytes. While keys are written it rests for a
// millisecond: with few processors work that goes on for long holds up every small write that comes in
// its way, however little there is of it.
func (g *Gate) Breathe() {
	if g.Busy() {
		_ = g.pause(context.Background(), breath) // which does not end
	}
}

// reserve is how long n bytes wait.
func (g *Gate) reserve(n int) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.moved = now
	if !g.busy(now) {
		return 0
	}
	wait := g.limiter.ReserveN(now, n).DelayFrom(now)
	g.held = g.held || wait > 0
	return wait
}

// Rate is what bytes may move at now, in bytes a second; 0 is any.
func (g *Gate) Rate() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.busy(g.now()) {
		return 0
	}
	return float64(g.limiter.Limit())
}
