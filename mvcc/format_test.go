package mvcc

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"chainfire/internal/disk"
)

// dump lists every row of a store in hex: row, arrow, content.
func dump(t *testing.T, s *Store) []string {
	t.Helper()
	e, _, err := s.acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer s.release(e)
	return dumpRows(t, e.db)
}

func dumpRows(t *testing.T, r pebble.Reader) []string {
	t.Helper()
	it, err := r.NewIter(&pebble.IterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for ok := it.First(); ok; ok = it.Next() {
		lines = append(lines, fmt.Sprintf("% x -> % x", it.Key(), it.Value()))
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestFormatPageShowsTheRowsAsTheyAre(t *testing.T) {
	page, err := os.ReadFile("../docs/format/keyspace.md")
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{FS: disk.NewFaultFS(), Dir: "data"}
	if err := Create(opts, State{}, []MetaRow{{Name: "cluster", Value: []byte{0, 0, 0, 0, 0, 0, 0, 7}}}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, value string) op { return op{key: []byte(key), value: []byte(value)} }
	rounds := []round{
		{txns: [][]op{{put("foo", "bar")}}},
		{txns: [][]op{{put("foo", "baz"), put("a\x00b", "")}}},
		{txns: [][]op{{{key: []byte("foo"), delete: true}}}},
	}
	if err := apply(s, rounds, 3); err != nil {
		t.Fatal(err)
	}
	check := func(heading string) {
		t.Helper()
		want := "\n\n    " + strings.Join(dump(t, s), "\n    ") + "\n"
		_, rest, found := strings.Cut(string(page), heading)
		if !found || !strings.HasPrefix(rest, want) {
			t.Errorf("keyspace.md, after %q, should go on with\n%s", heading, want)
		}
	}
	check("The store then holds these rows:")
	if err := apply(s, []round{{compact: 4}}, 4); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitCompacted(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	check("After a compaction at revision 4 these are left:")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
