package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// modulePath is the module whose rules are held here.
const modulePath = "chainfire"

// rootName stands for the module's root package in tables and messages.
const rootName = "root"

// sourceFile is one parsed Go file of the module.
type sourceFile struct {
	// path is relative to the module's root, with slashes.
	path      string
	test      bool
	generated bool
	src       []byte
	ast       *ast.File
}

// sourcePackage is the Go files of one folder. Its name is the folder, relative
// to the module's root, or rootName.
type sourcePackage struct {
	name  string
	files []*sourceFile
}

// tree is the module's source.
type tree struct {
	root     string
	fset     *token.FileSet
	packages []*sourcePackage
}

// parsedOnce is the module's source, read by the first test that asks and shared
// by all, which only look at it.
var parsedOnce = sync.OnceValues(parseModule)

func loadTree(t *testing.T) *tree {
	t.Helper()
	tr, err := parsedOnce()
	if err != nil {
		t.Fatal(err)
	}
	if len(tr.packages) == 0 {
		t.Fatalf("no Go files under %s: the tests look in the wrong place", tr.root)
	}
	return tr
}

// parseModule parses every Go file of the module, whatever its build tags.
// Folders with a go.mod of their own are other modules and are left out.
func parseModule() (*tree, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	tr := &tree{root: root, fset: token.NewFileSet()}
	byName := map[string]*sourcePackage{}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != root && !partOfModule(p, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := tr.parse(p)
		if err != nil {
			return err
		}
		name := packageName(path.Dir(f.path))
		if byName[name] == nil {
			byName[name] = &sourcePackage{name: name}
			tr.packages = append(tr.packages, byName[name])
		}
		byName[name].files = append(byName[name].files, f)
		return nil
	})
	return tr, err
}

// partOfModule reports whether Go files in this folder belong to the module.
func partOfModule(dir, base string) bool {
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return false
	}
	if slices.Contains([]string{"testdata", "vendor", "node_modules", "bin", "chainfire-data"}, base) {
		return false
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err != nil
}

func (tr *tree) parse(file string) (*sourceFile, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(tr.root, file)
	if err != nil {
		return nil, err
	}
	rel = filepath.ToSlash(rel)
	parsed, err := parser.ParseFile(tr.fset, rel, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &sourceFile{
		path:      rel,
		test:      strings.HasSuffix(rel, "_test.go"),
		generated: ast.IsGenerated(parsed),
		src:       src,
		ast:       parsed,
	}, nil
}

func packageName(dir string) string {
	if dir == "." {
		return rootName
	}
	return dir
}

// files lists the module's files for which keep is true.
func (tr *tree) files(keep func(*sourceFile) bool) []*sourceFile {
	var out []*sourceFile
	for _, p := range tr.packages {
		for _, f := range p.files {
			if keep(f) {
				out = append(out, f)
			}
		}
	}
	return out
}

// line is the line of a node in its file.
func (tr *tree) line(n ast.Node) int { return tr.fset.Position(n.Pos()).Line }

// imports lists the import paths of a file.
func (f *sourceFile) imports() []string {
	var out []string
	for _, spec := range f.ast.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// localName is the name by which a file refers to an import path, or "".
func (f *sourceFile) localName(importPath string) string {
	for _, spec := range f.ast.Imports {
		if spec.Path.Value != strconv.Quote(importPath) {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

// ownPackage turns an import path of this module into a package name.
func ownPackage(importPath string) (name string, ok bool) {
	if importPath == modulePath {
		return rootName, true
	}
	return strings.CutPrefix(importPath, modulePath+"/")
}

// importsOf lists the module's own packages that a package imports, by its
// files other than tests.
func (p *sourcePackage) importsOf() []string {
	var out []string
	for _, f := range p.files {
		if f.test {
			continue
		}
		for _, imp := range f.imports() {
			if name, ok := ownPackage(imp); ok {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
