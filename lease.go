package chainfire

import (
	"context"
	"strconv"
)

// Lease is the leases of the cluster: keys that are attached to one are deleted when it
// ends. Times are in seconds. Every call may come from any goroutine and go to any
// member but a learner, which answers with ErrLearner.
type Lease interface {
	// LeaseGrant makes a lease. It returns ErrLeaseExists, ErrLeaseTTLTooLarge, or
	// ErrFeatureLevel in a cluster with members that know no leases.
	LeaseGrant(ctx context.Context, r *LeaseGrantRequest) (*LeaseGrantResponse, error)
	// LeaseRevoke ends a lease and deletes its keys, in one revision. It returns
	// ErrLeaseNotFound.
	LeaseRevoke(ctx context.Context, id int64) (*LeaseRevokeResponse, error)
	// LeaseRenew gives a lease its whole time to live again and returns that. The
	// leader answers, whichever member is asked. It returns ErrLeaseNotFound, for a
	// lease that has expired once it is revoked.
	LeaseRenew(ctx context.Context, id int64) (ttl int64, err error)
	// LeaseTimeToLive says how much is left of a lease, and with keys which are
	// attached to it. The leader answers. It returns ErrLeaseNotFound.
	LeaseTimeToLive(ctx context.Context, id int64, keys bool) (*LeaseTimeToLive, error)
	// LeaseList lists the leases that this member knows, without asking the others: on
	// the leader in the order in which they expire, elsewhere in that of their ids.
	LeaseList(ctx context.Context) (*LeaseList, error)
}

// LeaseCounts is what happened to leases: Granted and Revoked as this member applied
// it, Renewed and Expired while it led.
type LeaseCounts struct {
	Granted, Revoked, Renewed, Expired uint64
}

// LeaseID is a lease's id as people read it: in hexadecimal, as etcdctl has it.
func LeaseID(id int64) string { return strconv.FormatUint(uint64(id), 16) }

// LeaseGrantRequest asks for a lease.
type LeaseGrantRequest struct {
	// ID is the lease's id; 0 lets the cluster choose one, which is above 0.
	ID int64
	// TTL is the time to live that is wanted. What is granted is at least what members
	// need to agree on another leader.
	TTL int64
}

// LeaseGrantResponse answers the grant of a lease.
type LeaseGrantResponse struct {
	Header Header
	ID     int64
	// TTL is what was granted, in seconds: at least what was asked for.
	TTL int64
}

// LeaseRevokeResponse answers the revocation of a lease. The header's revision is
// the one in which its keys were deleted, if it had any.
type LeaseRevokeResponse struct {
	Header Header
}

// LeaseTimeToLive is where a lease stands.
type LeaseTimeToLive struct {
	Header Header
	// TTL is what is left, 0 or less where the lease is about to be revoked, and
	// GrantedTTL what it was granted for.
	TTL, GrantedTTL int64
	// Keys are in their order; nil unless they were asked for.
	Keys [][]byte
}

// LeaseList is the ids of leases.
type LeaseList struct {
	Header Header
	IDs    []int64
}
