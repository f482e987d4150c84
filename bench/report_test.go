package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestRatiosAreOfMediansOverAllRounds(t *testing.T) {
	w := workload{Op: opPut, Clients: 8, Keys: 1, ValueSize: 1}
	other := workload{Op: opGet, Clients: 8, Keys: 1, ValueSize: 1}
	take := func(name string, w workload, perSecond, cpu float64) turn {
		return turn{System: name, Workload: w, loadResult: loadResult{PerSecond: perSecond, P99: 2}, CPUPerOp: cpu}
	}
	turns := []turn{
		take("etcd", w, 100, 4e-5), take("chainfire", w, 900, 1e-5),
		take("etcd", w, 300, 4e-5), take("chainfire", w, 400, 1e-5),
		take("etcd", w, 200, 4e-5), take("chainfire", w, 300, 1e-5),
		take("etcd", other, 7, 1), take("chainfire", other, 7, 1),
	}
	got := contests(turns, []workload{w, other}, []system{newEtcd(""), newChainFire("")})
	if len(got) != 2 || got[0].Ratios == nil {
		t.Fatalf("contests: %+v", got)
	}
	if s := got[0].Systems[0].PerSecond; s != (sample{Median: 200, Min: 100, Max: 300}) {
		t.Errorf("etcd's figures are %+v", s)
	}
	if r := got[0].Ratios; r.PerSecond != 2 || r.CPUPerOp != 0.25 || r.P99 != 1 {
		t.Errorf("ratios are %+v, want 2 in throughput, 0.25 in processor time, 1 in latency", r)
	}
	var out bytes.Buffer
	if err := printContests(&out, got); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"put, 8 clients", "chainfire", "ratio", "2.00", "0.25", "40.0", "100 %"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

func TestOneSystemAloneHasNoRatio(t *testing.T) {
	w := workload{Op: opPut, Clients: 1, Keys: 1}
	got := contests([]turn{{System: "etcd", Workload: w}}, []workload{w}, []system{newEtcd("")})
	if len(got) != 1 || got[0].Ratios != nil {
		t.Errorf("contests: %+v", got)
	}
}

func TestOnlyKnownSystemsAreChosen(t *testing.T) {
	s := session{only: []string{"etcd"}}
	if err := s.choose(); err != nil || len(s.systems) != 1 || s.systems[0].name != "etcd" {
		t.Errorf("chosen: %v, %v; want etcd alone", s.systems, err)
	}
	s = session{only: []string{"consul"}}
	if err := s.choose(); err == nil {
		t.Error("an unknown system is accepted")
	}
}
