package main

import (
	"strings"
	"testing"
)

func TestMetricsAreFoundByTheirWholeName(t *testing.T) {
	text := `# HELP syncs_count how often
# TYPE syncs_count counter
syncs_count_all 7
syncs_count{member="1"} 8
syncs_count 1.5e+06
syncs_sum 0.25
`
	got, err := parseMetrics(strings.NewReader(text), []string{"syncs_count", "syncs_sum"})
	if err != nil || len(got) != 2 || got["syncs_count"] != 1.5e6 || got["syncs_sum"] != 0.25 {
		t.Errorf("found %v, %v", got, err)
	}
	if got, err := parseMetrics(strings.NewReader(text), []string{"syncs"}); err == nil {
		t.Errorf("a metric that is not there is %v", got)
	}
	if got, err := parseMetrics(strings.NewReader("syncs_count many\n"), []string{"syncs_count"}); err == nil {
		t.Errorf("a metric that is no number is %v", got)
	}
}
