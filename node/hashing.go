package node

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
	"chainfire/mvcc"
)

// While it hashes, a member works for restAfter, and then leaves its processor and disk
// to others for restTimes as long.
const (
	restAfter = 10 * time.Millisecond
	restTimes = 3
)

// hashKept is for how long a hash is as good as a new one where nothing was written, and
// hashLimit bounds the time that a member takes for one.
const (
	hashKept  = time.Hour
	hashLimit = 6 * time.Hour
)

// point is where in the log a member was at which revision.
type point struct {
	index          uint64
	rev, compacted int64
}

func pointOf(st mvcc.State) point { return point{st.Applied, st.Revision, st.Compacted} }

// hashed is what a member says of its key space at a point that it was asked for.
type hashed struct {
	// at is its own point when it began.
	at point
	// sum is the hash at the revision that was asked for; ok says that there is one.
	sum uint64
	ok  bool
	// objects is the sum of buckets and objects at the index that was asked for;
	// objectsKnown says that it is known.
	objects      uint64
	objectsKnown bool
	// cost is how long the member worked at it.
	cost time.Duration
}

// hasher is what this member knows of its own hashes.
type hasher struct {
	// turn has the turn of who hashes.
	turn chan struct{}

	mu sync.Mutex
	// last is the last hash, of the time when; changes counts the states that were put in
	// the place of another.
	last    mvcc.Hash
	when    time.Time
	changes uint64
	// rested is when it may begin again by itself, took how long the last one lasted, with
	// its rests.
	rested time.Time
	took   time.Duration
}

func newHasher() *hasher {
	h := &hasher{turn: make(chan struct{}, 1)}
	h.turn <- struct{}{}
	return h
}

// replaced says that the state is another now. It is the applier's.
func (h *hasher) replaced() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last, h.changes = mvcc.Hash{}, h.changes+1
}

func (h *hasher) begin() (changes uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changes
}

// known is the hash of a revision, if it was taken lately.
func (h *hasher) known(rev, compacted int64, now time.Time) (sum uint64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last.Sum, h.last.Revision == rev && h.last.Compacted == compacted && now.Sub(h.when) < hashKept
}

// done takes in a hash that was begun when there were so many changes.
func (h *hasher) done(last mvcc.Hash, changes uint64, began, now time.Time, cost time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rested, h.took = now.Add(costTimes*cost), now.Sub(began)
	if changes == h.changes {
		h.last, h.when = last, now
	}
}

// lasted is how long the last hash took here, with its rests.
func (h *hasher) lasted() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.took
}

func (h *hasher) restedAt() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rested
}

// hashAt hashes the key space at a point, once this member has come to it. There is no
// hash where it is at an earlier revision then, or at another compacted one: it says
// where it is.
func (n *Node) hashAt(ctx context.Context, p point, anew bool) (hashed, error) {
	if err := n.untilApplied(ctx, p.index); err != nil {
		return hashed{}, err
	}
	// At once, as it is not remembered for long.
	objects, objectsKnown := n.machine.ObjectSumAt(p.index)
	if err := n.await(ctx, n.hasher.turn, chainfire.ErrTimeout); err != nil {
		return hashed{}, err
	}
	defer func() { n.hasher.turn <- struct{}{} }()
	if ctx.Err() != nil {
		return hashed{}, ctx.Err() // whoever asked has left while others had their turn
	}
	changes := n.hasher.begin()
	view, st, err := n.machine.ExactView()
	if err != nil {
		return hashed{}, err
	}
	defer func() {
		if err := view.Close(); err != nil {
			n.log.Warn("a view of the store was not closed", "err", err)
		}
	}()
	out := hashed{at: pointOf(st), objects: objects, objectsKnown: objectsKnown}
	if out.at.rev < p.rev || out.at.compacted != p.compacted {
		return out, nil
	}
	if sum, ok := n.hasher.known(p.rev, p.compacted, n.sched.Now()); ok && !anew {
		out.sum, out.ok = sum, true
		return out, nil
	}
	began := n.sched.Now()
	g := &gait{n: n, ctx: ctx, since: began}
	h, err := view.HashKV(ctx, p.rev, g.rest)
	if err != nil {
		return hashed{}, n.rotten(err)
	}
	now := n.sched.Now()
	out.cost = g.worked + now.Sub(g.since)
	out.sum, out.ok = h.Sum, true
	n.hasher.done(h, changes, began, now, out.cost)
	return out, nil
}

