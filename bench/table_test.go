package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

func TestEveryRowHasItsNameAndSomethingToShow(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows() {
		if r.name == "" || r.title == "" || r.run == nil || len(r.figures()) == 0 || seen[r.name] {
			t.Errorf("row %q (%s) is there twice, or not whole", r.name, r.title)
		}
		seen[r.name] = true
		for _, target := range r.targets {
			if target.limit <= 0 || target.toFloor && r.floor == nil {
				t.Errorf("row %s has target %+v", r.name, target)
			}
		}
		for _, f := range r.figures() {
			if !slices.ContainsFunc(figureNames, func(n figureName) bool { return n.figure == f }) {
				t.Errorf("figure %s of row %s has no name in tables", f, r.name)
			}
		}
	}
}

func TestATargetIsABoundOnTheSideThatIsBetter(t *testing.T) {
	more, less := target{figure: perSecond, limit: 2}, target{figure: p99, limit: 0.5}
	for _, c := range []struct {
		target target
		ratio  float64
		want   bool
	}{{more, 2, true}, {more, 1.99, false}, {less, 0.5, true}, {less, 0.51, false}, {less, 0, false}} {
		if got := c.target.met(c.ratio); got != c.want {
			t.Errorf("%v with a ratio of %v is met: %v", c.target, c.ratio, got)
		}
	}
	if more.String() != "≥ 2" || less.String() != "≤ 0.5" || (target{figure: p50, limit: 1.6, toFloor: true}).String() != "≤ 1.6 × limit" {
		t.Errorf("targets are called %v and %v", more, less)
	}
}

// turnsOf are those of one row, by the systems' values of one figure.
func turnsOf(r row, members int, f figure, values map[string][]float64) []tableTurn {
	var turns []tableTurn
	for system, all := range values {
		for i, v := range all {
			turns = append(turns, tableTurn{Row: r.name, Members: members, Round: i + 1, System: system, Figures: measured{f: v}})
		}
	}
	return turns
}

func TestLinesHoldTheRatiosOfMediansToTheirTargets(t *testing.T) {
	r := row{name: "r", title: "a row", targets: []target{
		{figure: p50, limit: 0.5}, {figure: p50, limit: 1.6, members: 1, toFloor: true}, {figure: p99, limit: 0.1, members: 3},
	}, shows: []figure{p50, p99}}
	turns := turnsOf(r, 1, p50, map[string][]float64{"etcd": {10, 40, 20}, "chainfire": {5, 8, 9}, floorName: {4, 4, 4}})
	got := lines([]row{r}, turns)
	if len(got) != 3 {
		t.Fatalf("%d lines, want one to etcd, one to the limit, one of the figure without values: %+v", len(got), got)
	}
	toEtcd, toLimit, empty := got[0], got[1], got[2]
	if toEtcd.Ratio != 0.4 || !*toEtcd.Met || toEtcd.Limit != nil || toEtcd.Pairs != (sample{Median: 0.45, Min: 0.2, Max: 0.5}) {
		t.Errorf("to etcd: %+v", toEtcd)
	}
	if toLimit.Ratio != 2 || *toLimit.Met || toLimit.Limit.Median != 4 || toLimit.Pairs.Max != 2.25 {
		t.Errorf("to the limit: %+v", toLimit)
	}
	if empty.Figure != p99 || empty.Met != nil || empty.Target != "" {
		t.Errorf("of the figure that is only asked of 3 members: %+v", empty)
	}
	report := tableReport{Date: time.Unix(0, 0).UTC(), Command: "bench <table> & more", Lines: got, Rounds: 3, Versions: map[string]string{"etcd": "3"}}
	for _, want := range []string{"| a row | 1 | p50 ms | 20.0 ±150 % | 8.00 ±50 % | 0.4 | 0.2–0.5 | ≤ 0.5 | met |", "| limit: 4.00 ±0 % | 8.00 ±50 % | 2.00 | 1.25–2.25 | ≤ 1.6 × limit | missed |", "1970-01-01", "bench <table> & more"} {
		if !strings.Contains(report.markdown(), want) {
			t.Errorf("the table lacks %q:\n%s", want, report.markdown())
		}
	}
	checkChart(t, report.chart())
}

