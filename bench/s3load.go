package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// objectLoad is what is asked of S3: one operation on objects of one size, by clients
// that each wait for an answer before they ask again.
type objectLoad struct {
	Op      string `json:"op"`
	Clients int    `json:"clients"`
	Size    int    `json:"size"`
}

func (l objectLoad) String() string {
	return fmt.Sprintf("%s %s, %d clients", l.Op, sizeName(l.Size), l.Clients)
}

// sizeName is a size as people say it.
func sizeName(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// filled is how many objects of a size gets are spread over: they fit into memory, as
// what is read often does.
func filled(size int) int { return min(max((256<<20)/size, 8), 2000) }

func filledKey(size, i int) string { return fmt.Sprintf("get/%d/%06d", size, i) }

// objectResult is what a load measured. Latencies are in milliseconds.
type objectResult struct {
	loadResult
	MiBPerSecond float64 `json:"mib_per_second"`
}

// objectLoader runs loads on one server or cluster.
type objectLoader struct {
	client *objectClient
	bodies map[int][]body
	// turns counts the loads that ran: every put is of a new key.
	turns int
}

// fill puts the objects that gets are of, and reads each of them back, whole.
func (o *objectLoader) fill(ctx context.Context, size int) error {
	bodies := o.bodies[size]
	return inParallel(ctx, fillClients, filled(size), func(ctx context.Context, client, i int) error {
		b := &bodies[i%len(bodies)]
		if err := o.client.put(ctx, client, filledKey(size, i), b); err != nil {
			return err
		}
		h := sha256.New()
		if err := o.client.get(ctx, client+1, filledKey(size, i), size, h, make([]byte, 64<<10)); err != nil {
			return err
		}
		if have := hex.EncodeToString(h.Sum(nil)); have != b.hash {
			return fmt.Errorf("%s: the bytes are not those that were put", filledKey(size, i))
		}
		return nil
	})
}

// run loads the server until a time or so many bytes have passed, and waits for every
// answer. What it put it removes again, after the figures were taken: the caller does so
// by the function that is returned.
func (o *objectLoader) run(ctx context.Context, l objectLoad, d time.Duration, mostBytes int64) (objectResult, func(context.Context) error, error) {
	o.turns++
	turn := o.turns
	bodies := o.bodies[l.Size]
	most := max(mostBytes/int64(l.Size), int64(l.Clients))
	histograms := make([]histogram, l.Clients)
	var issued atomic.Int64
	putKey := func(n int64) string { return fmt.Sprintf("put/%d/%d/%08d", l.Size, turn, n) }
	start := time.Now()
	err := inParallel(ctx, l.Clients, l.Clients, func(ctx context.Context, client, _ int) error {
		rng := rand.New(rand.NewPCG(uint64(turn), uint64(client)))
		buffer := make([]byte, 256<<10)
		for ctx.Err() == nil && time.Since(start) < d {
			n := issued.Add(1)
			if n > most {
				return nil
			}
			sent := time.Now()
			var err error
			if l.Op == opPut {
				err = o.client.put(ctx, client, putKey(n), &bodies[n%int64(len(bodies))])
			} else {
				err = o.client.get(ctx, client, filledKey(l.Size, rng.IntN(filled(l.Size))), l.Size, io.Discard, buffer)
			}
			if err != nil {
				return err
			}
			histograms[client].add(time.Since(sent))
		}
		return context.Cause(ctx)
	})
	elapsed := time.Since(start)
	if err != nil {
		return objectResult{}, nil, err
	}
	cleanUp := func(ctx context.Context) error {
		if l.Op != opPut {
			return nil
		}
		return inParallel(ctx, fillClients, int(min(issued.Load(), most)), func(ctx context.Context, client, i int) error {
			return o.client.remove(ctx, client, putKey(int64(i)+1))
		})
	}
	res := objectResult{loadResult: resultOf(histograms, elapsed)}
	res.MiBPerSecond = res.PerSecond * float64(l.Size) / (1 << 20)
	return res, cleanUp, nil
}

// inParallel runs f for 0 to n-1, so many at a time; the first error ends the others'
// context and is the one returned.
func inParallel(ctx context.Context, workers, n int, f func(ctx context.Context, worker, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := f(ctx, w, int(i)); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
