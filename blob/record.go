package blob

import (
	"encoding/binary"
	"hash/crc32"

	"chainfire/object"
)

const (
	recordHeaderBytes = 64
	// PieceBytes is the unit of checking: each piece of an extent, of so many bytes but for the
	// last, has a checksum of its own.
	PieceBytes = 64 << 10

	maxPieces    = object.MaxExtent / PieceBytes
	maxHeadBytes = recordHeaderBytes + 4*maxPieces

	recordMagic = "CFXT"
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// kind is what a record is.
type kind uint32

const (
	// kindExtent is an extent.
	kindExtent kind = 1 + iota
	// kindSeal says that all before it was durable.
	kindSeal
	// kindEnd is the last record of a segment.
	kindEnd
	// kindVoid is bytes that are no records, between records that are whole: what a crash left of
	// writes that nobody knows to have been synced.
	kindVoid
)

// record is the head of a record, before its bytes.
type record struct {
	kind kind
	id   object.ExtentID
	// length is that of the bytes after the head, crc their checksum.
	length, crc uint32
	// durable is up to where the segment was known to be on disk when the record was written:
	// the proof that what is bad before was not just cut short.
	durable int64
	// pieces are the checksums of the pieces.
	pieces []uint32
}

// newExtent makes the record of an extent.
func newExtent(id object.ExtentID, data []byte) record {
	r := record{kind: kindExtent, id: id, length: uint32(len(data)), crc: crc32.Checksum(data, castagnoli)}
	for at := 0; at < len(data); at += PieceBytes {
		r.pieces = append(r.pieces, crc32.Checksum(data[at:min(len(data), at+PieceBytes)], castagnoli))
	}
	return r
}

func pieceCount(length uint32) int { return int((int64(length) + PieceBytes - 1) / PieceBytes) }

func (r *record) headSize() int64 { return recordHeaderBytes + 4*int64(len(r.pieces)) }

// size is the bytes of the whole record.
func (r *record) size() int64 { return r.headSize() + int64(r.length) }

// appendTo appends the head as it is at an offset of a segment.
func (r *record) appendTo(b []byte, seed uint32, segment uint64, offset int64) []byte {
	at := len(b)
	b = append(b, make([]byte, recordHeaderBytes)...)
	h := b[at:]
	copy(h[4:], recordMagic)
	le.PutUint64(h[8:], segment)
	le.PutUint32(h[16:], uint32(offset))
	le.PutUint32(h[20:], uint32(r.kind))
	le.PutUint32(h[24:], r.length)
	le.PutUint32(h[28:], r.crc)
	le.PutUint64(h[32:], r.id.Body.Lease)
	le.PutUint32(h[40:], r.id.Body.N)
	le.PutUint32(h[44:], r.id.N)
	le.PutUint32(h[48:], uint32(r.durable))
	for _, crc := range r.pieces {
		b = le.AppendUint32(b, crc)
	}
	le.PutUint32(b[at:], crc32.Update(seed, castagnoli, b[at+4:]))
	return b
}

// decodeRecord reads a head that was made for an offset of a segment. ok is false for anything
// else.
func decodeRecord(b []byte, seed uint32, segment uint64, offset int64) (r record, ok bool) {
	if len(b) < recordHeaderBytes || string(b[4:8]) != recordMagic ||
		le.Uint64(b[8:]) != segment || int64(le.Uint32(b[16:])) != offset {
		return r, false
	}
	r = record{
		kind:   kind(le.Uint32(b[20:])),
		length: le.Uint32(b[24:]),
		crc:    le.Uint32(b[28:]),
		id: object.ExtentID{
			Body: object.BodyID{Lease: le.Uint64(b[32:]), N: le.Uint32(b[40:])},
			N:    le.Uint32(b[44:]),
		},
		durable: int64(le.Uint32(b[48:])),
	}
	size := recordHeaderBytes
	switch r.kind {
	case kindExtent:
		if r.length == 0 || r.length > object.MaxExtent {
			return r, false
		}
		size += 4 * pieceCount(r.length)
	case kindSeal, kindEnd:
		if r.length != 0 {
			return r, false
		}
	case kindVoid:
	default:
		return r, false
	}
	if len(b) < size || le.Uint32(b) != crc32.Update(seed, castagnoli, b[4:size]) {
		return r, false
	}
	for at := recordHeaderBytes; at < size; at += 4 {
		r.pieces = append(r.pieces, le.Uint32(b[at:]))
	}
	return r, true
}

// checkPieces compares bytes that begin with a piece with the checksums, and returns where the
// first bad piece is, or -1.
func (r *record) checkPieces(first int, data []byte) int {
	for at := 0; at < len(data); at += PieceBytes {
		p := data[at:min(len(data), at+PieceBytes)]
		if crc32.Checksum(p, castagnoli) != r.pieces[first+at/PieceBytes] {
			return at
		}
	}
	return -1
}
