package transport

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"chainfire/raft"
)

const (
	readBuffer = 256 << 10
	// lingerTime and lingerBytes bound how long a refused dialer is listened to,
	// so that its unread bytes do not make the system discard the refusal.
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 16 << 20
)

// errProtocol is wrapped around what a welcomed dialer may not do.
var errProtocol = errors.New("protocol violation")

// deadliner is a stream on which a handshake can be bounded in time.
type deadliner interface {
	io.ReadWriter
	SetDeadline(time.Time) error
}

// inbound is one welcomed connection to receive from.
type inbound struct {
	conn     net.Conn
	hello    Hello
	since    time.Time
	bytes    atomic.Uint64
	messages atomic.Uint64
	// total outlives the connection.
	total *received
}

// received is what came from one peer on all of its connections.
type received struct{ bytes, failures atomic.Uint64 }

func (in *inbound) count(n int) {
	in.bytes.Add(uint64(n))
	in.total.bytes.Add(uint64(n))
}

// Serve accepts connections of l and serves each on a goroutine of its own,
// until l fails or the transport is closed, which closes l and returns ErrClosed.
func (t *Transport) Serve(l net.Listener) error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		closeConn(l)
		return ErrClosed
	}
	t.listeners[l] = struct{}{}
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.listeners, l)
		t.mu.Unlock()
	}()
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			go t.ServeConn(c)
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
			t.log.Warn("cannot accept a connection now", "err", err)
			t.breathe()
		case t.ctx.Err() != nil:
			return ErrClosed
		default:
			return fmt.Errorf("accept peers on %s: %w", l.Addr(), err)
		}
	}
}

// breathe waits until file descriptors may be free again.
func (t *Transport) breathe() {
	timer := time.NewTimer(t.opts.BackoffMax)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
	}
}

// ServeConn serves an accepted connection, whose magic was not yet read, until
// it ends, and closes it. It blocks: call it on a goroutine of its own.
func (t *Transport) ServeConn(c net.Conn) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		closeConn(c)
		return
	}
	t.wg.Add(1)
	t.conns[c] = struct{}{}
	t.mu.Unlock()
	defer t.wg.Done()
	defer t.untrack(c)

	tune(c)
	hello, err := t.greet(c)
	if err != nil {
		t.log.Debug("connection was not accepted", "remote", c.RemoteAddr().String(), "err", err)
		return
	}
	in := &inbound{conn: c, hello: hello, since: time.Now()}
	t.admit(in)
	defer t.dismiss(in)
	l := &link{Conn: c, readTimeout: t.opts.IdleTimeout, writeTimeout: t.opts.WriteTimeout}
	l.progress = t.signs(l)
	err = t.receive(in, l)
	switch {
	case errors.Is(err, ErrFrame), errors.Is(err, ErrCodec), errors.Is(err, errProtocol):
		in.total.failures.Add(1)
		t.log.Warn("closed the connection of a peer", "peer", fmt.Sprintf("%x", hello.From), "err", err)
		t.refuse(c, &RefusedError{Code: CodeBadStream, Text: err.Error()})
	default:
		t.log.Info("connection of a peer ended", "peer", fmt.Sprintf("%x", hello.From), "err", describe(err))
	}
}

