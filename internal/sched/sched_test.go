package sched_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"chainfire/internal/sched"
)

func TestWaitTakesWhatGivesAndSaysWhich(t *testing.T) {
	var s sched.Go
	token, closed := make(chan struct{}, 1), make(chan struct{})
	token <- struct{}{}
	if i := s.Wait(nil, token, nil); i != 1 {
		t.Errorf("a token in the second place: place %d", i)
	}
	close(closed)
	if i := s.Wait(token, nil, nil, closed); i != 3 {
		t.Errorf("a closed channel in the last place: place %d", i)
	}
}

func TestTickKeepsItsScheduleUntilStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sched.Go
		begun := time.Now()
		ticks, stop := sched.Tick(s, 10*time.Millisecond)
		for range 5 {
			s.Wait(ticks)
		}
		if d := time.Since(begun); d != 50*time.Millisecond {
			t.Errorf("five ticks of 10 ms took %v", d)
		}
		stop()
		if sched.Sleep(t.Context(), s, time.Second, ticks) {
			return
		}
		t.Error("a tick came after the stop")
	})
}

func TestSleepEndsWithItsContextOrItsStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if sched.Sleep(ctx, sched.Go{}, time.Hour, nil) {
		t.Error("slept through the end of the context")
	}
	stop := make(chan struct{})
	close(stop)
	if sched.Sleep(t.Context(), sched.Go{}, time.Hour, stop) {
		t.Error("slept through the stop")
	}
}

// other is a scheduler that is not Go's own, with Go's own time.
type other struct{ sched.Scheduler }

func TestTimeoutOfAnotherSchedulerIsThatOfTheStandardLibrary(t *testing.T) {
	cause := errors.New("cause")
	for name, s := range map[string]sched.Scheduler{"go": sched.Go{}, "other": other{sched.Go{}}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := sched.WithTimeout(t.Context(), s, time.Second, cause)
				defer cancel()
				child, cancelChild := context.WithCancel(ctx)
				defer cancelChild()
				if at, ok := child.Deadline(); !ok || !at.Equal(time.Now().Add(time.Second)) {
					t.Errorf("deadline %v", at)
				}
				<-child.Done()
				if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(ctx), cause) ||
					!errors.Is(context.Cause(child), cause) {
					t.Errorf("expired: %v, cause %v, of the child %v", ctx.Err(), context.Cause(ctx), context.Cause(child))
				}
				canceled, cancel := sched.WithTimeout(t.Context(), s, time.Second, nil)
				cancel()
				if !errors.Is(canceled.Err(), context.Canceled) {
					t.Errorf("canceled: %v", canceled.Err())
				}
				short, cancel := sched.WithTimeout(t.Context(), s, time.Second, nil)
				defer cancel()
				long, cancel := sched.WithTimeout(short, s, time.Hour, cause)
				defer cancel()
				<-long.Done()
				if !errors.Is(context.Cause(long), context.DeadlineExceeded) {
					t.Errorf("within a shorter one: cause %v", context.Cause(long))
				}
			})
		})
	}
}

func TestGroupWaitsForAllOfItsTasks(t *testing.T) {
	g := sched.NewGroup(sched.Go{})
	done := make(chan int, 3)
	for i := range 3 {
		g.Go(func() { done <- i })
	}
	g.Wait()
	if len(done) != 3 {
		t.Errorf("%d of 3 tasks were waited for", len(done))
	}
	g.Wait()
}
