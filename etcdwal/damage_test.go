package etcdwal_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"chainfire"
	"chainfire/etcdwal"
)

// TestNoDamageOfTheLogChangesAnEntry: wherever a bit is another, what is read is as it
// was written, up to an end that is told, or nothing.
func TestNoDamageOfTheLogChangesAnEntry(t *testing.T) {
	dir := written(t, 20, 2)
	all := files(t, dir)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	refused := 0
	const tries = 300
	for range tries {
		path := all[random.IntN(len(all))]
		whole := contentsOf(t, path)
		used := len(bytes.TrimRight(whole, "\x00"))
		at, bit := random.IntN(used), random.IntN(8)
		damaged := bytes.Clone(whole)
		damaged[at] ^= 1 << bit
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := etcdwal.Open(t.Context(), etcdwal.Options{Dir: dir, After: 3, Voters: []uint64{self}})
		switch {
		case errors.Is(err, chainfire.ErrCorrupt):
			refused++
		case err != nil:
			t.Errorf("%s at %d, bit %d: %v", path, at, bit, err)
		default:
			next := uint64(4)
			err := l.Entries(t.Context(), func(e *raftpb.Entry) error {
				if e.GetIndex() != next || !bytes.Equal(e.Data, entry(next, 1).Data) {
					t.Errorf("%s at %d, bit %d: entry %d is %.20q", path, at, bit, next, e.Data)
				}
				next++
				return nil
			})
			// The padding behind a record has no checksum; the last write, of entries 39
			// and 40 with a commit index of 38, may be taken for one that was cut short.
			if err != nil || next < 39 || next <= 40 && l.Torn == nil {
				t.Errorf("%s at %d, bit %d: the log ends before entry %d, %v", path, at, bit, next, err)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if refused < tries/2 {
		t.Errorf("only %d of %d were refused", refused, tries)
	}
}
