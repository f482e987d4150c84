package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
)

// crewOf makes clients without connections.
func crewOf(n int, s step) *crew {
	return newCrew(make(lanes, 1), n, func(int) step { return s })
}

func TestACrewAsksAgainAsSoonAsItIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cr := crewOf(4, func(context.Context, *client) error {
			time.Sleep(10 * time.Millisecond)
			return nil
		})
		res, err := cr.run(t.Context(), limit{duration: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if res.Operations != 400 || res.Seconds != 1 || res.PerSecond != 400 || res.P50 < 10 || res.Max != 10 {
			t.Errorf("the load was %+v, want 400 operations of 10 ms", res)
		}
		cr.forget()
		if res, err := cr.run(t.Context(), limit{total: 10}); err != nil || res.Operations != 10 {
			t.Errorf("the load was %+v, %v, want 10 operations", res, err)
		}
	})
}

func TestAPacedCrewCountsWhatAStallHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		// From 1 s to 1.5 s nothing is answered.
		cr := crewOf(100, func(context.Context, *client) error {
			if at := time.Since(start); at >= time.Second && at < 1500*time.Millisecond {
				time.Sleep(1500*time.Millisecond - at)
			}
			return nil
		})
		end := make(chan struct{})
		time.AfterFunc(4*time.Second, func() { close(end) })
		res, err := cr.runPaced(t.Context(), 10*time.Millisecond, end)
		if err != nil {
			t.Fatal(err)
		}
		if res.Operations < 398 || res.Operations > 400 {
			t.Errorf("%d operations in 4 s at 100 a second", res.Operations)
		}
		// 50 of 400 came in the stall, the first of them 500 ms before its end.
		if res.P50 != 0 || res.P90 < 100 || res.P90 > 120 || res.Max != 500 {
			t.Errorf("the load was %+v, want the stall in its latencies", res)
		}
	})
}

func TestAPacedCrewThatIsTooSmallIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cr := crewOf(1, func(context.Context, *client) error {
			time.Sleep(20 * time.Millisecond)
			return nil
		})
		end := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(end) })
		res, err := cr.runPaced(t.Context(), 10*time.Millisecond, end)
		if err != nil {
			t.Fatal(err)
		}
		if res.Max < 450 || res.Max > 550 {
			t.Errorf("the last of 50 steps, at half the pace, was %v ms late", res.Max)
		}
	})
}

func TestAFailedStepEndsTheCrew(t *testing.T) {
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		n := 0
		var mu sync.Mutex
		cr := crewOf(3, func(ctx context.Context, _ *client) error {
			mu.Lock()
			defer mu.Unlock()
			if n++; n > 5 {
				return broken
			}
			return nil
		})
		if _, err := cr.run(t.Context(), limit{total: 1000}); !errors.Is(err, broken) {
			t.Errorf("the load ended with %v", err)
		}
		if _, err := cr.runPaced(t.Context(), time.Millisecond, nil); !errors.Is(err, broken) {
			t.Errorf("the paced load ended with %v", err)
		}
	})
}

func TestACrewThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cr := crewOf(1, func(ctx context.Context, _ *client) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if _, err := cr.run(t.Context(), limit{duration: time.Second}); err == nil || !strings.Contains(err.Error(), "hang") {
			t.Errorf("the load ended with %v", err)
		}
	})
}

func TestClientsAreSpreadOverTheLanesFromTheFirst(t *testing.T) {
	l := lanes{{}, {}, {}}
	var got []*grpc.ClientConn
	for _, c := range newCrew(l, 5, func(int) step { return nil }).clients {
		got = append(got, c.conn)
	}
	if !slices.Equal(got, []*grpc.ClientConn{l[0], l[1], l[2], l[0], l[1]}) {
		t.Error("clients are not spread evenly over connections")
	}
}
