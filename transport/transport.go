// Package transport carries Raft messages and the node's own small messages
// between members, over one framed and checksummed stream per direction.
//
// A dialer only sends and an acceptor only receives, so that each peer has one
// goroutine that owns the connection to it, and losing one direction says
// nothing of the other. Sending never blocks: what cannot go out in time is
// dropped and reported, and Raft recovers. docs/format/wire.md has the layout.
package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"chainfire/raft"
)

// Errors of SendEnvelope, and the reasons found in Unreachable.
var (
	// ErrUnknownPeer: SetPeer was not called for that id.
	ErrUnknownPeer = errors.New("unknown peer")
	// ErrNotConnected: there is no connection now; nothing was queued.
	ErrNotConnected = errors.New("not connected to the peer")
	// ErrQueueFull: the peer takes less than it is sent.
	ErrQueueFull = errors.New("send queue is full")
	// ErrTooLarge: the message does not fit into a frame and can never be sent.
	ErrTooLarge = errors.New("message is larger than a frame")
	// ErrClosed: the transport is closed.
	ErrClosed = errors.New("transport is closed")
)

// Envelope is a message of the node's own, which this package carries unseen.
type Envelope struct {
	Kind    uint8
	Payload []byte
}

// Handler receives what comes in and what happens to the connections. Calls for
// different peers, and the calls of the receiving and the sending side of one
// peer, come at the same time from different goroutines. A call that blocks
// holds up that peer's direction only. None may call Close.
type Handler interface {
	// Receive takes messages of one peer in the order they were sent within
	// their lane. The handler owns the slice and everything in it.
	Receive(from uint64, msgs []raft.Message)
	// Envelope takes one message of the peer's node; the handler owns it.
	Envelope(from uint64, e Envelope)
	// Unreachable reports that messages to a peer may have been lost: the
	// connection ended or could not be made, or the queue overflowed. Once per
	// event, however many messages it cost.
	Unreachable(id uint64, err error)
	// Connected reports that the peer welcomed this member.
	Connected(id, incarnation uint64)
	// PeerRefused reports why a peer will not have this member, when the reason
	// is new. Unreachable follows.
	PeerRefused(id uint64, reason *RefusedError)
}

// Transport connects one member to its peers. All methods may be called from
// any goroutine.
type Transport struct {
	opts   Options
	log    *slog.Logger
	nonce  uint64
	start  time.Time
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	report *reporter
	// handshakes bounds the connections that have not introduced themselves.
	handshakes chan struct{}

	mu        sync.Mutex
	closed    bool
	peers     map[uint64]*peer
	inbound   map[uint64]*inbound
	totals    map[uint64]*received
	conns     map[net.Conn]struct{}
	listeners map[net.Listener]struct{}
}

// New makes a transport without peers. The caller closes it.
func New(o Options) (*Transport, error) {
	if err := o.setDefaults(); err != nil {
		return nil, fmt.Errorf("transport options: %w", err)
	}
	nonce := o.BootNonce
	if nonce == 0 {
		var err error
		if nonce, err = randomNumber(); err != nil {
			return nil, err
		}
	}
	t := &Transport{
		opts:       o,
		log:        o.Logger,
		nonce:      nonce,
		start:      time.Now(),
		handshakes: make(chan struct{}, o.MaxHandshakes),
		peers:      make(map[uint64]*peer),
		inbound:    make(map[uint64]*inbound),
		totals:     make(map[uint64]*received),
		conns:      make(map[net.Conn]struct{}),
		listeners:  make(map[net.Listener]struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.report = newReporter()
	t.wg.Go(func() { t.report.run(t.ctx, o.Handler.Unreachable) })
	return t, nil
}

// SetPeer makes a peer known, or changes where it is and who is expected there.
// addrs are host:port, tried in turn; incarnation 0 accepts any. An existing
// connection is kept unless something changed. The member itself is ignored.
func (t *Transport) SetPeer(id uint64, addrs []string, incarnation uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || id == t.opts.LocalID || id == raft.None {
		return
	}
	if p := t.peers[id]; p != nil {
		p.retarget(addrs, incarnation)
		return
	}
	p := newPeer(t, id, addrs, incarnation)
	t.peers[id] = p
	t.wg.Go(p.run)
}

// RemovePeer forgets a peer and closes the connections with it. It does not
// wait for them to end.
func (t *Transport) RemovePeer(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.peers[id]; p != nil {
		p.cancel()
		delete(t.peers, id)
	}
	delete(t.totals, id)
	if in := t.inbound[id]; in != nil {
		closeConn(in.conn)
	}
}

// Send queues messages for the peers they name and returns at once. Messages to
// unknown or unconnected peers are dropped. The entries are read until they are
// sent and must not change.
func (t *Transport) Send(msgs []raft.Message) {
	for len(msgs) > 0 {
		to, n := msgs[0].To, 1
		for n < len(msgs) && msgs[n].To == to {
			n++
		}
		if p := t.peer(to); p != nil {
			if err := p.queue.send(msgs[:n], t.opts.MaxFrame); err != nil {
				t.report.add(to, err)
			}
		}
		msgs = msgs[n:]
	}
}

// SendEnvelope queues a message of the node's own and returns at once. An error
// means that it was not queued; no error does not mean that it arrives. The
// payload is read until it is sent and must not change.
func (t *Transport) SendEnvelope(to uint64, e Envelope) error {
	if len(e.Payload)+1 > t.opts.MaxFrame {
		return fmt.Errorf("send %d bytes to member %x: %w", len(e.Payload), to, ErrTooLarge)
	}
	p := t.peer(to)
	if p == nil {
		return fmt.Errorf("send to member %x: %w", to, ErrUnknownPeer)
	}
	if err := p.queue.sendEnvelope(e); err != nil {
		return fmt.Errorf("send to member %x: %w", to, err)
	}
	return nil
}

func (t *Transport) peer(id uint64) *peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.peers[id]
}

// Close ends all connections and waits until no handler runs any more. What is
// queued is lost. It may be called twice.
func (t *Transport) Close() {
	t.mu.Lock()
	t.closed = true
	t.cancel()
	for c := range t.conns {
		closeConn(c)
	}
	for l := range t.listeners {
		closeConn(l)
	}
	t.mu.Unlock()
	t.wg.Wait()
}

// track registers a connection, so that Close ends it; false means that the
// transport is closed and so is the connection.
func (t *Transport) track(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		closeConn(c)
		return false
	}
	t.conns[c] = struct{}{}
	return true
}

func (t *Transport) untrack(c net.Conn) {
	t.mu.Lock()
	delete(t.conns, c)
	t.mu.Unlock()
	closeConn(c)
}

// closeConn closes what is only closed to end it: an error would say that it
// has ended already.
func closeConn(c interface{ Close() error }) { _ = c.Close() }

// reporter calls Unreachable for overflows on a goroutine of its own, because
// Send runs on the very goroutine that would have to take the call.
type reporter struct {
	mu      sync.Mutex
	pending map[uint64]error
	wake    chan struct{}
}

func newReporter() *reporter {
	return &reporter{pending: make(map[uint64]error), wake: make(chan struct{}, 1)}
}

func (r *reporter) add(id uint64, err error) {
	r.mu.Lock()
	r.pending[id] = err
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reporter) run(ctx context.Context, unreachable func(uint64, error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		r.mu.Lock()
		pending := r.pending
		r.pending = make(map[uint64]error)
		r.mu.Unlock()
		for id, err := range pending {
			unreachable(id, err)
		}
	}
}
