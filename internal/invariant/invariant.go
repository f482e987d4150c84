// Package invariant holds checks of what must be true whatever the input. They
// are made in builds with the tag "invariants" (every test run) and vanish from
// all others, so that a check may sit on a hot path.
//
// A check is for a bug in this program. What a peer, a client or a disk can
// cause is an error and is returned as one.
package invariant

import "fmt"

// Check panics with the formatted message when cond is false and checks are
// enabled. Its arguments are evaluated in every build: put a condition that
// costs something behind `if invariant.Enabled`. It may be called from any
// goroutine.
func Check(cond bool, format string, args ...any) {
	if Enabled && !cond {
		panic("invariant violated: " + fmt.Sprintf(format, args...))
	}
}
