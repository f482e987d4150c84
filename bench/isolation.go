package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// isolation measures what small writes of keys feel of uploads of objects that saturate
// the members: rounds without and with, one after the other. The uploaders are a process of
// their own, so that no small write waits in this one for their work.
type isolation struct {
	session
	members   int
	uploaders int
	sizeKiB   int
	every     time.Duration
	rounds    int
	duration  time.Duration
	pause     time.Duration
}

// felt is one stretch of small writes. Latencies are in milliseconds.
type felt struct {
	Round int `json:"round"`
	// Upload says that objects were uploaded meanwhile, at this rate.
	Upload       bool    `json:"upload"`
	MiBPerSecond float64 `json:"upload_mib_per_second"`
	Writes       uint64  `json:"writes"`
	Failed       int     `json:"failed"`
	P50          float64 `json:"p50_ms"`
	P99          float64 `json:"p99_ms"`
	Max          float64 `json:"max_ms"`
}

// isolationReport is the JSON form.
type isolationReport struct {
	Machine   machine           `json:"machine"`
	Versions  map[string]string `json:"versions"`
	Members   int               `json:"members"`
	Uploaders int               `json:"uploaders"`
	SizeKiB   int               `json:"size_kib"`
	Stretches []felt            `json:"stretches"`
	// Ratio is the median p99 under uploads divided by that without.
	Ratio float64 `json:"p99_ratio"`
}

func isolationCommand() *cobra.Command {
	i := &isolation{}
	i.rivals = func() []system { return []system{newChainFireS3(i.chainfire)} }
	cmd := &cobra.Command{
		Use:   "isolation",
		Short: "time small writes of keys without and with uploads of objects",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if i.members != 1 && i.members != 3 || i.rounds < 1 || i.uploaders < 1 || i.sizeKiB < 1 || i.every <= 0 {
				return errors.New("this needs 1 or 3 members, and 1 round, 1 uploader, objects of 1 KiB and an interval above 0 at least")
			}
			return i.within(cmd, func(ctx context.Context) error { return i.measure(ctx, cmd) })
		},
	}
	i.flags(cmd)
	f := cmd.Flags()
	f.IntVar(&i.members, "members", 3, "members of the cluster: 1 or 3")
	f.IntVar(&i.uploaders, "uploaders", 8, "clients that upload, each one object at a time")
	f.IntVar(&i.sizeKiB, "size", 16<<10, "size of an object in KiB")
	f.DurationVar(&i.every, "every", 5*time.Millisecond, "time between two small writes")
	f.IntVar(&i.rounds, "rounds", 5, "rounds, of which the medians are taken")
	f.DurationVar(&i.duration, "duration", 10*time.Second, "how long each stretch is")
	f.DurationVar(&i.pause, "pause", 2*time.Second, "pause before each stretch")
	return cmd
}

func (i *isolation) measure(ctx context.Context, cmd *cobra.Command) (err error) {
	if len(i.systems) != 1 {
		return errors.New("nothing is measured")
	}
	cl, err := startCluster(ctx, i.systems[0], i.members, i.place.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cl.stop()) }()
	maker := newObjectClient(cl.s3Endpoints(), true)
	err = maker.makeBucket(ctx)
	maker.close()
	if err != nil {
		return err
	}
	up := &uploads{endpoints: cl.s3Endpoints(), clients: i.uploaders, sizeKiB: i.sizeKiB, duration: i.duration}
	probes, err := startProber(ctx, cl.endpoints(), i.every, 1000, 256)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, probes.end()) }()
	var all []felt
	for round := 1; round <= i.rounds; round++ {
		for _, upload := range []bool{false, true} {
			f, err := i.stretch(ctx, up, probes, upload)
			if err != nil {
				return err
			}
			f.Round = round
			all = append(all, f)
			if err := i.say(cmd, "round %d/%d  upload %-5v %6.1f MiB/s  %d writes, %d failed  p50 %.2f ms  p99 %.2f ms  max %.1f ms",
				round, i.rounds, upload, f.MiBPerSecond, f.Writes, f.Failed, f.P50, f.P99, f.Max); err != nil {
				return err
			}
		}
	}
	return i.report(cmd.OutOrStdout(), all)
}

// stretch lets the probes run for a while, with uploads or without.
func (i *isolation) stretch(ctx context.Context, up *uploads, probes *prober, upload bool) (out felt, err error) {
	if err := pause(ctx, i.pause); err != nil {
		return felt{}, err
	}
	out.Upload = upload
	from, failed := time.Now(), probes.failures()
	begun := func() { from, failed = time.Now(), probes.failures() }
	measured := func(res objectResult) {
		h := probes.between(from, from.Add(i.duration))
		out.MiBPerSecond, out.Writes, out.Failed = res.MiBPerSecond, h.n, probes.failures()-failed
		out.P50, out.P99, out.Max = millis(h.quantile(0.5)), millis(h.quantile(0.99)), millis(h.max)
	}
	if upload {
		err = up.beside(ctx, begun, measured)
		return out, err
	}
	if err := pause(ctx, i.duration); err != nil {
		return felt{}, err
	}
	measured(objectResult{})
	return out, nil
}

func (i *isolation) report(out io.Writer, all []felt) error {
	p99 := map[bool][]float64{}
	for _, f := range all {
		p99[f.Upload] = append(p99[f.Upload], f.P99)
	}
	without, with := summarize(p99[false]), summarize(p99[true])
	r := ratio(with.Median, without.Median)
	if _, err := fmt.Fprintf(out, "\n%d member(s), %d uploaders of %s; medians of %d rounds of %v\np99 of small writes: %.2f ms without, %.2f ms with uploads: %.2f times\n",
		i.members, i.uploaders, sizeName(i.sizeKiB<<10), i.rounds, i.duration, without.Median, with.Median, r); err != nil {
		return err
	}
	return i.write(isolationReport{
		Machine: i.machine, Versions: i.versions, Members: i.members, Uploaders: i.uploaders, SizeKiB: i.sizeKiB, Stretches: all, Ratio: r,
	})
}
