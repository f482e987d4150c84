// Package sched is the seam for time, tasks and chance: what runs beside what,
// what waits for what, and for how long. In production it is Go's own; the
// simulator puts one thread with simulated time in its place, so that a seed
// replays whole members.
//
// Code on this seam starts tasks with Go or a Group, waits with Wait and what is
// built on it, and takes the time from Now. It never waits while it holds a lock
// that another task may want.
package sched

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"
)

// Scheduler runs tasks in time. All methods may be called from any task.
type Scheduler interface {
	Now() time.Time
	// Go runs f as a task of its own.
	Go(f func())
	// Wait waits until one of up to four channels is closed or gives, takes it,
	// and returns its place. A nil channel never does.
	Wait(on ...<-chan struct{}) int
	// AfterFunc calls f after a time, outside of any task: f must not wait.
	AfterFunc(d time.Duration, f func()) Timer
	// Uint64 is a random number, for identities and nonces.
	Uint64() uint64
}

// Timer is a call that is due, as of time.AfterFunc.
type Timer interface {
	Stop() bool
	Reset(d time.Duration) bool
}

// Go is the scheduler of production: goroutines, the system's clock, and its
// source of random numbers.
type Go struct{}

var _ Scheduler = Go{}

// Now implements Scheduler.
func (Go) Now() time.Time { return time.Now() }

// Go implements Scheduler.
func (Go) Go(f func()) { go f() }

// AfterFunc implements Scheduler.
func (Go) AfterFunc(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }

// Uint64 implements Scheduler.
func (Go) Uint64() uint64 {
	var b [8]byte
	// crypto/rand.Read never fails: it ends the program instead.
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// Wait implements Scheduler.
func (Go) Wait(on ...<-chan struct{}) int {
	var c [4]<-chan struct{}
	if copy(c[:], on) < len(on) {
		panic("sched: Wait on more than four channels")
	}
	select {
	case <-c[0]:
		return 0
	case <-c[1]:
		return 1
	case <-c[2]:
		return 2
	case <-c[3]:
		return 3
	}
}

// Or is s, or the scheduler of production where s is nil.
func Or(s Scheduler) Scheduler {
	if s == nil {
		return Go{}
	}
	return s
}

// Sleep waits for a time, unless the context or one more channel, which may be
// nil, ends the wait before: then it returns false.
func Sleep(ctx context.Context, s Scheduler, d time.Duration, stop <-chan struct{}) bool {
	c := make(chan struct{})
	t := s.AfterFunc(d, func() { close(c) })
	defer t.Stop()
	return s.Wait(stop, ctx.Done(), c) == 2
}

// Tick gives a token every d, dropping those that nobody takes, until the
// returned function is called.
func Tick(s Scheduler, d time.Duration) (ticks <-chan struct{}, stop func()) {
	t := &ticker{c: make(chan struct{}, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	next := s.Now().Add(d)
	t.timer = s.AfterFunc(d, func() {
		select {
		case t.c <- struct{}{}:
		default:
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.stopped {
			return
		}
		// Behind by more than a period, as after a pause, it starts over.
		now := s.Now()
		if next = next.Add(d); !next.After(now) {
			next = now.Add(d)
		}
		t.timer.Reset(next.Sub(now))
	})
	return t.c, t.stop
}

type ticker struct {
	c       chan struct{}
	mu      sync.Mutex
	timer   Timer
	stopped bool
}

func (t *ticker) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	t.timer.Stop()
}

// WithTimeout is context.WithTimeoutCause in the scheduler's time. A nil cause
// is context.DeadlineExceeded.
func WithTimeout(ctx context.Context, s Scheduler, d time.Duration, cause error) (context.Context, context.CancelFunc) {
	if _, ok := s.(Go); ok {
		return context.WithTimeoutCause(ctx, d, cause)
	}
	at := s.Now().Add(d)
	if have, ok := ctx.Deadline(); ok && have.Before(at) {
		return context.WithCancel(ctx)
	}
	if cause == nil {
		cause = context.DeadlineExceeded
	}
	inner, cancel := context.WithCancelCause(ctx)
	c := &timeoutContext{Context: inner, at: at}
	t := s.AfterFunc(d, func() {
		c.expired.Do(func() { c.err = context.DeadlineExceeded })
		cancel(cause)
	})
	return c, func() {
		t.Stop()
		cancel(context.Canceled)
	}
}

// timeoutContext ends at a moment of a scheduler that is not Go's own.
type timeoutContext struct {
	context.Context
	at      time.Time
	expired sync.Once
	err     error
}

// Deadline implements context.Context.
func (c *timeoutContext) Deadline() (time.Time, bool) { return c.at, true }

// Err implements context.Context.
func (c *timeoutContext) Err() error {
	err := c.Context.Err()
	if err == nil {
		return nil
	}
	c.expired.Do(func() { c.err = err })
	return c.err
}

// Group is tasks that are waited for together.
type Group struct {
	s    Scheduler
	mu   sync.Mutex
	n    int
	idle chan struct{}
}

// NewGroup makes an empty group.
func NewGroup(s Scheduler) *Group { return &Group{s: s} }

// Go runs f as a task of the group.
func (g *Group) Go(f func()) {
	g.mu.Lock()
	g.n++
	g.mu.Unlock()
	g.s.Go(func() {
		defer g.done()
		f()
	})
}

func (g *Group) done() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// Wait waits until no task of the group is left.
func (g *Group) Wait() {
	for {
		g.mu.Lock()
		if g.n == 0 {
			g.mu.Unlock()
			return
		}
		if g.idle == nil {
			g.idle = make(chan struct{})
		}
		idle := g.idle
		g.mu.Unlock()
		g.s.Wait(idle)
	}
}
