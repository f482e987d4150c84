package mvcc

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"chainfire/internal/disk"
)

// A checkpoint comes with a log of the engine, which is replayed and flushed when
// it is opened. The engine tries a flush that fails without end.
func TestOpenOnAFullDiskEndsWithTheReason(t *testing.T) {
	fs := disk.NewFaultFS()
	s := newStore(t, fs, nil)
	if err := write(s, 0, 300, 64); err != nil {
		t.Fatal(err)
	}
	if err := s.Checkpoint(context.Background(), "seed"); err != nil {
		t.Fatal(err)
	}
	// Still: when its opening fails, the engine does not wait for its compactions.
	opts := Options{FS: fs, Dir: "other", MemTableBytes: 64 << 10, CacheBytes: 1 << 20, Still: true}
	if err := Install(opts, "seed"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for room := int64(0); ; room += 97 {
		image := fs.Crash(disk.CrashOptions{})
		image.LimitSpace(room)
		o := opts
		o.FS = image
		ended := make(chan error, 1)
		go func() {
			s, err := Open(o)
			if err == nil {
				image.Heal()
				err = s.Close()
			}
			ended <- err
		}()
		select {
		case err := <-ended:
			image.Heal()
			if err == nil && failed > 10 {
				return
			}
			if err != nil && !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("with room for %d bytes: %v", room, err)
			}
			failed++
		case <-time.After(20 * time.Second):
			t.Fatalf("with room for %d bytes the opening does not end", room)
		}
	}
}
