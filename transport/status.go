package transport

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"chainfire/internal/timing"
)

// PeerState is what is known of the connections with one peer, for status and
// metrics. Counters are since the peer was set (sending) or since its present
// connection began (receiving).
type PeerState struct {
	ID uint64
	// Addr is the address in use, or tried last.
	Addr string
	// Connected says that the peer has welcomed this member, Since when that
	// last changed.
	Connected bool
	Since     time.Time
	// LastError is why the last attempt or connection ended; nil while connected.
	LastError error
	// RTT is the time the last ping took there and back; 0 is not known. RTTs are all of
	// them since the peer was set.
	RTT  time.Duration
	RTTs *timing.Histogram
	// Disconnects counts the connections to the peer that ended.
	Disconnects uint64

	SentBytes, SentMessages uint64
	// DroppedMessages counts what was not sent: no connection, or no room.
	DroppedMessages uint64
	// QueuedMessages and QueuedBytes wait to be sent now.
	QueuedMessages, QueuedBytes int

	// Receiving says that the peer has a connection to this member.
	Receiving                       bool
	ReceivedBytes, ReceivedMessages uint64
	// TotalReceivedBytes is what came on all connections of the peer, ReceiveFailures how
	// many of them ended over what could not be understood.
	TotalReceivedBytes, ReceiveFailures uint64
}

// Peers lists the peers set, by id.
func (t *Transport) Peers() []PeerState {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]PeerState, 0, len(t.peers))
	for id, p := range t.peers {
		s := p.state()
		if sum := t.totals[id]; sum != nil {
			s.TotalReceivedBytes, s.ReceiveFailures = sum.bytes.Load(), sum.failures.Load()
		}
		if in := t.inbound[id]; in != nil {
			s.Receiving = true
			s.ReceivedBytes, s.ReceivedMessages = in.bytes.Load(), in.messages.Load()
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b PeerState) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func (p *peer) state() PeerState {
	p.mu.Lock()
	s := PeerState{ID: p.id, Addr: p.addr, Connected: p.connected, Since: p.since, LastError: p.lastErr, RTTs: &p.rtts, Disconnects: p.disconnects}
	p.mu.Unlock()
	s.RTT = time.Duration(p.rtt.Load())
	s.SentBytes, s.SentMessages = p.sentBytes.Load(), p.sentMessages.Load()
	s.QueuedMessages, s.QueuedBytes, s.DroppedMessages = p.queue.stats()
	return s
}

// A ping carries the sender's own clock, which comes back in the pong.
func encodePing(sent time.Duration) []byte {
	return binary.LittleEndian.AppendUint64(nil, uint64(sent))
}

func decodePing(b []byte) (time.Duration, bool) {
	if len(b) != 8 {
		return 0, false
	}
	return time.Duration(binary.LittleEndian.Uint64(b)), true
}
