package object_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"chainfire/object"
)

var (
	bucketNames = []string{"abc", "abc.d", "b-1"}
	keys        = []string{"a", "a/", "a//b", "a/b", "a/b/c", "a\x00", "a\x00/b", "a\x01", "ab", "b/é", "b/ü", "c"}
	prefixes    = []string{"", "", "a", "a/", "a/b", "a\x00", "b/", "z"}
	delimiters  = []string{"", "/", "/", "b", "//", "\x00", "é"}
	etags       = []string{"e1", "e2"}
)

// pair is a state and the model of it.
type pair struct {
	*world
	m    model
	last uint64 // the greatest Seq so far
}

// run applies a change to both, and compares what is said and what is there then.
func (p *pair) run(t *rapid.T, c *object.Change) {
	t.Helper()
	answers, want := p.m.apply(c, p.now)
	got, err := p.apply(c)
	if !errors.Is(err, want) || (err != nil) != (want != nil) {
		t.Fatalf("%+v: %v, want %v", c, err, want)
	}
	p.sync(t)
	if err != nil {
		return
	}
	for i, d := range answers {
		g := got.Deleted[i]
		if !errors.Is(g.Err, d.Err) || (g.Err != nil) != (d.Err != nil) {
			t.Fatalf("delete %d of %+v: %v, want %v", i, c.Delete, g.Err, d.Err)
		}
		if d.Version == 1 && g.Version != object.Null {
			d.Version = g.Version // just made: only the state knows its id
		}
		if g.Err, d.Err = nil, nil; g != d {
			t.Fatalf("delete %d of %+v: %+v, want %+v", i, c.Delete, g, d)
		}
	}
	if c.Complete != nil && p.m.again != nil && p.m.again.Seq != got.Version.Seq {
		t.Fatalf("completed again it is %+v, was %+v", got.Version, p.m.again)
	}
	if c.Put != nil || c.Copy != nil || c.SetObject != nil || c.Complete != nil {
		v := got.Version
		name := target(c)
		if c.Copy != nil {
			name = c.Copy.Bucket
		}
		b := p.bucket(name)
		read, err := p.view().Version(b, v.Key, &v.ID)
		if err != nil {
			t.Fatal(err)
		}
		read.Latest = false
		if d := cmp.Diff(read, v, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("the result is not what is read: %s", d)
		}
	}
}

// sync compares all buckets and versions, and notes the numbers that new ones were given.
func (p *pair) sync(t *rapid.T) {
	t.Helper()
	view := p.view()
	list, err := view.Buckets("", "", object.MaxBuckets)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(p.m.buckets, func(a, b *modelBucket) int { return strings.Compare(a.Name, b.Name) })
	if len(list) != len(p.m.buckets) {
		t.Fatalf("there are %d buckets, want %d", len(list), len(p.m.buckets))
	}
	for i, b := range p.m.buckets {
		if b.ID == 0 {
			p.number(t, list[i].ID)
			b.ID = list[i].ID
		}
		if list[i] != b.Bucket {
			t.Fatalf("the bucket is %+v, want %+v", list[i], b.Bucket)
		}
		for _, name := range []string{"cors", "cors2"} {
			value, found, err := view.Config(&b.Bucket, name)
			if want, there := b.configs[name]; err != nil || found != there || string(value) != want {
				t.Fatalf("document %s is %q, %v, %v, want %q, %v", name, value, found, err, want, there)
			}
		}
		p.syncVersions(t, view, b)
		p.syncUploads(t, view, b)
	}
	p.syncBodies(t, view)
}

// number takes a number that must be greater than all before.
func (p *pair) number(t *rapid.T, n uint64) {
	t.Helper()
	if n <= p.last {
		t.Fatalf("the number %d was given after %d", n, p.last)
	}
	p.last = n
}

func (p *pair) syncVersions(t *rapid.T, view *object.View, b *modelBucket) {
	t.Helper()
	got := map[string][]object.Version{}
	q := object.ListRequest{Versions: true, Limit: object.MaxPage}
	page, err := view.List(ctx, &b.Bucket, q)
	if err != nil || page.More {
		t.Fatalf("not one page: %v", err)
	}
	for _, v := range slices.Backward(page.Entries) {
		got[v.Key] = append(got[v.Key], v) // the oldest first, as in the model
	}
	if len(page.Entries) != len(b.versions) {
		t.Fatalf("there are %d versions, want %d", len(page.Entries), len(b.versions))
	}
	for i := range b.versions {
		want := &b.versions[i]
		if len(got[want.Key]) == 0 {
			t.Fatalf("a version of %q is missing", want.Key)
		}
		v := got[want.Key][0]
		got[want.Key] = got[want.Key][1:]
		if want.Seq == 0 {
			p.number(t, v.Seq)
			want.Seq = v.Seq
			if want.Body == (object.BodyID{}) {
				want.Body = v.Body // only the state knows that of inline bytes, and of a new manifest
			}
			if want.ID != object.Null {
				want.ID = object.VersionID(v.Seq)
			}
		}
		want.Latest = i == b.newest(want.Key)
		if d := cmp.Diff(v, *want, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("a version is another: %s", d)
		}
		p.syncBytes(t, view, &v)
		if read, err := view.Version(&b.Bucket, v.Key, &v.ID); err != nil || !cmp.Equal(*read, v) {
			t.Fatalf("read by its id it is %+v, %v, want %+v", read, err, v)
		}
	}
}

