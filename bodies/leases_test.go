package bodies

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"chainfire/object"
	"chainfire/object/objecttest"
)

// ledger is a State that applies changes of leases alone.
type ledger struct {
	State
	rows  *objecttest.Memory
	index uint64
	opens int
}

func (l *ledger) Change(_ context.Context, c *object.Change) (*object.Result, error) {
	l.index++
	if c.OpenLease != nil {
		l.opens++
	}
	return object.Apply(l.rows, l.index, nil, c)
}

func (l *ledger) open(t *testing.T) []object.Lease {
	leases, err := object.NewView(l.rows, nil).Leases()
	must(t, err)
	return leases
}

func TestALeaseIsUsedForAWhileAndClosedWithItsLastBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &ledger{rows: objecttest.New(), index: 10}
		l := newLeases(s, 7, 3, time.Minute)
		ctx := context.Background()
		if len(s.open(t)) != 0 {
			t.Fatal("a member that writes nothing has a lease")
		}
		first, lease, err := l.take(ctx)
		must(t, err)
		second, other, err := l.take(ctx)
		must(t, err)
		if first.Lease != 11 || second.Lease != 11 || first.N == second.N || lease != other {
			t.Errorf("bodies %v and %v", first, second)
		}
		if got := s.open(t); len(got) != 1 || got[0] != (object.Lease{ID: 11, Member: 7, Boots: 3}) {
			t.Errorf("leases %+v", got)
		}
		time.Sleep(time.Minute)
		l.expire()
		l.release(lease)
		must(t, l.closeSpent(ctx))
		if len(s.open(t)) != 1 {
			t.Error("it was closed before its last body")
		}
		// A new body gets a new one, while the old one is still open.
		third, next, err := l.take(ctx)
		must(t, err)
		if third.Lease != 12 || third.N != 0 || len(s.open(t)) != 2 {
			t.Errorf("body %v, leases %v", third, s.open(t))
		}
		l.release(lease)
		must(t, l.closeSpent(ctx))
		if got := s.open(t); len(got) != 1 || got[0].ID != 12 {
			t.Errorf("leases %v", got)
		}
		// Idle again: the last one is closed, and none is opened.
		l.release(next)
		time.Sleep(time.Hour)
		l.expire()
		must(t, l.closeSpent(ctx))
		if len(s.open(t)) != 0 || s.opens != 2 {
			t.Errorf("leases %v, %d were opened", s.open(t), s.opens)
		}
	})
}

func TestALeaseIsOpenedAnewAfterSoManyBodies(t *testing.T) {
	s := &ledger{rows: objecttest.New(), index: 10}
	l := newLeases(s, 7, 3, time.Hour)
	var last object.BodyID
	for range maxLeaseBodies + 1 {
		id, lease, err := l.take(context.Background())
		must(t, err)
		l.release(lease)
		last = id
	}
	if last != (object.BodyID{Lease: 12}) {
		t.Errorf("the last body is %v", last)
	}
}

func TestManyBodiesOpenOneLeaseTogether(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	done := make(chan error)
	const n = 10
	for range n {
		go func() {
			_, lease, err := w.member(1).leases.take(context.Background())
			if err == nil {
				w.member(1).leases.release(lease)
			}
			done <- err
		}()
	}
	for range n {
		must(t, <-done)
	}
	if w.opened() != 1 {
		t.Errorf("%d leases were opened", w.opened())
	}
}

func TestLeasesOfEarlierStartsAreClosed(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	for _, boots := range []uint64{1, 2, 4} {
		_, err := w.Change(context.Background(), &object.Change{OpenLease: &object.OpenLease{Member: 1, Boots: boots}})
		must(t, err)
	}
	_, err := w.Change(context.Background(), &object.Change{OpenLease: &object.OpenLease{Member: 2, Boots: 2}})
	must(t, err)
	must(t, w.member(1).Close())
	w.start(1, w.member(1).fs, 3, short)
	until(t, "those of earlier starts are closed", func() bool {
		l := w.leases()
		return len(l) == 2 && l[0].Boots == 4 && l[1].Member == 2
	})
}

// TestALeaseThatWasOpenedUnheardIsClosed opens one as a call that ended before its answer.
func TestALeaseThatWasOpenedUnheardIsClosed(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	used, lease, err := w.member(1).leases.take(context.Background())
	must(t, err)
	r, err := w.Change(context.Background(), &object.Change{OpenLease: &object.OpenLease{Member: 1, Boots: 1}})
	must(t, err)
	until(t, "it is closed, and the one in use is not", func() bool {
		l := w.leases()
		return len(l) == 1 && l[0].ID == used.Lease && l[0].ID != r.Lease
	})
	w.member(1).leases.release(lease)
}

func TestTheLeaderClosesLeasesOfMembersThatAreAbsent(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	for member := range uint64(3) {
		_, err := w.Change(context.Background(), &object.Change{OpenLease: &object.OpenLease{Member: member + 1, Boots: 2}})
		must(t, err)
	}
	w.mu.Lock()
	w.absent[2] = true
	w.mu.Unlock()
	w.start(9, w.member(1).fs.Fork(), 1, func(o *Options) { o.AbsentFor = time.Millisecond })
	w.mu.Lock()
	w.leader = 9
	w.mu.Unlock()
	until(t, "that of member 2 is closed", func() bool {
		l := w.leases()
		return len(l) == 2 && l[0].Member == 1 && l[1].Member == 3
	})
}

func TestAMemberWithoutBodiesClosesTheLeasesOfThePast(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	for _, m := range w.members {
		must(t, m.Close()) // what is closed now is closed by the test's call
	}
	for _, l := range []object.OpenLease{{Member: 1, Boots: 1}, {Member: 1, Boots: 2}, {Member: 2, Boots: 1}, {Member: 3, Boots: 1}} {
		_, err := w.Change(t.Context(), &object.Change{OpenLease: &l})
		must(t, err)
	}
	w.absent[2] = true
	p := &PastLeases{State: w.member(1), Member: 1, Boots: 2, AbsentFor: time.Hour, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
	open := func(want ...object.Lease) {
		t.Helper()
		must(t, p.Close(t.Context()))
		got := w.leases()
		for i := range got {
			got[i].ID = 0
		}
		if !slices.Equal(got, want) {
			t.Errorf("open are %+v, want %+v", got, want)
		}
	}
	w.leader = 3
	open(object.Lease{Member: 1, Boots: 2}, object.Lease{Member: 2, Boots: 1}, object.Lease{Member: 3, Boots: 1})
	w.leader = 1
	open(object.Lease{Member: 1, Boots: 2}, object.Lease{Member: 3, Boots: 1})
}
