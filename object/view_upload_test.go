package object_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"chainfire/object"
)

// uploadsOf is a whole listing of uploads in pages of n: each as key@id, each common prefix as
// it is.
func (w *world) uploadsOf(q object.ListRequest, n int) []string {
	w.t.Helper()
	v := w.view()
	b := w.bucket("bucket")
	q.Limit = n
	var items []string
	for {
		page, err := v.Uploads(ctx, b, q)
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		var l []string
		p := page.Prefixes
		for _, u := range page.Uploads {
			for len(p) > 0 && p[0] <= u.Key {
				l, p = append(l, p[0]), p[1:]
			}
			l = append(l, fmt.Sprintf("%s@%d", u.Key, u.ID))
		}
		l = append(l, p...)
		if len(l) > n || page.More != (page.Next != "") || page.More && len(l) < n {
			w.t.Fatalf("a page of %d has %d items, more is %v, next %q", n, len(l), page.More, page.Next)
		}
		items = append(items, l...)
		if !page.More {
			return items
		}
		q.After, q.AfterVersion = page.Next, page.NextUpload
	}
}

func TestUploadsAreListedByKeyAndThenByWhenTheyBegan(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningOff)
	w.create("bucket2", object.VersioningOff)
	ids := map[string][]uint64{}
	for _, key := range []string{"b", "a/x", "a/y/z", "a", "c\x00", "a", "a\x00/1", "a/x", "c"} {
		id := w.must(&object.Change{CreateUpload: &object.CreateUpload{Bucket: "bucket", Key: key}}).Upload
		ids[key] = append(ids[key], id)
		w.must(&object.Change{CreateUpload: &object.CreateUpload{Bucket: "bucket2", Key: key}})
	}
	at := func(key string, i int) string { return fmt.Sprintf("%s@%d", key, ids[key][i]) }
	all := []string{
		at("a", 0), at("a", 1), at("a\x00/1", 0), at("a/x", 0), at("a/x", 1), at("a/y/z", 0), at("b", 0), at("c", 0), at("c\x00", 0),
	}
	for _, c := range []struct {
		q    object.ListRequest
		want []string
	}{
		{object.ListRequest{}, all},
		{object.ListRequest{Prefix: "a"}, all[:6]},
		{object.ListRequest{Prefix: "a/"}, all[3:6]},
		{object.ListRequest{Delimiter: "/"}, []string{all[0], all[1], "a\x00/", "a/", all[6], all[7], all[8]}},
		{object.ListRequest{Delimiter: "/", Prefix: "a/"}, []string{all[3], all[4], "a/y/"}},
		{object.ListRequest{After: "a"}, all[2:]},
		{object.ListRequest{After: "a", AfterVersion: ids["a"][0]}, all[1:]},
		{object.ListRequest{After: "a", AfterVersion: ids["a"][1]}, all[2:]},
		{object.ListRequest{After: "a/", Delimiter: "/"}, all[6:]},
		{object.ListRequest{After: "a/x", Delimiter: "/", AfterVersion: ids["a/x"][0]}, all[6:]}, // rolled up with it
		{object.ListRequest{After: "aa"}, all[6:]},
		{object.ListRequest{After: "b", Prefix: "a"}, nil},
		{object.ListRequest{After: "A", Prefix: "a/"}, all[3:6]},
		{object.ListRequest{After: "z"}, nil},
	} {
		for n := 1; n <= len(c.want)+1; n++ {
			if got := w.uploadsOf(c.q, n); !slices.Equal(got, c.want) {
				t.Errorf("%+v in pages of %d: %q, want %q", c.q, n, got, c.want)
			}
		}
	}
	b := w.bucket("bucket")
	for _, limit := range []int{0, -1} {
		if p, err := w.view().Uploads(ctx, b, object.ListRequest{Limit: limit}); err != nil || p.More || len(p.Uploads) != 0 {
			t.Errorf("a page of %d: %+v, %v", limit, p, err)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := w.view().Uploads(ended, b, object.ListRequest{Limit: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("a listing that was given up: %v", err)
	}
}

func TestAnUploadIsReadWithWhatItWasBegunWith(t *testing.T) {
	w := newWorld(t)
	w.createLocked("bucket")
	q := &object.CreateUpload{
		Bucket: "bucket", Key: "a\x00b", Owner: "AK1",
		Attributes: object.Attributes{ContentType: "x", Meta: []object.Pair{{Name: "m", Value: "1"}}},
		Checksum:   object.Checksum{Algorithm: object.ChecksumSHA256, Type: object.ChecksumComposite},
		Retention:  object.Retention{Mode: object.LockGovernance, Until: 5}, LegalHold: true,
	}
	id := w.must(&object.Change{CreateUpload: q}).Upload
	got, err := w.view().Upload(w.bucket("bucket"), q.Key, id)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&object.Upload{
		Key: q.Key, ID: id, Initiated: w.now, Owner: q.Owner, Attributes: q.Attributes, Checksum: q.Checksum,
		Retention: q.Retention, LegalHold: true,
	}, got); d != "" {
		t.Error(d)
	}
	if _, err := w.view().Upload(w.bucket("bucket"), "a", id); !errors.Is(err, object.ErrNoSuchUpload) {
		t.Errorf("of another key: %v", err)
	}
}

func TestThePartsOfAnUploadAreReadInPages(t *testing.T) {
	u := newUploader(t, object.VersioningOff, object.Checksum{})
	for _, n := range []int{300, 1, 10_000, 7} {
		u.part(n, 1)
	}
	open, err := u.view().Upload(u.bucket("bucket"), "k", u.upload)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after, limit int
		want         []int
		more         bool
	}{
		{0, 10, []int{1, 7, 300, 10_000}, false},
		{0, 4, []int{1, 7, 300, 10_000}, false},
		{0, 3, []int{1, 7, 300}, true},
		{-1, 1, []int{1}, true},
		{1, 1, []int{7}, true},
		{8, 10, []int{300, 10_000}, false},
		{9_999, 10, []int{10_000}, false},
		{10_000, 10, nil, false},
		{1 << 20, 10, nil, false},
		{0, 0, nil, false},
	} {
		parts, more, err := u.view().UploadParts(open, c.after, c.limit)
		var got []int
		for _, p := range parts {
			got = append(got, p.Number)
		}
		if err != nil || more != c.more || !slices.Equal(got, c.want) {
			t.Errorf("after %d, %d of them: %v, %v, %v, want %v, %v", c.after, c.limit, got, more, err, c.want, c.more)
		}
	}
}
