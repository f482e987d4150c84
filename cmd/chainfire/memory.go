package main

import "runtime/debug"

// How the collector of garbage is set for a member. Most of its heap lives long,
// so that the default of Go would let as much again pile up beside it. The
// limit is soft: a heap that needs more gets it.
const (
	gcPercent   = 100
	memoryLimit = 200 << 20
)

// tuneMemory sets the collector, where the user's environment does not.
func tuneMemory(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
