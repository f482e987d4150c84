// Package sniff lets several protocols share one port. A Listener looks at the
// first bytes of each connection and hands it, with those bytes still to be
// read, to the child listener of the protocol that speaks so: HTTP/2 with prior
// knowledge (gRPC), HTTP/1, either of them over TLS, or a protocol that begins with a
// prefix of the caller's choice.
package sniff

import (
	"container/list"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	defaultTimeout    = 10 * time.Second
	defaultMaxPending = 4096
	acceptPause       = 50 * time.Millisecond
)

// Options configure a Listener. The zero value means the defaults.
type Options struct {
	// Timeout bounds the time from accepting a connection to handing it to a
	// child, over TLS with the handshake in it. The default is 10 seconds.
	Timeout time.Duration
	// MaxPending bounds the connections that are being looked at. When one more
	// comes, the oldest is closed: a client that speaks at once is not kept out
	// by others that stay silent. The default is 4096.
	MaxPending int
	// Logger gets what goes wrong with the listener and, at debug level, with
	// single connections. The default discards.
	Logger *slog.Logger
}

// Listener distributes the connections of one net.Listener. Children are made
// with HTTP1, HTTP2 and Prefix before Serve; the other methods may be called
// from any goroutine.
type Listener struct {
	lis        net.Listener
	timeout    time.Duration
	maxPending int
	log        *slog.Logger
	routes     []route
	closed     chan struct{}
	closeOnce  sync.Once
	closeErr   error
	wg         sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	// pending holds *candidate, the oldest first.
	pending list.List
}

// route sends connections that begin with any of the prefixes to a child, or to where
// their TLS ends.
type route struct {
	prefixes [][]byte
	child    *child
	secure   *secure
}

// candidate is a connection that has not been handed to a child yet.
type candidate struct {
	conn net.Conn
	// shed is closed when the connection has to make room for another.
	shed chan struct{}
	// decided says, under the Listener's lock, that nothing is read any more:
	// the connection waits for its child and is closed by its own goroutine, so
	// that one which the child has just got is left alone.
	decided bool
}

