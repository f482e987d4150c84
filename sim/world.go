package sim

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"chainfire/internal/sched"
)

// epoch is when simulated time begins, for those who look at a clock.
var epoch = time.Unix(1_700_000_000, 0)

// world is the one thread: what is due, and which tasks can go on.
type world struct {
	seed uint64
	rng  *rand.Rand
	now  time.Duration
	due  eventHeap
	seq  uint64

	// mu guards ready: the engine may report a failure from a thread of its own.
	mu    sync.Mutex
	ready []*task
	cur   *task
	procs uint64
	// outside is the process of everyone who is no member.
	outside *proc

	// drift is how far a clock may be from the right rate.
	drift float64
	// shuffle lets any task that can go on be the next, not the first.
	shuffle bool
	story   *story
	steps   uint64
	// trace is a hash of everything that happened.
	trace uint64
	wrong []string
}

func newWorld(seed uint64, st *story) *world {
	w := &world{seed: seed, rng: rand.New(rand.NewPCG(seed, 0x5851f42d4c957f2d)), story: st, trace: 14695981039346656037}
	w.outside = w.newProc("outside")
	st.now = func() time.Duration { return w.now }
	return w
}

// violate records that something is wrong. The run ends with the first.
func (w *world) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.wrong = append(w.wrong, text)
	w.story.tell("VIOLATION", "%s", text)
}

// note adds to the trace.
func (w *world) note(values ...uint64) {
	for _, v := range values {
		w.trace = (w.trace ^ v) * 1099511628211
	}
	w.trace ^= w.trace >> 29
}

// chance is true with a probability.
func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

// between draws a duration.
func (w *world) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)+1))
}

// pick draws one of a list.
func pick[T any](w *world, from ...T) T { return from[w.rng.IntN(len(from))] }

// after calls f when a time has passed.
func (w *world) after(d time.Duration, f func()) { w.schedule(nil, d, f) }

func (w *world) schedule(p *proc, d time.Duration, f func()) *event {
	w.seq++
	e := &event{at: w.now + max(d, 0), seq: w.seq, p: p, f: f}
	w.due.push(e)
	return e
}

// maxSteps bounds a run: more is a loop without end.
const maxSteps = 3_000_000

// run lets time pass until a moment, or until something is wrong.
func (w *world) run(until time.Duration) {
	for len(w.wrong) == 0 {
		if t := w.next(); t != nil {
			w.step(t)
			continue
		}
		if len(w.due) == 0 || w.due[0].at > until {
			w.now = until
			return
		}
		e := w.due.pop()
		if e.f == nil {
			continue // canceled
		}
		w.now = max(w.now, e.at)
		w.fire(e)
	}
}

func (w *world) fire(e *event) {
	p := e.p
	if p == nil {
		f := e.f
		e.f = nil
		f()
		return
	}
	switch {
	case p.dead:
	case p.pausedUntil > w.now:
		e.at = p.pausedUntil
		w.due.push(e)
	default:
		f := e.f
		e.f = nil
		f()
		p.poll()
	}
}

// next takes a task that can go on.
func (w *world) next() *task {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ready) == 0 {
		return nil
	}
	i := 0
	if w.shuffle {
		i = w.rng.IntN(len(w.ready))
	}
	t := w.ready[i]
	w.ready = append(w.ready[:i], w.ready[i+1:]...)
	return t
}

func (w *world) step(t *task) {
	p := t.p
	if p.dead || t.over {
		return
	}
	if p.pausedUntil > w.now {
		p.held = append(p.held, t)
		return
	}
	if w.steps++; w.steps > maxSteps {
		w.violate("%d steps: something goes on without end", w.steps)
		return
	}
	w.note(uint64(w.now), p.id, t.id)
	w.cur = t
	_, more := t.next()
	w.cur = nil
	if !more {
		p.remove(t)
	}
	if t.failure != "" {
		w.violate("%s panics: %s", p.name, t.failure)
	}
	p.poll()
}

// proc is tasks that live and die together, as those of a process. It is the
// scheduler that the code in them sees.
type proc struct {
	w    *world
	id   uint64
	name string
	rng  *rand.Rand
	dead bool
	// void says that the power is gone: nothing it does counts any more.
	void bool
	// rate is how fast its clock goes.
	rate float64

	tasks  []*task
	parked []*task
	serial uint64
	// pausedUntil is until when nothing of it runs; held are the tasks that
	// could.
	pausedUntil time.Duration
	held        []*task
}

