// Package blob is the bytes of bodies on one member: extents, in append-only segment files whose
// every record is checksummed, and an index of where each is. It knows nothing of other members.
// docs/format/blob.md describes the bytes and the rules of recovery.
//
// What is acknowledged by Sync is there after a crash. What is deleted may come back by one:
// who deletes goes by the replicated metadata, and deletes again. What is damaged is never
// returned: it counts as not there, so that it can be put again from a peer.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/object"
)

// Defaults and bounds of Options.
const (
	DefaultSegmentBytes  = 256 << 20
	DefaultUnsyncedBytes = 64 << 20
	DefaultFloorBytes    = 256 << 20
	DefaultCacheBytes    = 8 << 20
	YieldBytes           = 1 << 20

	// stepBytes is how much is written between two breaths.
	stepBytes = 128 << 10

	minSegmentBytes = 4 << 10
	maxSegmentBytes = 1 << 30
)

// Options opens a store.
type Options struct {
	// FS is the disk; nil is the real one.
	FS disk.FS
	// Dir holds the store and nothing else. Open makes it.
	Dir string
	// SegmentBytes is the size at which a segment is full, 4 KiB to 1 GiB; an extent that is
	// larger gets a segment of its own. 0 is 256 MiB.
	SegmentBytes int64
	// UnsyncedBytes bounds what may be put without a sync; a Put over it waits for one. 0
	// is 64 MiB.
	UnsyncedBytes int64
	// Yield, if set, is asked with each Put whether others write to the disk who must not wait: then
	// no more than YieldBytes are put without a sync, since a disk does what it was given before
	// first. Any goroutine.
	Yield func() bool
	// Breathe, if set, is called between two steps of a long write. It may take a while, as long as
	// which nothing else is written.
	Breathe func()
	// FloorBytes is what is left free on the disk by Put. Compaction may use it. 0 is
	// 256 MiB, a negative value leaves nothing.
	FloorBytes int64
	// CacheBytes is the memory of the index for what it reads. 0 is 8 MiB.
	CacheBytes int64
	// Salt makes the store's checksums its own, so that a client's bytes cannot be taken for
	// records. Only for a new store; 0 draws one.
	Salt uint64
	// Fatal is told once, on a goroutine of its own, of the first error after which nothing more
	// can be done: a failed write or sync, or a damaged index, which the next Open makes anew.
	Fatal func(error)
	// Corrupt is told of each extent that was found damaged and is not there any more, on
	// the goroutine that found it, with no lock held.
	Corrupt func(object.ExtentID, *CorruptError)
	// Logger is told of recoveries and damage; nil is silent.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.FS == nil {
		o.FS = disk.OS()
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.UnsyncedBytes == 0 {
		o.UnsyncedBytes = DefaultUnsyncedBytes
	}
	if o.FloorBytes == 0 {
		o.FloorBytes = DefaultFloorBytes
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Dir == "":
		return o, errors.New("open blob store: no directory given")
	case o.SegmentBytes < minSegmentBytes || o.SegmentBytes > maxSegmentBytes:
		return o, fmt.Errorf("open blob store: segment size %d is outside [%d, %d]",
			o.SegmentBytes, minSegmentBytes, maxSegmentBytes)
	case o.UnsyncedBytes < 0 || o.CacheBytes < 0:
		return o, errors.New("open blob store: a size is negative")
	}
	return o, nil
}

// Store is one member's extents. All methods may be called from any goroutine.
type Store struct {
	opts Options
	fs   disk.FS
	salt uint64
	lock io.Closer

	// appending is held, as its one token, by whoever writes to a segment.
	appending chan struct{}
	// The appender's own.
	buf []byte

	// indexing is held by whoever changes the index. It is taken before mu.
	indexing sync.Mutex
	index    *index

	// compacting is held by whoever compacts; segments are removed by it alone.
	compacting chan struct{}

	files *files

	// closing is closed when Close begins.
	closing chan struct{}

	mu sync.Mutex
	// closed and users: Close waits until nobody is inside.
	closed bool
	// opened says that Open has returned the store.
	opened bool
	users  sync.WaitGroup
	// failed is the first fatal error.
	failed error
	// segments are all that are in the directory; active is the one appended to, nil before
	// the first.
	segments map[uint64]*segment
	active   *segment
	last     uint64
	// seq counts what was appended, synced is up to where that is on disk; unsynced is in
	// bytes. round is the sync that is running.
	seq, synced uint64
	unsynced    int64
	round       *round
	// pending are the extents that are not in the index yet, queue the same in the order
	// of appending.
	pending map[object.ExtentID]pending
	queue   []queued
	// lost counts the rows of damage, of which lostUnknown are of no known extent.
	lost, lostUnknown int
}

