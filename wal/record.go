package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"chainfire/raft"
)

const (
	recordHeaderBytes = 40
	// MaxBatchBytes bounds the encoding of one batch: the sum of its entries'
	// data and 13 bytes for each, and at most 61 bytes more.
	MaxBatchBytes = 64 << 20

	// maxIndex bounds indexes and sequences, so that adding to one cannot wrap.
	maxIndex = 1 << 62

	bodyHardState = 1 << 0
	bodyFloor     = 1 << 1
	bodyEntries   = 1 << 2
	bodyKnown     = bodyHardState | bodyFloor | bodyEntries

	hardStateBytes   = 24
	floorBytes       = 8
	entriesHeadBytes = 20
	entryHeadBytes   = 13
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var le = binary.LittleEndian

// recordHeader stands before every record's body. It has a checksum of its own,
// so that it can be recognised where the chain before it is broken.
type recordHeader struct {
	length  uint32
	segment uint64
	seq     uint64
	// durable is the highest sequence that was durable when this record was
	// written: the proof that a record up to it, if bad, has rotted.
	durable uint64
	offset  uint32
	// chain is the checksum of this record, continued from the one before.
	chain uint32
}

// encode writes the header in front of the body, b[recordHeaderBytes:], and
// returns the chain for the next record.
func (h recordHeader) encode(b []byte, seed, chain uint32) uint32 {
	le.PutUint32(b[4:], h.length)
	le.PutUint64(b[8:], h.segment)
	le.PutUint64(b[16:], h.seq)
	le.PutUint64(b[24:], h.durable)
	le.PutUint32(b[32:], h.offset)
	chain = chained(chain, b[:recordHeaderBytes], b[recordHeaderBytes:])
	le.PutUint32(b[36:], chain)
	le.PutUint32(b, crc32.Update(seed, castagnoli, b[4:recordHeaderBytes]))
	return chain
}

// chained is the checksum of a record after the checksum of the one before it.
func chained(chain uint32, header, body []byte) uint32 {
	return crc32.Update(crc32.Update(chain, castagnoli, header[4:36]), castagnoli, body)
}

// decodeRecordHeader reports whether b starts with a header made for this offset
// of this segment.
func decodeRecordHeader(b []byte, seed uint32, segment uint64, offset int64) (recordHeader, bool) {
	h := recordHeader{
		length:  le.Uint32(b[4:]),
		segment: le.Uint64(b[8:]),
		seq:     le.Uint64(b[16:]),
		durable: le.Uint64(b[24:]),
		offset:  le.Uint32(b[32:]),
		chain:   le.Uint32(b[36:]),
	}
	ok := h.segment == segment && int64(h.offset) == offset && h.length <= MaxBatchBytes &&
		h.durable < h.seq &&
		le.Uint32(b) == crc32.Update(seed, castagnoli, b[4:recordHeaderBytes])
	return h, ok
}

// body is what one record holds: one batch, or nothing (a seal).
type body struct {
	hs       *raft.HardState
	hasFloor bool
	floor    uint64
	// prevTerm is the term of the entry before the first.
	prevTerm uint64
	entries  []raft.Entry
}

func (b *body) seal() bool { return b.hs == nil && !b.hasFloor && len(b.entries) == 0 }

// size is the length of the encoding.
func (b *body) size() int64 {
	n := int64(1)
	if b.hs != nil {
		n += hardStateBytes
	}
	if b.hasFloor {
		n += floorBytes
	}
	if len(b.entries) > 0 {
		n += entriesHeadBytes
	}
	for i := range b.entries {
		n += entryHeadBytes + int64(len(b.entries[i].Data))
	}
	return n
}

// encode appends the encoding to p.
func (b *body) encode(p []byte) []byte {
	at := len(p)
	p = append(p, 0)
	if b.hs != nil {
		p[at] |= bodyHardState
		p = le.AppendUint64(p, b.hs.Term)
		p = le.AppendUint64(p, b.hs.Vote)
		p = le.AppendUint64(p, b.hs.Commit)
	}
	if b.hasFloor {
		p[at] |= bodyFloor
		p = le.AppendUint64(p, b.floor)
	}
	if len(b.entries) == 0 {
		return p
	}
	p[at] |= bodyEntries
	p = le.AppendUint64(p, b.entries[0].Index)
	p = le.AppendUint64(p, b.prevTerm)
	p = le.AppendUint32(p, uint32(len(b.entries)))
	for i := range b.entries {
		e := &b.entries[i]
		p = append(p, byte(e.Type))
		p = le.AppendUint64(p, e.Term)
		p = le.AppendUint32(p, uint32(len(e.Data)))
		p = append(p, e.Data...)
	}
	return p
}

var errBody = errors.New("record does not follow the format")

// decodeBody reads a record's body. Entries are put into the given slice, their
// data points into p.
func decodeBody(p []byte, entries []raft.Entry) (body, error) {
	var b body
	if len(p) == 0 || p[0]&^bodyKnown != 0 {
		return b, fmt.Errorf("%w: unknown flags", errBody)
	}
	flags := p[0]
	p = p[1:]
	if flags&bodyHardState != 0 {
		if len(p) < hardStateBytes {
			return b, fmt.Errorf("%w: hard state is cut", errBody)
		}
		b.hs = &raft.HardState{Term: le.Uint64(p), Vote: le.Uint64(p[8:]), Commit: le.Uint64(p[16:])}
		p = p[hardStateBytes:]
	}
	if flags&bodyFloor != 0 {
		if len(p) < floorBytes {
			return b, fmt.Errorf("%w: floor is cut", errBody)
		}
		b.hasFloor, b.floor = true, le.Uint64(p)
		p = p[floorBytes:]
	}
	if flags&bodyEntries != 0 {
		var err error
		if p, err = b.decodeEntries(p, entries); err != nil {
			return b, err
		}
	}
	if len(p) > 0 {
		return b, fmt.Errorf("%w: %d bytes too many", errBody, len(p))
	}
	return b, nil
}

// decodeEntries reads the entries and returns what follows them.
func (b *body) decodeEntries(p []byte, entries []raft.Entry) ([]byte, error) {
	if len(p) < entriesHeadBytes {
		return nil, fmt.Errorf("%w: entries are cut", errBody)
	}
	first, count := le.Uint64(p), uint64(le.Uint32(p[16:]))
	b.prevTerm = le.Uint64(p[8:])
	p = p[entriesHeadBytes:]
	if count == 0 || count > uint64(len(p)/entryHeadBytes) || first == 0 || first > maxIndex {
		return nil, fmt.Errorf("%w: %d entries from index %d", errBody, count, first)
	}
	term := b.prevTerm
	for i := range count {
		if len(p) < entryHeadBytes {
			return nil, fmt.Errorf("%w: entry %d is cut", errBody, first+i)
		}
		e := raft.Entry{Index: first + i, Term: le.Uint64(p[1:]), Type: raft.EntryType(p[0])}
		n := uint64(le.Uint32(p[9:]))
		p = p[entryHeadBytes:]
		if n > uint64(len(p)) || e.Term < term {
			return nil, fmt.Errorf("%w: entry %d is cut or goes back in term", errBody, e.Index)
		}
		if n > 0 {
			e.Data = p[:n:n]
		}
		term, p = e.Term, p[n:]
		entries = append(entries, e)
	}
	b.entries = entries
	return p, nil
}
