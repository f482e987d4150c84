// Package bodies is the bytes of object bodies across the cluster: it writes each extent to the
// members that are to hold it, reads from whoever has it, brings to this member what it should
// have, and lets go what nothing refers to. Which bodies there are is the replicated state, of
// which it knows what State says; the bytes of this member are in package blob.
//
// docs/design/bodies.md says why it does so.
package bodies

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"chainfire/blob"
	"chainfire/object"
)

// Defaults of Options.
const (
	DefaultPatience       = 2 * time.Second
	DefaultStall          = 30 * time.Second
	DefaultLeaseFor       = time.Minute
	DefaultGrace          = 10 * time.Minute
	DefaultRepairEvery    = time.Hour
	DefaultRetryEvery     = 30 * time.Second
	DefaultRecentEvery    = 30 * time.Second
	DefaultCollectEvery   = 5 * time.Minute
	DefaultScrubEvery     = 7 * 24 * time.Hour
	DefaultAbsentFor      = time.Hour
	DefaultBytesPerSecond = 64 << 20
	DefaultWriters        = 64
)

// Bounds of memory. Each writer has at most flightOfBody extents that are not sent, all of them
// together flightOfAll. Besides, each has one that it fills, also while it waits for others: as many as
// there are callers. Each reader reads so many extents ahead.
const (
	flightOfBody = 4
	flightOfAll  = 64
	readAhead    = 2
)

// minExtent bounds how many extents a body can have.
const minExtent = 64 << 10

// maxLeaseBodies is how many bodies one lease is used for at most.
const maxLeaseBodies = 100_000

