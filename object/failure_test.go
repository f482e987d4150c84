package object_test

import (
	"errors"
	"testing"

	"chainfire/object"
)

var errDisk = errors.New("the disk fails")

// failing is rows of which one use fails: the left-th, and those after it.
type failing struct {
	object.Rows
	left int
}

// fails reports whether this use is to fail.
func (f *failing) fails() bool {
	f.left--
	return f.left < 0
}

func (f *failing) Get(row []byte) ([]byte, bool, error) {
	if f.fails() {
		return nil, false, errDisk
	}
	return f.Rows.Get(row)
}

func (f *failing) Set(row, value []byte) error {
	if f.fails() {
		return errDisk
	}
	return f.Rows.Set(row, value)
}

func (f *failing) Delete(row []byte) error {
	if f.fails() {
		return errDisk
	}
	return f.Rows.Delete(row)
}

func (f *failing) Cursor(from, to []byte) (object.Cursor, error) {
	if f.fails() {
		return nil, errDisk
	}
	c, err := f.Rows.Cursor(from, to)
	return &failingCursor{Cursor: c, f: f}, err
}

// failingCursor ends early when a move fails, and says so only when it is asked.
type failingCursor struct {
	object.Cursor
	f   *failing
	err error
}

func (c *failingCursor) moved(move func() bool) bool {
	if c.err == nil && c.f.fails() {
		c.err = errDisk
	}
	return c.err == nil && move()
}

func (c *failingCursor) Next() bool { return c.moved(c.Cursor.Next) }

func (c *failingCursor) Seek(row []byte) bool {
	return c.moved(func() bool { return c.Cursor.Seek(row) })
}

func (c *failingCursor) Err() error { return c.err }

func (c *failingCursor) Close() error {
	if err := c.Cursor.Close(); err != nil {
		return err
	}
	if c.err == nil && c.f.fails() {
		return errDisk
	}
	return nil
}

// everyUse does something again and again with rows of which every use in turn is the first
// that fails, until none does. As long as one does, the error must come out.
func everyUse(t *testing.T, w *world, what string, do func(object.Rows) error) {
	t.Helper()
	for n := 0; ; n++ {
		rows := &failing{Rows: w.rows.Clone(), left: n}
		err := do(rows)
		if rows.left >= 0 {
			if err != nil {
				t.Errorf("%s, without a failure: %v", what, err)
			}
			if n == 0 {
				t.Errorf("%s uses no rows", what)
			}
			return
		}
		if !errors.Is(err, errDisk) {
			t.Errorf("%s: use %d of the rows failed, and the error is %v", what, n, err)
		}
	}
}

func TestAFailureOfTheStoreIsNeverTakenForAnAnswer(t *testing.T) {
	w := newWorld(t)
	w.create("empty", object.VersioningOff)
	w.create("off", object.VersioningOff)
	w.must(&object.Change{CreateBucket: &object.CreateBucket{Name: "locked", ObjectLock: true}})
	w.create("suspended", object.VersioningSuspended)
	w.must(&object.Change{SetConfig: &object.SetConfig{Bucket: "empty", Name: "cors", Value: []byte("x")}})
	for _, bucket := range []string{"off", "locked", "suspended"} {
		w.put(bucket, "k", "e", 2)
		w.put(bucket, "l", "e", 2)
	}
	first := w.put("locked", "k", "f", 2)
	w.put("locked", "k", "g", 2)
	cond := object.Condition{IfMatch: "*"}
	null := object.Null
	for what, c := range map[string]*object.Change{
		"create a bucket": {CreateBucket: &object.CreateBucket{Name: "new"}},
		"delete a bucket": {DeleteBucket: &object.DeleteBucket{Name: "empty"}},
		"set a bucket":    {SetBucket: &object.SetBucket{Name: "off", QuotaBytes: ptr(int64(9))}},
		"set a document":  {SetConfig: &object.SetConfig{Bucket: "off", Name: "cors", Value: []byte("x")}},
		"put":             {Put: &object.Put{Bucket: "off", Key: "k", If: cond, Body: inline(3)}},
		"put a version":   {Put: &object.Put{Bucket: "locked", Key: "k", If: cond, Body: inline(3)}},
		"copy": {Copy: &object.Copy{
			SourceBucket: "locked", SourceKey: "k", SourceSeq: first.Seq, Bucket: "suspended", Key: "k", If: cond,
		}},
		"set an object": {SetObject: &object.SetObject{Bucket: "locked", Key: "k", Version: &first.ID, LegalHold: ptr(true)}},
		"delete": {Delete: &object.Delete{Bucket: "off", Objects: []object.DeleteObject{
			{Key: "k", If: cond}, {Key: "l", Version: &null, If: cond}, {Key: "none"},
		}}},
		"delete while suspended": {Delete: &object.Delete{Bucket: "suspended", Objects: []object.DeleteObject{{Key: "k"}}}},
		"delete versions": {Delete: &object.Delete{Bucket: "locked", Objects: []object.DeleteObject{
			{Key: "k", Version: &first.ID, If: cond}, {Key: "k"},
		}}},
	} {
		everyUse(t, w, what, func(rows object.Rows) error {
			_, err := object.Apply(rows, w.index+1, nil, c)
			return err
		})
	}
	b := w.bucket("locked")
	for what, read := range map[string]func(*object.View) error{
		"a bucket":   func(v *object.View) error { _, err := v.Bucket("off"); return err },
		"buckets":    func(v *object.View) error { _, err := v.Buckets("", "", 10); return err },
		"a document": func(v *object.View) error { _, _, err := v.Config(b, "cors"); return err },
		"a key":      func(v *object.View) error { _, err := v.Version(b, "k", nil); return err },
		"a version":  func(v *object.View) error { _, err := v.Version(b, "k", &first.ID); return err },
		"a listing": func(v *object.View) error {
			_, err := v.List(ctx, b, object.ListRequest{Limit: 10})
			return err
		},
		"a listing of versions": func(v *object.View) error {
			_, err := v.List(ctx, b, object.ListRequest{Limit: 10, Versions: true, Delimiter: "l"})
			return err
		},
	} {
		everyUse(t, w, "reading "+what, func(rows object.Rows) error { return read(object.NewView(rows, nil)) })
	}
}
