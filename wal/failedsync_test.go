package wal

import (
	"testing"

	"chainfire/internal/disk"
	"chainfire/raft"
)

// A disk that fails a sync may show what it never wrote until the power goes,
// and later syncs do not write it either. Whatever a process that starts on such
// a disk has seen, it builds on: it must be there after the power went. Found by
// seed 34 of the simulation.
func TestWhatIsSeenAfterAFailedSyncSurvivesAPowerCut(t *testing.T) {
	for _, failing := range []int{0, 1, 2, 3} {
		d := disk.NewFaultFS()
		l := mustCreate(t, small(d))
		must(t, l.Append(Batch{HardState: &raft.HardState{Term: 1}, Entries: run(1, 2, 1, 10)}))
		d.Fail(disk.Rule{Op: disk.OpSync, After: failing, Times: 1})
		err := error(nil)
		for i := uint64(3); err == nil; i++ {
			must(t, l.Append(Batch{HardState: &raft.HardState{Term: 1, Commit: i - 1}}))
			err = l.Append(Batch{Entries: run(i, i, 1, 10)})
		}
		if cerr := l.Close(); cerr == nil {
			t.Fatal("a poisoned log closes without a word")
		}

		// The process starts again, on the same disk that was not without power.
		again, seen := mustOpen(t, small(d))
		want := content(t, again, seen)
		r, st := mustOpen(t, small(d.Crash(disk.CrashOptions{})))
		if got := content(t, r, st); got != want {
			t.Errorf("sync %d failed: after a power cut\n%s\nwant\n%s", failing, got, want)
		}
		must(t, again.Append(Batch{Entries: run(seen.Last+1, seen.Last+1, 1, 10)}))
		r, st = mustOpen(t, small(d.Crash(disk.CrashOptions{})))
		if st.Last != seen.Last+1 {
			t.Errorf("sync %d failed: after another batch and a power cut the log ends at %d, not %d", failing, st.Last, seen.Last+1)
		}
		must(t, r.Close())
	}
}