// Options of New. Times are bounds, 0 being the default.
type Options struct {
	// Member is this member's id, Boots which start of its process this is.
	Member, Boots uint64
	State         State
	Peers         Peers
	// External, where it is not nil, is a store outside of the cluster that takes all new bodies of
	// more than object.MaxInline bytes, in place of members. Each member must have the same.
	External Peer
	// Blob opens the store; its Corrupt is set by New.
	Blob blob.Options
	// Patience is how long a member may take for one extent before a body is written without it,
	// where the others are enough; Stall how long a body waits where they are not.
	Patience, Stall time.Duration
	// LeaseFor is how long a write lease is used.
	LeaseFor time.Duration
	// Grace is how long bytes stay that nothing refers to any more, so that who reads them
	// can finish.
	Grace time.Duration
	// RepairEvery is how often all bodies are looked through for bytes that this member should
	// have, besides the times when there is a reason to; RetryEvery when that is tried again
	// where it failed, and how often each extent is that nobody could give.
	RepairEvery, RetryEvery time.Duration
	// RecentEvery is how often that is done for the bodies alone that were written lately, which
	// this member may have been left out of.
	RecentEvery time.Duration
	// CollectEvery is how often bytes are looked for that are not wanted any more, and
	// segments compacted; ScrubEvery how often everything on the disk is read and checked.
	CollectEvery, ScrubEvery time.Duration
	// AbsentFor is how long a member is not heard of before its write leases are closed.
	AbsentFor time.Duration
	// BytesPerSecond bounds repair, compaction and scrubs, each. 0 is 64 MiB.
	BytesPerSecond int64
	// Pass, if set, waits until so many bytes of a body may be written. Any goroutine.
	Pass func(ctx context.Context, n int) error
	// ExtentBytes is how many bytes of a body are one extent, at most and by default
	// object.MaxExtent.
	ExtentBytes int
	// Writers is how many bodies of more than object.MaxInline bytes are written at once; more
	// wait. 0 is 64.
	Writers int
	// Logger may be nil.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		of *time.Duration
		is time.Duration
	}{
		{&o.Patience, DefaultPatience},
		{&o.Stall, DefaultStall},
		{&o.LeaseFor, DefaultLeaseFor},
		{&o.Grace, DefaultGrace},
		{&o.RepairEvery, DefaultRepairEvery},
		{&o.RetryEvery, DefaultRetryEvery},
		{&o.RecentEvery, DefaultRecentEvery},
		{&o.CollectEvery, DefaultCollectEvery},
		{&o.ScrubEvery, DefaultScrubEvery},
		{&o.AbsentFor, DefaultAbsentFor},
	} {
		if *d.of == 0 {
			*d.of = d.is
		}
	}
	if o.BytesPerSecond == 0 {
		o.BytesPerSecond = DefaultBytesPerSecond
	}
	if o.ExtentBytes == 0 {
		o.ExtentBytes = object.MaxExtent
	}
	if o.Writers == 0 {
		o.Writers = DefaultWriters
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// State is the replicated state as this member has it. All methods may be called from any
// goroutine.
type State interface {
	// Change and Local are those of object.Service.
	Change(ctx context.Context, c *object.Change) (*object.Result, error)
	Local(ctx context.Context) (*object.View, error)
	// Applied is an index that every view has applied which is pinned after the call.
	Applied() uint64
	// Place says which members are to hold an extent, as this member knows them.
	Place(id object.ExtentID) []uint64
	// Members are all members, this one too.
	Members() []uint64
	// Leads reports whether this member leads. Absent reports, on the leader, whether a
	// member is none any more or was not heard of for so long.
	Leads() bool
	Absent(member uint64, d time.Duration) bool
}

// Peers are the other members.
type Peers interface {
	// Peer is the one with an id. It does not wait for a connection.
	Peer(member uint64) (Peer, error)
}

// Peer is another member. All methods may be called from any goroutine.
type Peer interface {
	// Put opens a stream of extents to it, which ends with the context.
	Put(ctx context.Context) (Stream, error)
	// Get reads len(dst) bytes of an extent from off on, which it has checked, or returns
	// blob.ErrNotFound.
	Get(ctx context.Context, id object.ExtentID, off int64, dst []byte) error
	// Has says which of at most MaxHas extents are on its disk.
	Has(ctx context.Context, ids []object.ExtentID) ([]bool, error)
}

// MaxHas is how many extents Peer.Has is asked for at once.
const MaxHas = 4096

// Stream takes extents, for one goroutine.
type Stream interface {
	// Send sends an extent. Once it has returned the bytes are the caller's again, who has
	// others in their place.
	Send(id object.ExtentID, data []byte, crc uint32) error
	// Sync returns once all that was sent is on disk.
	Sync() error
	// Close ends the stream. What was not synced may or may not be there.
	Close() error
}

// Bodies is the bodies of a running member: NewBody and OpenBody of object.Service, and the work in
// the background. All methods may be called from any goroutine.
type Bodies struct {
	opts   Options
	log    *slog.Logger
	store  *blob.Store
	limits limits
	leases *leases
	health health
	counts counts

	// writing has a token of each body that is being written, flight of each extent that is
	// not sent.
	writing, flight chan struct{}

	repairs repairs

	// ctx ends when Close begins; work is what must end before the store is closed.
	ctx  context.Context
	stop context.CancelFunc

	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup
}

// limits bound the work in the background. Each has its own, so that a scrub, which goes on for long,
// leaves repair all of its rate.
type limits struct{ repair, compact, scrub *rate.Limiter }

func newLimits(bytesPerSecond int64) limits {
	each := func() *rate.Limiter { return blob.NewLimiter(bytesPerSecond) }
	return limits{repair: each(), compact: each(), scrub: each()}
}

// New opens the store and begins the work in the background.
func New(o Options) (*Bodies, error) {
	o = o.withDefaults()
	if o.ExtentBytes < minExtent || o.ExtentBytes > object.MaxExtent {
		return nil, fmt.Errorf("extents of %d bytes are outside [%d, %d]", o.ExtentBytes, minExtent, object.MaxExtent)
	}
	ctx, stop := context.WithCancel(context.Background())
	b := &Bodies{
		opts: o, log: o.Logger, limits: newLimits(o.BytesPerSecond),
		writing: make(chan struct{}, o.Writers), flight: make(chan struct{}, flightOfAll),
		ctx: ctx, stop: stop,
	}
	b.repairs.init()
	o.Blob.Corrupt = func(id object.ExtentID, _ *blob.CorruptError) {
		b.counts.corrupt.Add(1)
		b.repairs.add(id)
	}
	var err error
	if b.store, err = blob.Open(o.Blob); err != nil {
		stop()
		return nil, err
	}
	b.leases = newLeases(o.State, o.Member, o.Boots, o.LeaseFor)
	b.goes(b.keepLeases)
	b.goes(b.repair)
	b.goes(b.collect)
	b.goes(b.scrub)
	return b, nil
}

// goes runs f on a goroutine that Close waits for. It reports false when Close has begun.
func (b *Bodies) goes(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.work.Go(f)
	return true
}

// Close ends the work, and bodies that are being read and written, and closes the store. Write
// leases stay open: the next start of the member closes them.
func (b *Bodies) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return blob.ErrClosed
	}
	b.closed = true
	b.mu.Unlock()
	b.stop()
	b.work.Wait()
	return b.store.Close()
}

