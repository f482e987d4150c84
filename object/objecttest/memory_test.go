package objecttest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"chainfire/object"
)

// check compares all rows of a reader with a map, and walks and seeks between two of them.
func check(t *rapid.T, r object.Reader, want map[string]string, from, to, seek string) {
	t.Helper()
	rows := slices.Sorted(maps.Keys(want))
	c, err := r.Cursor([]byte(from), []byte(to))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var got []string
	for c.Next() {
		got = append(got, string(c.Row()))
		value, found, err := r.Get(c.Row())
		if err != nil || !found || !bytes.Equal(value, c.Value()) || want[string(c.Row())] != string(value) {
			t.Fatalf("row %q is %q, read %q, %v, %v, want %q", c.Row(), c.Value(), value, found, err, want[string(c.Row())])
		}
	}
	in := slices.DeleteFunc(slices.Clone(rows), func(r string) bool { return r < from || r >= to })
	if !slices.Equal(got, in) {
		t.Fatalf("from %q to %q there are %q, want %q", from, to, got, in)
	}
	if c.Next() {
		t.Fatal("there is a row behind the last")
	}
	in = slices.DeleteFunc(in, func(r string) bool { return r < seek })
	if found := c.Seek([]byte(seek)); found != (len(in) > 0) || found && string(c.Row()) != in[0] {
		t.Fatalf("sought %q from %q to %q, found %v, %q, want %q", seek, from, to, found, c.Row(), in)
	}
	if len(in) > 1 && (!c.Next() || string(c.Row()) != in[1]) {
		t.Fatalf("behind %q is %q, want %q", in[0], c.Row(), in[1])
	}
}

func TestMemoryIsASortedMap(t *testing.T) {
	name := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("%04d", rapid.IntRange(0, 1200).Draw(t, "row")) })
	rapid.Check(t, func(t *rapid.T) {
		m, want := New(), map[string]string{}
		fill := rapid.IntRange(0, 600).Draw(t, "fill")
		for i := range fill { // enough for several chunks
			row := fmt.Sprintf("%04d", i*7%1201)
			want[row] = "v"
			if err := m.Set([]byte(row), []byte("v")); err != nil {
				t.Fatal(err)
			}
		}
		var old object.Reader
		var oldWant map[string]string
		for range 20 {
			switch row := name.Draw(t, "row"); rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				value := rapid.StringN(0, 3, 9).Draw(t, "value")
				want[row] = value
				if err := m.Set([]byte(row), []byte(value)); err != nil {
					t.Fatal(err)
				}
			case 2:
				delete(want, row)
				if err := m.Delete([]byte(row)); err != nil {
					t.Fatal(err)
				}
			case 3:
				old, oldWant = m.Snapshot(), maps.Clone(want)
			}
		}
		from, to, seek := name.Draw(t, "from"), name.Draw(t, "to"), name.Draw(t, "seek")
		check(t, m, want, from, to, seek)
		check(t, m.Clone(), want, from, to, seek)
		if old != nil {
			check(t, old, oldWant, from, to, seek)
		}
		for row := range maps.Clone(want) {
			if err := m.Delete([]byte(row)); err != nil {
				t.Fatal(err)
			}
		}
		check(t, m, nil, "", "9", "")
	})
}

func TestACursorOverwritesWhatItGaveOut(t *testing.T) {
	m := New()
	for _, row := range []string{"a", "b"} {
		if err := m.Set([]byte(row), []byte(row)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := m.Cursor([]byte("a"), []byte("c"))
	if err != nil {
		t.Fatal(err)
	}
	c.Next()
	kept := c.Value()
	c.Next()
	if string(kept) == "a" {
		t.Error("what a cursor gave out before it moved is as it was")
	}
	if got, _, _ := m.Get([]byte("a")); string(got) != "a" {
		t.Errorf("the row itself is %q", got)
	}
}
