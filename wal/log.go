// Package wal is the durable Raft log of one member: entries, hard state and a
// floor that the store must reach, in segment files whose every record is
// chained to the one before. docs/format/wal.md describes the bytes and the
// rules of recovery.
package wal

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"chainfire/internal/disk"
	"chainfire/raft"
)

// Defaults and bounds of Options.
const (
	DefaultSegmentBytes = 16 << 20
	DefaultCacheBytes   = 16 << 20
	DefaultRecycle      = 4

	minSegmentBytes = 1 << 10
	maxSegmentBytes = 1 << 30
)

// Options opens a log.
type Options struct {
	// FS is the disk; nil is the real one.
	FS disk.FS
	// Dir holds the log and nothing else. Create makes it.
	Dir string
	// SegmentBytes is the size at which a segment is full, 1 KiB to 1 GiB; a
	// batch that is larger gets a segment of its own. 0 is 16 MiB.
	SegmentBytes int64
	// CacheBytes bounds the recent entries held in memory, by raft.Entry.Size.
	// 0 is 16 MiB; a negative value holds none.
	CacheBytes int64
	// Recycle is how many released segments are kept to be written over. 0 is
	// 4; a negative value keeps none.
	Recycle int
	// Salt makes this log's checksums its own, so that bytes of a client cannot
	// be taken for records. Create only; 0 draws one. Simulation gives one so
	// that the same run writes the same bytes.
	Salt uint64
	// Logger is told of recoveries; nil is silent.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.FS == nil {
		o.FS = disk.OS()
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.Recycle == 0 {
		o.Recycle = DefaultRecycle
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Dir == "" {
		return o, fmt.Errorf("open log: no directory given")
	}
	if o.SegmentBytes < minSegmentBytes || o.SegmentBytes > maxSegmentBytes {
		return o, fmt.Errorf("open log: segment size %d is outside [%d, %d]",
			o.SegmentBytes, minSegmentBytes, maxSegmentBytes)
	}
	return o, nil
}

// Position is an entry's place: its index and term.
type Position struct {
	Index, Term uint64
}

// State is what recovery found.
type State struct {
	HardState raft.HardState
	// Base is the entry before the first one held.
	Base Position
	// First and Last are the entries held; Last is First-1 when there is none.
	First, Last uint64
	// Floor is the applied index that the store is known to have made durable.
	Floor uint64
	// Torn is the unfinished write that was cut off, or nil.
	Torn *TornTail
}

// TornTail is an unfinished write found at the end of the log.
type TornTail struct {
	File   string
	Offset int64
	// Bytes reaches from Offset to the last byte known to be of that write.
	Bytes int64
}

// Log is the durable log. One goroutine, the writer, calls Append, Reset,
// Release and Close; the methods of raft.Storage and Size and Syncs may be
// called from any goroutine meanwhile.
type Log struct {
	opts Options
	fs   disk.FS
	salt uint64

	// The writer's own.

	// failed is the first failure of a write or a sync, for ever.
	failed error
	hs     raft.HardState
	floor  uint64
	// seq is the sequence of the last record written, durable that of the last
	// one that a sync covers.
	seq, durable uint64
	cur          *segment
	// chain is the checksum that the next record continues.
	chain uint32
	buf   []byte
	// free are the paths of released segments that wait to be written over.
	free []string

	syncs atomic.Uint64

	// files is held for reading while segment files are read and for writing
	// while they are closed or given away. It is taken before mu.
	files sync.RWMutex

	// mu guards what readers see: only what is durable.
	mu       sync.RWMutex
	closed   bool
	base     Position
	last     uint64
	segments []*segment
	terms    termRuns
	cache    entryCache
	// cuts counts the times that entries were taken back.
	cuts uint64
}

var _ raft.Storage = (*Log)(nil)

// Create makes a new log that starts after the entry at (baseIndex, baseTerm),
// both 0 for an empty history. It is durable when Create returns. It returns
// ErrExist when the directory already holds a log.
func Create(opts Options, baseIndex, baseTerm uint64, hs raft.HardState) (*Log, error) {
	l, err := newLog(opts)
	if err != nil {
		return nil, err
	}
	if err := disk.MkdirAll(l.fs, l.opts.Dir); err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	ids, rest, err := l.list()
	if err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	if len(ids) > 0 {
		return nil, fmt.Errorf("create log in %s: %w", l.opts.Dir, ErrExist)
	}
	if err := l.removeAll(rest); err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	if l.salt, err = saltOf(l.opts.Salt); err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	if err := l.restart(Position{baseIndex, baseTerm}, hs, 0); err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	return l, nil
}

func newLog(opts Options) (*Log, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Log{opts: opts, fs: opts.FS}
	l.cache.limit = uint64(max(0, opts.CacheBytes))
	return l, nil
}

// Size is the number of segments in use and the bytes written in them.
func (l *Log) Size() (segments int, bytes int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, s := range l.segments {
		bytes += s.end
	}
	return len(l.segments), bytes
}

// Syncs counts the syncs of segment files since the log was opened.
func (l *Log) Syncs() uint64 { return l.syncs.Load() }

// Close ends the use of the log. It writes a seal first, which lets the next
// Open tell rot in the last batch from a torn write. The log is as safe without
// Close; a poisoned log writes nothing and returns the error that poisoned it.
func (l *Log) Close() error {
	l.files.Lock()
	defer l.files.Unlock()
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	err := l.failed
	if err == nil && l.durable < l.seq {
		err = l.sync() // first, so that the seal can say so
	}
	if err == nil && l.cur.records > 0 && !l.cur.sealed {
		if err = l.write(&body{}); err == nil {
			err = l.sync()
		}
	}
	l.failed = ErrClosed
	for _, s := range l.segments {
		if cerr := s.file.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close segment %s: %w", s.path, cerr)
		}
	}
	return err
}
