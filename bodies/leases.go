package bodies

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"chainfire"
	"chainfire/object"
)

// leases are this member's write leases. At most one is used for new bodies; older ones are closed once
// their last body is. A member that writes nothing has none.
type leases struct {
	state         State
	member, boots uint64
	useFor        time.Duration

	mu      sync.Mutex
	current *lease
	// opening is closed when the opening that runs has ended.
	opening chan struct{}
	// known are those that were opened and are not closed yet.
	known map[uint64]bool
	// spent are those to be closed, which have no body any more.
	spent []uint64
	// wake has the keeper look.
	wake chan struct{}
}

// lease is one open write lease.
type lease struct {
	id     uint64
	opened time.Time
	// next is the number of the next body; bodies are those that are not closed.
	next    uint32
	bodies  int
	retired bool
}

func newLeases(s State, member, boots uint64, useFor time.Duration) *leases {
	return &leases{state: s, member: member, boots: boots, useFor: useFor, known: map[uint64]bool{}, wake: make(chan struct{}, 1)}
}

// take names a new body. The caller gives the lease back with release, once.
func (l *leases) take(ctx context.Context) (object.BodyID, *lease, error) {
	l.mu.Lock()
	for {
		if c := l.current; c != nil && c.next < maxLeaseBodies && time.Since(c.opened) < l.useFor {
			id := object.BodyID{Lease: c.id, N: c.next}
			c.next++
			c.bodies++
			l.mu.Unlock()
			return id, c, nil
		}
		if wait := l.opening; wait != nil {
			l.mu.Unlock()
			select {
			case <-wait:
			case <-ctx.Done():
				return object.BodyID{}, nil, fmt.Errorf("wait for a write lease: %w", ctx.Err())
			}
			l.mu.Lock()
			continue
		}
		if err := l.open(ctx); err != nil {
			l.mu.Unlock()
			return object.BodyID{}, nil, fmt.Errorf("open a write lease: %w", err)
		}
	}
}

// open replaces the current lease. mu is held, and given up meanwhile.
func (l *leases) open(ctx context.Context) error {
	opening := make(chan struct{})
	l.opening = opening
	l.mu.Unlock()
	// The time is taken before: what counts is how old the lease can be.
	began := time.Now()
	r, err := l.state.Change(ctx, &object.Change{
		Time: began.UnixMilli(), OpenLease: &object.OpenLease{Member: l.member, Boots: l.boots},
	})
	l.mu.Lock()
	l.opening = nil
	close(opening)
	if err != nil {
		return err // one that was opened all the same is an orphan
	}
	l.known[r.Lease] = true
	l.retire()
	l.current = &lease{id: r.Lease, opened: began}
	return nil
}

// retire ends the use of the current lease for new bodies. mu is held.
func (l *leases) retire() {
	c := l.current
	if c == nil {
		return
	}
	l.current = nil
	c.retired = true
	l.spend(c)
}

// spend has a retired lease closed, if it has no body. mu is held.
func (l *leases) spend(c *lease) {
	if c.retired && c.bodies == 0 {
		l.spent = append(l.spent, c.id)
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// release says that nothing more is done with a body of a lease.
func (l *leases) release(c *lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.bodies--
	l.spend(c)
}

// expire retires the current lease when it is old.
func (l *leases) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.current; c != nil && time.Since(c.opened) >= l.useFor {
		l.retire()
	}
}

// closeSpent closes what is to be closed, until one cannot be.
func (l *leases) closeSpent(ctx context.Context) error {
	for {
		l.mu.Lock()
		if len(l.spent) == 0 {
			l.mu.Unlock()
			return nil
		}
		id := l.spent[0]
		l.mu.Unlock()
		_, err := l.state.Change(ctx, &object.Change{Time: time.Now().UnixMilli(), CloseLease: &object.CloseLease{ID: id}})
		if err != nil {
			return fmt.Errorf("close write lease %d: %w", id, err)
		}
		l.mu.Lock()
		delete(l.known, id)
		l.spent = l.spent[1:]
		l.mu.Unlock()
	}
}

// orphans are those of some open leases that this start of the member opened without hearing of it,
// as when a client goes away meanwhile: nothing was written under them, and nothing will be.
func (l *leases) orphans(open []object.Lease) (ids []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opening != nil {
		return nil // the one that is being opened may be among them
	}
	for _, o := range open {
		if o.Member == l.member && o.Boots == l.boots && !l.known[o.ID] {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

// Intervals of the keeper. How often it looks at the leases that are open grows from the first to the
// last: at a start the state may still be to come.
const (
	leaseTick    = time.Second
	lookEvery    = time.Minute
	changeWithin = 10 * time.Second
)

// keepLeases closes leases: those that are used up, of earlier starts of this member, and, on the
// leader, of members that are absent.
func (b *Bodies) keepLeases() {
	t := time.NewTicker(min(leaseTick, b.opts.LeaseFor))
	defer t.Stop()
	every := min(leaseTick, b.opts.LeaseFor)
	var looked time.Time
	for {
		b.leases.expire()
		b.told("close write leases", b.within(b.leases.closeSpent))
		if time.Since(looked) >= every {
			looked = time.Now()
			every = min(2*every, lookEvery, b.opts.AbsentFor)
			b.told("close the write leases of the past", b.within(b.closePast))
		}
		select {
		case <-t.C:
		case <-b.leases.wake:
		case <-b.ctx.Done():
			return
		}
	}
}

// within runs f with a deadline.
func (b *Bodies) within(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(b.ctx, changeWithin)
	defer cancel()
	return f(ctx)
}

// told logs an error, but those of the end and that a learner changes nothing; it reports whether there
// was none.
func (b *Bodies) told(what string, err error) bool {
	if err != nil && b.ctx.Err() == nil && !errors.Is(err, chainfire.ErrLearner) {
		b.log.Warn(what+" failed; it is tried again", "err", err)
	}
	return err == nil
}

// closePast closes the leases of the past, and orphans of this start of the member.
func (b *Bodies) closePast(ctx context.Context) error {
	p := &PastLeases{
		State: b.opts.State, Member: b.opts.Member, Boots: b.opts.Boots, AbsentFor: b.opts.AbsentFor,
		Now: time.Now, Logger: b.log,
	}
	open, err := p.open(ctx)
	if err != nil {
		return err
	}
	for _, id := range b.leases.orphans(open) {
		if err := p.change(ctx, &object.Change{CloseLease: &object.CloseLease{ID: id}}); err != nil {
			return fmt.Errorf("close write lease %d, which nobody uses: %w", id, err)
		}
	}
	return p.close(ctx, open)
}
