package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// hangTimeout is how much longer than its time a load may take before its requests are
// given up. No request has a deadline of its own: timers cost the generator.
const hangTimeout = 2 * time.Minute

// client is one of a crew, with memory that its requests use again and again.
type client struct {
	id             int
	conn           *grpc.ClientConn
	rng            *rand.Rand
	request, reply []byte
	took           histogram
	// userBytes are those of the keys and values that it wrote.
	userBytes uint64
}

// call makes a request, encoded in c.request, and leaves the answer in c.reply.
func (c *client) call(ctx context.Context, method string) error {
	return c.conn.Invoke(ctx, method, &c.request, &c.reply)
}

// step is one operation of one client.
type step func(ctx context.Context, c *client) error

// crew are clients that load a cluster.
type crew struct {
	clients []*client
	steps   []step
}

// newCrew makes n clients, of which each does what makeStep gave it.
func newCrew(l lanes, n int, makeStep func(client int) step) *crew {
	cr := &crew{}
	for i := range n {
		cr.clients = append(cr.clients, &client{id: i, conn: l.of(i), rng: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(i)))})
		cr.steps = append(cr.steps, makeStep(i))
	}
	return cr
}

// forget drops what was counted.
func (cr *crew) forget() {
	for _, c := range cr.clients {
		c.took, c.userBytes = histogram{}, 0
	}
}

func (cr *crew) userBytes() uint64 {
	sum := uint64(0)
	for _, c := range cr.clients {
		sum += c.userBytes
	}
	return sum
}

// result sums up what the clients measured.
func (cr *crew) result(elapsed time.Duration) loadResult {
	var all histogram
	for _, c := range cr.clients {
		all.merge(&c.took)
	}
	return resultOf([]histogram{all}, elapsed)
}

// run has every client do its step again and again, each as soon as it has an answer.
// A step that fails ends the load.
func (cr *crew) run(ctx context.Context, until limit) (loadResult, error) {
	var issued atomic.Int64
	start := time.Now()
	err := cr.each(ctx, until.duration+hangTimeout, func(ctx context.Context, c *client, do step) error {
		sent := time.Now()
		for until.total > 0 && issued.Add(1) <= int64(until.total) || until.total <= 0 && sent.Sub(start) < until.duration {
			if err := do(ctx, c); err != nil {
				return err
			}
			now := time.Now()
			c.took.add(now.Sub(sent))
			sent = now
		}
		return nil
	})
	if err != nil {
		return loadResult{}, err
	}
	return cr.result(time.Since(start)), nil
}

// runPaced has the clients do a step at each of the times that are every apart, whether
// or not the ones before were answered, until it is ended. What a step took counts from
// its time on, so that a stall is felt by all that would have come in it.
func (cr *crew) runPaced(ctx context.Context, every time.Duration, end <-chan struct{}) (loadResult, error) {
	var issued atomic.Int64
	start := time.Now()
	err := cr.each(ctx, 0, func(ctx context.Context, c *client, do step) error {
		timer := time.NewTimer(0)
		defer timer.Stop()
		<-timer.C
		for {
			due := start.Add(time.Duration(issued.Add(1)) * every)
			timer.Reset(time.Until(due))
			select {
			case <-end:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-timer.C:
			}
			if err := do(ctx, c); err != nil {
				return err
			}
			c.took.add(time.Since(due))
		}
	})
	if err != nil {
		return loadResult{}, err
	}
	return cr.result(time.Since(start)), nil
}

// each runs f for every client at once. The first error ends the others' context and is
// the one returned. Above 0, within is when the rest is given up.
func (cr *crew) each(ctx context.Context, within time.Duration, f func(context.Context, *client, step) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if within > 0 {
		watchdog := time.AfterFunc(within, func() { cancel(errors.New("requests hang")) })
		defer watchdog.Stop()
	}
	var wg sync.WaitGroup
	for i, c := range cr.clients {
		wg.Go(func() {
			if err := f(ctx, c, cr.steps[i]); err != nil {
				cancel(fmt.Errorf("client %d: %w", c.id, err))
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// once has every client do its step one time.
func (cr *crew) once(ctx context.Context) error {
	return cr.each(ctx, 0, func(ctx context.Context, c *client, do step) error { return do(ctx, c) })
}
