// Package lessor counts the time of leases. Only the leader has a Lessor, from when it
// begins to lead to when it ends: what it finds due is decided by the log, where each
// decision names the leader's term, so that a leader that was replaced decides nothing.
//
// A Lessor has no clock and does nothing by itself: it is told the time, and says what
// is due. Time is that for which the leader was awake, see Clock.
package lessor

import (
	"container/heap"
	"math"
	"time"
)

// Options are the limits of a Lessor. Zero values mean the defaults named.
type Options struct {
	// Extend is what every lease is given when a leader begins: as long as nobody led
	// nobody could renew. It is the election timeout.
	Extend time.Duration
	// CheckpointEvery is how often it is noted what is left of a lease that is not
	// renewed. Default 5 min, as in etcd.
	CheckpointEvery time.Duration
	// RetryAfter is when a revocation that was not seen to happen is asked for again.
	// Default 5 s.
	RetryAfter time.Duration
}

// Checkpoint says how many seconds, at least 1, are left of a lease.
type Checkpoint struct {
	ID, Remaining int64
}

// State is what renewing a lease came to.
type State uint8

// The states.
const (
	// Renewed is a lease that has its whole time to live again.
	Renewed State = iota
	// Missing is a lease that does not exist.
	Missing
	// Expired is a lease that is being revoked: it ends as Missing, or with the leader.
	Expired
	// Noted is a lease of which a checkpoint was made. It is not renewed: first the log
	// must say that all of its time is left, which is returned, then Restored be called.
	Noted
)

// Answer is what renewing a lease came to.
type Answer struct {
	State State
	// TTL is the whole time to live, in seconds, of a lease that is Renewed or Noted.
	TTL int64
	// Note names the checkpoint that is to be undone, for Restored.
	Note uint64
}

// Lessor is the leases of one leadership. It belongs to one goroutine at a time.
type Lessor struct {
	opts Options
	m    map[int64]*lease
	// deadlines and checks have the leases that are not being revoked, by when they
	// expire and by when the next checkpoint is due; retries has the others, by when
	// they are asked for again.
	deadlines, checks, retries queue
	// notes counts checkpoints.
	notes uint64
}

type lease struct {
	id       int64
	ttl      time.Duration
	revoking bool
	// note is the last checkpoint that the log may have and that is less than all; 0
	// is none.
	note uint64
	// at is what orders a queue, place where the lease is in it; by queue.
	at    [queues]time.Duration
	place [queues]int
}

// The queues.
const (
	byDeadline = iota
	byCheck
	byRetry
	queues
)

func (e *lease) deadline() time.Duration { return e.at[byDeadline] }

// New begins a leadership without leases.
func New(opts Options) *Lessor {
	if opts.CheckpointEvery == 0 {
		opts.CheckpointEvery = 5 * time.Minute
	}
	if opts.RetryAfter == 0 {
		opts.RetryAfter = 5 * time.Second
	}
	return &Lessor{
		opts: opts, m: map[int64]*lease{},
		deadlines: queue{kind: byDeadline}, checks: queue{kind: byCheck}, retries: queue{kind: byRetry},
	}
}

// seconds is a number of seconds as a time, as long as can be at most.
func seconds(n int64) time.Duration {
	if n > math.MaxInt64/int64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(n) * time.Second
}

// later is a sum that does not overflow.
func later(t, d time.Duration) time.Duration {
	if d > math.MaxInt64-t {
		return math.MaxInt64
	}
	return t + d
}

// Inherit takes a lease over from the state, with what the last checkpoint left of it,
// in seconds; 0 is none. A lease that is known already stays as it is.
func (l *Lessor) Inherit(id, ttl, remaining int64, now time.Duration) {
	if l.m[id] != nil {
		return
	}
	left := seconds(ttl)
	if remaining > 0 {
		left = seconds(remaining)
	}
	e := &lease{id: id, ttl: seconds(ttl)}
	l.add(e, later(now, later(left, l.opts.Extend)), now)
	if remaining > 0 {
		l.noted(e)
	}
}

// Granted takes a new lease in.
func (l *Lessor) Granted(id, ttl int64, now time.Duration) {
	l.Revoked(id)
	l.add(&lease{id: id, ttl: seconds(ttl)}, later(now, seconds(ttl)), now)
}

func (l *Lessor) add(e *lease, deadline, now time.Duration) {
	e.at[byDeadline], e.at[byCheck] = deadline, later(now, l.opts.CheckpointEvery)
	l.m[e.id] = e
	heap.Push(&l.deadlines, e)
	heap.Push(&l.checks, e)
}

// noted takes down that the log may have a checkpoint of a lease.
func (l *Lessor) noted(e *lease) {
	l.notes++
	e.note = l.notes
}

