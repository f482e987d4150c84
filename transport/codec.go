package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"chainfire/raft"
)

// ErrCodec is wrapped around the reason a payload could not be decoded.
var ErrCodec = errors.New("malformed payload")

// Bounds of one Messages frame. They keep what a frame unfolds to in memory in
// proportion to its length; the sender splits its batches by them.
const (
	maxFrameMessages = 1 << 16
	maxFrameEntries  = 1 << 20
	maxConfIDs       = 1 << 16

	minMessageBytes = 5
	minEntryBytes   = 4
)

// The presence bits of a message: a field that is zero takes no bytes.
const (
	hasTerm = 1 << iota
	hasSession
	hasIndex
	hasLogTerm
	hasCommit
	hasRound
	hasHint
	hasHintTerm
	hasApplied
	hasEntries
	hasSnapshot
	isReject
	isTransfer

	allBits = 1<<iota - 1
)

// appendMessages encodes a batch. The caller keeps to the bounds above.
func appendMessages(b []byte, msgs []raft.Message) []byte {
	b = binary.AppendUvarint(b, uint64(len(msgs)))
	for i := range msgs {
		b = appendMessage(b, &msgs[i])
	}
	return b
}

func presence(m *raft.Message) uint16 {
	var p uint16
	for i, v := range numbers(m) {
		if *v != 0 {
			p |= 1 << i
		}
	}
	if len(m.Entries) > 0 {
		p |= hasEntries
	}
	if m.Snapshot != nil {
		p |= hasSnapshot
	}
	if m.Reject {
		p |= isReject
	}
	if m.Transfer {
		p |= isTransfer
	}
	return p
}

// numbers lists the plain fields of a message in the order of their bits.
func numbers(m *raft.Message) [9]*uint64 {
	return [9]*uint64{
		&m.Term, &m.Session, &m.Index, &m.LogTerm, &m.Commit,
		&m.Round, &m.Hint, &m.HintTerm, &m.Applied,
	}
}

func appendMessage(b []byte, m *raft.Message) []byte {
	p := presence(m)
	b = append(b, byte(m.Type))
	b = binary.LittleEndian.AppendUint16(b, p)
	b = binary.AppendUvarint(b, m.From)
	b = binary.AppendUvarint(b, m.To)
	for i, v := range numbers(m) {
		if p&(1<<i) != 0 {
			b = binary.AppendUvarint(b, *v)
		}
	}
	if p&hasEntries != 0 {
		b = appendEntries(b, m)
	}
	if p&hasSnapshot != 0 {
		b = appendSnapshot(b, m.Snapshot)
	}
	return b
}

// appendEntries writes each entry's index and term as a difference: to the
// entry that would follow the one before, and to the term of the one before.
// In an append both are almost always one zero byte.
func appendEntries(b []byte, m *raft.Message) []byte {
	b = binary.AppendUvarint(b, uint64(len(m.Entries)))
	index, term := m.Index, m.LogTerm
	for i := range m.Entries {
		e := &m.Entries[i]
		b = binary.AppendVarint(b, int64(e.Index-(index+1)))
		b = binary.AppendVarint(b, int64(e.Term-term))
		b = append(b, byte(e.Type))
		b = binary.AppendUvarint(b, uint64(len(e.Data)))
		b = append(b, e.Data...)
		index, term = e.Index, e.Term
	}
	return b
}

func appendSnapshot(b []byte, s *raft.SnapshotMeta) []byte {
	b = binary.AppendUvarint(b, s.Index)
	b = binary.AppendUvarint(b, s.Term)
	for _, l := range [][]uint64{s.Conf.Voters, s.Conf.Outgoing, s.Conf.Learners, s.Conf.LearnersNext} {
		b = binary.AppendUvarint(b, uint64(len(l)))
		for _, id := range l {
			b = binary.AppendUvarint(b, id)
		}
	}
	if s.Conf.AutoLeave {
		return append(b, 1)
	}
	return append(b, 0)
}

