package sniff

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

var magic = []byte("custom/1\n")

// port is a Listener on loopback with all three children.
type port struct {
	*Listener
	h1, h2, custom net.Listener
	served         chan error
}

func open(t *testing.T, opts Options) *port {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &port{Listener: New(lis, opts), served: make(chan error, 1)}
	p.h1, p.h2 = p.HTTP1(), p.HTTP2()
	if p.custom, err = p.Prefix(magic); err != nil {
		t.Fatal(err)
	}
	go func() { p.served <- p.Serve() }()
	return p
}

func (p *port) stop(t *testing.T) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-p.served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func (p *port) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// wantClosed waits for the other side to close c without an answer.
func wantClosed(t *testing.T, c net.Conn) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if n > 0 || err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("connection is not closed: read %d bytes, %v", n, err)
	}
}

func TestEveryProtocolReachesItsServerOverOnePort(t *testing.T) {
	defer goleak.VerifyNone(t)
	p := open(t, Options{})
	gs := grpc.NewServer()
	healthpb.RegisterHealthServer(gs, health.NewServer())
	hs := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(w, r.Body); err != nil {
			t.Errorf("echo: %v", err)
		}
	})}
	ended := make(chan error, 2)
	go func() { ended <- gs.Serve(p.h2) }()
	go func() { ended <- hs.Serve(p.h1) }()

	resp, err := http.Post("http://"+p.Addr().String(), "text/plain", bytes.NewReader([]byte("hello")))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "hello" {
		t.Errorf("http answered %q, %v", body, err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()

	cc, err := grpc.NewClient(p.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := healthpb.NewHealthClient(cc).Check(context.Background(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("grpc: %v", err)
	}
	cc.Close()

	c := p.dial(t)
	if _, err := c.Write(append(bytes.Clone(magic), "payload"...)); err != nil {
		t.Fatal(err)
	}
	got, err := p.custom.Accept()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, len(magic)+len("payload"))
	if _, err := io.ReadFull(got, buf); err != nil || string(buf) != string(magic)+"payload" {
		t.Errorf("custom connection replays %q, %v", buf, err)
	}
	got.Close()

	gs.Stop()
	hs.Close()
	p.stop(t)
	for range 2 {
		t.Logf("server ended: %v", <-ended)
	}
}

func TestBytesThatComeOneByOneAreWaitedFor(t *testing.T) {
	defer goleak.VerifyNone(t)
	p := open(t, Options{})
	defer p.stop(t)
	c := p.dial(t)
	go func() {
		for i := range magic {
			if _, err := c.Write(magic[i : i+1]); err != nil {
				t.Errorf("write: %v", err)
			}
		}
	}()
	got, err := p.custom.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	buf := make([]byte, len(magic))
	if _, err := io.ReadFull(got, buf); err != nil || !bytes.Equal(buf, magic) {
		t.Errorf("replayed %q, %v", buf, err)
	}
}

func TestUnknownProtocolIsClosedAtOnce(t *testing.T) {
	defer goleak.VerifyNone(t)
	p := open(t, Options{Timeout: time.Hour})
	defer p.stop(t)
	for _, first := range []string{"\x16\x03\x01", "get / HTTP/1.1\r\n", "PRI * HTTP/3", "customx", "\x00"} {
		c := p.dial(t)
		if _, err := c.Write([]byte(first)); err != nil {
			t.Fatal(err)
		}
		wantClosed(t, c)
	}
}

func TestSilentConnectionIsClosedAfterTheDeadline(t *testing.T) {
	defer goleak.VerifyNone(t)
	p := open(t, Options{Timeout: 20 * time.Millisecond})
	defer p.stop(t)
	silent, half := p.dial(t), p.dial(t)
	if _, err := half.Write(magic[:3]); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, silent)
	wantClosed(t, half)
}

func TestConnectionThatNoServerTakesIsClosedAfterTheDeadline(t *testing.T) {
	defer goleak.VerifyNone(t)
	p := open(t, Options{Timeout: 20 * time.Millisecond})
	defer p.stop(t)
	c := p.dial(t)
	if _, err := c.Write(magic); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, c)
}

