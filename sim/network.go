package sim

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"chainfire/raft"
	"chainfire/transport"
)

// network is the ways between hosts.
type network struct {
	w     *world
	hosts map[string]*host // by address
	// cut are the ways on which nothing arrives, by the names of both ends.
	cut map[[2]string]bool
	// fast and slow are what a message takes.
	fast, slow time.Duration
	// loss is how many of the batches of messages are lost on an open way.
	loss float64
	// damage is how many chunks of a snapshot arrive altered.
	damage float64

	// leads is who sent as the leader of a term, votes whom a member voted for.
	leads map[uint64]uint64
	votes map[[2]uint64]uint64
}

func newNetwork(w *world) *network {
	return &network{
		w: w, hosts: map[string]*host{}, cut: map[[2]string]bool{},
		leads: map[uint64]uint64{}, votes: map[[2]uint64]uint64{},
	}
}

func (n *network) open(from, to string) bool { return !n.cut[[2]string{from, to}] }

func (n *network) delay() time.Duration { return n.w.between(n.fast, n.slow) }

// How long it takes to notice that the other end is gone without a word: of the
// streams, of a connection attempt, and of calls.
const (
	streamIdle   = 5 * time.Second
	dialTimeout  = 2 * time.Second
	callIdle     = 15 * time.Second
	retryLow     = 25 * time.Millisecond
	retryHigh    = time.Second
	connectDelay = time.Millisecond
)

// observe holds what members send to what they may say at all.
func (n *network) observe(m *raft.Message) {
	switch m.Type {
	case raft.MsgAppend, raft.MsgHeartbeat:
		if was, ok := n.leads[m.Term]; ok && was != m.From {
			n.w.violate("members %d and %d both lead term %d", was, m.From, m.Term)
		}
		n.leads[m.Term] = m.From
	case raft.MsgVoteResp:
		if m.Reject {
			return
		}
		key := [2]uint64{m.From, m.Term}
		if was, ok := n.votes[key]; ok && was != m.To {
			n.w.violate("member %d votes for %d and for %d in term %d", m.From, was, m.To, m.Term)
		}
		n.votes[key] = m.To
	}
}

// streams is a member's exchange of messages with the others (node.Streams).
type streams struct {
	net    *network
	host   *host
	p      *proc
	o      transport.Options
	peers  map[uint64]*link
	closed chan struct{}
	ended  bool
}

// link is the connection of one member to another; it only sends.
type link struct {
	id          uint64
	addr        string
	incarnation uint64
	connected   bool
	// life is the process at the other end.
	life *proc
	// made counts the connections, so that what is under way on an old one is
	// known.
	made    int
	backoff time.Duration
	refused string
	gone    bool
	lanes   [3]time.Duration
}

// Serve implements node.Streams.
func (s *streams) Serve() error {
	s.p.Wait(s.closed)
	return nil
}

// Close implements node.Streams.
func (s *streams) Close() {
	if !s.ended {
		s.ended = true
		close(s.closed)
	}
}

// SetPeer implements node.Streams.
func (s *streams) SetPeer(id uint64, addrs []string, incarnation uint64) {
	if s.ended || id == s.o.LocalID || len(addrs) == 0 {
		return
	}
	if l := s.peers[id]; l != nil {
		if l.addr == addrs[0] && (l.incarnation == incarnation || incarnation == 0) {
			return
		}
		l.gone = true
	}
	l := &link{id: id, addr: addrs[0], incarnation: incarnation, backoff: retryLow}
	s.peers[id] = l
	s.connectIn(l, connectDelay)
}

// RemovePeer implements node.Streams. Both directions end.
func (s *streams) RemovePeer(id uint64) {
	l := s.peers[id]
	if l == nil {
		return
	}
	l.gone = true
	delete(s.peers, id)
	if s.p.void {
		return
	}
	other := s.net.hosts[l.addr]
	if other == nil || other.port == nil || other.port.streams == nil || other.port.streams.o.LocalID != id {
		return
	}
	if in := other.port.streams.peers[s.o.LocalID]; in != nil && in.connected && in.life == s.p {
		d := streamIdle
		if s.net.open(s.host.name, other.name) {
			d = s.net.delay()
		}
		other.port.streams.breakIn(in, d, errors.New("closed by the peer"))
	}
}