// Revoked forgets a lease, if there is one, and reports whether it had expired.
func (l *Lessor) Revoked(id int64) (expired bool) {
	e := l.m[id]
	if e == nil {
		return false
	}
	delete(l.m, id)
	if e.revoking {
		heap.Remove(&l.retries, e.place[byRetry])
		return true
	}
	heap.Remove(&l.deadlines, e.place[byDeadline])
	heap.Remove(&l.checks, e.place[byCheck])
	return false
}

// Checkpointed takes in that the state has it that so many seconds are left of a lease.
func (l *Lessor) Checkpointed(id, remaining int64) {
	// What Due named is known: this is for a lease that was granted anew since.
	if e := l.m[id]; e != nil && e.note == 0 && seconds(remaining) < e.ttl {
		l.noted(e)
	}
}

// Renew gives a lease its whole time to live again, counted from when it was asked for.
// A lease that has expired is not renewed, whether or not Due has named it.
func (l *Lessor) Renew(id int64, asked, now time.Duration) Answer {
	e := l.m[id]
	switch {
	case e == nil:
		return Answer{State: Missing}
	case e.revoking || e.deadline() <= now:
		return Answer{State: Expired}
	}
	ttl := int64(e.ttl / time.Second)
	if e.note != 0 {
		return Answer{State: Noted, TTL: ttl, Note: e.note}
	}
	// Another may have asked later, and been answered before.
	e.at[byDeadline] = max(e.deadline(), later(asked, e.ttl))
	e.at[byCheck] = later(now, l.opts.CheckpointEvery)
	heap.Fix(&l.deadlines, e.place[byDeadline])
	heap.Fix(&l.checks, e.place[byCheck])
	return Answer{State: Renewed, TTL: ttl}
}

// Restored says that a checkpoint is undone: the log has all of the time of the lease
// left, behind that checkpoint. Of one that was made since, it says nothing.
func (l *Lessor) Restored(id int64, note uint64) {
	if e := l.m[id]; e != nil && e.note == note {
		e.note = 0
	}
}

// Remaining is how much is left of a lease, which is below 0 where its revocation is
// late, and what it was granted for.
func (l *Lessor) Remaining(id int64, now time.Duration) (left, ttl time.Duration, found bool) {
	e := l.m[id]
	if e == nil {
		return 0, 0, false
	}
	return e.deadline() - now, e.ttl, true
}

// Due names the leases that have expired, n at most, with those whose revocation was
// asked for and has not happened, and the checkpoints that are to be made, notes at most.
// What it names it does not name again until RetryAfter or CheckpointEvery.
func (l *Lessor) Due(now time.Duration, n, notes int) (expired []int64, checkpoints []Checkpoint) {
	retry := func(e *lease) {
		e.at[byRetry] = later(now, l.opts.RetryAfter)
		expired = append(expired, e.id)
	}
	for len(expired) < n && l.retries.due(now) {
		e := l.retries.leases[0]
		retry(e)
		heap.Fix(&l.retries, 0)
	}
	for len(expired) < n && l.deadlines.due(now) {
		e := l.deadlines.leases[0]
		heap.Pop(&l.deadlines)
		heap.Remove(&l.checks, e.place[byCheck])
		e.revoking = true
		retry(e)
		heap.Push(&l.retries, e)
	}
	for len(checkpoints) < notes && l.checks.due(now) {
		e := l.checks.leases[0]
		e.at[byCheck] = later(now, l.opts.CheckpointEvery)
		heap.Fix(&l.checks, 0)
		if e.deadline() <= now {
			continue // it is to be revoked, in its turn
		}
		l.noted(e)
		checkpoints = append(checkpoints, Checkpoint{ID: e.id, Remaining: int64((e.deadline() - now + time.Second - 1) / time.Second)})
	}
	return expired, checkpoints
}

// queue is a heap of leases by when something is due of them; by their ids where that is
// the same, so that the order is always the same.
type queue struct {
	kind   int
	leases []*lease
}

func (q *queue) due(now time.Duration) bool {
	return len(q.leases) > 0 && q.leases[0].at[q.kind] <= now
}

// Len implements heap.Interface.
func (q *queue) Len() int { return len(q.leases) }

// Less implements heap.Interface.
func (q *queue) Less(i, j int) bool {
	a, b := q.leases[i], q.leases[j]
	if a.at[q.kind] != b.at[q.kind] {
		return a.at[q.kind] < b.at[q.kind]
	}
	return a.id < b.id
}

// Swap implements heap.Interface.
func (q *queue) Swap(i, j int) {
	q.leases[i], q.leases[j] = q.leases[j], q.leases[i]
	q.leases[i].place[q.kind], q.leases[j].place[q.kind] = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	e, _ := x.(*lease)
	e.place[q.kind] = len(q.leases)
	q.leases = append(q.leases, e)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(q.leases) - 1
	e := q.leases[last]
	q.leases[last] = nil
	q.leases = q.leases[:last]
	return e
}
