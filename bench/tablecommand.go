package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func tableCommand() *cobra.Command {
	t := &table{}
	var asked sizes
	cmd := &cobra.Command{
		Use:   "table",
		Short: "measure everything beside etcd, in turns, and hold the ratios to their targets",
		Long: "Each row is a load. etcd and ChainFire take turns at it, several rounds long, on one disk and\n" +
			"with one generator of load; the table has the medians, their ratio and its spread.\n\nRows: " + strings.Join(rowNames(rows()), ", ") + ".",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t.cmd = cmd
			t.size(asked)
			chosen, err := t.chooseRows()
			if err != nil {
				return err
			}
			return t.within(cmd, func(ctx context.Context) error { return t.measure(ctx, chosen) })
		},
	}
	t.flags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&t.names, "row", nil, "only these rows, by name")
	f.BoolVar(&t.full, "full", false, "all rows at full size, not only the chief ones at a small one")
	f.IntSliceVar(&t.members, "members", []int{1, 3}, "members of each cluster: 1, 3 or both")
	f.IntVar(&t.rounds, "rounds", 3, "rounds, of which the medians are taken")
	f.DurationVar(&t.duration, "duration", 2*time.Second, "how long each load is measured")
	f.DurationVar(&t.warmUp, "warm-up", 500*time.Millisecond, "how long each load runs before it is measured")
	f.DurationVar(&t.pause, "pause", 500*time.Millisecond, "pause before each turn")
	f.DurationVar(&t.settle, "settle", 2*time.Second, "how long a store may write in the background before it is looked at")
	f.IntVar(&t.connections, "connections", 12, "connections that the clients share")
	f.IntVar(&asked.keys, "keys", 0, fmt.Sprintf("keys that most loads are spread over (default %d)", shortSizes.keys))
	f.IntVar(&asked.bigKeys, "big-keys", 0, fmt.Sprintf("keys of rows that are about very many (default %d, with --full %d)", shortSizes.bigKeys, fullSizes.bigKeys))
	f.IntVar(&asked.versions, "versions", 0, fmt.Sprintf("versions that are compacted (default %d, with --full %d)", shortSizes.versions, fullSizes.versions))
	f.IntVar(&asked.leases, "leases", 0, fmt.Sprintf("leases that are kept alive (default %d, with --full %d)", shortSizes.leases, fullSizes.leases))
	f.IntVar(&asked.diskPuts, "disk-puts", 0, fmt.Sprintf("puts of which the bytes on disk are counted (default %d, with --full %d)", shortSizes.diskPuts, fullSizes.diskPuts))
	f.IntVar(&asked.valueSize, "value-size", 0, fmt.Sprintf("size of a value in bytes (default %d)", shortSizes.valueSize))
	f.IntVar(&asked.paced, "paced", 0, fmt.Sprintf("puts a second through a compaction (default %d)", shortSizes.paced))
	f.DurationVar(&asked.through, "through", 0, fmt.Sprintf("how long they go on, the compaction in the time or more (default %v, with --full %v)", shortSizes.through, fullSizes.through))
	f.StringVar(&t.markdown, "markdown", "", "also write the table to this file, in Markdown")
	f.StringVar(&t.chart, "chart", "", "also draw the ratios into this file, in SVG")
	return cmd
}

// size takes the sizes that were asked for, and the table's own for the others.
func (t *table) size(asked sizes) {
	t.sizes = shortSizes
	if t.full {
		t.sizes = fullSizes
	}
	for _, s := range []struct {
		to    *int
		asked int
	}{
		{&t.keys, asked.keys},
		{&t.bigKeys, asked.bigKeys},
		{&t.sizes.versions, asked.versions},
		{&t.leases, asked.leases},
		{&t.diskPuts, asked.diskPuts},
		{&t.valueSize, asked.valueSize},
		{&t.paced, asked.paced},
	} {
		if s.asked != 0 {
			*s.to = s.asked
		}
	}
	if asked.through != 0 {
		t.through = asked.through
	}
}

// chooseRows checks what was asked for and lists the rows to measure.
func (t *table) chooseRows() ([]row, error) {
	for _, n := range []int{t.rounds, t.connections, t.bigKeys, t.sizes.versions, t.leases, t.diskPuts, t.valueSize, t.paced, len(t.members)} {
		if n < 1 {
			return nil, errors.New("a table needs 1 of everything at least")
		}
	}
	if t.keys < longRange {
		return nil, fmt.Errorf("the longest range is of %d keys: --keys must not be less", longRange)
	}
	if t.duration <= 0 || t.through <= 0 || t.warmUp < 0 || t.pause < 0 || t.settle < 0 {
		return nil, errors.New("a load needs some time, and no time is less than none")
	}
	for _, m := range t.members {
		if m != 1 && m != 3 {
			return nil, fmt.Errorf("a table is of 1 or 3 members, not %d", m)
		}
	}
	all := rows()
	known := rowNames(all)
	for _, name := range t.names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no row %q: use %s", name, strings.Join(known, ", "))
		}
	}
	chosen := slices.DeleteFunc(all, func(r row) bool {
		return len(t.names) > 0 && !slices.Contains(t.names, r.name) ||
			!slices.ContainsFunc(t.members, func(m int) bool { return t.takes(r, m) })
	})
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no row of these is for clusters of %v members", t.members)
	}
	return chosen, nil
}

func rowNames(all []row) []string {
	var names []string
	for _, r := range all {
		names = append(names, r.name)
	}
	return names
}
