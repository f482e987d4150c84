package test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var s3FaultsFlag = flag.Int("s3-fault-rounds", 0, "rounds of TestS3WhatIsAcknowledgedOutlivesFaults; 0 is 4, or 1 with -short")

const (
	s3Workers = 6
	// workTime is for how long a worker waits, where members come back soon.
	workTime = 20 * time.Second
)

// s3Object is what an object may hold: nothing, or bytes that follow from a seed.
type s3Object struct {
	there bool
	seed  uint64
	size  int
}

func (o s3Object) String() string {
	if !o.there {
		return "nothing"
	}
	return fmt.Sprintf("%d bytes of seed %d", o.size, o.seed)
}

func (o s3Object) bytes() []byte {
	b := make([]byte, o.size)
	var seed [32]byte
	for i := range 8 {
		seed[i] = byte(o.seed >> (8 * i))
	}
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	return b
}

// s3Work is workers that put, copy, complete and delete objects of their own, and know of
// each what it holds: one thing, or one of several where an answer did not come. Those they
// leave alone from then on, since what was lost may happen late.
type s3Work struct {
	t      *testing.T
	s      *s3Service
	client *leanS3
	seed   uint64
	// within is when a worker takes its request for lost.
	within time.Duration
	stop   chan struct{}
	wg     sync.WaitGroup
	// acked counts the writes that were acknowledged, unknown those without an answer, cut
	// the uploads that their client left in the middle.
	acked, unknown, cut, turn atomic.Int64

	mu      sync.Mutex
	objects map[string][]s3Object
}

// TestS3WhatIsAcknowledgedOutlivesFaults puts, uploads in parts, copies, replaces and
// deletes objects at all members, some uploads cut in the middle, while members are killed,
// two or three at once too, and paused. Then every object is whole at every member, as it
// was acknowledged, and the listings are the same.
func TestS3WhatIsAcknowledgedOutlivesFaults(t *testing.T) {
	t.Parallel()
	rounds, seed := *s3FaultsFlag, cmp.Or(*seedFlag, rand.Uint64())
	switch {
	case rounds == 0 && testing.Short():
		rounds = 1
	case rounds == 0:
		rounds = 4
	}
	t.Logf("seed %d, %d rounds", seed, rounds)
	s := newS3(t)
	w, end := startS3Work(t, s, seed, workTime)
	rng := rand.New(rand.NewPCG(seed, 99))
	for n := range rounds {
		w.awaitWrites(20)
		w.fault(rng, n)
	}
	w.awaitWrites(20)
	end()
	w.verify()
	t.Logf("%d objects, %d writes acknowledged, %d without an answer, %d uploads cut", len(w.objects), w.acked.Load(), w.unknown.Load(), w.cut.Load())
}

// startS3Work has workers begin in a bucket of their own. end has them finish what they are at.
func startS3Work(t *testing.T, s *s3Service, seed uint64, within time.Duration) (w *s3Work, end func()) {
	t.Helper()
	w = &s3Work{t: t, s: s, client: newLeanS3(), seed: seed, within: within, stop: make(chan struct{}), objects: map[string][]s3Object{}}
	if _, err := w.client.must(t.Context(), s.endpoints[0], http.MethodPut, "/faults"); err != nil {
		t.Fatal(err)
	}
	for i := range s3Workers {
		w.wg.Go(func() { w.work(i) })
	}
	end = sync.OnceFunc(func() { close(w.stop); w.wg.Wait() })
	t.Cleanup(end)
	return w, end
}

