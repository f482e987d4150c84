package object_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"chainfire/object"
)

func setKey(k object.AccessKey, isNew bool) *object.Change {
	return &object.Change{SetKey: &object.SetKey{Key: k, New: isNew}}
}

func TestAnAccessKeyIsMadeReplacedAndDeleted(t *testing.T) {
	w := newWorld(t)
	k := object.AccessKey{
		ID: "AKIA1", Sealed: []byte("sealed"), Description: "backups", Admin: true, Requests: 1, Bytes: 2, MaxObject: 3,
		Grants: []object.Grant{{Bucket: "logs-*", Read: true}, {Bucket: "*", Write: true}},
	}
	read := func(want object.AccessKey) {
		t.Helper()
		got, err := w.view().AccessKey(k.ID)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(&want, got); d != "" {
			t.Error(d)
		}
		all, err := w.view().AccessKeys()
		if d := cmp.Diff([]object.AccessKey{want}, all); err != nil || d != "" {
			t.Errorf("among all: %v, %s", err, d)
		}
	}
	w.refused(setKey(k, false), object.ErrNoSuchAccessKey)
	made := k
	made.Created = w.now
	w.must(setKey(k, true))
	read(made)
	w.refused(setKey(k, true), object.ErrKeyExists)
	w.now += 5
	made.Disabled, made.Grants, made.Description = true, nil, ""
	changed := made
	changed.Created = w.now // which is not the caller's to say
	w.must(setKey(changed, false))
	read(made)
	w.must(&object.Change{DeleteKey: &object.DeleteKey{ID: k.ID}})
	w.refused(&object.Change{DeleteKey: &object.DeleteKey{ID: k.ID}}, object.ErrNoSuchAccessKey)
	if _, err := w.view().AccessKey(k.ID); !errors.Is(err, object.ErrNoSuchAccessKey) {
		t.Errorf("reading it: %v", err)
	}
}

func TestThereAreOnlySoManyAccessKeysInTheOrderOfTheirIDs(t *testing.T) {
	w := newWorld(t)
	for i := range object.MaxKeys {
		w.quick(setKey(object.AccessKey{ID: fmt.Sprintf("key%04d", object.MaxKeys-1-i), Sealed: []byte{1}}, true))
	}
	more := object.AccessKey{ID: "more", Sealed: []byte{1}}
	w.refused(setKey(more, true), object.ErrTooManyKeys)
	w.must(setKey(object.AccessKey{ID: "key0000", Sealed: []byte{2}}, false)) // one of them
	all, err := w.view().AccessKeys()
	if err != nil || len(all) != object.MaxKeys {
		t.Fatalf("%d keys, %v", len(all), err)
	}
	for i, k := range all {
		if k.ID != fmt.Sprintf("key%04d", i) {
			t.Fatalf("key %d is %s", i, k.ID)
		}
	}
	w.must(&object.Change{DeleteKey: &object.DeleteKey{ID: "key0500"}})
	w.must(setKey(more, true))
}
