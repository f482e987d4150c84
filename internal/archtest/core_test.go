package archtest

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// core are the packages whose outputs depend on their inputs alone, so that a
// schedule can be run again from its seed. What they import from this module is
// held to the same rule, but for the root package, whose interfaces name
// contexts.
var core = []string{
	"raft", "raft/quorum", "raft/progress", "raft/confchange", "replica", "internal/invariant",
}

// bannedInCore maps what the core may not import, with everything below it, to
// what to do instead.
var bannedInCore = []struct{ path, instead string }{
	{"time", "count ticks; the host owns the clock"},
	{"os", "take the value as an argument; the host owns the system"},
	{"net", "hand messages out in Ready; transport owns the network"},
	{"sync", "one goroutine owns the core; let the host serialise calls"},
	{"log", "return an error or a reason in the output; the host logs"},
	{"context", "the core never waits; let the host hold deadlines"},
	{"math/rand", "take chance as an argument (Config.Jitter)"},
	{"crypto/rand", "take chance as an argument (Config.Jitter)"},
}

func TestCoreImportsNoClockNoSystemNoChance(t *testing.T) {
	eachCoreFile(t, func(_ *tree, f *sourceFile) {
		for _, imp := range f.imports() {
			for _, ban := range bannedInCore {
				if matches(ban.path+"/...", imp) {
					t.Errorf("%s imports %s: %s", f.path, imp, ban.instead)
				}
			}
			if first, _, _ := strings.Cut(imp, "/"); strings.Contains(first, ".") {
				t.Errorf("%s imports %s: the core uses no third-party module; write the few lines it needs, or do the work in the host", f.path, imp)
			}
		}
	})
}

func TestCoreStartsNoGoroutine(t *testing.T) {
	eachCoreFile(t, func(tr *tree, f *sourceFile) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.GoStmt, *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
				t.Errorf("%s:%d: goroutines and channels are not for the core, which is a function from inputs to outputs: do this in node", f.path, tr.line(n))
			}
			return true
		})
	})
}

// eachCoreFile calls f for every file of the core but its tests.
func eachCoreFile(t *testing.T, f func(*tree, *sourceFile)) {
	t.Helper()
	tr := loadTree(t)
	for _, pkg := range tr.packages {
		if !slices.Contains(core, pkg.name) {
			continue
		}
		for _, file := range pkg.files {
			if !file.test {
				f(tr, file)
			}
		}
	}
}
