package object_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"chainfire/object"
	"chainfire/object/objecttest"
)

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// world is a state, and changes applied to it one after the other.
type world struct {
	t     tester
	rows  *objecttest.Memory
	index uint64
	// now is the time of the next change, in Unix milliseconds.
	now int64
	// placed are the members that are to hold every extent.
	placed []uint64
}

func newWorld(t tester) *world {
	return &world{t: t, rows: objecttest.New(), now: 1_700_000_000_000, placed: []uint64{1, 2, 3}}
}

// apply applies a change at the next index. A refused one must leave every row as it was; after
// any, all must be counted as often as it is referred to.
func (w *world) apply(c *object.Change) (*object.Result, error) {
	w.t.Helper()
	w.index++
	c.Time = w.now
	before := w.dump()
	r, err := object.Apply(w.rows, w.index, func(object.ExtentID) []uint64 { return w.placed }, c)
	if (r == nil) != (err != nil) {
		w.t.Fatalf("a change has the result %+v with error %v", r, err)
	}
	if err != nil && !slices.Equal(before, w.dump()) {
		w.t.Fatalf("a change refused with %v has changed rows", err)
	}
	if wrongs := object.Recount(w.rows); len(wrongs) > 0 {
		w.t.Fatalf("after %+v: %q", c, wrongs)
	}
	return r, err
}

// must applies a change that must not be refused.
func (w *world) must(c *object.Change) *object.Result {
	w.t.Helper()
	r, err := w.apply(c)
	if err != nil {
		w.t.Fatalf("refused: %v", err)
	}
	return r
}

// refused applies a change that must be refused with an error.
func (w *world) refused(c *object.Change, want error) {
	w.t.Helper()
	if _, err := w.apply(c); !errors.Is(err, want) {
		w.t.Fatalf("refused with %v, want %v", err, want)
	}
}

// dump is every row in hex: row, arrow, content.
func (w *world) dump() []string {
	w.t.Helper()
	c, err := w.rows.Cursor(nil, []byte{0xff})
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	var lines []string
	for c.Next() {
		lines = append(lines, fmt.Sprintf("% x -> % x", c.Row(), c.Value()))
	}
	if err := errors.Join(c.Err(), c.Close()); err != nil {
		w.t.Fatalf("%v", err)
	}
	return lines
}

func (w *world) view() *object.View { return object.NewView(w.rows.Snapshot(), nil) }

// bucket reads a bucket that must be there.
func (w *world) bucket(name string) *object.Bucket {
	w.t.Helper()
	b, err := w.view().Bucket(name)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	return b
}

// create makes a bucket, and sets its versioning.
func (w *world) create(name string, v object.Versioning) {
	w.t.Helper()
	w.must(&object.Change{CreateBucket: &object.CreateBucket{Name: name, Owner: "AK1"}})
	if v != object.VersioningOff {
		w.must(&object.Change{SetBucket: &object.SetBucket{Name: name, Versioning: &v}})
	}
}

// createLocked makes a bucket with object lock.
func (w *world) createLocked(name string) {
	w.t.Helper()
	w.must(&object.Change{CreateBucket: &object.CreateBucket{Name: name, ObjectLock: true}})
}

// putOf is a put of size bytes, whose ETag is etag.
func putOf(bucket, key, etag string, size int) *object.Change {
	return &object.Change{Put: &object.Put{Bucket: bucket, Key: key, ETag: etag, Body: inline(size)}}
}

func inline(size int) object.Body {
	if size == 0 {
		return object.Body{}
	}
	return object.Body{Size: int64(size), Inline: bytes.Repeat([]byte("x"), size)}
}

// put writes a version that must be taken.
func (w *world) put(bucket, key, etag string, size int) *object.Version {
	w.t.Helper()
	return w.must(putOf(bucket, key, etag, size)).Version
}

// deleteOne applies a delete of one entry.
func (w *world) deleteOne(bucket string, bypass bool, o object.DeleteObject) object.Deleted {
	w.t.Helper()
	r := w.must(&object.Change{Delete: &object.Delete{Bucket: bucket, Objects: []object.DeleteObject{o}, Bypass: bypass}})
	if len(r.Deleted) != 1 {
		w.t.Fatalf("%d answers to a delete of one", len(r.Deleted))
	}
	return r.Deleted[0]
}

// list is a whole listing in pages of n: each entry as key@seq, each common prefix as it is.
func (w *world) list(bucket string, q object.ListRequest, n int) []string {
	w.t.Helper()
	v := w.view()
	b := w.bucket(bucket)
	q.Limit = n
	var items []string
	for {
		page, err := v.List(ctx, b, q)
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		l := pageItems(page)
		if len(l) > n || page.More && len(l) < n {
			w.t.Fatalf("a page of %d has %d items, and more is %v", n, len(l), page.More)
		}
		items = append(items, l...)
		if !page.More {
			return items
		}
		if last := items[len(items)-1]; page.Next != keyOf(last) || (page.NextVersion != 0) != (q.Versions && last != page.Next) {
			w.t.Fatalf("the page ends with %q, and names %q at %d", last, page.Next, page.NextVersion)
		}
		q.After, q.AfterVersion = page.Next, page.NextVersion
	}
}

// pageItems are the entries and prefixes of a page in the order in which they were found.
func pageItems(page *object.ListResult) []string {
	var items []string
	p := page.Prefixes
	for _, e := range page.Entries {
		for len(p) > 0 && p[0] <= e.Key {
			items, p = append(items, p[0]), p[1:]
		}
		items = append(items, item(&e))
	}
	return append(items, p...)
}

func item(v *object.Version) string {
	return fmt.Sprintf("%s@%d", v.Key, v.Seq)
}

// keyOf is the key of an item, or a common prefix as it is.
func keyOf(item string) string {
	key, _, _ := strings.Cut(item, "@")
	return key
}

func ptr[T any](v T) *T { return &v }

func TestAChangeIsExactlyOneChange(t *testing.T) {
	w := newWorld(t)
	w.refused(&object.Change{}, object.ErrInvalid)
	w.refused(&object.Change{
		CreateBucket: &object.CreateBucket{Name: "one"},
		DeleteBucket: &object.DeleteBucket{Name: "one"},
	}, object.ErrInvalid)
}
