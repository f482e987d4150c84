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
	// single computes each by itself: the code of the lanes keeps no frame pointers, by which an
	// execution trace walks the stack, so that one would end the process.
	single bool

	mu    sync.Mutex
	lanes md5simd.Server
	// idle are those that were given back. They are used again: a hash that is closed leaves
	// traces in the lanes, which grow slower with each.
	idle []md5simd.Hasher
}

// md5 makes a hash for a body of so many bytes.
func (h *hashes) md5(length int64) hash.Hash {
	if h.single || length <= object.MaxInline {
		return md5.New()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.idle); n > 0 {
		lane := h.idle[n-1]
		h.idle = h.idle[:n-1]
		return lane
	}
	if h.lanes == nil {
		h.lanes = md5simd.NewServer()
	}
	return h.lanes.NewHash()
}

// giveBack takes a hash that nobody uses any more.
func (h *hashes) giveBack(hash hash.Hash) {
	lane, ok := hash.(md5simd.Hasher)
	if !ok {
		return
	}
	// The lanes hear of a reset only with the next thing that wakes them, and block who comes to them
	// with three unheard. A sum wakes them.
	lane.Sum(nil)
	lane.Reset()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.idle = append(h.idle, lane)
}

// close ends what computes. All hashes were given back.
func (h *hashes) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, lane := range h.idle {
		lane.Close()
	}
	if h.lanes != nil {
		h.lanes.Close()
	}
}
