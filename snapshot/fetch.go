package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"chainfire/internal/disk"
	"chainfire/internal/sched"
	"chainfire/raft"
)

// Chunk is one block of a file on its way.
type Chunk struct {
	File   string
	Offset int64
	Data   []byte
	// CRC is the CRC-32C of Data as the source computed it.
	CRC uint32
}

// Stream gives the chunks of a file in order, then io.EOF.
type Stream interface {
	Recv() (Chunk, error)
}

// Source is where a snapshot is fetched from. Errors that wrap ErrRefused,
// ErrBehind, ErrBadRequest, ErrManifest or a *CorruptError are definite, and
// ErrUnknownSnapshot from Read says to open anew; every other error is taken to
// pass.
type Source interface {
	// Name names the source in errors.
	Name() string
	// Open makes a snapshot that holds at least minIndex ready to be read.
	Open(ctx context.Context, minIndex uint64) (Offer, error)
	// Read streams a file of an open snapshot from an offset to its end. The
	// stream ends when ctx does.
	Read(ctx context.Context, id, file string, offset int64) (Stream, error)
	// Close ends the use of a snapshot.
	Close(ctx context.Context, id string) error
}

// FetchOptions say what to fetch. The zero value of a field means its default.
type FetchOptions struct {
	// FS and Dir are where the snapshot goes; Dir is for this alone: whatever
	// else is in it is removed. Both are required, as are Source and ClusterID.
	FS        disk.FS
	Dir       string
	Source    Source
	ClusterID uint64
	// MinIndex is the log index that the snapshot must hold at least.
	MinIndex uint64
	// MaxBytes refuses a larger snapshot; 0 is no bound but the free space.
	MaxBytes int64
	// Reserve is how many bytes must stay free in Dir beside the snapshot.
	Reserve int64
	// Progress, if set, is called on the fetching goroutine after every block,
	// and first with what was there already. done may start over when the
	// source has to begin a new snapshot.
	Progress func(done, total int64)
	// Offered, if set, is called on the fetching goroutine with every snapshot that is
	// begun or gone on with, before its first Progress.
	Offered func(Offer)
	// BackoffMin and BackoffMax bound the wait before a retry, which doubles;
	// defaults 100 ms and 2 s.
	BackoffMin, BackoffMax time.Duration
	// OpenTimeout bounds one request to open a snapshot, for which its source may
	// have to make one; default 21 min: as long as a source takes at most to make
	// the one that is under way and then another, and the way there. It is a bound
	// only: that a source is gone the connection to it notices long before.
	OpenTimeout time.Duration
	// StallTimeout ends a stream on which nothing arrives; default 30 s.
	StallTimeout time.Duration
	// Patience is how long the source may give nothing before Fetch ends, so that
	// the caller can ask another; 0 is for ever.
	Patience time.Duration
	// Sched is where the waiting is done; the default is sched.Go.
	Sched sched.Scheduler
	// Logger hears of retries; nil discards.
	Logger *slog.Logger
}

// Bounds of what is tried again although nothing moves.
const (
	maxDamaged  = 3
	maxReopened = 3
)

// fetcher is one Fetch.
type fetcher struct {
	o     FetchOptions
	log   *slog.Logger
	offer Offer
	total int64
	done  int64
	wait  time.Duration
	// troubled is when the source failed for the first time since it last gave
	// something.
	troubled time.Time
	buf      []byte
}

// Fetch pulls a snapshot into a directory and returns what it holds. When it
// returns without an error every byte was checked, everything is durable, and
// the mark that Load reads is written.
//
// It goes on where an earlier call stopped, also one of another process, as
// long as the source still has that very snapshot open; a directory that is
// complete already and holds MinIndex is left as it is. What passes is retried
// until ctx ends, whose error is then wrapped together with the last one, or the
// patience; what is definite ends it at once. Errors name the source, the file and the offset.
// One call at a time for a directory.
func Fetch(ctx context.Context, o FetchOptions) (raft.SnapshotMeta, error) {
	if o.FS == nil || o.Dir == "" || o.Source == nil || o.ClusterID == 0 {
		return raft.SnapshotMeta{}, errors.New("fetch snapshot: file system, directory, source and cluster id are required")
	}
	defaultTo(&o.BackoffMin, 100*time.Millisecond)
	defaultTo(&o.BackoffMax, 2*time.Second)
	defaultTo(&o.OpenTimeout, 2*cutTimeout+time.Minute)
	defaultTo(&o.StallTimeout, 30*time.Second)
	o.Sched = sched.Or(o.Sched)
	f := &fetcher{o: o, log: o.Logger, buf: make([]byte, BlockSize)}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	if err := disk.MkdirAll(o.FS, o.Dir); err != nil {
		return raft.SnapshotMeta{}, fmt.Errorf("fetch snapshot: %w", err)
	}
	meta, ok, err := f.look()
	if err == nil && !ok {
		meta, err = f.run(ctx)
	}
	if err != nil {
		return raft.SnapshotMeta{}, fmt.Errorf("fetch snapshot from %s: %w", o.Source.Name(), err)
	}
	return meta, nil
}

