package object_test

import (
	"errors"
	"testing"
	"time"

	"chainfire/object"
)

const day = 24 * 60 * 60 * 1000

func TestWhatIsHeldIsNotDeleted(t *testing.T) {
	for _, c := range []struct {
		name         string
		mode         object.LockMode
		hold, bypass bool
		// after is how long after the end of the retention it is deleted, in milliseconds.
		after int64
		want  error
	}{
		{name: "nothing holds it"},
		{name: "governance", mode: object.LockGovernance, after: -1, want: object.ErrLocked},
		{name: "governance, bypassed", mode: object.LockGovernance, after: -1, bypass: true},
		{name: "governance, ended", mode: object.LockGovernance},
		{name: "compliance", mode: object.LockCompliance, after: -1, want: object.ErrLocked},
		{name: "compliance is never bypassed", mode: object.LockCompliance, after: -1, bypass: true, want: object.ErrLocked},
		{name: "compliance, ended", mode: object.LockCompliance},
		{name: "a legal hold", hold: true, want: object.ErrLocked},
		{name: "a legal hold is never bypassed", hold: true, bypass: true, want: object.ErrLocked},
		{name: "a legal hold outlasts a retention", mode: object.LockGovernance, hold: true, want: object.ErrLocked},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.createLocked("bucket")
			r := object.Retention{}
			if c.mode != object.LockNone {
				r = object.Retention{Mode: c.mode, Until: w.now + 5*day}
			}
			v := w.must(&object.Change{Put: &object.Put{Bucket: "bucket", Key: "k", Body: inline(1), Retention: r, LegalHold: c.hold}}).Version
			w.now += 5*day + c.after
			other := w.put("bucket", "other", "", 1)
			res := w.must(&object.Change{Delete: &object.Delete{Bucket: "bucket", Bypass: c.bypass, Objects: []object.DeleteObject{
				{Key: "k", Version: &v.ID}, {Key: "other", Version: &other.ID},
			}}})
			if got := res.Deleted[0]; !errors.Is(got.Err, c.want) || got.Found != (c.want == nil) {
				t.Errorf("deleting it: %+v, want %v", got, c.want)
			}
			if got := res.Deleted[1]; got.Err != nil || !got.Found {
				t.Errorf("deleting another in the same change: %+v", got)
			}
			if _, err := w.view().Version(w.bucket("bucket"), "k", &v.ID); (err == nil) != (c.want != nil) {
				t.Errorf("reading it afterwards: %v", err)
			}
		})
	}
}

func TestAHeldVersionCanBeCovered(t *testing.T) {
	w := newWorld(t)
	w.createLocked("bucket")
	w.must(&object.Change{Put: &object.Put{Bucket: "bucket", Key: "k", LegalHold: true}})
	d := w.deleteOne("bucket", false, object.DeleteObject{Key: "k"})
	if d.Err != nil || !d.Marker {
		t.Fatalf("the delete marker: %+v", d)
	}
	if d := w.deleteOne("bucket", false, object.DeleteObject{Key: "k", Version: &d.Version}); d.Err != nil || !d.Found {
		t.Errorf("taking the marker away: %+v", d)
	}
}

