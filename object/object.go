// Package object is buckets and objects as replicated state: what a change of them does, and
// what reads find. Bodies of up to MaxInline bytes are part of the state; of larger ones the
// state has the extents, which package blob keeps.
//
// The package is a function of the rows that it is given: no clock, no chance, no I/O of its
// own, so that every member comes to the same state. Apply belongs to whoever applies the
// log; a View may be used by one goroutine at a time.
package object

import "chainfire/object/checksum"

// Bounds of what the state takes. Sizes are in bytes.
const (
	MaxInline     = 64 << 10
	MaxKeyLen     = 1024
	MaxBucketLen  = 63
	MinBucketLen  = 3
	MaxBuckets    = 10_000
	MaxParts      = 10_000
	MinPartSize   = 5 << 20
	MaxPartSize   = 5 << 30
	MaxPutSize    = 5 << 30
	MaxObjectSize = 5 << 40
	MaxMetadata   = 2 << 10 // names and values of Attributes.Meta together
	MaxHeader     = 2 << 10 // each of the headers in Attributes
	MaxTags       = 10
	MaxTagKey     = 128 // characters
	MaxTagValue   = 256 // characters
	MaxConfig     = 64 << 10
	MaxDeletes    = 1000 // in one change
	MaxPage       = 1000 // entries of one listing
	MaxExtent     = 1 << 20
	MaxKeys       = 1000 // access keys
	MaxLeases     = 4096 // write leases that are open
	MaxReleased   = 4096 // bodies that one change lets go
)

// Versioning says what becomes of what a put or a delete replaces.
type Versioning uint8

// The states of versioning. A bucket never returns to VersioningOff.
const (
	VersioningOff Versioning = iota
	VersioningEnabled
	VersioningSuspended
)

// LockMode says who may end a retention early.
type LockMode uint8

// The modes: in Governance who may bypass it, in Compliance nobody.
const (
	LockNone LockMode = iota
	LockGovernance
	LockCompliance
)

// Retention keeps a version from being deleted until a time, in Unix milliseconds.
type Retention struct {
	Mode  LockMode
	Until int64
}

// LockRule is the retention that a version gets that comes with none: Days or Years is set,
// not both.
type LockRule struct {
	Mode        LockMode
	Days, Years uint32
}

// Bucket is one bucket.
type Bucket struct {
	Name string
	// ID is never used again, also when the name is.
	ID uint64
	// Created is in Unix milliseconds. Owner is the access key that made it.
	Created int64
	Owner   string
	// Versioning cannot be suspended where ObjectLock is set.
	Versioning Versioning
	// ObjectLock says that versions may have retention and legal holds; it is never
	// taken back.
	ObjectLock bool
	Lock       LockRule
	// QuotaBytes and QuotaObjects bound Bytes and Objects; 0 is no bound.
	QuotaBytes, QuotaObjects int64
	// Bytes and Objects count all versions that are no delete markers; Bytes has
	// the parts of open uploads too.
	Bytes, Objects int64
}

// Pair is a name and a value.
type Pair struct{ Name, Value string }

// Attributes are what a writer says of an object, as it is given back.
type Attributes struct {
	ContentType, CacheControl, ContentDisposition string
	ContentEncoding, ContentLanguage, Expires     string
	WebsiteRedirect, StorageClass                 string
	// Meta is the user's metadata, sorted by name, in lower case, without x-amz-meta-.
	Meta []Pair
	// Tags are sorted by name.
	Tags []Pair
}

// ChecksumAlgorithm names a checksum of S3.
type ChecksumAlgorithm = checksum.Algorithm

// The algorithms.
const (
	ChecksumNone      = checksum.None
	ChecksumCRC32     = checksum.CRC32
	ChecksumCRC32C    = checksum.CRC32C
	ChecksumCRC64NVME = checksum.CRC64NVME
	ChecksumSHA1      = checksum.SHA1
	ChecksumSHA256    = checksum.SHA256
)

// ChecksumType says what a checksum of an object of many parts is of.
type ChecksumType uint8

// The types: of the bytes, or of the parts' checksums.
const (
	ChecksumFullObject ChecksumType = iota
	ChecksumComposite
)

