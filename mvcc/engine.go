package mvcc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"

	"chainfire/internal/disk"
)

// memTables is how many memory tables may wait for the disk before writes do.
const memTables = 3

// bloomBits is the size of the filter of key prefixes, in bits for each key.
const bloomBits = 10

// failure is the store's first fatal error. Everything after it fails with it.
type failure struct {
	mu    sync.Mutex
	err   error
	fatal func(error)
	spawn func(func())
	log   *slog.Logger
	// failed is closed with the first error.
	failed chan struct{}
}

func newFailure(opts *Options) *failure {
	f := &failure{fatal: opts.Fatal, spawn: opts.Spawn, log: opts.Logger, failed: make(chan struct{})}
	if f.spawn == nil {
		f.spawn = func(g func()) { go g() }
	}
	return f
}

// set records an error that the member must not go on after. The callback runs
// on a goroutine of its own, because the engine reports with its locks held.
func (f *failure) set(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	f.err = err
	f.log.Error("store failed", "err", err)
	if f.fatal != nil {
		f.spawn(func() { f.fatal(err) })
	}
	// Last, so that whoever waits for it comes after the callback's task.
	close(f.failed)
	return err
}

func (f *failure) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// engineLog hands the engine's log to the store's. What the engine calls fatal
// stops the member in an orderly way, not the process.
type engineLog struct {
	log  *slog.Logger
	fail *failure
}

func (l engineLog) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("engine: " + fmt.Sprintf(format, args...))
	}
}

func (l engineLog) Errorf(format string, args ...any) {
	l.log.Error("engine: " + fmt.Sprintf(format, args...))
}

func (l engineLog) Fatalf(format string, args ...any) {
	e := engineError{text: "storage engine: " + fmt.Sprintf(format, args...)}
	for _, a := range args {
		if err, ok := a.(error); ok {
			e.cause = err
		}
	}
	_ = l.fail.set(e) // kept as the first error
}

// engineError is what the engine logged as fatal, with the error it logged.
type engineError struct {
	text  string
	cause error
}

func (e engineError) Error() string { return e.text }
func (e engineError) Unwrap() error { return e.cause }

// engine is one open Pebble directory and the readers it has.
type engine struct {
	db  *pebble.DB
	dir string

	// refs, retired and drained are guarded by Store.mu. drained is closed when
	// a retired engine has no reader left.
	refs    int
	retired bool
	drained chan struct{}

	// compacted is the revision up to which superseded versions are gone from
	// this directory; resume, the compactor's own, is the first row to look at.
	compacted atomic.Int64
	resume    Revision

	// flushed is the applied index that a crash would keep.
	flushed  atomic.Uint64
	flushes  chan struct{}
	stop     chan struct{}
	watching sync.WaitGroup
}

// engineOptions are the settings of Pebble. The Raft log is the truth, so that
// Pebble keeps no log of its own.
func engineOptions(opts *Options, fail *failure, cache *pebble.Cache) *pebble.Options {
	o := &pebble.Options{
		FS:                          opts.FS,
		Cache:                       cache,
		Comparer:                    newComparer(),
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      engineLog{opts.Logger, fail},
		MemTableSize:                uint64(opts.MemTableBytes),
		MemTableStopWritesThreshold: memTables,
		L0CompactionThreshold:       2,
		L0StopWritesThreshold:       stopWrites(opts),
		LBaseMaxBytes:               64 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		DisableAutomaticCompactions: opts.Still,
		DisableTableStats:           opts.Still,
	}
	if opts.Still {
		o.FS = stillFS{opts.FS, fail}
	}
	for i := range o.Levels {
		o.Levels[i].BlockSize = 8 << 10
		o.Levels[i].IndexBlockSize = 64 << 10
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBits)
		o.Levels[i].FilterType = pebble.TableFilter
		// Decompression is on the way of every read that misses the cache, and
		// compaction shares two cores with everything else.
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.FastestCompression }
	}
	return o
}

// stillFS leaves no trace of what an engine does at times of its own: it keeps the
// files that the engine does not need any more, and makes none after the first
// failure, since the engine tries a failed flush again until it is closed.
type stillFS struct {
	FS
	fail *failure
}

// Remove implements FS.
func (stillFS) Remove(string) error { return nil }

