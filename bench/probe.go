package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// probeTimeout is when a probe is taken for lost.
	probeTimeout = 3 * time.Second
	// maxProbes bounds the probes under way at the same time.
	maxProbes = 1024
)

// prober writes at a steady rate, whether or not the writes before were
// acknowledged, and remembers when each was. Its probes are spread over all
// endpoints, as those of many clients are.
type prober struct {
	pool *pool
	vals values
	stop context.CancelFunc
	wg   sync.WaitGroup
	slot chan struct{}

	mu sync.Mutex
	// acks are the moments of acknowledgements, latencies how long each took.
	acks      []time.Time
	latencies []probed
	failed    int
	lastErr   error
}

// probed is one acknowledged probe.
type probed struct {
	began time.Time
	took  time.Duration
}

// startProber probes every interval until it is ended.
func startProber(ctx context.Context, endpoints []string, every time.Duration, keys, valueSize int) (*prober, error) {
	p, err := newPool(endpoints, 4)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	pr := &prober{pool: p, vals: newValues(valueSize), stop: cancel, slot: make(chan struct{}, maxProbes)}
	pr.wg.Go(func() { pr.run(ctx, every, keys) })
	return pr, nil
}

func (p *prober) run(ctx context.Context, every time.Duration, keys int) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case p.slot <- struct{}{}:
		case <-ctx.Done():
			return
		}
		p.wg.Go(func() {
			p.one(ctx, p.pool.conns[n%len(p.pool.conns)], n%keys)
			<-p.slot
		})
	}
}

func (p *prober) one(ctx context.Context, c *clientv3.Client, key int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	began := time.Now()
	_, err := c.Put(ctx, keyName(key), p.vals.bytes[key%(len(p.vals.bytes)-p.vals.size):][:p.vals.size])
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.failed++
		p.lastErr = err
		return
	}
	p.acks = append(p.acks, now)
	p.latencies = append(p.latencies, probed{began, now.Sub(began)})
}

// end stops probing, and waits for what is under way.
func (p *prober) end() error {
	p.stop()
	p.wg.Wait()
	return p.pool.close()
}

// longestGap is the longest time between two acknowledgements, one after the
// other, of which the later is in (from, to].
func (p *prober) longestGap(from, to time.Time) time.Duration {
	p.mu.Lock()
	acks := slices.Clone(p.acks)
	p.mu.Unlock()
	slices.SortFunc(acks, time.Time.Compare)
	longest := time.Duration(0)
	for i := 1; i < len(acks); i++ {
		if acks[i].After(from) && !acks[i].After(to) {
			longest = max(longest, acks[i].Sub(acks[i-1]))
		}
	}
	return longest
}

// between is how the probes that began within (from, to] did.
func (p *prober) between(from, to time.Time) *histogram {
	h := &histogram{}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.latencies {
		if l.began.After(from) && !l.began.After(to) {
			h.add(l.took)
		}
	}
	return h
}

// failures counts the probes that were not acknowledged.
func (p *prober) failures() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// awaitAcks waits until n probes that began after a moment are acknowledged.
func (p *prober) awaitAcks(ctx context.Context, after time.Time, n int) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		p.mu.Lock()
		have := 0
		for i := len(p.latencies) - 1; i >= 0 && have < n; i-- {
			if p.latencies[i].began.After(after) {
				have++
			}
		}
		err := p.lastErr
		p.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no write is acknowledged any more: %w; the last error was %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
