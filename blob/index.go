package blob

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"chainfire/internal/disk"
	"chainfire/object"
)

const (
	indexName       = "index"
	memTableBytes   = 4 << 20
	fullDiskBackoff = time.Second
)

// The first byte of a row of the index says what it is of.
const (
	rowDamage  = 'd' // d | extent              where an extent was that was found damaged
	rowExtent  = 'e' // e | extent              where an extent is
	rowMeta    = 'm' // m                       up to where the segments are in the index
	rowSegment = 's' // s | segment             how much of a segment is there
	rowUnknown = 'u' // u | segment | offset    damage of which it is not known what was there
)

const metaVersion = 1

// place is where an extent is.
type place struct {
	segment     uint64
	offset      int64
	length, crc uint32
}

// size is the bytes of the whole record.
func (p place) size() int64 {
	return recordHeaderBytes + 4*int64(pieceCount(p.length)) + int64(p.length)
}

// after reports whether p was written after q.
func (p place) after(q place) bool {
	return p.segment > q.segment || p.segment == q.segment && p.offset > q.offset
}

// position is a point of the segments.
type position struct {
	segment uint64
	offset  int64
}

// meta is the row of the whole index.
type meta struct {
	salt uint64
	// known is up to where all extents of the segments are in the index; what it says was
	// on disk before.
	known position
}

var be = binary.BigEndian

func appendExtent(b []byte, id object.ExtentID) []byte {
	b = be.AppendUint64(b, id.Body.Lease)
	return be.AppendUint32(be.AppendUint32(b, id.Body.N), id.N)
}

func extentRow(kind byte, id object.ExtentID) []byte {
	return appendExtent(append(make([]byte, 0, 17), kind), id)
}

func segmentRow(id uint64) []byte { return be.AppendUint64([]byte{rowSegment}, id) }

func unknownRow(p position) []byte {
	return be.AppendUint64(be.AppendUint64([]byte{rowUnknown}, p.segment), uint64(p.offset))
}

func parseExtent(row []byte) (object.ExtentID, error) {
	if len(row) != 17 {
		return object.ExtentID{}, fmt.Errorf("%w: an extent's row of %d bytes", errIndex, len(row))
	}
	return object.ExtentID{
		Body: object.BodyID{Lease: be.Uint64(row[1:]), N: be.Uint32(row[9:])},
		N:    be.Uint32(row[13:]),
	}, nil
}

// numbers encodes a row's value, which is numbers alone.
func numbers(v ...uint64) []byte {
	b := make([]byte, 0, 8*len(v))
	for _, n := range v {
		b = be.AppendUint64(b, n)
	}
	return b
}

func parseNumbers(b []byte, n int) ([]uint64, error) {
	if len(b) != 8*n {
		return nil, fmt.Errorf("%w: a row's value of %d bytes", errIndex, len(b))
	}
	v := make([]uint64, n)
	for i := range v {
		v[i] = be.Uint64(b[8*i:])
	}
	return v, nil
}

func (p place) encode() []byte {
	return numbers(p.segment, uint64(p.offset), uint64(p.length)<<32|uint64(p.crc))
}

func parsePlace(b []byte) (place, error) {
	v, err := parseNumbers(b, 3)
	if err != nil {
		return place{}, err
	}
	return place{segment: v[0], offset: int64(v[1]), length: uint32(v[2] >> 32), crc: uint32(v[2])}, nil
}

// errIndex says that the index cannot be used, so that it is to be made anew.
var errIndex = errors.New("the index of the blob store is damaged")

// index is where each extent is, on Pebble, which keeps no log of its own: what a crash takes from
// it is found again in the segments.
type index struct {
	db    *pebble.DB
	cache *pebble.Cache
	// full says that the last flush found the disk full.
	full atomic.Bool
	// broken has an error of the background, at most one.
	broken chan error
	// fatal is told of what cannot be gone on after.
	fatal   func(error)
	log     *slog.Logger
	closing chan struct{}
}

// indexFS waits a moment after the disk was full, because Pebble tries a failed flush again at
// once and without end.
type indexFS struct {
	disk.FS
	x *index
}

// Create implements FS.
func (f indexFS) Create(name string, c disk.WriteCategory) (disk.File, error) {
	if f.x.full.Load() {
		t := time.NewTimer(fullDiskBackoff)
		defer t.Stop()
		select {
		case <-t.C:
		case <-f.x.closing:
		}
	}
	return f.FS.Create(name, c)
}

type indexLog struct {
	log   *slog.Logger
	fatal func(error)
}

func (l indexLog) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("blob index: " + fmt.Sprintf(format, args...))
	}
}

func (l indexLog) Errorf(format string, args ...any) {
	l.log.Error("blob index: " + fmt.Sprintf(format, args...))
}

// Fatalf ends the store and not the process. What is damaged is made anew by the next Open; after
// anything else, as a disk that was full, it goes on with what is there.
func (l indexLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf("index of the blob store: %s", fmt.Sprintf(format, args...))
	for _, a := range args {
		if cause, ok := a.(error); ok {
			err = fmt.Errorf("%w: %w", err, cause)
		}
	}
	l.fatal(err)
}

