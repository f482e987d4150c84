package mvcc

// concatCRC is the CRC-32C of two pieces of data one after the other, of the CRC-32C
// of each and the length of the second. A checksum is a polynomial over GF(2) modulo
// Castagnoli's; data that follow multiply what came before by x once for each bit
// (Adler's zlib, crc32_combine).
func concatCRC(first, second uint32, size uint32) uint32 {
	power := uint32(1 << (31 - 8)) // x^8: one byte; the highest bit is x^0
	for ; size > 0; size >>= 1 {
		if size&1 == 1 {
			first = multiply(first, power)
		}
		power = multiply(power, power)
	}
	return first ^ second
}

// multiply multiplies two polynomials modulo Castagnoli's.
func multiply(a, b uint32) (product uint32) {
	const castagnoli = 0x82f63b78
	for bit := uint32(1 << 31); bit > 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		low := b & 1
		b >>= 1
		if low == 1 {
			b ^= castagnoli
		}
	}
	return product
}
