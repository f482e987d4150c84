package main

import (
	"fmt"
	"io"
)

// figures are one system's under one load, over all rounds.
type figures struct {
	System    string `json:"system"`
	PerSecond sample `json:"per_second"`
	P50       sample `json:"p50_ms"`
	P90       sample `json:"p90_ms"`
	P99       sample `json:"p99_ms"`
	Max       sample `json:"max_ms"`
	CPUPerOp  sample `json:"cpu_seconds_per_op"`
	PeakRSS   sample `json:"peak_rss_bytes"`
}

// contest is one load and how each system bore it.
type contest struct {
	Workload workload  `json:"workload"`
	Systems  []figures `json:"systems"`
	// Ratios are ChainFire's medians divided by etcd's: nil when only one of
	// them was measured.
	Ratios *ratios `json:"chainfire_to_etcd,omitempty"`
}

type ratios struct {
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50"`
	P90       float64 `json:"p90"`
	P99       float64 `json:"p99"`
	Max       float64 `json:"max"`
	CPUPerOp  float64 `json:"cpu_seconds_per_op"`
	PeakRSS   float64 `json:"peak_rss"`
}

// compareReport is the JSON form of a comparison.
type compareReport struct {
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Members  int               `json:"members"`
	Rounds   int               `json:"rounds"`
	Contests []contest         `json:"contests"`
	Turns    []turn            `json:"turns"`
}

// sumUp takes the medians of a system's turns under one load.
func sumUp(turns []turn, w workload, name string) figures {
	pick := medians(turns, func(t turn) bool { return t.System == name && t.Workload == w })
	return figures{
		System:    name,
		PerSecond: pick(func(t turn) float64 { return t.PerSecond }),
		P50:       pick(func(t turn) float64 { return t.P50 }),
		P90:       pick(func(t turn) float64 { return t.P90 }),
		P99:       pick(func(t turn) float64 { return t.P99 }),
		Max:       pick(func(t turn) float64 { return t.Max }),
		CPUPerOp:  pick(func(t turn) float64 { return t.CPUPerOp }),
		PeakRSS:   pick(func(t turn) float64 { return float64(t.PeakRSS) }),
	}
}

// contests sums up all turns, load by load. With two systems the first is the
// one to compare with.
func contests(turns []turn, loads []workload, systems []system) []contest {
	var out []contest
	for _, w := range loads {
		c := contest{Workload: w}
		for _, sys := range systems {
			c.Systems = append(c.Systems, sumUp(turns, w, sys.name))
		}
		if len(c.Systems) == 2 {
			c.Ratios = &ratios{
				PerSecond: medianRatio(c.Systems, func(f figures) sample { return f.PerSecond }),
				P50:       medianRatio(c.Systems, func(f figures) sample { return f.P50 }),
				P90:       medianRatio(c.Systems, func(f figures) sample { return f.P90 }),
				P99:       medianRatio(c.Systems, func(f figures) sample { return f.P99 }),
				Max:       medianRatio(c.Systems, func(f figures) sample { return f.Max }),
				CPUPerOp:  medianRatio(c.Systems, func(f figures) sample { return f.CPUPerOp }),
				PeakRSS:   medianRatio(c.Systems, func(f figures) sample { return f.PeakRSS }),
			}
		}
		out = append(out, c)
	}
	return out
}

func (c *comparison) report(out io.Writer, turns []turn) error {
	all := contests(turns, c.workloads(), c.systems)
	if _, err := fmt.Fprintf(out, "\n%d member(s), %d keys, values of %d bytes, %d connections; medians of %d rounds of %v\n",
		c.members, c.keys, c.valueSize, c.connections, c.rounds, c.duration); err != nil {
		return err
	}
	if err := printContests(out, all); err != nil {
		return err
	}
	return c.write(compareReport{
		Machine:  c.machine,
		Versions: c.versions,
		Members:  c.members,
		Rounds:   c.rounds,
		Contests: all,
		Turns:    turns,
	})
}

// printContests prints a table with one line per load and system, and one with
// the ratios below each load.
func printContests(out io.Writer, all []contest) error {
	lines := []string{"load\tsystem\tops/s\tspread\tp50 ms\tp90 ms\tp99 ms\tmax ms\tCPU µs/op\tpeak RSS MiB\t"}
	for _, c := range all {
		for _, f := range c.Systems {
			lines = append(lines, fmt.Sprintf("%s\t%s\t%.0f\t%.0f %%\t%.3f\t%.3f\t%.3f\t%.1f\t%.1f\t%.0f\t",
				c.Workload, f.System, f.PerSecond.Median, 100*f.PerSecond.spread(),
				f.P50.Median, f.P90.Median, f.P99.Median, f.Max.Median,
				1e6*f.CPUPerOp.Median, f.PeakRSS.Median/(1<<20)))
		}
		if r := c.Ratios; r != nil {
			lines = append(lines, fmt.Sprintf("\tratio\t%.2f\t\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t",
				r.PerSecond, r.P50, r.P90, r.P99, r.Max, r.CPUPerOp, r.PeakRSS))
		}
	}
	return printTable(out, lines)
}
