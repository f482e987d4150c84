package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// course is how a comparison is run, whatever the loads are.
type course struct {
	members  int
	rounds   int
	duration time.Duration
	warmUp   time.Duration
	pause    time.Duration
}

// flags adds the flags of a course; members says what they are of.
func (c *course) flags(cmd *cobra.Command, members string) {
	f := cmd.Flags()
	f.IntVar(&c.members, "members", 1, members)
	f.IntVar(&c.rounds, "rounds", 5, "rounds, of which the medians are taken")
	f.DurationVar(&c.duration, "duration", 5*time.Second, "how long each load is measured")
	f.DurationVar(&c.warmUp, "warm-up", time.Second, "how long each load runs before it is measured")
	f.DurationVar(&c.pause, "pause", time.Second, "pause before each load")
}

func (c *course) validate() error {
	if c.members != 1 && c.members != 3 {
		return fmt.Errorf("a comparison is of 1 or 3 members, not %d", c.members)
	}
	if c.rounds < 1 {
		return errors.New("a comparison needs 1 round at least")
	}
	return nil
}

// spent runs a load on a cluster. It returns what processor time all servers took meanwhile, and the
// most memory that the largest ever had, in bytes.
func (c *cluster) spent(load func() error) (cpu time.Duration, peakRSS uint64, err error) {
	before, err := c.usage()
	if err != nil {
		return 0, 0, err
	}
	if err := load(); err != nil {
		return 0, 0, err
	}
	after, err := c.usage()
	if err != nil {
		return 0, 0, err
	}
	return after.CPU - before.CPU, after.PeakRSS, nil
}

// medians is how a figure of some turns is summed up.
func medians[T any](turns []T, of func(T) bool) func(figure func(T) float64) sample {
	return func(figure func(T) float64) sample {
		var values []float64
		for _, t := range turns {
			if of(t) {
				values = append(values, figure(t))
			}
		}
		return summarize(values)
	}
}

// medianRatio is the second of two systems' medians divided by the first's.
func medianRatio[F any](systems []F, figure func(F) sample) float64 {
	return ratio(figure(systems[1]).Median, figure(systems[0]).Median)
}

// printTable prints lines whose cells end with tabs.
func printTable(out io.Writer, lines []string) error {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, line := range lines {
		if _, err := fmt.Fprintln(tw, line); err != nil {
			return err
		}
	}
	return tw.Flush()
}
