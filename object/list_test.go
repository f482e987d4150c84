package object_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"chainfire/object"
)

func TestAListingRollsUpWhatADelimiterDivides(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningEnabled)
	for _, key := range []string{"a", "a/", "a/b", "a/c/d", "a\x00", "a\x00b", "b//c", "b/c", "c", "d/gone", "d/gone2", "e/gone", "e/here", "f"} {
		w.put("bucket", key, "", 1)
	}
	for _, key := range []string{"d/gone", "d/gone2", "e/gone", "f"} {
		w.deleteOne("bucket", false, object.DeleteObject{Key: key})
	}
	for _, c := range []struct {
		q    object.ListRequest
		want []string
	}{
		{q: object.ListRequest{}, want: []string{"a", "a\x00", "a\x00b", "a/", "a/b", "a/c/d", "b//c", "b/c", "c", "e/here"}},
		{q: object.ListRequest{Delimiter: "/"}, want: []string{"a", "a\x00", "a\x00b", "a/", "b/", "c", "e/"}},
		{q: object.ListRequest{Delimiter: "/", Prefix: "a/"}, want: []string{"a/", "a/b", "a/c/"}},
		{q: object.ListRequest{Delimiter: "/", Prefix: "a"}, want: []string{"a", "a\x00", "a\x00b", "a/"}},
		{q: object.ListRequest{Delimiter: "//"}, want: []string{"a", "a\x00", "a\x00b", "a/", "a/b", "a/c/d", "b//", "b/c", "c", "e/here"}},
		{q: object.ListRequest{Delimiter: "\x00"}, want: []string{"a", "a\x00", "a/", "a/b", "a/c/d", "b//c", "b/c", "c", "e/here"}},
		{q: object.ListRequest{Prefix: "a\x00"}, want: []string{"a\x00", "a\x00b"}},
		{q: object.ListRequest{Prefix: "d"}, want: nil},
		{q: object.ListRequest{Prefix: "d", Delimiter: "/", Versions: true}, want: []string{"d/"}},
		{q: object.ListRequest{After: "a"}, want: []string{"a\x00", "a\x00b", "a/", "a/b", "a/c/d", "b//c", "b/c", "c", "e/here"}},
		{q: object.ListRequest{After: "a/bb"}, want: []string{"a/c/d", "b//c", "b/c", "c", "e/here"}},
		{q: object.ListRequest{After: "a/b", Delimiter: "/"}, want: []string{"b/", "c", "e/"}},
		{q: object.ListRequest{After: "b/", Delimiter: "/"}, want: []string{"c", "e/"}},
		{q: object.ListRequest{After: "a/b", Delimiter: "/", Prefix: "a/"}, want: []string{"a/c/"}},
		{q: object.ListRequest{After: "0", Prefix: "a/"}, want: []string{"a/", "a/b", "a/c/d"}},
		{q: object.ListRequest{After: "b", Prefix: "a/"}, want: nil},
		{q: object.ListRequest{After: "z"}, want: nil},
		{q: object.ListRequest{Prefix: "f", Versions: true}, want: []string{"f", "f"}},
	} {
		for _, n := range []int{1, 2, 3, 1000} {
			var got []string
			for _, i := range w.list("bucket", c.q, n) {
				got = append(got, keyOf(i))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%+v in pages of %d: %q, want %q", c.q, n, got, c.want)
			}
		}
	}
}

func TestAPageOfNothingSaysThatThereIsNoMore(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningOff)
	w.put("bucket", "k", "", 1)
	for _, n := range []int{0, -1} {
		p, err := w.view().List(ctx, w.bucket("bucket"), object.ListRequest{Limit: n})
		if err != nil || p.More || len(p.Entries) != 0 {
			t.Errorf("a page of %d: %+v, %v", n, p, err)
		}
	}
}

func TestAPageIsBoundedWhateverIsAskedFor(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningOff)
	for i := range object.MaxPage + 1 {
		w.quick(putOf("bucket", fmt.Sprintf("%04d", i), "", 0))
	}
	p, err := w.view().List(ctx, w.bucket("bucket"), object.ListRequest{Limit: 1 << 30})
	if err != nil || len(p.Entries) != object.MaxPage || !p.More || p.Next != "0999" {
		t.Errorf("a page has %d entries, more %v, next %q, %v", len(p.Entries), p.More, p.Next, err)
	}
}

