package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"chainfire/api"
	"chainfire/internal/sched"
	"chainfire/join"
	"chainfire/node"
	"chainfire/transport"
)

// attachment is a process on the network (node.Network).
type attachment struct {
	net  *network
	host *host
	p    *proc
}

var _ node.Network = (*attachment)(nil)

// Listen implements node.Network.
func (a *attachment) Listen(_ []string, register func(grpc.ServiceRegistrar)) (node.Port, error) {
	p := &port{a: a, closed: make(chan struct{}), methods: map[string]served{}}
	register(p)
	a.host.port = p
	return p, nil
}

// Dial implements node.Network.
func (a *attachment) Dial(addr string) (join.Conn, error) {
	return &conn{net: a.net, p: a.p, from: a.host.name, addr: addr}, nil
}

// port is an open peer port.
type port struct {
	a       *attachment
	closed  chan struct{}
	ended   bool
	methods map[string]served
	streams *streams
	// calls are those under way here.
	calls []*call
}

// served is one method that is answered here.
type served struct {
	impl   any
	unary  grpc.MethodHandler
	stream grpc.StreamHandler
}

// RegisterService implements grpc.ServiceRegistrar.
func (p *port) RegisterService(d *grpc.ServiceDesc, impl any) {
	for i := range d.Methods {
		p.methods["/"+d.ServiceName+"/"+d.Methods[i].MethodName] = served{impl: impl, unary: d.Methods[i].Handler}
	}
	for i := range d.Streams {
		p.methods["/"+d.ServiceName+"/"+d.Streams[i].StreamName] = served{impl: impl, stream: d.Streams[i].Handler}
	}
}

// Addr implements node.Port.
func (p *port) Addr() string { return p.a.host.addr }

// Serve implements node.Port.
func (p *port) Serve() error {
	p.a.p.Wait(p.closed)
	return nil
}

// Close implements node.Port.
func (p *port) Close() error {
	if !p.ended {
		p.ended = true
		close(p.closed)
	}
	return nil
}

// Streams implements node.Port.
func (p *port) Streams(o transport.Options) (node.Streams, error) {
	p.streams = &streams{net: p.a.net, host: p.a.host, p: p.a.p, o: o, peers: map[uint64]*link{}, closed: make(chan struct{})}
	return p.streams, nil
}

// call is one call under way. It ends once.
type call struct {
	caller *proc
	done   chan struct{}
	err    error
	ended  bool
	// life is the process that serves it, canceled tells it that nobody waits.
	life     *proc
	canceled context.CancelFunc
}

func (c *call) end(err error) {
	if !c.ended {
		c.ended = true
		c.err = err
		close(c.done)
	}
}

var errGone = status.Error(codes.Unavailable, "the connection was lost")

// call runs f on the host at an address, over the network, and waits for its
// end. f runs at most once; what it leaves may be used if there is no error.
func (n *network) call(ctx context.Context, p *proc, from, addr string, f func(context.Context, *proc, *port) error) error {
	if err := ctx.Err(); err != nil {
		return contextStatus(ctx)
	}
	c := &call{caller: p, done: make(chan struct{})}
	lost := func() { n.w.schedule(p, callIdle, func() { c.end(errGone) }) }
	to := n.hosts[addr]
	if p.void {
		p.Wait(nil) // it is about to be killed
	}
	if to == nil || !n.open(from, to.name) || to.dark {
		lost()
	} else {
		n.w.after(n.delay(), func() { n.arrive(ctx, c, p, from, to, lost, f) })
	}
	if p.Wait(c.done, ctx.Done()) == 1 {
		c.ended = true
		n.cancel(c)
		return contextStatus(ctx)
	}
	return c.err
}

// cancel tells the one who serves a call that its caller is gone.
func (n *network) cancel(c *call) {
	if c.canceled != nil {
		n.w.schedule(c.life, n.delay(), c.canceled)
	}
}

func contextStatus(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return status.Error(codes.DeadlineExceeded, "deadline exceeded")
	}
	return status.FromContextError(ctx.Err()).Err()
}

// arrive begins a call at the other end.
func (n *network) arrive(ctx context.Context, c *call, p *proc, from string, to *host, lost func(), f func(context.Context, *proc, *port) error) {
	if to.port == nil || to.port.ended {
		n.w.schedule(p, n.delay(), func() {
			c.end(status.Errorf(codes.Unavailable, "connection error: desc = \"dial %s: connection refused\"", to.addr))
		})
		return
	}
	at, life := to.port, to.life
	at.calls = append(at.calls, c)
	serve := func() {
		sctx, canceled := context.WithCancel(context.Background())
		defer canceled()
		c.life, c.canceled = life, canceled
		if md, ok := metadata.FromOutgoingContext(ctx); ok {
			sctx = metadata.NewIncomingContext(sctx, md)
		}
		cancel := context.CancelFunc(func() {})
		if deadline, ok := ctx.Deadline(); ok {
			sctx, cancel = sched.WithTimeout(sctx, life, deadline.Sub(p.Now()), nil)
		}
		defer cancel()
		err := f(sctx, life, at)
		if life.void {
			return // the end of the process ends the call
		}
		at.forget(c)
		if !n.open(to.name, from) {
			lost()
			return
		}
		n.w.schedule(p, n.delay(), func() { c.end(err) })
	}
	life.Go(serve)
}

func (p *port) forget(c *call) {
	for i := range p.calls {
		if p.calls[i] == c {
			p.calls = append(p.calls[:i], p.calls[i+1:]...)
			return
		}
	}
}

