package mvcc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"chainfire"
	"chainfire/internal/disk"
)

// lockName is the file that the engine locks a directory with.
const lockName = "LOCK"

// Checkpoint writes a copy of the store, at least as new as the call, into a
// directory that does not exist yet. Files are linked where the file system
// can. Writes go on meanwhile. What the copy holds is read from it with
// ReadCheckpoint. Any goroutine, one at a time for a directory.
func (s *Store) Checkpoint(ctx context.Context, dir string) error {
	e, _, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release(e)
	if err := s.flush(ctx, e); err != nil {
		return err
	}
	if err := e.db.Checkpoint(dir); err != nil {
		return fmt.Errorf("write checkpoint %s of %s: %w", dir, e.dir, blame(err))
	}
	return nil
}

// blame marks an error of a checkpoint as damage of the store unless the disk gave
// it: a file of the store that is gone, or that the engine cannot read any more, as
// that with its options, which has no checksum.
func blame(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	disk := errors.As(err, &path) || errors.As(err, &link)
	if errors.Is(err, fs.ErrNotExist) || !disk && !errors.Is(err, pebble.ErrClosed) {
		return fmt.Errorf("%w: %w", errCorruptRow, err)
	}
	return err
}

// VerifyCheckpoint compares every block of a checkpoint's tables with its checksum.
// Tables are linked, not written anew, so that a copy of a store that has rotted is
// as rotten: whoever hands it on must look first. It reads the whole checkpoint,
// decompresses nothing and changes nothing. The error wraps chainfire.ErrCorrupt and
// names table and offset, unless the disk or the context gave it.
func VerifyCheckpoint(ctx context.Context, fsys FS, dir string) error {
	if err := checkManifest(fsys, dir); err != nil {
		return err
	}
	names, err := fsys.List(dir)
	if err != nil {
		return fmt.Errorf("list checkpoint %s: %w", dir, err)
	}
	slices.Sort(names)
	n := &inspector{ctx: ctx, out: &Inspection{Dir: dir}, o: InspectOptions{FS: disk.ReadOnly(fsys), Dir: dir}}
	n.o.Fault = func(f *Fault) error {
		if f.Kind == FaultUnreadable {
			return fmt.Errorf("read table %s at offset %d: %s", f.File, f.Offset, f.Reason)
		}
		return fmt.Errorf("%w: table %s at offset %d: %s", errCorruptRow, f.File, f.Offset, f.Reason)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, tableExt) {
			continue
		}
		path := fsys.PathJoin(dir, name)
		info, err := fsys.Stat(path)
		if err != nil {
			return fmt.Errorf("look at table %s: %w", path, err)
		}
		if _, err := n.checkTable(&InspectedFile{Path: path, Bytes: info.Size()}); err != nil {
			return fmt.Errorf("verify checkpoint %s: %w", dir, err)
		}
	}
	return nil
}

// ReadCheckpoint opens a checkpoint read-only and returns its state and the
// rows of the machine above.
func ReadCheckpoint(fsys FS, dir string) (st State, rows []MetaRow, err error) {
	opts, err := Options{FS: fsys, Dir: dir, CacheBytes: 1 << 20, MemTableBytes: 1 << 20}.withDefaults()
	if err != nil {
		return st, nil, err
	}
	if err := checkManifest(opts.FS, dir); err != nil {
		return st, nil, err
	}
	fail := newFailure(&opts)
	cache := opts.newCache()
	defer cache.Unref()
	o := engineOptions(&opts, fail, cache)
	o.ReadOnly = true
	o.ErrorIfNotExists = true
	o.EventListener = &pebble.EventListener{
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			_ = fail.set(fmt.Errorf("%w: %s: %w", errCorruptRow, info.Path, info.Details)) // joined below
		},
	}
	db, err := openPebble(dir, o)
	if err != nil {
		return st, nil, fmt.Errorf("open checkpoint %s: %w", dir, err)
	}
	e := &engine{db: db, dir: dir, stop: make(chan struct{})}
	st, err = e.check()
	if err == nil {
		rows, err = metaPrefix(db, "")
	}
	err = errors.Join(err, e.close(), fail.get())
	// The lock file is no part of what is sent to another member.
	if rerr := opts.FS.Remove(opts.FS.PathJoin(dir, lockName)); rerr != nil && !errors.Is(rerr, disk.ErrReadOnly) {
		err = errors.Join(err, fmt.Errorf("remove lock of checkpoint %s: %w", dir, rerr))
	}
	return st, rows, err
}

