package object

import "context"

// View reads buckets and objects from rows that do not change. It belongs to one goroutine.
type View struct {
	rows  Reader
	close func() error
}

// NewView reads from rows; close, if it is not nil, is called by Close.
func NewView(rows Reader, close func() error) *View { return &View{rows: rows, close: close} }

// Close gives the rows back.
func (v *View) Close() error {
	if v.close == nil {
		return nil
	}
	return v.close()
}

// Bucket reads a bucket, or ErrNoSuchBucket.
func (v *View) Bucket(name string) (*Bucket, error) { return readBucket(v.rows, name) }

// Buckets lists at most limit buckets whose names are after one and begin with a prefix.
func (v *View) Buckets(prefix, after string, limit int) ([]Bucket, error) {
	return listBuckets(v.rows, prefix, after, limit)
}

// Config reads a document of a bucket; found is false where there is none.
func (v *View) Config(b *Bucket, name string) (value []byte, found bool, err error) {
	return readConfig(v.rows, b.ID, name)
}

// Version reads the newest version of a key, or ErrNoSuchKey where it has none; or with id that
// one, or ErrNoSuchVersion. A version that is a delete marker is returned as it is.
func (v *View) Version(b *Bucket, key string, id *VersionID) (*Version, error) {
	ver, err := readVersion(v.rows, b.ID, key, id)
	if err != nil {
		return nil, err
	}
	ver.Latest = id == nil
	if id != nil {
		newest, err := newestVersion(v.rows, b.ID, key)
		if err != nil {
			return nil, err
		}
		ver.Latest = newest != nil && newest.Seq == ver.Seq
	}
	return ver, nil
}

// ListRequest asks for a page of a bucket's keys. With a Delimiter, keys that have it behind
// Prefix are listed as one common prefix, which ends with the first of it.
type ListRequest struct {
	Prefix, Delimiter string
	// After is the last entry that is not wanted: a key or, as listed, a common prefix. A
	// common prefix that is not greater is left out, with all keys that it stands for.
	After string
	// AfterVersion is, in a listing of versions, the Seq of the last version of the key
	// After that is not wanted; 0 leaves out all of them.
	AfterVersion uint64
	// Limit bounds keys and common prefixes together, at most MaxPage. A page of 0 is empty, and
	// says that there is no more.
	Limit int
	// Versions lists all versions, newest first, and delete markers.
	Versions bool
}

// ListResult is a page of keys. Entries and Prefixes are each sorted.
type ListResult struct {
	Entries  []Version
	Prefixes []string
	// More says that there is more after the last entry, which Next and NextVersion name as
	// After and AfterVersion want it.
	More        bool
	Next        string
	NextVersion uint64
}

// List reads a page of a bucket's keys. What it reads is in proportion to the page, whatever lies
// under common prefixes, and to the deleted keys between its entries; ctx ends it early.
func (v *View) List(ctx context.Context, b *Bucket, r ListRequest) (*ListResult, error) {
	return listVersions(ctx, v.rows, b.ID, r)
}