// greet reads the magic and the hello, and answers.
func (t *Transport) greet(c net.Conn) (Hello, error) {
	select {
	case t.handshakes <- struct{}{}:
		defer func() { <-t.handshakes }()
	default:
		err := &RefusedError{Code: CodeBusy, Text: "too many connections are in their handshake; try again"}
		t.tell(c, err)
		return Hello{}, err
	}
	if err := c.SetDeadline(time.Now().Add(t.opts.DialTimeout)); err != nil {
		return Hello{}, err
	}
	hello, err := readHello(c)
	if err != nil {
		return hello, err
	}
	if t.opts.Identify != nil {
		id, err := t.opts.Identify(c, false)
		if err != nil {
			return hello, fmt.Errorf("a stranger as member %x: %w", hello.From, err)
		}
		if id != hello.From {
			return hello, fmt.Errorf("%w: a connection of member %x, whose certificate is that of member %x", errProtocol, hello.From, id)
		}
	}
	version, refusal := t.judge(hello)
	if refusal != nil {
		t.refuse(c, refusal)
		return hello, refusal
	}
	answer := encodeWelcome(welcome{
		version: version, id: t.opts.LocalID, incarnation: t.opts.Incarnation, bootNonce: t.nonce,
	})
	if _, err := c.Write(appendFrame(nil, kindWelcome, answer)); err != nil {
		return hello, fmt.Errorf("welcome member %x: %w", hello.From, err)
	}
	return hello, c.SetDeadline(time.Time{})
}

// readHello reads exactly what it needs from the connection, unbuffered.
func readHello(c net.Conn) (Hello, error) {
	var magic [len(Magic)]byte
	if _, err := io.ReadFull(c, magic[:]); err != nil {
		return Hello{}, fmt.Errorf("read the magic: %w", err)
	}
	if string(magic[:]) != Magic {
		return Hello{}, fmt.Errorf("%w: magic is %q", ErrFrame, magic[:])
	}
	k, payload, err := readFrame(c, smallFrame)
	if err != nil {
		return Hello{}, fmt.Errorf("read the hello: %w", err)
	}
	if k != kindHello {
		return Hello{}, fmt.Errorf("%w: kind %d where a hello was due", ErrFrame, k)
	}
	return decodeHello(payload)
}

// judge decides on a hello: first what this package knows, then Admit.
func (t *Transport) judge(h Hello) (uint16, *RefusedError) {
	o := &t.opts
	version, refusal := negotiate(h)
	switch {
	case refusal != nil:
		return 0, refusal
	case h.ClusterID != o.ClusterID:
		return 0, &RefusedError{Code: CodeWrongCluster, Text: fmt.Sprintf(
			"this member belongs to cluster %x, the dialer to %x", o.ClusterID, h.ClusterID)}
	case h.To != o.LocalID:
		return 0, &RefusedError{Code: CodeWrongMember, Text: fmt.Sprintf(
			"this is member %x, not %x; check the peer URLs", o.LocalID, h.To)}
	case h.From == raft.None || h.From == o.LocalID:
		return 0, &RefusedError{Code: CodeWrongMember, Text: fmt.Sprintf(
			"a dialer cannot be member %x here", h.From)}
	case h.Expected != 0 && h.Expected != o.Incarnation:
		return 0, &RefusedError{Code: CodeWrongIncarnation, Text: fmt.Sprintf(
			"this member's data directory is incarnation %x, the dialer expects %x", o.Incarnation, h.Expected)}
	}
	if err := o.Admit(h); err != nil {
		return 0, asRefusal(err)
	}
	return version, nil
}

// refuse tells the reason and listens a little longer, so that it arrives.
func (t *Transport) refuse(c net.Conn, r *RefusedError) {
	if !t.tell(c, r) {
		return
	}
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return
		}
	}
	// Whatever comes, and however it ends: the connection is closed next.
	_, _ = io.CopyN(io.Discard, c, lingerBytes)
}

// tell sends a refusal, and leaves a deadline on the connection.
func (t *Transport) tell(c net.Conn, r *RefusedError) bool {
	err := c.SetDeadline(time.Now().Add(lingerTime))
	if err == nil {
		_, err = c.Write(appendFrame(nil, kindRefuse, encodeRefusal(r)))
	}
	if err != nil {
		t.log.Debug("a refusal could not be sent", "remote", c.RemoteAddr().String(), "err", err)
	}
	return err == nil
}

