package archtest

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mapFile is the one page that says where things are.
const mapFile = "ARCHITECTURE.md"

var (
	codeSpan = regexp.MustCompile("`([^`\n]+)`")
	linkTo   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	// plainPath is what a code span must look like to be taken for a path.
	plainPath = regexp.MustCompile(`^[A-Za-z0-9_.*-]+(/[A-Za-z0-9_.*-]+)*/?$`)
	// treeEntry is a line of a drawn folder tree: indent, name, description.
	treeEntry = regexp.MustCompile(`^( *)([A-Za-z0-9_./-]+)(?:\s.*)?$`)
	fileName  = regexp.MustCompile(`\.(go|md|proto|txt|yml|yaml|mod|sum)$`)
)

func TestEveryPathInTheArchitecturePageExists(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, mapFile))
	if err != nil {
		t.Fatalf("%v: the page that maps the rooms must exist", err)
	}
	names := fileNames(t, root)
	for _, named := range namedPaths(string(text)) {
		if !exists(root, named.candidates, names) {
			t.Errorf("%s:%d names %s, which does not exist: correct the page, or if it is no path, write it otherwise", mapFile, named.line, named.candidates[0])
		}
	}
}

// namedPath is one path that the page names, with the readings it may have.
type namedPath struct {
	line       int
	candidates []string
}

// namedPaths finds the paths of a Markdown page:
//   - links that are not to another site or another place in the page;
//   - code spans that hold a slash, or end as a file does. "./x" and "/x" are
//     not of this repository, and "a.b/c" is a module of someone else's;
//   - in fenced blocks, the folders and files of a drawn tree, each read both
//     as it stands and below the folders that it is indented under.
func namedPaths(text string) []namedPath {
	var out []namedPath
	fenced := false
	var folders []treeFolder
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced, folders = !fenced, nil
			continue
		}
		if fenced {
			var candidates []string
			if candidates, folders = treePaths(line, folders); len(candidates) > 0 {
				out = append(out, namedPath{i + 1, candidates})
			}
			continue
		}
		for _, m := range linkTo.FindAllStringSubmatch(line, -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target != "" && !strings.Contains(target, ":") {
				out = append(out, namedPath{i + 1, []string{target}})
			}
		}
		for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
			if isPath(m[1]) {
				out = append(out, namedPath{i + 1, []string{strings.TrimPrefix(m[1], modulePath+"/")}})
			}
		}
	}
	return out
}

func isPath(span string) bool {
	if !plainPath.MatchString(span) || strings.HasPrefix(span, "./") {
		return false
	}
	first, _, slash := strings.Cut(span, "/")
	if !slash {
		return fileName.MatchString(span)
	}
	return !strings.Contains(strings.TrimLeft(first, "."), ".")
}

// treeFolder is a folder of a drawn tree, and how far it is indented.
type treeFolder struct {
	indent int
	name   string
}

// treePaths reads one line of a fenced block. It returns the readings of the
// path that it names, if any, and the folders that the next line may be below.
func treePaths(line string, above []treeFolder) ([]string, []treeFolder) {
	m := treeEntry.FindStringSubmatch(line)
	if m == nil || !strings.HasSuffix(m[2], "/") && !fileName.MatchString(m[2]) {
		return nil, above
	}
	indent, name := len(m[1]), m[2]
	above = slices.DeleteFunc(slices.Clone(above), func(f treeFolder) bool { return f.indent >= indent })
	parts := []string{}
	for _, f := range above {
		parts = append(parts, f.name)
	}
	candidates := []string{name}
	for i := range parts {
		candidates = append(candidates, path.Join(append(slices.Clone(parts[i:]), name)...))
	}
	if len(above) == 0 && name == modulePath+"/" {
		candidates = []string{"."} // the top of the drawing is this repository
	}
	return candidates, append(above, treeFolder{indent, name})
}

// exists reports whether one of the readings is a file or folder, or, for a
// file's bare name, whether any file is called so.
func exists(root string, candidates []string, names map[string]bool) bool {
	for _, c := range candidates {
		found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(c)))
		if err == nil && len(found) > 0 || names[c] {
			return true
		}
	}
	return false
}

// fileNames is the set of base names of the repository's files.
func fileNames(t *testing.T, root string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", ".cache", "bin", "node_modules"}, d.Name()) {
			return filepath.SkipDir
		}
		if !d.IsDir() {
			names[d.Name()] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestPathsAreFoundInLinksSpansAndTrees(t *testing.T) {
	page := strings.Join([]string{
		"See [the log](docs/format/wal.md#segments), [etcd](https://etcd.io) and [below](#reads).",
		"`raft/leader.go` appends a `Message` as `lease.go` says; `chainfire/wal` too, in `.ci/run`.",
		"Not paths: `./chainfire-data`, `/health`, `go.etcd.io/raft/v3`, `a or b/c`, `Core.Step`.",
		"```",
		"chainfire/",
		"  raft/          consensus",
		"    quorum/      majorities",
		"  cmd/chainfire/ the binary",
		"  Ready{} is no path",
		"```",
	}, "\n")
	var got []string
	for _, p := range namedPaths(page) {
		got = append(got, fmt.Sprint(p.line, " ", strings.Join(p.candidates, " ")))
	}
	want := []string{
		"1 docs/format/wal.md",
		"2 raft/leader.go", "2 lease.go", "2 wal", "2 .ci/run",
		"5 .",
		"6 raft/ chainfire/raft",
		"7 quorum/ chainfire/raft/quorum raft/quorum",
		"8 cmd/chainfire/ chainfire/cmd/chainfire",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
