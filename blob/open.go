package blob

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/object"
)

// Open opens the store of a directory, or makes one. It reads what was appended since the index
// was last durable, and all segments' headers of records where there is no index that can be used.
// A record that was cut short before it was acknowledged is left out, and what is whole behind it kept;
// damage is kept, and told to Options.Logger and Usage.
//
// It returns an error that wraps disk.ErrInUse when another process has the directory.
func Open(opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := disk.MkdirAll(opts.FS, opts.Dir); err != nil {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	lock, err := disk.Lock(opts.FS, opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	s, err := openLocked(opts, lock)
	if errors.Is(err, errIndex) || pebble.IsCorruptionError(err) {
		// It was found damaged only while it was used, and is made anew now.
		s, err = openLocked(opts, lock)
	}
	if err != nil {
		if noRoom(err) {
			err = errors.Join(chainfire.ErrNoRoom, err)
		}
		return nil, fmt.Errorf("open blob store %s: %w", opts.Dir, errors.Join(err, lock.Close()))
	}
	return s, nil
}

// openLocked opens the store of a directory that is locked.
func openLocked(opts Options, lock io.Closer) (*Store, error) {
	s := &Store{
		opts:       opts,
		fs:         opts.FS,
		lock:       lock,
		appending:  make(chan struct{}, 1),
		compacting: make(chan struct{}, 1),
		closing:    make(chan struct{}),
		segments:   map[uint64]*segment{},
		pending:    map[object.ExtentID]pending{},
	}
	s.files = newFiles(func(id uint64) (disk.File, error) {
		f, err := s.fs.Open(s.segmentPath(id))
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", s.segmentPath(id), err)
		}
		return f, nil
	})
	err := s.open()
	if err == nil {
		// From here on a failure is told to Options.Fatal.
		s.mu.Lock()
		s.opened, err = true, s.failed
		s.mu.Unlock()
	}
	if err == nil {
		return s, nil
	}
	if s.index != nil {
		err = errors.Join(err, s.index.close())
	}
	return nil, errors.Join(err, s.files.close())
}

func (s *Store) open() error {
	ids, err := s.list()
	if err != nil {
		return err
	}
	m, fresh, err := s.openTrusted(ids)
	if err != nil {
		return err
	}
	if fresh {
		if s.salt, err = s.findSalt(ids); err != nil {
			return err
		}
		// Before there is one segment alone, whose header may rot.
		if err := s.knowSalt(); err != nil {
			return err
		}
	} else {
		s.salt = m.salt
	}
	if err := s.loadCounts(ids); err != nil {
		return err
	}
	s.last = m.known.segment
	for i, id := range ids {
		s.last = max(s.last, id)
		if err := s.recover(id, m.known, i == len(ids)-1); err != nil {
			return err
		}
	}
	if err := s.index.flush(); err != nil && !noRoom(err) {
		return err
	}
	return nil
}

// openTrusted opens the index, or makes it anew where it cannot be used. fresh says that it knows
// nothing.
func (s *Store) openTrusted(ids []uint64) (m meta, fresh bool, err error) {
	dir, distrusted := s.fs.PathJoin(s.opts.Dir, indexName), s.fs.PathJoin(s.opts.Dir, distrustName)
	_, err = s.fs.Stat(distrusted)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, false, fmt.Errorf("look for %s: %w", distrusted, err)
	}
	reason := errors.New("it was found damaged")
	if err != nil {
		m, fresh, reason = s.tryIndex(dir, ids)
		if reason == nil || noRoom(reason) {
			return m, fresh, reason
		}
	}
	s.opts.Logger.Warn("the index of the blob store is made anew from its segments", "dir", dir, "reason", reason)
	if s.index != nil {
		if err := s.index.close(); err != nil {
			s.opts.Logger.Warn("the index could not be closed", "err", err)
		}
		s.index = nil
	}
	if err := s.fs.RemoveAll(dir); err != nil {
		return m, false, fmt.Errorf("remove %s: %w", dir, err)
	}
	if err := disk.SyncDir(s.fs, s.opts.Dir); err != nil {
		return m, false, err
	}
	if s.index, err = openIndex(&s.opts, dir, s.indexFatal); err != nil {
		return m, false, err
	}
	// From here on what is missing in the index is behind the position that it knows.
	if err := s.fs.Remove(distrusted); err == nil {
		err = disk.SyncDir(s.fs, s.opts.Dir)
		return meta{}, true, err
	} else if !errors.Is(err, fs.ErrNotExist) {
		return m, false, fmt.Errorf("remove %s: %w", distrusted, err)
	}
	return meta{}, true, nil
}

