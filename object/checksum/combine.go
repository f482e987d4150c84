package checksum

import "hash/crc32"

// A CRC is the remainder of its bytes, taken as a polynomial over GF(2), by a polynomial of the
// algorithm. The remainder of two pieces is therefore that of the first, times x to the number
// of bits of the second, plus that of the second. What a CRC is begun and ended with, all ones,
// cancels out in that sum.

// ring is the polynomials modulo that of one CRC, in the order of bits of the reflected CRCs:
// the top bit of a value is its constant term.
type ring struct {
	poly, one uint64
	// bytes holds x to the 8*2^k, for each k.
	bytes [63]uint64
}

// The rings of the algorithms that combine. They are never changed.
var (
	ieee  = newRing(crc32.IEEE, 32)
	iscsi = newRing(crc32.Castagnoli, 32)
	nvme  = newRing(0x9a6c9329ac4bc9b5, 64)
)

func newRing(poly uint64, width uint) ring {
	r := ring{poly: poly, one: 1 << (width - 1)}
	r.bytes[0] = r.one >> 8
	for k := 1; k < len(r.bytes); k++ {
		r.bytes[k] = r.times(r.bytes[k-1], r.bytes[k-1])
	}
	return r
}

// times multiplies two polynomials.
func (r *ring) times(a, b uint64) uint64 {
	var product uint64
	for term := r.one; term != 0; term >>= 1 {
		if a&term != 0 {
			product ^= b
		}
		if b&1 == 1 {
			b = b>>1 ^ r.poly
		} else {
			b >>= 1
		}
	}
	return product
}

// shift multiplies a CRC by x to the number of bits in n bytes, n not negative.
func (r *ring) shift(crc uint64, n int64) uint64 {
	for k := 0; n > 0; k, n = k+1, n>>1 {
		if n&1 == 1 {
			crc = r.times(r.bytes[k], crc)
		}
	}
	return crc
}
