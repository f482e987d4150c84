package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"chainfire/internal/disk"
	"chainfire/internal/sched"
	"chainfire/raft"
)

// Cutter makes a copy of a member's state.
type Cutter interface {
	// Cut writes the state into dir, which does not exist yet while its parent
	// does, and says what it holds. On an error it may leave files behind.
	Cut(ctx context.Context, dir string) (raft.SnapshotMeta, error)
	// Verify reads what was written into dir, and returns an error if it is not
	// as the state was written once: what rotted before the cut must not travel.
	Verify(ctx context.Context, dir string) error
}

// ServerOptions configure a Server. The zero value of a field means its default.
type ServerOptions struct {
	// FS and Dir are where snapshots are cut; Dir is the server's alone. Both
	// are required, as are Cutter and ClusterID.
	FS        disk.FS
	Dir       string
	Cutter    Cutter
	ClusterID uint64
	// TTL is how long a snapshot stays after it was last read; default 2 min.
	TTL time.Duration
	// ShareFor is how long after its cut a snapshot is given to further
	// readers; default 1 min.
	ShareFor time.Duration
	// IdleFor is how long nobody must have read a snapshot for it to give way to a
	// newer one when there are MaxCuts; default 15 s.
	IdleFor time.Duration
	// MaxCuts and MaxReaders bound what is open; defaults 2 and 16.
	MaxCuts, MaxReaders int
	// BytesPerSecond bounds all reading together; 0 is no bound.
	BytesPerSecond int64
	// Busy, if set, says whether there is work that reading must give way to. Then
	// all reading together is bounded by YieldBytesPerSecond, which is required with
	// it. Any goroutine.
	Busy                func() bool
	YieldBytesPerSecond int64
	// CutTimeout bounds the making of one snapshot; default 10 min.
	CutTimeout time.Duration
	// Sched runs the server; the default is sched.Go.
	Sched sched.Scheduler
	// Logger hears of snapshots made and removed; nil discards.
	Logger *slog.Logger
}

// cutTimeout is the default of ServerOptions.CutTimeout.
const cutTimeout = 10 * time.Minute

// Offer is one use of a snapshot: ID names it until it is closed.
type Offer struct {
	ID       string
	Manifest *Manifest
}

const (
	cutPrefix = "cut-"
	maxID     = 64
)

// cut is a snapshot on disk.
type cut struct {
	dir      string
	manifest *Manifest
	made     time.Time
	lastUse  time.Time
	readers  int
	// used is set with the first reader: until then those that waited for the
	// cut are still to come.
	used bool
}

// name is for readers elsewhere, whom the path does not concern.
func (c *cut) name() string { return fmt.Sprintf("the snapshot at index %d", c.manifest.Meta.Index) }

// reader is one use of a cut. Each has its own id, so that closing one twice
// takes nothing from the others.
type reader struct {
	cut      *cut
	lastRead time.Time
	busy     int
	// sent says that everything was sent and may not have arrived.
	sent bool
}

// job is a cut being made.
type job struct {
	done chan struct{}
	cut  *cut
	err  error
}

// Server makes snapshots and serves them. All methods may be called from any
// goroutine.
type Server struct {
	o       ServerOptions
	log     *slog.Logger
	limiter *rate.Limiter
	ctx     context.Context
	cancel  context.CancelFunc
	tasks   *sched.Group

	mu      sync.Mutex
	closed  bool
	cuts    []*cut
	readers map[string]*reader
	job     *job
	// trash are directories to remove, once nobody reads them any more.
	trash []string
	// turn is when the next reader that gives way may read.
	turn time.Time
}

// NewServer removes what an earlier process left in the directory, and begins.
// The caller closes it.
func NewServer(o ServerOptions) (*Server, error) {
	if o.FS == nil || o.Dir == "" || o.Cutter == nil || o.ClusterID == 0 {
		return nil, errors.New("snapshot server options: file system, directory, cutter and cluster id are required")
	}
	defaultTo(&o.TTL, 2*time.Minute)
	defaultTo(&o.ShareFor, time.Minute)
	defaultTo(&o.IdleFor, 15*time.Second)
	defaultTo(&o.CutTimeout, cutTimeout)
	defaultTo(&o.MaxCuts, 2)
	defaultTo(&o.MaxReaders, 16)
	if o.TTL < 0 || o.ShareFor < 0 || o.IdleFor < 0 || o.CutTimeout < 0 || o.MaxCuts < 0 || o.MaxReaders < 0 || o.BytesPerSecond < 0 || (o.Busy != nil && o.YieldBytesPerSecond <= 0) {
		return nil, errors.New("snapshot server options: a bound is negative")
	}
	o.Sched = sched.Or(o.Sched)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, log: o.Logger, readers: make(map[string]*reader), tasks: sched.NewGroup(o.Sched)}
	if o.BytesPerSecond > 0 {
		burst := min(max(BlockSize, o.BytesPerSecond/10), 64<<20)
		s.limiter = rate.NewLimiter(rate.Limit(o.BytesPerSecond), int(burst))
	}
	if err := s.removeLeftovers(); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.tasks.Go(s.janitor)
	return s, nil
}

