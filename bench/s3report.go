package main

import (
	"fmt"
	"io"
)

// objectFigures are one system's under one load, over all rounds.
type objectFigures struct {
	System       string `json:"system"`
	PerSecond    sample `json:"per_second"`
	MiBPerSecond sample `json:"mib_per_second"`
	P50          sample `json:"p50_ms"`
	P99          sample `json:"p99_ms"`
	CPUPerGiB    sample `json:"cpu_seconds_per_gib"`
	PeakRSS      sample `json:"peak_rss_bytes"`
}

// objectContest is one load and how each system bore it.
type objectContest struct {
	Load    objectLoad      `json:"load"`
	Systems []objectFigures `json:"systems"`
	// Ratios are ChainFire's medians divided by MinIO's: nil when only one of them was
	// measured.
	Ratios *objectRatios `json:"chainfire_to_minio,omitempty"`
}

type objectRatios struct {
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50"`
	P99       float64 `json:"p99"`
	CPUPerGiB float64 `json:"cpu_seconds_per_gib"`
	PeakRSS   float64 `json:"peak_rss"`
}

// objectReport is the JSON form of a comparison.
type objectReport struct {
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Members  int               `json:"members"`
	Rounds   int               `json:"rounds"`
	Unsigned bool              `json:"unsigned_bodies"`
	Contests []objectContest   `json:"contests"`
	Turns    []objectTurn      `json:"turns"`
}

// sumUpObjects takes the medians of a system's turns under one load.
func sumUpObjects(turns []objectTurn, l objectLoad, name string) objectFigures {
	pick := medians(turns, func(t objectTurn) bool { return t.System == name && t.Load == l })
	return objectFigures{
		System:       name,
		PerSecond:    pick(func(t objectTurn) float64 { return t.PerSecond }),
		MiBPerSecond: pick(func(t objectTurn) float64 { return t.MiBPerSecond }),
		P50:          pick(func(t objectTurn) float64 { return t.P50 }),
		P99:          pick(func(t objectTurn) float64 { return t.P99 }),
		CPUPerGiB:    pick(func(t objectTurn) float64 { return t.CPUPerGiB }),
		PeakRSS:      pick(func(t objectTurn) float64 { return float64(t.PeakRSS) }),
	}
}

// objectContests sums up all turns, load by load. With two systems the first is the one to
// compare with.
func objectContests(turns []objectTurn, loads []objectLoad, systems []system) []objectContest {
	var out []objectContest
	for _, l := range loads {
		c := objectContest{Load: l}
		for _, sys := range systems {
			c.Systems = append(c.Systems, sumUpObjects(turns, l, sys.name))
		}
		if len(c.Systems) == 2 {
			c.Ratios = &objectRatios{
				PerSecond: medianRatio(c.Systems, func(f objectFigures) sample { return f.PerSecond }),
				P50:       medianRatio(c.Systems, func(f objectFigures) sample { return f.P50 }),
				P99:       medianRatio(c.Systems, func(f objectFigures) sample { return f.P99 }),
				CPUPerGiB: medianRatio(c.Systems, func(f objectFigures) sample { return f.CPUPerGiB }),
				PeakRSS:   medianRatio(c.Systems, func(f objectFigures) sample { return f.PeakRSS }),
			}
		}
		out = append(out, c)
	}
	return out
}

func (c *objectComparison) report(out io.Writer, turns []objectTurn) error {
	all := objectContests(turns, c.loads(), c.systems)
	bodies := "signed"
	if c.unsigned {
		bodies = "unsigned"
	}
	if _, err := fmt.Fprintf(out, "\n%d member(s) of ChainFire, %s bodies; medians of %d rounds of %v\n", c.members, bodies, c.rounds, c.duration); err != nil {
		return err
	}
	if err := printObjectContests(out, all); err != nil {
		return err
	}
	return c.write(objectReport{
		Machine: c.machine, Versions: c.versions, Members: c.members, Rounds: c.rounds, Unsigned: c.unsigned,
		Contests: all, Turns: turns,
	})
}

// printObjectContests prints a table with one line per load and system, and one with the
// ratios below each load.
func printObjectContests(out io.Writer, all []objectContest) error {
	lines := []string{"load\tsystem\tobjects/s\tMiB/s\tspread\tp50 ms\tp99 ms\tCPU s/GiB\tpeak RSS MiB\t"}
	for _, c := range all {
		for _, f := range c.Systems {
			lines = append(lines, fmt.Sprintf("%s\t%s\t%.1f\t%.1f\t%.0f %%\t%.2f\t%.2f\t%.2f\t%.0f\t",
				c.Load, f.System, f.PerSecond.Median, f.MiBPerSecond.Median, 100*f.PerSecond.spread(),
				f.P50.Median, f.P99.Median, f.CPUPerGiB.Median, f.PeakRSS.Median/(1<<20)))
		}
		if r := c.Ratios; r != nil {
			lines = append(lines, fmt.Sprintf("\tratio\t%.2f\t\t\t%.2f\t%.2f\t%.2f\t%.2f\t", r.PerSecond, r.P50, r.P99, r.CPUPerGiB, r.PeakRSS))
		}
	}
	return printTable(out, lines)
}
