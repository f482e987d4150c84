package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	demoClients = 8
	demoKeys    = 5
	// demoPace is the least time between two operations of one client: the demo
	// shares its machine with all of its members.
	demoPace = 5 * time.Millisecond
	// demoTimeout is when a client takes an operation for lost.
	demoTimeout = 5 * time.Second
)

// demoLoad is the clients that work through the whole demo, and what they saw.
type demoLoad struct {
	start  time.Time
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	ops     []demoOp
	clients []*clientv3.Client
	failed  error
}

// startLoad starts the clients on the members that there are. The caller calls
// stop.
func startLoad(ctx context.Context, endpoints []string) (*demoLoad, error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &demoLoad{start: time.Now(), cancel: cancel}
	for range demoClients {
		c, err := etcdClient(context.WithoutCancel(ctx), endpoints, nil, user{})
		if err != nil {
			return nil, errors.Join(err, l.stop())
		}
		l.clients = append(l.clients, c)
	}
	for i, c := range l.clients {
		l.wg.Go(func() { l.work(ctx, i, c) })
	}
	return l, nil
}

// work does one operation after the other until the context ends. What is under
// way then is let finish, so that its outcome is known.
func (l *demoLoad) work(ctx context.Context, id int, c *clientv3.Client) {
	defer func() {
		if r := recover(); r != nil {
			l.fail(fmt.Errorf("client %d of the demo panicked: %v\n%s", id, r, debug.Stack()))
		}
	}()
	pace := time.NewTicker(demoPace)
	defer pace.Stop()
	known := map[string]int64{} // the last version seen of each key
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		in := demoInput{key: fmt.Sprintf("demo/key-%d", rand.IntN(demoKeys)), kind: demoPut}
		switch p := rand.IntN(10); {
		case p < 3:
			in.kind = demoGet
		case p < 5:
			in.kind = demoSwap
			in.version = known[in.key]
		}
		if in.kind != demoGet {
			in.value = fmt.Sprintf("client %d, write %d", id, n)
		}
		op := l.do(ctx, id, c, in)
		known[in.key] = max(known[in.key], versionAfter(&op))
	}
}

// versionAfter is the version that a key has at least, after an operation.
func versionAfter(o *demoOp) int64 {
	switch {
	case o.out.unknown:
		return 0
	case o.in.kind == demoSwap && o.out.swapped:
		return o.in.version + 1
	case o.in.kind == demoPut:
		return o.out.seen.version + 1
	}
	return o.out.seen.version
}

// do runs one operation and records it.
func (l *demoLoad) do(ctx context.Context, id int, c *clientv3.Client, in demoInput) demoOp {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), demoTimeout)
	defer cancel()
	op := demoOp{client: id, in: in, call: time.Since(l.start)}
	out, err := request(ctx, c, in)
	op.answer = time.Since(l.start)
	op.out = out
	if err != nil {
		// Whatever the error says, the write may have been on its way.
		op.out = demoOutput{unknown: true}
	}
	l.mu.Lock()
	l.ops = append(l.ops, op)
	l.mu.Unlock()
	return op
}

func request(ctx context.Context, c *clientv3.Client, in demoInput) (demoOutput, error) {
	var out demoOutput
	switch in.kind {
	case demoGet:
		r, err := c.Get(ctx, in.key)
		if err != nil {
			return out, err
		}
		for _, kv := range r.Kvs {
			out.seen = demoState{string(kv.GetValue()), kv.GetVersion()}
		}
		return out, nil
	case demoPut:
		r, err := c.Put(ctx, in.key, in.value, clientv3.WithPrevKV())
		if err != nil {
			return out, err
		}
		if kv := r.PrevKv; kv != nil {
			out.seen = demoState{string(kv.GetValue()), kv.GetVersion()}
		}
		return out, nil
	}
	r, err := c.Txn(ctx).
		If(clientv3.Compare(clientv3.Version(in.key), "=", in.version)).
		Then(clientv3.OpPut(in.key, in.value)).
		Else(clientv3.OpGet(in.key)).
		Commit()
	if err != nil {
		return out, err
	}
	out.swapped = r.Succeeded
	if !r.Succeeded && len(r.Responses) == 1 {
		for _, kv := range r.Responses[0].GetResponseRange().GetKvs() {
			out.seen = demoState{string(kv.GetValue()), kv.GetVersion()}
		}
	}
	return out, nil
}

// setEndpoints lets the clients use these members from now on.
func (l *demoLoad) setEndpoints(endpoints []string) {
	for _, c := range l.clients {
		c.SetEndpoints(endpoints...)
	}
}

func (l *demoLoad) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = errors.Join(l.failed, err)
}

// history is what was recorded so far.
func (l *demoLoad) history() []demoOp {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ops)
}

// now is the moment on the clock of the history.
func (l *demoLoad) now() time.Duration { return time.Since(l.start) }

// lastWrite is when the last write was acknowledged.
func (l *demoLoad) lastWrite() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.ops) - 1; i >= 0; i-- {
		if l.ops[i].wrote() {
			return l.ops[i].answer
		}
	}
	return 0
}

// stop ends the clients, after what they have under way. It may be called again.
func (l *demoLoad) stop() error {
	l.cancel()
	l.wg.Wait()
	var errs []error
	for _, c := range l.clients {
		errs = append(errs, c.Close())
	}
	l.clients = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(append(errs, l.failed)...)
}

// readAll reads every key at one member, as a last word in the history.
func (l *demoLoad) readAll(ctx context.Context, endpoint string) error {
	c, err := etcdClient(ctx, []string{endpoint}, nil, user{})
	if err != nil {
		return err
	}
	for i := range demoKeys {
		op := l.do(ctx, demoClients, c, demoInput{kind: demoGet, key: fmt.Sprintf("demo/key-%d", i)})
		if op.out.unknown {
			return errors.Join(fmt.Errorf("member at %s did not answer a last read; 'chainfire status' shows why", endpoint), c.Close())
		}
	}
	return c.Close()
}

// ballast writes so much that a seed takes a moment.
func ballast(ctx context.Context, endpoint string, total int) (err error) {
	const piece = 64 << 10
	c, err := etcdClient(ctx, []string{endpoint}, nil, user{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	chance := rand.NewChaCha8([32]byte{1}) // does not compress
	b := make([]byte, piece)
	for i := 0; i*piece < total; i++ {
		_, _ = chance.Read(b) // never fails
		if _, err := c.Put(ctx, fmt.Sprintf("ballast/%06d", i), string(b)); err != nil {
			return fmt.Errorf("write data: %w", err)
		}
	}
	return nil
}
