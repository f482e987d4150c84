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
	e, c := l.Due(now, 100)
	if !slices.Equal(e, expired) || !slices.Equal(c, checkpoints) {
		t.Errorf("due at %v: %v and %v, want %v and %v", now, e, c, expired, checkpoints)
	}
}

func wantRenewal(t *testing.T, l *Lessor, id int64, asked, now time.Duration, state State) {
	t.Helper()
	if got, _ := l.Renew(id, asked, now); got != state {
		t.Errorf("renewal of %d at %v comes to %d, want %d", id, now, got, state)
	}
}

func TestLeaseExpiresAfterItsTimeAndNotBefore(t *testing.T) {
	l := New(Options{})
	l.Granted(2, 10, 5*second)
	l.Granted(1, 10, 5*second)
	wantDue(t, l, 15*second-1, nil)
	wantDue(t, l, 15*second, []int64{1, 2})
	wantDue(t, l, 16*second, nil)
	if !l.Revoked(1) || l.Revoked(1) || l.Len() != 1 {
		t.Errorf("%d leases are left", l.Len())
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
	if state, ttl := l.Renew(1, 100*second, 100*second); state != Noted || ttl != 150 {
		t.Errorf("renewal comes to %d, %d", state, ttl)
	}
	l.Restored(1)
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

func TestDueIsBounded(t *testing.T) {
	l := New(Options{CheckpointEvery: 60 * second})
	for id := range int64(10) {
		l.Granted(id+1, 30, 0)
		l.Granted(id+101, 1000, 0)
	}
	for _, want := range []string{"[1 2 3 4] []", "[5 6 7 8] []", "[9 10] [{101 940} {102 940} {103 940} {104 940}]"} {
		e, c := l.Due(60*second, 4)
		if got := fmt.Sprint(e, " ", c); got != want {
			t.Errorf("due %s, want %s", got, want)
		}
	}
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

// TestNoLeaseEndsEarlyNorIsForgotten compares with leases in a plain map.
func TestNoLeaseEndsEarlyNorIsForgotten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := New(Options{Extend: 3 * second, CheckpointEvery: 20 * second, RetryAfter: 5 * second})
		type lease struct{ deadline, asked time.Duration }
		model := map[int64]*lease{}
		now := time.Duration(0)
		id := func() int64 { return rapid.Int64Range(1, 5).Draw(t, "id") }
		ttl := func() int64 { return rapid.Int64Range(1, 60).Draw(t, "ttl") }
		t.Repeat(map[string]func(*rapid.T){
			"pass": func(t *rapid.T) { now += time.Duration(rapid.Int64Range(0, int64(10*second)).Draw(t, "time")) },
			"grant": func(*rapid.T) {
				i, n := id(), ttl()
				l.Granted(i, n, now)
				model[i] = &lease{deadline: now + seconds(n)}
			},
			"inherit": func(*rapid.T) {
				i, n := id(), ttl()
				l.Inherit(i, n, 0, now)
				if model[i] == nil {
					model[i] = &lease{deadline: now + seconds(n) + 3*second}
				}
			},
			"renew": func(t *rapid.T) {
				i := id()
				state, n := l.Renew(i, now, now)
				e := model[i]
				switch {
				case (e == nil) != (state == Missing):
					t.Fatalf("state %d of lease %d", state, i)
				case e != nil && (e.deadline <= now) != (state == Expired):
					t.Fatalf("state %d of a lease until %v, at %v", state, e.deadline, now)
				case state == Noted:
					l.Restored(i)
				case state == Renewed:
					e.deadline = max(e.deadline, now+seconds(n))
				}
			},
			"look": func(t *rapid.T) {
				expired, checkpoints := l.Due(now, 100)
				for _, i := range expired {
					e := model[i]
					if e == nil || e.deadline > now || e.asked > 0 && now-e.asked < 5*second {
						t.Fatalf("%d is due at %v: %+v", i, now, e)
					}
					e.asked = max(now, 1)
					if rapid.Bool().Draw(t, "happens") {
						l.Revoked(i)
						delete(model, i)
					}
				}
				for i, e := range model {
					if e.deadline <= now && e.asked == 0 {
						t.Fatalf("%d was due at %v, and is not at %v", i, e.deadline, now)
					}
				}
				for _, c := range checkpoints {
					if e := model[c.ID]; e == nil || now+seconds(c.Remaining) < e.deadline {
						t.Fatalf("at %v %d s are noted of %+v", now, c.Remaining, e)
					}
				}
			},
		})
		if l.Len() != len(model) || len(l.due)+len(l.revoking) != len(model) {
			t.Fatalf("%d leases, %d in line, want %d", l.Len(), len(l.due)+len(l.revoking), len(model))
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