// drop ends the calls under way at a host whose process ended.
func (n *network) drop(p *port, quietly bool) {
	for _, c := range p.calls {
		d := n.delay()
		if quietly {
			d = callIdle
		}
		n.w.schedule(c.caller, d, func() { c.end(errGone) })
	}
	p.calls = nil
	for _, name := range sortedKeys(n.hosts) {
		other := n.hosts[name].port
		if other == nil || other == p {
			continue
		}
		for _, c := range other.calls {
			if c.caller == p.a.p {
				n.cancel(c)
			}
		}
	}
}

// conn is a connection for calls (join.Conn).
type conn struct {
	net  *network
	p    *proc
	from string
	addr string
}

// Close implements join.Conn.
func (*conn) Close() error { return nil }

// Invoke implements grpc.ClientConnInterface.
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	req := proto.Clone(args.(proto.Message))
	var resp proto.Message
	err := c.net.call(ctx, c.p, c.from, c.addr, func(ctx context.Context, _ *proc, at *port) error {
		m, ok := at.methods[method]
		if !ok {
			return status.Errorf(codes.Unimplemented, "method %s", method)
		}
		out, err := m.unary(m.impl, ctx, func(v any) error { proto.Merge(v.(proto.Message), req); return nil }, nil)
		if err != nil {
			return status.Convert(err).Err()
		}
		resp = proto.Clone(out.(proto.Message))
		return nil
	})
	if err == nil {
		proto.Merge(reply.(proto.Message), resp)
	}
	return err
}

// NewStream implements grpc.ClientConnInterface, for streams of answers.
func (c *conn) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return &clientStream{c: c, ctx: ctx, method: method, signal: make(chan struct{}, 1)}, nil
}

// clientStream is the receiving end of a stream of answers.
type clientStream struct {
	grpc.ClientStream
	c      *conn
	ctx    context.Context
	method string
	req    proto.Message

	queue  []proto.Message
	end    error
	signal chan struct{}
	// server is the sending end, while there is one.
	server *serverStream
}

// SendMsg implements grpc.ClientStream: there is one request.
func (s *clientStream) SendMsg(m any) error {
	s.req = proto.Clone(m.(proto.Message))
	return nil
}

// CloseSend implements grpc.ClientStream; the request is on its way.
func (s *clientStream) CloseSend() error {
	s.c.p.Go(func() {
		err := s.c.net.call(s.ctx, s.c.p, s.c.from, s.c.addr, func(ctx context.Context, p *proc, at *port) error {
			m, ok := at.methods[s.method]
			if !ok {
				return status.Errorf(codes.Unimplemented, "method %s", s.method)
			}
			s.server = &serverStream{s: s, ctx: ctx, p: p, host: at.a.host, credit: make(chan struct{}, 1)}
			if err := m.stream(m.impl, s.server); err != nil {
				return status.Convert(err).Err()
			}
			// The end comes after what was sent before it.
			p.sleep(s.server.last - s.c.net.w.now)
			return nil
		})
		if err == nil {
			err = io.EOF
		}
		s.finish(err)
	})
	return nil
}

func (s *clientStream) finish(err error) {
	if s.end == nil {
		s.end = err
	}
	s.wake()
}

func (s *clientStream) wake() {
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

// RecvMsg implements grpc.ClientStream.
func (s *clientStream) RecvMsg(m any) error {
	for {
		if len(s.queue) > 0 {
			proto.Merge(m.(proto.Message), s.queue[0])
			s.queue = s.queue[1:]
			s.server.taken(s)
			return nil
		}
		if s.end != nil {
			return s.end
		}
		if s.c.p.Wait(s.signal, s.ctx.Done()) == 1 {
			return contextStatus(s.ctx)
		}
	}
}

// serverStream is the sending end.
type serverStream struct {
	grpc.ServerStream
	s      *clientStream
	ctx    context.Context
	p      *proc
	host   *host
	flying int
	credit chan struct{}
	last   time.Duration
}

// Context implements grpc.ServerStream.
func (s *serverStream) Context() context.Context { return s.ctx }

// RecvMsg implements grpc.ServerStream.
func (s *serverStream) RecvMsg(m any) error {
	proto.Merge(m.(proto.Message), s.s.req)
	return nil
}

// streamWindow bounds what is sent and not taken.
const streamWindow = 2

// SendMsg implements grpc.ServerStream.
func (s *serverStream) SendMsg(m any) error {
	n := s.s.c.net
	for s.flying >= streamWindow {
		if s.p.Wait(s.credit, s.ctx.Done()) == 1 {
			return contextStatus(s.ctx)
		}
	}
	if s.p.void {
		s.p.Wait(nil)
	}
	msg := proto.Clone(m.(proto.Message))
	if chunk, ok := msg.(*api.SnapshotChunk); ok && len(chunk.Data) > 0 && n.w.chance(n.damage) {
		chunk.Data[n.w.rng.IntN(len(chunk.Data))] ^= 1
	}
	if !n.open(s.host.name, s.s.c.from) || n.w.chance(n.loss) {
		n.w.schedule(s.s.c.p, callIdle, func() { s.s.finish(errGone) })
		return fmt.Errorf("send: %w", errGone)
	}
	s.flying++
	s.last = max(s.last, n.w.now+n.delay())
	n.w.schedule(s.s.c.p, s.last-n.w.now, func() {
		s.s.queue = append(s.s.queue, msg)
		s.s.wake()
	})
	return nil
}

// taken lets the sender go on.
func (s *serverStream) taken(c *clientStream) {
	n := c.c.net
	n.w.schedule(s.p, n.delay(), func() {
		s.flying--
		select {
		case s.credit <- struct{}{}:
		default:
		}
	})
}
