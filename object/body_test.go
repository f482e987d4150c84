package object_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"chainfire/object"
)

// openLease opens a write lease.
func (w *world) openLease(member, boots uint64) uint64 {
	w.t.Helper()
	r := w.must(&object.Change{OpenLease: &object.OpenLease{Member: member, Boots: boots}})
	if r.Lease != w.index {
		w.t.Fatalf("the lease %d was opened at index %d", r.Lease, w.index)
	}
	return r.Lease
}

// putBody is a put of a body.
func putBody(key string, b object.Body) *object.Change {
	return &object.Change{Put: &object.Put{Bucket: "bucket", Key: key, ETag: etagOf(1), Body: b}}
}

func (w *world) wanted(id object.BodyID, want bool) {
	w.t.Helper()
	if got, err := w.view().Wanted(id); err != nil || got != want {
		w.t.Errorf("body %v is wanted: %v, %v, want %v", id, got, err, want)
	}
}

func TestABodyIsReadAsItWasPut(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningEnabled)
	lease := w.openLease(1, 1)
	mixed := bodyOf(lease, 1, 3*mib+5, 1, 2)
	mixed.Extents[1].Holders = []uint64{1, 2, 3}
	for name, b := range map[string]object.Body{
		"no bytes":  {},
		"inline":    {Size: 3, Inline: []byte("abc")},
		"extents":   bodyOf(lease, 0, 2*mib, 1, 3),
		"in runs":   mixed,
		"last of N": bodyOf(lease, 1<<31-1, 1, 1, 2, 3),
	} {
		v := w.must(putBody(name, b)).Version
		got, err := w.view().Body(v.Body)
		if err != nil {
			t.Fatal(err)
		}
		want := b
		want.ID = v.Body
		if d := cmp.Diff(&want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if len(b.Extents) > 0 && v.Body != b.ID {
			t.Errorf("%s: its id is %v, was %v", name, v.Body, b.ID)
		}
		if (v.Body == object.BodyID{}) != (b.Size == 0) {
			t.Errorf("%s: its id is %v", name, v.Body)
		}
	}
}

func TestABodyIsTakenOnlyIfAMajorityOfItsPlaceHoldsIt(t *testing.T) {
	for _, c := range []struct {
		placed, holders []uint64
		taken           bool
	}{
		{[]uint64{1, 2, 3}, []uint64{1, 2, 3}, true},
		{[]uint64{1, 2, 3}, []uint64{1, 3}, true},
		{[]uint64{3, 1, 2}, []uint64{1, 3}, true},
		{[]uint64{1, 2, 3}, []uint64{2}, false},
		{[]uint64{1, 2, 3}, nil, false},
		{[]uint64{1, 2, 3}, []uint64{3, 4, 5}, false}, // others do not count
		{[]uint64{1, 2}, []uint64{1}, false},
		{[]uint64{1, 2}, []uint64{1, 2}, true},
		{[]uint64{1}, []uint64{1}, true},
		{nil, []uint64{1}, false},
	} {
		t.Run(fmt.Sprintf("%v of %v", c.holders, c.placed), func(t *testing.T) {
			w := newWorld(t)
			w.create("bucket", object.VersioningOff)
			lease := w.openLease(1, 1)
			w.placed = c.placed
			if c.taken {
				w.must(putBody("k", bodyOf(lease, 1, 2*mib, c.holders...)))
				return
			}
			w.refused(putBody("k", bodyOf(lease, 1, 2*mib, c.holders...)), object.ErrHolders)
			// It is each extent that counts.
			b := bodyOf(lease, 1, 3*mib, 1, 2, 3)
			b.Extents[2].Holders = c.holders
			w.refused(putBody("k", b), object.ErrHolders)
			w.must(putBody("k", inline(5))) // what is inline is on every member
		})
	}
}

func TestABodyIsTakenOnce(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningEnabled)
	lease := w.openLease(1, 1)
	b := bodyOf(lease, 1, mib, 1, 2)
	w.must(putBody("k", b))
	w.refused(putBody("k", b), object.ErrInvalid)
	w.must(&object.Change{CloseLease: &object.CloseLease{ID: lease}})
	w.refused(putBody("k", bodyOf(lease, 2, mib, 1, 2)), object.ErrLeaseGone)
	w.refused(putBody("k", bodyOf(lease+100, 2, mib, 1, 2)), object.ErrLeaseGone)
}

