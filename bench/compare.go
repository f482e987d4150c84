package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

// comparison measures systems under the same loads, in turn, over several
// rounds: what the machine does meanwhile meets all of them.
type comparison struct {
	session
	course
	ops         []string
	clients     []int
	connections int
	keys        int
	valueSize   int
}

// turn is one load on one system in one round.
type turn struct {
	Round    int      `json:"round"`
	System   string   `json:"system"`
	Workload workload `json:"workload"`
	loadResult
	// CPUPerOp is processor time of all servers per operation, in seconds.
	CPUPerOp float64 `json:"cpu_seconds_per_op"`
	// PeakRSS is the most memory that the largest server ever had, in bytes.
	PeakRSS uint64 `json:"peak_rss_bytes"`
}

// contestant is a running cluster and the connections to it.
type contestant struct {
	cluster *cluster
	pool    *pool
}

func compareCommand() *cobra.Command {
	c := &comparison{}
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "put etcd and ChainFire under the same load, in turns",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.validate(); err != nil {
				return err
			}
			return c.within(cmd, func(ctx context.Context) error { return c.measure(ctx, cmd) })
		},
	}
	c.session.flags(cmd)
	f := cmd.Flags()
	c.course.flags(cmd, "members of each cluster: 1 or 3")
	f.StringSliceVar(&c.ops, "ops", []string{opPut, opGet}, "operations: put, get")
	f.IntSliceVar(&c.clients, "clients", []int{1, 64}, "clients, each with one request at a time; one load for each number")
	f.IntVar(&c.connections, "connections", 8, "connections that the clients share")
	f.IntVar(&c.keys, "keys", 50_000, "keys that requests are spread over")
	f.IntVar(&c.valueSize, "value-size", 256, "size of a value in bytes")
	return cmd
}

func (c *comparison) workloads() []workload {
	var out []workload
	for _, op := range c.ops {
		for _, n := range c.clients {
			out = append(out, workload{Op: op, Clients: n, Keys: c.keys, ValueSize: c.valueSize})
		}
	}
	return out
}

func (c *comparison) validate() error {
	if err := c.course.validate(); err != nil {
		return err
	}
	if c.connections < 1 || len(c.workloads()) == 0 {
		return errors.New("a comparison needs 1 connection and 1 load at least")
	}
	for _, w := range c.workloads() {
		if err := w.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) measure(ctx context.Context, cmd *cobra.Command) (err error) {
	var all []*contestant
	defer func() {
		for _, k := range slices.Backward(all) {
			err = errors.Join(err, k.close())
		}
	}()
	for _, sys := range c.systems {
		if err := c.say(cmd, "starting %s with %d member(s) and %d keys", sys.name, c.members, c.keys); err != nil {
			return err
		}
		k, err := c.enter(ctx, sys)
		if err != nil {
			return err
		}
		all = append(all, k)
	}
	var turns []turn
	for round := 1; round <= c.rounds; round++ {
		for _, w := range c.workloads() {
			for _, k := range all {
				t, err := c.take(ctx, k, w)
				if err != nil {
					return fmt.Errorf("%s, %s, round %d: %w", k.cluster.sys.name, w, round, err)
				}
				t.Round = round
				turns = append(turns, t)
				if err := c.say(cmd, "round %d/%d  %-16s %-10s %8.0f/s  p99 %.2f ms", round, c.rounds, w, t.System, t.PerSecond, t.P99); err != nil {
					return err
				}
			}
		}
	}
	return c.report(cmd.OutOrStdout(), turns)
}

// enter starts a system's cluster and fills it. On an error nothing of it is
// left.
func (c *comparison) enter(ctx context.Context, sys system) (*contestant, error) {
	cl, err := startCluster(ctx, sys, c.members, c.place.dir)
	if err != nil {
		return nil, err
	}
	k := &contestant{cluster: cl}
	if k.pool, err = newPool(cl.endpoints(), c.connections); err == nil {
		err = k.pool.fill(ctx, c.keys, c.valueSize)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare %s: %w", sys.name, err), k.close())
	}
	return k, nil
}

func (k *contestant) close() error {
	var err error
	if k.pool != nil {
		err = k.pool.close()
	}
	return errors.Join(err, k.cluster.stop())
}

// take is one system's turn: pause, warm up, measure.
func (c *comparison) take(ctx context.Context, k *contestant, w workload) (turn, error) {
	if err := pause(ctx, c.pause); err != nil {
		return turn{}, err
	}
	if c.warmUp > 0 {
		if _, err := k.pool.run(ctx, w, limit{duration: c.warmUp}); err != nil {
			return turn{}, err
		}
	}
	var res loadResult
	cpu, peak, err := k.cluster.spent(func() (err error) {
		res, err = k.pool.run(ctx, w, limit{duration: c.duration})
		return err
	})
	if err != nil {
		return turn{}, err
	}
	return turn{
		System:     k.cluster.sys.name,
		Workload:   w,
		loadResult: res,
		CPUPerOp:   ratio(cpu.Seconds(), float64(res.Operations)),
		PeakRSS:    peak,
	}, nil
}
