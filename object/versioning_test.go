package object_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"chainfire/object"
)

var ctx = context.Background()

// versions describes the versions of a key, newest first: "null" or "id", and "marker" for a
// delete marker.
func (w *world) versions(bucket, key string) []string {
	w.t.Helper()
	page, err := w.view().List(ctx, w.bucket(bucket), object.ListRequest{Prefix: key, Versions: true, Limit: object.MaxPage})
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	var l []string
	for i, v := range page.Entries {
		if v.Latest != (i == 0) {
			w.t.Errorf("version %d of key %s says %v to being the latest", i, key, v.Latest)
		}
		s := "id"
		switch v.ID {
		case object.Null:
			s = "null"
		case object.VersionID(v.Seq):
		default:
			w.t.Errorf("the id of a version is %d, and its Seq %d", v.ID, v.Seq)
		}
		if v.DeleteMarker {
			s += " marker"
		} else {
			s += " " + v.ETag
		}
		l = append(l, s)
	}
	return l
}

// step is a put of an ETag to the one key under a versioning, or with "" a delete of it.
type step struct {
	in   object.Versioning
	etag string
}

// steps takes versionings and ETags in turn.
func steps(l ...any) []step {
	var out []step
	for i := 0; i < len(l); i += 2 {
		out = append(out, step{in: l[i].(object.Versioning), etag: l[i+1].(string)})
	}
	return out
}

func TestVersioningSaysWhatBecomesOfWhatIsReplaced(t *testing.T) {
	off, enabled, suspended := object.VersioningOff, object.VersioningEnabled, object.VersioningSuspended
	for _, c := range []struct {
		name  string
		steps []step
		want  []string
	}{
		{name: "off: a put replaces", steps: steps(off, "a", off, "b"), want: []string{"null b"}},
		{name: "off: a delete leaves nothing", steps: steps(off, "a", off, ""), want: nil},
		{name: "enabled: every put is a version", steps: steps(enabled, "a", enabled, "b"), want: []string{"id b", "id a"}},
		{name: "enabled: a delete covers", steps: steps(enabled, "a", enabled, "", enabled, ""), want: []string{"id marker", "id marker", "id a"}},
		{name: "enabled: what was there before is the null version", steps: steps(off, "a", enabled, "b"), want: []string{"id b", "null a"}},
		{name: "suspended: a put replaces the null version alone", steps: steps(off, "a", enabled, "b", suspended, "c"), want: []string{"null c", "id b"}},
		{name: "suspended: a delete replaces the null version by a marker", steps: steps(off, "a", enabled, "b", suspended, ""), want: []string{"null marker", "id b"}},
		{name: "suspended: a put replaces a null marker", steps: steps(enabled, "a", suspended, "", suspended, "b"), want: []string{"null b", "id a"}},
		{name: "suspended: a delete of nothing makes a marker", steps: steps(suspended, ""), want: []string{"null marker"}},
		{name: "enabled again: the null version stays", steps: steps(suspended, "a", enabled, "b", suspended, "c", enabled, "d"), want: []string{"id d", "null c", "id b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.create("bucket", off)
			for _, s := range c.steps {
				if s.in != w.bucket("bucket").Versioning {
					w.must(&object.Change{SetBucket: &object.SetBucket{Name: "bucket", Versioning: &s.in}})
				}
				if s.etag == "" {
					w.deleteOne("bucket", false, object.DeleteObject{Key: "k"})
				} else {
					w.put("bucket", "k", s.etag, 3)
				}
			}
			if got := w.versions("bucket", "k"); !slices.Equal(got, c.want) {
				t.Errorf("the versions are %q, want %q", got, c.want)
			}
			objects := int64(0)
			for _, v := range c.want {
				if !strings.HasSuffix(v, "marker") {
					objects++
				}
			}
			if b := w.bucket("bucket"); b.Objects != objects || b.Bytes != 3*objects {
				t.Errorf("the bucket counts %d objects and %d bytes, and has %d of 3 bytes", b.Objects, b.Bytes, objects)
			}
		})
	}
}

