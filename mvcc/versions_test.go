package mvcc

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"chainfire"
)

// versions are what reads need from the compacted revision on, in order: of the model,
// which keeps every event.
func (m *model) readable() []chainfire.Event {
	last := map[string]int{}
	for i, e := range m.events {
		if e.KV.ModRevision <= m.compacted {
			last[string(e.KV.Key)] = i
		}
	}
	var out []chainfire.Event
	for i, e := range m.events {
		if e.KV.ModRevision >= m.compacted || last[string(e.KV.Key)] == i && e.Type == chainfire.EventPut {
			out = append(out, e)
		}
	}
	return out
}

// TestVersionsAreAllThatReadsNeedInTheOrderOfRevisions takes a few keys a pass.
func TestVersionsAreAllThatReadsNeedInTheOrderOfRevisions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(t)
		t.Repeat(map[string]func(*rapid.T){
			"write":   func(t *rapid.T) { r.add(t, drawRound(t)) },
			"compact": r.compact,
			"versions": func(t *rapid.T) {
				want := r.model.readable()
				v, err := r.store.View()
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				var before Revision
				err = v.versions(context.Background(), func(got *Version) error {
					if n == len(want) {
						t.Fatalf("more than %d versions", n)
					}
					e := want[n]
					if n++; compareRevisions(got.Revision, before) <= 0 {
						t.Fatalf("%v comes after %v", got.Revision, before)
					}
					before = got.Revision
					if !bytes.Equal(got.Key, e.KV.Key) || got.Revision.Main != e.KV.ModRevision || got.Deleted != (e.Type == chainfire.EventDelete) {
						t.Fatalf("version %d is %+v, want %+v", n, got, e)
					}
					if !got.Deleted && (!bytes.Equal(got.Value, e.KV.Value) || got.Create != e.KV.CreateRevision || got.Count != e.KV.Version) {
						t.Fatalf("version %d is %+v, want %+v", n, got, e)
					}
					return nil
				}, rapid.IntRange(1, 300).Draw(t, "batch"))
				if err := errors.Join(err, v.Close()); err != nil {
					t.Fatal(err)
				}
				if n != len(want) {
					t.Fatalf("%d versions, want %d", n, len(want))
				}
			},
		})
		r.close(t)
	})
}
