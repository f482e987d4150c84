package transport

import (
	"testing"

	"chainfire/raft"
)

// TestTotalsOutliveConnections: a counter of a metric must not go back when a peer returns.
func TestTotalsOutliveConnections(t *testing.T) {
	ra, rb := newRecorder(), newRecorder()
	b := start(t, options(2, rb))
	addr := serve(t, b, "127.0.0.1:0")
	b.SetPeer(1, nil, 0)
	var before uint64
	for n := 1; n <= 2; n++ {
		a := start(t, options(1, ra))
		a.SetPeer(2, []string{addr}, 102)
		ra.await(t, "a connection", func() bool { return len(ra.connected) == n })
		a.Send([]raft.Message{heartbeat(1, 2, 1)})
		rb.await(t, "a message", func() bool { return len(rb.messages) == n })
		s := b.Peers()[0]
		if s.ReceivedBytes == 0 || s.TotalReceivedBytes != before+s.ReceivedBytes || s.ReceiveFailures != 0 {
			t.Fatalf("after connection %d: %+v", n, s)
		}
		before = s.TotalReceivedBytes
		a.Close()
		if s := a.Peers()[0]; s.Disconnects != 1 || s.Connected {
			t.Fatalf("the sender: %+v", s)
		}
	}
}
