package raft

import (
	"strings"
	"testing"

	"chainfire/raft/progress"
)

func TestBrokenInvariantStopsTheCore(t *testing.T) {
	for want, spoil := range map[string]func(s *solo){
		"applied 9":            func(s *solo) { s.log.applied = 9 },
		"applying 9":           func(s *solo) { s.log.applying = 9 },
		"committed 9":          func(s *solo) { s.log.committed = 9 },
		"stable 9":             func(s *solo) { s.log.stable = 9 },
		"handed 9":             func(s *solo) { s.log.handed = 9 },
		"persisted term 9":     func(s *solo) { s.handed.Term = 9 },
		"unstable":             func(s *solo) { s.log.unstable = entriesOf(1, 1, 2); s.log.offset = 2 },
		"configuration":        func(s *solo) { s.conf.Voters = []uint64{3, 2, 1} },
		"leader 1 follows 2":   func(s *solo) { s.lead = 2 },
		"is no voter":          func(s *solo) { s.conf.Voters = []uint64{2, 3} },
		"2 peers with 1":       func(s *solo) { delete(s.leader.progress, 2) },
		"does not fit":         func(s *solo) { s.conf.Voters = []uint64{1, 2} },
		"match 2 >= next 2":    func(s *solo) { s.leader.progress[2].Next = 2 },
		"match 7 > last 2":     func(s *solo) { s.leader.progress[2].Match, s.leader.progress[2].Next = 7, 8 },
		"next 5 > last 2":      func(s *solo) { s.leader.progress[2].Next = 5 },
		"quarantined with mat": func(s *solo) { s.leader.progress[2].State = progress.Quarantined },
	} {
		s := leaderOfThree(t, Config{})
		spoil(s)
		s.check()
		if s.Err() == nil || !strings.Contains(s.Err().Error(), want) {
			t.Errorf("want a broken invariant with %q, got %v", want, s.Err())
		}
	}
}
