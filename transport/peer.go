package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"chainfire/internal/timing"
)

// errRetargeted ends a connection whose peer is to be looked for elsewhere.
var errRetargeted = errors.New("the peer's address or incarnation changed")

// peer is one member to send to. Its run goroutine is the sender and owns the
// connection.
type peer struct {
	t      *Transport
	id     uint64
	queue  *queue
	ctx    context.Context
	cancel context.CancelFunc
	// kick has room for one token: try to connect now.
	kick chan struct{}
	// rng, wait and round belong to the run goroutine.
	rng   *rand.Rand
	wait  time.Duration
	round round

	sentBytes    atomic.Uint64
	sentMessages atomic.Uint64
	rtt          atomic.Int64
	rtts         timing.Histogram

	mu          sync.Mutex
	addrs       []string
	turn        int
	incarnation uint64
	// met is the incarnation at the other side of the connection, while there is one.
	met       uint64
	abort     context.CancelCauseFunc
	addr      string
	connected bool
	since     time.Time
	// disconnects counts the connections that ended.
	disconnects uint64
	lastErr     error
	refusal     RefusedError
}

func newPeer(t *Transport, id uint64, addrs []string, incarnation uint64) *peer {
	p := &peer{
		t: t, id: id, queue: newQueue(&t.opts), kick: make(chan struct{}, 1),
		rtts:  timing.Histogram{Bounds: timing.Bounds{First: 100 * time.Microsecond, Number: 16}},
		rng:   rand.New(rand.NewPCG(t.opts.Seed, id)),
		addrs: slices.Clone(addrs), incarnation: incarnation, since: time.Now(),
	}
	p.ctx, p.cancel = context.WithCancel(t.ctx)
	return p
}

func (p *peer) retarget(addrs []string, incarnation uint64) {
	p.mu.Lock()
	// Where it is told now which one was met, nothing is different.
	same := slices.Equal(addrs, p.addrs) && (incarnation == p.incarnation || p.connected && incarnation == p.met)
	p.addrs, p.incarnation = slices.Clone(addrs), incarnation
	abort := p.abort
	p.mu.Unlock()
	if same {
		return
	}
	if abort != nil {
		abort(errRetargeted)
	}
	p.hurry()
}

// hurry cuts the wait before the next attempt short.
func (p *peer) hurry() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// run connects, sends until the connection ends, and begins again.
func (p *peer) run() {
	defer p.cancel()
	for p.ctx.Err() == nil {
		ctx, addr, incarnation, addresses := p.begin()
		if addr == "" {
			select {
			case <-p.ctx.Done():
			case <-p.kick:
			}
			continue
		}
		p.queue.setOpen(true)
		start := time.Now()
		err := p.attempt(ctx, addr, incarnation)
		p.queue.setOpen(false)
		met := p.end()
		if p.ctx.Err() != nil {
			return
		}
		retargeted := errors.Is(context.Cause(ctx), errRetargeted)
		if retargeted {
			err = errRetargeted
		}
		over := p.round.failed(err, addresses) || met || retargeted
		p.failed(addr, p.round.verdict(err))
		if !over {
			continue // at its next address at once
		}
		p.round = round{}
		if time.Since(start) > p.t.opts.BackoffMax+p.t.opts.DialTimeout {
			p.wait = 0
		}
		p.pause()
	}
}

// begin chooses the next address, in turn, of how many there are, and the context of the
// attempt.
func (p *peer) begin() (ctx context.Context, addr string, incarnation uint64, addresses int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.addrs) == 0 {
		return nil, "", 0, 0
	}
	p.addr = p.addrs[p.turn%len(p.addrs)]
	p.turn++
	ctx, p.abort = context.WithCancelCause(p.ctx)
	return ctx, p.addr, p.incarnation, len(p.addrs)
}

