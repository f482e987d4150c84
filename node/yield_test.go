package node

import (
	"testing"
	"testing/synctest"
	"time"

	"chainfire/internal/sched"
)

func TestSeedsGiveWayWhileClientsWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		applied := uint64(1)
		p := &pace{sched: sched.Or(nil), applied: func() uint64 { return applied }}
		for _, x := range []struct {
			what    string
			entries uint64
			want    bool
		}{
			{"nobody writes", 0, false}, {"a few", busyRate / 2, false}, {"clients at work", busyRate, true}, {"they have stopped", 1, false},
		} {
			p.busy()
			time.Sleep(time.Second)
			applied += x.entries
			if got := p.busy(); got != x.want {
				t.Errorf("%s: busy is %v", x.what, got)
			}
		}
	})
}