// TestTheRestOfAKeysVersionsAreNotItsLatest: a page may begin between the versions of a key, of
// which newer ones may be gone meanwhile.
func TestTheRestOfAKeysVersionsAreNotItsLatest(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningEnabled)
	var seqs []uint64
	for range 4 {
		seqs = append(seqs, w.put("bucket", "k", "", 1).Seq)
	}
	slices.Reverse(seqs)
	page := func(after uint64) []object.Version {
		t.Helper()
		p, err := w.view().List(ctx, w.bucket("bucket"), object.ListRequest{Versions: true, After: "k", AfterVersion: after, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return p.Entries
	}
	if p := page(seqs[1]); len(p) != 2 || p[0].Seq != seqs[2] || p[0].Latest {
		t.Errorf("after the second version there are %+v", p)
	}
	for _, seq := range seqs[:2] {
		id := object.VersionID(seq)
		w.deleteOne("bucket", false, object.DeleteObject{Key: "k", Version: &id})
	}
	if p := page(seqs[1]); len(p) != 2 || p[0].Seq != seqs[2] || !p[0].Latest || p[1].Latest {
		t.Errorf("after the second version, which is gone with the first, there are %+v", p)
	}
	if p := page(0); len(p) != 0 {
		t.Errorf("after all versions there are %+v", p)
	}
}

// quick applies a change that must be taken, without looking at all rows.
func (w *world) quick(c *object.Change) *object.Result {
	w.t.Helper()
	w.index++
	c.Time = w.now
	r, err := object.Apply(w.rows, w.index, func(object.ExtentID) []uint64 { return []uint64{1} }, c)
	if err != nil {
		w.t.Fatalf("refused: %v", err)
	}
	return r
}

// counted counts the moves of cursors, and calls each before one.
type counted struct {
	object.Reader
	moves int
	each  func(moves int)
	open  int
}

type countedCursor struct {
	object.Cursor
	r *counted
}

func (r *counted) Cursor(from, to []byte) (object.Cursor, error) {
	c, err := r.Reader.Cursor(from, to)
	r.open++
	return &countedCursor{c, r}, err
}

func (c *countedCursor) move() {
	c.r.moves++
	if c.r.each != nil {
		c.r.each(c.r.moves)
	}
}

func (c *countedCursor) Next() bool           { c.move(); return c.Cursor.Next() }
func (c *countedCursor) Seek(row []byte) bool { c.move(); return c.Cursor.Seek(row) }
func (c *countedCursor) Close() error         { c.r.open--; return c.Cursor.Close() }

// TestAPageCostsWhatItHas counts the moves of the cursor for a page among very many rows.
func TestAPageCostsWhatItHas(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningEnabled)
	for dir := range 20 {
		for i := range 500 {
			w.quick(putOf("bucket", fmt.Sprintf("dir%02d/%03d", dir, i), "", 0))
		}
	}
	for range 500 {
		w.quick(putOf("bucket", "file", "", 0))
	}
	for i := range 20 {
		w.quick(putOf("bucket", fmt.Sprintf("file%02d", i), "", 0))
	}
	for _, c := range []struct {
		name  string
		q     object.ListRequest
		items int
		most  int
	}{
		{"common prefixes", object.ListRequest{Delimiter: "/", Limit: 20}, 20, 22},
		{"common prefixes of versions", object.ListRequest{Delimiter: "/", Limit: 20, Versions: true}, 20, 22},
		{"in the middle", object.ListRequest{Delimiter: "/", Limit: 5, After: "dir07/"}, 5, 7},
		{"a key of many versions", object.ListRequest{Prefix: "file", Limit: 21}, 21, 24},
		{"keys", object.ListRequest{Limit: 100}, 100, 102},
		{"after many versions", object.ListRequest{Prefix: "file", Limit: 10, Versions: true, After: "file"}, 10, 12},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &counted{Reader: w.rows}
			p, err := object.NewView(r, nil).List(ctx, w.bucket("bucket"), c.q)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(p.Entries) + len(p.Prefixes); n != c.items || r.moves > c.most {
				t.Errorf("%d items, want %d, cost %d moves, want at most %d", n, c.items, r.moves, c.most)
			}
			if r.open != 0 {
				t.Errorf("%d cursors are left open", r.open)
			}
		})
	}
}

// TestAWalkOverDeletedKeysCanBeEnded: they are in no listing, and there may be any number of
// them.
func TestAWalkOverDeletedKeysCanBeEnded(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningEnabled)
	for i := range 1000 {
		w.quick(&object.Change{Delete: &object.Delete{Bucket: "bucket", Objects: []object.DeleteObject{{Key: fmt.Sprint(i)}}}})
	}
	b := w.bucket("bucket")
	ctx, cancel := context.WithCancel(t.Context())
	r := &counted{Reader: w.rows, each: func(n int) {
		if n == 100 {
			cancel()
		}
	}}
	p, err := object.NewView(r, nil).List(ctx, b, object.ListRequest{Limit: 10})
	if !errors.Is(err, context.Canceled) || p != nil || r.moves != 100 || r.open != 0 {
		t.Errorf("it ended with %v after %d moves, with %d cursors open and page %+v", err, r.moves, r.open, p)
	}
}
