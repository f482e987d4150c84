package machine

import (
	"errors"
	"fmt"

	"chainfire"
	"chainfire/mvcc"
)

// LeaseLevel is the feature level from which on the log and the store may hold
// leases.
const LeaseLevel uint64 = 2

// Bounds of leases.
const (
	// MaxLeaseTTL is the longest time to live, in seconds.
	MaxLeaseTTL int64 = 9_000_000_000
	// MaxCheckpoints is how many leases one CheckpointLeases names at most.
	MaxCheckpoints = 1000
)

// ErrLeaseProposer refuses what a leader decided about leases, by its clock, when it
// does not lead any more: whoever leads now counts anew.
var ErrLeaseProposer = errors.New("the leader that decided this about a lease was replaced")

// GrantLease makes a lease. The proposer has chosen the id, which is not 0, and has
// raised the TTL, in seconds, to the least that the cluster grants. It is refused
// with chainfire.ErrLeaseTTLTooLarge and, where there is such a lease,
// chainfire.ErrLeaseExists.
type GrantLease struct {
	ID, TTL int64
}

// RevokeLease removes a lease and deletes the keys that are attached to it, in one
// revision. It is refused with chainfire.ErrLeaseNotFound.
type RevokeLease struct {
	ID int64
	// Term is that of the leader which found the lease expired: in the log of any
	// other term it is refused with ErrLeaseProposer. 0 is a client's wish.
	Term uint64
}

// CheckpointLeases notes how much is left of leases, so that another leader goes on
// counting from there. A lease that is gone is passed over. It is refused with
// ErrLeaseProposer outside of the term of the leader that counted.
type CheckpointLeases struct {
	Term   uint64
	Leases []LeaseCheckpoint
}

// LeaseCheckpoint says that Remaining seconds, at least 1, are left of a lease.
type LeaseCheckpoint struct {
	ID, Remaining int64
}

// Lease is one lease as the state has it.
type Lease = mvcc.Lease

func (q *GrantLease) check() error {
	switch {
	case q.ID == 0:
		return chainfire.ErrLeaseNotFound
	case q.TTL > MaxLeaseTTL:
		return chainfire.ErrLeaseTTLTooLarge
	case q.TTL <= 0:
		return fmt.Errorf("%w: lease of %d seconds", ErrMalformed, q.TTL)
	}
	return nil
}

func (q *CheckpointLeases) check() error {
	if len(q.Leases) > MaxCheckpoints {
		return fmt.Errorf("%w: checkpoint of %d leases, at most %d", ErrMalformed, len(q.Leases), MaxCheckpoints)
	}
	for _, l := range q.Leases {
		if l.ID == 0 || l.Remaining <= 0 || l.Remaining > MaxLeaseTTL {
			return fmt.Errorf("%w: checkpoint of lease %x with %d seconds", ErrMalformed, uint64(l.ID), l.Remaining)
		}
	}
	return nil
}

// Leases reads all leases from the applied state, in no order that means anything.
// Any goroutine.
func (m *Machine) Leases() ([]Lease, error) { return m.store.Leases() }

// LeaseKeys reads the keys that are attached to a lease, in order. Any goroutine.
func (m *Machine) LeaseKeys(id int64) ([][]byte, error) { return m.store.LeaseKeys(id) }

func (r *round) grantLease(q *GrantLease) (*chainfire.LeaseGrantResponse, error) {
	if err := q.check(); err != nil {
		return nil, refuse(err)
	}
	_, found, err := r.w.Lease(q.ID)
	if err != nil {
		return nil, err
	}
	if found {
		return nil, refuse(chainfire.ErrLeaseExists)
	}
	if err := r.w.SetLease(Lease{ID: q.ID, TTL: q.TTL}); err != nil {
		return nil, err
	}
	return &chainfire.LeaseGrantResponse{Header: r.header(), ID: q.ID, TTL: q.TTL}, nil
}

func (r *round) revokeLease(term uint64, q *RevokeLease) (*chainfire.LeaseRevokeResponse, error) {
	if q.Term != 0 && q.Term != term {
		return nil, refuse(ErrLeaseProposer)
	}
	_, found, err := r.w.Lease(q.ID)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, refuse(chainfire.ErrLeaseNotFound)
	}
	if err := r.w.RevokeLease(q.ID); err != nil {
		return nil, err
	}
	return &chainfire.LeaseRevokeResponse{Header: r.header()}, nil
}

func (r *round) checkpointLeases(term uint64, q *CheckpointLeases) error {
	if err := q.check(); err != nil {
		return refuse(err)
	}
	if q.Term != term {
		return refuse(ErrLeaseProposer)
	}
	for _, c := range q.Leases {
		l, found, err := r.w.Lease(c.ID)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		l.Remaining = min(c.Remaining, l.TTL)
		if err := r.w.SetLease(l); err != nil {
			return err
		}
	}
	return nil
}

// checkLease refuses to attach a key to a lease that is not there.
func (r *round) checkLease(id int64) error {
	if id == 0 {
		return nil
	}
	_, found, err := r.w.Lease(id)
	if err == nil && !found {
		err = refuse(chainfire.ErrLeaseNotFound)
	}
	return err
}
