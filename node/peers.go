package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire/api"
	"chainfire/internal/sched"
	"chainfire/join"
	"chainfire/machine"
	"chainfire/raft"
	"chainfire/transport"
)

// conns are the gRPC connections to other members' peer ports.
type conns struct {
	dial join.Dialer
	mu   sync.Mutex
	m    map[string]join.Conn
}

func newConns(dial join.Dialer) *conns { return &conns{dial: dial, m: map[string]join.Conn{}} }

func (c *conns) get(addr string) (join.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn := c.m[addr]; conn != nil {
		return conn, nil
	}
	conn, err := c.dial(addr)
	if err != nil {
		return nil, err
	}
	c.m[addr] = conn
	return conn, nil
}

func (c *conns) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.m {
		_ = conn.Close() // nothing is in flight any more
	}
	clear(c.m)
}

func (n *Node) peerConn(id uint64, urls []string) (join.Conn, error) {
	addr, err := n.reach(id, urls)
	if err != nil {
		return nil, err
	}
	return n.conns.get(addr)
}

// handler is the node as its transport sees it.
type handler struct{ n *Node }

var _ transport.Handler = handler{}

// Receive implements transport.Handler.
func (h handler) Receive(from uint64, msgs []raft.Message) {
	for i := range msgs {
		if msgs[i].Type == raft.MsgSnapshot {
			// The snapshot itself is pulled; the core hears of it when it is here.
			h.n.seeder.want(msgs[i])
			msgs[i].Type = raft.MsgHeartbeat
			msgs[i].Commit = 0
		}
	}
	h.n.inbox.receive(msgs)
}

// Envelope implements transport.Handler.
func (h handler) Envelope(from uint64, e transport.Envelope) {
	if e.Kind != envelopeForward {
		h.n.log.Warn("envelope of an unknown kind dropped", "from", from, "kind", e.Kind)
		return
	}
	d, err := decodeEnvelope(from, e.Payload)
	if err != nil {
		h.n.log.Warn("envelope dropped", "from", from, "err", err)
		return
	}
	h.n.inbox.put(func(in *inputs) { in.envelopes = append(in.envelopes, d) })
}

// Unreachable implements transport.Handler. An address that refuses connections
// belongs to a process that is gone: followers need not wait for its silence.
func (h handler) Unreachable(id uint64, err error) {
	gone := errors.Is(err, syscall.ECONNREFUSED)
	h.n.inbox.put(func(in *inputs) {
		in.unreachable = append(in.unreachable, id)
		if gone {
			in.gone = append(in.gone, id)
		}
	})
}

// Connected implements transport.Handler.
func (h handler) Connected(id, _ uint64) {
	h.n.inbox.put(func(in *inputs) { in.connected = append(in.connected, id) })
}

// PeerRefused implements transport.Handler.
func (h handler) PeerRefused(id uint64, reason *transport.RefusedError) {
	h.n.log.Warn("a member refuses this one", "member", id, "code", reason.Code.String(), "reason", reason.Text)
	switch reason.Code {
	case transport.CodeRemoved:
		h.n.fatal("this member was removed from the cluster", ErrRemoved)
	case transport.CodeCopied:
		h.n.overtaken(reason.Text)
	}
}

// admit decides who may send to this member.
func (n *Node) admit(h transport.Hello) error {
	if n.machine.Removed(h.From) {
		return &transport.RefusedError{Code: transport.CodeRemoved, Text: fmt.Sprintf(
			"member %d was removed from the cluster; wipe its data directory and join again", h.From)}
	}
	for _, m := range n.machine.Members() {
		if m.ID == h.From && m.Incarnation != 0 && m.Incarnation != h.Incarnation {
			return &transport.RefusedError{Code: transport.CodeWrongIncarnation, Text: fmt.Sprintf(
				"member %d is known with another data directory: it was wiped or copied; start it with an empty data directory, --join and --replace %d", h.From, h.From)}
		}
		if m.ID != h.From {
			continue
		}
		if err := n.admitBoot(m, h); err != nil || !m.Reserved {
			return err
		}
	}
	// A member of which this one has not heard yet, or only that a place is kept for
	// it, as the leader of a cluster that has changed while this one was away: it is
	// answered where it says it is.
	if len(h.Addrs) > 0 {
		n.streams.SetPeer(h.From, n.heardAddresses(h.Addrs), h.Incarnation)
	}
	return nil
}

