package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"

	"chainfire"
	"chainfire/api"
	"chainfire/blob"
	"chainfire/bodies"
	"chainfire/bodies/external"
	"chainfire/machine"
	"chainfire/object"
)

// bodiesFile says of which cluster the extents in a directory are.
const bodiesFile = "bodies.json"

// bodiesOwner is the content of the bodies file. The names of extents are given by the log, so that
// those of another cluster, as of the one before a recovery, may be given anew.
type bodiesOwner struct {
	Cluster uint64 `json:"cluster_id"`
}

// maxFloorShare is what part of a small disk is kept free of bodies at most: one of so many.
const maxFloorShare = 4

// extents are what a member has for the bytes of objects that are not inline; all nil with
// Bounds.NoBodies.
type extents struct {
	bodies    *bodies.Bodies
	bodyCalls *bodies.Service
	// bodyConns are connections on which nothing else waits for the bytes.
	bodyConns *conns
	// external collects in the store outside of the cluster, where there is one.
	external *external.Collector
	// placed are the voters, and holders all members, by which bodies were looked through last.
	placed, holders []uint64
}

func (e *extents) closeBodies() error {
	if e.bodies == nil {
		return nil
	}
	err := e.bodies.Close()
	e.bodyConns.close()
	return err
}

// openBodies opens the extents of this member, and begins the work on them.
func (n *Node) openBodies() error {
	if n.opts.Bounds.NoBodies {
		return nil
	}
	o := bodies.Options{
		Member: n.id, Boots: n.boots.own, State: bodyState{n}, Peers: bodyPeers{n},
		BytesPerSecond: n.opts.BodyRate, Pass: n.courtesy.Pass, Logger: n.log,
		Blob: blob.Options{
			FS: n.opts.FS, Dir: n.path(blobDir), FloorBytes: n.bodyFloor(), Yield: n.courtesy.Busy, Breathe: n.courtesy.Breathe, Logger: n.log,
			Fatal: func(err error) { n.fatal("the store of object bodies failed", err) },
		},
	}
	if err := n.openExternal(&o); err != nil {
		return err
	}
	if n.opts.Bounds.Bodies != nil {
		n.opts.Bounds.Bodies(&o)
	}
	n.bodyConns = newConns(n.opts.Network.Dial)
	b, err := bodies.New(o)
	if err != nil {
		return fmt.Errorf("open the store of object bodies: %w", err)
	}
	n.bodies, n.bodyCalls = b, b.NewService(n.cluster)
	var owner bodiesOwner
	found, err := readSealed(n.opts.FS, n.path(bodiesFile), &owner)
	if err != nil {
		return err
	}
	if found && owner.Cluster == n.cluster {
		return nil
	}
	if err := b.Purge(context.Background()); err != nil {
		return fmt.Errorf("let object bodies of another cluster go: %w", err)
	}
	return writeSealed(n.opts.FS, n.path(bodiesFile), bodiesOwner{Cluster: n.cluster})
}

// soleWithin bounds how long is looked for extents that only one member has.
const soleWithin = time.Minute

// wouldLose says what of object bodies would be lost with a member; nothing where nothing would be.
func (n *Node) wouldLose(ctx context.Context, member uint64) (string, error) {
	// A member that lags behind does not know of the newest bodies.
	asked, enough := n.withTimeout(ctx)
	err := n.linearize(asked)
	enough()
	if err != nil {
		return "", fmt.Errorf("learn of all object bodies: %w", err)
	}
	if n.bodies == nil {
		held, err := n.membersHoldBodies()
		if err != nil || !held {
			return "", err
		}
		return "object bodies may be lost: this member serves no S3 and cannot see who has them; hand the leadership to one that does (etcdctl move-leader), or force it", nil
	}
	ctx, cancel := context.WithTimeout(ctx, soleWithin)
	defer cancel()
	sole, mute, err := n.bodies.Sole(ctx, member)
	switch {
	case err != nil:
		return "", fmt.Errorf("look for object bodies that only member %d has: %w", member, err)
	case sole == 0:
		return "", nil
	case len(mute) > 0:
		return fmt.Sprintf("%d extents of object bodies would be lost, unless members %d have them, which do not answer", sole, mute), nil
	}
	return fmt.Sprintf("%d extents of object bodies would be lost, which no other member has yet", sole), nil
}

