//go:build !invariants

package invariant

// Enabled reports whether checks are made: it is true in builds with the tag
// "invariants".
const Enabled = false
