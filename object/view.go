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
func (v *View) Bucket(name string) (*Bucket, error) { panic("not yet") }

// Buckets lists at most limit buckets whose names are after one and begin with a prefix.
func (v *View) Buckets(prefix, after string, limit int) ([]Bucket, error) { panic("not yet") }

// Config reads a document of a bucket; found is false where there is none.
func (v *View) Config(b *Bucket, name string) (value []byte, found bool, err error) {
	panic("not yet")
}

// Version reads the newest version of a key, or with id that one. It returns ErrNoSuchKey where
// the key has no version, ErrNoSuchVersion where it does not have that one. A newest version
// that is a delete marker is returned as it is.
func (v *View) Version(b *Bucket, key string, id *VersionID) (*Version, error) { panic("not yet") }

// ListRequest asks for a page of a bucket's keys.
type ListRequest struct {
	Prefix, Delimiter string
	// After is the last entry that is not wanted: a key or, as listed, a common prefix.
	After string
	// AfterVersion is, in a listing of versions, the Seq of the last version of the key
	// After that is not wanted; 0 leaves out all of them.
	AfterVersion uint64
	// Limit bounds keys and common prefixes together, at most MaxPage.
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

// List reads a page of a bucket's keys.
func (v *View) List(ctx context.Context, b *Bucket, r ListRequest) (*ListResult, error) {
	panic("not yet")
}
