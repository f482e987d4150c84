package s3api

import "slices"

// Writing are the names of the operations that change something.
func Writing() []string {
	var out []string
	for _, op := range operations() {
		if op.writes() {
			out = append(out, op.name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
