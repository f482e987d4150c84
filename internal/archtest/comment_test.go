package archtest

import (
	"strings"
	"testing"
)

func TestEveryPackageHasExactlyOneComment(t *testing.T) {
	for _, pkg := range loadTree(t).packages {
		var with []string
		code := 0
		for _, f := range pkg.files {
			if f.test {
				continue
			}
			code++
			if f.ast.Doc == nil {
				continue
			}
			with = append(with, f.path)
			text := f.ast.Doc.Text()
			name := f.ast.Name.Name
			if name != "main" && !f.generated && !strings.HasPrefix(text, "Package "+name+" ") {
				t.Errorf("%s: the package comment does not begin with %q: begin it so, and say what the room is for", f.path, "Package "+name)
			}
		}
		switch {
		case code > 0 && len(with) == 0:
			t.Errorf("package %s has no package comment: write what it is for above the package line of its main file", pkg.name)
		case len(with) > 1:
			t.Errorf("package %s has package comments in %s: keep one; put an empty line between the others and the package line", pkg.name, strings.Join(with, " and "))
		}
	}
}
