package s3api

import "slices"

// Writing are the names of the operations that change something, but for the one that is signed
// in its body, which has tests of its own.
func Writing() []string {
	var out []string
	for _, op := range operations() {
		if op.writes() && op.name != "PostObject" {
			out = append(out, op.name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