// checkChart reads the chart as XML: two bars besides the ground, and what was measured where.
func checkChart(t *testing.T, chart string) {
	t.Helper()
	bars, text := 0, ""
	for d := xml.NewDecoder(strings.NewReader(chart)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the chart is no XML: %v\n%s", err, chart)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Local == "rect" {
				bars++
			}
		case xml.CharData:
			text += string(token)
		}
	}
	if bars != 3 {
		t.Errorf("%d rectangles, want the ground and two bars", bars)
	}
	for _, want := range []string{"a row; 1 member(s): p50 ms *", "2.00  missed", "0.4  met", "1970-01-01", "bench <table> & more"} {
		if !strings.Contains(text, want) {
			t.Errorf("the chart lacks %q", want)
		}
	}
}

func TestAReportThatIsNotCompleteSaysSo(t *testing.T) {
	tb, chosen, err := tableFor(t, "get-100")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tb.cmd = &cobra.Command{}
	tb.cmd.SetOut(io.Discard)
	tb.json, tb.markdown, tb.chart = filepath.Join(dir, "json"), filepath.Join(dir, "markdown"), filepath.Join(dir, "chart")
	for _, failure := range []error{errors.New("the server ended"), nil} {
		turns := turnsOf(chosen[0], 1, perSecond, map[string][]float64{"etcd": {10}, "chainfire": {20}})
		if err := tb.report(chosen, turns, failure); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{tb.json, tb.markdown, tb.chart} {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(string(text), "the server ended"); got != (failure != nil) {
				t.Errorf("%s says that it is not complete: %v; the failure was %v", filepath.Base(name), got, failure)
			}
			if !strings.Contains(string(text), "met") {
				t.Errorf("%s lacks what was measured", filepath.Base(name))
			}
		}
	}
}

func TestTheScaleOfAChartHoldsEveryRatioAndTarget(t *testing.T) {
	s := scaleOf([]tableLine{{Ratio: 0.01, TargetRatio: 0.6}, {Ratio: 3, TargetRatio: 10}, {Ratio: 0}})
	if s.low > 0.01 || s.high < 10 {
		t.Fatalf("the scale is %+v", s)
	}
	if s.x(s.low) != chartLabels || s.x(s.high) != chartWidth-chartRight || s.x(1e9) != s.x(s.high) {
		t.Errorf("the scale ends at %v and %v", s.x(s.low), s.x(s.high))
	}
	if a, b := s.x(2)-s.x(1), s.x(4)-s.x(2); a-b > 0.001 || b-a > 0.001 {
		t.Errorf("doublings are %v and %v wide", a, b)
	}
}

func TestRowsWithoutATargetShowTheirFirstFigureInTheChart(t *testing.T) {
	got := barsOf([]tableLine{
		{Row: "a", Members: 1, Figure: p50, Ratio: 1},
		{Row: "a", Members: 1, Figure: p99, Ratio: 1},
		{Row: "a", Members: 3, Figure: p50, Ratio: 1},
		{Row: "a", Members: 3, Figure: p99, Ratio: 1, Target: "≤ 1"},
		{Row: "b", Members: 1, Figure: took, Ratio: 0},
	})
	if len(got) != 2 || got[0].Members != 1 || got[0].Figure != p50 || got[1].Members != 3 || got[1].Figure != p99 {
		t.Errorf("shown: %+v", got)
	}
}