// listings compares a listing in pages of every size with the model.
func (p *pair) listings(t *rapid.T) {
	if len(p.m.buckets) == 0 {
		return
	}
	b := rapid.SampledFrom(p.m.buckets).Draw(t, "bucket")
	q := object.ListRequest{
		Prefix:    rapid.SampledFrom(prefixes).Draw(t, "prefix"),
		Delimiter: rapid.SampledFrom(delimiters).Draw(t, "delimiter"),
		After:     rapid.SampledFrom(append([]string{"", "", "a/b/", "aa"}, keys...)).Draw(t, "after"),
		Versions:  rapid.Bool().Draw(t, "versions"),
	}
	if i := b.newest(q.After); q.Versions && i >= 0 && rapid.Bool().Draw(t, "in the versions") {
		q.AfterVersion = b.versions[i].Seq
	}
	want := b.list(q)
	for n := 1; n <= len(want)+1; n++ {
		if got := p.list(b.Name, q, n); !slices.Equal(got, want) {
			t.Fatalf("%+v in pages of %d: %q, want %q", q, n, got, want)
		}
	}
}

// TestStateDoesWhatTheModelDoes runs random changes against plain slices.
func TestStateDoesWhatTheModelDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &pair{world: newWorld(t)}
		p.m.modelBodies = newModelBodies(p.world)
		d := drawer{t: t, p: p}
		draws := []func() *object.Change{
			d.createBucket, d.setBucket, d.setConfig, d.deleteBucket,
			d.put, d.put, d.put, d.put, d.copy, d.copy, d.delete, d.delete, d.delete, d.setObject,
			d.createUpload, d.putPart, d.putPart, d.putPart, d.putPart, d.complete, d.complete, d.complete, d.abort,
			d.lease, d.lease, d.accessKey, d.reap,
		}
		// Something to change, of what takes many steps to come about.
		for _, draw := range []func() *object.Change{
			d.createBucket, d.put, d.lease, d.lease, d.createUpload, d.createUpload, d.putPart, d.putPart, d.putPart,
			d.complete, d.complete, d.copy, d.copy,
		} {
			p.run(t, draw())
		}
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) {
				d.t = t
				p.now += rapid.Int64Range(0, day).Draw(t, "time")
				p.run(t, rapid.SampledFrom(draws).Draw(t, "kind")())
			},
			"list": p.listings,
			"place": func(t *rapid.T) {
				p.placed = rapid.SampledFrom([][]uint64{{1, 2, 3}, {1, 2, 3}, {1}, {2, 3, 4}}).Draw(t, "placed")
			},
		})
	})
}

// drawer draws changes, most of which have something to do in the state that is there.
type drawer struct {
	t *rapid.T
	p *pair
}

func (d *drawer) bool(label string) bool { return rapid.Bool().Draw(d.t, label) }

func (d *drawer) bucketName() string { return rapid.SampledFrom(bucketNames).Draw(d.t, "bucket") }

func (d *drawer) key() string { return rapid.SampledFrom(keys).Draw(d.t, "key") }

// there is a version that is there, if possible.
func (d *drawer) there() (bucket string, v object.Version) {
	bucket = d.bucketName()
	b := d.p.m.bucket(bucket)
	if b == nil || len(b.versions) == 0 {
		return bucket, object.Version{Key: d.key(), ID: 7, Seq: 7}
	}
	return bucket, rapid.SampledFrom(b.versions).Draw(d.t, "version")
}

func (d *drawer) createBucket() *object.Change {
	return &object.Change{CreateBucket: &object.CreateBucket{Name: d.bucketName(), Owner: "AK1", ObjectLock: d.bool("lock")}}
}

func (d *drawer) deleteBucket() *object.Change {
	return &object.Change{DeleteBucket: &object.DeleteBucket{Name: d.bucketName()}}
}

func (d *drawer) setBucket() *object.Change {
	s := &object.SetBucket{Name: d.bucketName()}
	switch rapid.IntRange(0, 3).Draw(d.t, "what") {
	case 0:
		s.Versioning = ptr(object.Versioning(rapid.IntRange(0, 2).Draw(d.t, "versioning")))
	case 1:
		s.ObjectLock = ptr(rapid.SampledFrom([]bool{true, true, false}).Draw(d.t, "lock"))
	case 2:
		s.Lock = &object.LockRule{}
		if d.bool("rule") {
			*s.Lock = object.LockRule{Mode: d.mode(), Days: 1}
		}
	case 3:
		unit := rapid.SampledFrom([]int64{1, object.MinPartSize}).Draw(d.t, "unit")
		s.QuotaBytes = ptr(unit * rapid.Int64Range(0, 60).Draw(d.t, "bytes"))
		s.QuotaObjects = ptr(rapid.Int64Range(0, 6).Draw(d.t, "objects"))
	}
	return &object.Change{SetBucket: s}
}