// fault kills or pauses members, lets the others work, and brings them back.
func (w *s3Work) fault(rng *rand.Rand, n int) {
	w.t.Helper()
	if w.s.cluster == nil {
		return
	}
	all := slices.Clone(w.s.cluster.members)
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	switch p := rng.IntN(10); {
	case p < 5:
		w.t.Logf("round %d: kill %s", n, all[0].name)
		all[0].kill()
		w.awaitWrites(10 + rng.IntN(20))
		all[0].launch()
	case p < 7:
		w.t.Logf("round %d: kill %d members at once", n, p-3)
		for _, m := range all[:p-3] {
			m.kill()
		}
		launch(all[:p-3])
	default:
		w.t.Logf("round %d: pause %s", n, all[0].name)
		w.signal(all[0], syscall.SIGSTOP)
		w.awaitWrites(10)
		w.signal(all[0], syscall.SIGCONT)
	}
	w.s.awaitServing(w.t)
}

func (w *s3Work) signal(m *member, s syscall.Signal) {
	w.t.Helper()
	if err := m.proc.signal(s); err != nil {
		w.t.Fatal(err)
	}
}

func (w *s3Work) awaitWrites(n int) {
	w.t.Helper()
	from := w.acked.Load()
	await(w.t, fmt.Sprintf("%d more acknowledged writes", n), 4*patience, func(context.Context) error {
		if have := w.acked.Load() - from; have < int64(n) {
			return fmt.Errorf("%d writes", have)
		}
		return nil
	})
}

func (w *s3Work) endpoint() string { return w.s.endpoint(int(w.turn.Add(1))) }

// work is one worker's.
func (w *s3Work) work(id int) {
	rng := rand.New(rand.NewPCG(w.seed, uint64(id)))
	for n := 0; ; n++ {
		select {
		case <-w.stop:
			return
		default:
		}
		name := func() string { return fmt.Sprintf("%d/%d/%d", id, n/10, rng.IntN(4)) }
		key, source := name(), name()
		w.mu.Lock()
		known, copied := w.objects[key], w.objects[source]
		w.mu.Unlock()
		if len(known) > 1 {
			continue // an answer did not come
		}
		now := s3Object{}
		if len(known) == 1 {
			now = known[0]
		}
		var next s3Object
		var a s3Answer
		var err error
		if len(copied) == 1 && copied[0].there && source != key && rng.IntN(8) == 0 {
			next = copied[0]
			a, err = w.copy(source, key)
		} else {
			next, a, err = w.request(rng, key, now)
		}
		switch {
		case errors.Is(err, syscall.ECONNREFUSED) && !w.inParts(next):
			// Nobody has heard of it.
		case err != nil || a.status >= 500:
			w.unknown.Add(1)
			w.set(key, now, next)
		case a.ok() != nil:
			w.t.Errorf("%s, which holds %v, was to hold %v: %s", key, now, next, a.refusal())
			return
		default:
			w.acked.Add(1)
			w.set(key, next)
		}
	}
}

func (w *s3Work) set(key string, may ...s3Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.objects[key] = may
}

// copy copies an object to another key.
func (w *s3Work) copy(from, to string) (s3Answer, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), w.within)
	defer cancel()
	return w.client.do(ctx, w.endpoint(), http.MethodPut, "/faults/"+to, nil, "X-Amz-Copy-Source", "/faults/"+from)
}

// request asks for one change of an object, and returns what it is then to hold.
func (w *s3Work) request(rng *rand.Rand, key string, now s3Object) (s3Object, s3Answer, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), w.within)
	defer cancel()
	path := "/faults/" + key
	sizes := []int{0, 100, 64 << 10, 64<<10 + 1, 300_000, 2 << 20}
	next := s3Object{true, rng.Uint64(), sizes[rng.IntN(len(sizes))]}
	switch p := rng.IntN(100); {
	case p < 8 && now.there:
		a, err := w.client.do(ctx, w.endpoint(), http.MethodDelete, path, nil)
		return s3Object{}, a, err
	case p < 20 && now.there:
		// A copy of it onto itself with new metadata: it holds the same bytes.
		a, err := w.client.do(ctx, w.endpoint(), http.MethodPut, path, nil,
			"X-Amz-Copy-Source", "/faults/"+key, "X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-N", fmt.Sprint(next.seed))
		return now, a, err
	case p < 30:
		w.cutShort(rng, path, next)
		a, err := w.client.do(ctx, w.endpoint(), http.MethodPut, path, next.bytes())
		return next, a, err
	case p < 38:
		next.size = partedSize
		b := next.bytes()
		a, err := w.client.upload(ctx, w.endpoint, path, [][]byte{b[:5<<20], b[5<<20:]})
		return next, a, err
	}
	a, err := w.client.do(ctx, w.endpoint(), http.MethodPut, path, next.bytes())
	return next, a, err
}

