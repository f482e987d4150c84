package node

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"chainfire"
	"chainfire/internal/sched"
	"chainfire/lessor"
	"chainfire/machine"
	"chainfire/replica"
)

// lessorInterval is how often the leader looks which leases are due, perLook how many it
// has revoked in one look, and notesPerLook how many noted.
const (
	lessorInterval = 100 * time.Millisecond
	perLook        = 200
	notesPerLook   = machine.MaxCheckpoints
)

// minLessorStep is the least time that passes for leases between two looks at the
// clock, where there was that much.
const minLessorStep = time.Second

// lessors is the lessor of this member while it leads, with what goes on around it.
type lessors struct {
	sched sched.Scheduler
	mu    sync.Mutex
	clock lessor.Clock
	// lessor exists while this member leads, in term.
	lessor *lessor.Lessor
	term   uint64
	// decided are the leases that were granted or revoked while those of the state are
	// still being read; nil once they are.
	decided map[int64]struct{}
	// changed is closed when a lease is revoked, or the lessor is another or complete.
	changed chan struct{}
	counts  chainfire.LeaseCounts
}

func newLessors(s sched.Scheduler, election time.Duration) *lessors {
	return &lessors{sched: s, clock: lessor.Clock{Step: max(election, minLessorStep)}, changed: make(chan struct{})}
}

func (l *lessors) now() time.Duration { return l.clock.Now(l.sched.Now()) }

// announceLocked wakes those that wait for a change.
func (l *lessors) announceLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// lead makes the lessor that of a term, or none where term is 0, and reports whether
// its leases are to be read.
func (l *lessors) lead(term uint64, opts lessor.Options) (load bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term == term {
		return false
	}
	l.term, l.lessor, l.decided = term, nil, nil
	if term != 0 {
		l.lessor, l.decided = lessor.New(opts), map[int64]struct{}{}
	}
	l.announceLocked()
	return term != 0
}

// inherit gives the lessor of a term the leases of the state. What was decided since it
// began is known to it.
func (l *lessors) inherit(term uint64, leases []machine.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term != term {
		return
	}
	now := l.now()
	for _, e := range leases {
		if _, decided := l.decided[e.ID]; !decided {
			l.lessor.Inherit(e.ID, e.TTL, e.Remaining, now)
		}
	}
	l.decided = nil
	l.announceLocked()
}

// applied takes in what a round decided of leases. It is the applier's, and comes
// before anybody is told of the round.
func (l *lessors) applied(results []machine.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	revoked := false
	for i := range results {
		r := &results[i]
		for _, c := range r.Checkpoints {
			if l.lessor != nil {
				l.lessor.Checkpointed(c.ID, c.Remaining)
			}
		}
		switch {
		case r.Lease == 0:
			continue
		case r.GrantLease != nil:
			l.counts.Granted++
			if l.lessor != nil {
				l.lessor.Granted(r.Lease, r.GrantLease.TTL, l.now())
			}
		case r.RevokeLease != nil:
			l.counts.Revoked++
			if l.lessor != nil && l.lessor.Revoked(r.Lease) {
				l.counts.Expired++
			}
			revoked = true
		default:
			continue // refused: nothing changed
		}
		if l.decided != nil {
			l.decided[r.Lease] = struct{}{}
		}
	}
	if revoked {
		l.announceLocked()
	}
}

// readyLocked returns the lessor of a term once its leases are all there, else what to
// wait for, or errLeadsNoMore if the term is over.
func (l *lessors) readyLocked(term uint64) (*lessor.Lessor, <-chan struct{}, error) {
	switch {
	case term == 0 || l.term != term:
		return nil, nil, errLeadsNoMore
	case l.decided != nil:
		return nil, l.changed, nil
	}
	return l.lessor, nil, nil
}

// errLeadsNoMore says that another must be asked, or again later.
var errLeadsNoMore = errors.New("this member does not lead any more")

// time is the time of leases.
func (l *lessors) time() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now()
}

