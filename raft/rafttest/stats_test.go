package rafttest_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"chainfire/raft/rafttest"
)

func TestStatsTemp(t *testing.T) {
	n := map[string]int{}
	const runs = 1000
	for range runs {
		s := rafttest.NewSchedule(rand.Uint64(), func(f string, a ...any) {
			l := fmt.Sprintf(f, a...)
			w := strings.Fields(l)
			n[w[0]]++
			if w[0] == "tick" {
				n["tick-"+w[2]]++
			}
			if w[0] == "deliver" {
				n["deliver-"+w[2]]++
				if strings.Contains(l, "reject") {
					n["deliver-rej-"+w[2]]++
				}
			}
			if strings.Contains(l, "snapshot=") && w[0] == "ready" {
				n["snapwrite"]++
			}
			if w[0] == "conf" {
				n["CONF "+l[strings.LastIndex(l, ":"):]]++
			}
			if w[0] == "conf" && strings.Contains(l, "nil") {
				n["conf-ok"]++
			}
			if w[0] == "propose" && strings.Contains(l, "nil") {
				n["propose-ok"]++
			}
			if w[0] == "crash" && w[1] != "0:" && w[2] != "0" {
				n["crash-kept"]++
			}
		})
		if err := s.Run(*steps); err != nil {
			t.Log(err)
		}
		st := s.Stats()
		for k, v := range st {
			n[k] += v
		}
	}
	for k, v := range n {
		fmt.Printf("%-30s %.2f\n", k, float64(v)/runs)
	}
}
