package wal

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"

	"chainfire/internal/disk"
	"chainfire/raft"
)

// example writes the log that docs/format/wal.md explains byte by byte.
func example(t *testing.T) []byte {
	t.Helper()
	d := disk.NewFaultFS()
	l, err := Create(Options{FS: d, Dir: "wal", Salt: 0x1122334455667788}, 0, 0, raft.HardState{})
	must(t, err)
	must(t, l.Append(Batch{
		HardState: &raft.HardState{Term: 1, Vote: 7},
		Entries:   []raft.Entry{{Index: 1, Term: 1}, {Index: 2, Term: 1, Data: []byte("hello")}},
	}))
	must(t, l.Append(Batch{HardState: &raft.HardState{Term: 1, Vote: 7, Commit: 2}, Floor: 1}))
	must(t, l.Close())
	data, err := disk.ReadFile(d, l.cur.path, 1<<20)
	must(t, err)
	return data
}

func TestExampleInTheFormatDocumentIsReal(t *testing.T) {
	doc, err := os.ReadFile("../docs/format/wal.md")
	must(t, err)
	block := regexp.MustCompile("(?s)```hex\n(.*?)```").FindSubmatch(doc)
	if block == nil {
		t.Fatal("the document has no hex block")
	}
	var digits strings.Builder
	for line := range strings.Lines(string(block[1])) {
		bytes, _, _ := strings.Cut(line, "|") // after the bar: what the bytes are
		for i, field := range strings.Fields(bytes) {
			if i > 0 { // the first is the offset
				digits.WriteString(field)
			}
		}
	}
	if want := example(t); digits.String() != hex.EncodeToString(want) {
		t.Errorf("the document's bytes are not the log's, which are:\n%s", hex.Dump(want))
	}
}