// membersHoldBodies reports whether there are extents on the disks of members.
func (n *Node) membersHoldBodies() (held bool, err error) {
	v, err := n.machine.ObjectView()
	if err != nil {
		return false, err
	}
	err = v.Bodies(object.BodyID{}, func(b *object.Body) bool {
		held = slices.ContainsFunc(b.Extents, func(e object.Extent) bool { return !e.External() })
		return !held
	})
	return held, errors.Join(err, v.Close())
}

// bodyFloor is the room that is left on the disk.
func (n *Node) bodyFloor() int64 {
	u, err := n.opts.FS.GetDiskUsage(n.opts.Dir)
	if err != nil {
		return 0 // it is not known later either, and then not kept
	}
	return int64(min(blob.DefaultFloorBytes, u.TotalBytes/maxFloorShare))
}

// placesChanged has bodies looked through if other members are to hold them, or may have them, than
// when it was called last. At the start, and then the applier's.
func (n *Node) placesChanged() {
	conf, members := n.machine.Conf(), bodyState{n}.Members()
	if !slices.Equal(conf.Voters, n.placed) || !slices.Equal(members, n.holders) {
		n.placed, n.holders = conf.Voters, members
		n.bodiesChanged()
	}
}

// bodiesChanged has all bodies looked through.
func (n *Node) bodiesChanged() {
	if n.bodies != nil {
		n.bodies.Kick()
	}
}

// bodyState is the node as package bodies sees it.
type bodyState struct{ n *Node }

var _ bodies.State = bodyState{}

// Change implements bodies.State.
func (s bodyState) Change(ctx context.Context, c *object.Change) (*object.Result, error) {
	return s.n.Objects().Change(ctx, c)
}

// Local implements bodies.State.
func (s bodyState) Local(context.Context) (*object.View, error) { return s.n.machine.ObjectView() }

// Applied implements bodies.State.
func (s bodyState) Applied() uint64 {
	index, _ := s.n.machine.Applied()
	return index
}

// Place implements bodies.State.
func (s bodyState) Place(id object.ExtentID) []uint64 { return s.n.machine.Place(id) }

