package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/spf13/cobra"
)

// The operations of a load.
const (
	opPut = "put"
	opGet = "get"
)

// workload is what is asked of a cluster: one operation on random keys, by a
// number of clients that each wait for an answer before they ask again.
type workload struct {
	Op        string `json:"op"`
	Clients   int    `json:"clients"`
	Keys      int    `json:"keys"`
	ValueSize int    `json:"value_size"`
	// Serializable reads are answered by any one member.
	Serializable bool `json:"serializable,omitempty"`
}

func (w workload) String() string { return fmt.Sprintf("%s, %d clients", w.Op, w.Clients) }

func (w workload) validate() error {
	switch {
	case w.Op != opPut && w.Op != opGet:
		return fmt.Errorf("unknown operation %q: use %s or %s", w.Op, opPut, opGet)
	case w.Clients < 1, w.Keys < 1, w.ValueSize < 0:
		return fmt.Errorf("a load needs 1 client and 1 key at least, not %d and %d, and values of 0 bytes or more, not %d", w.Clients, w.Keys, w.ValueSize)
	}
	return nil
}

// loadResult is what a load measured. Latencies are in milliseconds.
type loadResult struct {
	Operations uint64  `json:"operations"`
	Seconds    float64 `json:"seconds"`
	PerSecond  float64 `json:"per_second"`
	P50        float64 `json:"p50_ms"`
	P90        float64 `json:"p90_ms"`
	P99        float64 `json:"p99_ms"`
	P999       float64 `json:"p999_ms"`
	Max        float64 `json:"max_ms"`
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// limit is when a load ends: after a time, or a number of operations if that is
// above 0.
type limit struct {
	duration time.Duration
	total    int
}

// run loads the cluster and waits for every answer. A request that fails ends
// the load: a figure with failures in it compares with nothing.
func (p *pool) run(ctx context.Context, w workload, until limit) (loadResult, error) {
	if err := w.validate(); err != nil {
		return loadResult{}, err
	}
	vals := newValues(w.ValueSize)
	histograms := make([]histogram, w.Clients)
	var issued atomic.Int64
	start := time.Now()
	err := p.each(ctx, w.Clients, func(ctx context.Context, i int, c *clientv3.Client) error {
		rng := rand.New(rand.NewPCG(uint64(start.UnixNano()), uint64(i)))
		for ctx.Err() == nil {
			if until.total > 0 && issued.Add(1) > int64(until.total) || until.total <= 0 && time.Since(start) >= until.duration {
				return nil
			}
			sent := time.Now()
			if err := w.once(ctx, c, rng, vals); err != nil {
				return fmt.Errorf("%s: %w", w.Op, err)
			}
			histograms[i].add(time.Since(sent))
		}
		return context.Cause(ctx)
	})
	elapsed := time.Since(start)
	if err != nil {
		return loadResult{}, err
	}
	return resultOf(histograms, elapsed), nil
}

// resultOf sums up what clients measured, each in a histogram of its own.
func resultOf(clients []histogram, elapsed time.Duration) loadResult {
	var all histogram
	for i := range clients {
		all.merge(&clients[i])
	}
	return loadResult{
		Operations: all.n,
		Seconds:    elapsed.Seconds(),
		PerSecond:  ratio(float64(all.n), elapsed.Seconds()),
		P50:        millis(all.quantile(0.50)),
		P90:        millis(all.quantile(0.90)),
		P99:        millis(all.quantile(0.99)),
		P999:       millis(all.quantile(0.999)),
		Max:        millis(all.max),
	}
}

// once makes one request on a random key.
func (w workload) once(ctx context.Context, c *clientv3.Client, rng *rand.Rand, vals values) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	key := keyName(rng.IntN(w.Keys))
	if w.Op == opPut {
		_, err := c.Put(ctx, key, vals.pick(rng))
		return err
	}
	var opts []clientv3.OpOption
	if w.Serializable {
		opts = append(opts, clientv3.WithSerializable())
	}
	got, err := c.Get(ctx, key, opts...)
	if err != nil {
		return err
	}
	if len(got.Kvs) != 1 {
		return fmt.Errorf("key %s is not there: fill the keys first", key)
	}
	return nil
}

func loadCommand() *cobra.Command {
	w := workload{}
	until := limit{}
	var endpoints []string
	var connections int
	var fill bool
	cmd := &cobra.Command{
		Use:   "load",
		Short: "put or get random keys at an endpoint that speaks etcd v3",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := w.validate(); err != nil {
				return err
			}
			p, err := newPool(endpoints, connections)
			if err != nil {
				return err
			}
			defer func() {
				if closeErr := p.close(); err == nil {
					err = closeErr
				}
			}()
			if fill {
				if err := p.fill(cmd.Context(), w.Keys, w.ValueSize); err != nil {
					return err
				}
			}
			res, err := p.run(cmd.Context(), w, until)
			if err != nil {
				return fmt.Errorf("load %v: %w", endpoints, err)
			}
			return res.print(cmd.OutOrStdout(), w)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&endpoints, "endpoints", []string{"127.0.0.1:2379"}, "where the cluster serves clients")
	f.StringVar(&w.Op, "op", opPut, "operation: put or get")
	f.IntVar(&w.Clients, "clients", 64, "clients, each with one request at a time")
	f.IntVar(&connections, "connections", 8, "connections that the clients share")
	f.IntVar(&w.ValueSize, "value-size", 256, "size of a value in bytes")
	f.IntVar(&w.Keys, "keys", 100_000, "keys that requests are spread over")
	f.DurationVar(&until.duration, "duration", 10*time.Second, "how long to load")
	f.IntVar(&until.total, "total", 0, "end after this many operations instead of a time")
	f.BoolVar(&w.Serializable, "serializable", false, "let gets be answered by any one member")
	f.BoolVar(&fill, "fill", false, "put every key once before the load (gets need their keys)")
	return cmd
}

func (r loadResult) print(out io.Writer, w workload) error {
	_, err := fmt.Fprintf(out, "%s, values of %d bytes: %d operations in %.2f s\n%.0f operations/s\nlatency in ms: p50 %.3f  p90 %.3f  p99 %.3f  max %.3f\n",
		w, w.ValueSize, r.Operations, r.Seconds, r.PerSecond, r.P50, r.P90, r.P99, r.Max)
	return err
}
