package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

const (
	dialTimeout    = 5 * time.Second
	requestTimeout = 10 * time.Second
	// fillBatch is the number of puts in one transaction of a fill, below the
	// 128 operations that servers take by default.
	fillBatch   = 100
	fillClients = 16
)

// pool is a number of connections to one cluster, shared out over clients. Each
// connection spreads its requests over all endpoints.
type pool struct {
	conns []*clientv3.Client
}

func dial(endpoints []string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:   endpoints,
		DialTimeout: dialTimeout,
		Logger:      zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithUserAgent("chainfire-bench")},
	})
}

func newPool(endpoints []string, connections int) (*pool, error) {
	if len(endpoints) == 0 || connections < 1 {
		return nil, errors.New("a load needs one endpoint and one connection at least")
	}
	p := &pool{}
	for range connections {
		c, err := dial(endpoints)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("connect to %v: %w", endpoints, err), p.close())
		}
		p.conns = append(p.conns, c)
	}
	return p, nil
}

func (p *pool) close() error {
	var errs []error
	for _, c := range p.conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// keyPrefix begins the name of every key that a load touches.
const keyPrefix = "bench/"

// keyName is the name of key i: all are of one length.
func keyName(i int) string { return fmt.Sprintf("%s%012d", keyPrefix, i) }

// values cuts values of one size out of random bytes, which no compression makes
// smaller, without making a copy of each.
type values struct {
	bytes string
	size  int
}

func newValues(size int) values {
	const reserve = 1 << 16
	b := make([]byte, size+reserve)
	// The seed is fixed: what is written is the same for every system.
	rng := rand.NewChaCha8([32]byte{1})
	if _, err := rng.Read(b); err != nil {
		panic(err) // a generator of the standard library that never fails
	}
	return values{bytes: string(b), size: size}
}

func (v values) pick(rng *rand.Rand) string {
	at := rng.IntN(len(v.bytes) - v.size + 1)
	return v.bytes[at : at+v.size]
}

// fill puts every key once, many in a transaction.
func (p *pool) fill(ctx context.Context, keys, valueSize int) error {
	vals := newValues(valueSize)
	var next atomic.Int64
	return p.each(ctx, fillClients, func(ctx context.Context, i int, c *clientv3.Client) error {
		rng := rand.New(rand.NewPCG(0, uint64(i)))
		for {
			from := int(next.Add(fillBatch)) - fillBatch
			if from >= keys {
				return nil
			}
			var ops []clientv3.Op
			for k := from; k < min(from+fillBatch, keys); k++ {
				ops = append(ops, clientv3.OpPut(keyName(k), vals.pick(rng)))
			}
			reqCtx, cancel := context.WithTimeout(ctx, requestTimeout)
			_, err := c.Txn(reqCtx).Then(ops...).Commit()
			cancel()
			if err != nil {
				return fmt.Errorf("fill keys from %d: %w", from, err)
			}
		}
	})
}

// each runs f once per client, at the same time, and returns when all are done.
// The first error ends the others' context and is the one returned.
func (p *pool) each(ctx context.Context, clients int, f func(ctx context.Context, i int, c *clientv3.Client) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			if err := f(ctx, i, p.conns[i%len(p.conns)]); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
