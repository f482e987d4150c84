package transport

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"chainfire/raft"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testCluster = 0xc1
	patience    = 20 * time.Second
)

// recorder is a handler that keeps everything and can be waited on.
type recorder struct {
	mu          sync.Mutex
	changed     chan struct{}
	messages    []raft.Message
	batches     int
	envelopes   []Envelope
	unreachable []error
	connected   []uint64
	refused     []RefusedError
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

func (r *recorder) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) Receive(_ uint64, msgs []raft.Message) {
	r.note(func() { r.messages = append(r.messages, msgs...); r.batches++ })
}

func (r *recorder) Envelope(_ uint64, e Envelope) {
	r.note(func() { r.envelopes = append(r.envelopes, e) })
}

func (r *recorder) Unreachable(_ uint64, err error) {
	r.note(func() { r.unreachable = append(r.unreachable, err) })
}

func (r *recorder) Connected(_, incarnation uint64) {
	r.note(func() { r.connected = append(r.connected, incarnation) })
}

func (r *recorder) PeerRefused(_ uint64, reason *RefusedError) {
	r.note(func() { r.refused = append(r.refused, *reason) })
}

// await waits until ok holds; ok runs with the recorder locked.
func (r *recorder) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		done, changed := ok(), r.changed
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Fatalf("waited for %s; have %d messages, %d envelopes, connected %v, unreachable %v, refused %v",
				what, len(r.messages), len(r.envelopes), r.connected, r.unreachable, r.refused)
		}
	}
}

// options are those of member id, with incarnation 100+id.
func options(id uint64, h Handler) Options {
	return Options{ClusterID: testCluster, LocalID: id, Incarnation: 100 + id, Handler: h, Seed: 1}
}

func start(t *testing.T, o Options) *Transport {
	t.Helper()
	tr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return tr
}

// serve makes tr listen on a loopback port and returns the address.
func serve(t *testing.T, tr *Transport, addr string) string {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- tr.Serve(l) }()
	t.Cleanup(func() {
		tr.Close()
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return l.Addr().String()
}

// pair is two members that know each other, over loopback.
func pair(t *testing.T) (a, b *Transport, ra, rb *recorder) {
	t.Helper()
	ra, rb = newRecorder(), newRecorder()
	a, b = start(t, options(1, ra)), start(t, options(2, rb))
	addrA, addrB := serve(t, a, "127.0.0.1:0"), serve(t, b, "127.0.0.1:0")
	a.SetPeer(2, []string{addrB}, 102)
	b.SetPeer(1, []string{addrA}, 101)
	ra.await(t, "a connected", func() bool { return len(ra.connected) == 1 })
	rb.await(t, "b connected", func() bool { return len(rb.connected) == 1 })
	poll(t, "both directions to be received on", func() bool { return a.Peers()[0].Receiving && b.Peers()[0].Receiving })
	return a, b, ra, rb
}

// pipeDialer dials into pipes, whose other ends come out of the channel.
func pipeDialer() (func(context.Context, string) (net.Conn, error), chan net.Conn) {
	far := make(chan net.Conn, 16)
	return func(context.Context, string) (net.Conn, error) {
		near, other := net.Pipe()
		far <- other
		return near, nil
	}, far
}

// welcomeBy plays the acceptor's side of the handshake on conn.
func welcomeBy(t *testing.T, conn net.Conn, id, incarnation uint64) Hello {
	t.Helper()
	h, err := readHello(conn)
	if err != nil {
		t.Fatal(err)
	}
	answer := encodeWelcome(welcome{version: Version, id: id, incarnation: incarnation})
	if _, err := conn.Write(appendFrame(nil, kindWelcome, answer)); err != nil {
		t.Fatal(err)
	}
	return h
}

func heartbeat(from, to, round uint64) raft.Message {
	return raft.Message{Type: raft.MsgHeartbeat, From: from, To: to, Term: 7, Round: round}
}

func appendOf(from, to, index uint64, size int) raft.Message {
	return raft.Message{
		Type: raft.MsgAppend, From: from, To: to, Term: 7, Index: index - 1, LogTerm: 7,
		Entries: []raft.Entry{{Index: index, Term: 7, Data: make([]byte, size)}},
	}
}

// poll waits for a condition that no handler is told of.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("waited for %s", what)
		}
	}
}