// Install makes a received checkpoint the store of a directory that has none,
// and returns ErrExist otherwise. The checkpoint must be on the same file
// system; it is moved. A crash leaves no store or a whole one.
func Install(opts Options, dir string) error {
	opts, err := opts.withDefaults()
	if err != nil {
		return err
	}
	if err := prepare(&opts); err != nil {
		return err
	}
	if _, _, err := ReadCheckpoint(opts.FS, dir); err != nil {
		return err
	}
	target := opts.FS.PathJoin(opts.Dir, engineName(1))
	if err := opts.FS.Rename(dir, target); err != nil {
		return fmt.Errorf("move checkpoint %s into the store: %w", dir, err)
	}
	if err := disk.SyncDir(opts.FS, opts.Dir); err != nil {
		return err
	}
	return writePointer(opts.FS, opts.Dir, 1)
}

// Replace makes a received checkpoint the store. The directory, which must be
// on the store's file system, is moved into the store's own and is gone
// afterwards whatever comes of it, except when the store refuses it for being
// older than what it has. A crash leaves the old store or the new one.
//
// New reads go to the new store at once; reads under way end on the old one,
// which is removed after them. Watch streams live on. Applier only.
func (s *Store) Replace(dir string) error {
	if err := s.fail.get(); err != nil {
		return err
	}
	st, _, err := ReadCheckpoint(s.opts.FS, dir)
	if err != nil {
		return err
	}
	now := s.State()
	if st.Applied < now.Applied || st.Revision < now.Revision {
		return fmt.Errorf("refuse checkpoint %s: it is at index %d and revision %d, the store at index %d and revision %d",
			dir, st.Applied, st.Revision, now.Applied, now.Revision)
	}
	number := s.number + 1
	e, st, err := s.adopt(dir, number)
	if err != nil {
		return err
	}
	if err := writePointer(s.opts.FS, s.opts.Dir, number); err != nil {
		// Which store a restart finds is open now: go no further.
		return errors.Join(s.fail.set(fmt.Errorf("replace store: %w", err)), e.close())
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errors.Join(chainfire.ErrStopped, e.close())
	}
	old := s.eng
	s.eng, s.state, s.number = e, st, number
	s.retireLocked(old)
	s.advanceLocked()
	s.background.Add(1)
	s.mu.Unlock()

	s.watchFlushes(e)
	s.hub.replace(st)
	s.wakeCompactor()
	if s.opts.Flushed != nil {
		s.flushing.Lock()
		s.opts.Flushed(st.Applied)
		s.flushing.Unlock()
	}
	if s.opts.Still {
		s.bury(old)
	} else {
		go s.bury(old)
	}
	return nil
}

// adopt moves a received directory to where engine directories are, and opens
// it.
func (s *Store) adopt(dir string, number uint64) (*engine, State, error) {
	target := s.opts.FS.PathJoin(s.opts.Dir, engineName(number))
	// A replacement that failed before may have left one.
	if err := s.opts.FS.RemoveAll(target); err != nil {
		return nil, State{}, fmt.Errorf("remove left-over store %s: %w", target, err)
	}
	if err := s.opts.FS.Rename(dir, target); err != nil {
		return nil, State{}, fmt.Errorf("move checkpoint %s into the store: %w", dir, err)
	}
	err := disk.SyncDir(s.opts.FS, s.opts.Dir)
	if err == nil {
		err = disk.SyncDir(s.opts.FS, s.opts.FS.PathDir(dir))
	}
	if err != nil {
		return nil, State{}, s.fail.set(fmt.Errorf("replace store: %w", err))
	}
	e, st, err := s.openNumber(number)
	if err != nil {
		return nil, State{}, errors.Join(err, s.opts.FS.RemoveAll(target))
	}
	return e, st, nil
}

// bury closes a retired engine once its readers are gone, and removes it.
func (s *Store) bury(old *engine) {
	defer s.background.Done()
	<-old.drained
	if err := old.close(); err != nil {
		s.opts.Logger.Warn("close replaced store", "dir", old.dir, "err", err)
	}
	if err := s.opts.FS.RemoveAll(old.dir); err != nil {
		// The next open removes it.
		s.opts.Logger.Warn("remove replaced store", "dir", old.dir, "err", err)
	}
}
