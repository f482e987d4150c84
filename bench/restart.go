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

// Bounds of the wait for the first answer after a restart.
const (
	restartTimeout = 2 * time.Minute
	// restartPoll is how often the port is tried: the error of the figure.
	restartPoll = 2 * time.Millisecond
)

// revival measures how soon one member that was killed answers again, and what
// memory it takes.
type revival struct {
	session
	keys      int
	valueSize int
	rounds    int
	pause     time.Duration
}

// revived is one restart of one system. Memory is resident, in bytes.
type revived struct {
	Round  int    `json:"round"`
	System string `json:"system"`
	// FirstRead is the time from the start of the process to the answer of a
	// linearizable read, in seconds.
	FirstRead float64 `json:"first_read_seconds"`
	// RSSBefore is memory before the kill, RSSAfter right after the first read,
	// PeakAfter the most of the new process until then.
	RSSBefore uint64 `json:"rss_before_bytes"`
	RSSAfter  uint64 `json:"rss_after_bytes"`
	PeakAfter uint64 `json:"peak_rss_after_bytes"`
}

// restartReport is the JSON form of the restarts.
type restartReport struct {
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Keys     int               `json:"keys"`
	Value    int               `json:"value_size"`
	Restarts []revived         `json:"restarts"`
}

func restartCommand() *cobra.Command {
	r := &revival{}
	cmd := &cobra.Command{
		Use:   "restart",
		Short: "kill one member with many keys and time its first answer",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.keys < 1 || r.valueSize < 0 || r.rounds < 1 {
				return errors.New("a restart needs 1 key and 1 round at least, and values of 0 bytes or more")
			}
			return r.within(cmd, func(ctx context.Context) error { return r.measure(ctx, cmd) })
		},
	}
	r.flags(cmd)
	f := cmd.Flags()
	f.IntVar(&r.keys, "keys", 1_000_000, "keys in the store")
	f.IntVar(&r.valueSize, "value-size", 256, "size of a value in bytes")
	f.IntVar(&r.rounds, "rounds", 3, "how many times the member is killed")
	f.DurationVar(&r.pause, "pause", 3*time.Second, "how long the member rests before it is killed")
	return cmd
}

func (r *revival) measure(ctx context.Context, cmd *cobra.Command) error {
	var all []revived
	for _, sys := range r.systems {
		if err := r.say(cmd, "starting %s and putting %d keys of %d bytes", sys.name, r.keys, r.valueSize); err != nil {
			return err
		}
		of, err := r.ofSystem(ctx, cmd, sys)
		if err != nil {
			return fmt.Errorf("%s: %w", sys.name, err)
		}
		all = append(all, of...)
	}
	if err := r.print(cmd.OutOrStdout(), all); err != nil {
		return err
	}
	return r.write(restartReport{
		Machine:  r.machine,
		Versions: r.versions,
		Keys:     r.keys,
		Value:    r.valueSize,
		Restarts: all,
	})
}

// ofSystem fills one member of a system, then kills and restarts it in rounds.
func (r *revival) ofSystem(ctx context.Context, cmd *cobra.Command, sys system) (out []revived, err error) {
	c, err := startCluster(ctx, sys, 1, r.place.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := fillOnce(ctx, c, r.keys, r.valueSize); err != nil {
		return nil, err
	}
	for round := 1; round <= r.rounds; round++ {
		if err := pause(ctx, r.pause); err != nil {
			return nil, err
		}
		one, err := r.once(ctx, c, 0)
		if err != nil {
			return nil, fmt.Errorf("restart %d: %w", round, err)
		}
		one.Round = round
		out = append(out, one)
		if err := r.say(cmd, "restart %d/%d  %-10s %.2f s", round, r.rounds, sys.name, one.FirstRead); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func fillOnce(ctx context.Context, c *cluster, keys, valueSize int) (err error) {
	p, err := newPool(c.endpoints(), 4)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	return p.fill(ctx, keys, valueSize)
}

// once kills member i, starts it again, and times its first answer. Then it
// counts the keys: a member that lost some is not worth timing.
func (r *revival) once(ctx context.Context, c *cluster, i int) (revived, error) {
	before, err := c.usage()
	if err != nil {
		return revived{}, err
	}
	if err := c.members[i].kill(); err != nil {
		return revived{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	start := time.Now()
	if err := c.startMember(i); err != nil {
		return revived{}, err
	}
	took, err := firstRead(ctx, c, i, start)
	if err != nil {
		return revived{}, err
	}
	after, err := c.usage()
	if err != nil {
		return revived{}, err
	}
	if err := holdsAll(ctx, c.seats[i].client, r.keys); err != nil {
		return revived{}, err
	}
	return revived{
		System:    c.sys.name,
		FirstRead: took.Seconds(),
		RSSBefore: before.RSS,
		RSSAfter:  after.RSS,
		PeakAfter: after.PeakRSS,
	}, nil
}

// firstRead tries the port of member i until it listens, and reads one key from it
// until it answers.
func firstRead(ctx context.Context, c *cluster, i int, start time.Time) (time.Duration, error) {
	tick := time.NewTicker(restartPoll)
	defer tick.Stop()
	for {
		err := readOne(ctx, c.seats[i].client)
		if err == nil {
			return time.Since(start), nil
		}
		if ended := c.members[i].running(); ended != nil {
			return 0, ended
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("no answer after the restart: %w", err)
		case <-tick.C:
		}
	}
}

func readOne(ctx context.Context, endpoint string) (err error) {
	if err := listens(ctx, endpoint); err != nil {
		return err
	}
	cl, err := dial([]string{endpoint})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cl.Close()) }()
	got, err := cl.Get(ctx, keyName(0))
	if err == nil && len(got.Kvs) != 1 {
		err = errors.New("the first key is gone")
	}
	return err
}

// holdsAll fails unless the member holds exactly the keys that were put.
func holdsAll(ctx context.Context, endpoint string, keys int) (err error) {
	cl, err := dial([]string{endpoint})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cl.Close()) }()
	got, err := cl.Get(ctx, keyPrefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("count keys: %w", err)
	}
	if got.Count != int64(keys) {
		return fmt.Errorf("%d of %d keys are there after the restart", got.Count, keys)
	}
	return nil
}

func (r *revival) print(out io.Writer, all []revived) error {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	lines := []string{
		fmt.Sprintf("\nkill and restart with %d keys of %d bytes; medians of %d", r.keys, r.valueSize, r.rounds),
		"system\tfirst read s\tspread\tRSS before MiB\tRSS after MiB\tpeak after MiB\t",
	}
	for _, sys := range r.systems {
		pick := func(figure func(revived) float64) sample {
			var values []float64
			for _, one := range all {
				if one.System == sys.name {
					values = append(values, figure(one))
				}
			}
			return summarize(values)
		}
		first := pick(func(v revived) float64 { return v.FirstRead })
		lines = append(lines, fmt.Sprintf("%s\t%.2f\t%.0f %%\t%.0f\t%.0f\t%.0f\t", sys.name, first.Median, 100*first.spread(),
			pick(func(v revived) float64 { return float64(v.RSSBefore) }).Median/(1<<20),
			pick(func(v revived) float64 { return float64(v.RSSAfter) }).Median/(1<<20),
			pick(func(v revived) float64 { return float64(v.PeakAfter) }).Median/(1<<20)))
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(tw, line); err != nil {
			return err
		}
	}
	return tw.Flush()
}
