package object_test

import (
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"chainfire/object"
)

// syncUploads compares the open uploads of a bucket and their parts.
func (p *pair) syncUploads(t *rapid.T, view *object.View, b *modelBucket) {
	t.Helper()
	page, err := view.Uploads(ctx, &b.Bucket, object.ListRequest{Limit: object.MaxPage})
	if err != nil || page.More || len(page.Uploads) != len(b.uploads) {
		t.Fatalf("there are %d uploads, more is %v, %v, want %d", len(page.Uploads), page.More, err, len(b.uploads))
	}
	slices.SortStableFunc(b.uploads, func(a, b *modelUpload) int { return strings.Compare(a.Key, b.Key) })
	for i, want := range b.uploads {
		got := page.Uploads[i]
		if want.ID == 0 {
			p.number(t, got.ID)
			want.ID = got.ID
		}
		if d := cmp.Diff(want.Upload, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("an upload is another: %s", d)
		}
		parts, more, err := view.UploadParts(&got, 0, object.MaxPage)
		if err != nil || more {
			t.Fatalf("not one page of parts: %v", err)
		}
		p.syncParts(t, view, want.parts, parts)
	}
}

// syncParts compares parts, and learns the names of inline bodies.
func (p *pair) syncParts(t *rapid.T, view *object.View, want, got []object.Part) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("there are %d parts, want %d", len(got), len(want))
	}
	for i := range want {
		if want[i].Body == (object.BodyID{}) {
			want[i].Body = got[i].Body
		}
		p.syncBody(t, view, got[i].Body, got[i].Size)
	}
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("parts are others: %s", d)
	}
}

// syncBytes compares where the bytes of a version are.
func (p *pair) syncBytes(t *rapid.T, view *object.View, v *object.Version) {
	t.Helper()
	if v.Parts == 0 {
		p.syncBody(t, view, v.Body, v.Size)
		return
	}
	if _, known := p.m.manifests[v.Body]; !known {
		if p.m.completing == nil {
			t.Fatalf("the parts of %+v come from nowhere", v)
		}
		p.m.manifests[v.Body], p.m.completing = p.m.completing, nil
	}
	parts, err := view.Parts(v)
	if err != nil {
		t.Fatal(err)
	}
	p.syncParts(t, view, p.m.manifests[v.Body], parts)
}

func (p *pair) syncBody(t *rapid.T, view *object.View, id object.BodyID, size int64) {
	t.Helper()
	got, err := view.Body(id)
	if err != nil || got.Size != size {
		t.Fatalf("body %v is %+v, %v, want %d bytes", id, got, err, size)
	}
	want, known := p.m.bodies[id]
	if !known {
		want = inline(int(size))
		want.ID = id
	}
	if d := cmp.Diff(&want, got, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("body %v is another: %s", id, d)
	}
}

// syncBodies compares what all buckets share.
func (p *pair) syncBodies(t *rapid.T, view *object.View) {
	t.Helper()
	var got, want []object.BodyID
	if err := view.Bodies(object.BodyID{}, func(b *object.Body) bool { got = append(got, b.ID); return true }); err != nil {
		t.Fatal(err)
	}
	for id := range p.m.bodies {
		there := p.m.isThere(id)
		if there {
			want = append(want, id)
		}
		if wanted, err := view.Wanted(id); err != nil || wanted != (there || p.m.open(id.Lease)) {
			t.Fatalf("body %v is wanted: %v, %v", id, wanted, err)
		}
	}
	slices.SortFunc(want, func(a, b object.BodyID) int {
		if a.Lease != b.Lease {
			return int(a.Lease) - int(b.Lease)
		}
		return int(a.N) - int(b.N)
	})
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("there are other bodies: %s", d)
	}
	if more, err := view.Garbage(); err != nil || more != p.m.garbage() {
		t.Fatalf("there is garbage: %v, %v", more, err)
	}
	leases, err := view.Leases()
	if d := cmp.Diff(p.m.leases, leases, cmpopts.EquateEmpty()); err != nil || d != "" {
		t.Fatalf("the leases, %v: %s", err, d)
	}
	all, err := view.AccessKeys()
	slices.SortFunc(p.m.keys, func(a, b object.AccessKey) int { return strings.Compare(a.ID, b.ID) })
	if d := cmp.Diff(p.m.keys, all, cmpopts.EquateEmpty()); err != nil || d != "" {
		t.Fatalf("the access keys, %v: %s", err, d)
	}
}

// body is nothing, inline, or extents of a size under a lease, most often one that is open.
func (d *drawer) body(size int64) object.Body {
	switch rapid.IntRange(0, 3).Draw(d.t, "body") {
	case 0:
		return object.Body{}
	case 1:
		return inline(rapid.IntRange(1, 20).Draw(d.t, "inline"))
	}
	lease := uint64(1)
	if l := d.p.m.leases; len(l) > 0 {
		lease = rapid.SampledFrom(l).Draw(d.t, "lease").ID
	}
	holders := rapid.SampledFrom([][]uint64{{1, 2, 3, 4}, {1, 2, 3}, {1, 3}, {1, 2}, {3}, nil}).Draw(d.t, "holders")
	return bodyOf(lease, rapid.Uint32Range(0, 30).Draw(d.t, "n"), size, holders...)
}

