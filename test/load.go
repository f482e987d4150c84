package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// loadPrefix is where the load keeps its keys.
const loadPrefix = "load/"

// loadOptions configure a load. Zero values mean the defaults named.
type loadOptions struct {
	endpoints []string
	// clients is how many there are. Default 8.
	clients int
	// keys is how many keys they share at a time. Default 5.
	keys int
	// pace is the least time between two operations of one client. Default 4 ms:
	// the clients share their machine with all members.
	pace time.Duration
	// patience is when a client takes an operation for lost. Default 2 s.
	patience time.Duration
	// seed decides what the clients do.
	seed uint64
}

// load is clients at work, each with an etcd client of its own, and the record
// of what they did and saw.
type load struct {
	t     *testing.T
	opts  loadOptions
	start time.Time
	stop  context.CancelFunc
	wg    sync.WaitGroup
	// epoch is part of every key, so that no key's history grows without bound.
	epoch atomic.Int64

	mu  sync.Mutex
	ops []op
}

// startLoad sets clients to work until the load is ended, or the test is.
func startLoad(t *testing.T, o loadOptions) *load {
	t.Helper()
	if o.clients == 0 {
		o.clients = 8
	}
	if o.keys == 0 {
		o.keys = 5
	}
	if o.pace == 0 {
		o.pace = 4 * time.Millisecond
	}
	if o.patience == 0 {
		o.patience = 2 * time.Second
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{t: t, opts: o, start: time.Now(), stop: cancel}
	for i := range o.clients {
		c, err := newClient(o.endpoints...)
		if err != nil {
			t.Fatal(err)
		}
		l.wg.Go(func() {
			defer func() { _ = c.Close() }() // nothing is in flight on it
			l.work(ctx, i, c)
		})
	}
	t.Cleanup(l.end)
	return l
}

// end stops the clients after what they have under way.
func (l *load) end() {
	l.stop()
	l.wg.Wait()
}

// turn lets the clients go on with other keys.
func (l *load) turn() { l.epoch.Add(1) }

// every does something again and again until the context ends.
func every(ctx context.Context, pace time.Duration, do func()) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// work does one operation after the other.
func (l *load) work(ctx context.Context, id int, c *clientv3.Client) {
	rng := rand.New(rand.NewPCG(l.opts.seed, uint64(id)))
	known := map[string]int64{} // the last mod revision seen of each key
	n := 0
	every(ctx, l.opts.pace, func() {
		in := op{
			client: id, kind: opPut,
			key:   fmt.Sprintf("%s%d/%d", loadPrefix, l.epoch.Load(), rng.IntN(l.opts.keys)),
			value: fmt.Sprintf("client %d write %d", id, n),
		}
		switch p := rng.IntN(100); {
		case p < 20:
			in.kind, in.value = opGet, ""
		case p < 40:
			in.kind, in.expect = opSwap, known[in.key]
		case p < 45:
			in.kind, in.value = opDelete, ""
		}
		done := l.do(ctx, c, in)
		if done.unknown == nil {
			known[in.key] = done.leaves().mod
		}
		n++
	})
}

// do runs one operation and records it. It is not cut short when the load ends.
func (l *load) do(ctx context.Context, c *clientv3.Client, o op) op {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.opts.patience)
	defer cancel()
	o.call = time.Since(l.start)
	err := o.request(ctx, c)
	o.answer = time.Since(l.start)
	// Whatever the error says, a write may have been on its way.
	o.unknown = err
	l.mu.Lock()
	l.ops = append(l.ops, o)
	l.mu.Unlock()
	return o
}

