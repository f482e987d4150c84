package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/spf13/cobra"
)

// growth measures what clients feel while a third member joins two.
type growth struct {
	session
	keys, valueSize int
	rate            int
	before          time.Duration
	rounds          int
}

// grown is one join. Times are in seconds.
type grown struct {
	Round  int    `json:"round"`
	System string `json:"system"`
	// Took is from the start of the process until the member is a voter that
	// serves. For etcd it includes the two calls by hand.
	Took float64 `json:"took_seconds"`
	// Gap is the longest time between two acknowledged writes meanwhile.
	Gap float64 `json:"gap_seconds"`
	// Before and during the join: the latency of writes.
	BeforeP50 float64 `json:"before_p50_seconds"`
	BeforeP99 float64 `json:"before_p99_seconds"`
	DuringP50 float64 `json:"during_p50_seconds"`
	DuringP99 float64 `json:"during_p99_seconds"`
	// Failed counts the writes that were not acknowledged in time.
	Failed int `json:"failed"`
}

// growthReport is the JSON form.
type growthReport struct {
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Keys     int               `json:"keys"`
	Value    int               `json:"value_size"`
	Rate     int               `json:"writes_per_second"`
	Joins    []grown           `json:"joins"`
}

func growthCommand() *cobra.Command {
	g := &growth{}
	cmd := &cobra.Command{
		Use:   "join",
		Short: "join a third member to a filled cluster under load and time what clients feel",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if g.keys < 1 || g.valueSize < 1 || g.rate < 0 || g.rounds < 1 {
				return errors.New("a join needs 1 key, 1 byte and 1 round at least")
			}
			return g.within(cmd, func(ctx context.Context) error { return g.measure(ctx, cmd) })
		},
	}
	g.flags(cmd)
	f := cmd.Flags()
	f.IntVar(&g.keys, "keys", 1_000_000, "keys in the store")
	f.IntVar(&g.valueSize, "value-size", 256, "size of a value in bytes")
	f.IntVar(&g.rate, "rate", 2000, "writes a second meanwhile; 0 is an idle cluster")
	f.DurationVar(&g.before, "before", 10*time.Second, "how long the load runs before the join")
	f.IntVar(&g.rounds, "rounds", 1, "how many joins, each of a new cluster")
	return cmd
}

func (g *growth) measure(ctx context.Context, cmd *cobra.Command) error {
	var all []grown
	for round := 1; round <= g.rounds; round++ {
		for _, sys := range g.systems {
			one, err := g.once(ctx, cmd, sys)
			if err != nil {
				return fmt.Errorf("%s, join %d: %w", sys.name, round, err)
			}
			one.Round = round
			all = append(all, one)
			if err := g.say(cmd, "%s: join %d took %.1f s, longest gap %.0f ms", sys.name, round, one.Took, 1000*one.Gap); err != nil {
				return err
			}
		}
	}
	if err := g.print(cmd.OutOrStdout(), all); err != nil {
		return err
	}
	return g.write(growthReport{Machine: g.machine, Versions: g.versions, Keys: g.keys, Value: g.valueSize, Rate: g.rate, Joins: all})
}

func (g *growth) once(ctx context.Context, cmd *cobra.Command, sys system) (out grown, err error) {
	c, err := sys.pair(ctx, g.place.dir)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, c.stop(), c.removeData()) }()
	if err := g.say(cmd, "%s: putting %d keys of %d bytes", sys.name, g.keys, g.valueSize); err != nil {
		return out, err
	}
	if err := fillOnce(ctx, c, g.keys, g.valueSize); err != nil {
		return out, err
	}
	var p *prober
	if g.rate > 0 {
		p, err = startProber(ctx, c.endpoints(), time.Second/time.Duration(g.rate), g.keys, g.valueSize)
		if err != nil {
			return out, err
		}
		defer func() { err = errors.Join(err, p.end()) }()
	}
	began := time.Now()
	if err := pause(ctx, g.before); err != nil {
		return out, err
	}
	from := time.Now()
	if err := c.grow(ctx, g.place.dir); err != nil {
		return out, err
	}
	to := time.Now()
	out = grown{System: sys.name, Took: to.Sub(from).Seconds()}
	if p == nil {
		return out, nil
	}
	// Writes that began at its end are part of it.
	if err := p.awaitAcks(ctx, to, steadyAcks); err != nil {
		return out, err
	}
	before, during := p.between(began, from), p.between(from, to)
	out.Gap = p.longestGap(from, time.Now()).Seconds()
	out.BeforeP50, out.BeforeP99 = before.quantile(0.5).Seconds(), before.quantile(0.99).Seconds()
	out.DuringP50, out.DuringP99 = during.quantile(0.5).Seconds(), during.quantile(0.99).Seconds()
	out.Failed = p.failures()
	return out, nil
}

func (g *growth) print(out io.Writer, all []grown) error {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, err := fmt.Fprintf(tw, "\na third member joins two that hold %d keys of %d bytes, at %d writes a second\n"+
		"system\tjoin s\tlongest gap ms\tp50 before ms\tp50 during ms\tratio\tp99 before ms\tp99 during ms\tfailed\t\n", g.keys, g.valueSize, g.rate)
	for _, one := range all {
		if err == nil {
			_, err = fmt.Fprintf(tw, "%s\t%.2f\t%.0f\t%.2f\t%.2f\t%.2f\t%.1f\t%.1f\t%d\t\n", one.System, one.Took, 1000*one.Gap,
				1000*one.BeforeP50, 1000*one.DuringP50, ratio(one.DuringP50, one.BeforeP50), 1000*one.BeforeP99, 1000*one.DuringP99, one.Failed)
		}
	}
	return errors.Join(err, tw.Flush())
}

// growEtcd makes member i of a running etcd a voter as its manual says: add it as
// a learner, start it, promote it as soon as that is allowed.
func growEtcd(ctx context.Context, c *cluster, i int) (err error) {
	cl, err := dial([]string{c.seats[0].client})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cl.Close()) }()
	added, err := cl.MemberAddAsLearner(ctx, []string{"http://" + c.seats[i].peer})
	if err != nil {
		return fmt.Errorf("add the learner: %w", err)
	}
	args := append(c.sys.args(c.seats, i), "--initial-cluster-state", "existing")
	if err := c.startWith(i, args); err != nil {
		return err
	}
	return promote(ctx, cl, added.Member.ID)
}

func promote(ctx context.Context, cl *clientv3.Client, id uint64) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		one, cancel := context.WithTimeout(ctx, requestTimeout)
		_, err := cl.MemberPromote(one, id)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("promote the learner: %w", err)
		case <-tick.C:
		}
	}
}