// listenPeer opens the peer port. From then on Identify answers, so that the
// leader can call a newcomer back.
func (n *Node) listenPeer() error {
	n.service = &peerService{n: n}
	port, err := n.opts.Network.Listen(n.listenAddrs(), func(r grpc.ServiceRegistrar) {
		api.RegisterPeerServer(r, n.service)
		api.RegisterClusterServer(r, clusterService{n: n})
		api.RegisterBodiesServer(r, bodiesService{n: n})
	})
	if err != nil {
		return err
	}
	n.port = port
	n.opts.AdvertisePeer = cmp.Or(n.opts.AdvertisePeer, n.opts.scheme()+"://"+port.Addr())
	for _, u := range n.opts.peerURLs() {
		if _, err := n.opts.schemes().Address(u); err != nil {
			return fmt.Errorf("--advertise-peer: %w", err)
		}
	}
	if n.own != nil {
		if err := n.own.Expect(tlsHosts(n.opts.peerURLs())...); err != nil {
			return err
		}
	}
	n.opts.Name = cmp.Or(n.opts.Name, port.Addr())
	n.tasks.Go(func() { n.run("peer port", port.Serve) })
	return nil
}

// AdvertisePeer is the URL under which other members reach this one.
func (n *Node) AdvertisePeer() string { return n.opts.AdvertisePeer }

// membersChanged tells the transport who the peers are and where.
func (n *Node) membersChanged() {
	members := n.machine.Members()
	if n.machine.Removed(n.id) {
		n.leave()
	}
	n.rememberPeers(members)
	n.placesChanged()
	for _, m := range members {
		if m.ID == n.id || m.Reserved {
			continue
		}
		n.streams.SetPeer(m.ID, n.addresses(m.PeerURLs), m.Incarnation)
	}
	applied, _ := n.machine.Applied()
	for _, p := range n.streams.Peers() {
		known := slices.ContainsFunc(members, func(m machine.MemberRecord) bool { return m.ID == p.ID })
		// An id is the index of its reservation: one above what is applied is of a
		// member that this one is to hear of yet, and which it must answer.
		if !known && p.ID <= applied {
			n.streams.RemovePeer(p.ID)
		}
	}
}

// leaveTimeouts is for how many election timeouts a removed leader stays at most.
const leaveTimeouts = 20

// leave stops a member that was removed, once the others had time to hear of it
// from this one, which may be the leader.
func (n *Node) leave() {
	n.leaveOnce.Do(func() {
		n.tasks.Go(func() {
			ctx, cancel := sched.WithTimeout(context.Background(), n.sched, leaveTimeouts*n.opts.election(), nil)
			defer cancel()
			// A leader that was removed leads until a voter can take over.
			if err := n.untilLeader(ctx, func(lead uint64) bool { return lead != n.id }); err != nil {
				n.log.Warn("leadership was not taken over before this removed member stops", "err", err)
			}
			if n.pause(context.Background(), n.opts.election()) == nil {
				n.fatal("this member was removed from the cluster", ErrRemoved)
			}
		})
	})
}

// ErrRemoved is why a member stops, or does not start, that is not in the cluster any more.
var ErrRemoved = errors.New("its id never returns; wipe the data directory and join again")

// peerService is api.Peer on the peer port. Until the member runs it only says
// who it is.
type peerService struct {
	api.UnimplementedPeerServer
	mu sync.Mutex
	// who is what Identify answers until the member runs.
	who *api.IdentifyResponse
	// seeding is that of a newcomer; nil for a member that was not one in this process.
	seeding *join.Seeding
	n       *Node
	ready   bool
}

