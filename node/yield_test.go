package node

import (
	"testing"
	"testing/synctest"
	"time"

	"chainfire/internal/sched"
)

func TestSeedsGiveWayWhileClientsWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		applied := uint64(1_000_000) // of a member that was started on a log
		p := &pace{sched: sched.Or(nil), applied: func() uint64 { return applied }}
		for _, x := range []struct {
			what    string
			entries uint64
			want    bool
		}{
			{"nobody writes", 0, false}, {"a few", busyRate / 2, false}, {"clients at work", busyRate, true},
		} {
			if p.busy() {
				t.Errorf("before %s: busy", x.what)
			}
			time.Sleep(time.Second)
			applied += x.entries
			if got := p.busy(); got != x.want {
				t.Errorf("%s: busy is %v", x.what, got)
			}
		}
		time.Sleep(time.Second)
		if applied++; p.busy() {
			t.Error("busy after clients have stopped")
		}
	})
}
