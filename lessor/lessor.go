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

// Lessor is the leases of one leadership. It belongs to one goroutine at a time.
type Lessor struct {
	opts Options
	m    map[int64]*lease
	// due has the leases that are not being revoked, revoking the others in the order
	// in which they were last asked for.
	due      queue
	revoking queue
}

type lease struct {
	id  int64
	ttl time.Duration
	// deadline is when it expires, check when the next checkpoint is due.
	deadline, check time.Duration
	// noted says that the log may have a checkpoint that is less than all.
	noted    bool
	revoking bool
	// at orders the queue that it is in, place is where it is there.
	at    time.Duration
	place int
}

// New begins a leadership without leases.
func New(opts Options) *Lessor {
	if opts.CheckpointEvery == 0 {
		opts.CheckpointEvery = 5 * time.Minute
	}
	if opts.RetryAfter == 0 {
		opts.RetryAfter = 5 * time.Second
	}
	return &Lessor{opts: opts, m: map[int64]*lease{}}
}

// Len is how many leases there are.
func (l *Lessor) Len() int { return len(l.m) }

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
	l.add(&lease{id: id, ttl: seconds(ttl), noted: remaining > 0}, later(now, later(left, l.opts.Extend)), now)
}

// Granted takes a new lease in.
func (l *Lessor) Granted(id, ttl int64, now time.Duration) {
	l.Revoked(id)
	l.add(&lease{id: id, ttl: seconds(ttl)}, later(now, seconds(ttl)), now)
}

func (l *Lessor) add(e *lease, deadline, now time.Duration) {
	e.deadline = deadline
	e.check = later(now, l.opts.CheckpointEvery)
	e.at = min(e.deadline, e.check)
	l.m[e.id] = e
	heap.Push(&l.due, e)
}

// Revoked forgets a lease, if there is one, and reports whether it had expired.
func (l *Lessor) Revoked(id int64) (expired bool) {
	e := l.m[id]
	if e == nil {
		return false
	}
	delete(l.m, id)
	heap.Remove(l.queueOf(e), e.place)
	return e.revoking
}

func (l *Lessor) queueOf(e *lease) *queue {
	if e.revoking {
		return &l.revoking
	}
	return &l.due
}

// Renew gives a lease its whole time to live again, counted from when it was asked for,
// and returns that in seconds. A lease that has expired is not renewed, whether or not
// Expired has named it.
func (l *Lessor) Renew(id int64, asked, now time.Duration) (State, int64) {
	e := l.m[id]
	switch {
	case e == nil:
		return Missing, 0
	case e.revoking || e.deadline <= now:
		return Expired, 0
	case e.noted:
		return Noted, int64(e.ttl / time.Second)
	}
	// Another may have asked later, and been answered before.
	e.deadline = max(e.deadline, later(asked, e.ttl))
	e.check = later(now, l.opts.CheckpointEvery)
	e.at = min(e.deadline, e.check)
	heap.Fix(&l.due, e.place)
	return Renewed, int64(e.ttl / time.Second)
}

// Restored says that the log has all of the time of a lease left.
func (l *Lessor) Restored(id int64) {
	if e := l.m[id]; e != nil {
		e.noted = false
	}
}

// Remaining is how much is left of a lease, which is below 0 where its revocation is
// late, and what it was granted for.
func (l *Lessor) Remaining(id int64, now time.Duration) (left, ttl time.Duration, found bool) {
	e := l.m[id]
	if e == nil {
		return 0, 0, false
	}
	return e.deadline - now, e.ttl, true
}

// Due names the leases that have expired, n at most, with those whose revocation was
// asked for and has not happened, and the checkpoints that are to be made, n at most.
// What it names it does not name again until RetryAfter or CheckpointEvery.
func (l *Lessor) Due(now time.Duration, n int) (expired []int64, checkpoints []Checkpoint) {
	for len(l.revoking) > 0 && l.revoking[0].at <= now && len(expired) < n {
		e := l.revoking[0]
		e.at = later(now, l.opts.RetryAfter)
		heap.Fix(&l.revoking, 0)
		expired = append(expired, e.id)
	}
	for len(l.due) > 0 && l.due[0].at <= now && len(expired) < n && len(checkpoints) < n {
		e := l.due[0]
		if e.deadline <= now {
			heap.Pop(&l.due)
			e.revoking, e.at = true, later(now, l.opts.RetryAfter)
			heap.Push(&l.revoking, e)
			expired = append(expired, e.id)
			continue
		}
		e.noted = true
		e.check = later(now, l.opts.CheckpointEvery)
		e.at = min(e.deadline, e.check)
		heap.Fix(&l.due, 0)
		checkpoints = append(checkpoints, Checkpoint{ID: e.id, Remaining: int64((e.deadline - now + time.Second - 1) / time.Second)})
	}
	return expired, checkpoints
}

// queue is a heap of leases by what is next of them; by their ids where that is the
// same, so that the order is always the same.
type queue []*lease

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if q[i].at != q[j].at {
		return q[i].at < q[j].at
	}
	return q[i].id < q[j].id
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	e, _ := x.(*lease)
	e.place = len(*q)
	*q = append(*q, e)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}