func (d *drawer) setConfig() *object.Change {
	s := &object.SetConfig{Bucket: d.bucketName(), Name: rapid.SampledFrom([]string{"cors", "cors2"}).Draw(d.t, "name")}
	if d.bool("value") {
		s.Value = []byte(rapid.StringN(0, 5, 10).Draw(d.t, "document"))
	}
	return &object.Change{SetConfig: s}
}

func (d *drawer) mode() object.LockMode {
	return rapid.SampledFrom([]object.LockMode{object.LockGovernance, object.LockCompliance}).Draw(d.t, "mode")
}

func (d *drawer) retention() (r object.Retention) {
	if rapid.IntRange(0, 3).Draw(d.t, "retained") == 0 {
		r = object.Retention{Mode: d.mode(), Until: d.p.now + rapid.Int64Range(1, 3*day).Draw(d.t, "for")}
	}
	return r
}

func (d *drawer) condition() (c object.Condition) {
	switch rapid.IntRange(0, 9).Draw(d.t, "condition") {
	case 0:
		c.IfNoneMatch = "*"
	case 1:
		c.IfNoneMatch = rapid.SampledFrom(etags).Draw(d.t, "etag")
	case 2:
		c.IfMatch = rapid.SampledFrom(append([]string{"*"}, etags...)).Draw(d.t, "etag")
	case 3:
		c.IfSize = ptr(rapid.Int64Range(0, 20).Draw(d.t, "size"))
	case 4:
		_, v := d.there()
		c.IfModified = ptr(v.Modified + rapid.Int64Range(-1000, 1000).Draw(d.t, "off"))
	}
	return c
}

func (d *drawer) attributes() (a object.Attributes) {
	if d.bool("attributes") {
		a.ContentType, a.Expires = "text/plain", "never"
		a.Meta = []object.Pair{{Name: "m", Value: "1"}, {Name: "n"}}
		a.Tags = []object.Pair{{Name: "t", Value: "2"}}
	}
	return a
}

func (d *drawer) checksum() (c object.Checksum) {
	if d.bool("checksum") {
		c = object.Checksum{Algorithm: object.ChecksumCRC32C, Value: []byte{1, 2, 3, 4}}
	}
	return c
}

func (d *drawer) put() *object.Change {
	c := putOf(d.bucketName(), d.key(), rapid.SampledFrom(etags).Draw(d.t, "etag"), 0)
	p := c.Put
	p.Body = d.body(rapid.Int64Range(1, 3*mib).Draw(d.t, "extents"))
	p.If, p.Attributes, p.Checksum, p.Retention = d.condition(), d.attributes(), d.checksum(), d.retention()
	p.LegalHold = rapid.IntRange(0, 5).Draw(d.t, "hold") == 0
	return c
}

func (d *drawer) copy() *object.Change {
	from, v := d.there()
	return &object.Change{Copy: &object.Copy{
		SourceBucket: from, SourceKey: v.Key, SourceSeq: v.Seq, Bucket: d.bucketName(), Key: d.key(), If: d.condition(),
		Attributes: d.attributes(), Retention: d.retention(), ETag: v.ETag, Checksum: d.checksum(),
	}}
}

func (d *drawer) delete() *object.Change {
	bucket, _ := d.there()
	c := &object.Delete{Bucket: bucket, Bypass: d.bool("bypass")}
	for range rapid.IntRange(1, 4).Draw(d.t, "entries") {
		o := object.DeleteObject{Key: d.key(), If: d.condition()}
		if b := d.p.m.bucket(bucket); b != nil && len(b.versions) > 0 {
			v := rapid.SampledFrom(b.versions).Draw(d.t, "version")
			o.Key = v.Key
			if d.bool("of a version") {
				o.Version = &v.ID
			}
			if d.bool("expired") {
				o.Expired, o.Seq = true, v.Seq
			}
		}
		c.Objects = append(c.Objects, o)
	}
	return &object.Change{Delete: c}
}

func (d *drawer) setObject() *object.Change {
	bucket, v := d.there()
	s := &object.SetObject{Bucket: bucket, Key: v.Key, Bypass: d.bool("bypass")}
	if d.bool("of a version") {
		s.Version = &v.ID
	}
	if d.bool("retention") {
		s.Retention = ptr(d.retention())
	}
	if d.bool("hold") {
		s.LegalHold = ptr(d.bool("held"))
	}
	if d.bool("tags") {
		s.Tags = ptr(d.attributes().Tags)
	}
	return &object.Change{SetObject: s}
}
