package transport

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"chainfire/raft"
)

func TestMessagesAndEnvelopesArriveAsTheyWereSent(t *testing.T) {
	a, b, ra, rb := pair(t)
	var want []raft.Message
	for i := uint64(1); i <= 500; i++ {
		want = append(want, appendOf(1, 2, i, int(i)))
	}
	a.Send(append(want, raft.Message{Type: raft.MsgVote, From: 1, To: 99}))
	rb.await(t, "500 appends", func() bool { return len(rb.messages) == len(want) })
	if !reflect.DeepEqual(want, rb.messages) {
		t.Fatal("the messages are not the ones sent")
	}
	big := Envelope{Kind: 9, Payload: bytes.Repeat([]byte("x"), 3<<20)}
	if err := b.SendEnvelope(1, big); err != nil {
		t.Fatal(err)
	}
	if err := b.SendEnvelope(1, Envelope{Kind: 1}); err != nil {
		t.Fatal(err)
	}
	ra.await(t, "two envelopes", func() bool { return len(ra.envelopes) == 2 })
	if !reflect.DeepEqual([]Envelope{big, {Kind: 1, Payload: []byte{}}}, ra.envelopes) {
		t.Fatal("the envelopes are not the ones sent")
	}
	s := a.Peers()[0]
	if s.ID != 2 || !s.Connected || !s.Receiving || s.SentMessages != 500 || s.LastError != nil || s.ReceivedMessages != 2 {
		t.Fatalf("state is %+v", s)
	}
}

