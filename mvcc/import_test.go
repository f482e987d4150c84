package mvcc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"chainfire"
	"chainfire/internal/disk"
)

// history is every version ever written, with a lease of none.
func (m *model) history() []Version {
	var out []Version
	for _, e := range m.events {
		v := Version{Revision: Revision{Main: e.KV.ModRevision}, Key: e.KV.Key, Deleted: e.Type == chainfire.EventDelete}
		if n := len(out); n > 0 && out[n-1].Revision.Main == v.Revision.Main {
			v.Revision.Sub = out[n-1].Revision.Sub + 1
		}
		if !v.Deleted {
			v.Value, v.Create, v.Count = e.KV.Value, e.KV.CreateRevision, e.KV.Version
		}
		out = append(out, v)
	}
	return out
}

// uncleaned is the history where a compaction has cleaned up behind the compacted
// revision up to a revision, and no further: what was superseded is gone up to there,
// other than at the compacted revision itself.
func (m *model) uncleaned(upTo int64) []Version {
	all := m.history()
	last := map[string]int{}
	for i, v := range all {
		if v.Revision.Main <= m.compacted {
			last[string(v.Key)] = i
		}
	}
	var out []Version
	for i, v := range all {
		if v.Revision.Main > upTo || v.Revision.Main >= m.compacted || last[string(v.Key)] == i && !v.Deleted {
			out = append(out, v)
		}
	}
	return out
}

// importInto makes a store of a history, and opens it again.
func importInto(opts Options, st State, leases []Lease, versions []Version) (_ *Store, err error) {
	if err := Create(opts, State{Applied: 1, Term: 1}, nil); err != nil {
		return nil, err
	}
	s, err := Open(opts)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(importHistory(s, st, leases, versions), s.Close()); err != nil {
		return nil, err
	}
	return Open(opts)
}

func importHistory(s *Store, st State, leases []Lease, versions []Version) (err error) {
	i, err := s.NewImporter(st.Applied, st.Term, st.Compacted)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.Abort()) }()
	for k := range versions {
		if err := i.Version(&versions[k]); err != nil {
			return err
		}
	}
	for _, l := range leases {
		if err := i.Lease(l); err != nil {
			return err
		}
	}
	return i.Finish(ImportEnd{Revision: st.Revision, Compacted: st.Compacted})
}

// settled lists the rows of a store that has cleaned up. A change at the compacted
// revision may name a version that is gone, which no import can know.
func settled(t fataler, s *Store) []string {
	t.Helper()
	e, st, err := s.acquire()
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer s.release(e)
	var lines []string
	err = eachRow(e.db, []byte{0}, []byte{0xff}, func(row, content []byte) error {
		if row[0] == tagRevision {
			rev, err := parseRevisionRow(row)
			if err != nil {
				return err
			}
			c, err := parseChange(content)
			if err != nil {
				return err
			}
			if rev.Main == st.Compacted && c.prev.Main < st.Compacted {
				c.prev = Revision{}
			}
			content = c.appendTo(nil)
		}
		lines = append(lines, fmt.Sprintf("% x -> % x", row, content))
		return nil
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return lines
}

// TestImportedHistoryHasTheRowsOfTheSameWritesMadeHere: byte for byte, once both have
// cleaned up behind the compacted revision, however far the other side had come with it.
func TestImportedHistoryHasTheRowsOfTheSameWritesMadeHere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRig(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"write":   func(t *rapid.T) { r.add(t, drawRound(t)) },
			"compact": r.compact,
		})
		ctx := context.Background()
		st := r.store.State()
		versions := r.model.uncleaned(rapid.Int64Range(0, st.Revision).Draw(rt, "cleaned up to"))
		opts := r.opts
		opts.Dir = "imported"
		s, err := importInto(opts, st, nil, versions)
		if err != nil {
			rt.Fatal(err)
		}
		for _, x := range []*Store{r.store, s} {
			if err := x.WaitCompacted(ctx, st.Compacted); err != nil {
				rt.Fatal(err)
			}
		}
		if got, want := settled(rt, s), settled(rt, r.store); !slices.Equal(got, want) {
			rt.Fatalf("imported\n%s\nwritten here\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if err := s.Close(); err != nil {
			rt.Fatal(err)
		}
		r.close(rt)
	})
}