var _ sched.Scheduler = (*proc)(nil)

func (w *world) newProc(name string) *proc {
	w.procs++
	return &proc{w: w, id: w.procs, name: name, rate: 1, rng: rand.New(rand.NewPCG(w.seed, w.procs<<32|7))}
}

// task is a coroutine.
type task struct {
	p       *proc
	id      uint64
	next    func() (struct{}, bool)
	stop    func()
	yield   func(struct{}) bool
	on      []<-chan struct{}
	got     int
	over    bool
	failure string
}

// ended is what unwinds the tasks of a process that is killed.
type ended struct{}

// Go implements sched.Scheduler.
func (p *proc) Go(f func()) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.dead {
		return
	}
	p.serial++
	t := &task{p: p, id: p.serial}
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		defer func() {
			switch r := recover(); r.(type) {
			case nil, ended:
			default:
				t.failure = fmt.Sprintf("%v\n%s", r, debug.Stack())
			}
		}()
		f()
	})
	p.tasks = append(p.tasks, t)
	p.w.ready = append(p.w.ready, t)
}

func (p *proc) remove(t *task) {
	t.over = true
	for i := range p.tasks {
		if p.tasks[i] == t {
			p.tasks = append(p.tasks[:i], p.tasks[i+1:]...)
			return
		}
	}
}

// kill ends every task where it waits.
func (p *proc) kill() {
	p.w.mu.Lock()
	p.dead = true
	p.w.mu.Unlock()
	for _, t := range p.tasks {
		t.over = true
		t.stop()
	}
	p.tasks, p.parked, p.held = nil, nil, nil
}

// pause stops everything for a time, as SIGSTOP does.
func (p *proc) pause(d time.Duration) {
	p.pausedUntil = p.w.now + d
	p.w.after(d, func() {
		held := p.held
		p.held = nil
		for _, t := range held {
			p.w.wake(t)
		}
	})
}

func (w *world) wake(t *task) {
	w.mu.Lock()
	w.ready = append(w.ready, t)
	w.mu.Unlock()
}

// take finds the first channel that gives.
func take(on []<-chan struct{}) int {
	for i, c := range on {
		if c == nil {
			continue
		}
		select {
		case <-c:
			return i
		default:
		}
	}
	return -1
}

// poll looks which tasks can go on. It is called after everything that may have
// touched what they wait for.
func (p *proc) poll() {
	kept := p.parked[:0]
	for _, t := range p.parked {
		if t.got = take(t.on); t.got >= 0 {
			p.w.wake(t)
		} else {
			kept = append(kept, t)
		}
	}
	p.parked = kept
}

// Wait implements sched.Scheduler.
func (p *proc) Wait(on ...<-chan struct{}) int {
	t := p.w.cur
	if p.dead {
		panic(ended{})
	}
	if t == nil || t.p != p {
		panic("sim: a wait outside of a task of its process")
	}
	if i := take(on); i >= 0 {
		return i
	}
	t.on = on
	p.parked = append(p.parked, t)
	if !t.yield(struct{}{}) {
		panic(ended{})
	}
	return t.got
}

// Now implements sched.Scheduler.
func (p *proc) Now() time.Time {
	return epoch.Add(time.Duration(float64(p.w.now) * p.rate))
}

// Uint64 implements sched.Scheduler.
func (p *proc) Uint64() uint64 { return p.rng.Uint64() }

// AfterFunc implements sched.Scheduler.
func (p *proc) AfterFunc(d time.Duration, f func()) sched.Timer {
	t := &timer{p: p, f: f}
	t.Reset(d)
	return t
}

type timer struct {
	p *proc
	f func()
	e *event
}

// Stop implements sched.Timer.
func (t *timer) Stop() bool {
	active := t.e != nil && t.e.f != nil
	if active {
		t.e.f = nil
	}
	return active
}

// Reset implements sched.Timer.
func (t *timer) Reset(d time.Duration) bool {
	active := t.Stop()
	if !t.p.dead {
		t.e = t.p.w.schedule(t.p, time.Duration(float64(d)/t.p.rate), t.f)
	}
	return active
}

// sleep lets time pass for the task that runs.
func (p *proc) sleep(d time.Duration) {
	c := make(chan struct{})
	p.w.schedule(p, d, func() { close(c) })
	p.Wait(c)
}
