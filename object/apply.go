package object

// Placement says which members are to hold an extent, of those that there are when a change
// is applied.
type Placement func(ExtentID) []uint64

// Apply performs one change at an index of the log. The error is the store's, or one of this
// package's, in which case nothing was changed.
func Apply(rows Rows, index uint64, placed Placement, c *Change) (*Result, error) {
	panic("not yet")
}
