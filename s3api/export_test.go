package s3api

import (
	"maps"
	"slices"
)

// Hold has a caller hold a slot that no request has taken, and reports whether it may.
func (s *Server) Hold(caller string) bool { return s.slots.hold(caller) }

// Leave ends one of Hold.
func (s *Server) Leave(caller string) { s.slots.leave(caller) }

// Held is how many slots each caller holds.
func (s *Server) Held() map[string]int {
	s.slots.mu.Lock()
	defer s.slots.mu.Unlock()
	return maps.Clone(s.slots.held)
}

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