// renew renews a lease in a term, from when that was asked for. A channel says that this
// must wait until it is closed.
func (l *lessors) renew(term uint64, id int64, asked time.Duration) (a lessor.Answer, wait <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	have, wait, err := l.readyLocked(term)
	if have == nil {
		return a, wait, err
	}
	a = have.Renew(id, asked, l.now())
	switch a.State {
	case lessor.Expired:
		wait = l.changed
	case lessor.Renewed:
		l.counts.Renewed++
	}
	return a, wait, nil
}

func (l *lessors) restored(term uint64, id int64, note uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lessor != nil && l.term == term {
		l.lessor.Restored(id, note)
	}
}

// timeLeft says what is left of a lease in a term, or what to wait for.
func (l *lessors) timeLeft(term uint64, id int64) (left, ttl time.Duration, wait <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	have, wait, err := l.readyLocked(term)
	if have == nil {
		return 0, 0, wait, err
	}
	left, ttl, found := have.Remaining(id, l.now())
	if !found {
		err = chainfire.ErrLeaseNotFound
	}
	return left, ttl, nil, err
}

// order sorts ids as the lessor expects them to expire, if there is one.
func (l *lessors) order(ids []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lessor == nil {
		return
	}
	left := make(map[int64]time.Duration, len(ids))
	for _, id := range ids {
		left[id], _, _ = l.lessor.Remaining(id, 0)
	}
	slices.SortStableFunc(ids, func(a, b int64) int { return cmp.Compare(left[a], left[b]) })
}

// expire runs until the node stops. While this member leads it has leases revoked that
// have expired, and noted what is left of others.
func (n *Node) expire() {
	ticks, stop := sched.Tick(n.sched, lessorInterval)
	defer stop()
	opts := lessor.Options{
		Extend: n.opts.election(), CheckpointEvery: n.opts.Bounds.LeaseCheckpoints, RetryAfter: n.opts.RequestTimeout,
	}
	for n.sched.Wait(n.stop, ticks) == 1 {
		term := n.leadingTerm()
		if _, applied := n.machine.Applied(); applied < term {
			term = 0 // what the terms before it decided is not all in the state yet
		}
		if n.lessors.lead(term, opts) {
			leases, err := n.machine.Leases()
			if err != nil {
				n.fatal("the leases of the store cannot be read", err)
				return
			}
			n.lessors.inherit(term, leases)
		}
		n.decideLeases(term)
	}
}

// leadingTerm is the term in which this member leads, or 0.
func (n *Node) leadingTerm() uint64 {
	// The leader of a term is not another one later, and what is published of both may
	// be of two moments.
	term := n.term.Load()
	if n.lead.Load() != n.id || n.term.Load() != term {
		return 0
	}
	return term
}

// decideLeases puts on their way what is due: revocations, and what is left of others.
// That they happen is seen when they are applied. They get in line while the lessor is
// held, so that who renews a lease after that comes after it in the log too.
func (n *Node) decideLeases(term uint64) {
	l := n.lessors
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now() // also where there is no lessor: the clock must be looked at
	if l.lessor == nil || l.decided != nil {
		return
	}
	expired, checkpoints := l.lessor.Due(now, perLook, notesPerLook)
	var proposals []replica.Proposal
	add := func(c machine.Command) {
		c.ID = machine.RequestID{Member: n.id, Seq: n.nextID.Add(1)}
		proposals = append(proposals, replica.Proposal{ID: c.ID.Seq, Kind: replica.Command, Data: c.AppendTo(nil)})
	}
	for _, id := range expired {
		n.log.Debug("lease has expired", "lease", chainfire.LeaseID(id), "term", term)
		add(machine.Command{RevokeLease: &machine.RevokeLease{ID: id, Term: term}})
	}
	if len(checkpoints) > 0 {
		c := &machine.CheckpointLeases{Term: term}
		for _, at := range checkpoints {
			c.Leases = append(c.Leases, machine.LeaseCheckpoint{ID: at.ID, Remaining: at.Remaining})
		}
		add(machine.Command{CheckpointLeases: c})
	}
	if len(proposals) > 0 {
		n.inbox.put(func(in *inputs) { in.proposals = append(in.proposals, proposals...) })
	}
}