// end is after an attempt; it reports whether the peer was met.
func (p *peer) end() (met bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.abort(nil)
	p.abort = nil
	if met = p.connected; met {
		p.connected, p.since = false, time.Now()
		p.disconnects++
		// The address was good: begin with it again.
		p.turn--
	}
	return met
}

// pause waits between two attempts: twice as long each time, half of it chance,
// so that members that lost each other at once do not return at once.
func (p *peer) pause() {
	o := &p.t.opts
	p.wait = min(max(2*p.wait, o.BackoffMin), o.BackoffMax)
	timer := time.NewTimer(p.wait/2 + time.Duration(p.rng.Int64N(int64(p.wait/2)+1)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.kick:
	case <-p.ctx.Done():
	}
}

// failed records and reports the end of an attempt. The log hears of the first
// in a row, and of every new refusal.
func (p *peer) failed(addr string, err error) {
	var refusal *RefusedError
	refused := errors.As(err, &refusal)
	p.mu.Lock()
	first := p.lastErr == nil
	p.lastErr = err
	news := refused && p.refusal != *refusal
	if refused {
		p.refusal = *refusal
	}
	p.mu.Unlock()
	level := slog.LevelDebug
	if first || news {
		level = slog.LevelWarn
	}
	p.t.log.Log(p.ctx, level, "peer is unreachable", "peer", fmt.Sprintf("%x", p.id), "addr", addr, "err", err)
	if news {
		p.t.opts.Handler.PeerRefused(p.id, refusal)
	}
	p.t.opts.Handler.Unreachable(p.id, err)
}

func (p *peer) welcomed(addr string, w welcome) {
	p.mu.Lock()
	p.met = w.incarnation
	p.connected, p.since, p.lastErr, p.refusal = true, time.Now(), nil, RefusedError{}
	p.mu.Unlock()
	p.t.log.Info("connected to peer", "peer", fmt.Sprintf("%x", p.id), "addr", addr,
		"incarnation", fmt.Sprintf("%x", w.incarnation))
	p.t.opts.Handler.Connected(p.id, w.incarnation)
}

// attempt connects once and sends until the connection ends; the error says why.
func (p *peer) attempt(ctx context.Context, addr string, incarnation uint64) error {
	o := &p.t.opts
	dialCtx, cancel := context.WithTimeout(ctx, o.DialTimeout)
	conn, err := o.Dial(dialCtx, addr)
	cancel()
	if err != nil {
		return fmt.Errorf("dial %s: %w", addr, err)
	}
	if !p.t.track(conn) {
		return ErrClosed
	}
	defer p.t.untrack(conn)
	stop := context.AfterFunc(ctx, func() { closeConn(conn) })
	defer stop()
	tune(conn)
	w, err := p.introduce(conn, incarnation)
	if err == nil && o.Identify != nil {
		var id uint64
		if id, err = o.Identify(conn, true); err == nil && id != p.id {
			err = fmt.Errorf("%w: the certificate there is that of member %x", errProtocol, id)
		}
	}
	if err != nil {
		return fmt.Errorf("handshake with %s: %w", addr, err)
	}
	l := &link{Conn: conn, readTimeout: o.IdleTimeout, writeTimeout: o.WriteTimeout}
	dead := make(chan error, 1)
	p.t.wg.Go(func() {
		err := p.listen(l)
		closeConn(conn)
		dead <- err
	})
	p.welcomed(addr, w)
	err = p.stream(ctx, l, dead)
	closeConn(conn)
	return fmt.Errorf("connection to %s: %w", addr, err)
}

// introduce sends the magic and the hello, and waits for the answer.
func (p *peer) introduce(conn deadliner, incarnation uint64) (welcome, error) {
	o := &p.t.opts
	if err := conn.SetDeadline(time.Now().Add(o.DialTimeout)); err != nil {
		return welcome{}, err
	}
	hello := encodeHello(Hello{
		Version: Version, MinVersion: MinVersion, ClusterID: o.ClusterID, From: o.LocalID, To: p.id,
		Incarnation: o.Incarnation, Expected: incarnation, BootNonce: p.t.nonce,
		Addrs: o.Addrs, Boots: o.Boots,
	})
	if _, err := conn.Write(appendFrame([]byte(Magic), kindHello, hello)); err != nil {
		return welcome{}, err
	}
	k, payload, err := readFrame(conn, smallFrame)
	switch {
	case err != nil:
		return welcome{}, describe(err)
	case k == kindRefuse:
		return welcome{}, decodeRefusal(payload)
	case k != kindWelcome:
		return welcome{}, fmt.Errorf("%w: kind %d where a welcome was due", ErrFrame, k)
	}
	w, err := decodeWelcome(payload)
	if err != nil {
		return welcome{}, err
	}
	if w.id != p.id || (incarnation != 0 && w.incarnation != incarnation) || w.version < MinVersion || w.version > Version {
		return welcome{}, fmt.Errorf("%w: welcomed by member %x, incarnation %x, version %d",
			ErrFrame, w.id, w.incarnation, w.version)
	}
	return w, conn.SetDeadline(time.Time{})
}

// listen reads what comes back on a sending connection: signs of life, or the
// reason for its end.
func (p *peer) listen(l *link) error {
	for {
		k, payload, err := readFrame(l, smallFrame)
		switch {
		case err != nil:
			return describe(err)
		case k == kindPong:
			if sent, ok := decodePing(payload); ok {
				took := time.Since(p.t.start) - sent
				p.rtt.Store(int64(took))
				p.rtts.Observe(took)
			}
		case k == kindRefuse:
			return decodeRefusal(payload)
		default:
			return fmt.Errorf("%w: kind %d from an acceptor", ErrFrame, k)
		}
	}
}

// stream is the sender's loop: everything queued, one buffer, one write.
func (p *peer) stream(ctx context.Context, l *link, dead <-chan error) error {
	ping := time.NewTicker(p.t.opts.PingInterval)
	defer ping.Stop()
	var b batch
	var buf []byte
	for {
		buf = buf[:0]
		p.queue.take(&b, p.t.opts.BatchBytes)
		if b.empty() {
			select {
			case <-p.queue.wake:
				continue
			case <-ping.C:
				buf = p.appendPing(buf)
			case err := <-dead:
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		} else {
			select {
			case <-ping.C:
				buf = p.appendPing(buf)
			default:
			}
		}
		buf = appendBatch(buf, &b)
		n, err := l.Write(buf)
		p.sentBytes.Add(uint64(n))
		if err != nil {
			closeConn(l)
			return firstReason(<-dead, err)
		}
		p.sentMessages.Add(uint64(len(b.urgent) + len(b.envelopes) + len(b.appends)))
		if cap(buf) > 4*p.t.opts.BatchBytes {
			buf = nil
		}
	}
}

// firstReason prefers the peer's own word to what the write saw of it, and what
// made this side close the connection to the write that then failed.
func firstReason(heard, wrote error) error {
	var r *RefusedError
	if errors.As(heard, &r) || errors.Is(wrote, net.ErrClosed) || errors.Is(wrote, io.ErrClosedPipe) {
		return heard
	}
	return wrote
}

func (p *peer) appendPing(b []byte) []byte {
	return appendFrame(b, kindPing, encodePing(time.Since(p.t.start)))
}

func appendBatch(buf []byte, b *batch) []byte {
	var start int
	if len(b.urgent) > 0 {
		buf, start = beginFrame(buf)
		buf = endFrame(appendMessages(buf, b.urgent), start, kindMessages)
	}
	for i := range b.envelopes {
		buf, start = beginFrame(buf)
		buf = append(append(buf, b.envelopes[i].Kind), b.envelopes[i].Payload...)
		buf = endFrame(buf, start, kindEnvelope)
	}
	if len(b.appends) > 0 {
		buf, start = beginFrame(buf)
		buf = endFrame(appendMessages(buf, b.appends), start, kindMessages)
	}
	return buf
}
