package archtest

import (
	"bytes"
	"go/ast"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// unfinished are the words that mark work left undone. They are put together
// here so that this file does not hold them.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

func TestNothingIsLeftForLater(t *testing.T) {
	for _, f := range loadTree(t).files(func(f *sourceFile) bool { return !f.generated }) {
		for _, at := range unfinished.FindAllIndex(f.src, -1) {
			line := bytes.Count(f.src[:at[0]], []byte("\n")) + 1
			t.Errorf("%s:%d: %s: do it now, or leave the code out and write down what is missing where its users look", f.path, line, f.src[at[0]:at[1]])
		}
	}
}

// sleepList names the test files that may sleep, each with its reason.
const sleepList = "testdata/sleep.txt"

func TestTestsWaitForConditionsNotForTime(t *testing.T) {
	list, err := os.ReadFile(sleepList)
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{}
	for line := range strings.Lines(string(list)) {
		name, reason, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		if strings.TrimSpace(reason) == "" {
			t.Errorf("%s: %s has no reason: write it after the path", sleepList, name)
		}
		allowed[name] = true
	}
	tr := loadTree(t)
	for _, f := range tr.files(func(f *sourceFile) bool { return f.test }) {
		sleeps := sleepCalls(tr, f)
		if len(sleeps) == 0 && allowed[f.path] {
			t.Errorf("%s: %s sleeps no longer: remove its line", sleepList, f.path)
		}
		for _, line := range sleeps {
			if !allowed[f.path] {
				t.Errorf("%s:%d: time.Sleep in a test: wait for the condition with a deadline, or sleep on the clock of synctest.Test, inside its call; if neither can be, internal/archtest/%s takes the file with the reason", f.path, line, sleepList)
			}
		}
		delete(allowed, f.path)
	}
	for name := range allowed {
		t.Errorf("%s: there is no test file %s: remove its line", sleepList, name)
	}
}

// sleepCalls lists the lines of a file that name time.Sleep, but for those inside
// a call of synctest.Test: there, a sleep moves a clock of the test's own.
func sleepCalls(tr *tree, f *sourceFile) []int {
	clock, bubble := f.localName("time"), f.localName("testing/synctest")
	if clock == "" {
		return nil
	}
	var lines []int
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && bubble != "" && names(call.Fun, bubble, "Test") {
			return false
		}
		if e, ok := n.(ast.Expr); ok && names(e, clock, "Sleep") {
			lines = append(lines, tr.line(n))
		}
		return true
	})
	return lines
}

// names reports whether an expression is pkg.name.
func names(e ast.Expr, pkg, name string) bool {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == pkg
}

func TestNoInitFunctions(t *testing.T) {
	tr := loadTree(t)
	for _, f := range tr.files(func(f *sourceFile) bool { return !f.generated }) {
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s:%d: init runs behind every importer's back: do the work in a constructor that its user calls", f.path, tr.line(fn))
			}
		}
	}
}

// shapeless are folder names that say nothing of what is inside.
var shapeless = []string{"util", "utils", "common", "types", "helper", "helpers", "misc", "shared", "lib", "pkg"}

func TestPackagesAreNamedAfterTheirIdea(t *testing.T) {
	for _, pkg := range loadTree(t).packages {
		for dir := pkg.name; dir != "."; dir = path.Dir(dir) {
			if slices.Contains(shapeless, path.Base(dir)) {
				t.Errorf("package %s: %q says nothing of what it holds: name it after its one idea, or put each piece where it is used", pkg.name, path.Base(dir))
			}
		}
		for _, f := range pkg.files {
			if name := strings.TrimSuffix(f.ast.Name.Name, "_test"); slices.Contains(shapeless, name) {
				t.Errorf("%s: package %q says nothing of what it holds: name it after its one idea", f.path, name)
			}
		}
	}
}
