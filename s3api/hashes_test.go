package s3api

import (
	"bytes"
	"crypto/md5"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"chainfire/object"
)

func TestHashesOfBodiesThatComeAtOnceAreThoseOfEachAlone(t *testing.T) {
	var h hashes
	defer h.close()
	var work sync.WaitGroup
	for i := range 40 {
		work.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(i)))
			for range 20 {
				b := make([]byte, rng.IntN(4*object.MaxInline))
				for at := range b {
					b[at] = byte(rng.Uint32())
				}
				m := h.md5(int64(len(b)))
				for from := b; len(from) > 0; {
					n := min(1+rng.IntN(50_000), len(from))
					m.Write(from[:n])
					from = from[n:]
				}
				// Some are given up halfway.
				if want := md5.Sum(b); rng.IntN(4) > 0 && !bytes.Equal(m.Sum(nil), want[:]) {
					t.Errorf("the MD5 of %d bytes is %x, not %x", len(b), m.Sum(nil), want)
				}
				h.giveBack(m)
			}
		})
	}
	work.Wait()
	if n := len(h.idle); n == 0 || n > 40 {
		t.Errorf("%d hashes are idle, of at most 40 that were in use at once", n)
	}
}

func TestHashesThatWereGivenBackUnusedStillHash(t *testing.T) {
	const length = 2 * object.MaxInline
	b := make([]byte, length)
	want := md5.Sum(b)
	for unused := range 6 {
		var h hashes
		defer h.close()
		done := make(chan []byte, 1)
		go func() {
			first := h.md5(length)
			first.Sum(nil) // the lanes know it
			h.giveBack(first)
			for i := range unused {
				m := h.md5(length)
				m.Write(b[:i]) // less than what the lanes hear of
				h.giveBack(m)
			}
			m := h.md5(length)
			defer h.giveBack(m)
			m.Write(b)
			done <- m.Sum(nil)
		}()
		select {
		case have := <-done:
			if !bytes.Equal(have, want[:]) {
				t.Errorf("after %d that were given back unused the MD5 is %x, not %x", unused, have, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("after %d that were given back unused it hangs", unused)
		}
	}
}