func TestABodyOfNoFormIsRefusedAlsoWhenApplied(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningOff)
	lease := w.openLease(1, 1)
	short := bodyOf(lease, 1, 2*mib, 1, 2)
	short.Size--
	for name, b := range map[string]object.Body{
		"too long inline":   inline(object.MaxInline + 1),
		"another size":      {Size: 2, Inline: []byte("abc")},
		"extents too small": short,
		"an inline name":    bodyOf(lease, 1<<31, mib, 1, 2),
	} {
		if _, err := w.apply(putBody("k", b)); !errors.Is(err, object.ErrInvalid) && !errors.Is(err, object.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestABodyIsWantedWhileItIsReferredToOrItsLeaseIsOpen(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningOff)
	lease := w.openLease(1, 1)
	id := object.BodyID{Lease: lease, N: 1}
	w.wanted(id, true) // may still be referred to
	v := w.must(putBody("k", bodyOf(lease, 1, mib, 1, 2))).Version
	copied := w.must(&object.Change{Copy: &object.Copy{
		SourceBucket: "bucket", SourceKey: "k", SourceSeq: v.Seq, Bucket: "bucket", Key: "copy", ETag: v.ETag,
	}}).Version
	w.must(&object.Change{CloseLease: &object.CloseLease{ID: lease}})
	w.wanted(id, true)
	w.wanted(object.BodyID{Lease: lease, N: 2}, false) // an orphan
	w.put("bucket", "k", "", 1)
	w.wanted(id, true) // the copy has it
	if b, err := w.view().Body(copied.Body); err != nil || b.Size != mib {
		t.Errorf("the body of the copy is %+v, %v", b, err)
	}
	w.deleteOne("bucket", false, object.DeleteObject{Key: "copy"})
	w.wanted(id, false)
	if _, err := w.view().Body(id); err == nil {
		t.Error("a body that was let go is read")
	}
}

func TestBodiesAreWalkedInTheirOrderWithoutThoseInline(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningEnabled)
	one := w.openLease(1, 1)
	two := w.openLease(2, 1)
	w.put("bucket", "k", "", 100)
	ids := []object.BodyID{{Lease: one, N: 0}, {Lease: one, N: 3}, {Lease: one, N: 256}, {Lease: two, N: 1}}
	for _, i := range []int{2, 0, 3, 1} {
		w.must(putBody("k", bodyOf(ids[i].Lease, ids[i].N, mib, 1, 2)))
		w.put("bucket", "k", "", 100)
	}
	for _, c := range []struct {
		after object.BodyID
		limit int
		want  []object.BodyID
	}{
		{object.BodyID{}, 9, ids},
		{object.BodyID{}, 2, ids[:2]},
		{ids[0], 9, ids[1:]},
		{object.BodyID{Lease: one, N: 4}, 1, ids[2:3]},
		{ids[3], 9, nil},
	} {
		var got []object.BodyID
		err := w.view().Bodies(c.after, func(b *object.Body) bool {
			got = append(got, b.ID)
			return len(got) < c.limit
		})
		if d := cmp.Diff(c.want, got); err != nil || d != "" {
			t.Errorf("after %v: %v, %s", c.after, err, d)
		}
	}
}

func TestABodyIsFoundAsLongAsSomethingRefersToIt(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningOff)
	want := bodyOf(w.openLease(1, 1), 1, 2*mib, 1, 2)
	find := func() (*object.Body, bool) {
		t.Helper()
		b, found, err := w.view().FindBody(want.ID)
		if err != nil {
			t.Fatal(err)
		}
		return b, found
	}
	if _, found := find(); found {
		t.Error("it is found, and nothing refers to it yet")
	}
	w.must(putBody("k", want))
	if b, found := find(); !found || !cmp.Equal(*b, want) {
		t.Errorf("found %v: %+v", found, b)
	}
	w.deleteOne("bucket", false, object.DeleteObject{Key: "k"})
	if _, found := find(); found {
		t.Error("it is found, and nothing refers to it any more")
	}
}

func TestLeasesAreClosedByTheirIDOrByANewerStart(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.openLease(1, 1), w.openLease(1, 2), w.openLease(2, 1)
	leases := func(want ...object.Lease) {
		t.Helper()
		got, err := w.view().Leases()
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%v, %s", err, d)
		}
	}
	leases(object.Lease{ID: a, Member: 1, Boots: 1}, object.Lease{ID: b, Member: 1, Boots: 2}, object.Lease{ID: c, Member: 2, Boots: 1})
	w.must(&object.Change{CloseLeases: &object.CloseLeases{Member: 1, Boots: 2}})
	leases(object.Lease{ID: b, Member: 1, Boots: 2}, object.Lease{ID: c, Member: 2, Boots: 1})
	w.must(&object.Change{CloseLease: &object.CloseLease{ID: c}})
	w.must(&object.Change{CloseLease: &object.CloseLease{ID: c}}) // one that is not there is closed
	leases(object.Lease{ID: b, Member: 1, Boots: 2})
	w.must(&object.Change{CloseLeases: &object.CloseLeases{Member: 1, Boots: 3}})
	leases()
}

func TestThereAreOnlySoManyLeases(t *testing.T) {
	w := newWorld(t)
	open := &object.Change{OpenLease: &object.OpenLease{Member: 1}}
	w.must(open)
	row := func(id uint64) []byte { return binary.BigEndian.AppendUint64([]byte("w"), id) }
	value, _, err := w.rows.Get(row(1))
	if err != nil {
		t.Fatal(err)
	}
	for id := uint64(2); id <= object.MaxLeases; id++ { // as rows: to open each would look at all of them
		if err := w.rows.Set(row(id), value); err != nil {
			t.Fatal(err)
		}
	}
	w.index = object.MaxLeases
	w.refused(open, object.ErrTooManyLeases)
	w.must(&object.Change{CloseLease: &object.CloseLease{ID: 1}})
	w.must(open)
}

func TestASmallObjectIsPutAndCopiedWithItsBytes(t *testing.T) {
	w := newWorld(t)
	w.create("bucket", object.VersioningOff)
	v := w.must(putBody("k", object.Body{Size: 3, Inline: []byte("abc")})).Version
	if v.Body.Lease != w.index {
		t.Errorf("its id is %v, and it was put at %d", v.Body, w.index)
	}
	w.must(&object.Change{Copy: &object.Copy{
		SourceBucket: "bucket", SourceKey: "k", SourceSeq: v.Seq, Bucket: "bucket", Key: "k", ETag: v.ETag,
	}}) // onto itself
	b, err := w.view().Body(v.Body)
	if err != nil || !bytes.Equal(b.Inline, []byte("abc")) {
		t.Errorf("the body is %+v, %v", b, err)
	}
}