func TestDeadlineIsLiftedWhenTheConnectionIsHandedOver(t *testing.T) {
	defer goleak.VerifyNone(t)
	p := open(t, Options{Timeout: 50 * time.Millisecond})
	defer p.stop(t)
	c := p.dial(t)
	if _, err := c.Write(magic); err != nil {
		t.Fatal(err)
	}
	got, err := p.custom.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	time.AfterFunc(150*time.Millisecond, func() {
		if _, err := c.Write([]byte("!")); err != nil {
			t.Errorf("write: %v", err)
		}
	})
	buf := make([]byte, len(magic)+1)
	if _, err := io.ReadFull(got, buf); err != nil || buf[len(magic)] != '!' {
		t.Errorf("read after the deadline: %q, %v", buf, err)
	}
}

func TestOldestSilentConnectionMakesRoomForTheNext(t *testing.T) {
	defer goleak.VerifyNone(t)
	p := open(t, Options{Timeout: time.Hour, MaxPending: 2})
	defer p.stop(t)
	first, second := p.dial(t), p.dial(t)
	third := p.dial(t)
	wantClosed(t, first)
	for _, c := range []net.Conn{second, third} {
		if _, err := c.Write(magic); err != nil {
			t.Fatal(err)
		}
		got, err := p.custom.Accept()
		if err != nil {
			t.Fatal(err)
		}
		got.Close()
	}
}

func TestCloseEndsEverythingThatIsStillLookedAt(t *testing.T) {
	defer goleak.VerifyNone(t)
	p := open(t, Options{Timeout: time.Hour})
	silent, waiting := p.dial(t), p.dial(t)
	if _, err := waiting.Write(magic); err != nil {
		t.Fatal(err)
	}
	p.stop(t)
	wantClosed(t, silent)
	wantClosed(t, waiting)
	for _, c := range []net.Listener{p.h1, p.h2, p.custom} {
		if _, err := c.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after close: %v", err)
		}
	}
	if err := p.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestClosedChildLeavesTheOthersOpen(t *testing.T) {
	defer goleak.VerifyNone(t)
	p := open(t, Options{Timeout: time.Hour})
	defer p.stop(t)
	if err := p.h1.Close(); err != nil {
		t.Fatal(err)
	}
	dead := p.dial(t)
	if _, err := dead.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, dead)
	c := p.dial(t)
	if _, err := c.Write(magic); err != nil {
		t.Fatal(err)
	}
	got, err := p.custom.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got.Close()
}

func TestPrefixThatCannotBeToldApartIsRefused(t *testing.T) {
	l := New(nil, Options{})
	for _, bad := range []string{"", "G", "GET /x", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", "PR"} {
		if _, err := l.Prefix([]byte(bad)); err == nil {
			t.Errorf("prefix %q is accepted", bad)
		}
	}
	if _, err := l.Prefix([]byte("one/1")); err != nil {
		t.Error(err)
	}
	if _, err := l.Prefix([]byte("one/12")); err == nil {
		t.Error("a prefix that begins with another is accepted")
	}
}

// failing is a listener whose Accept fails for good.
type failing struct{ net.Listener }

func (failing) Accept() (net.Conn, error) { return nil, errors.New("broken") }

func TestServeReturnsTheErrorOfABrokenListener(t *testing.T) {
	defer goleak.VerifyNone(t)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(failing{lis}, Options{})
	h := l.HTTP1()
	if err := l.Serve(); err == nil {
		t.Error("serve returns nil on a broken listener")
	}
	if _, err := h.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("child accept: %v", err)
	}
}

func TestConnKeepsWhatServersNeedOfASocket(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	pipe := &Conn{Conn: a}
	if err := pipe.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("CloseWrite of a pipe: %v", err)
	}
	if _, err := pipe.SyscallConn(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("SyscallConn of a pipe: %v", err)
	}
	p := open(t, Options{})
	defer p.stop(t)
	c := p.dial(t)
	if _, err := c.Write(magic); err != nil {
		t.Fatal(err)
	}
	got, err := p.custom.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if _, err := got.(*Conn).SyscallConn(); err != nil {
		t.Errorf("SyscallConn of a socket: %v", err)
	}
	if err := got.(*Conn).CloseWrite(); err != nil {
		t.Errorf("CloseWrite of a socket: %v", err)
	}
	wantClosed(t, c)
}
