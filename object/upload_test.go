package object_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"chainfire/object"
)

const mib = 1 << 20

// bodyOf is a body of extents of size bytes, held by members.
func bodyOf(lease uint64, n uint32, size int64, members ...uint64) object.Body {
	b := object.Body{ID: object.BodyID{Lease: lease, N: n}, Size: size}
	for left := size; left > 0; left -= object.MaxExtent {
		b.Extents = append(b.Extents, object.Extent{
			Size: uint32(min(left, object.MaxExtent)), CRC: uint32(left), Holders: members,
		})
	}
	return b
}

// uploader puts parts under one lease into one upload of key k of a bucket.
type uploader struct {
	*world
	lease  uint64
	bodies uint32
	upload uint64
}

func newUploader(t tester, v object.Versioning, asked object.Checksum) *uploader {
	u := &uploader{world: newWorld(t)}
	u.create("bucket", v)
	u.lease = u.must(&object.Change{OpenLease: &object.OpenLease{Member: 1, Boots: 1}}).Lease
	u.upload = u.begin(asked)
	return u
}

func (u *uploader) begin(asked object.Checksum) uint64 {
	u.t.Helper()
	return u.must(&object.Change{CreateUpload: &object.CreateUpload{
		Bucket: "bucket", Key: "k", Owner: "AK1", Checksum: asked,
		Attributes: object.Attributes{ContentType: "text/plain", Tags: []object.Pair{{Name: "t", Value: "1"}}},
	}}).Upload
}

// etagOf is an ETag of a part for tests to which its bytes are nothing.
func etagOf(n int) string { return fmt.Sprintf("%032x", n) }

// body is a new body of extents on two members of three, or of no bytes.
func (u *uploader) body(size int64) object.Body {
	if size == 0 {
		return object.Body{}
	}
	u.bodies++
	return bodyOf(u.lease, u.bodies, size, 1, 3)
}

func (u *uploader) partOf(number int, size int64, etag string) *object.Change {
	return &object.Change{PutPart: &object.PutPart{
		Bucket: "bucket", Key: "k", Upload: u.upload, Number: number, ETag: etag, Body: u.body(size),
	}}
}

func (u *uploader) part(number int, size int64) *object.Part {
	u.t.Helper()
	return u.must(u.partOf(number, size, etagOf(number))).Part
}

// completeOf completes with the parts of these numbers.
func (u *uploader) completeOf(numbers ...int) *object.Change {
	c := &object.Complete{Bucket: "bucket", Key: "k", Upload: u.upload}
	for _, n := range numbers {
		c.Parts = append(c.Parts, object.CompletePart{Number: n, ETag: etagOf(n)})
	}
	return &object.Change{Complete: c}
}

func (u *uploader) parts(v *object.Version) []object.Part {
	u.t.Helper()
	parts, err := u.view().Parts(v)
	if err != nil {
		u.t.Fatalf("%v", err)
	}
	return parts
}

// reap proposes Reap as long as there is garbage, and returns how often.
func (w *world) reap() int {
	w.t.Helper()
	for n := 0; ; n++ {
		more, err := w.view().Garbage()
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		if !more {
			return n
		}
		w.must(&object.Change{Reap: &object.Reap{}})
	}
}

// countBodies counts the bodies of extents.
func (w *world) countBodies() int {
	w.t.Helper()
	n := 0
	if err := w.view().Bodies(object.BodyID{}, func(*object.Body) bool { n++; return true }); err != nil {
		w.t.Fatalf("%v", err)
	}
	return n
}

