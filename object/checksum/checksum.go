// Package checksum is the checksums that S3 knows: their names, how they are computed, and what
// the checksums of parts say of the whole. It holds no state; everything in it may be called
// from any goroutine.
package checksum

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"

	"github.com/minio/crc64nvme"
)

// Algorithm names a checksum of S3.
type Algorithm uint8

// The algorithms. Their numbers are part of what is stored.
const (
	None Algorithm = iota
	CRC32
	CRC32C
	CRC64NVME
	SHA1
	SHA256
)

// Last is the algorithm with the greatest number.
const Last = SHA256

// names are the algorithms as S3 spells them, in x-amz-checksum-algorithm and in XML.
var names = [...]string{None: "", CRC32: "CRC32", CRC32C: "CRC32C", CRC64NVME: "CRC64NVME", SHA1: "SHA1", SHA256: "SHA256"}

// sizes are the lengths of the raw values, in bytes.
var sizes = [...]int{None: 0, CRC32: crc32.Size, CRC32C: crc32.Size, CRC64NVME: crc64nvme.Size, SHA1: sha1.Size, SHA256: sha256.Size}

// String is the name as S3 spells it, "" for None and for what is no algorithm.
func (a Algorithm) String() string {
	if a > Last {
		return ""
	}
	return names[a]
}

// Size is the length of a raw value in bytes, 0 for None and for what is no algorithm.
func (a Algorithm) Size() int {
	if a > Last {
		return 0
	}
	return sizes[a]
}

// Combines reports whether the values of parts, with their lengths, give that of the whole, as
// Combine needs it: true of the CRCs.
func (a Algorithm) Combines() bool { return a >= CRC32 && a <= CRC64NVME }

// Parse finds the algorithm of a name, which is spelled as S3 does, in upper case. None has
// no name.
func Parse(name string) (a Algorithm, ok bool) {
	for i, n := range names {
		if n == name && n != "" {
			return Algorithm(i), true
		}
	}
	return None, false
}

// castagnoli is the table of CRC-32C, which the library computes by instruction where it can.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// New begins a checksum, whose Sum appends the raw value, big-endian for the CRCs, as S3 has
// it under base64. It returns nil for None and for what is no algorithm.
func New(a Algorithm) hash.Hash {
	switch a {
	case CRC32:
		return crc32.NewIEEE()
	case CRC32C:
		return crc32.New(castagnoli)
	case CRC64NVME:
		return crc64nvme.New()
	case SHA1:
		return sha1.New()
	case SHA256:
		return sha256.New()
	default:
		return nil
	}
}

// Composite is the checksum of the raw checksums of an object's parts, in their order: what S3
// shows with -N behind it. It returns nil for None and for what is no algorithm.
func Composite(a Algorithm, parts [][]byte) []byte {
	h := New(a)
	if h == nil {
		return nil
	}
	for _, p := range parts {
		h.Write(p) // a hash never fails
	}
	return h.Sum(nil)
}

// Combine returns the checksum of two pieces one after the other, of their raw checksums and the
// length of the second in bytes. It returns nil if a does not combine, if either value is not
// of its Size, or if the length is negative.
func Combine(a Algorithm, first, second []byte, secondLen int64) []byte {
	if !a.Combines() || len(first) != a.Size() || len(second) != a.Size() || secondLen < 0 {
		return nil
	}
	if a == CRC64NVME {
		v := nvme.shift(binary.BigEndian.Uint64(first), secondLen) ^ binary.BigEndian.Uint64(second)
		return binary.BigEndian.AppendUint64(nil, v)
	}
	ring := &ieee
	if a == CRC32C {
		ring = &iscsi
	}
	v := ring.shift(uint64(binary.BigEndian.Uint32(first)), secondLen) ^ uint64(binary.BigEndian.Uint32(second))
	return binary.BigEndian.AppendUint32(nil, uint32(v))
}