func (s *Store) indexFatal(err error) { _ = s.indexFailed(err) } // kept as the first error

// tryIndex opens the index as it is, or says why it is to be made anew.
func (s *Store) tryIndex(dir string, ids []uint64) (m meta, fresh bool, reason error) {
	x, err := openIndex(&s.opts, dir, s.indexFatal)
	if err != nil {
		return m, false, err
	}
	s.index = x
	m, found, err := x.meta()
	if err != nil {
		return m, false, err
	}
	err = x.walk(rowSegment, []byte{rowSegment}, func(row, value []byte) (bool, error) {
		v, err := parseNumbers(row[1:], 1)
		if err != nil {
			return false, err
		}
		n, err := parseNumbers(value, 3)
		if err != nil {
			return false, err
		}
		if _, there := slices.BinarySearch(ids, v[0]); !there && n[2] > 0 {
			return false, fmt.Errorf("segment %d with %d extents is not there", v[0], n[2])
		}
		return true, nil
	})
	if err == nil {
		err = s.failure()
	}
	return m, !found, err
}

// findSalt finds the salt of the store in a segment, or draws one for a new store.
func (s *Store) findSalt(ids []uint64) (uint64, error) {
	for _, id := range ids {
		salt, err := s.readHeader(id)
		if err == nil {
			return salt, nil
		}
		if bad := (*CorruptError)(nil); !errors.As(err, &bad) {
			return 0, err
		}
	}
	return saltOf(s.opts.Salt), nil
}

// knowSalt has the index tell the salt, which the end of open makes durable.
func (s *Store) knowSalt() error {
	s.indexing.Lock()
	defer s.indexing.Unlock()
	return s.newChange().commit(&position{})
}

// readHeader reads a segment's header and returns the salt in it: a *CorruptError for one that is
// damaged.
func (s *Store) readHeader(id uint64) (uint64, error) {
	f, err := s.files.get(id)
	if err != nil {
		return 0, err
	}
	defer s.files.put(f)
	return headerOf(f, s.segmentPath(id), id)
}

// loadCounts reads what the index knows of segments and damage.
func (s *Store) loadCounts(ids []uint64) error {
	err := s.index.walk(rowSegment, []byte{rowSegment}, func(row, value []byte) (bool, error) {
		n, err := parseNumbers(value, 3)
		if err != nil {
			return false, err
		}
		id := be.Uint64(row[1:])
		if _, there := slices.BinarySearch(ids, id); !there {
			return true, nil // it was removed, and held nothing
		}
		s.segments[id] = &segment{id: id, seed: seedOf(s.salt, id), end: int64(n[0]), live: int64(n[1]), records: int64(n[2])}
		return true, nil
	})
	if err != nil {
		return s.indexFailed(err)
	}
	return s.indexFailed(s.eachDamage(func(d damage) bool {
		s.lost++
		if !d.known {
			s.lostUnknown++
		}
		return true
	}))
}

// recover makes the index know a segment, and the last one be appended to.
func (s *Store) recover(id uint64, known position, last bool) error {
	g := s.segments[id]
	from := int64(segmentHeaderBytes)
	switch {
	case g == nil:
		g = &segment{id: id, seed: seedOf(s.salt, id), end: segmentHeaderBytes}
		s.segments[id] = g
	case id < known.segment:
		return nil
	case id == known.segment:
		from = known.offset
	}
	g.end = from
	salt, err := s.readHeader(id)
	bad := (*CorruptError)(nil)
	switch {
	case errors.As(err, &bad):
		s.opts.Logger.Error("the header of a segment is damaged", "file", bad.File, "reason", bad.Reason)
		g.bad = true
	case err != nil:
		return err
	case salt != s.salt:
		return fmt.Errorf("%s: %w of this store: its salt is another", s.segmentPath(id), ErrNotSegment)
	}
	f, err := s.files.get(id)
	if err != nil {
		return err
	}
	defer s.files.put(f)
	size, err := fileSize(f, s.segmentPath(id))
	if err != nil {
		return err
	}
	r := &recovery{s: s, g: g, f: f, path: s.segmentPath(id), size: max(size, from)}
	if id == known.segment {
		r.proof = known.offset
	}
	if last {
		return r.tail(from)
	}
	return r.whole(from)
}

// resume makes a segment the one that is appended to.
func (s *Store) resume(g *segment) error {
	s.files.forget(g.id)
	f, err := s.fs.OpenReadWrite(s.segmentPath(g.id), disk.Category)
	if err != nil {
		return fmt.Errorf("open %s for writing: %w", s.segmentPath(g.id), err)
	}
	s.files.pin(g.id, f)
	s.active = g
	return nil
}