// openIndex opens the index at dir, or makes one. fatal may be called with locks of Pebble
// held.
func openIndex(o *Options, dir string, fatal func(error)) (*index, error) {
	return newIndex(o, dir, fatal, false)
}

// lookAtIndex opens the index at dir to be read only.
func lookAtIndex(o *Options, dir string, fatal func(error)) (*index, error) {
	return newIndex(o, dir, fatal, true)
}

func newIndex(o *Options, dir string, fatal func(error), readOnly bool) (x *index, err error) {
	x = &index{
		cache:   pebble.NewCache(o.CacheBytes),
		broken:  make(chan error, 1),
		closing: make(chan struct{}),
		fatal:   fatal,
		log:     o.Logger,
	}
	defer func() {
		// Pebble panics over some damaged files.
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", errIndex, p, debug.Stack())
		}
		if err != nil {
			x.cache.Unref()
			x = nil
		}
	}()
	x.db, err = pebble.Open(dir, &pebble.Options{
		FS:                          indexFS{o.FS, x},
		Cache:                       x.cache,
		ReadOnly:                    readOnly,
		ErrorIfNotExists:            readOnly,
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      indexLog{o.Logger, fatal},
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: 3,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		EventListener: &pebble.EventListener{
			BackgroundError: x.background,
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				fatal(fmt.Errorf("%w: %s: %w", errIndex, i.Path, i.Details))
			},
			FlushEnd: func(i pebble.FlushInfo) {
				if i.Err == nil {
					x.full.Store(false)
				}
			},
		},
	})
	if err != nil {
		return x, fmt.Errorf("open index %s: %w", dir, err)
	}
	return x, nil
}

// background is told of failed work of Pebble's own, which it tries again.
func (x *index) background(err error) {
	switch {
	case noRoom(err):
		x.full.Store(true)
	case pebble.IsCorruptionError(err):
		x.fatal(fmt.Errorf("%w: %w", errIndex, err))
	default:
		x.fatal(fmt.Errorf("write the index of the blob store: %w", err))
	}
	select {
	case x.broken <- err:
	default: // one is waiting already
	}
}

// get reads a row; the value is the caller's.
func (x *index) get(row []byte) (value []byte, found bool, err error) {
	v, c, err := x.db.Get(row)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read the index: %w", err)
	}
	return bytes.Clone(v), true, c.Close()
}

// place reads where an extent is.
func (x *index) place(id object.ExtentID) (place, bool, error) {
	v, found, err := x.get(extentRow(rowExtent, id))
	if err != nil || !found {
		return place{}, false, err
	}
	p, err := parsePlace(v)
	return p, true, err
}

// walk calls f for each row of a kind from a row on, until it returns false. The slices are
// valid during the call.
func (x *index) walk(kind byte, from []byte, f func(row, value []byte) (bool, error)) (err error) {
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
	if err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	defer func() {
		if cerr := it.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("read the index: %w", cerr)
		}
	}()
	for ok := it.SeekGE(from); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("read the index: %w", err)
		}
		if more, err := f(it.Key(), v); err != nil || !more {
			return err
		}
	}
	return nil
}

// meta reads the row of the whole index; found is false for a new one.
func (x *index) meta() (m meta, found bool, err error) {
	b, found, err := x.get([]byte{rowMeta})
	if err != nil || !found {
		return m, false, err
	}
	v, err := parseNumbers(b, 4)
	if err != nil {
		return m, false, err
	}
	if v[0] != metaVersion {
		return m, false, fmt.Errorf("%w: it is of version %d", errIndex, v[0])
	}
	return meta{salt: v[1], known: position{v[2], int64(v[3])}}, true, nil
}

func (m meta) encode() []byte {
	return numbers(metaVersion, m.salt, m.known.segment, uint64(m.known.offset))
}

// flush makes everything in the index durable.
func (x *index) flush() error {
	select {
	case err := <-x.broken:
		x.log.Debug("an earlier flush of the index failed", "err", err)
	default:
	}
	done, err := x.db.AsyncFlush()
	if err != nil {
		return fmt.Errorf("flush the index: %w", err)
	}
	select {
	case <-done:
		return nil
	case err := <-x.broken:
		return fmt.Errorf("flush the index: %w", err)
	}
}

// flushSoon begins a flush, which bounds what the next Open reads of the segments.
func (x *index) flushSoon() {
	if _, err := x.db.AsyncFlush(); err != nil {
		x.fatal(fmt.Errorf("flush the index: %w", err))
	}
}

func (x *index) close() (err error) {
	close(x.closing)
	defer x.cache.Unref()
	defer func() {
		// After a failed write of its manifest Pebble finds itself inconsistent.
		if p := recover(); p != nil {
			err = fmt.Errorf("close the index: %v", p)
		}
	}()
	if err := x.db.Close(); err != nil {
		return fmt.Errorf("close the index: %w", err)
	}
	return nil
}
