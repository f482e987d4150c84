package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tableLine is one figure of one row, summed up over all rounds.
type tableLine struct {
	Row       string `json:"row"`
	Title     string `json:"title"`
	Members   int    `json:"members"`
	Figure    figure `json:"figure"`
	Etcd      sample `json:"etcd"`
	ChainFire sample `json:"chainfire"`
	// Limit is what cannot be undercut, where the ratio is to that and not to etcd's.
	Limit *sample `json:"limit,omitempty"`
	// Ratio is that of the medians; Pairs is how the ratios of the single rounds are spread.
	Ratio float64 `json:"ratio"`
	Pairs sample  `json:"ratio_of_pairs"`
	// Target is what the ratio should be, where something is asked of it.
	Target string `json:"target,omitempty"`
	// TargetRatio is the bound that Target names.
	TargetRatio float64 `json:"target_ratio,omitempty"`
	Met         *bool   `json:"met,omitempty"`
}

// tableReport is the JSON form of a table.
type tableReport struct {
	Date time.Time `json:"date"`
	// Failure is what ended the table before it was complete.
	Failure  string            `json:"failure,omitempty"`
	Command  string            `json:"command"`
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Sizes    map[string]int    `json:"sizes"`
	Rounds   int               `json:"rounds"`
	Duration float64           `json:"duration_seconds"`
	Lines    []tableLine       `json:"lines"`
	Turns    []tableTurn       `json:"turns"`
}

// figures are those of a row's lines: with targets first.
func (r row) figures() []figure {
	var all []figure
	for _, t := range r.targets {
		all = append(all, t.figure)
	}
	all = append(all, r.shows...)
	var once []figure
	for _, f := range all {
		if !slices.Contains(once, f) {
			once = append(once, f)
		}
	}
	return once
}

// lines sums up the turns of the rows, in their order.
func lines(chosen []row, turns []tableTurn) []tableLine {
	var out []tableLine
	for _, r := range chosen {
		for _, members := range []int{1, 3} {
			of := slices.DeleteFunc(slices.Clone(turns), func(t tableTurn) bool { return t.Row != r.name || t.Members != members })
			if len(of) == 0 {
				continue
			}
			for _, f := range r.figures() {
				out = append(out, r.linesOf(f, members, of)...)
			}
		}
	}
	return out
}

// linesOf are the lines of one figure: one to etcd, and one to the floor if that is asked for.
func (r row) linesOf(f figure, members int, turns []tableTurn) []tableLine {
	etcd, chainfire, floor := valuesOf(turns, "etcd", f), valuesOf(turns, "chainfire", f), valuesOf(turns, floorName, f)
	line := tableLine{Row: r.name, Title: r.title, Members: members, Figure: f, Etcd: summarize(etcd), ChainFire: summarize(chainfire)}
	toEtcd := line
	toEtcd.compare(etcd, chainfire)
	var out []tableLine
	for _, t := range r.targets {
		if t.figure != f || t.members != 0 && t.members != members {
			continue
		}
		if !t.toFloor {
			toEtcd.hold(t)
			continue
		}
		toFloor := line
		limit := summarize(floor)
		toFloor.Limit = &limit
		toFloor.compare(floor, chainfire)
		toFloor.hold(t)
		out = append(out, toFloor)
	}
	return append([]tableLine{toEtcd}, out...)
}

// compare takes the ratio of ChainFire to what it is beside, both by rounds.
func (l *tableLine) compare(beside, chainfire []float64) {
	l.Ratio = ratio(summarize(chainfire).Median, summarize(beside).Median)
	var pairs []float64
	for i := range min(len(beside), len(chainfire)) {
		pairs = append(pairs, ratio(chainfire[i], beside[i]))
	}
	l.Pairs = summarize(pairs)
}

// hold holds the line to a target, unless one of the systems was not measured.
func (l *tableLine) hold(t target) {
	l.Target, l.TargetRatio = t.String(), t.limit
	if l.Ratio != 0 {
		met := t.met(l.Ratio)
		l.Met = &met
	}
}

// valuesOf are a system's figures, round by round.
func valuesOf(turns []tableTurn, system string, f figure) []float64 {
	var values []float64
	for _, t := range turns {
		if v, ok := t.Figures[f]; ok && t.System == system {
			values = append(values, v)
		}
	}
	return values
}

func (t *table) report(chosen []row, turns []tableTurn, failure error) error {
	r := tableReport{
		Date: time.Now().UTC().Truncate(time.Second), Command: command(), Machine: t.machine, Versions: t.session.versions,
		Sizes: map[string]int{
			"keys": t.keys, "big_keys": t.bigKeys, "versions": t.sizes.versions, "leases": t.leases, "disk_puts": t.diskPuts,
			"value_size": t.valueSize, "connections": t.connections, "paced_puts_per_second": t.paced, "paced_seconds": int(t.through.Seconds()),
		},
		Rounds: t.rounds, Duration: t.duration.Seconds(), Lines: lines(chosen, turns), Turns: turns,
	}
	if failure != nil {
		r.Failure = failure.Error()
	}
	if _, err := fmt.Fprint(t.cmd.OutOrStdout(), "\n", r.markdown()); err != nil {
		return err
	}
	if err := writeText(t.markdown, r.markdown()); err != nil {
		return err
	}
	if err := writeText(t.chart, r.chart()); err != nil {
		return err
	}
	return t.write(r)
}

// amount writes a number with three digits that count, and all those before the point.
func amount(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}

// markdown is the report as a table to read.
func (r tableReport) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# ChainFire beside etcd\n\n%s\n\n", strings.Join(r.origin(), "\\\n"))
	fmt.Fprint(&b, "Medians of the rounds; behind ± is how far the rounds are apart, as a part of the median. The ratio is\n"+
		"ChainFire's median to etcd's, or to the limit where the target says so; behind it, from the least to the\n"+
		"greatest, are the ratios of the single rounds.\n\n")
	fmt.Fprint(&b, "| row | members | figure | etcd | ChainFire | ratio | its spread | target | |\n|---|--:|---|--:|--:|--:|--:|---|---|\n")
	for _, l := range r.Lines {
		beside := l.Etcd
		name := ""
		if l.Limit != nil {
			beside, name = *l.Limit, "limit: "
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s%s | %s | %s | %s–%s | %s | %s |\n", l.Title, l.Members, l.Figure,
			name, beside, l.ChainFire, amount(l.Ratio), amount(l.Pairs.Min), amount(l.Pairs.Max), l.Target, l.verdict())
	}
	return b.String()
}

func (l tableLine) verdict() string {
	switch {
	case l.Met == nil:
		return ""
	case *l.Met:
		return "met"
	default:
		return "missed"
	}
}

// String is the median and the spread.
func (s sample) String() string { return fmt.Sprintf("%s ±%.0f %%", amount(s.Median), 100*s.spread()) }

// origin says where the figures come from.
func (r tableReport) origin() []string {
	var versions []string
	for name, v := range r.Versions {
		versions = append(versions, name+": "+v)
	}
	slices.Sort(versions)
	notes := []string{
		fmt.Sprintf("%s; %s.", r.Date.Format(time.RFC3339), r.Machine),
		strings.Join(versions, "; ") + ".",
		fmt.Sprintf("%d round(s) of %g s each: %s", r.Rounds, r.Duration, r.Command),
	}
	if r.Failure != "" {
		notes = append(notes, "Not complete: "+r.Failure)
	}
	return notes
}
