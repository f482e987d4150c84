package transport

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"
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
	// RTT is the time the last ping took there and back; 0 is not known.
	RTT time.Duration

	SentBytes, SentMessages uint64
	// DroppedMessages counts what was not sent: no connection, or no room.
	DroppedMessages uint64
	// QueuedMessages and QueuedBytes wait to be sent now.
	QueuedMessages, QueuedBytes int

	// Receiving says that the peer has a connection to this member.
	Receiving                       bool
	ReceivedBytes, ReceivedMessages uint64
}

// Peers lists the peers set, by id.
func (t *Transport) Peers() []PeerState {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]PeerState, 0, len(t.peers))
	for id, p := range t.peers {
		s := p.state()
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
	s := PeerState{ID: p.id, Addr: p.addr, Connected: p.connected, Since: p.since, LastError: p.lastErr}
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
