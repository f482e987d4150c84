package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chainfire/object"
	"chainfire/object/objecttest"
)

// service applies changes to rows in memory.
type service struct {
	object.Service // what the walk does not use
	rows           *objecttest.Memory
	index          uint64
	// before, if it is not nil, is called before a change of lifecycle is applied.
	before func()
}

func (s *service) Change(_ context.Context, c *object.Change) (*object.Result, error) {
	if f := s.before; f != nil {
		s.before = nil
		f()
	}
	s.index++
	return object.Apply(s.rows, s.index, func(object.ExtentID) []uint64 { return []uint64{1} }, c)
}

func (s *service) View(context.Context) (*object.View, error) {
	return object.NewView(s.rows.Snapshot(), nil), nil
}

// at makes a change at a number of milliseconds, which must not fail.
func (s *service) at(t interface{ Fatal(...any) }, ms int64, c object.Change) *object.Result {
	c.Time = ms
	r, err := s.Change(context.Background(), &c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newService(t interface{ Fatal(...any) }, rules string, versioning object.Versioning) *service {
	s := &service{rows: objecttest.New()}
	s.at(t, 0, object.Change{CreateBucket: &object.CreateBucket{Name: "logs", Owner: "o"}})
	if versioning != object.VersioningOff {
		s.at(t, 0, object.Change{SetBucket: &object.SetBucket{Name: "logs", Versioning: &versioning}})
	}
	if rules != "" {
		s.at(t, 0, object.Change{SetConfig: &object.SetConfig{Bucket: "logs", Name: ConfigName, Value: []byte(rules)}})
	}
	return s
}

func put(key string, size int, tags ...object.Pair) object.Change {
	return object.Change{Put: &object.Put{
		Bucket: "logs", Key: key, ETag: "d41d8cd98f00b204e9800998ecf8427e",
		Attributes: object.Attributes{Tags: tags},
		Body:       object.Body{Size: int64(size), Inline: make([]byte, size)},
	}}
}

func unpaced(context.Context, int) error { return nil }

func clock(ms int64) func() time.Time { return func() time.Time { return time.UnixMilli(ms) } }

func (s *service) run(t interface{ Fatal(...any) }, ms int64) Stats {
	stats, err := Run(context.Background(), s, "logs", clock(ms), unpaced)
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

// versions are what is in the bucket, newest first.
func (s *service) versions(t interface{ Fatal(...any) }) []object.Version {
	view := object.NewView(s.rows.Snapshot(), nil)
	b, err := view.Bucket("logs")
	if err != nil {
		t.Fatal(err)
	}
	var out []object.Version
	r := object.ListRequest{Versions: true, Limit: 100}
	for more := true; more; {
		page, err := view.List(context.Background(), b, r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, page.Entries...)
		more, r.After, r.AfterVersion = page.More, page.Next, page.NextVersion
	}
	return out
}

// days and keys that the rules and histories of the tests are drawn from.
const ms = int64(86_400_000)

// drawConfig draws rules that are taken.
func drawConfig(t *rapid.T) *Config {
	var c Config
	for i := range rapid.IntRange(1, 3).Draw(t, "rules") {
		label := func(name string) string { return fmt.Sprint(name, i) }
		r := Rule{ID: fmt.Sprint(i), Enabled: rapid.IntRange(0, 4).Draw(t, label("enabled")) > 0}
		r.Filter.form = formAnd
		r.Filter.Prefix = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, label("prefix"))
		plain := true
		if rapid.IntRange(0, 3).Draw(t, label("tagged")) == 0 {
			r.Filter.Tags, plain = []object.Pair{{Name: "k", Value: "v"}}, false
		}
		if rapid.IntRange(0, 3).Draw(t, label("sized")) == 0 {
			more, less := int64(1), int64(4)
			r.Filter.Greater, r.Filter.Less, plain = &more, &less, false
		}
		n := int64(rapid.IntRange(1, 4).Draw(t, label("days")))
		switch rapid.IntRange(0, 3).Draw(t, label("expires")) {
		case 0:
			r.Expiration.Days = n
		case 1:
			r.Expiration.Date = time.UnixMilli(n * ms).UTC()
		case 2:
			r.Expiration.Markers = plain
		}
		if rapid.Bool().Draw(t, label("noncurrent")) {
			r.NoncurrentDays = n
			r.NewerNoncurrent = int64(rapid.IntRange(0, 2).Draw(t, label("newer")))
		}
		if plain {
			r.AbortDays = int64(rapid.IntRange(0, 2).Draw(t, label("abort")))
		}
		c.Rules = append(c.Rules, r)
	}
	return &c
}

// survives is the naive model: whether a version of a key, of which all are given, newest
// first, is there after a walk; and covered whether a delete marker is put on it.
func survives(c *Config, list []object.Version, i int, now int64) (there, covered bool) {
	v := &list[i]
	midnight := func(from, days int64) int64 { return (from/ms + days + 1) * ms }
	for _, r := range c.Rules {
		f := r.Filter
		tagged := len(f.Tags) == 0 || slices.Contains(v.Tags, f.Tags[0])
		sized := f.Greater == nil || !v.DeleteMarker && v.Size > *f.Greater && v.Size < *f.Less
		if !r.Enabled || f.Prefix != "" && v.Key[:1] != f.Prefix || !tagged || !sized {
			continue
		}
		expired := r.Expiration.Days > 0 && now >= midnight(v.Modified, r.Expiration.Days) ||
			!r.Expiration.Date.IsZero() && now >= r.Expiration.Date.UnixMilli()
		switch {
		case i > 0:
			if r.NoncurrentDays > 0 && now >= midnight(list[i-1].Modified, r.NoncurrentDays) && i > int(r.NewerNoncurrent) {
				return false, false
			}
		case v.DeleteMarker:
			if len(list) == 1 && (expired || r.Expiration.Markers) {
				return false, false
			}
		case expired:
			return true, true
		}
	}
	return true, false
}

// TestAWalkDoesWhatTheNaiveModelDoes draws rules and the history of a bucket, walks at a time,
// and holds what is left to the model.
func TestAWalkDoesWhatTheNaiveModelDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawConfig(t)
		versioning := rapid.SampledFrom([]object.Versioning{object.VersioningOff, object.VersioningEnabled, object.VersioningSuspended}).Draw(t, "versioning")
		text := encodeForTest(t, c)
		s := newService(t, text, versioning)
		now := int64(0)
		for i := range rapid.IntRange(0, 25).Draw(t, "steps") {
			now += rapid.Int64Range(0, ms).Draw(t, fmt.Sprint("after", i))
			key := rapid.SampledFrom([]string{"a", "a1", "b", "c"}).Draw(t, fmt.Sprint("key", i))
			if rapid.IntRange(0, 3).Draw(t, fmt.Sprint("delete", i)) == 0 {
				s.at(t, now, object.Change{Delete: &object.Delete{Bucket: "logs", Objects: []object.DeleteObject{{Key: key}}}})
				continue
			}
			var tags []object.Pair
			if rapid.Bool().Draw(t, fmt.Sprint("tag", i)) {
				tags = []object.Pair{{Name: "k", Value: "v"}}
			}
			s.at(t, now, put(key, rapid.IntRange(0, 5).Draw(t, fmt.Sprint("size", i)), tags...))
		}
		now += rapid.Int64Range(0, 6*ms).Draw(t, "walk")

		before := map[string][]object.Version{}
		newest := uint64(0)
		for _, v := range s.versions(t) {
			before[v.Key] = append(before[v.Key], v)
			newest = max(newest, v.Seq)
		}
		want := map[uint64]bool{}
		for _, list := range before {
			_, covered := survives(c, list, 0, now)
			for i, v := range list {
				there, _ := survives(c, list, i, now)
				// Unless versioning is enabled, what covers the key replaces its null version.
				replaced := covered && versioning != object.VersioningEnabled && v.ID == object.Null
				if there && !replaced {
					want[v.Seq] = true
				}
			}
		}
		s.run(t, now)
		have := map[uint64]bool{}
		for _, v := range s.versions(t) {
			if v.Seq <= newest { // else it is a marker that the walk made
				have[v.Seq] = true
			}
		}
		if !maps.Equal(have, want) {
			t.Fatalf("there are %v, and by the model %v, of %+v", have, want, before)
		}
	})
}