// known are the checksums, by other programs, of the three parts that are 5 MiB of "a", 5 MiB of
// "b" and "the end", and of them as one object.
var known = []struct {
	alg             object.ChecksumAlgorithm
	parts           [3]string
	composite, full string
}{
	{object.ChecksumCRC32, [3]string{"affcc16f", "c86e50bc", "6fb11bd1"}, "b281ef35", "3a9b3307"},
	{object.ChecksumCRC32C, [3]string{"5a9b8e7a", "26d301b3", "c2b26092"}, "2f3fed32", "934a7578"},
	{
		object.ChecksumCRC64NVME,
		[3]string{"3dbbcb1245944a08", "d727969c19009854", "ffd1e3dd1eed5a17"},
		"a51ea92b53b71ac2", "6e603603dcb191c3",
	},
	{
		object.ChecksumSHA1,
		[3]string{
			"61b8d6600ac94d912874f569a9341120f680c9f8", "dec1f66a982206227726e99ba9e8106368b3d29e",
			"444978030aec42d872041bc8b151fb92704c60dc",
		},
		"75aefb125929935bdafb5a934e9339cffce678d2", "",
	},
	{
		object.ChecksumSHA256,
		[3]string{
			"a29968fad2e782aa9f2040a35f05adb97ed8979eb1f572c8c8ea78637e275f3c",
			"a37b6bc45a8dbe582dd575143facb838ef5a1ae26237a26d382c501eddb75c6f",
			"92eb9cd081f0ec170823692b9af05567b358b15dc1be2bcf6130b6dc7cedcc28",
		},
		"41c78c1877a94b2f7c8e0683e066e238670e569d182d28e46000763cd11ef13f", "",
	},
}

// knownMD5 are the ETags of the same parts; that of the object is theirs.
var knownMD5 = [3]string{"79b281060d337b9b2b84ccf390adcf74", "74843a3ab193a389bced899402d99d5f", "406e28ff325208fc83b4dca7e88bff06"}

const knownETag = "c96186714903593d6244afade342cc45-3"

func raw(t tester, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return b
}

func TestTheETagAndTheChecksumOfAnObjectComeFromItsParts(t *testing.T) {
	for _, k := range known {
		for typ, want := range map[object.ChecksumType]string{object.ChecksumComposite: k.composite, object.ChecksumFullObject: k.full} {
			if want == "" {
				continue // not to be had of the parts
			}
			t.Run(fmt.Sprintf("%s/%d", k.alg, typ), func(t *testing.T) {
				asked := object.Checksum{Algorithm: k.alg, Type: typ}
				u := newUploader(t, object.VersioningOff, asked)
				complete := &object.Complete{Bucket: "bucket", Key: "k", Upload: u.upload, Size: ptr(int64(10*mib + 7))}
				for i, size := range []int64{5 * mib, 5 * mib, 7} {
					c := u.partOf(i+1, size, knownMD5[i])
					c.PutPart.Checksum = object.Checksum{Algorithm: k.alg, Value: raw(t, k.parts[i])}
					u.must(c)
					complete.Parts = append(complete.Parts, object.CompletePart{Number: i + 1, ETag: knownMD5[i], Checksum: c.PutPart.Checksum})
				}
				given := asked
				given.Value = slices.Repeat([]byte{1}, k.alg.Size())
				complete.Checksum = given
				u.refused(&object.Change{Complete: complete}, object.ErrBadDigest)
				complete.Checksum.Type = 1 - typ
				u.refused(&object.Change{Complete: complete}, object.ErrInvalid)
				given.Value = raw(t, want)
				complete.Checksum = given
				v := u.must(&object.Change{Complete: complete}).Version
				if v.ETag != knownETag || !cmp.Equal(v.Checksum, given) || v.Size != 10*mib+7 || v.Parts != 3 {
					t.Errorf("the version is %+v, want ETag %s, checksum %+v", v, knownETag, given)
				}
				if p := u.parts(v); len(p) != 3 || p[2].Size != 7 || p[2].ETag != knownMD5[2] || !cmp.Equal(p[2].Checksum.Value, raw(t, k.parts[2])) {
					t.Errorf("the parts are %+v", p)
				}
			})
		}
	}
}

func TestAPartHasTheChecksumThatItsUploadAsksFor(t *testing.T) {
	u := newUploader(t, object.VersioningOff, object.Checksum{Algorithm: object.ChecksumCRC32, Type: object.ChecksumFullObject})
	c := u.partOf(1, 1, etagOf(1))
	u.refused(c, object.ErrInvalid)
	c.PutPart.Checksum = object.Checksum{Algorithm: object.ChecksumCRC32C, Value: make([]byte, 4)}
	u.refused(c, object.ErrInvalid)
	c.PutPart.Checksum = object.Checksum{Algorithm: object.ChecksumCRC32, Value: make([]byte, 3)}
	u.refused(c, object.ErrInvalid)
	c.PutPart.Checksum.Value = make([]byte, 4)
	u.must(c)
	u.refused(&object.Change{CreateUpload: &object.CreateUpload{
		Bucket: "bucket", Key: "k", Checksum: object.Checksum{Algorithm: object.ChecksumSHA1},
	}}, object.ErrInvalid)
	none := newUploader(t, object.VersioningOff, object.Checksum{})
	c = none.partOf(1, 1, etagOf(1))
	c.PutPart.Checksum = object.Checksum{Algorithm: object.ChecksumSHA1, Value: make([]byte, 20)}
	none.must(c) // what was not asked for is kept with the part
	if v := none.must(none.completeOf(1)).Version; v.Checksum.Algorithm != object.ChecksumNone {
		t.Errorf("the version has the checksum %+v that nobody asked for", v.Checksum)
	}
}

