package object_test

import (
	"errors"
	"testing"

	"chainfire/internal/record"
	"chainfire/object"
)

// failureWorld has an open upload of three parts, an object of two with a copy, one that is
// garbage, objects of extents and of inline bytes, and an access key.
func failureWorld(t tester) (u *uploader, whole, copied *object.Version) {
	u = newUploader(t, object.VersioningEnabled, object.Checksum{})
	complete := func() *object.Version {
		u.part(1, 5*mib)
		u.part(2, 1)
		return u.must(u.completeOf(1, 2)).Version
	}
	gone := complete()
	u.deleteOne("bucket", false, object.DeleteObject{Key: "k", Version: &gone.ID})
	u.upload = u.begin(object.Checksum{})
	whole = complete()
	copied = u.must(&object.Change{Copy: &object.Copy{
		SourceBucket: "bucket", SourceKey: "k", SourceSeq: whole.Seq, Bucket: "bucket", Key: "copy", ETag: whole.ETag,
	}}).Version
	u.upload = u.begin(object.Checksum{})
	for n := 1; n <= 3; n++ {
		u.part(n, 5*mib)
	}
	u.must(putBody("extents", u.body(3*mib)))
	u.put("bucket", "inline", etagOf(1), 3)
	u.must(setKey(object.AccessKey{ID: "AK1", Sealed: []byte{1}}, true))
	return u, whole, copied
}

func TestAFailureOfTheStoreIsNeverTakenForAnAnswerAboutUploads(t *testing.T) {
	u, whole, copied := failureWorld(t)
	again := u.completeOf(1, 2)
	again.Complete.Upload = whole.Upload
	replaced := u.partOf(2, 6*mib, etagOf(2))
	for what, c := range map[string]*object.Change{
		"create an upload":  {CreateUpload: &object.CreateUpload{Bucket: "bucket", Key: "k"}},
		"put a part":        u.partOf(9, 1, etagOf(9)),
		"replace a part":    replaced,
		"complete":          u.completeOf(1, 2, 3),
		"complete in part":  u.completeOf(2, 3),
		"complete again":    again,
		"abort":             {Abort: &object.Abort{Bucket: "bucket", Key: "k", Upload: u.upload}},
		"put a body":        putBody("new", u.body(1)),
		"delete a manifest": {Delete: &object.Delete{Bucket: "bucket", Objects: []object.DeleteObject{{Key: "copy", Version: &copied.ID}}}},
		"copy a manifest":   {Copy: &object.Copy{SourceBucket: "bucket", SourceKey: "k", SourceSeq: whole.Seq, Bucket: "bucket", Key: "l"}},
		"open a lease":      {OpenLease: &object.OpenLease{Member: 1}},
		"close a lease":     {CloseLease: &object.CloseLease{ID: u.lease}},
		"close leases":      {CloseLeases: &object.CloseLeases{Member: 1, Boots: 9}},
		"make a key":        setKey(object.AccessKey{ID: "AK2", Sealed: []byte{1}}, true),
		"replace a key":     setKey(object.AccessKey{ID: "AK1", Sealed: []byte{1}}, false),
		"delete a key":      {DeleteKey: &object.DeleteKey{ID: "AK1"}},
		"reap":              {Reap: &object.Reap{}},
		"delete inline":     {Delete: &object.Delete{Bucket: "bucket", Objects: []object.DeleteObject{{Key: "inline"}}}},
	} {
		everyUse(t, u.world, what, func(rows object.Rows) error {
			_, err := object.Apply(rows, u.index+1, func(object.ExtentID) []uint64 { return u.placed }, c)
			return err
		})
	}
}

func TestAFailureOfTheStoreIsNeverTakenForAnAnswerToReads(t *testing.T) {
	u, whole, _ := failureWorld(t)
	b := u.bucket("bucket")
	open, err := u.view().Upload(b, "k", u.upload)
	if err != nil {
		t.Fatal(err)
	}
	body := object.BodyID{Lease: u.lease, N: u.bodies}
	for what, read := range map[string]func(*object.View) error{
		"a body":     func(v *object.View) error { _, err := v.Body(body); return err },
		"parts":      func(v *object.View) error { _, err := v.Parts(whole); return err },
		"an upload":  func(v *object.View) error { _, err := v.Upload(b, "k", u.upload); return err },
		"its parts":  func(v *object.View) error { _, _, err := v.UploadParts(open, 0, 2); return err },
		"uploads":    func(v *object.View) error { _, err := v.Uploads(ctx, b, object.ListRequest{Limit: 2}); return err },
		"leases":     func(v *object.View) error { _, err := v.Leases(); return err },
		"a key":      func(v *object.View) error { _, err := v.AccessKey("AK1"); return err },
		"keys":       func(v *object.View) error { _, err := v.AccessKeys(); return err },
		"bodies":     func(v *object.View) error { return v.Bodies(object.BodyID{}, func(*object.Body) bool { return true }) },
		"the wanted": func(v *object.View) error { _, err := v.Wanted(body); return err },
		"garbage":    func(v *object.View) error { _, err := v.Garbage(); return err },
	} {
		everyUse(t, u.world, "reading "+what, func(rows object.Rows) error { return read(object.NewView(rows, nil)) })
	}
}

// TestRowsThatAreDamagedAreRefused takes away or spoils each row in turn: what needs it must say
// so, and never answer without it.
func TestRowsThatAreDamagedAreRefused(t *testing.T) {
	u, whole, _ := failureWorld(t)
	manifest := append([]byte{'m'}, make([]byte, 12)...)
	for i := range 8 {
		manifest[1+i] = byte(whole.Body.Lease >> (56 - 8*i))
	}
	for what, c := range map[string]struct {
		row   []byte
		value []byte // nil takes it away
		do    func() error
	}{
		"a manifest's count is gone": {manifest, nil, func() error {
			_, err := u.tryDelete("k", &whole.ID)
			return err
		}},
		"a manifest's parts are gone": {append(append([]byte{}, manifest...), 0, 1), nil, func() error {
			_, err := u.view().Parts(whole)
			return err
		}},
		"a manifest's parts are no parts": {append(append([]byte{}, manifest...), 0, 1), []byte{1, 0xff}, func() error {
			_, err := u.view().Parts(whole)
			return err
		}},
		"a manifest is of a newer version": {append(append([]byte{}, manifest...), 0, 1), []byte{2}, func() error {
			_, err := u.view().Parts(whole)
			return err
		}},
	} {
		was, found, err := u.rows.Get(c.row)
		if err != nil || !found {
			t.Fatalf("%s: the row is not there: %v", what, err)
		}
		if c.value == nil {
			err = u.rows.Delete(c.row)
		} else {
			err = u.rows.Set(c.row, c.value)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := c.do(); !errors.Is(err, record.ErrMalformed) && !errors.Is(err, record.ErrNewer) {
			t.Errorf("%s: %v", what, err)
		}
		if err := u.rows.Set(c.row, was); err != nil {
			t.Fatal(err)
		}
	}
}

// tryDelete applies a delete to rows of its own.
func (u *uploader) tryDelete(key string, id *object.VersionID) (*object.Result, error) {
	return object.Apply(u.rows.Clone(), u.index+1, nil, &object.Change{Delete: &object.Delete{
		Bucket: "bucket", Objects: []object.DeleteObject{{Key: key, Version: id}},
	}})
}
