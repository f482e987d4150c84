package object

// Change is one change of buckets and objects: exactly one of its pointers is set. It is
// applied whole or, with one of the errors of this package, not at all, but for Delete, each
// entry of which is by itself.
type Change struct {
	// Time is the proposer's clock, in Unix milliseconds. It is what Modified becomes,
	// and what retention is held to.
	Time int64

	CreateBucket *CreateBucket
	DeleteBucket *DeleteBucket
	SetBucket    *SetBucket
	SetConfig    *SetConfig
	Put          *Put
	Copy         *Copy
	Delete       *Delete
	SetObject    *SetObject
	CreateUpload *CreateUpload
	PutPart      *PutPart
	Complete     *Complete
	Abort        *Abort
	OpenLease    *OpenLease
	CloseLease   *CloseLease
	CloseLeases  *CloseLeases
	SetKey       *SetKey
	DeleteKey    *DeleteKey
	Reap         *Reap
}

// CreateBucket makes a bucket. ErrBucketExists refuses a name that is taken,
// ErrTooManyBuckets one more than MaxBuckets.
type CreateBucket struct {
	Name, Owner string
	ObjectLock  bool
}

// DeleteBucket removes a bucket that has no version and no upload, or ErrBucketNotEmpty.
type DeleteBucket struct{ Name string }

// SetBucket changes what is not nil. ErrInvalidBucketState refuses to suspend versioning
// under object lock, to lock or to set a rule without what it needs, and to take object lock
// or versioning back; ErrInvalid a rule that is not of days or years within MaxLockDays and
// MaxLockYears.
type SetBucket struct {
	Name       string
	Versioning *Versioning
	// ObjectLock, which can only be true, and Lock: the rule for new versions.
	ObjectLock               *bool
	Lock                     *LockRule
	QuotaBytes, QuotaObjects *int64
}

// SetConfig sets a named document of a bucket, of at most MaxConfig bytes, or with nil takes
// it away. What it means is its writer's.
type SetConfig struct {
	Bucket, Name string
	Value        []byte
}

// Condition must hold of the version that a key has when a write is applied. A key whose
// newest version is a delete marker has none. Zero fields ask for nothing.
type Condition struct {
	// IfNoneMatch refuses with ErrPreconditionFailed if there is a version with this
	// ETag; "*" is any.
	IfNoneMatch string
	// IfMatch refuses with ErrPreconditionFailed if the version has another ETag, and with
	// ErrNoSuchKey if there is none; "*" is any.
	IfMatch string
	// IfModified and IfSize, where not nil, must be the version's Modified, to the
	// second, and Size; they refuse as IfMatch does.
	IfModified, IfSize *int64
}

// Put writes a version. Its body's extents are let go by the caller's lease once they are
// referred to. ErrLeaseGone refuses a body whose lease is closed, ErrHolders one that too few
// of the members have that are to hold it, ErrQuota one that is over the bucket's quota.
type Put struct {
	Bucket, Key string
	If          Condition
	Attributes
	ETag      string
	Checksum  Checksum
	Retention Retention
	LegalHold bool
	Body      Body
}

// Copy writes a version with the body of another, which is not copied, only referred to once
// more. The source is given by its version as it was read: ErrSourceChanged refuses if it is
// gone.
type Copy struct {
	SourceBucket, SourceKey string
	SourceSeq               uint64
	Bucket, Key             string
	If                      Condition
	// Attributes, also the tags, are those of the copy: the caller takes them over from the
	// source where that was asked for.
	Attributes
	Retention Retention
	LegalHold bool
	// ETag and Checksum are those of the copy; usually the source's.
	ETag     string
	Checksum Checksum
}

// Delete deletes keys and versions of one bucket, at most MaxDeletes.
type Delete struct {
	Bucket  string
	Objects []DeleteObject
	// Bypass says that the caller may delete what is under governance.
	Bypass bool
}

// DeleteObject deletes a key, which makes a delete marker where versioning is on, or with
// Version that version for good. ErrLocked refuses a version under retention or a legal hold.
// What is not there is deleted.
type DeleteObject struct {
	Key string
	// Version nil is the key.
	Version *VersionID
	If      Condition
	// Expired says that lifecycle asks: Seq must be that of the newest version (for a
	// key) or of the version, else nothing is deleted. A version that is the newest is
	// not deleted either, unless it is a delete marker.
	Expired bool
	Seq     uint64
}