func encodeForTest(t *rapid.T, c *Config) string {
	for i := range c.Rules { // the form that holds any number of things, or none
		f := &c.Rules[i].Filter
		n := len(f.Tags)
		if f.prefixed = f.Prefix != ""; f.prefixed {
			n++
		}
		if f.Greater != nil {
			n += 2
		}
		f.form = []filterForm{formEmpty, formOne, formAnd, formAnd, formAnd}[n]
		if r := &c.Rules[i]; r.Expiration == (Expiration{}) && r.NoncurrentDays == 0 && r.AbortDays == 0 {
			r.Expiration.idle = true
		}
	}
	text, err := c.XML()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return string(text)
}

// TestKeysThatCrossPagesAreDecidedAsWholes has more versions than a page holds, in keys of
// three: a noncurrent version, a marker alone and one with a version beneath it.
func TestKeysThatCrossPagesAreDecidedAsWholes(t *testing.T) {
	s := newService(t, document(enabled+all+"<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
		enabled+all+"<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>1</NewerNoncurrentVersions></NoncurrentVersionExpiration>"), object.VersioningEnabled)
	const keys = 700
	for i := range keys {
		key := fmt.Sprintf("%04d", i)
		for range 3 {
			s.at(t, 0, put(key, 1))
		}
		s.at(t, 0, object.Change{Delete: &object.Delete{Bucket: "logs", Objects: []object.DeleteObject{{Key: key + "/marker"}}}})
	}
	stats := s.run(t, 3*ms)
	if stats.Versions != 4*keys || stats.Removed != 2*keys {
		t.Errorf("the walk came to %+v", stats)
	}
	if left := s.versions(t); len(left) != 2*keys {
		t.Errorf("%d versions are left", len(left))
	}
}