// sizeBound is an upper bound of what a message takes when encoded.
func sizeBound(m *raft.Message) int {
	const varint = binary.MaxVarintLen64
	n := 3 + 11*varint
	for i := range m.Entries {
		e := &m.Entries[i]
		n += 1 + len(e.Data) + varintLen(uint64(len(e.Data)))
		if i == 0 || e.Index != m.Entries[i-1].Index+1 || e.Term != m.Entries[i-1].Term {
			n += 2 * varint
		} else {
			n += 2
		}
	}
	if len(m.Entries) > 0 {
		n += varint
	}
	if s := m.Snapshot; s != nil {
		ids := len(s.Conf.Voters) + len(s.Conf.Outgoing) + len(s.Conf.Learners) + len(s.Conf.LearnersNext)
		n += (6+ids)*varint + 1
	}
	return n
}

func varintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// decoder reads a payload. The first failure sticks, and everything after it
// reads as zero, so that callers check once.
type decoder struct {
	b       []byte
	err     error
	entries int
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrCodec}, args...)...)
		d.b = nil
	}
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail("payload ends early")
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads the length of a list whose items take at least size bytes each.
func (d *decoder) count(what string, size, limit int) int {
	n := d.uvarint()
	if n > uint64(limit) || n > uint64(len(d.b)/size) {
		d.fail("%d %s in %d bytes", n, what, len(d.b))
		return 0
	}
	return int(n)
}

// decodeMessages decodes a batch. The data of the entries aliases b, which must
// not be used again. It never panics, and what it allocates is bounded by the
// length of b and by maxFrameMessages and maxFrameEntries.
func decodeMessages(b []byte) ([]raft.Message, error) {
	d := &decoder{b: b}
	n := d.count("messages", minMessageBytes, maxFrameMessages)
	msgs := make([]raft.Message, 0, n)
	for range n {
		var m raft.Message
		d.message(&m)
		if d.err != nil {
			return nil, d.err
		}
		msgs = append(msgs, m)
	}
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes after the last message", len(d.b))
	}
	return msgs, d.err
}

func (d *decoder) message(m *raft.Message) {
	m.Type = raft.MessageType(d.byte())
	if d.err == nil && (m.Type < raft.MsgVote || m.Type > raft.MsgReadIndexResp) {
		d.fail("message type %d", m.Type)
		return
	}
	p := uint16(d.byte())
	p |= uint16(d.byte()) << 8
	if p&^uint16(allBits) != 0 {
		d.fail("unknown fields %#x", p)
		return
	}
	m.From, m.To = d.uvarint(), d.uvarint()
	for i, v := range numbers(m) {
		if p&(1<<i) != 0 {
			*v = d.uvarint()
		}
	}
	if p&hasEntries != 0 {
		d.readEntries(m)
	}
	if p&hasSnapshot != 0 {
		m.Snapshot = d.snapshot()
	}
	m.Reject = p&isReject != 0
	m.Transfer = p&isTransfer != 0
}

func (d *decoder) readEntries(m *raft.Message) {
	n := d.count("entries", minEntryBytes, maxFrameEntries-d.entries)
	if n == 0 {
		return
	}
	d.entries += n
	m.Entries = make([]raft.Entry, n)
	index, term := m.Index, m.LogTerm
	for i := range m.Entries {
		e := &m.Entries[i]
		e.Index = index + 1 + uint64(d.varint())
		e.Term = term + uint64(d.varint())
		e.Type = raft.EntryType(d.byte())
		if e.Type > raft.EntryConf {
			d.fail("entry type %d", e.Type)
		}
		if size := d.count("bytes of data", 1, math.MaxInt32); size > 0 {
			// The capacity ends with the data, so that nobody can append into
			// the entry that follows.
			e.Data = d.b[:size:size]
			d.b = d.b[size:]
		}
		if d.err != nil {
			return
		}
		index, term = e.Index, e.Term
	}
}

func (d *decoder) snapshot() *raft.SnapshotMeta {
	s := &raft.SnapshotMeta{Index: d.uvarint(), Term: d.uvarint()}
	for _, l := range []*[]uint64{&s.Conf.Voters, &s.Conf.Outgoing, &s.Conf.Learners, &s.Conf.LearnersNext} {
		n := d.count("member ids", 1, maxConfIDs)
		if n == 0 {
			continue
		}
		*l = make([]uint64, n)
		for i := range *l {
			(*l)[i] = d.uvarint()
		}
	}
	switch v := d.byte(); v {
	case 0, 1:
		s.Conf.AutoLeave = v == 1
	default:
		d.fail("auto-leave is %d", v)
	}
	return s
}
