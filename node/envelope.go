package node

import (
	"encoding/binary"
	"errors"
	"fmt"

	"chainfire/raft"
	"chainfire/replica"
	"chainfire/transport"
)

// envelopeForward is the kind of envelope that carries replica.Envelope.
const envelopeForward uint8 = 1

var errEnvelope = errors.New("malformed envelope")

// encodeEnvelope writes, all numbers as uvarints:
//
//	term nonce batch answer(0|1)
//	proposals { id kind length data }*  codes { code }*
//
// each list with its count before it.
func encodeEnvelope(e *replica.Envelope) []byte {
	size := 64 + len(e.Codes)
	for i := range e.Proposals {
		size += 24 + len(e.Proposals[i].Data)
	}
	b := make([]byte, 0, size)
	for _, v := range [...]uint64{e.Term, e.Nonce, e.Batch} {
		b = binary.AppendUvarint(b, v)
	}
	var answer byte
	if e.Answer {
		answer = 1
	}
	b = append(b, answer)
	b = binary.AppendUvarint(b, uint64(len(e.Proposals)))
	for i := range e.Proposals {
		p := &e.Proposals[i]
		b = binary.AppendUvarint(b, p.ID)
		b = append(b, byte(p.Kind))
		b = binary.AppendUvarint(b, uint64(len(p.Data)))
		b = append(b, p.Data...)
	}
	b = binary.AppendUvarint(b, uint64(len(e.Codes)))
	for _, c := range e.Codes {
		b = append(b, byte(c))
	}
	return b
}

type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.bytes(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

// count reads the length of a list whose items take at least size bytes each.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if r.bad || n > uint64(len(r.b)/size) {
		r.bad = true
		return 0
	}
	return int(n)
}

// decodeEnvelope decodes what encodeEnvelope made. Data aliases b.
func decodeEnvelope(from uint64, b []byte) (replica.Envelope, error) {
	r := reader{b: b}
	e := replica.Envelope{From: from, Term: r.uvarint(), Nonce: r.uvarint(), Batch: r.uvarint()}
	e.Answer = r.byte() == 1
	for range r.count(3) {
		p := replica.Proposal{ID: r.uvarint(), Kind: replica.Kind(r.byte())}
		p.Data = r.bytes(r.uvarint())
		if p.Kind > replica.Conf {
			r.bad = true
		}
		if r.bad {
			break
		}
		e.Proposals = append(e.Proposals, p)
	}
	for range r.count(1) {
		e.Codes = append(e.Codes, replica.Code(r.byte()))
	}
	if r.bad || len(r.b) > 0 {
		return replica.Envelope{}, fmt.Errorf("%w of %d bytes from member %d", errEnvelope, len(b), from)
	}
	return e, nil
}

func (n *Node) sendEnvelope(e replica.Envelope) {
	if e.To == raft.None {
		return
	}
	err := n.streams.SendEnvelope(e.To, transport.Envelope{Kind: envelopeForward, Payload: encodeEnvelope(&e)})
	if err != nil {
		// The batch is sent again when the connection is back, or after a while.
		n.log.Debug("forward not sent", "to", e.To, "batch", e.Batch, "err", err)
	}
}
