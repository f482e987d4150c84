package main

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// commandLine is a line of a page that has a command of this program at its beginning, and
// substituted is one within another.
var (
	commandLine = regexp.MustCompile(`(?m)^(?:\$ )?chainfire ([a-z].*)$`)
	substituted = regexp.MustCompile(`\$\(([^()]*)\)`)
)

// TestTheCommandsOfThePagesExist holds what the pages have typed to the commands and flags that
// there are.
func TestTheCommandsOfThePagesExist(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("../../docs", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text = bytes.ReplaceAll(text, []byte("\\\n"), []byte(" "))
		for _, m := range substituted.FindAllSubmatch(text, -1) {
			text = append(append(text, '\n'), m[1]...)
		}
		text = substituted.ReplaceAll(text, []byte("SUBSTITUTED"))
		for _, m := range commandLine.FindAllSubmatch(text, -1) {
			line, _, _ := strings.Cut(string(m[1]), " #")
			args := strings.Fields(line)
			root := newRoot(newApp(nil, io.Discard, io.Discard))
			cmd, rest, err := root.Find(args)
			if err != nil {
				t.Errorf("%s: chainfire %s: %v", path, line, err)
				continue
			}
			seen++
			if err := cmd.ParseFlags(rest); err != nil {
				t.Errorf("%s: chainfire %s: %v", path, line, err)
			}
			if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 {
				t.Errorf("%s: '%s' has no command %q", path, cmd.CommandPath(), words[0])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Errorf("the pages have only %d commands", seen)
	}
}