func TestTheRuleOfABucketIsGivenToNewVersions(t *testing.T) {
	leap := time.Date(2028, 2, 29, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		rule object.LockRule
		own  object.Retention
		want object.Retention
	}{
		{name: "none"},
		{
			name: "days", rule: object.LockRule{Mode: object.LockGovernance, Days: 30},
			want: object.Retention{Mode: object.LockGovernance, Until: leap.UnixMilli() + 30*day},
		},
		{
			name: "years are the calendar's", rule: object.LockRule{Mode: object.LockCompliance, Years: 1},
			want: object.Retention{Mode: object.LockCompliance, Until: time.Date(2029, 3, 1, 12, 0, 0, 0, time.UTC).UnixMilli()},
		},
		{
			name: "its own goes first", rule: object.LockRule{Mode: object.LockCompliance, Years: 100},
			own:  object.Retention{Mode: object.LockGovernance, Until: leap.UnixMilli() + 1},
			want: object.Retention{Mode: object.LockGovernance, Until: leap.UnixMilli() + 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.now = leap.UnixMilli()
			w.createLocked("bucket")
			w.must(&object.Change{SetBucket: &object.SetBucket{Name: "bucket", Lock: &c.rule}})
			v := w.must(&object.Change{Put: &object.Put{Bucket: "bucket", Key: "k", Retention: c.own}}).Version
			if v.Retention != c.want {
				t.Errorf("put: the retention is %+v, want %+v", v.Retention, c.want)
			}
			v = w.must(&object.Change{Copy: &object.Copy{
				SourceBucket: "bucket", SourceKey: "k", SourceSeq: v.Seq, Bucket: "bucket", Key: "l", Retention: c.own,
			}}).Version
			if v.Retention != c.want {
				t.Errorf("copy: the retention is %+v, want %+v", v.Retention, c.want)
			}
			d := w.deleteOne("bucket", false, object.DeleteObject{Key: "k"})
			marker, err := w.view().Version(w.bucket("bucket"), "k", &d.Version)
			if err != nil || marker.Retention != (object.Retention{}) {
				t.Errorf("a delete marker has retention: %+v, %v", marker, err)
			}
		})
	}
}

func TestARetentionIsOnlyMadeLonger(t *testing.T) {
	const until = 10 * day
	for _, c := range []struct {
		name   string
		from   object.LockMode
		to     object.LockMode
		at     int64 // the new end
		bypass bool
		late   bool // the old one has ended
		want   error
	}{
		{name: "the first", to: object.LockCompliance, at: 1},
		{name: "governance, longer", from: object.LockGovernance, to: object.LockGovernance, at: until + 1},
		{name: "governance, the same", from: object.LockGovernance, to: object.LockGovernance, at: until},
		{name: "governance, shorter", from: object.LockGovernance, to: object.LockGovernance, at: until - 1, want: object.ErrLocked},
		{name: "governance, shorter, bypassed", from: object.LockGovernance, to: object.LockGovernance, at: until - 1, bypass: true},
		{name: "governance, taken away", from: object.LockGovernance, want: object.ErrLocked},
		{name: "governance, taken away, bypassed", from: object.LockGovernance, bypass: true},
		{name: "governance to compliance", from: object.LockGovernance, to: object.LockCompliance, at: until},
		{name: "governance to compliance, shorter", from: object.LockGovernance, to: object.LockCompliance, at: 1, want: object.ErrLocked},
		{name: "governance, ended", from: object.LockGovernance, late: true},
		{name: "compliance, longer", from: object.LockCompliance, to: object.LockCompliance, at: until + 1},
		{name: "compliance, shorter", from: object.LockCompliance, to: object.LockCompliance, at: until - 1, bypass: true, want: object.ErrLocked},
		{name: "compliance to governance", from: object.LockCompliance, to: object.LockGovernance, at: until + 1, bypass: true, want: object.ErrLocked},
		{name: "compliance, taken away", from: object.LockCompliance, bypass: true, want: object.ErrLocked},
		{name: "compliance, ended", from: object.LockCompliance, late: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.createLocked("bucket")
			start := w.now
			old := object.Retention{Mode: c.from}
			if c.from != object.LockNone {
				old.Until = start + until
			}
			w.must(&object.Change{Put: &object.Put{Bucket: "bucket", Key: "k", Retention: old}})
			if c.late {
				w.now += until
			}
			to := object.Retention{Mode: c.to, Until: start + c.at}
			if c.to == object.LockNone {
				to.Until = 0
			}
			change := &object.Change{SetObject: &object.SetObject{Bucket: "bucket", Key: "k", Retention: &to, Bypass: c.bypass}}
			if c.want != nil {
				w.refused(change, c.want)
				return
			}
			w.must(change)
			v, err := w.view().Version(w.bucket("bucket"), "k", nil)
			if err != nil || v.Retention != to || v.Modified != start {
				t.Errorf("the version is %+v, %v, want retention %+v", v, err, to)
			}
		})
	}
}