// run opens a snapshot, unless one is half fetched, and pulls it. A source that
// has forgotten its snapshot is asked for another, but not for ever without a
// byte between.
func (f *fetcher) run(ctx context.Context) (raft.SnapshotMeta, error) {
	reopened := 0
	for {
		if f.offer.Manifest == nil {
			if err := f.open(ctx); err != nil {
				return raft.SnapshotMeta{}, err
			}
		}
		if f.o.Offered != nil {
			f.o.Offered(f.offer)
		}
		moved, err := f.pull(ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrUnknownSnapshot) {
			return raft.SnapshotMeta{}, err
		}
		if reopened++; moved {
			reopened = 0
		}
		if reopened > maxReopened {
			return raft.SnapshotMeta{}, err
		}
		f.log.Info("snapshot is gone at its source, starting with another", "source", f.o.Source.Name(), "id", f.offer.ID)
		f.offer = Offer{}
	}
	if err := f.complete(); err != nil {
		return raft.SnapshotMeta{}, err
	}
	if err := f.o.Source.Close(ctx, f.offer.ID); err != nil {
		// It runs out there by itself.
		f.log.Info("snapshot could not be closed at its source", "source", f.o.Source.Name(), "err", err)
	}
	return f.offer.Manifest.Meta.SnapshotMeta, nil
}

// open gets an offer, retrying what passes, and makes the directory ready.
func (f *fetcher) open(ctx context.Context) error {
	for {
		began := f.o.Sched.Now()
		offer, err := f.openOnce(ctx)
		if err == nil {
			if err := f.acceptable(offer); err != nil {
				return err
			}
			return f.prepare(ctx, offer)
		}
		if definite(err) {
			return fmt.Errorf("open a snapshot: %w", err)
		}
		if errors.Is(err, errNoOffer) && f.troubled.IsZero() {
			f.troubled = began
		}
		if err := f.pause(ctx, fmt.Errorf("open a snapshot: %w", err)); err != nil {
			return err
		}
	}
}

// openOnce asks the source for an offer, within OpenTimeout.
func (f *fetcher) openOnce(ctx context.Context) (Offer, error) {
	call, cancel := sched.WithTimeout(ctx, f.o.Sched, f.o.OpenTimeout, nil)
	defer cancel()
	offer, err := f.o.Source.Open(call, f.o.MinIndex)
	if err != nil && call.Err() != nil && ctx.Err() == nil {
		return Offer{}, fmt.Errorf("%w within %v: %w", errNoOffer, f.o.OpenTimeout, err)
	}
	return offer, err
}

// errNoOffer says that a source took all the time there is to make a snapshot, in
// which it gave nothing.
var errNoOffer = errors.New("no snapshot was offered")

func (f *fetcher) acceptable(o Offer) error {
	if o.ID == "" || len(o.ID) > maxID || o.Manifest == nil {
		return fmt.Errorf("%w: offer with id %q", ErrManifest, o.ID)
	}
	if err := o.Manifest.Validate(); err != nil {
		return err
	}
	m := &o.Manifest.Meta
	total := o.Manifest.TotalBytes()
	switch {
	case m.ClusterID != f.o.ClusterID:
		return fmt.Errorf("%w: the snapshot is of cluster %x, not %x", ErrRefused, m.ClusterID, f.o.ClusterID)
	case m.Index < f.o.MinIndex:
		return fmt.Errorf("%w: the snapshot holds index %d, asked for %d", ErrBehind, m.Index, f.o.MinIndex)
	case f.o.MaxBytes > 0 && total > f.o.MaxBytes:
		return fmt.Errorf("%w: the snapshot has %d bytes, the limit is %d", ErrRefused, total, f.o.MaxBytes)
	}
	return nil
}

// pause waits before a retry. It returns an error, with the cause in it, when
// ctx has ended or the patience has.
func (f *fetcher) pause(ctx context.Context, cause error) error {
	if f.troubled.IsZero() {
		f.troubled = f.o.Sched.Now()
	}
	if f.o.Patience > 0 && f.o.Sched.Now().Sub(f.troubled) >= f.o.Patience {
		return fmt.Errorf("nothing came for %v: %w", f.o.Patience, cause)
	}
	if ctx.Err() == nil {
		f.wait = min(max(2*f.wait, f.o.BackoffMin), f.o.BackoffMax)
		f.log.Info("snapshot transfer was interrupted", "source", f.o.Source.Name(), "err", cause, "retry_in", f.wait)
		if sched.Sleep(ctx, f.o.Sched, f.wait, nil) {
			return nil
		}
	}
	return fmt.Errorf("%w; last: %w", context.Cause(ctx), cause)
}

func (f *fetcher) progress() {
	if f.o.Progress != nil {
		f.o.Progress(f.done, f.total)
	}
}