// SetObject changes what may change of a version in place: what is not nil. Version nil is the
// newest. ErrMethodNotAllowed refuses a delete marker, ErrLocked a retention made shorter or
// weaker without Bypass, ErrInvalidBucketState a lock in a bucket without object lock.
type SetObject struct {
	Bucket, Key string
	Version     *VersionID
	Tags        *[]Pair
	Retention   *Retention
	LegalHold   *bool
	Bypass      bool
}

// CreateUpload begins an upload of many parts. Checksum, without a value, says what each part and
// the object are to have; ErrInvalid refuses SHA-1 and SHA-256 of the whole object, which cannot
// be had of its parts. ErrInvalidBucketState refuses a lock in a bucket without object lock.
type CreateUpload struct {
	Bucket, Key, Owner string
	Attributes
	Checksum  Checksum
	Retention Retention
	LegalHold bool
}

// PutPart adds a part, 1 to MaxParts, to an upload, or replaces it. The ETag is the MD5 of its
// bytes, in hex. ErrNoSuchUpload; ErrInvalid for a checksum of another algorithm than the upload
// asks for; and those about bodies and quota of Put.
type PutPart struct {
	Bucket, Key string
	Upload      uint64
	Number      int
	ETag        string
	Checksum    Checksum
	Body        Body
}

// CompletePart names a part by what its writer was told of it.
type CompletePart struct {
	Number int
	ETag   string
	// Checksum may have no value, and then is not compared.
	Checksum Checksum
}

// Complete makes an upload a version, of the parts named, whose numbers must rise. Parts that
// are not named are dropped. The ETag is the MD5 of the parts' MD5s with -N, as AWS has it.
// Completed again, with the same parts, it returns what it returned the first time, as long as
// the version is there. ErrNoSuchUpload, ErrInvalidPart, ErrInvalidPartOrder,
// ErrPartTooSmall for one but the last under MinPartSize, ErrTooLarge, ErrBadDigest for a
// checksum of the whole object that is not what the parts have, ErrInvalid for one of another
// algorithm or type than the upload asked for and for another size, ErrQuota, and those of
// Condition.
type Complete struct {
	Bucket, Key string
	Upload      uint64
	Parts       []CompletePart
	If          Condition
	// Checksum is that of the whole object as its writer gave it, or has no value.
	Checksum Checksum
	// Size, if not nil, must be that of the object.
	Size *int64
}

// Abort drops an upload and its parts, or ErrNoSuchUpload.
type Abort struct {
	Bucket, Key string
	Upload      uint64
}

// OpenLease opens a write lease, whose id is the index at which this is applied.
// ErrTooManyLeases.
type OpenLease struct{ Member, Boots uint64 }

// CloseLease closes a write lease: no body that was written under it is taken any more, and
// what nothing refers to is garbage. One that is not there is closed.
type CloseLease struct{ ID uint64 }

// CloseLeases closes all leases of a member of starts before Boots.
type CloseLeases struct{ Member, Boots uint64 }

// SetKey makes an access key or replaces it. With New ErrKeyExists refuses one that is there,
// without it ErrNoSuchAccessKey one that is not. ErrTooManyKeys. An id has 3 to 128 letters,
// digits and _+=,.@-; a description at most 256 bytes, a sealed secret 1 KiB; there are at most
// 100 grants. With Was, which is the key as it was read, ErrPreconditionFailed refuses one that
// has changed since.
type SetKey struct {
	Key AccessKey
	New bool
	Was *AccessKey
}

// DeleteKey removes an access key, or ErrNoSuchAccessKey.
type DeleteKey struct{ ID string }

// Result is what a change led to.
type Result struct {
	// Bucket is the bucket made or changed, or that the version lies in, as it is then.
	Bucket *Bucket
	// Version is the version written, or changed in place.
	Version *Version
	// Deleted answers each entry of a Delete.
	Deleted []Deleted
	// Upload is the id of the upload begun.
	Upload uint64
	// Part is the part written.
	Part *Part
	// Lease is the lease opened.
	Lease uint64
}

// Deleted is what became of one DeleteObject.
type Deleted struct {
	// Err is one of this package's errors, or nil.
	Err error
	// Marker says that a delete marker was made, or that the version deleted was one.
	// Version is the id of either; Null and false where nothing was there.
	Marker  bool
	Version VersionID
	// Found says that there was something to delete: the version or, for a key, one that is
	// no delete marker.
	Found bool
}

// Reap lets go of bodies of parts that nothing refers to any more, at most MaxReleased. It is to be
// proposed as long as View.Garbage says that there are any.
type Reap struct{}