func TestSetObjectChangesWhatIsNotNil(t *testing.T) {
	w := newWorld(t)
	w.createLocked("locked")
	w.create("plain", object.VersioningEnabled)
	first := w.put("plain", "k", "a", 1)
	w.put("plain", "k", "b", 1)
	tags := []object.Pair{{Name: "n", Value: "v"}}
	set := func(s object.SetObject) *object.Change {
		s.Key = "k"
		return &object.Change{SetObject: &s}
	}
	w.must(set(object.SetObject{Bucket: "plain", Tags: &tags}))
	w.must(set(object.SetObject{Bucket: "plain", Version: &first.ID, Tags: &[]object.Pair{{Name: "old"}}}))
	for i, want := range []string{"n", "old"} {
		page, err := w.view().List(ctx, w.bucket("plain"), object.ListRequest{Versions: true, Limit: 10})
		if err != nil || len(page.Entries) != 2 || len(page.Entries[i].Tags) != 1 || page.Entries[i].Tags[0].Name != want {
			t.Errorf("version %d should have the tag %s: %+v, %v", i, want, page, err)
		}
	}
	if v := w.must(set(object.SetObject{Bucket: "plain", Tags: &[]object.Pair{}})).Version; len(v.Tags) != 0 || v.ETag != "b" {
		t.Errorf("without tags the version is %+v", v)
	}
	w.put("locked", "k", "a", 1)
	w.must(set(object.SetObject{Bucket: "locked", LegalHold: ptr(true)}))
	if v := w.must(set(object.SetObject{Bucket: "locked", Tags: &tags})).Version; !v.LegalHold || len(v.Tags) != 1 {
		t.Errorf("with a hold and tags the version is %+v", v)
	}
	if v := w.must(set(object.SetObject{Bucket: "locked", LegalHold: ptr(false)})).Version; v.LegalHold {
		t.Error("a hold that was taken away holds")
	}

	marker := w.deleteOne("plain", false, object.DeleteObject{Key: "k"})
	w.refused(set(object.SetObject{Bucket: "plain", Tags: &tags}), object.ErrMethodNotAllowed)
	w.refused(set(object.SetObject{Bucket: "plain", Version: &marker.Version, Tags: &tags}), object.ErrMethodNotAllowed)
	w.refused(set(object.SetObject{Bucket: "plain", Version: ptr(object.Null), Tags: &tags}), object.ErrNoSuchVersion)
	w.refused(&object.Change{SetObject: &object.SetObject{Bucket: "plain", Key: "none", Tags: &tags}}, object.ErrNoSuchKey)
	w.refused(set(object.SetObject{Bucket: "none", Tags: &tags}), object.ErrNoSuchBucket)
	w.refused(set(object.SetObject{Bucket: "plain", Version: &first.ID, LegalHold: ptr(true)}), object.ErrInvalidBucketState)
	w.refused(set(object.SetObject{Bucket: "plain", Version: &first.ID, Retention: &object.Retention{}}), object.ErrInvalidBucketState)
}

func TestLocksNeedABucketWithObjectLock(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningEnabled)
	v := w.put("bucket", "k", "a", 1)
	until := object.Retention{Mode: object.LockGovernance, Until: w.now + day}
	for _, c := range []*object.Change{
		{Put: &object.Put{Bucket: "bucket", Key: "k", Retention: until}},
		{Put: &object.Put{Bucket: "bucket", Key: "k", LegalHold: true}},
		{Copy: &object.Copy{SourceBucket: "bucket", SourceKey: "k", SourceSeq: v.Seq, Bucket: "bucket", Key: "l", LegalHold: true}},
		{Copy: &object.Copy{SourceBucket: "bucket", SourceKey: "k", SourceSeq: v.Seq, Bucket: "bucket", Key: "l", Retention: until}},
	} {
		w.refused(c, object.ErrInvalidBucketState)
	}
}
