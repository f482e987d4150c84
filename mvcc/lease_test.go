package mvcc

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"chainfire/internal/disk"
)

// TestAWalkOfALeaseSeesWhatTheRoundLeftAndPassesOverTheRest holds the walk against the list
// of all keys, in a round that has attached keys and taken others away.
func TestAWalkOfALeaseSeesWhatTheRoundLeftAndPassesOverTheRest(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), nil)
	key := func(i int) []byte { return fmt.Appendf(nil, "k%03d", i) }
	begin := func() *Writer {
		w, err := s.NewWriter()
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	put := func(w *Writer, i int, lease int64) {
		if _, err := w.Put(key(i), []byte("v"), lease, false); err != nil {
			t.Fatal(err)
		}
		w.EndTxn()
	}
	for _, id := range []int64{5, -1} {
		w := begin()
		if err := w.SetLease(Lease{ID: id, TTL: 10}); err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			put(w, i, id)
		}
		if err := w.Commit(s.State().Applied+1, 1); err != nil {
			t.Fatal(err)
		}
		w = begin()
		for _, i := range []int{0, 1, 50, 99} {
			put(w, i, 0)
		}
		for _, i := range []int{50, 200, 300} {
			put(w, i, id)
		}
		var seen [][]byte
		walk := func(visit func(key []byte) ([]byte, error)) {
			seen = nil
			err := w.WalkLease(id, func(k []byte) ([]byte, error) {
				seen = append(seen, bytes.Clone(k))
				return visit(k)
			})
			if err != nil {
				t.Fatal(err)
			}
			slices.SortFunc(seen, bytes.Compare)
		}
		want, err := w.LeaseKeys(id)
		if err != nil {
			t.Fatal(err)
		}
		walk(func(k []byte) ([]byte, error) { return k, nil })
		if got := slices.CompactFunc(seen, bytes.Equal); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("lease %d: every key is %q, want %q", id, got, want)
		}
		walk(func(k []byte) ([]byte, error) { return key(60), nil })
		if len(seen) != 40+3 || string(seen[0]) != "k002" {
			t.Errorf("lease %d: with the way from k002 to k060 passed over it sees %q", id, seen)
		}
		walk(func([]byte) ([]byte, error) { return nil, nil })
		if got := fmt.Sprintf("%s", seen); got != "[k002 k050 k200 k300]" {
			t.Errorf("lease %d: the first one and those of the round are %s", id, got)
		}
		if err := w.Abort(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
