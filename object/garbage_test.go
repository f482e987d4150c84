package object_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"chainfire/object"
)

func TestPartsThatAreNotNamedAreLetGo(t *testing.T) {
	u := newUploader(t, object.VersioningOff, object.Checksum{})
	for n := 1; n <= 4; n++ {
		u.part(n, 5*mib)
	}
	v := u.must(u.completeOf(2, 4)).Version
	if b := u.bucket("bucket"); b.Bytes != 10*mib {
		t.Errorf("the bucket has %d bytes", b.Bytes)
	}
	if n := u.reap(); n != 1 || u.countBodies() != 2 {
		t.Errorf("after %d changes that reap there are %d bodies, want 2 after 1", n, u.countBodies())
	}
	if p := u.parts(v); len(p) != 2 || p[0].Number != 2 || p[1].Number != 4 {
		t.Errorf("the parts are %+v", p)
	}
}

// TestACompletedUploadIsCompletedAgain: a writer that had no answer asks again, and is not told
// that its own object is in its way.
func TestACompletedUploadIsCompletedAgain(t *testing.T) {
	u := newUploader(t, object.VersioningEnabled, object.Checksum{})
	u.part(1, 5*mib)
	u.part(2, 5*mib)
	c := u.completeOf(1, 2)
	c.Complete.If.IfNoneMatch = "*"
	v := u.must(c).Version
	u.put("bucket", "k", "", 1)
	again := u.must(c).Version
	if d := cmp.Diff(v, again); d != "" {
		t.Errorf("completed again it is another: %s", d)
	}
	u.refused(u.completeOf(1), object.ErrNoSuchUpload)
	u.refused(u.completeOf(2), object.ErrNoSuchUpload)
	u.refused(u.completeOf(1, 2, 3), object.ErrNoSuchUpload)
	other := u.completeOf(1, 2)
	other.Complete.Key = "l"
	u.refused(other, object.ErrNoSuchUpload)
	copied := u.must(&object.Change{Copy: &object.Copy{
		SourceBucket: "bucket", SourceKey: "k", SourceSeq: v.Seq, Bucket: "bucket", Key: "copy", ETag: v.ETag,
	}}).Version
	if d := u.deleteOne("bucket", false, object.DeleteObject{Key: "k", Version: &v.ID}); !d.Found {
		t.Fatalf("the version is not deleted: %+v", d)
	}
	u.refused(c, object.ErrNoSuchUpload) // the copy is not what it became
	if p := u.parts(copied); len(p) != 2 || u.reap() != 0 {
		t.Errorf("the copy has the parts %+v", p)
	}
	u.deleteOne("bucket", false, object.DeleteObject{Key: "copy", Version: &copied.ID})
	if n := u.reap(); n != 1 || u.countBodies() != 0 {
		t.Errorf("after the copy is gone too, and %d changes that reap, there are %d bodies", n, u.countBodies())
	}
}

// TestGarbageIsReapedSomeAtATime makes an object of as many parts as there can be, and an upload
// that is aborted with as many.
func TestGarbageIsReapedSomeAtATime(t *testing.T) {
	if testing.Short() {
		t.Skip("uploads as many parts as there can be, twice")
	}
	u := newUploader(t, object.VersioningOff, object.Checksum{Algorithm: object.ChecksumCRC64NVME})
	upload := func() {
		for n := 1; n <= object.MaxParts; n++ {
			c := u.partOf(n, object.MinPartSize, etagOf(n))
			c.PutPart.Checksum = object.Checksum{Algorithm: object.ChecksumCRC64NVME, Value: raw(t, etagOf(n)[16:])}
			u.quick(c)
		}
	}
	upload()
	var numbers []int
	for n := range object.MaxParts {
		numbers = append(numbers, n+1)
	}
	v := u.quick(u.completeOf(numbers...)).Version
	parts := u.parts(v)
	if len(parts) != object.MaxParts || !strings.HasSuffix(v.ETag, "-10000") {
		t.Fatalf("the version is %+v, with %d parts", v, len(parts))
	}
	for i, p := range parts {
		if p.Number != i+1 || p.ETag != etagOf(i+1) {
			t.Fatalf("part %d is %+v", i+1, p)
		}
	}
	u.upload = u.begin(object.Checksum{Algorithm: object.ChecksumCRC64NVME})
	upload()
	u.quick(&object.Change{Abort: &object.Abort{Bucket: "bucket", Key: "k", Upload: u.upload}})
	u.quick(&object.Change{Delete: &object.Delete{Bucket: "bucket", Objects: []object.DeleteObject{{Key: "k"}}}})
	before := u.countBodies()
	if before != 2*object.MaxParts {
		t.Fatalf("there are %d bodies", before)
	}
	for {
		more, err := u.view().Garbage()
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
		u.quick(&object.Change{Reap: &object.Reap{}})
		after := u.countBodies()
		if gone := before - after; gone < 1 || gone > object.MaxReleased {
			t.Fatalf("one change let %d bodies go", gone)
		}
		if wrongs := object.Recount(u.rows); len(wrongs) > 0 {
			t.Fatalf("in the middle: %q", wrongs)
		}
		before = after
	}
	if before != 0 {
		t.Errorf("%d bodies are left", before)
	}
}