var errNotReady = status.Error(codes.Unavailable, "this member is not ready yet; ask another")

func (p *peerService) gate() (*join.Gate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ready {
		return nil, errNotReady
	}
	return p.n.gate, nil
}

// announce makes Identify answer for a newcomer.
func (p *peerService) announce(incarnation uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.who = &api.IdentifyResponse{Incarnation: incarnation, Version: p.n.opts.Version, Joining: true}
	p.seeding = join.NewSeeding(p.n.sched, p.n.opts.schemes())
}

// introduce makes Identify answer for a member that has its identity.
func (p *peerService) introduce() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.who = &api.IdentifyResponse{
		ClusterId: p.n.cluster, MemberId: p.n.id, Incarnation: p.n.incarnation, Version: p.n.opts.Version, BootNonce: p.n.boots.nonce,
	}
}

// open lets every call through, now that the member runs.
func (p *peerService) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = true
}

// OpenSnapshot implements api.PeerServer.
func (p *peerService) OpenSnapshot(ctx context.Context, q *api.OpenSnapshotRequest) (*api.OpenSnapshotResponse, error) {
	if _, err := p.gate(); err != nil {
		return nil, err
	}
	return p.n.snapshotCalls.OpenSnapshot(ctx, q)
}

// ReadSnapshot implements api.PeerServer.
func (p *peerService) ReadSnapshot(q *api.ReadSnapshotRequest, s api.Peer_ReadSnapshotServer) error {
	if _, err := p.gate(); err != nil {
		return err
	}
	return p.n.snapshotCalls.ReadSnapshot(q, s)
}

// CloseSnapshot implements api.PeerServer.
func (p *peerService) CloseSnapshot(ctx context.Context, q *api.CloseSnapshotRequest) (*api.CloseSnapshotResponse, error) {
	if _, err := p.gate(); err != nil {
		return nil, err
	}
	return p.n.snapshotCalls.CloseSnapshot(ctx, q)
}

// Identify implements api.PeerServer.
func (p *peerService) Identify(context.Context, *api.IdentifyRequest) (*api.IdentifyResponse, error) {
	p.mu.Lock()
	who := p.who
	p.mu.Unlock()
	if who == nil {
		return nil, errNotReady
	}
	return &api.IdentifyResponse{
		ClusterId: who.GetClusterId(), MemberId: who.GetMemberId(), Incarnation: who.GetIncarnation(),
		Version: who.GetVersion(), Joining: who.GetJoining(), BootNonce: who.GetBootNonce(),
		ClockUnixMillis: p.n.sched.Now().UnixMilli(),
	}, nil
}

// Join implements api.PeerServer.
func (p *peerService) Join(ctx context.Context, q *api.JoinRequest) (*api.JoinResponse, error) {
	g, err := p.gate()
	if err != nil {
		return nil, err
	}
	return g.Join(ctx, q)
}

// Learn implements api.PeerServer.
func (p *peerService) Learn(ctx context.Context, q *api.LearnRequest) (*api.LearnResponse, error) {
	g, err := p.gate()
	if err != nil {
		return nil, err
	}
	return g.Learn(ctx, q)
}

// JoinStatus implements api.PeerServer.
func (p *peerService) JoinStatus(ctx context.Context, q *api.JoinStatusRequest) (*api.JoinStatusResponse, error) {
	g, err := p.gate()
	if err != nil {
		return nil, err
	}
	return g.JoinStatus(ctx, q)
}

// Abandon implements api.PeerServer.
func (p *peerService) Abandon(ctx context.Context, q *api.AbandonRequest) (*api.AbandonResponse, error) {
	g, err := p.gate()
	if err != nil {
		return nil, err
	}
	return g.Abandon(ctx, q)
}
