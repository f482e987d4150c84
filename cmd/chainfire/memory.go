package main

import "runtime/debug"

// gcPercent is how much garbage may pile up beside the heap that lives, in
// percent of it. Collecting takes about 1% of a busy member's time, so less of it
// than Go's default is cheap, and memory is what a user sees. There is no limit
// in bytes: near one, a member that needs more would spend its time collecting.
const gcPercent = 75

// tuneMemory sets the collector of garbage, unless the user's environment does.
func tuneMemory(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
