package object_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"chainfire/object"
)

func TestBucketNamesAreThoseOfS3(t *testing.T) {
	for _, name := range []string{
		"abc", "a-b", "a.b", "0a9", "123", "my.bucket-1", "1.2.3", "1.2.3.4.5", "1.2.3.x", "xn-a", "sthree", "amzn-s3-demo",
		"s3alias", strings.Repeat("a", 63), "a.-b", "a--b",
	} {
		if err := object.CheckBucketName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, rule := range map[string]string{
		"":                      "0 characters",
		"ab":                    "2 characters",
		strings.Repeat("a", 64): "64 characters",
		"Abc":                   "lower-case",
		"a_c":                   "lower-case",
		"a c":                   "lower-case",
		"a/c":                   "lower-case",
		"añc":                   "lower-case",
		"abc\n":                 "lower-case",
		"-abc":                  "both ends",
		"abc.":                  "both ends",
		".abc":                  "both ends",
		"abc-":                  "both ends",
		"a..b":                  "two dots",
		"192.168.5.4":           "IP address",
		"999.168.5.04":          "IP address",
		"xn--abc":               "begin with xn--",
		"sthree-abc":            "begin with sthree-",
		"sthree-configurator":   "begin with sthree-",
		"amzn-s3-demo-bucket":   "begin with amzn-s3-demo-",
		"abc-s3alias":           "end with -s3alias",
		"abc--ol-s3":            "end with --ol-s3",
		"abc.mrap":              "end with .mrap",
		"abc--x-s3":             "end with --x-s3",
		"abc--table-s3":         "end with --table-s3",
	} {
		if err := object.CheckBucketName(name); !errors.Is(err, object.ErrInvalidBucketName) || !strings.Contains(err.Error(), rule) {
			t.Errorf("%q: %v, want one that says %q", name, err, rule)
		}
	}
	w := newWorld(t)
	w.refused(&object.Change{CreateBucket: &object.CreateBucket{Name: "no/name"}}, object.ErrInvalidBucketName)
}

func TestKeysAreUTF8OfBoundedLength(t *testing.T) {
	for _, key := range []string{"a", "/", "a//b", "..", "a\x00b", "é", strings.Repeat("k", object.MaxKeyLen)} {
		if err := object.CheckKey(key); err != nil {
			t.Errorf("%.20q: %v", key, err)
		}
	}
	for key, want := range map[string]error{
		"":                                      object.ErrInvalid,
		"a\xff":                                 object.ErrInvalid,
		"\xc0\x80":                              object.ErrInvalid,
		strings.Repeat("k", object.MaxKeyLen+1): object.ErrTooLarge,
		strings.Repeat("é", object.MaxKeyLen/2+1): object.ErrTooLarge,
	} {
		if err := object.CheckKey(key); !errors.Is(err, want) {
			t.Errorf("%.20q: %v, want %v", key, err, want)
		}
	}
}

func TestABucketIsMadeOnceAndNeverUnderAnOldID(t *testing.T) {
	w := newWorld(t)
	b := w.must(&object.Change{CreateBucket: &object.CreateBucket{Name: "bucket", Owner: "AK1"}}).Bucket
	if got := w.bucket("bucket"); *got != *b || got.Created != w.now || got.Owner != "AK1" || got.Versioning != object.VersioningOff {
		t.Errorf("made %+v, read %+v", b, got)
	}
	w.refused(&object.Change{CreateBucket: &object.CreateBucket{Name: "bucket"}}, object.ErrBucketExists)
	w.must(&object.Change{SetConfig: &object.SetConfig{Bucket: "bucket", Name: "cors", Value: []byte("<x/>")}})
	w.must(&object.Change{DeleteBucket: &object.DeleteBucket{Name: "bucket"}})
	if rows := w.dump(); len(rows) != 0 {
		t.Errorf("a bucket that was deleted leaves %q", rows)
	}
	w.refused(&object.Change{DeleteBucket: &object.DeleteBucket{Name: "bucket"}}, object.ErrNoSuchBucket)
	if _, err := w.view().Bucket("bucket"); !errors.Is(err, object.ErrNoSuchBucket) {
		t.Errorf("reading it: %v", err)
	}
	again := w.must(&object.Change{CreateBucket: &object.CreateBucket{Name: "bucket", ObjectLock: true}}).Bucket
	if again.ID == b.ID || again.ID == 0 {
		t.Errorf("the id is %d, and was %d", again.ID, b.ID)
	}
	if again.Versioning != object.VersioningEnabled || !again.ObjectLock {
		t.Errorf("made with object lock it is %+v", again)
	}
}

func TestABucketThatHasAnythingIsNotDeleted(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningEnabled)
	w.create("bucket2", object.VersioningEnabled)
	v := w.put("bucket", "k", "a", 0)
	del := &object.Change{DeleteBucket: &object.DeleteBucket{Name: "bucket"}}
	w.refused(del, object.ErrBucketNotEmpty)
	marker := w.deleteOne("bucket", false, object.DeleteObject{Key: "k"})
	w.deleteOne("bucket", false, object.DeleteObject{Key: "k", Version: &v.ID})
	w.refused(del, object.ErrBucketNotEmpty) // a delete marker is left
	w.deleteOne("bucket", false, object.DeleteObject{Key: "k", Version: &marker.Version})
	w.must(del)
	w.must(&object.Change{DeleteBucket: &object.DeleteBucket{Name: "bucket2"}})
}