// Members implements bodies.State.
func (s bodyState) Members() []uint64 {
	var ids []uint64
	for _, m := range s.n.machine.Members() {
		if !m.Reserved {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// Leads implements bodies.State.
func (s bodyState) Leads() bool { return s.n.leadingTerm() != 0 }

// Absent implements bodies.State.
func (s bodyState) Absent(member uint64, d time.Duration) bool {
	if !slices.ContainsFunc(s.n.machine.Members(), func(m machine.MemberRecord) bool { return m.ID == member }) {
		return true
	}
	for _, p := range s.n.status().Peers {
		if p.ID == member {
			return time.Duration(p.SilentTicks)*s.n.opts.TickInterval >= d
		}
	}
	return false
}

// bodyPeers are the other members as package bodies sees them.
type bodyPeers struct{ n *Node }

// Peer implements bodies.Peers.
func (p bodyPeers) Peer(member uint64) (bodies.Peer, error) {
	for _, m := range p.n.machine.Members() {
		if m.ID != member {
			continue
		}
		addr, err := p.n.reach(m.ID, m.PeerURLs)
		if err != nil {
			return nil, err
		}
		conn, err := p.n.bodyConns.get(addr)
		if err != nil {
			return nil, fmt.Errorf("connect to member %d: %w", member, err)
		}
		return bodies.GRPCPeer{Client: api.NewBodiesClient(conn), Cluster: p.n.cluster, Breathe: p.n.courtesy.Breathe}, nil
	}
	return nil, fmt.Errorf("look for member %d: %w", member, chainfire.ErrMemberNotFound)
}

// bodiesService is api.Bodies on the peer port.
type bodiesService struct {
	api.UnimplementedBodiesServer
	n *Node
}

func (s bodiesService) calls() (*bodies.Service, error) {
	if _, err := s.n.service.gate(); err != nil {
		return nil, err
	}
	if s.n.bodyCalls == nil {
		return nil, errNotReady
	}
	return s.n.bodyCalls, nil
}

// PutExtents implements api.BodiesServer.
func (s bodiesService) PutExtents(x grpc.BidiStreamingServer[api.PutExtentsRequest, api.PutExtentsResponse]) error {
	c, err := s.calls()
	if err != nil {
		return err
	}
	return c.PutExtents(x)
}

// GetExtent implements api.BodiesServer.
func (s bodiesService) GetExtent(q *api.GetExtentRequest, x grpc.ServerStreamingServer[api.GetExtentResponse]) error {
	c, err := s.calls()
	if err != nil {
		return err
	}
	return c.GetExtent(q, x)
}

// HasExtents implements api.BodiesServer.
func (s bodiesService) HasExtents(ctx context.Context, q *api.HasExtentsRequest) (*api.HasExtentsResponse, error) {
	c, err := s.calls()
	if err != nil {
		return nil, err
	}
	return c.HasExtents(ctx, q)
}

// NewBody implements object.Service.
func (o *Objects) NewBody(ctx context.Context, size int64) (object.BodyWriter, error) {
	if o.n.bodies != nil {
		return o.n.bodies.NewBody(ctx, size)
	}
	if size > object.MaxInline {
		return nil, tooLarge(size)
	}
	return &inlineBody{}, nil
}

// OpenBody implements object.Service.
func (o *Objects) OpenBody(ctx context.Context, body *object.Body, off, n int64) (io.ReadCloser, error) {
	switch {
	case o.n.bodies != nil:
		return o.n.bodies.OpenBody(ctx, body, off, n)
	case off < 0 || n < 0 || off > body.Size || n > body.Size-off:
		return nil, fmt.Errorf("%w: %d bytes from byte %d on of a body of %d", object.ErrInvalid, n, off, body.Size)
	case int64(len(body.Inline)) != body.Size:
		return nil, fmt.Errorf("%w: body %d.%d is not in the state", object.ErrUnavailable, body.ID.Lease, body.ID.N)
	}
	return io.NopCloser(bytes.NewReader(body.Inline[off : off+n])), nil
}

// Bodies counts what there is of object bodies on this member, and what was done with them.
func (n *Node) Bodies() bodies.Counts {
	if n.bodies == nil {
		return bodies.Counts{}
	}
	return n.bodies.Counts()
}

func (n *Node) bodyCounts() chainfire.BodyCounts {
	c := n.Bodies()
	return chainfire.BodyCounts{
		Extents: c.Extents, LiveBytes: c.Live, FileBytes: c.Bytes, Damaged: int64(c.Damaged), MissingExtents: c.Missing,
		BytesPerSecond: int64(n.courtesy.Rate()),
		Corrupt:        uint64(c.Corrupt), Repaired: uint64(c.Repaired), RepairedBytes: uint64(c.RepairedBytes),
		Collected: uint64(c.Collected + c.Moved), RemoteReads: uint64(c.Remote), FailedReads: uint64(c.Unavailable),
		ScrubbedBytes: uint64(c.ScrubbedBytes),
	}
}

func tooLarge(size int64) error {
	return fmt.Errorf("%w: a body of %d bytes, at most %d", object.ErrTooLarge, size, object.MaxInline)
}

// inlineBody collects a body that goes into the state, where there are no others.
type inlineBody struct{ b []byte }

// Write implements object.BodyWriter.
func (w *inlineBody) Write(p []byte) (int, error) {
	if size := len(w.b) + len(p); size > object.MaxInline {
		return 0, tooLarge(int64(size))
	}
	w.b = append(w.b, p...)
	return len(p), nil
}

// Finish implements object.BodyWriter.
func (w *inlineBody) Finish(context.Context) (object.Body, error) {
	return object.Body{Size: int64(len(w.b)), Inline: w.b}, nil
}

// Close implements object.BodyWriter.
func (w *inlineBody) Close() {}