// Peers implements node.Streams.
func (s *streams) Peers() []transport.PeerState {
	var out []transport.PeerState
	for _, id := range sortedKeys(s.peers) {
		out = append(out, transport.PeerState{ID: id, Addr: s.peers[id].addr, Connected: s.peers[id].connected})
	}
	return out
}

func (s *streams) connectIn(l *link, d time.Duration) {
	s.net.w.schedule(s.p, d, func() { s.connect(l) })
}

// connect is one attempt, with its handshake.
func (s *streams) connect(l *link) {
	n := s.net
	if s.ended || l.gone || l.connected {
		return
	}
	target := n.hosts[l.addr]
	if target == nil || !n.open(s.host.name, target.name) || !n.open(target.name, s.host.name) || target.dark {
		n.w.schedule(s.p, dialTimeout, func() { s.failed(l, errors.New("dial timeout")) })
		return
	}
	rtt := n.delay() + n.delay()
	if target.port == nil {
		n.w.schedule(s.p, rtt, func() { s.failed(l, fmt.Errorf("dial %s: %w", l.addr, syscall.ECONNREFUSED)) })
		return
	}
	if target.port.streams == nil {
		n.w.schedule(s.p, dialTimeout, func() { s.failed(l, errors.New("no welcome in time")) })
		return
	}
	life := target.life
	n.w.schedule(life, rtt/2, func() {
		t := target.port.streams
		if target.life != life || t == nil || t.ended {
			return
		}
		refused := t.admit(transport.Hello{
			ClusterID: s.o.ClusterID, From: s.o.LocalID, To: l.id, Incarnation: s.o.Incarnation,
			Expected: l.incarnation, Addrs: s.o.Addrs, Boots: s.o.Boots, BootNonce: s.o.BootNonce,
		})
		n.w.schedule(s.p, rtt/2, func() { s.welcomed(l, life, t.o.Incarnation, refused) })
	})
	made := l.made
	n.w.schedule(s.p, dialTimeout+rtt, func() {
		if !l.connected && l.made == made {
			s.failed(l, errors.New("no welcome in time"))
		}
	})
}

// admit decides on a dialer as the acceptor of the transport does.
func (s *streams) admit(h transport.Hello) *transport.RefusedError {
	switch {
	case h.ClusterID != s.o.ClusterID:
		return &transport.RefusedError{Code: transport.CodeWrongCluster, Text: "another cluster"}
	case h.To != s.o.LocalID:
		return &transport.RefusedError{Code: transport.CodeWrongMember, Text: "another member"}
	case h.Expected != 0 && h.Expected != s.o.Incarnation:
		return &transport.RefusedError{Code: transport.CodeWrongIncarnation, Text: "another incarnation"}
	}
	err := s.o.Admit(h)
	var refused *transport.RefusedError
	if err != nil && !errors.As(err, &refused) {
		refused = &transport.RefusedError{Code: transport.CodeOther, Text: err.Error()}
	}
	return refused
}

// failed is the end of an attempt; each attempt ends once.
func (s *streams) failed(l *link, err error) {
	if s.ended || l.gone || l.connected {
		return
	}
	l.made++
	s.o.Handler.Unreachable(l.id, err)
	l.backoff = min(2*l.backoff, retryHigh)
	s.connectIn(l, s.net.w.between(l.backoff/2, l.backoff))
}

func (s *streams) welcomed(l *link, life *proc, incarnation uint64, refused *transport.RefusedError) {
	switch {
	case s.ended || l.gone || l.connected:
	case refused != nil:
		if l.refused != refused.Text {
			l.refused = refused.Text
			s.o.Handler.PeerRefused(l.id, refused)
		}
		s.failed(l, refused)
	case life.dead:
		s.failed(l, syscall.ECONNRESET)
	default:
		l.connected, l.life, l.refused, l.backoff = true, life, "", retryLow
		l.made++
		s.o.Handler.Connected(l.id, incarnation)
	}
}

// broken ends a connection.
func (s *streams) broken(l *link, made int, err error) {
	if s.ended || l.gone || !l.connected || l.made != made {
		return
	}
	l.connected = false
	s.failed(l, err)
}

