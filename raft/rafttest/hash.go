package rafttest

import (
	"encoding/binary"
	"math/bits"
)

// hash sums up numbers in their order: a few instructions each, as it is fed
// with everything that happens.
type hash uint64

const (
	hashSeed  = 0x9e3779b97f4a7c15
	hashPrime = 0xff51afd7ed558ccd
)

func newHash() hash { return hashSeed }

func (h *hash) add(v uint64) {
	*h = hash(bits.RotateLeft64(uint64(*h)^v*hashSeed, 29) * hashPrime)
}

func (h *hash) addBytes(b []byte) {
	h.add(uint64(len(b)))
	for len(b) >= 8 {
		h.add(binary.LittleEndian.Uint64(b))
		b = b[8:]
	}
	var rest uint64
	for i, c := range b {
		rest |= uint64(c) << (8 * i)
	}
	h.add(rest)
}