func TestDeleteAnswersWhatItDid(t *testing.T) {
	w := newWorld(t)
	w.create("off", object.VersioningOff)
	w.create("enabled", object.VersioningEnabled)
	w.create("suspended", object.VersioningSuspended)
	w.put("off", "k", "a", 1)
	first := w.put("enabled", "k", "a", 1)
	w.put("suspended", "k", "a", 1)
	check := func(what string, got, want object.Deleted) {
		t.Helper()
		if got != want {
			t.Errorf("%s: the answer is %+v, want %+v", what, got, want)
		}
	}
	one := func(bucket, key string, id *object.VersionID) object.Deleted {
		return w.deleteOne(bucket, false, object.DeleteObject{Key: key, Version: id})
	}
	check("off", one("off", "k", nil), object.Deleted{Found: true})
	check("off, not there", one("off", "k", nil), object.Deleted{})
	check("off, the null version that is not there", one("off", "k", ptr(object.Null)), object.Deleted{})

	marker := one("enabled", "k", nil)
	check("enabled", marker, object.Deleted{Found: true, Marker: true, Version: marker.Version})
	if marker.Version <= first.ID {
		t.Errorf("the marker is version %d, and the version that it covers %d", marker.Version, first.ID)
	}
	again := one("enabled", "k", nil)
	check("on, covered", again, object.Deleted{Marker: true, Version: again.Version})
	check("on, a version", one("enabled", "k", &first.ID), object.Deleted{Found: true, Version: first.ID})
	check("on, a version that is not there", one("enabled", "k", &first.ID), object.Deleted{})
	check("on, a marker", one("enabled", "k", &marker.Version), object.Deleted{Found: true, Marker: true, Version: marker.Version})

	check("suspended", one("suspended", "k", nil), object.Deleted{Found: true, Marker: true})
	check("suspended, the null marker", one("suspended", "k", ptr(object.Null)), object.Deleted{Found: true, Marker: true})
	check("suspended, the null marker that is gone", one("suspended", "k", ptr(object.Null)), object.Deleted{})
	w.refused(&object.Change{Delete: &object.Delete{Bucket: "none"}}, object.ErrNoSuchBucket)
	w.refused(&object.Change{Delete: &object.Delete{Bucket: "enabled", Objects: make([]object.DeleteObject, object.MaxDeletes+1)}}, object.ErrInvalid)
}

func TestTheNewestVersionIsWhatAKeyHas(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningEnabled)
	first := w.put("bucket", "k", "a", 1)
	second := w.put("bucket", "k", "b", 2)
	b := w.bucket("bucket")
	read := func(key string, id *object.VersionID, etag string, latest bool) {
		t.Helper()
		v, err := w.view().Version(b, key, id)
		if err != nil {
			t.Fatal(err)
		}
		if v.ETag != etag || v.Latest != latest || v.DeleteMarker != (etag == "") || v.Modified != w.now {
			t.Errorf("read %+v, want ETag %q and latest %v", v, etag, latest)
		}
	}
	read("k", nil, "b", true)
	read("k", &second.ID, "b", true)
	read("k", &first.ID, "a", false)
	marker := w.deleteOne("bucket", false, object.DeleteObject{Key: "k"})
	read("k", nil, "", true)
	read("k", &second.ID, "b", false)
	w.deleteOne("bucket", false, object.DeleteObject{Key: "k", Version: &marker.Version})
	read("k", nil, "b", true)
	w.deleteOne("bucket", false, object.DeleteObject{Key: "k", Version: &second.ID})
	read("k", nil, "a", true)

	for _, c := range []struct {
		key  string
		id   *object.VersionID
		want error
	}{
		{key: "none", want: object.ErrNoSuchKey},
		{key: "none", id: &first.ID, want: object.ErrNoSuchVersion},
		{key: "k", id: &second.ID, want: object.ErrNoSuchVersion},
		{key: "k", id: ptr(object.Null), want: object.ErrNoSuchVersion},
	} {
		if _, err := w.view().Version(b, c.key, c.id); !errors.Is(err, c.want) {
			t.Errorf("key %s: %v, want %v", c.key, err, c.want)
		}
	}
}

func TestANullVersionHasNoOtherID(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningOff)
	v := w.put("bucket", "k", "a", 1)
	if v.ID != object.Null || v.Seq == 0 {
		t.Fatalf("the null version is %+v", v)
	}
	id := object.VersionID(v.Seq)
	if _, err := w.view().Version(w.bucket("bucket"), "k", &id); !errors.Is(err, object.ErrNoSuchVersion) {
		t.Errorf("read by its Seq: %v", err)
	}
	if d := w.deleteOne("bucket", false, object.DeleteObject{Key: "k", Version: &id}); d.Found {
		t.Error("it was deleted by its Seq")
	}
}