// breakIn lets a connection end after a while.
func (s *streams) breakIn(l *link, d time.Duration, err error) {
	made := l.made
	s.net.w.schedule(s.p, d, func() { s.broken(l, made, err) })
}

// Send implements node.Streams.
func (s *streams) Send(msgs []raft.Message) {
	if s.p.dead || s.p.void {
		return
	}
	var batches [][]raft.Message
	for i := range msgs {
		m := msgs[i]
		m.From = s.o.LocalID
		s.net.observe(&m)
		m.Entries = append([]raft.Entry(nil), m.Entries...)
		lane := laneOf(&m)
		placed := false
		for k := range batches {
			if batches[k][0].To == m.To && laneOf(&batches[k][0]) == lane {
				batches[k] = append(batches[k], m)
				placed = true
			}
		}
		if !placed {
			batches = append(batches, []raft.Message{m})
		}
	}
	for _, b := range batches {
		s.carry(b[0].To, laneOf(&b[0]), func(t *streams) { t.o.Handler.Receive(s.o.LocalID, b) }, func() string { return describe(b) })
	}
}

// The lanes of the transport: appends do not hold up the rest.
const (
	laneUrgent = iota
	laneAppends
	laneEnvelopes
)

func laneOf(m *raft.Message) int {
	if m.Type == raft.MsgAppend {
		return laneAppends
	}
	return laneUrgent
}

// SendEnvelope implements node.Streams.
func (s *streams) SendEnvelope(to uint64, e transport.Envelope) error {
	l := s.peers[to]
	switch {
	case l == nil:
		return transport.ErrUnknownPeer
	case !l.connected || s.p.dead || s.p.void:
		return transport.ErrNotConnected
	}
	s.carry(to, laneEnvelopes, func(t *streams) { t.o.Handler.Envelope(s.o.LocalID, e) }, func() string { return "envelope" })
	return nil
}

// carry brings something to the other end of a connection, in order.
func (s *streams) carry(to uint64, lane int, deliver func(*streams), text func() string) {
	n, l := s.net, s.peers[to]
	if l == nil || !l.connected {
		return
	}
	target := n.hosts[l.addr]
	if !n.open(s.host.name, target.name) || n.w.chance(n.loss) {
		if n.w.story.messages {
			n.w.story.tell(s.host.name, "lost on the way to %s: %s", target.name, text())
		}
		if n.w.chance(0.2) {
			s.breakIn(l, n.w.between(0, streamIdle), errors.New("connection timed out"))
		}
		return
	}
	at := max(n.w.now+n.delay(), l.lanes[lane])
	l.lanes[lane] = at
	made, life := l.made, l.life
	n.w.schedule(life, at-n.w.now, func() {
		t := target.port.streams
		if target.life != life || t == nil || t.ended || !n.open(s.host.name, target.name) || l.made != made {
			return
		}
		n.w.note(uint64(n.w.now), t.o.LocalID, s.o.LocalID)
		if n.w.story.messages {
			n.w.story.tell(target.name, "from %s: %s", s.host.name, text())
		}
		deliver(t)
	})
}

func describe(msgs []raft.Message) string {
	var out string
	for i := range msgs {
		m := &msgs[i]
		out += fmt.Sprintf("[type %d term %d index %d/%d commit %d entries %d reject %v] ",
			m.Type, m.Term, m.Index, m.LogTerm, m.Commit, len(m.Entries), m.Reject)
	}
	return out
}

// hangUp tells the peers of a process that ended; a machine without power says
// nothing.
func (n *network) hangUp(h *host, quietly bool) {
	for _, name := range sortedKeys(n.hosts) {
		other := n.hosts[name]
		if other == h || other.port == nil || other.port.streams == nil {
			continue
		}
		s := other.port.streams
		for _, id := range sortedKeys(s.peers) {
			if l := s.peers[id]; l.connected && l.addr == h.addr {
				if quietly || !n.open(h.name, other.name) {
					s.breakIn(l, streamIdle, errors.New("connection timed out"))
				} else {
					s.breakIn(l, n.delay(), syscall.ECONNRESET)
				}
			}
		}
	}
}
