package chainfire

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