func put(main int64, sub uint32, key string, create, count, lease int64) Version {
	return Version{Revision: Revision{main, sub}, Key: []byte(key), Value: []byte("v"), Create: create, Count: count, Lease: lease}
}

func del(main int64, sub uint32, key string) Version {
	return Version{Revision: Revision{main, sub}, Key: []byte(key), Deleted: true}
}

func TestImportedKeysHangOnTheLeasesThatTheyHadLast(t *testing.T) {
	leases := []Lease{{ID: -7, TTL: 10}, {ID: 5, TTL: 100, Remaining: 3}}
	s, err := importInto(Options{FS: disk.NewFaultFS(), Dir: "data"}, State{Applied: 1, Term: 1, Revision: 6, Compacted: NeverCompacted}, leases, []Version{
		put(2, 0, "moved", 2, 1, 5), put(2, 1, "loose", 2, 1, 5), put(3, 0, "moved", 2, 2, -7), put(4, 0, "loose", 2, 2, 0),
		put(5, 0, "gone", 5, 1, 5), put(5, 1, "stays", 5, 1, 5), put(5, 2, "of a lease that is not there", 5, 1, 99), del(6, 0, "gone"),
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Leases()
	if err != nil || diff(got, []Lease{leases[1], leases[0]}) != "" {
		t.Errorf("leases %+v, %v", got, err)
	}
	for id, want := range map[int64]string{5: "[stays]", -7: "[moved]", 99: "[]"} {
		keys, err := s.LeaseKeys(id)
		if text := fmt.Sprintf("%s", keys); err != nil || text != want {
			t.Errorf("keys of lease %d: %s, want %s, %v", id, text, want, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRevisionOfAnImportMovesOnAndWhatWasBeforeIsCompacted(t *testing.T) {
	s, err := importInto(Options{FS: disk.NewFaultFS(), Dir: "data"}, State{Applied: 1, Term: 1, Revision: 3, Compacted: NeverCompacted}, nil,
		[]Version{put(2, 0, "k", 2, 1, 0), put(3, 0, "k", 2, 2, 0)})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.NewWriter()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Leap(1000), w.Commit(1, 1)); err != nil {
		t.Fatal(err)
	}
	if st := s.State(); st.Revision != 1003 || st.Compacted != 1003 {
		t.Errorf("%+v", st)
	}
	r, err := s.Range(t.Context(), &chainfire.RangeRequest{Key: []byte("k")})
	if err != nil || len(r.KVs) != 1 || r.KVs[0].ModRevision != 3 || r.KVs[0].Version != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := s.Range(t.Context(), &chainfire.RangeRequest{Key: []byte("k"), Revision: 1002}); !errors.Is(err, chainfire.ErrCompacted) {
		t.Errorf("read of what was before: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestHistoryThatDoesNotHoldTogetherIsNotImported(t *testing.T) {
	k2 := put(2, 0, "k", 2, 1, 0)
	for name, c := range map[string]struct {
		st       State
		leases   []Lease
		versions []Version
		want     string
	}{
		"out of order":              {State{}, nil, []Version{k2, put(4, 0, "a", 4, 1, 0), put(3, 0, "b", 3, 1, 0)}, "revision 4.0 follows on"},
		"backwards":                 {State{Compacted: 9}, nil, []Version{put(4, 0, "a", 4, 1, 0), put(3, 0, "b", 3, 1, 0)}, "revision 3.0 comes after revision 4.0"},
		"the same twice":            {State{}, nil, []Version{k2, k2}, "revision 2.0 comes after revision 2.0"},
		"a revision is missing":     {State{}, nil, []Version{k2, put(4, 0, "a", 4, 1, 0)}, "what is between is lost"},
		"the first is missing":      {State{}, nil, []Version{put(3, 0, "a", 3, 1, 0)}, "what is between is lost"},
		"one after a compaction":    {State{Compacted: 5}, nil, []Version{k2, put(7, 0, "a", 7, 1, 0)}, "what is between is lost"},
		"half a transaction":        {State{}, nil, []Version{put(2, 1, "k", 2, 1, 0)}, "what is between is lost"},
		"revision 1":                {State{}, nil, []Version{put(1, 0, "k", 1, 1, 0)}, "there is a revision 1.0"},
		"a version was lost":        {State{}, nil, []Version{k2, put(3, 0, "k", 2, 3, 0)}, "does not follow on version 1"},
		"created twice":             {State{}, nil, []Version{k2, put(3, 0, "k", 3, 1, 0)}, "does not follow on version 1"},
		"of another creation":       {State{}, nil, []Version{k2, put(3, 0, "k", 3, 2, 0)}, "does not follow on version 1"},
		"never created":             {State{}, nil, []Version{put(2, 0, "k", 2, 2, 0)}, "does not follow on version 0"},
		"version 0":                 {State{}, nil, []Version{put(2, 0, "k", 2, 0, 0)}, "is version 0"},
		"deleted what is not there": {State{}, nil, []Version{del(2, 0, "k")}, "which was not there"},
		"a lease without an id":     {State{}, []Lease{{TTL: 5}}, nil, "lease 0"},
		"a lease without time":      {State{}, []Lease{{ID: 1}}, nil, "lease 1"},
		"a lease twice":             {State{}, []Lease{{ID: 1, TTL: 1}, {ID: 1, TTL: 1}}, nil, "lease 1"},
		"another end":               {State{Revision: 9}, nil, []Version{k2}, "ends at revision 2"},
	} {
		st := c.st
		if st.Compacted == 0 {
			st.Compacted = NeverCompacted
		}
		if n := len(c.versions); n > 0 && st.Revision == 0 {
			st.Revision = c.versions[n-1].Revision.Main
		}
		_, err := importInto(Options{FS: disk.NewFaultFS(), Dir: "data"}, st, c.leases, c.versions)
		if !errors.Is(err, chainfire.ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestImportIsForANewStore(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), nil)
	if err := write(s, 0, 1, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.NewImporter(1, 1, NeverCompacted); err == nil || !strings.Contains(err.Error(), "at revision 2 already") {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestImportTakesMemoryForOneRound imports more than the memory it may take.
func TestImportTakesMemoryForOneRound(t *testing.T) {
	const versions, bound = 200_000, 96 << 20
	if testing.Short() {
		t.Skip("a large import")
	}
	opts := Options{FS: disk.OS(), Dir: t.TempDir()}
	if err := Create(opts, State{Applied: 1, Term: 1}, nil); err != nil {
		t.Fatal(err)
	}
	s, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	i, err := s.NewImporter(1, 1, NeverCompacted)
	if err != nil {
		t.Fatal(err)
	}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	noise := rand.NewChaCha8([32]byte{1})
	for n := range int64(versions) {
		const keys = 1000
		value := make([]byte, 1000)
		if _, err := noise.Read(value); err != nil {
			t.Fatal(err)
		}
		v := Version{Revision: Revision{Main: n + 2}, Key: fmt.Appendf(nil, "k%d", n%keys), Value: value, Create: n%keys + 2, Count: n/keys + 1}
		if err := i.Version(&v); err != nil {
			t.Fatal(err)
		}
		if n%20_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			if grown := int64(now.HeapAlloc) - int64(before.HeapAlloc); grown > bound {
				t.Fatalf("after %d versions %d bytes are in use", n, grown)
			}
		}
	}
	if err := errors.Join(i.Finish(ImportEnd{Revision: versions + 1, Compacted: NeverCompacted}), s.Close()); err != nil {
		t.Fatal(err)
	}
}
