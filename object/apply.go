package object

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
	k, err := c.kind()
	if err != nil {
		return nil, err
	}
	r, err := k.apply(t, c)
	if err != nil {
		return nil, err
	}
	return r, nil
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