func TestThereAreOnlySoManyBuckets(t *testing.T) {
	w := newWorld(t)
	w.create("bucket-00001", object.VersioningOff)
	row := []byte("bbucket-00001")
	value, _, err := w.rows.Get(row)
	if err != nil {
		t.Fatal(err)
	}
	for i := 2; i <= object.MaxBuckets; i++ { // as rows: to make each would look at all of them
		if err := w.rows.Set(fmt.Appendf(nil, "bbucket-%05d", i), value); err != nil {
			t.Fatal(err)
		}
	}
	w.refused(&object.Change{CreateBucket: &object.CreateBucket{Name: "one-more"}}, object.ErrTooManyBuckets)
	w.refused(&object.Change{CreateBucket: &object.CreateBucket{Name: "bucket-00001"}}, object.ErrBucketExists)
	w.must(&object.Change{DeleteBucket: &object.DeleteBucket{Name: "bucket-00001"}})
	w.must(&object.Change{CreateBucket: &object.CreateBucket{Name: "one-more"}})
}

func TestBucketsAreListedByName(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"bbb", "abc", "ab-d", "abc.x", "zzz"} {
		w.create(name, object.VersioningOff)
	}
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          string
	}{
		{limit: 10, want: "ab-d abc abc.x bbb zzz"},
		{limit: 2, want: "ab-d abc"},
		{after: "abc", limit: 2, want: "abc.x bbb"},
		{after: "abb", limit: 1, want: "abc"},
		{prefix: "abc", limit: 10, want: "abc abc.x"},
		{prefix: "abc", after: "abc", limit: 10, want: "abc.x"},
		{prefix: "ab", after: "bbb", limit: 10, want: ""},
		{prefix: "z", after: "aaa", limit: 10, want: "zzz"},
		{prefix: "q", limit: 10, want: ""},
		{limit: 0, want: ""},
	} {
		l, err := w.view().Buckets(c.prefix, c.after, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, b := range l {
			names = append(names, b.Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("prefix %q, after %q, limit %d: %q, want %q", c.prefix, c.after, c.limit, got, c.want)
		}
	}
}

func TestTheStateOfABucketGoesOnlyForward(t *testing.T) {
	off, enabled, suspended := object.VersioningOff, object.VersioningEnabled, object.VersioningSuspended
	rule := object.LockRule{Mode: object.LockGovernance, Days: 1}
	for _, c := range []struct {
		name string
		// from is the bucket, and set what is changed of it.
		from object.Bucket
		set  object.SetBucket
		want error
	}{
		{name: "enable", set: object.SetBucket{Versioning: &enabled}},
		{name: "suspend what was never enabled", set: object.SetBucket{Versioning: &suspended}},
		{name: "suspend", from: object.Bucket{Versioning: enabled}, set: object.SetBucket{Versioning: &suspended}},
		{name: "enable again", from: object.Bucket{Versioning: suspended}, set: object.SetBucket{Versioning: &enabled}},
		{name: "off from enabled", from: object.Bucket{Versioning: enabled}, set: object.SetBucket{Versioning: &off}, want: object.ErrInvalidBucketState},
		{name: "off from suspended", from: object.Bucket{Versioning: suspended}, set: object.SetBucket{Versioning: &off}, want: object.ErrInvalidBucketState},
		{name: "lock", from: object.Bucket{Versioning: enabled}, set: object.SetBucket{ObjectLock: ptr(true)}},
		{name: "lock and enable at once", set: object.SetBucket{ObjectLock: ptr(true), Versioning: &enabled, Lock: &rule}},
		{name: "lock without versioning", set: object.SetBucket{ObjectLock: ptr(true)}, want: object.ErrInvalidBucketState},
		{name: "lock while suspended", from: object.Bucket{Versioning: suspended}, set: object.SetBucket{ObjectLock: ptr(true)}, want: object.ErrInvalidBucketState},
		{name: "suspend under lock", from: object.Bucket{ObjectLock: true}, set: object.SetBucket{Versioning: &suspended}, want: object.ErrInvalidBucketState},
		{name: "take lock back", from: object.Bucket{ObjectLock: true}, set: object.SetBucket{ObjectLock: ptr(false)}, want: object.ErrInvalidBucketState},
		{name: "a rule", from: object.Bucket{ObjectLock: true}, set: object.SetBucket{Lock: &rule}},
		{name: "no rule any more", from: object.Bucket{ObjectLock: true, Lock: rule}, set: object.SetBucket{Lock: &object.LockRule{}}},
		{name: "a rule without lock", from: object.Bucket{Versioning: enabled}, set: object.SetBucket{Lock: &rule}, want: object.ErrInvalidBucketState},
		{name: "a rule of days and years", from: object.Bucket{ObjectLock: true}, set: object.SetBucket{Lock: &object.LockRule{Mode: object.LockCompliance, Days: 1, Years: 1}}, want: object.ErrInvalid},
		{name: "a rule of no time", from: object.Bucket{ObjectLock: true}, set: object.SetBucket{Lock: &object.LockRule{Mode: object.LockCompliance}}, want: object.ErrInvalid},
		{name: "a rule without mode", from: object.Bucket{ObjectLock: true}, set: object.SetBucket{Lock: &object.LockRule{Days: 1}}, want: object.ErrInvalid},
		{name: "a rule of too many days", from: object.Bucket{ObjectLock: true}, set: object.SetBucket{Lock: &object.LockRule{Mode: object.LockCompliance, Days: object.MaxLockDays + 1}}, want: object.ErrInvalid},
		{name: "a rule of too many years", from: object.Bucket{ObjectLock: true}, set: object.SetBucket{Lock: &object.LockRule{Mode: object.LockCompliance, Years: object.MaxLockYears + 1}}, want: object.ErrInvalid},
		{name: "quotas", set: object.SetBucket{QuotaBytes: ptr(int64(7)), QuotaObjects: ptr(int64(8))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if c.from.ObjectLock {
				w.createLocked("bucket")
			} else {
				w.create("bucket", c.from.Versioning)
			}
			if c.from.Lock != (object.LockRule{}) {
				w.must(&object.Change{SetBucket: &object.SetBucket{Name: "bucket", Lock: &c.from.Lock}})
			}
			c.set.Name = "bucket"
			if c.want != nil {
				w.refused(&object.Change{SetBucket: &c.set}, c.want)
				return
			}
			want := *w.bucket("bucket")
			assign(&want.Versioning, c.set.Versioning)
			assign(&want.ObjectLock, c.set.ObjectLock)
			assign(&want.Lock, c.set.Lock)
			assign(&want.QuotaBytes, c.set.QuotaBytes)
			assign(&want.QuotaObjects, c.set.QuotaObjects)
			if got := w.must(&object.Change{SetBucket: &c.set}).Bucket; *got != want || *w.bucket("bucket") != want {
				t.Errorf("the bucket is %+v, want %+v", got, want)
			}
		})
	}
}

func assign[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func TestDocumentsAreOfTheirBucket(t *testing.T) {
	w := newWorld(t)
	w.create("one", object.VersioningOff)
	w.create("two", object.VersioningOff)
	set := func(bucket, name string, value []byte) {
		w.must(&object.Change{SetConfig: &object.SetConfig{Bucket: bucket, Name: name, Value: value}})
	}
	check := func(bucket, name, want string, there bool) {
		t.Helper()
		got, found, err := w.view().Config(w.bucket(bucket), name)
		if err != nil || found != there || string(got) != want {
			t.Errorf("%s of %s is %q, %v, %v, want %q, %v", name, bucket, got, found, err, want, there)
		}
	}
	set("one", "cors", []byte("a"))
	set("one", "cors2", []byte("b"))
	set("two", "cors", []byte{})
	check("one", "cors", "a", true)
	check("two", "cors", "", true)
	check("two", "cors2", "", false)
	set("one", "cors", nil)
	check("one", "cors", "", false)
	check("one", "cors2", "b", true)
	set("one", "cors", nil) // what is not there is taken away
	w.refused(&object.Change{SetConfig: &object.SetConfig{Bucket: "none", Name: "cors"}}, object.ErrNoSuchBucket)
}

func TestQuota(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningOff)
	limit := func(bytes, objects int64) {
		w.must(&object.Change{SetBucket: &object.SetBucket{Name: "bucket", QuotaBytes: &bytes, QuotaObjects: &objects}})
	}
	limit(10, 2)
	w.put("bucket", "a", "", 6)
	w.refused(putOf("bucket", "b", "", 5), object.ErrQuota)
	w.put("bucket", "b", "", 4)                             // all bytes
	w.refused(putOf("bucket", "c", "", 0), object.ErrQuota) // one object too many
	w.put("bucket", "a", "", 6)                             // what is replaced counts off
	w.put("bucket", "a", "", 1)
	source := w.put("bucket", "a", "", 6)
	w.refused(putOf("bucket", "a", "", 7), object.ErrQuota)
	copied := &object.Change{Copy: &object.Copy{SourceBucket: "bucket", SourceKey: "a", SourceSeq: source.Seq, Bucket: "bucket", Key: "c"}}
	limit(0, 2)
	w.refused(copied, object.ErrQuota)
	limit(10, 0)
	w.refused(copied, object.ErrQuota) // a copy counts as if it had bytes of its own
	limit(16, 3)
	w.must(copied)
	w.must(&object.Change{SetBucket: &object.SetBucket{Name: "bucket", Versioning: ptr(object.VersioningEnabled)}})
	w.refused(putOf("bucket", "a", "", 0), object.ErrQuota) // a version more
	if d := w.deleteOne("bucket", false, object.DeleteObject{Key: "a"}); d.Err != nil || !d.Marker {
		t.Errorf("a delete marker counts: %+v", d)
	}
	w.deleteOne("bucket", false, object.DeleteObject{Key: "a", Version: ptr(object.Null)})
	w.put("bucket", "a", "", 6)
	if b := w.bucket("bucket"); b.Bytes != 16 || b.Objects != 3 {
		t.Errorf("the bucket has %d bytes and %d objects", b.Bytes, b.Objects)
	}
	limit(1, 1) // below what there is, nothing more is written
	w.refused(putOf("bucket", "a", "", 0), object.ErrQuota)
}

func TestConditionsHoldOfTheVersionThatAKeyHas(t *testing.T) {
	const now = 1_700_000_000_900
	ms := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		name string
		cond object.Condition
		// there, of ETag e and 3 bytes; covered and absent are what the key may have
		there, covered, absent error
	}{
		{name: "none"},
		{name: "if none match any", cond: object.Condition{IfNoneMatch: "*"}, there: object.ErrPreconditionFailed},
		{name: "if none match this", cond: object.Condition{IfNoneMatch: "e"}, there: object.ErrPreconditionFailed},
		{name: "if none match another", cond: object.Condition{IfNoneMatch: "f"}},
		{name: "if match any", cond: object.Condition{IfMatch: "*"}, covered: object.ErrNoSuchKey, absent: object.ErrNoSuchKey},
		{name: "if match this", cond: object.Condition{IfMatch: "e"}, covered: object.ErrNoSuchKey, absent: object.ErrNoSuchKey},
		{name: "if match another", cond: object.Condition{IfMatch: "f"}, there: object.ErrPreconditionFailed, covered: object.ErrNoSuchKey, absent: object.ErrNoSuchKey},
		{name: "modified in this second", cond: object.Condition{IfModified: ms(now - 900)}, covered: object.ErrNoSuchKey, absent: object.ErrNoSuchKey},
		{name: "modified in another", cond: object.Condition{IfModified: ms(now + 100)}, there: object.ErrPreconditionFailed, covered: object.ErrNoSuchKey, absent: object.ErrNoSuchKey},
		{name: "of this size", cond: object.Condition{IfSize: ms(3)}, covered: object.ErrNoSuchKey, absent: object.ErrNoSuchKey},
		{name: "of another size", cond: object.Condition{IfSize: ms(0)}, there: object.ErrPreconditionFailed, covered: object.ErrNoSuchKey, absent: object.ErrNoSuchKey},
		{name: "one of two", cond: object.Condition{IfMatch: "e", IfSize: ms(4)}, there: object.ErrPreconditionFailed, covered: object.ErrNoSuchKey, absent: object.ErrNoSuchKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := newWorld(t)
			base.now = now
			base.create("bucket", object.VersioningEnabled)
			source := base.put("bucket", "source", "s", 1)
			old := base.put("bucket", "there", "old", 9)
			base.put("bucket", "there", "e", 3)
			base.put("bucket", "covered", "e", 3)
			base.deleteOne("bucket", false, object.DeleteObject{Key: "covered"})
			for key, want := range map[string]error{"there": c.there, "covered": c.covered, "absent": c.absent} {
				put := putOf("bucket", key, "new", 1)
				put.Put.If = c.cond
				copied := &object.Change{Copy: &object.Copy{
					SourceBucket: "bucket", SourceKey: "source", SourceSeq: source.Seq, Bucket: "bucket", Key: key, If: c.cond,
				}}
				for what, change := range map[string]*object.Change{"put": put, "copy": copied} {
					w := base.clone()
					if _, err := w.apply(change); !errors.Is(err, want) || (err != nil) != (want != nil) {
						t.Errorf("%s, %s: %v, want %v", what, key, err, want)
					}
				}
				for what, id := range map[string]*object.VersionID{"delete": nil, "delete of a version": &old.ID} {
					w := base.clone()
					before := w.dump()
					d := w.deleteOne("bucket", false, object.DeleteObject{Key: key, Version: id, If: c.cond})
					if !errors.Is(d.Err, want) || (d.Err != nil) != (want != nil) {
						t.Errorf("%s, %s: %v, want %v", what, key, d.Err, want)
					}
					if d.Err != nil && (d != object.Deleted{Err: d.Err} || !slices.Equal(before, w.dump())) {
						t.Errorf("%s, %s: refused, and %+v", what, key, d)
					}
				}
			}
		})
	}
}

// clone is a world of its own with the same state.
func (w *world) clone() *world {
	c := *w
	c.rows = w.rows.Clone()
	return &c
}
