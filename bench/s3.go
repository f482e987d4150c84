package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

// objectComparison measures S3 servers under the same loads, in turn, over several rounds:
// what the machine does meanwhile meets all of them.
type objectComparison struct {
	session
	course
	minio    string
	ops      []string
	clients  []int
	sizesKiB []int
	mostMiB  int64
	unsigned bool
}

// objectTurn is one load on one system in one round.
type objectTurn struct {
	Round  int        `json:"round"`
	System string     `json:"system"`
	Load   objectLoad `json:"load"`
	objectResult
	// CPUPerGiB is processor time of all servers per GiB that was put or got, in seconds.
	CPUPerGiB float64 `json:"cpu_seconds_per_gib"`
	// PeakRSS is the most memory that the largest server ever had, in bytes.
	PeakRSS uint64 `json:"peak_rss_bytes"`
}

// objectContestant is a running server or cluster and what loads it.
type objectContestant struct {
	cluster *cluster
	loader  *objectLoader
}

func s3Command() *cobra.Command {
	c := &objectComparison{}
	c.rivals = func() []system { return []system{newMinio(c.minio), newChainFireS3(c.chainfire)} }
	cmd := &cobra.Command{
		Use:   "s3",
		Short: "put MinIO and ChainFire under the same load of objects, in turns",
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
	c.course.flags(cmd, "members of the cluster of ChainFire: 1 or 3; MinIO is one node")
	f.StringVar(&c.minio, "minio", "bin/minio", "the MinIO binary")
	f.StringSliceVar(&c.ops, "ops", []string{opPut, opGet}, "operations: put, get")
	f.IntSliceVar(&c.clients, "clients", []int{8}, "clients, each with one request at a time; one load for each number")
	f.IntSliceVar(&c.sizesKiB, "sizes", []int{4, 128, 4 << 10, 64 << 10}, "sizes of objects in KiB; one load for each")
	f.Int64Var(&c.mostMiB, "most", 4<<10, "end a load early after so many MiB")
	f.BoolVar(&c.unsigned, "unsigned", false, "send bodies without their hashes")
	return cmd
}

func (c *objectComparison) loads() []objectLoad {
	var out []objectLoad
	for _, size := range c.sizesKiB {
		for _, op := range c.ops {
			for _, n := range c.clients {
				out = append(out, objectLoad{Op: op, Clients: n, Size: size << 10})
			}
		}
	}
	return out
}

func (c *objectComparison) validate() error {
	if err := c.course.validate(); err != nil {
		return err
	}
	if c.mostMiB < 1 || len(c.loads()) == 0 {
		return errors.New("a comparison needs 1 MiB and 1 load at least")
	}
	for _, l := range c.loads() {
		if l.Op != opPut && l.Op != opGet {
			return fmt.Errorf("unknown operation %q: use %s or %s", l.Op, opPut, opGet)
		}
		if l.Clients < 1 || l.Size < 1<<10 || l.Size > 1<<30 {
			return fmt.Errorf("a load needs 1 client at least and objects of 1 KiB to 1 GiB, not %d and %s", l.Clients, sizeName(l.Size))
		}
	}
	return nil
}

func (c *objectComparison) measure(ctx context.Context, cmd *cobra.Command) (err error) {
	bodies := map[int][]body{}
	for _, size := range c.sizesKiB {
		bodies[size<<10] = newBodies(size << 10)
	}
	var all []*objectContestant
	defer func() {
		for _, k := range slices.Backward(all) {
			err = errors.Join(err, k.close())
		}
	}()
	for _, sys := range c.systems {
		if err := c.say(cmd, "starting %s and filling it", sys.name); err != nil {
			return err
		}
		k, err := c.enter(ctx, sys, bodies)
		if err != nil {
			return err
		}
		all = append(all, k)
	}
	var turns []objectTurn
	for round := 1; round <= c.rounds; round++ {
		for _, l := range c.loads() {
			for i := range all {
				// Who is first in one round is last in the next.
				k := all[(i+round)%len(all)]
				t, err := c.take(ctx, k, l)
				if err != nil {
					return fmt.Errorf("%s, %s, round %d: %w; its output ends:\n%s", k.cluster.sys.name, l, round, err, k.cluster.members[0].logTail())
				}
				t.Round = round
				turns = append(turns, t)
				if err := c.say(cmd, "round %d/%d  %-24s %-10s %8.0f/s  %7.1f MiB/s  p99 %.2f ms", round, c.rounds, l, t.System, t.PerSecond, t.MiBPerSecond, t.P99); err != nil {
					return err
				}
			}
		}
	}
	return c.report(cmd.OutOrStdout(), turns)
}

// enter starts a system and fills it. On an error nothing of it is left.
func (c *objectComparison) enter(ctx context.Context, sys system, bodies map[int][]body) (*objectContestant, error) {
	members := c.members
	if !sys.joins {
		members = 1
	}
	cl, err := startCluster(ctx, sys, members, c.place.dir)
	if err != nil {
		return nil, err
	}
	k := &objectContestant{cluster: cl, loader: &objectLoader{client: newObjectClient(cl.s3Endpoints(), !c.unsigned), bodies: bodies}}
	err = k.loader.client.makeBucket(ctx)
	if slices.Contains(c.ops, opGet) {
		for size := range bodies {
			if err == nil {
				err = k.loader.fill(ctx, size)
			}
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare %s: %w; its output ends:\n%s", sys.name, err, cl.members[0].logTail()), k.close())
	}
	return k, nil
}

func (k *objectContestant) close() error {
	k.loader.client.close()
	return k.cluster.stop()
}

// take is one system's turn: pause, warm up, measure, and remove what was put.
func (c *objectComparison) take(ctx context.Context, k *objectContestant, l objectLoad) (objectTurn, error) {
	if err := pause(ctx, c.pause); err != nil {
		return objectTurn{}, err
	}
	if c.warmUp > 0 {
		_, cleanUp, err := k.loader.run(ctx, l, c.warmUp, c.mostMiB<<20)
		if err == nil {
			err = cleanUp(ctx)
		}
		if err != nil {
			return objectTurn{}, err
		}
	}
	var res objectResult
	var cleanUp func(context.Context) error
	cpu, peak, err := k.cluster.spent(func() (err error) {
		res, cleanUp, err = k.loader.run(ctx, l, c.duration, c.mostMiB<<20)
		return err
	})
	if err != nil {
		return objectTurn{}, err
	}
	moved := float64(res.Operations) * float64(l.Size) / (1 << 30)
	return objectTurn{
		System: k.cluster.sys.name, Load: l, objectResult: res,
		CPUPerGiB: ratio(cpu.Seconds(), moved), PeakRSS: peak,
	}, cleanUp(ctx)
}
