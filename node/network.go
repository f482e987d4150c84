package node

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"chainfire/bodies"
	"chainfire/internal/handshaken"
	"chainfire/internal/sniff"
	"chainfire/internal/socket"
	"chainfire/join"
	"chainfire/pki"
	"chainfire/raft"
	"chainfire/transport"
)

// Network is where a member meets the others. The simulator has one of its own.
type Network interface {
	// Listen opens the member's peer port at some addresses. Its calls are answered
	// by the services that register registers.
	Listen(addrs []string, register func(grpc.ServiceRegistrar)) (Port, error)
	// Dial connects to another member's peer port, at an address of join.Schemes.
	Dial(addr string) (join.Conn, error)
}

// Port is a member's open peer port.
type Port interface {
	// Addr is the first address: HOST:PORT, or a path.
	Addr() string
	// Serve answers calls until the port is closed.
	Serve() error
	// Streams begins the exchange of Raft's messages on the port. It is called
	// once at most.
	Streams(o transport.Options) (Streams, error)
	Close() error
}

// Streams carry what members say to each other beside calls: see
// transport.Transport.
type Streams interface {
	Send(msgs []raft.Message)
	SendEnvelope(to uint64, e transport.Envelope) error
	SetPeer(id uint64, addrs []string, incarnation uint64)
	RemovePeer(id uint64)
	Peers() []transport.PeerState
	// Serve receives until the streams are closed.
	Serve() error
	Close()
}

// tcp is the Network of production: TLS where there are credentials.
type tcp struct {
	log *slog.Logger
	// creds are those of a cluster's own authority, own those of an operator: one of
	// them, or none.
	creds *pki.Credentials
	own   *pki.Own
	// unproven are such as nobody checks, in place of those.
	unproven *pki.Unproven
	reports  *handshakes
	// schemes say what is spoken at an address.
	schemes join.Schemes
	sockets socket.Options
}

// Listen implements Network: gRPC and the Raft streams share the port.
func (t *tcp) Listen(addrs []string, register func(grpc.ServiceRegistrar)) (Port, error) {
	l, plain, err := t.listen(addrs)
	if err != nil {
		return nil, err
	}
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(4 << 20), grpc.MaxConcurrentStreams(256), grpc.ForceServerCodecV2(bodies.Codec()),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: join.KeepaliveTime, Timeout: join.KeepaliveTimeout}),
		// A client that asks twice as often as members do is still in order.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: join.KeepaliveTime / 2, PermitWithoutStream: true}),
	}
	if t.creds != nil {
		options = append(options, guard{t.creds}.options()...)
	} else {
		// Who gets through the handshake, or comes where there is none, is a peer.
		options = append(options, grpc.Creds(handshaken.Credentials{Plain: plain}))
	}
	mux := sniff.New(l, sniff.Options{Logger: t.log})
	streams, err := mux.Prefix([]byte(transport.Magic))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("share the peer port: %w", err), l.Close())
	}
	p := &tcpPort{
		listener: l, mux: mux, calls: mux.HTTP2(), streams: streams,
		grpc: grpc.NewServer(options...), network: t, toPages: mux.HTTP1(), pages: newPages(t.creds, t.log),
	}
	if plain {
		if p.misled, err = mux.Prefix([]byte{0x16, 0x03}); err != nil {
			return nil, errors.Join(fmt.Errorf("share the peer port: %w", err), l.Close())
		}
	}
	register(p.grpc)
	return p, nil
}

// newNetwork is the Network of production for this member.
func (n *Node) newNetwork() *tcp {
	t := &tcp{log: n.log, creds: n.creds, own: n.own, unproven: n.unproven, reports: &handshakes{log: n.log}, schemes: n.opts.schemes()}
	if n.opts.Peers != nil {
		t.sockets = n.opts.Peers.Socket
	}
	return t
}

// tcpPort is a Port on a TCP listener.
type tcpPort struct {
	listener       net.Listener
	mux            *sniff.Listener
	calls, streams net.Listener
	// misled has the connections that begin with TLS at a port without it.
	misled net.Listener
	// toPages has those of HTTP/1.
	toPages net.Listener
	pages   *pages
	grpc    *grpc.Server
	network *tcp
}

// Addr implements Port.
func (p *tcpPort) Addr() string { return p.listener.Addr().String() }

// Serve implements Port.
func (p *tcpPort) Serve() error {
	ends := make(chan error, 3)
	go func() { ends <- p.grpc.Serve(p.calls) }()
	go func() { ends <- p.mux.Serve() }()
	go func() { ends <- p.pages.serve(p.toPages) }()
	if p.misled != nil {
		go answerPlainly(p.misled)
	}
	err := <-ends
	return errors.Join(err, p.Close(), <-ends, <-ends)
}

// answerPlainly tells those who begin with TLS, in plain text, that there is none:
// their TLS takes that for what it is, and they need not try for long. It ends with
// the listener.
func answerPlainly(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		// They hang up whether they got it or not.
		_ = c.SetDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(c, "this port speaks without TLS\n")
		_ = c.Close()
	}
}

// Close implements Port.
func (p *tcpPort) Close() error {
	err := p.mux.Close()
	p.grpc.Stop()
	return errors.Join(err, p.pages.http.Close())
}

// Streams implements Port.
func (p *tcpPort) Streams(o transport.Options) (Streams, error) {
	o.Dial = p.network.dialStream
	if p.network.creds != nil {
		o.Identify = identifyPeer(p.network.creds)
	}
	t, err := transport.New(o)
	if err != nil {
		return nil, err
	}
	return &tcpStreams{Transport: t, listener: p.streams}, nil
}

type tcpStreams struct {
	*transport.Transport
	listener net.Listener
}

// Serve implements Streams.
func (s *tcpStreams) Serve() error { return s.Transport.Serve(s.listener) }
