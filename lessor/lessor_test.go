package lessor

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const second = time.Second

func wantDue(t *testing.T, l *Lessor, now time.Duration, expired []int64, checkpoints ...Checkpoint) {
	t.Helper()
	e, c := l.Due(now, 100, 100)
	if !slices.Equal(e, expired) || !slices.Equal(c, checkpoints) {
		t.Errorf("due at %v: %v and %v, want %v and %v", now, e, c, expired, checkpoints)
	}
}

func wantRenewal(t *testing.T, l *Lessor, id int64, asked, now time.Duration, state State) {
	t.Helper()
	if got := l.Renew(id, asked, now); got.State != state {
		t.Errorf("renewal of %d at %v comes to %+v, want %d", id, now, got, state)
	}
}

func TestLeaseExpiresAfterItsTimeAndNotBefore(t *testing.T) {
	l := New(Options{})
	l.Granted(2, 10, 5*second)
	l.Granted(1, 10, 5*second)
	wantDue(t, l, 15*second-1, nil)
	wantDue(t, l, 15*second, []int64{1, 2})
	wantDue(t, l, 16*second, nil)
	if !l.Revoked(1) || l.Revoked(1) || len(l.m) != 1 {
		t.Errorf("%d leases are left", len(l.m))
	}
}

func TestRenewalCountsFromWhenItWasAskedFor(t *testing.T) {
	l := New(Options{})
	l.Granted(1, 10, 0)
	wantRenewal(t, l, 1, 4*second, 6*second, Renewed)
	// One that was asked for before and is answered later takes nothing away.
	wantRenewal(t, l, 1, 3*second, 7*second, Renewed)
	wantDue(t, l, 14*second-1, nil)
	wantDue(t, l, 14*second, []int64{1})
}

func TestExpiredLeaseIsNotRenewedThoughNobodyWasToldYet(t *testing.T) {
	l := New(Options{})
	l.Granted(1, 10, 0)
	wantRenewal(t, l, 1, 9*second, 10*second, Expired)
	wantDue(t, l, 10*second, []int64{1})
	wantRenewal(t, l, 1, 11*second, 11*second, Expired)
	l.Revoked(1)
	wantRenewal(t, l, 1, 12*second, 12*second, Missing)
}

func TestRevocationThatDidNotHappenIsAskedForAgain(t *testing.T) {
	l := New(Options{RetryAfter: 5 * second})
	l.Granted(1, 10, 0)
	wantDue(t, l, 10*second, []int64{1})
	wantDue(t, l, 15*second-1, nil)
	wantDue(t, l, 15*second, []int64{1})
	wantDue(t, l, 20*second, []int64{1})
}

func TestInheritedLeaseHasWhatTheCheckpointLeftAndTheTimeWithoutALeader(t *testing.T) {
	l := New(Options{Extend: second, RetryAfter: time.Hour})
	l.Inherit(1, 100, 0, 50*second)
	l.Inherit(2, 100, 7, 50*second)
	l.Granted(3, 2, 50*second)
	l.Inherit(3, 100, 0, 50*second) // known better
	wantDue(t, l, 52*second, []int64{3})
	wantDue(t, l, 58*second-1, nil)
	wantDue(t, l, 58*second, []int64{2})
	wantDue(t, l, 151*second-1, nil)
	wantDue(t, l, 151*second, []int64{1})
}

func TestCheckpointIsMadeOfWhatIsNotRenewedAndOutlivesTheNextRenewalOnlyIfRestored(t *testing.T) {
	l := New(Options{CheckpointEvery: 60 * second})
	l.Granted(1, 150, 0)
	l.Granted(2, 150, 0)
	wantRenewal(t, l, 2, 30*second, 30*second, Renewed)
	wantDue(t, l, 60*second, nil, Checkpoint{ID: 1, Remaining: 90})
	wantDue(t, l, 89*second, nil)
	wantDue(t, l, 90*second, nil, Checkpoint{ID: 2, Remaining: 90})
	a := l.Renew(1, 100*second, 100*second)
	if a.State != Noted || a.TTL != 150 {
		t.Errorf("renewal comes to %+v", a)
	}
	l.Restored(1, a.Note)
	wantRenewal(t, l, 1, 100*second, 100*second, Renewed)
	wantDue(t, l, 150*second, nil, Checkpoint{ID: 2, Remaining: 30})
	wantDue(t, l, 160*second, nil, Checkpoint{ID: 1, Remaining: 90})
	wantDue(t, l, 180*second, []int64{2})
	// An inherited checkpoint is one too.
	l.Inherit(4, 100, 50, 180*second)
	wantRenewal(t, l, 4, 181*second, 181*second, Noted)
}

