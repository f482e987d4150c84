package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// floorName is who holds the figures that cannot be undercut.
const floorName = "limit"

// table measures many loads, each by turns of the systems, and holds the ratios to what they
// should be.
type table struct {
	session
	sizes
	names       []string // of rows; none is all
	full        bool
	members     []int
	rounds      int
	duration    time.Duration
	warmUp      time.Duration
	pause       time.Duration
	settle      time.Duration
	connections int

	markdown, chart string

	cmd   *cobra.Command
	turns int
}

// sizes are how much of everything there is.
type sizes struct {
	keys, bigKeys, versions, leases, diskPuts, valueSize int
	// manyClients are those of loads whose name does not say it.
	manyClients int
	// paced is how many puts a second there are through a compaction.
	paced int
	// through is how long those go on, at least: the same for all systems, whoever compacts faster.
	through time.Duration
}

// Two sizes of the table.
var (
	shortSizes = sizes{keys: 50_000, bigKeys: 100_000, versions: 100_000, leases: 5_000, diskPuts: 50_000, valueSize: 256, manyClients: 100, paced: 2_000, through: 4 * time.Second}
	fullSizes  = sizes{keys: 50_000, bigKeys: 1_000_000, versions: 1_000_000, leases: 50_000, diskPuts: 300_000, valueSize: 256, manyClients: 100, paced: 2_000, through: 20 * time.Second}
)

// stand is a system in a turn.
type stand struct {
	sys     system
	cluster *cluster
	// lanes are opened for each turn.
	lanes lanes
	// leases are those that were granted to each client.
	leases [][]int64
	// ordered are the prefixes of keys that were put in order.
	ordered []string
}

// tableTurn is one row on one system in one round.
type tableTurn struct {
	Row     string   `json:"row"`
	Members int      `json:"members"`
	Round   int      `json:"round"`
	System  string   `json:"system"`
	Figures measured `json:"figures"`
}

// base are the keys that the clusters are filled with.
func (t *table) base() keys { return keys{keyPrefix, t.keys} }

// turn numbers the turns, for names of keys that were not there before.
func (t *table) turn() int {
	t.turns++
	return t.turns
}

// figures are those that a load has by itself.
func (r loadResult) figures() measured {
	return measured{perSecond: r.PerSecond, p50: r.P50, p99: r.P99, p999: r.P999, longest: r.Max}
}

// runCrew warms up and measures.
func (t *table) runCrew(ctx context.Context, s *stand, cr *crew) (measured, error) {
	if t.warmUp > 0 {
		if _, err := cr.run(ctx, limit{duration: t.warmUp}); err != nil {
			return nil, err
		}
		cr.forget()
	}
	l, err := openLedger(ctx, s.cluster)
	if err != nil {
		return nil, err
	}
	res, err := cr.run(ctx, limit{duration: t.duration})
	if err != nil {
		return nil, err
	}
	m := res.figures()
	return m, l.settle(ctx, res.Operations, cr.userBytes(), m)
}

// measure goes through the rows, scene by scene. What was measured until something failed is
// reported, too: a long table is not lost with its last row.
func (t *table) measure(ctx context.Context, chosen []row) error {
	var all []tableTurn
	for _, members := range t.members {
		for _, sc := range []scene{stocked, quiet, history, big, bare} {
			rows := slices.DeleteFunc(slices.Clone(chosen), func(r row) bool { return r.scene != sc || !t.takes(r, members) })
			if len(rows) == 0 {
				continue
			}
			turns, err := t.play(ctx, sc, members, rows)
			all = append(all, turns...)
			if err != nil {
				err = fmt.Errorf("%d member(s): %w", members, err)
				return errors.Join(err, t.report(chosen, all, err))
			}
		}
	}
	return t.report(chosen, all, nil)
}

// takes tells whether a row is measured with so many members. Rows that are asked for by name
// are, whatever the size of the table.
func (t *table) takes(r row, members int) bool {
	if len(t.names) > 0 {
		return r.fits(members)
	}
	return r.isFor(members, t.full)
}