func TestRoundsAreOuterUnlessRowsChangeWhatOthersFind(t *testing.T) {
	names := func(all []appointment) (out []string) {
		for _, a := range all {
			out = append(out, a.row.name+string(rune('0'+a.round)))
		}
		return out
	}
	two := []row{{name: "b"}, {name: "a"}}
	if got := names(order(two, 2, false)); !slices.Equal(got, []string{"b1", "a1", "b2", "a2"}) {
		t.Errorf("round by round: %v", got)
	}
	if got := names(order(two, 2, true)); !slices.Equal(got, []string{"b1", "b2", "a1", "a2"}) {
		t.Errorf("row by row: %v", got)
	}
}

func tableFor(t *testing.T, args ...string) (*table, []row, error) {
	t.Helper()
	tb := &table{rounds: 1, connections: 1, members: []int{1, 3}, duration: time.Second, names: args}
	tb.size(sizes{})
	chosen, err := tb.chooseRows()
	return tb, chosen, err
}

func TestAShortTableHasTheChiefRowsAndAFullOneAll(t *testing.T) {
	tb, chosen, err := tableFor(t)
	if err != nil || slices.ContainsFunc(chosen, func(r row) bool { return !r.chief }) || len(chosen) == 0 {
		t.Errorf("%d rows of a short table: %v", len(chosen), err)
	}
	tb.full = true
	if chosen, err = tb.chooseRows(); err != nil || len(chosen) != len(rows()) {
		t.Errorf("%d of %d rows of a full table: %v", len(chosen), len(rows()), err)
	}
	if _, chosen, err = tableFor(t, "watch-10000", "big-join"); err != nil || len(chosen) != 2 {
		t.Errorf("%d rows of the 2 that were named: %v", len(chosen), err)
	}
	if _, _, err := tableFor(t, "put-7"); err == nil {
		t.Error("a row that is not there is chosen")
	}
}

func TestSizesThatAreAskedForAreTaken(t *testing.T) {
	tb := &table{full: true}
	tb.size(sizes{bigKeys: 7, through: time.Minute})
	if tb.bigKeys != 7 || tb.through != time.Minute || tb.paced != fullSizes.paced || tb.keys != fullSizes.keys || tb.manyClients == 0 {
		t.Errorf("sizes: %+v", tb.sizes)
	}
}

func TestSenselessTablesAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(*table){
		"no rounds":     func(tb *table) { tb.rounds = 0 },
		"two members":   func(tb *table) { tb.members = []int{2} },
		"few keys":      func(tb *table) { tb.keys = longRange - 1 },
		"no time":       func(tb *table) { tb.duration = 0 },
		"a value of -1": func(tb *table) { tb.valueSize = -1 },
		"no row of 1":   func(tb *table) { tb.names, tb.members = []string{"big-join"}, []int{1} },
	} {
		tb, _, err := tableFor(t)
		if err != nil {
			t.Fatal(err)
		}
		spoil(tb)
		if _, err := tb.chooseRows(); err == nil {
			t.Errorf("a table with %s is accepted", name)
		}
	}
}

func TestNotesAreBrokenAtBlanks(t *testing.T) {
	got := wrap([]string{"aa bb cc", "dddddd e", ""}, 5)
	if !slices.Equal(got, []string{"aa bb", "cc", "dddddd", "e", ""}) {
		t.Errorf("broken into %q", got)
	}
}

func TestBesideTheLimitTheTargetCounts(t *testing.T) {
	met, missed := true, false
	for _, c := range []struct {
		line tableLine
		want bool
	}{
		{tableLine{Figure: p50, Ratio: 1.5, Limit: &sample{}, Met: &met}, true},
		{tableLine{Figure: p50, Ratio: 1.7, Limit: &sample{}, Met: &missed}, false},
		{tableLine{Figure: p50, Ratio: 1.5}, false},
		{tableLine{Figure: perSecond, Ratio: 1.5}, true},
	} {
		if got := c.line.better(); got != c.want {
			t.Errorf("%+v speaks for ChainFire: %v", c.line, got)
		}
	}
}