// TestLifecycleDeletesOnlyWhatItSaw: between its look and the change, another may have written.
func TestLifecycleDeletesOnlyWhatItSaw(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningEnabled)
	old := w.put("bucket", "k", "a", 1)
	now := w.put("bucket", "k", "b", 1)
	expire := func(o object.DeleteObject) object.Deleted {
		t.Helper()
		o.Key, o.Expired = "k", true
		before := w.dump()
		d := w.deleteOne("bucket", false, o)
		if changed := !slices.Equal(before, w.dump()); changed != (d.Found || d.Marker) {
			t.Errorf("the answer is %+v, and rows changed: %v", d, changed)
		}
		return d
	}
	if d := expire(object.DeleteObject{Seq: old.Seq}); d.Marker {
		t.Error("a key was expired for a version that is not its newest")
	}
	if d := expire(object.DeleteObject{Version: &old.ID, Seq: old.Seq + 1}); d.Found {
		t.Error("a version was expired for another")
	}
	if d := expire(object.DeleteObject{Version: &old.ID, Seq: old.Seq}); !d.Found {
		t.Error("a version was not expired")
	}
	if d := expire(object.DeleteObject{Version: &now.ID, Seq: now.Seq}); d.Found {
		t.Error("the newest version was expired for good")
	}
	marker := expire(object.DeleteObject{Seq: now.Seq})
	if !marker.Marker || !marker.Found {
		t.Errorf("a key was not expired: %+v", marker)
	}
	if d := expire(object.DeleteObject{Seq: uint64(marker.Version)}); d.Marker {
		t.Error("a delete marker was covered with another")
	}
	if d := expire(object.DeleteObject{Version: &marker.Version, Seq: uint64(marker.Version)}); !d.Found {
		t.Error("a delete marker was not expired")
	}
}

func TestCopyGivesTheBytesAnotherVersion(t *testing.T) {
	w := newWorld(t)
	w.create("from", object.VersioningOff)
	w.create("copies", object.VersioningEnabled)
	w.must(&object.Change{Put: &object.Put{
		Bucket: "from", Key: "k", ETag: "a", Body: inline(7),
		Attributes: object.Attributes{ContentType: "text/plain"},
	}})
	source, err := w.view().Version(w.bucket("from"), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	w.now += 5000
	c := &object.Copy{
		SourceBucket: "from", SourceKey: "k", SourceSeq: source.Seq, Bucket: "copies", Key: "l",
		ETag: source.ETag, Attributes: object.Attributes{CacheControl: "no-store"},
	}
	v := w.must(&object.Change{Copy: c}).Version
	if v.Key != "l" || v.Size != 7 || v.Body != source.Body || v.ETag != "a" || v.ContentType != "" || v.CacheControl != "no-store" || v.Modified != w.now {
		t.Errorf("the copy is %+v", v)
	}
	if b := w.bucket("copies"); b.Bytes != 7 || b.Objects != 1 {
		t.Errorf("the bucket of the copy is %+v", b)
	}

	// Onto itself, which is how attributes are changed: the source is what the copy replaces.
	c.Bucket, c.Key = "from", "k"
	w.must(&object.Change{Copy: c})
	if b := w.bucket("from"); b.Bytes != 7 || b.Objects != 1 {
		t.Errorf("the bucket of a copy onto itself is %+v", b)
	}
	w.refused(&object.Change{Copy: c}, object.ErrSourceChanged)
	c.SourceBucket = "none"
	w.refused(&object.Change{Copy: c}, object.ErrSourceChanged)
	w.create("other", object.VersioningOff)
	c.SourceBucket = "other"
	w.refused(&object.Change{Copy: c}, object.ErrSourceChanged)
	marker := w.deleteOne("copies", false, object.DeleteObject{Key: "l"})
	c.SourceBucket, c.SourceKey, c.SourceSeq = "copies", "l", uint64(marker.Version)
	w.refused(&object.Change{Copy: c}, object.ErrSourceChanged)
	c.SourceSeq, c.Bucket = v.Seq, "none"
	w.refused(&object.Change{Copy: c}, object.ErrNoSuchBucket)
}