// Create implements FS.
func (s stillFS) Create(name string, c disk.WriteCategory) (disk.File, error) {
	if err := s.fail.get(); err != nil {
		return nil, err
	}
	return s.FS.Create(name, c)
}

// stopWrites is how many files of flushes hold writes up until they are
// compacted.
func stopWrites(opts *Options) int {
	if opts.Still {
		return math.MaxInt32
	}
	return 32
}

// engineMode is what an engine is opened for.
type engineMode uint8

const (
	engineCreate engineMode = iota
	engineOpen
	// engineLook changes nothing in the directory.
	engineLook
)

// openEngine opens a directory.
func openEngine(opts *Options, fail *failure, cache *pebble.Cache, dir string, mode engineMode) (*engine, error) {
	e := &engine{
		dir:     dir,
		drained: make(chan struct{}),
		flushes: make(chan struct{}, 1),
		stop:    make(chan struct{}),
	}
	broken := make(chan error, 1)
	var left atomic.Bool
	o := engineOptions(opts, fail, cache)
	o.ErrorIfExists = mode == engineCreate
	o.ErrorIfNotExists = mode != engineCreate
	o.ReadOnly = mode == engineLook
	o.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) {
			first := fail.set(fmt.Errorf("storage engine: background work in %s: %w", dir, err))
			if pebble.IsCorruptionError(err) {
				return // this it does not try again
			}
			select {
			case broken <- first:
			default: // told already
			}
			if left.Load() {
				select {} // it would try for ever
			}
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			_ = fail.set(fmt.Errorf("%w: %s: %w", errCorruptRow, info.Path, info.Details)) // kept as the first error
		},
		FlushEnd: func(info pebble.FlushInfo) {
			if opts.FlushTook != nil && !opts.Still && info.Err == nil && mode == engineOpen {
				opts.FlushTook(info.TotalDuration)
			}
			select {
			case e.flushes <- struct{}{}:
			default: // one look at what is durable is pending already
			}
		},
	}
	db, err := openOrLeave(dir, o, broken, &left)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	e.db = db
	return e, nil
}

// openOrLeave opens Pebble, unless work of the opening itself fails, as on a full
// disk: Pebble tries that again without end. It is left behind then.
func openOrLeave(dir string, o *pebble.Options, broken <-chan error, left *atomic.Bool) (*pebble.DB, error) {
	type result struct {
		db  *pebble.DB
		err error
	}
	opened := make(chan result)
	gone := make(chan struct{})
	go func() {
		db, err := openPebble(dir, o)
		select {
		case opened <- result{db, err}:
		case <-gone:
			if err == nil {
				_ = db.Close() // nobody waits for it any more
			}
		}
	}()
	select {
	case r := <-opened:
		return r.db, r.err
	case err := <-broken:
		left.Store(true)
		close(gone)
		return nil, err
	}
}

// openPebble opens Pebble, turning a panic over a damaged file into an error.
func openPebble(dir string, o *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("%w: %v\n%s", errCorruptRow, p, debug.Stack())
		}
	}()
	return pebble.Open(dir, o)
}

// close closes the directory. It must have no reader.
func (e *engine) close() (err error) {
	close(e.stop)
	e.watching.Wait()
	defer func() {
		// After a failed write of its manifest Pebble finds itself inconsistent.
		if p := recover(); p != nil {
			err = fmt.Errorf("close store %s: %v", e.dir, p)
		}
	}()
	if err := e.db.Close(); err != nil {
		return fmt.Errorf("close store %s: %w", e.dir, err)
	}
	return nil
}

// state reads the state row: what is applied, as db, or only its durable part,
// holds it.
func (e *engine) state(durableOnly bool) (State, error) {
	row := metaRow(stateName)
	it, err := e.db.NewIter(&pebble.IterOptions{
		LowerBound: row, UpperBound: nextPrefix(nil, row), OnlyReadGuaranteedDurable: durableOnly,
	})
	if err != nil {
		return State{}, fmt.Errorf("read state row: %w", err)
	}
	st, err := readState(it)
	return st, errors.Join(err, it.Close())
}

func readState(it *pebble.Iterator) (State, error) {
	if !it.First() {
		if err := it.Error(); err != nil {
			return State{}, fmt.Errorf("read state row: %w", err)
		}
		return State{}, errNoState
	}
	b, err := it.ValueAndErr()
	if err != nil {
		return State{}, fmt.Errorf("read state row: %w", err)
	}
	return parseState(b)
}