func TestAnUploadBecomesAVersion(t *testing.T) {
	u := newUploader(t, object.VersioningOff, object.Checksum{})
	u.part(3, 5*mib)
	u.now++
	u.part(7, 6*mib)
	u.part(9, 0)
	if b := u.bucket("bucket"); b.Bytes != 11*mib || b.Objects != 0 {
		t.Errorf("before, the bucket has %d bytes and %d objects", b.Bytes, b.Objects)
	}
	u.now++
	v := u.must(u.completeOf(3, 7, 9)).Version
	want := &object.Version{
		Key: "k", Modified: u.now, Size: 11 * mib, Parts: 3, Latest: true, Upload: u.upload, Seq: v.Seq, Body: v.Body, ETag: v.ETag,
		Attributes: object.Attributes{ContentType: "text/plain", Tags: []object.Pair{{Name: "t", Value: "1"}}},
	}
	got, err := u.view().Version(u.bucket("bucket"), "k", nil)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v, the version is not what was uploaded: %s", err, d)
	}
	parts := u.parts(v)
	for i, want := range []object.Part{
		{Number: 3, Size: 5 * mib, Modified: u.now - 2, ETag: etagOf(3)},
		{Number: 7, Size: 6 * mib, Modified: u.now - 1, ETag: etagOf(7)},
		{Number: 9, Size: 0, Modified: u.now - 1, ETag: etagOf(9)},
	} {
		if d := cmp.Diff(want, parts[i], cmpopts.IgnoreFields(object.Part{}, "Body")); d != "" {
			t.Errorf("part %d: %s", i, d)
		}
		b, err := u.view().Body(parts[i].Body)
		if err != nil || b.Size != want.Size {
			t.Errorf("the body of part %d is %+v, %v", i, b, err)
		}
	}
	if b := u.bucket("bucket"); b.Bytes != 11*mib || b.Objects != 1 {
		t.Errorf("the bucket has %d bytes and %d objects", b.Bytes, b.Objects)
	}
	if _, err := u.view().Upload(u.bucket("bucket"), "k", u.upload); !errors.Is(err, object.ErrNoSuchUpload) {
		t.Errorf("the upload afterwards: %v", err)
	}
	if n := u.reap(); n != 0 {
		t.Errorf("there was garbage for %d changes", n)
	}
}