func defaultTo[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (s *Server) removeLeftovers() error {
	if err := disk.MkdirAll(s.o.FS, s.o.Dir); err != nil {
		return fmt.Errorf("prepare snapshot directory: %w", err)
	}
	names, err := s.o.FS.List(s.o.Dir)
	if err != nil {
		return fmt.Errorf("list snapshot directory %s: %w", s.o.Dir, err)
	}
	for _, name := range names {
		if !strings.HasPrefix(name, cutPrefix) {
			continue
		}
		if err := s.o.FS.RemoveAll(s.o.FS.PathJoin(s.o.Dir, name)); err != nil {
			return fmt.Errorf("remove left-over snapshot %s: %w", name, err)
		}
	}
	return nil
}

// janitor ends what is no longer read.
func (s *Server) janitor() {
	tick, stop := sched.Tick(s.o.Sched, max(s.o.TTL/4, time.Millisecond))
	defer stop()
	for s.o.Sched.Wait(s.ctx.Done(), tick) == 1 {
		s.Sweep()
	}
}

// Open offers a snapshot that holds at least minIndex: a recent one if there is
// one, else a new one, which takes as long as reading the whole state once. The
// caller closes the offer by its ID, or lets it run out.
//
// It returns ErrBusy, ErrBehind, ErrClosed, the context's error, or what the
// cutter said.
func (s *Server) Open(ctx context.Context, minIndex uint64) (Offer, error) {
	s.Sweep()
	for {
		offer, j, mine, err := s.join(minIndex)
		if err != nil || j == nil {
			return offer, err
		}
		if s.o.Sched.Wait(j.done, ctx.Done()) == 1 {
			return Offer{}, fmt.Errorf("wait for a snapshot: %w", context.Cause(ctx))
		}
		if j.err != nil {
			return Offer{}, j.err
		}
		if have := j.cut.manifest.Meta.Index; mine && have < minIndex {
			s.discardUnused(j.cut)
			return Offer{}, fmt.Errorf("%w: a snapshot here holds index %d, asked for %d", ErrBehind, have, minIndex)
		}
	}
}

// join finds a snapshot to share, or the job that makes one, and says whether
// that job was begun for this call.
func (s *Server) join(minIndex uint64) (offer Offer, j *job, mine bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Offer{}, nil, false, ErrClosed
	}
	if len(s.readers) >= s.o.MaxReaders {
		s.endSentLocked(0)
	}
	if len(s.readers) >= s.o.MaxReaders {
		return Offer{}, nil, false, fmt.Errorf("%w: %d readers", ErrBusy, len(s.readers))
	}
	now := s.o.Sched.Now()
	for i := len(s.cuts) - 1; i >= 0; i-- {
		c := s.cuts[i]
		if c.manifest.Meta.Index >= minIndex && (now.Sub(c.made) < s.o.ShareFor || !c.used) {
			id := s.newID()
			s.readers[id] = &reader{cut: c, lastRead: now}
			c.readers++
			c.lastUse, c.used = now, true
			return Offer{ID: id, Manifest: c.manifest}, nil, false, nil
		}
	}
	if s.job != nil {
		return Offer{}, s.job, false, nil
	}
	if len(s.cuts) >= s.o.MaxCuts && !s.giveWayLocked(now) {
		return Offer{}, nil, false, fmt.Errorf("%w: %d snapshots", ErrBusy, len(s.cuts))
	}
	s.job = &job{done: make(chan struct{})}
	j = s.job
	s.tasks.Go(func() { s.make(j) })
	return Offer{}, j, true, nil
}

func (s *Server) newID() string {
	return fmt.Sprintf("%016x%016x", s.o.Sched.Uint64(), s.o.Sched.Uint64())
}

// make cuts a snapshot and describes it. It belongs to the server, not to the
// call that began it, since others wait for it too.
func (s *Server) make(j *job) {
	ctx, cancel := sched.WithTimeout(s.ctx, s.o.Sched, s.o.CutTimeout, nil)
	defer cancel()
	dir := s.o.FS.PathJoin(s.o.Dir, cutPrefix+s.newID())
	start := s.o.Sched.Now()
	m, err := s.cutInto(ctx, dir)
	s.mu.Lock()
	if err != nil {
		j.err = err
		if s.closed {
			j.err = ErrClosed
		}
		s.trash = append(s.trash, dir)
	} else {
		now := s.o.Sched.Now()
		j.cut = &cut{dir: dir, manifest: m, made: now, lastUse: now}
		s.cuts = append(s.cuts, j.cut)
	}
	s.job = nil
	s.mu.Unlock()
	close(j.done)
	if err != nil {
		s.log.Error("a snapshot could not be cut", "err", err)
		s.empty()
		return
	}
	s.log.Info("snapshot cut", "index", m.Meta.Index, "files", len(m.Files), "bytes", m.TotalBytes(), "took", s.o.Sched.Now().Sub(start))
}

