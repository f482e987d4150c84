package main

import (
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"chainfire/s3api"
)

func TestWhyRequestsOfS3WereSlowedDownIsCountedFromZero(t *testing.T) {
	registry := prometheus.NewRegistry()
	stats, err := newS3Stats(registry)
	if err != nil {
		t.Fatal(err)
	}
	stats.SlowedDown(s3api.SlowShare)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "chainfire_s3_slowed_down_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	if want := map[string]float64{"member": 0, "share": 1, "rate": 0, "cluster": 0}; !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}