// pending is an extent that was appended and is not in the index yet.
type pending struct {
	seq uint64
	at  place
}

type queued struct {
	id object.ExtentID
	pending
}

// round is one sync, which many may wait for.
type round struct{ done chan struct{} }

// enter begins a call; the caller calls s.users.Done at its end.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.users.Add(1)
	return nil
}

// fail makes an error the store's last one, unless it has one.
func (s *Store) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	s.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	s.opts.Logger.Error("blob store failed; nothing more can be written", "dir", s.opts.Dir, "err", err)
	if s.opts.Fatal != nil && s.opened {
		go s.opts.Fatal(s.failed)
	}
	return s.failed
}

func (s *Store) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// take waits for a token, or for the context or the store to end.
func (s *Store) take(ctx context.Context, token chan struct{}) error {
	select {
	case token <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
}

// Usage is how much a store holds.
type Usage struct {
	Segments int
	// Bytes are those of the segment files, Live those of extents that are there.
	Bytes, Live int64
	Extents     int64
	// Damaged are the stretches and extents that were found damaged and are neither there again
	// nor deleted.
	Damaged int
	// Free is what the disk has left, -1 where that is not known.
	Free int64
}

// Usage counts what the store holds on disk.
func (s *Store) Usage() Usage {
	u := Usage{Free: s.free()}
	s.mu.Lock()
	defer s.mu.Unlock()
	u.Segments, u.Damaged = len(s.segments), s.lost
	for _, g := range s.segments {
		u.Bytes += g.end
		u.Live += g.live
		u.Extents += g.records
	}
	return u
}

// free is the room on the disk, -1 where that is not known.
func (s *Store) free() int64 {
	u, err := s.fs.GetDiskUsage(s.opts.Dir)
	if err != nil {
		return -1
	}
	return int64(min(u.AvailBytes, 1<<62))
}

// room refuses to append n bytes where that would go below the floor.
func (s *Store) room(n int64) error {
	if s.index.full.Load() {
		return s.indexFull()
	}
	free := s.free()
	if free >= 0 && s.opts.FloorBytes > 0 && free-n < s.opts.FloorBytes {
		return fmt.Errorf("put %d bytes: %d are free and %d are to stay so: %w", n, free, s.opts.FloorBytes, chainfire.ErrNoRoom)
	}
	return nil
}

// indexFull refuses what would change the index, which the disk has no room for.
func (s *Store) indexFull() error {
	return fmt.Errorf("write index of blob store %s: %w", s.opts.Dir, chainfire.ErrNoRoom)
}

// Close ends the store. What was put is synced first. It waits for calls that are running, and
// ends those that take long.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closed = true
	close(s.closing)
	s.mu.Unlock()
	s.users.Wait()
	err := s.seal()
	if err == nil {
		err = s.index.flush()
	}
	return errors.Join(err, s.index.close(), s.files.close(), s.lock.Close())
}

// seal syncs the active segment and marks its end, by which the next Open tells damage from a
// write that was cut short. A store that has failed is left as it is.
func (s *Store) seal() error {
	if s.failure() != nil {
		return nil // told when it happened
	}
	if err := s.sync(context.Background()); err != nil {
		return err
	}
	g := s.active
	if g == nil {
		return nil
	}
	if err := s.mark(g); err != nil || g.synced == g.end {
		return err
	}
	if err := s.syncSegment(g); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g.synced = g.end
	return nil
}
