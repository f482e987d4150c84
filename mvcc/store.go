// Package mvcc holds every revision of every key, on Pebble, and feeds watches.
// Nothing in memory grows with the number of keys.
//
// One goroutine, the applier, writes (Writer), installs snapshots (Replace) and
// decides compactions; any goroutine reads, each read pinned at one revision.
// The engine keeps no log: after a crash the store is what it was at its last
// flush, and the host applies its own log again from State.Applied, which is
// written in the same batch as the data.
package mvcc

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"chainfire"
	"chainfire/internal/disk"
)

// FS is the file system that a store lives on.
type FS = disk.FS

// Defaults of Options.
const (
	DefaultCacheBytes    = 32 << 20
	DefaultMemTableBytes = 16 << 20
	DefaultRingBytes     = 8 << 20
)

// Options configure a store. The zero value of every field but Dir is its
// default.
type Options struct {
	// FS is the file system; nil is the real one.
	FS FS
	// Dir is the store's directory, which it shares with nothing.
	Dir string
	// Logger receives the store's log; nil discards it.
	Logger *slog.Logger
	// Fatal is told the first error that the member must not go on after: a
	// failed write or sync, or a corrupt file. It is called once at most, on a
	// goroutine of its own. From then on every call returns that error.
	Fatal func(error)
	// Spawn starts that goroutine; nil is a go statement. It must not wait.
	Spawn func(func())
	// Flushed is told each time the flushed index has grown, one call at a time,
	// on a goroutine of the store or of a caller of Flush. It must not block,
	// nor call the store.
	Flushed func(index uint64)
	// FlushTook is told how long each flush took that went to disk by itself or for Flush,
	// and Compacted each pass of the compactor, on goroutines of the store. They must not
	// block, nor call the store. In simulation (Still) nothing is told.
	FlushTook func(time.Duration)
	Compacted func(Compaction)
	// Floor is the applied index that the store is known to hold durably. Open
	// refuses one that holds less with ErrCorrupt.
	Floor uint64
	// CacheBytes bounds the cache of blocks read from disk.
	CacheBytes int64
	// MemTableBytes is how much is written before it goes to disk. About that
	// much is applied again after a crash; three times as much may be in memory.
	MemTableBytes int64
	// RingBytes bounds the recent events kept in memory for watches.
	RingBytes int64
	// Still leaves out all work in the background, for simulation: the engine
	// flushes only for Flush, Checkpoint and Close, and compacts nothing by
	// itself; superseded versions go in the call that compacts.
	Still bool
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("store: no directory given")
	}
	if o.FS == nil {
		o.FS = disk.OS()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.MemTableBytes <= 0 {
		o.MemTableBytes = DefaultMemTableBytes
	}
	if o.RingBytes <= 0 {
		o.RingBytes = DefaultRingBytes
	}
	return o, nil
}

// newCache makes the block cache. Pebble takes the memory tables out of its
// cache, so that they are added here.
func (o *Options) newCache() *pebble.Cache {
	return pebble.NewCache(o.CacheBytes + memTables*o.MemTableBytes)
}

// Store is an open store.
type Store struct {
	opts  Options
	cache *pebble.Cache
	fail  *failure
	hub   *hub

	// mu guards what follows, and the reader counts of engines.
	mu     sync.Mutex
	eng    *engine
	number uint64 // of the engine directory in force
	state  State
	closed bool
	// progress is closed, and made anew, when physical compaction has moved,
	// and on replacement and close.
	progress chan struct{}

	// flushing makes one goroutine at a time note what is flushed.
	flushing sync.Mutex

	// compactions wakes the compactor; stop ends it.
	compactions chan struct{}
	pass        pass
	stop        chan struct{}
	background  sync.WaitGroup
}

// Create writes a new store with the given state and rows, durably. A state
// without revision is that of an empty store. It returns ErrExist if there is a
// store already; a crash at any point leaves either no store or a whole one.
func Create(opts Options, st State, rows []MetaRow) error {
	opts, err := opts.withDefaults()
	if err != nil {
		return err
	}
	if st.Revision == 0 {
		st.Revision, st.Compacted = firstRevision, NeverCompacted
	}
	if err := prepare(&opts); err != nil {
		return err
	}
	if err := fill(&opts, opts.FS.PathJoin(opts.Dir, engineName(1)), st, rows); err != nil {
		return err
	}
	return writePointer(opts.FS, opts.Dir, 1)
}

// prepare makes the directory of a store that is not there yet.
func prepare(opts *Options) error {
	if _, err := readPointer(opts.FS, opts.Dir); err == nil {
		return fmt.Errorf("%w: %s", ErrExist, opts.Dir)
	} else if !errors.Is(err, ErrNotExist) {
		return err
	}
	if err := disk.MkdirAll(opts.FS, opts.Dir); err != nil {
		return err
	}
	return removeLeftovers(opts.FS, opts.Dir, 0)
}

// fill makes one engine directory and writes the first rows into it.
func fill(opts *Options, dir string, st State, rows []MetaRow) (err error) {
	cache := opts.newCache()
	defer cache.Unref()
	fail := newFailure(opts)
	e, err := openEngine(opts, fail, cache, dir, engineCreate)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fail.get(), e.close()) }()
	b := e.db.NewBatch()
	set := func(row, value []byte) {
		if err == nil {
			err = b.Set(row, value, nil)
		}
	}
	set(metaRow(formatName), []byte{formatVersion})
	set(metaRow(stateName), st.encode())
	for _, r := range rows {
		set(metaRow(userMeta+r.Name), r.Value)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write new store: %w", err), b.Close())
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("write new store: %w", err)
	}
	// On a full disk the engine tries again without end.
	done, err := e.db.AsyncFlush()
	if err != nil {
		return fmt.Errorf("flush new store: %w", err)
	}
	select {
	case <-done:
	case <-fail.failed:
		return fmt.Errorf("flush new store: %w", fail.get())
	}
	return disk.SyncDir(opts.FS, opts.Dir)
}

