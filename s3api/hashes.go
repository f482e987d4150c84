package s3api

import (
	"crypto/md5"
	"hash"
	"sync"

	md5simd "github.com/minio/md5-simd"

	"chainfire/object"
)

// hashes makes the MD5s that ETags are. Those of long bodies that come at the same time are
// computed side by side, in the lanes of one vector unit: MD5 is most of what such a body costs.
// Its methods may be called from any goroutine.
type hashes struct {
	once  sync.Once
	lanes md5simd.Server
}

// md5 makes a hash for a body of so many bytes. It is closed by closeHash.
func (h *hashes) md5(length int64) hash.Hash {
	if length <= object.MaxInline {
		return md5.New()
	}
	h.once.Do(func() { h.lanes = md5simd.NewServer() })
	return h.lanes.NewHash()
}

// close ends what computes. No hash is in use any more, and none is made.
func (h *hashes) close() {
	h.once.Do(func() {})
	if h.lanes != nil {
		h.lanes.Close()
	}
}

// closeHash gives back what a hash has of the lanes. To be called once.
func closeHash(h hash.Hash) {
	if lane, ok := h.(md5simd.Hasher); ok {
		lane.Close()
	}
}