// New wraps lis. Closing the Listener closes lis.
func New(lis net.Listener, opts Options) *Listener {
	l := &Listener{
		lis: lis, timeout: opts.Timeout, maxPending: opts.MaxPending, log: opts.Logger,
		closed: make(chan struct{}),
	}
	if l.timeout <= 0 {
		l.timeout = defaultTimeout
	}
	if l.maxPending <= 0 {
		l.maxPending = defaultMaxPending
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	return l
}

// HTTP2 returns the child for connections that begin with the HTTP/2 preface,
// as gRPC clients do. Call it once, before Serve.
func (l *Listener) HTTP2() net.Listener { return l.route([][]byte{http2Preface}) }

// HTTP1 returns the child for connections that begin with an HTTP/1 request
// line. Call it once, before Serve.
func (l *Listener) HTTP1() net.Listener { return l.route(http1Methods()) }

// Prefix returns the child for connections that begin with magic, which stays
// readable. It returns an error for an empty magic and for one that another
// protocol of this port may begin with. Call it before Serve.
func (l *Listener) Prefix(magic []byte) (net.Listener, error) {
	if len(magic) == 0 {
		return nil, errors.New("sniff: empty prefix")
	}
	taken := append(http1Methods(), http2Preface)
	for _, r := range l.routes {
		taken = append(taken, r.prefixes...)
	}
	for _, p := range taken {
		if overlap(p, magic) {
			return nil, fmt.Errorf("sniff: prefix %q cannot be told from %q", magic, p)
		}
	}
	return l.route([][]byte{append([]byte(nil), magic...)}), nil
}

func (l *Listener) route(prefixes [][]byte) *child {
	c := l.child()
	l.routes = append(l.routes, route{prefixes: prefixes, child: c})
	return c
}

func (l *Listener) child() *child {
	return &child{parent: l, conns: make(chan net.Conn), done: make(chan struct{})}
}

// Addr is the address of the wrapped listener.
func (l *Listener) Addr() net.Addr { return l.lis.Addr() }

// Serve accepts and distributes connections until Close, after which it returns
// nil, or until the wrapped listener fails. It returns when no goroutine of its
// own is left.
func (l *Listener) Serve() error {
	defer l.wg.Wait()
	for {
		conn, err := l.lis.Accept()
		if err == nil {
			l.admit(conn)
			continue
		}
		select {
		case <-l.closed:
			return nil
		default:
		}
		if !transient(err) {
			l.shutDown()
			return fmt.Errorf("accept on %s: %w", l.lis.Addr(), err)
		}
		l.log.Warn("cannot accept a connection now", "addr", l.lis.Addr().String(), "err", err)
		l.pause()
	}
}

// pause waits until what made an accept fail may have passed.
func (l *Listener) pause() {
	timer := time.NewTimer(acceptPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.closed:
	}
}

// transient reports whether accepting may succeed later.
func transient(err error) bool {
	for _, t := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR,
	} {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

func (l *Listener) admit(conn net.Conn) {
	c := &candidate{conn: conn, shed: make(chan struct{})}
	l.mu.Lock()
	if l.stopped {
		l.mu.Unlock()
		l.drop(conn, "listener closed", nil)
		return
	}
	var oldest *candidate
	if l.pending.Len() >= l.maxPending {
		oldest = l.pending.Remove(l.pending.Front()).(*candidate)
		close(oldest.shed)
		if oldest.decided {
			oldest = nil
		}
	}
	e := l.pending.PushBack(c)
	l.wg.Add(1)
	l.mu.Unlock()
	if oldest != nil {
		l.drop(oldest.conn, "too many connections that say nothing", nil)
	}
	go l.look(c, e)
}

// look reads what a connection begins with and hands it over.
func (l *Listener) look(c *candidate, e *list.Element) {
	defer l.wg.Done()
	handed := false
	defer func() {
		l.mu.Lock()
		// Removing an element that was shed has no effect.
		l.pending.Remove(e)
		l.mu.Unlock()
		if !handed {
			l.drop(c.conn, "connection not taken", nil)
		}
	}()
	timer := time.NewTimer(l.timeout)
	defer timer.Stop()
	if err := c.conn.SetDeadline(time.Now().Add(l.timeout)); err != nil {
		l.drop(c.conn, "set deadline", err)
		return
	}
	by, head, err := l.match(c.conn)
	if err != nil {
		l.drop(c.conn, "no known protocol", err)
		return
	}
	to, conn := by.child, net.Conn(&Conn{Conn: c.conn, head: head})
	if by.secure != nil {
		if conn, to, err = by.secure.shake(conn); err != nil {
			l.refused(c.conn, err)
			l.drop(c.conn, "no TLS", err)
			return
		}
	}
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		l.drop(c.conn, "clear deadline", err)
		return
	}
	l.mu.Lock()
	c.decided = true
	l.mu.Unlock()
	select {
	case to.conns <- conn:
		handed = true
	case <-to.done:
	case <-c.shed:
	case <-timer.C:
	case <-l.closed:
	}
}

// drop closes a connection that no child gets. Closing twice is harmless.
func (l *Listener) drop(conn net.Conn, why string, err error) {
	closeErr := conn.Close()
	if closeErr != nil && errors.Is(closeErr, net.ErrClosed) {
		return
	}
	l.log.Debug("connection dropped", "remote", addrOf(conn), "reason", why, "err", errors.Join(err, closeErr))
}

func addrOf(conn net.Conn) string {
	if a := conn.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// Close stops accepting, closes the connections that no child has got yet and
// makes the children's Accept fail. Connections that a child has got are the
// child's. Serve returns soon after.
func (l *Listener) Close() error {
	l.shutDown()
	return l.closeErr
}

func (l *Listener) shutDown() {
	l.closeOnce.Do(func() {
		close(l.closed)
		if err := l.lis.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			l.closeErr = fmt.Errorf("close listener on %s: %w", l.lis.Addr(), err)
		}
		l.mu.Lock()
		l.stopped = true
		var conns []net.Conn
		for e := l.pending.Front(); e != nil; e = e.Next() {
			if c := e.Value.(*candidate); !c.decided {
				conns = append(conns, c.conn)
			}
		}
		l.mu.Unlock()
		for _, c := range conns {
			l.drop(c, "listener closed", nil)
		}
	})
}