// Open opens the store in a directory, or returns ErrNotExist. It reads the
// store's own state and no keys. A store that it refuses it leaves as it is.
func Open(opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	number, err := readPointer(opts.FS, opts.Dir)
	if err != nil {
		return nil, err
	}
	if err := removeLeftovers(opts.FS, opts.Dir, number); err != nil {
		return nil, err
	}
	s := &Store{
		opts: opts, number: number,
		cache:       opts.newCache(),
		fail:        newFailure(&opts),
		progress:    make(chan struct{}),
		compactions: make(chan struct{}, 1),
		stop:        make(chan struct{}),
	}
	if err = s.look(number); err == nil {
		s.eng, s.state, err = s.openNumber(number)
	}
	if err != nil {
		s.cache.Unref()
		return nil, err
	}
	s.hub = newHub(s, s.state)
	s.watchFlushes(s.eng)
	if !opts.Still {
		s.background.Add(1)
		go s.compactor()
	}
	s.wakeCompactor()
	return s, nil
}

// look checks an engine directory before it is opened for writing. A damaged
// manifest may have lost the end of its story without a sign of it; opening it
// for writing would delete the files that it does not know of.
func (s *Store) look(n uint64) error {
	if err := checkManifest(s.opts.FS, s.opts.FS.PathJoin(s.opts.Dir, engineName(n))); err != nil {
		return err
	}
	e, st, err := s.openIn(n, engineLook)
	if err != nil {
		return err
	}
	if err := e.close(); err != nil {
		return err
	}
	if st.Applied < s.opts.Floor {
		return fmt.Errorf("store %s: %w: it holds index %d, but index %d was durable in it",
			e.dir, chainfire.ErrCorrupt, st.Applied, s.opts.Floor)
	}
	return nil
}

// openNumber opens one engine directory and checks what is in it.
func (s *Store) openNumber(n uint64) (*engine, State, error) { return s.openIn(n, engineOpen) }

func (s *Store) openIn(n uint64, mode engineMode) (*engine, State, error) {
	e, err := openEngine(&s.opts, s.fail, s.cache, s.opts.FS.PathJoin(s.opts.Dir, engineName(n)), mode)
	if err != nil {
		return nil, State{}, err
	}
	st, err := e.check()
	if err == nil && mode == engineOpen {
		err = e.countAll(st.Revision)
	}
	if err != nil {
		return nil, State{}, errors.Join(err, e.close())
	}
	return e, st, nil
}

// check reads what must be in every store.
func (e *engine) check() (State, error) {
	if err := checkFormat(e.db); err != nil {
		return State{}, fmt.Errorf("store %s: %w", e.dir, err)
	}
	st, err := e.state(false)
	if err != nil {
		return State{}, fmt.Errorf("store %s: %w", e.dir, err)
	}
	compacted, err := readCompacted(e.db)
	if err != nil {
		return State{}, fmt.Errorf("store %s: %w", e.dir, err)
	}
	e.compacted.Store(compacted)
	e.resume = Revision{Main: compacted}
	// Without a log of the engine, what it holds when it opens came from disk.
	e.flushed.Store(st.Applied)
	return st, nil
}

// Close flushes and closes the store, ends its watch streams and waits for its
// readers. The applier must have stopped.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.stop)
	e := s.eng
	s.retireLocked(e)
	s.advanceLocked()
	s.mu.Unlock()

	s.hub.close()
	s.background.Wait()
	<-e.drained
	err := s.fail.get()
	if err == nil {
		// Saves the next start from applying the log again.
		if ferr := s.flushEngine(e); ferr != nil {
			err = fmt.Errorf("flush store on close: %w", ferr)
		}
	}
	err = errors.Join(err, e.close())
	s.cache.Unref()
	return err
}

// acquire takes the engine in force for a read, with the state it is at least
// at. The caller releases it.
func (s *Store) acquire() (*engine, State, error) {
	if err := s.fail.get(); err != nil {
		return nil, State{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, State{}, chainfire.ErrStopped
	}
	s.eng.refs++
	return s.eng, s.state, nil
}

func (s *Store) release(e *engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.refs--
	if e.retired && e.refs == 0 {
		close(e.drained)
	}
}

// retireLocked marks an engine that no new reader will get.
func (s *Store) retireLocked(e *engine) {
	e.retired = true
	if e.refs == 0 {
		close(e.drained)
	}
}

// advanceLocked wakes those who wait for physical compaction.
func (s *Store) advanceLocked() {
	close(s.progress)
	s.progress = make(chan struct{})
}

// State is where the store stands. Any goroutine.
func (s *Store) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Err is the store's first fatal error, nil while it has none. Any goroutine.
func (s *Store) Err() error { return s.fail.get() }

// Usage is what a store takes of the disk.
type Usage struct {
	// DiskBytes is all of it, LiveBytes what remains once files that are being
	// deleted are gone.
	DiskBytes, LiveBytes int64
	// MemBytes is what memory holds of it that is not on disk yet.
	MemBytes int64
}

// DiskUsage is the size of the store. Any goroutine.
func (s *Store) DiskUsage() (Usage, error) {
	e, _, err := s.acquire()
	if err != nil {
		return Usage{}, err
	}
	defer s.release(e)
	m := e.db.Metrics()
	return Usage{DiskBytes: int64(m.DiskSpaceUsage()), LiveBytes: int64(m.Table.Local.LiveSize), MemBytes: int64(m.MemTable.Size)}, nil
}

// FS is the file system that the store lives on.
func (s *Store) FS() FS { return s.opts.FS }