func TestCheckpointLeavesAPartOfASecondWhole(t *testing.T) {
	l := New(Options{CheckpointEvery: 1500 * time.Millisecond})
	l.Granted(1, 2, 0)
	wantDue(t, l, 1500*time.Millisecond, nil, Checkpoint{ID: 1, Remaining: 1})
}

func TestDueIsBoundedAndCheckpointsHoldNoExpiryUp(t *testing.T) {
	l := New(Options{CheckpointEvery: 60 * second})
	for id := range int64(10) {
		l.Granted(id+1, 61, 0)
		l.Granted(id+101, 1000, 0)
	}
	for _, want := range []string{"[1 2 3 4] [{101 939} {102 939}]", "[5 6 7 8] [{103 939} {104 939}]", "[9 10] [{105 939} {106 939}]"} {
		e, c := l.Due(61*second, 4, 2)
		if got := fmt.Sprint(e, " ", c); got != want {
			t.Errorf("due %s, want %s", got, want)
		}
	}
}

// TestCheckpointThatIsMadeWhileAnEarlierOneIsUndoneIsUndoneToo: the log has the first, the
// restoring, and the second, in this order.
func TestCheckpointThatIsMadeWhileAnEarlierOneIsUndoneIsUndoneToo(t *testing.T) {
	l := New(Options{CheckpointEvery: 60 * second})
	l.Granted(1, 150, 0)
	wantDue(t, l, 60*second, nil, Checkpoint{ID: 1, Remaining: 90})
	first := l.Renew(1, 119*second, 119*second)
	wantDue(t, l, 120*second, nil, Checkpoint{ID: 1, Remaining: 30})
	l.Restored(1, first.Note)
	second := l.Renew(1, 119*time.Second, 120*time.Second)
	if second.State != Noted || second.Note == first.Note {
		t.Errorf("renewal comes to %+v, and before to %+v", second, first)
	}
	l.Restored(1, second.Note)
	wantRenewal(t, l, 1, 119*time.Second, 120*time.Second, Renewed)
}

// TestCheckpointOfALeaseThatWasGrantedAnewIsUndone: it was made of the lease of the same
// id that was revoked before.
func TestCheckpointOfALeaseThatWasGrantedAnewIsUndone(t *testing.T) {
	l := New(Options{})
	l.Granted(1, 150, 0)
	l.Checkpointed(1, 150) // all of it
	wantRenewal(t, l, 1, 0, 0, Renewed)
	l.Checkpointed(1, 9)
	wantRenewal(t, l, 1, 0, 0, Noted)
	l.Checkpointed(2, 9)
}

func TestLongestLeaseOverflowsNothing(t *testing.T) {
	l := New(Options{Extend: second})
	now := time.Duration(math.MaxInt64 - 10)
	l.Granted(1, 9_000_000_000, now)
	l.Inherit(2, 9_000_000_000, 9_000_000_000, now)
	l.Inherit(3, math.MaxInt64, 0, now)
	wantRenewal(t, l, 1, now, now, Renewed)
	wantDue(t, l, now, nil)
	for id := range int64(3) {
		if left, _, ok := l.Remaining(id+1, now); !ok || left <= 0 {
			t.Errorf("%v is left of %d", left, id+1)
		}
	}
}