// upload is an open upload, one that was completed, or none.
func (d *drawer) upload() (bucket, key string, u *modelUpload) {
	type found struct {
		bucket string
		*modelUpload
	}
	var l []found
	for _, b := range d.p.m.buckets {
		for _, u := range b.uploads {
			l = append(l, found{b.Name, u}, found{b.Name, u}, found{b.Name, u})
		}
		for _, v := range b.versions {
			if v.Upload != 0 {
				done := &modelUpload{Upload: object.Upload{Key: v.Key, ID: v.Upload, Checksum: v.Checksum}, parts: d.p.m.manifests[v.Body]}
				done.Checksum.Value = nil
				l = append(l, found{b.Name, done})
			}
		}
	}
	if len(l) == 0 || rapid.IntRange(0, 19).Draw(d.t, "astray") == 0 {
		return d.bucketName(), d.key(), &modelUpload{Upload: object.Upload{ID: 7}}
	}
	f := rapid.SampledFrom(l).Draw(d.t, "upload")
	return f.bucket, f.Key, f.modelUpload
}

// askedChecksums are what uploads ask for.
var askedChecksums = []object.Checksum{
	{},
	{},
	{Algorithm: object.ChecksumCRC32},
	{Algorithm: object.ChecksumCRC64NVME},
	{Algorithm: object.ChecksumCRC32C, Type: object.ChecksumComposite},
	{Algorithm: object.ChecksumSHA256, Type: object.ChecksumComposite},
}

func (d *drawer) createUpload() *object.Change {
	return &object.Change{CreateUpload: &object.CreateUpload{
		Bucket: d.bucketName(), Key: d.key(), Owner: "AK1", Attributes: d.attributes(),
		Checksum:  rapid.SampledFrom(askedChecksums).Draw(d.t, "asked"),
		Retention: d.retention(), LegalHold: rapid.IntRange(0, 5).Draw(d.t, "hold") == 0,
	}}
}

func (d *drawer) putPart() *object.Change {
	bucket, key, u := d.upload()
	size := rapid.SampledFrom([]int64{1, object.MinPartSize, object.MinPartSize, object.MinPartSize + 1}).Draw(d.t, "size")
	q := &object.PutPart{
		Bucket: bucket, Key: key, Upload: u.ID, Number: rapid.SampledFrom([]int{1, 2, 3, 10_000}).Draw(d.t, "number"),
		ETag: etagOf(rapid.IntRange(0, 3).Draw(d.t, "etag")), Body: d.body(size),
	}
	q.Checksum.Algorithm = u.Checksum.Algorithm
	if rapid.IntRange(0, 9).Draw(d.t, "another checksum") == 0 {
		q.Checksum.Algorithm = object.ChecksumSHA1
	}
	if n := q.Checksum.Algorithm.Size(); n > 0 {
		q.Checksum.Value = slices.Repeat([]byte{rapid.Byte().Draw(d.t, "checksum")}, n)
	}
	return &object.Change{PutPart: q}
}

func (d *drawer) complete() *object.Change {
	bucket, key, u := d.upload()
	q := &object.Complete{Bucket: bucket, Key: key, Upload: u.ID, If: d.condition()}
	var size int64
	for _, p := range u.parts {
		if rapid.IntRange(0, 7).Draw(d.t, "left out") == 0 {
			continue
		}
		n := object.CompletePart{Number: p.Number, ETag: p.ETag}
		switch rapid.IntRange(0, 19).Draw(d.t, "named") {
		case 0:
			n.ETag = etagOf(9)
		case 1:
			n.Checksum = object.Checksum{Algorithm: object.ChecksumCRC32, Value: []byte{1, 2, 3, 4}}
		case 2, 3, 4:
			n.Checksum = p.Checksum
		}
		q.Parts = append(q.Parts, n)
		size += p.Size
	}
	switch rapid.IntRange(0, 19).Draw(d.t, "said") {
	case 0:
		slices.Reverse(q.Parts)
	case 1:
		q.Size = ptr(size + 1)
	case 2, 3:
		q.Size = ptr(size)
	case 4:
		q.Checksum = u.Checksum
		q.Checksum.Value = slices.Repeat([]byte{1}, q.Checksum.Algorithm.Size())
		if len(q.Checksum.Value) == 0 {
			q.Checksum = object.Checksum{Algorithm: object.ChecksumCRC32, Value: []byte{1, 1, 1, 1}}
		}
	}
	return &object.Change{Complete: q}
}

func (d *drawer) abort() *object.Change {
	bucket, key, u := d.upload()
	return &object.Change{Abort: &object.Abort{Bucket: bucket, Key: key, Upload: u.ID}}
}

func (d *drawer) lease() *object.Change {
	member, boots := rapid.Uint64Range(1, 2).Draw(d.t, "member"), rapid.Uint64Range(1, 3).Draw(d.t, "boots")
	switch n := rapid.IntRange(0, 9).Draw(d.t, "lease"); {
	case n == 0 && len(d.p.m.leases) > 0:
		return &object.Change{CloseLease: &object.CloseLease{ID: rapid.SampledFrom(d.p.m.leases).Draw(d.t, "which").ID}}
	case n == 1:
		return &object.Change{CloseLeases: &object.CloseLeases{Member: member, Boots: boots}}
	}
	return &object.Change{OpenLease: &object.OpenLease{Member: member, Boots: boots}}
}

func (d *drawer) accessKey() *object.Change {
	id := rapid.SampledFrom([]string{"AK1", "AK2"}).Draw(d.t, "key")
	if rapid.IntRange(0, 3).Draw(d.t, "delete") == 0 {
		return &object.Change{DeleteKey: &object.DeleteKey{ID: id}}
	}
	return &object.Change{SetKey: &object.SetKey{New: d.bool("new"), Key: object.AccessKey{ID: id, Sealed: []byte{1}, Admin: d.bool("admin")}}}
}

func (d *drawer) reap() *object.Change { return &object.Change{Reap: &object.Reap{}} }
