package auth

import (
	"errors"
	"testing"

	"chainfire"
)

func TestHowFarKeysMayBeWrittenIsTheEndOfThePermission(t *testing.T) {
	w := chainfire.PermitWrite
	s := enabled(t,
		chainfire.Permission{Type: w, Key: []byte("b"), RangeEnd: []byte("d")}, chainfire.Permission{Type: w, Key: []byte("d"), RangeEnd: []byte("e")},
		chainfire.Permission{Type: w, Key: []byte("k")}, chainfire.Permission{Key: []byte("m"), RangeEnd: []byte("n")},
		chainfire.Permission{Type: w, Key: []byte("x"), RangeEnd: []byte{0}},
	)
	ann := Identity{User: "ann", Revision: s.Revision()}
	for key, want := range map[string]string{"b": "e", "cc": "e", "d\xff": "e", "k": "k\x00", "x": "", "zzz": ""} {
		end, err := s.WritableFrom(ann, []byte(key))
		if err != nil || string(end) != want || (want == "") != (end == nil) {
			t.Errorf("from %q: up to %q, %v; want %q", key, end, err, want)
		}
		if end != nil && s.PermitWrite(ann, []byte(key), end) != nil {
			t.Errorf("from %q not all up to %q may be written", key, end)
		}
	}
	for _, key := range []string{"a", "e", "k\x00", "m"} {
		if _, err := s.WritableFrom(ann, []byte(key)); !errors.Is(err, chainfire.ErrPermissionDenied) {
			t.Errorf("from %q: %v", key, err)
		}
	}
	if end, err := s.WritableFrom(Identity{User: "root", Revision: s.Revision()}, []byte("a")); err != nil || end != nil {
		t.Errorf("root: up to %q, %v", end, err)
	}
	for want, id := range map[error]Identity{
		chainfire.ErrUserEmpty: {}, chainfire.ErrAuthOldRevision: {User: "ann", Revision: s.Revision() - 1}, chainfire.ErrPermissionDenied: {User: "gone", Revision: s.Revision()},
	} {
		if _, err := s.WritableFrom(id, []byte("b")); !errors.Is(err, want) {
			t.Errorf("%+v: %v, want %v", id, err, want)
		}
	}
	if end, err := New().WritableFrom(Identity{}, []byte("a")); err != nil || end != nil {
		t.Errorf("without authentication: up to %q, %v", end, err)
	}
}