// admit makes in the one connection to receive from that peer by: the newest is
// the one the peer sends on.
func (t *Transport) admit(in *inbound) {
	id := in.hello.From
	t.mu.Lock()
	if old := t.inbound[id]; old != nil {
		closeConn(old.conn)
	}
	t.inbound[id] = in
	if t.totals[id] == nil {
		t.totals[id] = new(received)
	}
	in.total = t.totals[id]
	p := t.peers[id]
	t.mu.Unlock()
	// Whoever was removed between the handshake and now was not found by
	// RemovePeer; it is judged by what holds now.
	if _, refusal := t.judge(in.hello); refusal != nil {
		closeConn(in.conn)
		return
	}
	t.log.Info("peer connected", "peer", fmt.Sprintf("%x", id), "remote", in.conn.RemoteAddr().String(),
		"incarnation", fmt.Sprintf("%x", in.hello.Incarnation))
	if p != nil {
		// It is up: no need to wait before trying the other direction.
		p.hurry()
	}
}

func (t *Transport) dismiss(in *inbound) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inbound[in.hello.From] == in {
		delete(t.inbound, in.hello.From)
	}
}

// receive reads frames until the connection ends; the error says why.
func (t *Transport) receive(in *inbound, l *link) error {
	r := bufio.NewReaderSize(l, readBuffer)
	for {
		k, payload, err := readFrame(r, t.opts.MaxFrame)
		if err != nil {
			return err
		}
		in.count(headerSize + len(payload))
		switch k {
		case kindMessages:
			err = t.receiveMessages(in, r, payload)
		case kindEnvelope:
			if len(payload) == 0 {
				return fmt.Errorf("%w: empty envelope", ErrCodec)
			}
			in.messages.Add(1)
			t.opts.Handler.Envelope(in.hello.From, Envelope{Kind: payload[0], Payload: payload[1:]})
		case kindPing:
			_, err = l.Write(appendFrame(nil, kindPong, payload))
		default:
			err = fmt.Errorf("%w: kind %d from a dialer", ErrFrame, k)
		}
		if err != nil {
			return err
		}
	}
}

// signs returns a function that tells the dialer, now and then, that its bytes
// arrive: while a large frame is on a slow way, no ping gets through.
func (t *Transport) signs(l *link) func() error {
	last := time.Now()
	sign := appendFrame(nil, kindPong, nil)
	return func() error {
		if time.Since(last) < t.opts.PingInterval {
			return nil
		}
		last = time.Now()
		_, err := l.Write(sign)
		return err
	}
}

// receiveMessages hands over the messages of a frame and of all whole frames
// that have already arrived, as one batch. What came before a bad frame counts.
func (t *Transport) receiveMessages(in *inbound, r *bufio.Reader, payload []byte) error {
	msgs, err := t.decode(in, payload)
	for err == nil && t.moreMessages(r) {
		var more []raft.Message
		if _, payload, err = readFrame(r, t.opts.MaxFrame); err != nil {
			break
		}
		in.count(headerSize + len(payload))
		more, err = t.decode(in, payload)
		msgs = append(msgs, more...)
	}
	if len(msgs) > 0 {
		in.messages.Add(uint64(len(msgs)))
		t.opts.Handler.Receive(in.hello.From, msgs)
	}
	return err
}

func (t *Transport) decode(in *inbound, payload []byte) ([]raft.Message, error) {
	msgs, err := decodeMessages(payload)
	if err != nil {
		return nil, err
	}
	for i := range msgs {
		if msgs[i].From != in.hello.From || msgs[i].To != t.opts.LocalID {
			return nil, fmt.Errorf("%w: message from %x to %x on the connection of %x to %x", errProtocol,
				msgs[i].From, msgs[i].To, in.hello.From, t.opts.LocalID)
		}
	}
	return msgs, nil
}

// moreMessages reports whether a whole frame of messages is in the buffer.
func (t *Transport) moreMessages(r *bufio.Reader) bool {
	if r.Buffered() < headerSize {
		return false
	}
	h, err := r.Peek(headerSize)
	if err != nil {
		return false
	}
	hd, err := parseHeader(h, t.opts.MaxFrame)
	return err == nil && hd.kind == kindMessages && r.Buffered() >= headerSize+hd.length
}
