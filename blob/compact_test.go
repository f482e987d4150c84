package blob

import (
	"context"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chainfire/internal/disk"
)

// sparseStore is a store with a segment that nothing is in.
func sparseStore(t *testing.T, fs *disk.FaultFS) *Store {
	t.Helper()
	s := open(t, options(fs))
	for n := range 20 {
		must(t, put(s, ext(1, n), 1000))
	}
	must(t, s.Sync(context.Background()))
	for n := range 15 {
		must(t, s.Delete(context.Background(), ext(1, n)))
	}
	return s
}

func TestPutsGoOnWhileCompactionFlushesTheIndex(t *testing.T) {
	fs := disk.NewFaultFS()
	s := sparseStore(t, fs)
	defer s.Close()
	must(t, s.index.flush())
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fs.Observe(func(e disk.Event) {
		if e.Op == disk.OpCreate && strings.Contains(e.Path, indexName) {
			once.Do(func() {
				close(entered)
				<-leave
			})
		}
	})
	compacted := make(chan error, 1)
	go func() {
		_, err := s.Compact(context.Background(), nil)
		compacted <- err
	}()
	<-entered
	done := make(chan error, 1)
	go func() {
		err := put(s, ext(2, 1), 1000)
		if err == nil {
			err = s.Sync(context.Background())
		}
		done <- err
	}()
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(10 * time.Second):
		t.Error("a put waits for a flush of compaction")
	}
	close(leave)
	must(t, <-compacted)
	must(t, holds(s, ext(2, 1), 1000))
	must(t, holds(s, ext(1, 19), 1000))
}

func TestASegmentWhoseRemovalFailsForWantOfRoomIsRemovedLater(t *testing.T) {
	fs := disk.NewFaultFS()
	s := sparseStore(t, fs)
	defer s.Close()
	fs.Fail(disk.Rule{Op: disk.OpCreate, Path: indexName, Err: syscall.ENOSPC})
	before := s.Usage().Segments
	if _, err := s.Compact(context.Background(), nil); !noRoom(err) {
		t.Fatalf("compact: %v", err)
	}
	if n := s.Usage().Segments; n != before {
		t.Errorf("%d segments of %d are left, and none was removed", n, before)
	}
	fs.Heal()
	for s.index.full.Load() { // the engine tries again by itself
		must(t, s.index.flush())
	}
	done, err := s.Compact(context.Background(), nil)
	if err != nil || done.Segments == 0 {
		t.Errorf("compact: %+v, %v", done, err)
	}
}

func TestAFileThatIsForgottenWhileItIsOpenedIsClosedByItsLastUser(t *testing.T) {
	closed := 0
	var f *files
	f = newFiles(func(id uint64) (disk.File, error) {
		f.forget(id)
		return closing{closed: &closed}, nil
	})
	o, err := f.get(7)
	must(t, err)
	f.put(o)
	if closed != 1 || len(f.byID) != 0 || f.idle != 0 {
		t.Errorf("closed %d times, %d are open, %d of them idle", closed, len(f.byID), f.idle)
	}
}

type closing struct {
	disk.File
	closed *int
}

func (c closing) Close() error {
	*c.closed++
	return nil
}

// The index may have no room at one moment and some at the next: a deletion is refused then, or done.
func TestADeletionThatIsAnsweredWasDone(t *testing.T) {
	s := open(t, options(disk.NewFaultFS()))
	defer s.Close()
	for n := range 400 {
		must(t, put(s, ext(1, n), 10))
	}
	must(t, s.Sync(context.Background()))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		defer s.index.full.Store(false)
		for full := false; ; full = !full {
			select {
			case <-stop:
				return
			default:
				s.index.full.Store(full)
			}
		}
	}()
	for n := range 400 {
		id := ext(1, n)
		for s.Delete(context.Background(), id) != nil {
		}
		if has, err := s.Has(id); has || err != nil {
			t.Errorf("extent %d is there: %v, %v", n, has, err)
		}
	}
	close(stop)
	<-stopped
}