// Store is the extents of this member.
func (b *Bodies) Store() *blob.Store { return b.store }

// Kick says that the members have changed, or that there is another reason to look through all
// bodies now.
func (b *Bodies) Kick() { b.repairs.kick() }

// sleep waits, and reports whether it was for the whole time.
func (b *Bodies) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-b.ctx.Done():
		return false
	}
}

// health remembers which members failed lately, so that nobody waits long for them again.
type health struct {
	mu     sync.Mutex
	failed map[uint64]time.Time
}

// suspectFor is how long a member is not waited for after it failed.
const suspectFor = 5 * time.Second

func (h *health) fail(member uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed == nil {
		h.failed = map[uint64]time.Time{}
	}
	h.failed[member] = time.Now()
}

func (h *health) good(member uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.failed, member)
}

func (h *health) suspect(member uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, found := h.failed[member]
	return found && time.Since(at) < suspectFor
}

// errNoExternal says that an extent is where this member was not told to look.
var errNoExternal = errors.New("the body is in an external store, and this member was started without one")

// peer is another member, or the external store.
func (b *Bodies) peer(member uint64) (Peer, error) {
	switch {
	case member != object.ExternalHolder:
		return b.opts.Peers.Peer(member)
	case b.opts.External == nil:
		return nil, errNoExternal
	}
	return b.opts.External, nil
}

// placeNew says who is to hold an extent that is about to be written.
func (b *Bodies) placeNew(id object.ExtentID) []uint64 {
	if b.opts.External != nil {
		return []uint64{object.ExternalHolder}
	}
	return b.opts.State.Place(id)
}

// sources are the members other than this one that may have an extent: those that the state says have
// it, those that are to, then everyone else; who failed lately comes last. Who is first depends
// on the extent, so that many readers do not all ask one member.
func (b *Bodies) sources(id object.ExtentID, holders []uint64) []uint64 {
	if slices.Contains(holders, object.ExternalHolder) {
		return []uint64{object.ExternalHolder}
	}
	turn := int(id.Body.Lease+uint64(id.Body.N)+uint64(id.N)) & 0xffff
	var all []uint64
	add := func(members []uint64) {
		for i := range members {
			m := members[(turn+i)%len(members)]
			if m != b.opts.Member && !slices.Contains(all, m) {
				all = append(all, m)
			}
		}
	}
	members := b.opts.State.Members()
	add(slices.DeleteFunc(slices.Clone(holders), func(m uint64) bool { return !slices.Contains(members, m) }))
	add(b.opts.State.Place(id))
	add(members)
	slices.SortStableFunc(all, func(x, y uint64) int {
		switch sx, sy := b.health.suspect(x), b.health.suspect(y); {
		case sx == sy:
			return 0
		case sx:
			return 1
		}
		return -1
	})
	return all
}

// reasons are why members could not be used.
type reasons []error

func (r *reasons) add(member uint64, err error) {
	if member == object.ExternalHolder {
		*r = append(*r, fmt.Errorf("%w: %w", object.ErrExternalStore, err))
		return
	}
	*r = append(*r, fmt.Errorf("member %d: %w", member, err))
}

// unavailable is ErrUnavailable with the reasons.
func (r reasons) unavailable(what string) error {
	return fmt.Errorf("%s: %w: %w", what, object.ErrUnavailable, errors.Join(r...))
}