// untilApplied waits until the state is that of an index at least.
func (n *Node) untilApplied(ctx context.Context, index uint64) error {
	ctx, cancel := sched.WithTimeout(ctx, n.sched, n.opts.RequestTimeout, errBehind)
	defer cancel()
	for {
		applied, _ := n.machine.Applied()
		if applied >= index {
			return nil
		}
		err := n.pause(ctx, n.opts.TickInterval)
		switch {
		case err == nil:
		case errors.Is(context.Cause(ctx), errBehind):
			return fmt.Errorf("%w: index %d is applied, %d is not", errBehind, applied, index)
		default:
			return err
		}
	}
}

var errBehind = errors.New("this member is too far behind")

// gait keeps a hash from taking more than its share of the machine. It belongs to one
// goroutine.
type gait struct {
	n     *Node
	ctx   context.Context
	since time.Time
	// worked is the work before since.
	worked time.Duration
}

// rest is called again and again by who works.
func (g *gait) rest() error {
	select {
	case <-g.n.stop:
		return chainfire.ErrStopped
	default:
	}
	d := g.n.sched.Now().Sub(g.since)
	if d < restAfter {
		return nil
	}
	g.worked += d
	err := g.n.pause(g.ctx, restTimes*d)
	g.since = g.n.sched.Now()
	return err
}

// HashKeySpace implements api.PeerServer.
func (p *peerService) HashKeySpace(ctx context.Context, q *api.HashKeySpaceRequest) (*api.HashKeySpaceResponse, error) {
	if _, err := p.gate(); err != nil {
		return nil, err
	}
	n := p.n
	if q.GetClusterId() != n.cluster {
		return nil, status.Errorf(codes.FailedPrecondition, "this is cluster %x, not cluster %x", n.cluster, q.GetClusterId())
	}
	ctx, cancel := sched.WithTimeout(ctx, n.sched, hashLimit, nil)
	defer cancel()
	h, err := n.hashAt(ctx, point{q.GetIndex(), q.GetRevision(), q.GetCompactRevision()}, q.GetAnew())
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &api.HashKeySpaceResponse{
		AppliedIndex: h.at.index, Revision: h.at.rev, CompactRevision: h.at.compacted,
		Hashed: h.ok, Hash: h.sum, Micros: h.cost.Microseconds(), ObjectsKnown: h.objectsKnown, Objects: h.objects,
	}, nil
}

// askHash has another member hash its key space.
func (n *Node) askHash(ctx context.Context, member uint64, p point, anew bool) (hashed, error) {
	peer, err := host{n}.Peer(member)
	if err != nil {
		return hashed{}, err
	}
	r, err := peer.HashKeySpace(ctx, &api.HashKeySpaceRequest{
		ClusterId: n.cluster, Index: p.index, Revision: p.rev, CompactRevision: p.compacted, Anew: anew,
	})
	if err != nil {
		return hashed{}, err
	}
	if r.GetAppliedIndex() < p.index {
		return hashed{}, fmt.Errorf("%w: it answers for index %d, not %d", errBehind, r.GetAppliedIndex(), p.index)
	}
	return hashed{
		at: point{r.GetAppliedIndex(), r.GetRevision(), r.GetCompactRevision()}, sum: r.GetHash(), ok: r.GetHashed(),
		objects: r.GetObjects(), objectsKnown: r.GetObjectsKnown(),
		cost: min(max(0, time.Duration(r.GetMicros())*time.Microsecond), hashLimit),
	}, nil
}
