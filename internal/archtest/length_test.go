package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Lengths in lines, from which a file or a function holds more than one idea.
const (
	maxFileLines     = 500
	maxFunctionLines = 70
)

// longList names what was longer before the rule came, with its length. An
// entry may only shrink, and goes when it is under the limit.
const longList = "testdata/long.txt"

func TestFilesAndFunctionsStayShort(t *testing.T) {
	tr := loadTree(t)
	measured := map[string]int{}
	for _, f := range tr.files(func(f *sourceFile) bool { return !f.test && !f.generated }) {
		if n := bytes.Count(f.src, []byte("\n")); n > maxFileLines {
			measured[f.path] = n
		}
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := tr.fset.Position(fn.End()).Line - tr.line(fn) + 1; n > maxFunctionLines {
				measured[f.path+":"+functionName(fn)] = n
			}
		}
	}
	listed, err := os.ReadFile(longList)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range ratchet(measured, string(listed)) {
		t.Error(problem)
	}
}

// ratchet compares what is too long with the list of what may be, one
// "path length" or "path:function length" in a line.
func ratchet(measured map[string]int, list string) []string {
	var problems []string
	listed := map[string]bool{}
	for line := range strings.Lines(list) {
		name, length, ok := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		limit, err := strconv.Atoi(length)
		if !ok || err != nil {
			problems = append(problems, fmt.Sprintf("%s: cannot read the line %q: write a path and a length", longList, strings.TrimSpace(line)))
			continue
		}
		listed[name] = true
		switch n := measured[name]; {
		case n == 0:
			problems = append(problems, fmt.Sprintf("%s: %s is no longer too long (or gone): remove its line", longList, name))
		case n > limit:
			problems = append(problems, fmt.Sprintf("%s grew from %d to %d lines: it may only shrink; move its second idea out", name, limit, n))
		case n < limit:
			problems = append(problems, fmt.Sprintf("%s: %s shrank to %d lines: lower its line from %d so that it stays so", longList, name, n, limit))
		}
	}
	for name, n := range measured {
		if !listed[name] {
			limit, what := maxFileLines, "move its second idea to a file named after it"
			if strings.Contains(name, ":") {
				limit, what = maxFunctionLines, "give each of its steps a name of its own"
			}
			problems = append(problems, fmt.Sprintf("%s has %d lines, %d are the limit: %s", name, n, limit, what))
		}
	}
	return problems
}

func functionName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	typ := fn.Recv.List[0].Type
	if ptr, ok := typ.(*ast.StarExpr); ok {
		typ = ptr.X
	}
	switch generic := typ.(type) {
	case *ast.IndexExpr:
		typ = generic.X
	case *ast.IndexListExpr:
		typ = generic.X
	}
	if id, ok := typ.(*ast.Ident); ok {
		return id.Name + "." + fn.Name.Name
	}
	return fn.Name.Name
}

func TestLengthListMayOnlyShrink(t *testing.T) {
	for name, c := range map[string]struct {
		measured int
		list     string
		want     string
	}{
		"at its length":   {600, "a.go 600", ""},
		"comment":         {600, "# why\n\na.go 600\n", ""},
		"grew":            {601, "a.go 600", "grew from 600 to 601"},
		"shrank":          {599, "a.go 600", "lower its line"},
		"no longer long":  {0, "a.go 600", "remove its line"},
		"not listed":      {600, "", "500 are the limit"},
		"unreadable line": {600, "a.go 600\nb.go", "cannot read"},
	} {
		measured := map[string]int{}
		if c.measured > 0 {
			measured["a.go"] = c.measured
		}
		got := strings.Join(ratchet(measured, c.list), "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: ratchet reports %q, want %q", name, got, c.want)
		}
	}
}