// request asks for the operation and fills in the answer.
func (o *op) request(ctx context.Context, c *clientv3.Client) error {
	switch o.kind {
	case opGet:
		r, err := c.Get(ctx, o.key)
		if err != nil {
			return err
		}
		o.seen = firstOf(r.Kvs)
	case opPut:
		r, err := c.Put(ctx, o.key, o.value, clientv3.WithPrevKV())
		if err != nil {
			return err
		}
		o.wrote, o.revision = true, r.Header.GetRevision()
		o.seen = stateOf(r.PrevKv)
	case opDelete:
		r, err := c.Delete(ctx, o.key, clientv3.WithPrevKV())
		if err != nil {
			return err
		}
		o.wrote, o.revision = r.Deleted > 0, r.Header.GetRevision()
		o.seen = firstOf(r.PrevKvs)
	case opSwap:
		r, err := c.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(o.key), "=", o.expect)).
			Then(clientv3.OpPut(o.key, o.value, clientv3.WithPrevKV())).
			Else(clientv3.OpGet(o.key)).
			Commit()
		if err != nil {
			return err
		}
		if len(r.Responses) != 1 {
			return fmt.Errorf("a transaction of one operation has %d answers", len(r.Responses))
		}
		o.wrote, o.revision = r.Succeeded, r.Header.GetRevision()
		if r.Succeeded {
			o.seen = stateOf(r.Responses[0].GetResponsePut().GetPrevKv())
		} else {
			o.seen = firstOf(r.Responses[0].GetResponseRange().GetKvs())
		}
	}
	return nil
}

// record is what happened so far.
func (l *load) record() []op {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ops)
}

// now is the moment on the clock of the record.
func (l *load) now() time.Duration { return time.Since(l.start) }

// acknowledged is how many writes were.
func (l *load) acknowledged() int {
	n := 0
	for _, o := range l.record() {
		if o.wrote {
			n++
		}
	}
	return n
}

// awaitWrites waits until so many more writes are acknowledged that were called
// for from now on.
func (l *load) awaitWrites(n int) {
	l.t.Helper()
	from := l.now()
	await(l.t, fmt.Sprintf("%d more acknowledged writes", n), patience, func(context.Context) error {
		have := 0
		for _, o := range l.record() {
			if o.wrote && o.call >= from {
				have++
			}
		}
		if have < n {
			return fmt.Errorf("%d writes", have)
		}
		return nil
	})
}

// unknown counts the operations without an answer, and returns one of each error.
func (l *load) unknown() (n int, reasons []error) {
	texts := map[string]bool{}
	for _, o := range l.record() {
		if o.unknown == nil {
			continue
		}
		n++
		if s := o.unknown.Error(); !texts[s] {
			texts[s] = true
			reasons = append(reasons, fmt.Errorf("%s at %v: %w", o.kind, o.answer, o.unknown))
		}
	}
	return n, reasons
}

// mustHaveNoErrors fails the test if any client saw an error.
func (l *load) mustHaveNoErrors() {
	l.t.Helper()
	if n, reasons := l.unknown(); n > 0 {
		l.t.Errorf("%d operations failed: %v", n, errors.Join(reasons...))
	}
}

// longestPause is the longest time between two acknowledged writes, one after
// the other, of which the later came within (from, to].
func (l *load) longestPause(from, to time.Duration) time.Duration {
	var acks []time.Duration
	for _, o := range l.record() {
		if o.wrote {
			acks = append(acks, o.answer)
		}
	}
	slices.Sort(acks)
	longest := time.Duration(0)
	for i := 1; i < len(acks); i++ {
		if acks[i] > from && acks[i] <= to {
			longest = max(longest, acks[i]-acks[i-1])
		}
	}
	return longest
}

// ballast writes data that does not compress, so that a seed takes a moment.
func ballast(t *testing.T, c *clientv3.Client, total int) {
	t.Helper()
	const piece = 64 << 10
	chance := rand.NewChaCha8([32]byte{1})
	b := make([]byte, piece)
	for i := 0; i*piece < total; i++ {
		_, _ = chance.Read(b) // never fails
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := c.Put(ctx, fmt.Sprintf("ballast/%06d", i), string(b))
		cancel()
		if err != nil {
			t.Fatalf("write data: %v", err)
		}
	}
}