// TestWhatChangesDuringAWalkIsNotLost changes the bucket between what the walk read and what
// it asks for.
func TestWhatChangesDuringAWalkIsNotLost(t *testing.T) {
	remove := func(v object.Version) object.Change {
		return object.Change{Delete: &object.Delete{Bucket: "logs", Objects: []object.DeleteObject{{Key: v.Key, Version: &v.ID}}}}
	}
	for _, c := range []struct {
		name, rule string
		meanwhile  func(s *service, newest object.Version)
		left       int
	}{
		{"a key that was written again", oneDay, func(s *service, _ object.Version) { s.at(t, 9*ms, put("a", 7)) }, 3},
		{
			"a version that is the newest again", "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>",
			func(s *service, newest object.Version) { s.at(t, 9*ms, remove(newest)) }, 1,
		},
		{"a version that is gone", oneDay, func(s *service, newest object.Version) { s.at(t, 9*ms, remove(newest)) }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t, document(enabled+all+c.rule), object.VersioningEnabled)
			s.at(t, 0, put("a", 1))
			s.at(t, 0, put("a", 2))
			newest := s.versions(t)[0]
			s.before = func() { c.meanwhile(s, newest) }
			if stats := s.run(t, 9*ms); stats.Expired+stats.Removed != 0 {
				t.Errorf("the walk came to %+v", stats)
			}
			if left := s.versions(t); len(left) != c.left {
				t.Errorf("%d versions are left", len(left))
			}
		})
	}
}

