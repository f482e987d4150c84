// Package archtest holds the rules of the house as tests: who may import whom,
// what the deterministic core may not touch, how long a file may grow, and that
// ARCHITECTURE.md names only what exists. Every failure says how to mend it.
//
// The tests read source files, not built packages, so they see every file
// whatever its build tags.
package archtest
