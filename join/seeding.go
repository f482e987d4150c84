package join

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
	"chainfire/internal/sched"
	"chainfire/snapshot"
)

// Seeding is where a newcomer's seed comes from, while it does: members may ask to be
// the source in place of the one that is. Any goroutine.
type Seeding struct {
	sched   sched.Scheduler
	schemes Schemes

	mu sync.Mutex
	// open says that the newcomer is being seeded; who and incarnation are its own.
	open        bool
	who         Place
	incarnation uint64
	// only is the member that it was told to be seeded by, alone; empty is none.
	only string
	// next is the source that was asked for and is not used yet.
	next *takeover
	// interrupt ends the use of the source that is used.
	interrupt context.CancelCauseFunc
}

// NewSeeding makes the Seeding of a newcomer that is not seeded yet, among members with
// peer URLs of these schemes.
func NewSeeding(s sched.Scheduler, schemes Schemes) *Seeding {
	return &Seeding{sched: sched.Or(s), schemes: schemes}
}

// takeover is a source that was asked for. The mutex of Seeding guards it.
type takeover struct {
	source source
	// changed is closed at the next change.
	changed     chan struct{}
	meta        *api.SnapshotMeta
	done, total int64
	over        bool
	err         error
}

func (t *takeover) change() {
	close(t.changed)
	t.changed = make(chan struct{})
}

var (
	errOtherSource = errors.New("another source was asked for")
	errNotSeeding  = status.Error(codes.FailedPrecondition,
		"it is not being seeded: it has its seed already, or has no place in the cluster yet; 'chainfire status' shows where it stands")
)

// begin lets others ask.
func (s *Seeding) begin(who Place, incarnation uint64, only string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open, s.who, s.incarnation, s.only = true, who, incarnation, only
}

// end lets nobody ask any more.
func (s *Seeding) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = false
	if s.next != nil {
		s.finish(s.next, errNotSeeding)
		s.next = nil
	}
}

// use begins the use of a source: the one that was asked for, or any if none was. The
// context ends as soon as another is asked for.
func (s *Seeding) use(ctx context.Context) (context.Context, *takeover) {
	ctx, cancel := context.WithCancelCause(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.next
	s.next, s.interrupt = nil, cancel
	return ctx, t
}

// ended says how the use of a source ended; t is nil for one that nobody asked for.
func (s *Seeding) ended(t *takeover, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interrupt(nil)
	switch {
	case t == nil:
	case err == nil:
		s.finish(t, nil)
	case s.next != nil:
		s.finish(t, status.Errorf(codes.Aborted, "member %d was asked for as the source meanwhile", s.next.source.ID))
	default:
		s.finish(t, status.Errorf(codes.Unavailable, "the newcomer could not be seeded from member %d: %v; it goes on with another source", t.source.ID, err))
	}
}

func (s *Seeding) finish(t *takeover, err error) {
	t.over, t.err = true, err
	t.change()
}

func (s *Seeding) offered(t *takeover, o snapshot.Offer) {
	if t == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.meta = snapshot.MetaOf(o)
	t.change()
}

func (s *Seeding) progress(t *takeover, done, total int64) {
	if t == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.done, t.total = done, total
	t.change()
}

// ask makes a member the next source.
func (s *Seeding) ask(q *api.TakeSeedRequest) (*takeover, error) {
	addr, err := s.schemes.Address(q.GetSource().GetPeerUrl())
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "the source's peer URL: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := q.GetSource().GetMemberId()
	switch {
	case !s.open:
		return nil, errNotSeeding
	case q.GetClusterId() != s.who.Cluster || q.GetMemberId() != s.who.Member || q.GetIncarnation() != s.incarnation:
		return nil, status.Errorf(codes.FailedPrecondition, "here is another newcomer: member %d of cluster %x", s.who.Member, s.who.Cluster)
	case s.only != "":
		return nil, status.Errorf(codes.FailedPrecondition,
			"it was started with --bootstrap-from %s, to be seeded by that member alone; start it again without, or with another", s.only)
	}
	if s.next != nil {
		s.finish(s.next, status.Errorf(codes.Aborted, "member %d was asked for as the source meanwhile", id))
	}
	s.next = &takeover{
		source:  source{Record{MemberInfo: chainfire.MemberInfo{ID: id}}, addr},
		changed: make(chan struct{}),
	}
	if s.interrupt != nil {
		s.interrupt(fmt.Errorf("%w: member %d", errOtherSource, id))
	}
	return s.next, nil
}

// takeInterval is how often who asked is told how far the newcomer is.
const takeInterval = 200 * time.Millisecond

// Take answers api.Peer.TakeSeed: it returns when the seed that was asked for is
// whole, has failed, or ctx has ended, which changes nothing of the seeding.
func (s *Seeding) Take(ctx context.Context, q *api.TakeSeedRequest, send func(*api.TransferSnapshotResponse) error) error {
	t, err := s.ask(q)
	if err != nil {
		return err
	}
	var told takeover
	for {
		s.mu.Lock()
		now, changed := *t, t.changed
		s.mu.Unlock()
		if now.meta != nil && now.meta != told.meta {
			if err := send(&api.TransferSnapshotResponse{Part: &api.TransferSnapshotResponse_Meta{Meta: now.meta}}); err != nil {
				return err
			}
		}
		if now.meta != nil && (now.done != told.done || now.total != told.total) {
			err := send(&api.TransferSnapshotResponse{Part: &api.TransferSnapshotResponse_Progress{Progress: &api.SnapshotProgress{
				BytesDone: uint64(now.done), BytesTotal: uint64(now.total),
			}}})
			if err != nil {
				return err
			}
		}
		if now.over {
			return s.conclude(now, send)
		}
		told = now
		// What happens in the meantime is told together.
		if s.sched.Wait(ctx.Done(), changed) == 0 || !sched.Sleep(ctx, s.sched, takeInterval, nil) {
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

func (s *Seeding) conclude(t takeover, send func(*api.TransferSnapshotResponse) error) error {
	switch {
	case t.err != nil:
		return t.err
	case t.meta == nil:
		return errNotSeeding // what was there already was whole
	}
	return send(&api.TransferSnapshotResponse{Part: &api.TransferSnapshotResponse_Done{Done: true}})
}