func TestWhatIsHeldIsKept(t *testing.T) {
	s := newService(t, document(enabled+all+"<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"), object.VersioningEnabled)
	yes := true
	s.at(t, 0, object.Change{SetBucket: &object.SetBucket{Name: "logs", ObjectLock: &yes}})
	retained := put("a", 1)
	retained.Put.Retention = object.Retention{Mode: object.LockGovernance, Until: 6 * ms}
	s.at(t, 0, retained)
	held := put("b", 1)
	held.Put.LegalHold = true
	s.at(t, 0, held)
	s.at(t, 0, put("a", 1))
	s.at(t, 0, put("b", 1))
	if stats := s.run(t, 5*ms); stats.Removed != 0 {
		t.Errorf("the walk came to %+v", stats)
	}
	if stats := s.run(t, 6*ms); stats.Removed != 1 || len(s.versions(t)) != 3 {
		t.Errorf("after the retention ended the walk came to %+v", stats)
	}
}

func TestUploadsAreAbortedInTime(t *testing.T) {
	s := newService(t, document(enabled+"<Filter><Prefix>tmp/</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>"), object.VersioningOff)
	for _, key := range []string{"tmp/a", "tmp/b", "other"} {
		s.at(t, ms, object.Change{CreateUpload: &object.CreateUpload{Bucket: "logs", Key: key}})
	}
	if stats := s.run(t, 4*ms-1); stats.Aborted != 0 || stats.Uploads != 3 {
		t.Errorf("before its time the walk came to %+v", stats)
	}
	if stats := s.run(t, 4*ms); stats.Aborted != 2 {
		t.Errorf("the walk came to %+v", stats)
	}
	if stats := s.run(t, 4*ms); stats.Uploads != 1 {
		t.Errorf("then there are uploads by %+v", stats)
	}
}

func TestABucketWithoutRulesIsDone(t *testing.T) {
	s := newService(t, "", object.VersioningOff)
	s.at(t, 0, put("a", 1))
	for _, bucket := range []string{"logs", "gone"} {
		if stats, err := Run(context.Background(), s, bucket, clock(99*ms), unpaced); err != nil || stats != (Stats{}) {
			t.Errorf("the walk over %s came to %+v, %v", bucket, stats, err)
		}
	}
}

func TestTheWalkWaitsForItsPaceAndEndsWithIt(t *testing.T) {
	s := newService(t, document(enabled+all+oneDay), object.VersioningOff)
	s.at(t, 0, put("a", 1))
	enough := errors.New("enough")
	asked := 0
	_, err := Run(context.Background(), s, "logs", clock(9*ms), func(_ context.Context, n int) error {
		if asked += n; asked > object.MaxPage {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || len(s.versions(t)) != 1 {
		t.Errorf("the walk ended with %v", err)
	}
}

// TestAWalkCountsWhatIsHeld: what an operator wonders about is why the versions are still there.
func TestAWalkCountsWhatIsHeld(t *testing.T) {
	s := newService(t, document(enabled+all+"<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"), object.VersioningEnabled)
	yes := true
	s.at(t, 0, object.Change{SetBucket: &object.SetBucket{Name: "logs", ObjectLock: &yes}})
	for _, lock := range []object.Put{
		{LegalHold: true},
		{Retention: object.Retention{Mode: object.LockGovernance, Until: 9 * ms}},
		{Retention: object.Retention{Mode: object.LockCompliance, Until: 3 * ms}},
		{},
		{},
	} {
		c := put("a", 1)
		c.Put.LegalHold, c.Put.Retention = lock.LegalHold, lock.Retention
		s.at(t, 0, c)
	}
	if stats := s.run(t, 1*ms); stats != (Stats{Versions: 5}) {
		t.Errorf("before anything is due: %+v", stats)
	}
	if stats := s.run(t, 3*ms); stats != (Stats{Versions: 5, Removed: 2, Held: 2}) {
		t.Errorf("with two that are held: %+v", stats)
	}
	if left := s.versions(t); len(left) != 3 {
		t.Errorf("%d versions are left", len(left))
	}
}