func TestCompleteRefusesPartsThatAreNotAsNamed(t *testing.T) {
	for _, c := range []struct {
		name    string
		numbers []int
		f       func(*object.Complete)
		want    error
	}{
		{name: "none", want: object.ErrInvalidPart},
		{name: "one that is not there", numbers: []int{1, 2, 4}, want: object.ErrInvalidPart},
		{name: "one before all", numbers: []int{1, 2}, f: func(c *object.Complete) { c.Parts[0].Number = 0 }, want: object.ErrInvalidPart},
		{name: "one of another ETag", numbers: []int{1}, f: func(c *object.Complete) { c.Parts[0].ETag = etagOf(2) }, want: object.ErrInvalidPart},
		{name: "one of another checksum", numbers: []int{1}, f: func(c *object.Complete) {
			c.Parts[0].Checksum = object.Checksum{Algorithm: object.ChecksumCRC32, Value: []byte{1, 1, 1, 1}}
		}, want: object.ErrInvalidPart},
		{name: "falling numbers", numbers: []int{2, 1}, want: object.ErrInvalidPartOrder},
		{name: "the same number twice", numbers: []int{2, 2}, want: object.ErrInvalidPartOrder},
		{name: "one too small that is not the last", numbers: []int{1, 3, 5}, want: object.ErrPartTooSmall},
		{name: "another size", numbers: []int{1}, f: func(c *object.Complete) { c.Size = ptr(int64(1)) }, want: object.ErrInvalid},
		{name: "a checksum that the upload did not ask for", numbers: []int{1}, f: func(c *object.Complete) {
			c.Checksum = object.Checksum{Algorithm: object.ChecksumCRC32, Value: []byte{1, 1, 1, 1}}
		}, want: object.ErrInvalid},
		{name: "an upload of another key", numbers: []int{1}, f: func(c *object.Complete) { c.Key = "l" }, want: object.ErrNoSuchUpload},
		{name: "an upload that never was", numbers: []int{1}, f: func(c *object.Complete) { c.Upload++ }, want: object.ErrNoSuchUpload},
		{name: "no bucket", numbers: []int{1}, f: func(c *object.Complete) { c.Bucket = "none" }, want: object.ErrNoSuchBucket},
		{name: "a condition", numbers: []int{1}, f: func(c *object.Complete) { c.If.IfMatch = "*" }, want: object.ErrNoSuchKey},
		{name: "the last may be small", numbers: []int{1, 2, 3}},
		{name: "the only one may be small", numbers: []int{3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUploader(t, object.VersioningOff, object.Checksum{})
			for number, size := range map[int]int64{1: object.MinPartSize, 2: object.MinPartSize, 3: object.MinPartSize - 1, 5: 1} {
				u.part(number, size)
			}
			change := u.completeOf(c.numbers...)
			if c.f != nil {
				c.f(change.Complete)
			}
			if c.want != nil {
				u.refused(change, c.want)
				return
			}
			u.must(change)
		})
	}
}

func TestAnObjectIsNotLargerThanItMayBe(t *testing.T) {
	if testing.Short() {
		t.Skip("uploads as many parts of the greatest size as there can be")
	}
	u := newUploader(t, object.VersioningOff, object.Checksum{})
	var numbers []int
	for n := range 1024 + 1 { // of 5 GiB
		numbers = append(numbers, n+1)
		b := object.Body{ID: object.BodyID{Lease: u.lease, N: uint32(n)}, Size: object.MaxPartSize}
		b.Extents = slices.Repeat([]object.Extent{{Size: object.MaxExtent, Holders: []uint64{1}}}, object.MaxPartSize/object.MaxExtent)
		u.quick(&object.Change{PutPart: &object.PutPart{
			Bucket: "bucket", Key: "k", Upload: u.upload, Number: n + 1, ETag: etagOf(n + 1), Body: b,
		}})
	}
	u.index++
	_, err := object.Apply(u.rows, u.index, nil, u.completeOf(numbers...))
	if !errors.Is(err, object.ErrTooLarge) {
		t.Errorf("one part too many: %v", err)
	}
	if v := u.quick(u.completeOf(numbers[:1024]...)).Version; v.Size != object.MaxObjectSize {
		t.Errorf("the largest object has %d bytes", v.Size)
	}
}

func TestAPartIsReplaced(t *testing.T) {
	u := newUploader(t, object.VersioningOff, object.Checksum{})
	u.part(1, 5*mib)
	u.must(u.partOf(1, 2*mib, etagOf(9)))
	u.must(u.partOf(1, 3*mib, etagOf(8)))
	if b := u.bucket("bucket"); b.Bytes != 3*mib || u.countBodies() != 1 {
		t.Errorf("there are %d bytes and %d bodies", b.Bytes, u.countBodies())
	}
	u.refused(u.completeOf(1), object.ErrInvalidPart) // the ETag of the first
	c := u.completeOf(1)
	c.Complete.Parts[0].ETag = etagOf(8)
	if v := u.must(c).Version; v.Size != 3*mib {
		t.Errorf("the version is %+v", v)
	}
}

