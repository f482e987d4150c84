// Package join is how a member comes into the cluster: the newcomer's side
// (check, seed), the gate at the members that let it in, and the keeper on the
// leader that promotes learners and clears away joins that were given up.
package join

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"chainfire/raft"
)

// KeeperOptions are the keeper's limits; zero values mean the defaults named.
type KeeperOptions struct {
	// Round is how long a round of replication may take for the learner to be
	// promoted (thesis §4.2.1): the election timeout.
	Round time.Duration
	// ReserveTTL is how long a reservation lives without a word of its
	// newcomer. Default 30 s.
	ReserveTTL time.Duration
	// LearnTTL is how long a learner that never caught up may be silent before
	// it is taken out again. Default 2 min.
	LearnTTL time.Duration
	// Voters is how many voters the cluster should have, an odd number; learners
	// beyond it stand by. Default 5: the largest odd number up to 5 of those that
	// are fit.
	Voters int
	// ReplaceAfter is for how long a voter may be silent until a learner that
	// stands by takes its place. Default 1 min.
	ReplaceAfter time.Duration
}

func (o *KeeperOptions) fill() {
	o.Round = cmp.Or(o.Round, 250*time.Millisecond)
	o.ReserveTTL = cmp.Or(o.ReserveTTL, 30*time.Second)
	o.LearnTTL = cmp.Or(o.LearnTTL, 2*time.Minute)
	o.Voters = cmp.Or(o.Voters, 5)
	o.ReplaceAfter = cmp.Or(o.ReplaceAfter, time.Minute)
}

// View is what the keeper sees of the cluster: the leader's core and the
// replicated members, at one moment.
type View struct {
	// Self is the leader.
	Self uint64
	Conf raft.ConfState
	// Busy says that a membership change is under way.
	Busy bool
	// Last and Commit are the leader's log.
	Last, Commit uint64
	// Members is sorted by id and holds reservations too.
	Members []MemberView
}

// MemberView is one member in a View.
type MemberView struct {
	ID uint64
	// Reserved says that it has an id and is not in the configuration.
	Reserved bool
	// Joining says that it came by a join and has not caught up yet.
	Joining bool
	// Manual says that it was added by hand and is promoted by hand.
	Manual bool
	// Replaces is the member whose place it was promised; 0 is nobody's.
	Replaces uint64
	// ReadReplica says that it stays a learner.
	ReadReplica bool
	// Match and Applied are known of it in this session; Acked says that it
	// acknowledged an append in this session.
	Match, Applied uint64
	Acked, Active  bool
	Silent         time.Duration
}

// ActionKind is what the keeper wants done.
type ActionKind uint8

// The kinds.
const (
	// Promote makes all of IDs voters, in one change.
	Promote ActionKind = iota
	// Settle records that a learner has caught up: the log is no longer kept
	// for it.
	Settle
	// Release gives a reservation up.
	Release
	// Remove takes a learner out that never caught up and is gone.
	Remove
	// Replace makes the first of IDs a voter and the second a learner, in one
	// joint change.
	Replace
	// Exchange takes the second of IDs out and makes the first of them a voter if the
	// second was one, in one change: the first was promised that place.
	Exchange
)

// String names the kind for logs.
func (k ActionKind) String() string {
	return [...]string{"promote", "settle", "release", "remove", "replace", "exchange"}[k]
}

// Action is one decision of the keeper.
type Action struct {
	Kind ActionKind
	IDs  []uint64
	// Voters are those for which a change of the voters was decided on.
	Voters []uint64
}

// Keeper watches learners on the leader. It belongs to one goroutine and begins
// anew with each leadership, so that it judges only by what was seen in it.
type Keeper struct {
	opts    KeeperOptions
	rounds  map[uint64]*round
	contact map[uint64]time.Duration
	reasons map[uint64]string
}

// round is the catching-up of one learner: everything the log held when it
// began must be durable and applied there.
type round struct {
	target uint64
	began  time.Duration
	n      int
	ready  bool
}

// NewKeeper makes a keeper for one leadership.
func NewKeeper(opts KeeperOptions) *Keeper {
	opts.fill()
	return &Keeper{
		opts: opts, rounds: map[uint64]*round{},
		contact: map[uint64]time.Duration{}, reasons: map[uint64]string{},
	}
}

