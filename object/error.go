package object

import (
	"errors"
	"slices"
)

// The errors that a change or a read is refused with. None is the member's: anything else is.
var (
	ErrNoSuchBucket       = errors.New("no such bucket")
	ErrBucketExists       = errors.New("a bucket of this name exists")
	ErrBucketNotEmpty     = errors.New("the bucket is not empty")
	ErrTooManyBuckets     = errors.New("too many buckets")
	ErrInvalidBucketName  = errors.New("invalid bucket name")
	ErrInvalidBucketState = errors.New("not possible in the state that the bucket is in")
	ErrNoSuchKey          = errors.New("no such key")
	ErrNoSuchVersion      = errors.New("no such version")
	ErrMethodNotAllowed   = errors.New("the version is a delete marker")
	ErrPreconditionFailed = errors.New("a precondition does not hold")
	ErrSourceChanged      = errors.New("the source has changed")
	ErrLocked             = errors.New("the version is under retention or a legal hold")
	ErrQuota              = errors.New("the bucket's quota is reached")
	ErrNoSuchUpload       = errors.New("no such upload")
	ErrInvalidPart        = errors.New("a part is not there, or is another")
	ErrInvalidPartOrder   = errors.New("the numbers of the parts do not rise")
	ErrPartTooSmall       = errors.New("a part that is not the last is too small")
	ErrTooLarge           = errors.New("too large")
	ErrBadDigest          = errors.New("a checksum is not that of the bytes")
	ErrInvalid            = errors.New("out of bounds")
	// ErrLeaseGone says that the bytes must be sent again: who wrote them was away for
	// too long.
	ErrLeaseGone = errors.New("the write lease is closed")
	// ErrHolders says that too few of the members that are to hold a body have it.
	ErrHolders         = errors.New("too few members hold the body")
	ErrTooManyLeases   = errors.New("too many write leases")
	ErrKeyExists       = errors.New("an access key of this id exists")
	ErrNoSuchAccessKey = errors.New("no such access key")
	ErrTooManyKeys     = errors.New("too many access keys")
	// ErrUnavailable says that bytes cannot be had, or kept, now: too few members answer.
	ErrUnavailable = errors.New("too few members can be reached for the bytes")
	// ErrExternalStore is with ErrUnavailable where the bytes are in a store outside of the
	// cluster.
	ErrExternalStore = errors.New("the external store for bodies cannot be used")
)

// Refused reports whether an error is one of these, and so the same on every member. Any other
// error of Apply is the member's.
func Refused(err error) bool {
	return slices.ContainsFunc([]error{
		ErrNoSuchBucket, ErrBucketExists, ErrBucketNotEmpty, ErrTooManyBuckets, ErrInvalidBucketName, ErrInvalidBucketState,
		ErrNoSuchKey, ErrNoSuchVersion, ErrMethodNotAllowed, ErrPreconditionFailed, ErrSourceChanged, ErrLocked, ErrQuota,
		ErrNoSuchUpload, ErrInvalidPart, ErrInvalidPartOrder, ErrPartTooSmall, ErrTooLarge, ErrBadDigest, ErrInvalid,
		ErrLeaseGone, ErrHolders, ErrTooManyLeases, ErrKeyExists, ErrNoSuchAccessKey, ErrTooManyKeys,
	}, func(known error) bool { return errors.Is(err, known) })
}