// TestNoLeaseEndsEarlyNorIsForgotten compares with leases in a plain map, and a log in
// which checkpoints and what undoes them are applied later, in their order. Whoever leads
// next begins with what that log has.
func TestNoLeaseEndsEarlyNorIsForgotten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		opts := Options{Extend: 3 * second, CheckpointEvery: 20 * second, RetryAfter: 5 * second}
		l := New(opts)
		type lease struct {
			deadline, asked time.Duration
			ttl, remaining  int64
		}
		type entry struct {
			id, remaining int64
			restores      uint64
			at            time.Duration
		}
		model := map[int64]*lease{}
		var log []entry
		now := time.Duration(0)
		id := func() int64 { return rapid.Int64Range(1, 3).Draw(t, "id") }
		apply := func() {
			e := log[0]
			log = log[1:]
			m := model[e.id]
			if m == nil {
				return
			}
			m.remaining = e.remaining
			l.Checkpointed(e.id, e.remaining)
			if e.restores == 0 {
				return
			}
			// The renewal that had asked goes on.
			l.Restored(e.id, e.restores)
			a := l.Renew(e.id, e.at, now)
			switch a.State {
			case Noted:
				log = append(log, entry{e.id, a.TTL, a.Note, e.at})
			case Renewed:
				m.deadline = max(m.deadline, e.at+seconds(a.TTL))
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"pass": func(t *rapid.T) { now += time.Duration(rapid.Int64Range(0, int64(10*second)).Draw(t, "time")) },
			"grant": func(*rapid.T) {
				i, n := id(), rapid.Int64Range(1, 90).Draw(t, "ttl")
				if model[i] == nil {
					l.Granted(i, n, now)
					model[i] = &lease{deadline: now + seconds(n), ttl: n}
				}
			},
			"renew": func(t *rapid.T) {
				i := id()
				a := l.Renew(i, now, now)
				m := model[i]
				switch {
				case (m == nil) != (a.State == Missing):
					t.Fatalf("%+v of lease %d", a, i)
				case m == nil:
				case (m.deadline <= now) != (a.State == Expired):
					t.Fatalf("%+v of a lease until %v, at %v", a, m.deadline, now)
				case a.State == Noted:
					log = append(log, entry{i, a.TTL, a.Note, now})
				case a.State == Renewed:
					m.deadline = max(m.deadline, now+seconds(m.ttl))
				}
			},
			"apply": func(t *rapid.T) {
				if len(log) > 0 {
					apply()
				}
			},
			"look": func(t *rapid.T) {
				expired, checkpoints := l.Due(now, 100, 100)
				for _, i := range expired {
					m := model[i]
					if m == nil || m.deadline > now || m.asked > 0 && now-m.asked < 5*second {
						t.Fatalf("%d is due at %v: %+v", i, now, m)
					}
					m.asked = max(now, 1)
					if rapid.Bool().Draw(t, "happens") {
						l.Revoked(i)
						delete(model, i)
					}
				}
				for i, m := range model {
					if m.deadline <= now && m.asked == 0 {
						t.Fatalf("%d was due at %v, and is not at %v", i, m.deadline, now)
					}
				}
				for _, c := range checkpoints {
					log = append(log, entry{id: c.ID, remaining: c.Remaining})
				}
			},
			"lead": func(t *rapid.T) {
				for len(log) > 0 {
					e := log[0]
					log = log[1:]
					if m := model[e.id]; m != nil {
						m.remaining = e.remaining
					}
				}
				l = New(opts)
				for i, m := range model {
					l.Inherit(i, m.ttl, m.remaining, now)
					left, _, _ := l.Remaining(i, now)
					if now+left < m.deadline {
						t.Fatalf("the next leader ends lease %d at %v, until %v it was promised: %+v", i, now+left, m.deadline, m)
					}
					m.deadline, m.asked = now+left, 0
				}
			},
		})
		if len(l.m) != len(model) || len(l.deadlines.leases)+len(l.retries.leases) != len(model) || len(l.checks.leases) != len(l.deadlines.leases) {
			t.Fatalf("%d leases, want %d", len(l.m), len(model))
		}
	})
}

func TestClockPassesOverTheTimeInWhichTheProcessWasStopped(t *testing.T) {
	c := Clock{Step: second}
	start := time.Unix(1000, 0)
	for _, tc := range []struct{ real, want time.Duration }{
		{0, 0},
		{second / 10, second / 10},
		{2 * second, second/10 + second}, // looked at late
		{time.Hour, second/10 + 2*second},
		{time.Minute, second/10 + 2*second}, // set back
		{time.Hour + second/2, second/10 + 2*second + second/2},
	} {
		if got := c.Now(start.Add(tc.real)); got != tc.want {
			t.Errorf("at %v it is %v, want %v", tc.real, got, tc.want)
		}
	}
}
