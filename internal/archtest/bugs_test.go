package archtest

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// bugFile is the table of bugs of other implementations, scriptDir where its
// scripts are, and lastBug its last number.
const (
	bugFile   = "raft/BUGS.md"
	scriptDir = "raft/testdata"
	lastBug   = 79
)

var (
	bugRow   = regexp.MustCompile(`^\| *([0-9]+) *\|`)
	bugKind  = regexp.MustCompile(`^[SLD](/[SLD])*$`)
	testName = regexp.MustCompile(`^Test[A-Z]\w*$`)
)

// bug is one row of the table: its number, what happened, the kind, the guard and
// what shows it.
type bug struct {
	line  int
	cells []string
}

func readBugs(t *testing.T, root string) []bug {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(bugFile)))
	if err != nil {
		t.Fatal(err)
	}
	var out []bug
	for i, line := range strings.Split(string(text), "\n") {
		if !bugRow.MatchString(line) {
			continue
		}
		b := bug{line: i + 1}
		for _, c := range strings.Split(strings.Trim(line, "|"), "|") {
			b.cells = append(b.cells, strings.TrimSpace(c))
		}
		out = append(out, b)
	}
	return out
}

// testNames is the set of the module's test functions.
func testNames(tr *tree) map[string]bool {
	names := map[string]bool{}
	for _, f := range tr.files(func(f *sourceFile) bool { return f.test }) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && testName.MatchString(fn.Name.Name) {
				names[fn.Name.Name] = true
			}
		}
	}
	return names
}

// Every bug of the table has one row, whole, and what is said to show its guard
// exists.
func TestEveryBugHasATestThatExists(t *testing.T) {
	tr := loadTree(t)
	tests := testNames(tr)
	seen := map[int]int{}
	for _, b := range readBugs(t, tr.root) {
		if len(b.cells) != 5 {
			t.Errorf("%s:%d has %d columns, not 5", bugFile, b.line, len(b.cells))
			continue
		}
		n, err := strconv.Atoi(b.cells[0])
		if err != nil || n < 1 || n > lastBug {
			t.Errorf("%s:%d: %q is no number from 1 to %d", bugFile, b.line, b.cells[0], lastBug)
		}
		if at := seen[n]; at != 0 {
			t.Errorf("%s:%d: bug %d is in line %d already", bugFile, b.line, n, at)
		}
		seen[n] = b.line
		if !bugKind.MatchString(b.cells[2]) {
			t.Errorf("%s:%d: the kind is %q, not S, L or D", bugFile, b.line, b.cells[2])
		}
		for i, c := range b.cells {
			if c == "" {
				t.Errorf("%s:%d: column %d is empty", bugFile, b.line, i+1)
			}
		}
		shown := 0
		for _, span := range codeSpan.FindAllStringSubmatch(b.cells[4], -1) {
			shown++
			checkShown(t, tr.root, tests, b.line, span[1])
		}
		if shown == 0 {
			t.Errorf("%s:%d: nothing shows the guard against bug %d: name a script or a test", bugFile, b.line, n)
		}
		for _, span := range codeSpan.FindAllStringSubmatch(b.cells[3], -1) {
			if _, err := os.Stat(filepath.Join(tr.root, filepath.FromSlash(span[1]))); err != nil {
				t.Errorf("%s:%d names %s, which does not exist", bugFile, b.line, span[1])
			}
		}
	}
	for n := 1; n <= lastBug; n++ {
		if seen[n] == 0 {
			t.Errorf("%s has no row for bug %d", bugFile, n)
		}
	}
}

// checkShown demands that a script or a test is there.
func checkShown(t *testing.T, root string, tests map[string]bool, line int, name string) {
	t.Helper()
	switch {
	case tests[name]:
	case path.Ext(name) == ".txt":
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(scriptDir), name)); err != nil {
			t.Errorf("%s:%d names the script %s, which is not in %s", bugFile, line, name, scriptDir)
		}
	default:
		t.Errorf("%s:%d names %s, which is no test of this module", bugFile, line, name)
	}
}