// partedSize is the size of objects that are uploaded in parts, by several requests.
const partedSize = 5<<20 + 1234

func (w *s3Work) inParts(o s3Object) bool { return o.size == partedSize }

var errCut = errors.New("the client leaves")

// cutShort begins an upload and leaves in the middle: nothing comes of it.
func (w *s3Work) cutShort(rng *rand.Rand, path string, o s3Object) {
	o.size = 1 << 20
	b := o.bytes()
	sum := sha256.Sum256(b)
	ctx, cancel := context.WithTimeout(w.t.Context(), w.within)
	defer cancel()
	part := io.MultiReader(bytes.NewReader(b[:rng.IntN(len(b))]), failing{})
	a, err := w.client.send(ctx, w.endpoint(), http.MethodPut, path, part, int64(len(b)), hex.EncodeToString(sum[:]))
	if err == nil && a.ok() == nil {
		w.t.Errorf("%s: an upload that was cut in the middle was acknowledged", path)
	}
	w.cut.Add(1)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errCut }

// verify reads everything from every member.
func (w *s3Work) verify() {
	w.t.Helper()
	w.s.awaitServing(w.t)
	if w.s.cluster != nil {
		w.s.cluster.awaitVoters(3, 3)
	}
	settled := map[string]s3Object{}
	for i, e := range w.s.endpoints {
		for key, may := range w.objects {
			have := w.read(e, key, may)
			if i > 0 && have != settled[key] {
				w.t.Errorf("%s holds %v at %s, and %v at %s", key, have, e, settled[key], w.s.endpoints[0])
			}
			settled[key] = have
		}
		w.sameListing(e, settled)
	}
}

// read reads an object, which must hold one of the things that it may.
func (w *s3Work) read(endpoint, key string, may []s3Object) (found s3Object) {
	w.t.Helper()
	await(w.t, key+" at "+endpoint, patience, func(ctx context.Context) error {
		a, err := w.client.do(ctx, endpoint, http.MethodGet, "/faults/"+key, nil)
		if err == nil && a.status >= 500 {
			err = a.ok() // a member that has just come back may not reach the others yet
		}
		if err != nil {
			return err
		}
		for _, o := range may {
			if o.there == (a.status == http.StatusOK) && (!o.there || bytes.Equal(o.bytes(), a.body)) {
				found = o
				return nil
			}
		}
		return &hopeless{fmt.Errorf("status %d with %d bytes: it may hold %v", a.status, len(a.body), may)}
	})
	return found
}

// sameListing says how the listing at a member differs from what is there.
func (w *s3Work) sameListing(endpoint string, want map[string]s3Object) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	have, err := w.client.all(ctx, endpoint, "faults", "")
	if err != nil {
		w.t.Fatal(err)
	}
	var wrong []string
	for key, o := range want {
		size, listed := have[key]
		if listed != o.there || listed && size != int64(o.size) {
			wrong = append(wrong, fmt.Sprintf("%s holds %v; listed %v with %d bytes", key, o, listed, size))
		}
		delete(have, key)
	}
	for key := range have {
		wrong = append(wrong, key+" is listed, and nobody wrote it")
	}
	if len(wrong) > 0 {
		w.t.Errorf("the listing at %s: %s", endpoint, strings.Join(wrong, "; "))
	}
}