func TestEnvelopesThatCannotGoOutAreRefusedAtOnce(t *testing.T) {
	r := newRecorder()
	o := options(1, r)
	o.MaxFrame = 1000
	a := start(t, o)
	a.SetPeer(2, nil, 0)
	for want, err := range map[error]error{
		ErrUnknownPeer:  a.SendEnvelope(3, Envelope{}),
		ErrNotConnected: a.SendEnvelope(2, Envelope{}),
		ErrTooLarge:     a.SendEnvelope(2, Envelope{Payload: make([]byte, 1000)}),
	} {
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

func TestRefusedHandshakesNameTheReason(t *testing.T) {
	removed := func(Hello) error { return &RefusedError{Code: CodeRemoved, Text: "member 1 was removed"} }
	for name, c := range map[string]struct {
		cluster, dialed, expected uint64
		admit                     func(Hello) error
		want                      RefuseCode
	}{
		"other cluster":      {0xc2, 2, 0, nil, CodeWrongCluster},
		"other member":       {testCluster, 3, 0, nil, CodeWrongMember},
		"other incarnation":  {testCluster, 2, 999, nil, CodeWrongIncarnation},
		"removed member":     {testCluster, 2, 102, removed, CodeRemoved},
		"reason of the node": {testCluster, 2, 102, func(Hello) error { return errors.New("not today") }, CodeOther},
	} {
		t.Run(name, func(t *testing.T) {
			ra, rb := newRecorder(), newRecorder()
			ob := options(2, rb)
			ob.Admit = c.admit
			addr := serve(t, start(t, ob), "127.0.0.1:0")
			oa := options(1, ra)
			oa.ClusterID = c.cluster
			a := start(t, oa)
			a.SetPeer(c.dialed, []string{addr}, c.expected)
			ra.await(t, "a refusal and a second try", func() bool { return len(ra.refused) > 0 && len(ra.unreachable) > 1 })
			if got := ra.refused[0]; got.Code != c.want || got.Text == "" {
				t.Fatalf("refused with %v", &got)
			}
			var r *RefusedError
			if !errors.As(ra.unreachable[0], &r) || r.Code != c.want {
				t.Fatalf("unreachable with %v", ra.unreachable[0])
			}
			if a.Close(); len(ra.refused) != 1 {
				t.Fatalf("one reason was told %d times", len(ra.refused))
			}
			if len(ra.connected)+len(rb.messages) != 0 {
				t.Fatal("the connection was used")
			}
		})
	}
}

func TestAdmitSeesWhoDials(t *testing.T) {
	ra, rb := newRecorder(), newRecorder()
	seen := make(chan Hello, 1)
	ob := options(2, rb)
	ob.Admit = func(h Hello) error { seen <- h; return nil }
	addr := serve(t, start(t, ob), "127.0.0.1:0")
	oa := options(1, ra)
	oa.Addrs = []string{"here:1", "there:2"}
	start(t, oa).SetPeer(2, []string{addr}, 0)
	got := <-seen
	if got.BootNonce == 0 {
		t.Fatal("no boot nonce")
	}
	got.BootNonce = 0
	want := Hello{
		Version: Version, MinVersion: MinVersion, ClusterID: testCluster, From: 1, To: 2, Incarnation: 101,
		Addrs: []string{"here:1", "there:2"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("the hello differs (-want +got):\n%s", diff)
	}
	ra.await(t, "connected with the incarnation", func() bool { return len(ra.connected) == 1 && ra.connected[0] == 102 })
}

func TestDialerReturnsWhenTheAcceptorDoes(t *testing.T) {
	ra, rb := newRecorder(), newRecorder()
	b := start(t, options(2, rb))
	addr := serve(t, b, "127.0.0.1:0")
	a := start(t, options(1, ra))
	a.SetPeer(2, []string{addr}, 102)
	ra.await(t, "first connection", func() bool { return len(ra.connected) == 1 })
	b.Close()
	ra.await(t, "the loss", func() bool { return len(ra.unreachable) > 0 })

	rb = newRecorder()
	serve(t, start(t, options(2, rb)), addr)
	ra.await(t, "second connection", func() bool { return len(ra.connected) == 2 })
	a.Send([]raft.Message{heartbeat(1, 2, 1)})
	rb.await(t, "a message", func() bool { return len(rb.messages) == 1 })
}

func TestSecondAddressIsTriedWhenTheFirstIsDead(t *testing.T) {
	ra, rb := newRecorder(), newRecorder()
	addr := serve(t, start(t, options(2, rb)), "127.0.0.1:0")
	a := start(t, options(1, ra))
	a.SetPeer(2, []string{"127.0.0.1:1", addr}, 0)
	ra.await(t, "a connection", func() bool { return len(ra.connected) == 1 })
	if s := a.Peers()[0]; s.Addr != addr {
		t.Fatalf("connected to %s", s.Addr)
	}
}

// TestPeerOfWhichMoreIsKnownKeepsItsConnection: which directory is whose is told later to
// members that begin a cluster together. Another one than was met is looked for anew.
func TestPeerOfWhichMoreIsKnownKeepsItsConnection(t *testing.T) {
	ra, rb := newRecorder(), newRecorder()
	addr := serve(t, start(t, options(2, rb)), "127.0.0.1:0")
	a := start(t, options(1, ra))
	a.SetPeer(2, []string{addr}, 0)
	ra.await(t, "a connection", func() bool { return len(ra.connected) == 1 })
	a.SetPeer(2, []string{addr}, 102)
	a.Send([]raft.Message{heartbeat(1, 2, 1)})
	rb.await(t, "a message", func() bool { return len(rb.messages) == 1 })
	ra.await(t, "no other connection", func() bool { return len(ra.connected) == 1 && len(ra.unreachable) == 0 })
	a.SetPeer(2, []string{addr}, 103)
	ra.await(t, "the end of it", func() bool { return len(ra.unreachable) > 0 })
}

func TestChangedAddressMovesTheConnection(t *testing.T) {
	ra, old, moved := newRecorder(), newRecorder(), newRecorder()
	first := serve(t, start(t, options(2, old)), "127.0.0.1:0")
	second := serve(t, start(t, options(2, moved)), "127.0.0.1:0")
	a := start(t, options(1, ra))
	a.SetPeer(2, []string{first}, 102)
	ra.await(t, "first connection", func() bool { return len(ra.connected) == 1 })
	a.SetPeer(2, []string{first}, 102)
	a.SetPeer(2, []string{second}, 102)
	ra.await(t, "second connection", func() bool { return len(ra.connected) == 2 })
	a.Send([]raft.Message{heartbeat(1, 2, 1)})
	moved.await(t, "a message", func() bool { return len(moved.messages) == 1 })
}

func TestRemovedPeerIsSentNothing(t *testing.T) {
	a, b, _, rb := pair(t)
	a.RemovePeer(2)
	a.Send([]raft.Message{heartbeat(1, 2, 1)})
	if len(a.Peers()) != 0 {
		t.Fatalf("peers are %v", a.Peers())
	}
	rb.await(t, "the sending direction to end", func() bool { return len(rb.unreachable) > 0 })
	poll(t, "the receiving direction to end", func() bool { return !b.Peers()[0].Receiving })
	if len(rb.messages) != 0 {
		t.Fatal("a message arrived")
	}
}

func TestOptionsOutOfBoundsAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no cluster":    func(o *Options) { o.ClusterID = 0 },
		"no handler":    func(o *Options) { o.Handler = nil },
		"frame":         func(o *Options) { o.MaxFrame = -1 },
		"queue":         func(o *Options) { o.QueueMessages = 1 << 20 },
		"idle and ping": func(o *Options) { o.IdleTimeout = o.PingInterval + 1; o.PingInterval = o.IdleTimeout },
		"backoff":       func(o *Options) { o.BackoffMin = 1 << 40 },
	} {
		o := options(1, newRecorder())
		change(&o)
		if tr, err := New(o); err == nil {
			tr.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestNothingWorksAfterCloseAndNothingHangs(t *testing.T) {
	a, _, _, _ := pair(t)
	a.Close()
	a.Close()
	a.Send([]raft.Message{heartbeat(1, 2, 1)})
	a.SetPeer(3, []string{"127.0.0.1:1"}, 0)
	if err := a.SendEnvelope(2, Envelope{}); err == nil {
		t.Fatal("an envelope was taken")
	}
}

func TestCodesHaveNames(t *testing.T) {
	for c := CodeOther; c <= CodeBusy; c++ {
		if c.String() == fmt.Sprintf("code(%d)", uint8(c)) {
			t.Errorf("code %d has no name", uint8(c))
		}
	}
}
