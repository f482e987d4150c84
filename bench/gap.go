package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// What happens to a leader.
const (
	howKill   = "kill"
	howFreeze = "freeze"
	howStop   = "stop"
)

const (
	// probeEvery is how often the client writes: the error of the figure.
	probeEvery = 10 * time.Millisecond
	// departTimeout bounds the search for the next leader.
	departTimeout = time.Minute
	// steadyAcks is how many writes in a row show that a cluster serves again.
	steadyAcks = 100
)

// interruption measures how long a client cannot write when the leader goes.
type interruption struct {
	session
	how        string
	times      int
	etcdTiming bool
}

// departed is one leader that went.
type departed struct {
	System string `json:"system"`
	How    string `json:"how"`
	// Gap is the longest time between two acknowledged writes, in seconds.
	Gap float64 `json:"gap_seconds"`
}

// gapReport is the JSON form.
type gapReport struct {
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Gaps     []departed        `json:"gaps"`
}

func gapCommand() *cobra.Command {
	g := &interruption{}
	cmd := &cobra.Command{
		Use:   "gap",
		Short: "kill, freeze or stop the leader of three members and time the gap between writes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if g.how != howKill && g.how != howFreeze && g.how != howStop || g.times < 1 {
				return fmt.Errorf("--how is kill, freeze or stop, and --times 1 at least; got %q and %d", g.how, g.times)
			}
			return g.within(cmd, func(ctx context.Context) error { return g.measure(ctx, cmd) })
		},
	}
	g.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&g.how, "how", howKill, "what happens to the leader: kill (SIGKILL), freeze (SIGSTOP) or stop (SIGTERM)")
	f.IntVar(&g.times, "times", 200, "how many leaders go")
	f.BoolVar(&g.etcdTiming, "etcd-timing", false, "give ChainFire etcd's defaults: heartbeat 100 ms, election timeout 1 s")
	return cmd
}

func (g *interruption) measure(ctx context.Context, cmd *cobra.Command) error {
	var all []departed
	for _, sys := range g.systems {
		if g.etcdTiming && sys.joins {
			sys = sys.with("--heartbeat-interval", "100ms", "--election-timeout", "1s")
		}
		of, err := g.ofSystem(ctx, cmd, sys)
		if err != nil {
			return fmt.Errorf("%s: %w", sys.name, err)
		}
		all = append(all, of...)
	}
	if err := g.print(cmd.OutOrStdout(), all); err != nil {
		return err
	}
	return g.write(gapReport{Machine: g.machine, Versions: g.versions, Gaps: all})
}

func (g *interruption) ofSystem(ctx context.Context, cmd *cobra.Command, sys system) (out []departed, err error) {
	c, err := startCluster(ctx, sys, 3, g.place.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := fillOnce(ctx, c, 1, 16); err != nil {
		return nil, err
	}
	p, err := startProber(ctx, c.endpoints(), probeEvery, 1000, 64)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range g.times {
		gap, err := g.once(ctx, c, p, rng)
		if err != nil {
			return nil, fmt.Errorf("leader %d: %w", i+1, err)
		}
		out = append(out, departed{System: sys.name, How: g.how, Gap: gap.Seconds()})
		if (i+1)%20 == 0 {
			if err := g.say(cmd, "%s: %d of %d leaders gone, the last for %v", sys.name, i+1, g.times, gap.Round(time.Millisecond)); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// once takes one leader away, waits until the others serve, and gives it back.
func (g *interruption) once(ctx context.Context, c *cluster, p *prober, rng *rand.Rand) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, departTimeout)
	defer cancel()
	if err := p.awaitAcks(ctx, time.Now(), steadyAcks); err != nil {
		return 0, err
	}
	// Not in step with the heartbeats.
	if err := pause(ctx, time.Duration(rng.Int64N(int64(200*time.Millisecond)))); err != nil {
		return 0, err
	}
	leader, err := c.leader(ctx)
	if err != nil {
		return 0, err
	}
	m, from := c.members[leader], time.Now()
	switch g.how {
	case howKill:
		err = m.kill()
	case howFreeze:
		err = m.signal(syscall.SIGSTOP)
	case howStop:
		err = m.stop()
	}
	if err != nil {
		return 0, err
	}
	err = p.awaitAcks(ctx, time.Now(), steadyAcks)
	to := time.Now()
	if g.how == howFreeze {
		err = errors.Join(err, m.signal(syscall.SIGCONT))
	} else if err == nil {
		err = c.startMember(leader)
	}
	if err != nil {
		return 0, err
	}
	return p.longestGap(from, to), c.await(ctx, len(c.seats))
}

func (g *interruption) print(out io.Writer, all []departed) error {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	if _, err := fmt.Fprintf(tw, "\nlonger than any other between two writes when the leader is gone (%s), %d times\nsystem\tp50 ms\tp90 ms\tp99 ms\tmax ms\t\n", g.how, g.times); err != nil {
		return err
	}
	for _, sys := range g.systems {
		h := &histogram{}
		for _, one := range all {
			if one.System == sys.name {
				h.add(time.Duration(one.Gap * float64(time.Second)))
			}
		}
		_, err := fmt.Fprintf(tw, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t\n", sys.name,
			millis(h.quantile(0.5)), millis(h.quantile(0.9)), millis(h.quantile(0.99)), millis(h.max))
		if err != nil {
			return err
		}
	}
	return tw.Flush()
}