// Checksum is a checksum of an object or a part, as its writer gave it and it was verified.
type Checksum struct {
	Algorithm ChecksumAlgorithm
	Type      ChecksumType
	// Value is the raw value, without the number of parts of a composite one.
	Value []byte
}

// BodyID names a body for good; the zero BodyID is that of no bytes. For a body of extents Lease
// is the write lease under which it was written, and N, below 1<<31, what its writer chose, once
// per lease. For an inline one Lease is the index of the log at which it was written, and N is
// not below that.
type BodyID struct {
	Lease uint64
	N     uint32
}

// ExtentID names one extent for good: the N-th of its body, from 0.
type ExtentID struct {
	Body BodyID
	N    uint32
}

// Extent is one piece of a body, at most MaxExtent bytes. All extents of a body but the last
// are as long as its first.
type Extent struct {
	Size uint32
	// CRC is the CRC-32C of its bytes.
	CRC uint32
	// Holders are the members that have it on disk, sorted, or ExternalHolder alone.
	Holders []uint64
}

// ExternalHolder stands for a store outside of the cluster, which alone has an extent that is in it.
// It is no member's id.
const ExternalHolder uint64 = 1<<64 - 1

// External reports whether the extent is in a store outside of the cluster.
func (e *Extent) External() bool { return len(e.Holders) == 1 && e.Holders[0] == ExternalHolder }

// Body is the bytes of an object or a part: Inline, or Extents under ID. A body of no bytes
// has neither.
type Body struct {
	ID      BodyID
	Size    int64
	Inline  []byte
	Extents []Extent
}

// Part is one part of an object or an upload.
type Part struct {
	Number   int
	Size     int64
	Modified int64
	// ETag is in hex, without quotes.
	ETag     string
	Checksum Checksum
	Body     BodyID
}

// VersionID names a version of a key within its bucket; Null is the one that is written while
// versioning is not enabled.
type VersionID uint64

// Null is the id of the null version.
const Null VersionID = 0

// Version is one version of one key.
type Version struct {
	Key string
	// ID is the version's id, Null also for one that is the null version now. Seq is
	// when it was written: a newer one has a greater Seq.
	ID  VersionID
	Seq uint64
	// Latest says that no newer version of the key is there. Only reads set it.
	Latest bool
	// DeleteMarker says that the version stands for the key's absence: of the other
	// fields only Modified is set.
	DeleteMarker bool
	Modified     int64
	Size         int64
	// ETag is in hex, without quotes; that of an object of many parts ends in -N.
	ETag string
	Attributes
	Checksum  Checksum
	Retention Retention
	LegalHold bool
	// Body is where the bytes are if Parts is 0; else the parts are, see View.Parts.
	Body  BodyID
	Parts int
	// Upload is the upload that became this version, or 0.
	Upload uint64
}

// Upload is an upload of many parts that is neither completed nor aborted.
type Upload struct {
	Key string
	// ID names the upload for good.
	ID        uint64
	Initiated int64
	// Owner is the access key that began it.
	Owner string
	Attributes
	// Checksum is the algorithm and type asked for; it has no value.
	Checksum  Checksum
	Retention Retention
	LegalHold bool
}

// AccessKey is what S3 requests are signed with.
type AccessKey struct {
	ID string
	// Sealed is the secret, sealed by whoever made the key; the state does not know it.
	Sealed []byte
	// Created is the time of the change that made the key, whatever SetKey says.
	Created int64
	// Description is a word of the operator's.
	Description string
	Disabled    bool
	// Admin may do everything; the fields below bound everyone else.
	Admin bool
	// Grants say what the key may do; none is nothing.
	Grants []Grant
	// Requests and Bytes bound what the key may ask for per second and move per
	// second, on each member; 0 is no bound. MaxObject bounds the size of an object.
	Requests, Bytes, MaxObject int64
}

// Grant lets a key read or write, or both, the buckets that a pattern matches, in which *
// stands for any bytes.
type Grant struct {
	Bucket      string
	Read, Write bool
}

// Lease is a write lease: the right of one member to write bodies that nothing refers to yet.
type Lease struct {
	// ID is the index of the log at which it was opened.
	ID     uint64
	Member uint64
	// Boots is which start of the member's process opened it.
	Boots uint64
}
