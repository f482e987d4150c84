package node

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire/api"
	"chainfire/join"
)

// holder answers no call for a snapshot, and says when one came and when it was
// given up.
type holder struct {
	api.UnimplementedPeerServer
	came, ended chan struct{}
}

func (h *holder) OpenSnapshot(ctx context.Context, _ *api.OpenSnapshotRequest) (*api.OpenSnapshotResponse, error) {
	close(h.came)
	<-ctx.Done()
	close(h.ended)
	return nil, ctx.Err()
}

// passage passes bytes between a port of its own and another one until it is
// sealed: then nothing comes through any more, and neither side hears of it.
type passage struct {
	net.Listener
	to     string
	sealed chan struct{}
}

func newPassage(t *testing.T, to string) *passage {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &passage{Listener: l, to: to, sealed: make(chan struct{})}
	t.Cleanup(func() { _ = l.Close() })
	go p.serve(t)
	return p
}

func (p *passage) serve(t *testing.T) {
	for {
		in, err := p.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { _, _ = in.Close(), out.Close() })
		go p.pass(in, out)
		go p.pass(out, in)
	}
}

func (p *passage) pass(from io.Reader, to io.Writer) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-p.sealed:
		default:
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}

// TestPeerThatVanishesWithoutAWordIsNoticedByBothSides takes the way between two
// peers away while a call waits that may take long: both ends of it end.
func TestPeerThatVanishesWithoutAWordIsNoticedByBothSides(t *testing.T) {
	t.Parallel()
	h := &holder{came: make(chan struct{}), ended: make(chan struct{})}
	network := &tcp{log: slog.New(slog.DiscardHandler)}
	port, err := network.Listen([]string{"127.0.0.1:0"}, func(r grpc.ServiceRegistrar) { api.RegisterPeerServer(r, h) })
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- port.Serve() }()
	way := newPassage(t, port.Addr())
	conn, err := network.Dial(way.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() {
		_, err := api.NewPeerClient(conn).OpenSnapshot(context.Background(), &api.OpenSnapshotRequest{})
		answer <- err
	}()
	// A busy machine is late, but not by as much as TCP's own patience.
	const bound = join.KeepaliveTime + join.KeepaliveTimeout + 10*time.Second
	late := time.After(bound + 5*time.Second)
	<-h.came
	close(way.sealed)
	began := time.Now()
	for answer, ended := answer, h.ended; answer != nil || ended != nil; {
		select {
		case err := <-answer:
			if status.Code(err) != codes.Unavailable {
				t.Errorf("the call ended with %v", err)
			}
			answer = nil
		case <-ended:
			ended = nil
		case <-late:
			t.Fatal("a side has not noticed that the other is gone")
		}
		if took := time.Since(began); took > bound {
			t.Errorf("a side noticed after %v", took)
		}
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := port.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Logf("the port was closed: %v", err)
	}
}

func TestAPortForTLSIsNotOpenedWithoutACertificate(t *testing.T) {
	network := &tcp{log: slog.New(slog.DiscardHandler), schemes: join.Schemes{Mixed: true}}
	if l, _, err := network.listen([]string{"https://127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "no certificates for members") {
		if l != nil {
			l.Close()
		}
		t.Errorf("it listens: %v", err)
	}
}