// Contact records a word of a newcomer at a moment of the keeper's clock.
func (k *Keeper) Contact(id uint64, now time.Duration) { k.contact[id] = now }

// Reason says what a member waits for; empty if it waits for nothing, or if the
// keeper has not looked since it became a learner.
func (k *Keeper) Reason(id uint64, learner bool) string {
	if r := k.reasons[id]; !learner || r != reasonSeeding {
		return r
	}
	return ""
}

// Fit reports whether a learner had caught up at the last look.
func (k *Keeper) Fit(id uint64) bool { return k.rounds[id] != nil && k.rounds[id].ready }

const (
	reasonSeeding = "waits for the newcomer to finish its seed"
	reasonReplica = "caught up; a read replica, which never votes"
	reasonManual  = "caught up; was added by hand and is promoted by hand (chainfire member promote)"
)

// Step looks at the cluster and returns what should be done. The clock is any
// that only moves forward.
func (k *Keeper) Step(now time.Duration, v View) []Action {
	k.forget(v)
	var out []Action
	var ready []uint64
	var successors []MemberView
	for _, m := range v.Members {
		switch {
		case m.Reserved:
			if k.silence(m.ID, now) > k.opts.ReserveTTL {
				out = append(out, Action{Kind: Release, IDs: []uint64{m.ID}})
			}
			k.reasons[m.ID] = reasonSeeding
		case v.Conf.IsLearner(m.ID):
			r := k.advance(m, v, now)
			if r.ready && m.Joining {
				out = append(out, Action{Kind: Settle, IDs: []uint64{m.ID}})
			}
			switch {
			case r.ready && m.Active && m.Replaces != 0:
				successors = append(successors, m)
			case r.ready && m.ReadReplica:
				k.reasons[m.ID] = reasonReplica
			case r.ready && m.Manual:
				k.reasons[m.ID] = reasonManual
			case r.ready && m.Active:
				ready = append(ready, m.ID)
			}
			if m.Joining && !r.ready && m.Silent > k.opts.LearnTTL && k.silence(m.ID, now) > k.opts.LearnTTL {
				out = append(out, Action{Kind: Remove, IDs: []uint64{m.ID}})
			}
		default:
			delete(k.rounds, m.ID)
			delete(k.reasons, m.ID)
		}
	}
	a, ok := k.planExchange(successors, v)
	if !ok {
		a, ok = k.planVoters(staying(ready, v), v)
	}
	if ok {
		a.Voters = slices.Clone(v.Conf.Voters)
		out = append(out, a)
	}
	return out
}

// forget drops what belongs to members that are gone.
func (k *Keeper) forget(v View) {
	for id := range k.contact {
		if !slices.ContainsFunc(v.Members, func(m MemberView) bool { return m.ID == id }) {
			delete(k.contact, id)
			delete(k.rounds, id)
			delete(k.reasons, id)
		}
	}
}

// silence is how long a newcomer has not been heard of; the first look at it
// counts as a word.
func (k *Keeper) silence(id uint64, now time.Duration) time.Duration {
	at, ok := k.contact[id]
	if !ok {
		k.contact[id] = now
		return 0
	}
	return now - at
}

// advance moves a learner's round on.
func (k *Keeper) advance(m MemberView, v View, now time.Duration) *round {
	k.silence(m.ID, now)
	r := k.rounds[m.ID]
	if r == nil {
		r = &round{target: v.Last, began: now, n: 1}
		k.rounds[m.ID] = r
	}
	held := min(m.Match, m.Applied)
	switch {
	case !m.Acked:
		r.ready = false
		k.reasons[m.ID] = "has not acknowledged anything yet"
	case !m.Active:
		r.ready = false
		k.reasons[m.ID] = fmt.Sprintf("was not heard of for %v", m.Silent.Round(time.Millisecond))
	case held >= r.target:
		r.ready = now-r.began <= k.opts.Round
		*r = round{target: v.Last, began: now, n: r.n + 1, ready: r.ready}
	case now-r.began > k.opts.Round:
		r.ready = false
	}
	if m.Acked && m.Active && !r.ready {
		k.reasons[m.ID] = fmt.Sprintf("catches up: %d entries behind, round %d", lag(v.Last, held), r.n)
	}
	if r.ready {
		k.reasons[m.ID] = "caught up"
	}
	return r
}

func lag(last, held uint64) uint64 { return last - min(last, held) }
