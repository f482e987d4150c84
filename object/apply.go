package object

import "fmt"

// Placement says which members are to hold an extent, of those that there are when a change
// is applied.
type Placement func(ExtentID) []uint64

// Apply performs one change at an index of the log. The error is the store's, or one of this
// package's, in which case nothing was changed.
//
// What Validate refuses must not come here: of it only what would harm the state is refused
// again, since members of different versions have to agree on what is refused.
func Apply(rows Rows, index uint64, placed Placement, c *Change) (*Result, error) {
	t := &tx{rows: rows, index: index, time: c.Time, placed: placed}
	run := t.only(c)
	if run == nil {
		return nil, fmt.Errorf("%w: a change must be exactly one change", ErrInvalid)
	}
	r, err := run()
	if err != nil {
		return nil, err
	}
	return r, nil
}

// only is how to perform the one change that is set, nil where that is none or more than one.
//
// All checks of a change come before its first write: rows cannot take one back.
func (t *tx) only(c *Change) (run func() (*Result, error)) {
	n := 0
	set := func(is bool, f func() (*Result, error)) {
		if is {
			run = f
			n++
		}
	}
	set(c.CreateBucket != nil, func() (*Result, error) { return t.createBucket(c.CreateBucket) })
	set(c.DeleteBucket != nil, func() (*Result, error) { return t.deleteBucket(c.DeleteBucket) })
	set(c.SetBucket != nil, func() (*Result, error) { return t.changeBucket(c.SetBucket) })
	set(c.SetConfig != nil, func() (*Result, error) { return t.setConfig(c.SetConfig) })
	set(c.Put != nil, func() (*Result, error) { return t.put(c.Put) })
	set(c.Copy != nil, func() (*Result, error) { return t.copy(c.Copy) })
	set(c.Delete != nil, func() (*Result, error) { return t.delete(c.Delete) })
	set(c.SetObject != nil, func() (*Result, error) { return t.setObject(c.SetObject) })
	set(c.CreateUpload != nil, func() (*Result, error) { return t.createUpload(c.CreateUpload) })
	set(c.PutPart != nil, func() (*Result, error) { return t.putPart(c.PutPart) })
	set(c.Complete != nil, func() (*Result, error) { return t.complete(c.Complete) })
	set(c.Abort != nil, func() (*Result, error) { return t.abort(c.Abort) })
	set(c.OpenLease != nil, func() (*Result, error) { return t.openLease(c.OpenLease) })
	set(c.CloseLease != nil, func() (*Result, error) { return t.closeLease(c.CloseLease) })
	set(c.CloseLeases != nil, func() (*Result, error) { return t.closeLeases(c.CloseLeases) })
	set(c.SetKey != nil, func() (*Result, error) { return t.setKey(c.SetKey) })
	set(c.DeleteKey != nil, func() (*Result, error) { return t.deleteKey(c.DeleteKey) })
	set(c.Reap != nil, func() (*Result, error) { return t.reap(c.Reap) })
	if n != 1 {
		return nil
	}
	return run
}

// tx is one change being applied.
type tx struct {
	rows   Rows
	index  uint64
	time   int64
	placed Placement
	made   uint64
}

// next makes a number that is used once: of a version, an upload, a bucket or an inline body.
func (t *tx) next() uint64 {
	n := t.index<<seqBits | t.made
	t.made++
	return n
}