func TestPutPartIsRefusedWhole(t *testing.T) {
	u := newUploader(t, object.VersioningOff, object.Checksum{})
	u.part(1, 5*mib)
	for _, c := range []struct {
		name string
		f    func(*object.PutPart)
		want error
	}{
		{"no bucket", func(p *object.PutPart) { p.Bucket = "none" }, object.ErrNoSuchBucket},
		{"another key", func(p *object.PutPart) { p.Key = "l" }, object.ErrNoSuchUpload},
		{"another upload", func(p *object.PutPart) { p.Upload++ }, object.ErrNoSuchUpload},
		{"part 0", func(p *object.PutPart) { p.Number = 0 }, object.ErrInvalid},
		{"part 10001", func(p *object.PutPart) { p.Number = 10001 }, object.ErrInvalid},
		{"no MD5", func(p *object.PutPart) { p.ETag = "x" }, object.ErrInvalid},
		{"a body that too few have", func(p *object.PutPart) { p.Body = bodyOf(u.lease, 99, 1, 1) }, object.ErrHolders},
		{"a quota", func(p *object.PutPart) { p.Body = u.body(6*mib + 1) }, object.ErrQuota},
		{"a quota, of another part", func(p *object.PutPart) { p.Number, p.Body = 2, u.body(mib+1) }, object.ErrQuota},
	} {
		u.must(&object.Change{SetBucket: &object.SetBucket{Name: "bucket", QuotaBytes: ptr(int64(6 * mib))}})
		p := u.partOf(1, mib, etagOf(1))
		c.f(p.PutPart)
		if _, err := u.apply(p); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	u.part(1, 6*mib) // what is replaced counts off
	u.must(&object.Change{SetBucket: &object.SetBucket{Name: "bucket", QuotaBytes: ptr(int64(1))}})
	u.part(1, 6*mib) // no more than before, over a quota that was lowered
	u.refused(u.completeOf(1), object.ErrQuota)
}

func TestAnAbortedUploadIsGone(t *testing.T) {
	u := newUploader(t, object.VersioningOff, object.Checksum{})
	u.part(1, 5*mib)
	u.part(2, 5*mib)
	abort := &object.Change{Abort: &object.Abort{Bucket: "bucket", Key: "k", Upload: u.upload}}
	u.must(abort)
	if b := u.bucket("bucket"); b.Bytes != 0 {
		t.Errorf("the bucket has %d bytes", b.Bytes)
	}
	u.refused(abort, object.ErrNoSuchUpload)
	u.refused(u.partOf(1, 1, etagOf(1)), object.ErrNoSuchUpload)
	u.refused(u.completeOf(1), object.ErrNoSuchUpload)
	u.must(&object.Change{DeleteBucket: &object.DeleteBucket{Name: "bucket"}}) // although its bodies are still to be reaped
	if n := u.reap(); n != 1 || u.countBodies() != 0 {
		t.Errorf("after %d changes that reap there are %d bodies", n, u.countBodies())
	}
	u.must(&object.Change{CloseLease: &object.CloseLease{ID: u.lease}})
	if left := u.dump(); len(left) != 0 {
		t.Errorf("rows are left: %q", left)
	}
}

func TestAnUploadKeepsItsBucket(t *testing.T) {
	u := newUploader(t, object.VersioningOff, object.Checksum{})
	u.refused(&object.Change{DeleteBucket: &object.DeleteBucket{Name: "bucket"}}, object.ErrBucketNotEmpty)
}

func TestALockOfAnUploadNeedsABucketWithObjectLock(t *testing.T) {
	u := newUploader(t, object.VersioningEnabled, object.Checksum{})
	for _, c := range []object.CreateUpload{{LegalHold: true}, {Retention: object.Retention{Mode: object.LockGovernance, Until: u.now + 1}}} {
		c.Bucket, c.Key = "bucket", "k"
		u.refused(&object.Change{CreateUpload: &c}, object.ErrInvalidBucketState)
	}
	u.createLocked("locked")
	c := &object.CreateUpload{Bucket: "locked", Key: "k", LegalHold: true, Retention: object.Retention{Mode: object.LockCompliance, Until: u.now + 1}}
	id := u.must(&object.Change{CreateUpload: c}).Upload
	u.must(&object.Change{PutPart: &object.PutPart{Bucket: "locked", Key: "k", Upload: id, Number: 1, ETag: etagOf(1), Body: u.body(1)}})
	v := u.must(&object.Change{Complete: &object.Complete{
		Bucket: "locked", Key: "k", Upload: id, Parts: []object.CompletePart{{Number: 1, ETag: etagOf(1)}},
	}}).Version
	if !v.LegalHold || v.Retention != c.Retention {
		t.Errorf("the version has %v, %+v", v.LegalHold, v.Retention)
	}
}