func (s *Server) cutInto(ctx context.Context, dir string) (*Manifest, error) {
	meta, err := s.o.Cutter.Cut(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCut, err)
	}
	m, err := BuildManifest(ctx, s.o.FS, dir, Meta{SnapshotMeta: meta, ClusterID: s.o.ClusterID})
	if err == nil {
		// After the manifest: what rots between the two shows here, and what rots
		// later fails the manifest.
		err = s.o.Cutter.Verify(ctx, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCut, err)
	}
	return m, nil
}

// ReadChunk reads one block of a file of an open snapshot into buf, which has
// room for BlockSize bytes; offset is a multiple of BlockSize. At the end of the
// file it returns io.EOF. What is read is checked against the manifest: a
// *CorruptError says that it rotted here. It waits for the rate limit.
func (s *Server) ReadChunk(ctx context.Context, id, name string, offset int64, buf []byte) (int, error) {
	r, f, err := s.use(id, name)
	if err != nil {
		return 0, err
	}
	defer s.release(r)
	switch {
	case offset == f.Size:
		return 0, io.EOF
	case offset < 0 || offset > f.Size || offset%BlockSize != 0:
		return 0, fmt.Errorf("%w: offset %d of file %s, which has %d bytes", ErrBadRequest, offset, name, f.Size)
	case len(buf) < BlockSize:
		return 0, fmt.Errorf("%w: room for %d bytes, a block may have %d", ErrBadRequest, len(buf), BlockSize)
	}
	i := int(offset / BlockSize)
	n := f.blockLen(i)
	if s.limiter != nil {
		if err := s.limiter.WaitN(ctx, n); err != nil {
			return 0, fmt.Errorf("wait for the snapshot rate limit: %w", err)
		}
	}
	if s.o.Busy != nil && s.o.Busy() {
		if err := s.giveWay(ctx, n); err != nil {
			return 0, err
		}
	}
	if err := s.readAt(r.cut, f, buf[:n], offset); err != nil {
		return 0, err
	}
	if got := checksum(buf[:n]); got != f.Blocks[i] {
		return 0, &CorruptError{
			Source: r.cut.name(), File: name, From: offset, To: offset + int64(n),
			Reason: fmt.Sprintf("checksum %08x, expected %08x", got, f.Blocks[i]),
		}
	}
	return n, nil
}

// giveWay waits so that all that read so many bytes in a row keep to the rate.
func (s *Server) giveWay(ctx context.Context, bytes int) error {
	s.mu.Lock()
	now := s.o.Sched.Now()
	if s.turn.Before(now) {
		s.turn = now
	}
	wait := s.turn.Sub(now)
	s.turn = s.turn.Add(time.Duration(int64(bytes) * int64(time.Second) / s.o.YieldBytesPerSecond))
	s.mu.Unlock()
	if wait > 0 && !sched.Sleep(ctx, s.o.Sched, wait, nil) {
		return fmt.Errorf("wait for work that goes first: %w", context.Cause(ctx))
	}
	return nil
}

func (s *Server) readAt(c *cut, f *File, b []byte, offset int64) error {
	file, err := s.o.FS.Open(local(s.o.FS, c.dir, f.Name))
	if err != nil {
		return fmt.Errorf("open snapshot file %s: %w", f.Name, err)
	}
	n, err := file.ReadAt(b, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("read snapshot file %s at %d: %w", f.Name, offset, err)
	}
	if n < len(b) {
		return &CorruptError{Source: c.name(), File: f.Name, From: offset, To: offset + int64(len(b)), Reason: "the file is short"}
	}
	return nil
}

// use finds a file by its name in the manifest, never on the disk, so that no
// name leads anywhere else.
func (s *Server) use(id, name string) (*reader, *File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, ErrClosed
	}
	r := s.readers[id]
	if r == nil {
		return nil, nil, fmt.Errorf("snapshot %q: %w", id, ErrUnknownSnapshot)
	}
	f, ok := r.cut.manifest.find(name)
	if !ok {
		return nil, nil, fmt.Errorf("%w: snapshot %s has no file %q", ErrBadRequest, id, name)
	}
	r.busy++
	r.sent = false
	return r, f, nil
}

func (s *Server) release(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.busy--
	r.lastRead = s.o.Sched.Now()
	r.cut.lastUse = r.lastRead
}
