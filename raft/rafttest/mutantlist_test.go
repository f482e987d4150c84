package rafttest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	moduleRoot  = "../.."
	mutantsFile = "testdata/mutants.txt"
)

// mutant is one seeded fault: an edit of one file of the core.
type mutant struct {
	name, file, rule string
	// was stands in the file exactly once; the mutant has now in its place.
	was, now string
}

// errStale says that a mutant no longer fits the source that it is to change.
var errStale = errors.New("stale mutant")

// mutate returns the file's source with the fault in it.
func (m mutant) mutate(source string) (string, error) {
	if n := strings.Count(source, "\n"+m.was); n != 1 {
		return "", fmt.Errorf("%w %s: its text occurs %d times in %s", errStale, m.name, n, m.file)
	}
	return strings.Replace(source, "\n"+m.was, "\n"+m.now, 1), nil
}

// readMutants reads the list; the file's head says how it is written.
func readMutants(path string) ([]mutant, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []mutant
	names := map[string]bool{}
	for block := range strings.SplitSeq(string(text), "\n\n") {
		if block = strings.Trim(block, "\n"); block == "" || strings.HasPrefix(block, "#") {
			continue
		}
		m, err := parseMutant(block)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		case names[m.name]:
			return nil, fmt.Errorf("%s: mutant %s twice", path, m.name)
		}
		names[m.name] = true
		out = append(out, m)
	}
	return out, nil
}

func parseMutant(block string) (mutant, error) {
	var m mutant
	lines := strings.Split(block, "\n")
	if _, err := fmt.Sscan(lines[0], &m.name, &m.file); err != nil {
		return m, fmt.Errorf("line %q: want a name and a file: %w", lines[0], err)
	}
	for _, line := range lines[1:] {
		text := line[1:] + "\n"
		switch line[0] {
		case ':':
			m.rule = strings.TrimSpace(text)
		case '-':
			m.was += text
		case '+':
			m.now += text
		case ' ':
			m.was, m.now = m.was+text, m.now+text
		default:
			return m, fmt.Errorf("mutant %s: line %q begins with none of \":-+ \"", m.name, line)
		}
	}
	if m.rule == "" || m.was == m.now || m.was == "" {
		return m, fmt.Errorf("mutant %s: it needs a rule and an edit", m.name)
	}
	return m, nil
}

// A mutant whose place in the source is gone checks nothing any more.
func TestEveryMutantFitsTheSource(t *testing.T) {
	list, err := readMutants(mutantsFile)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 30 {
		t.Errorf("%d mutants are listed, want 30 at least", len(list))
	}
	for _, m := range list {
		source, err := os.ReadFile(filepath.Join(moduleRoot, m.file))
		if err != nil {
			t.Errorf("mutant %s: %v", m.name, err)
			continue
		}
		if _, err := m.mutate(string(source)); err != nil {
			t.Error(err)
		}
	}
}