// play sets a scene and gives every row its turns in it. On an error it returns those there were.
func (t *table) play(ctx context.Context, sc scene, members int, rows []row) (out []tableTurn, err error) {
	var stands []*stand
	defer func() {
		for _, s := range slices.Backward(stands) {
			err = errors.Join(err, s.close())
		}
	}()
	for _, sys := range t.systems {
		s, err := t.enter(ctx, sc, members, sys)
		if err != nil {
			return nil, err
		}
		stands = append(stands, s)
	}
	round := 1
	for _, turn := range order(rows, t.rounds, sc == big) {
		if sc == stocked && turn.round > round {
			for _, s := range stands {
				if err := t.tidy(ctx, s); err != nil {
					return out, fmt.Errorf("%s, after round %d: %w", s.sys.name, round, err)
				}
			}
			round = turn.round
		}
		turns, err := t.playOnce(ctx, turn.row, members, turn.round, stands)
		if err != nil {
			return out, fmt.Errorf("%s, round %d: %w", turn.row.name, turn.round, err)
		}
		out = append(out, turns...)
	}
	return out, nil
}

// appointment is a row in a round.
type appointment struct {
	row   row
	round int
}

// order is round by round, so that what the machine does in time meets all rows; or row by row,
// where a row changes what the others would find.
func order(rows []row, rounds int, rowByRow bool) []appointment {
	var all []appointment
	for round := 1; round <= rounds; round++ {
		for _, r := range rows {
			all = append(all, appointment{r, round})
		}
	}
	if rowByRow {
		slices.SortStableFunc(all, func(a, b appointment) int {
			at := func(x appointment) int {
				return slices.IndexFunc(rows, func(r row) bool { return r.name == x.row.name })
			}
			return at(a) - at(b)
		})
	}
	return all
}

// enter starts a system as a scene asks for.
func (t *table) enter(ctx context.Context, sc scene, members int, sys system) (*stand, error) {
	s := &stand{sys: sys}
	if sc == bare {
		return s, nil
	}
	n := map[scene]int{stocked: t.keys, quiet: t.keys, big: t.bigKeys}[sc]
	if err := t.say(t.cmd, "starting %s with %d member(s) and %d keys", sys.name, members, n); err != nil {
		return nil, err
	}
	c, err := startCluster(ctx, sys, members, t.place.dir)
	if err != nil {
		return nil, err
	}
	s.cluster = c
	if n > 0 {
		if err := fillOnce(ctx, c, n, t.valueSize); err != nil {
			return nil, errors.Join(fmt.Errorf("prepare %s: %w", sys.name, err), s.close())
		}
	}
	return s, nil
}

// close stops the system and removes its data, so that the next scene finds none.
func (s *stand) close() error {
	if s.cluster == nil {
		return nil
	}
	return errors.Join(s.cluster.stop(), s.cluster.removeData())
}

// playOnce is a row in one round: a turn of each system, and the floor if the row has one.
func (t *table) playOnce(ctx context.Context, r row, members, round int, stands []*stand) ([]tableTurn, error) {
	var out []tableTurn
	note := func(name string, m measured) error {
		out = append(out, tableTurn{Row: r.name, Members: members, Round: round, System: name, Figures: m})
		return t.say(t.cmd, "%d member(s)  round %d/%d  %-22s %-10s %s", members, round, t.rounds, r.name, name, m.brief(r))
	}
	for _, s := range stands {
		m, err := t.take(ctx, r, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.sys.name, err)
		}
		if err := note(s.sys.name, m); err != nil {
			return nil, err
		}
	}
	if r.floor == nil || members > 1 {
		return out, nil
	}
	m, err := r.floor(t, ctx)
	if err != nil {
		return nil, err
	}
	return out, note(floorName, m)
}

// take is one turn: pause, connect, measure.
func (t *table) take(ctx context.Context, r row, s *stand) (_ measured, err error) {
	if err := pause(ctx, t.pause); err != nil {
		return nil, err
	}
	if s.cluster != nil {
		if s.lanes, err = newLanes(ctx, s.cluster, t.connections); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.lanes.close()) }()
	}
	return r.run(ctx, t, s)
}

// brief shows the figures of a turn that the row is about.
func (m measured) brief(r row) string {
	var parts []string
	for _, f := range r.figures() {
		if v, ok := m[f]; ok {
			parts = append(parts, fmt.Sprintf("%s %s", f, amount(v)))
		}
	}
	return strings.Join(parts, ", ")
}

// command is how this process was called.
func command() string { return strings.Join(os.Args, " ") }
