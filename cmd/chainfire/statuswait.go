package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"chainfire"
)

// What status can wait for.
const (
	waitHealthy = "healthy"
	waitWhole   = "whole"
)

// statusPoll is the time between two looks.
const statusPoll = 200 * time.Millisecond

// statusWait is what to wait for, and for how long at most.
type statusWait struct {
	what    string
	voters  int
	timeout time.Duration
}

func (w *statusWait) flags(f *pflag.FlagSet) {
	f.StringVar(&w.what, "wait", "", "wait until the cluster is healthy (takes writes) or whole (and every member is up and caught up)")
	f.IntVar(&w.voters, "await-voters", 0, "wait until so many members vote, and all of them are up")
	f.DurationVar(&w.timeout, "wait-timeout", time.Minute, "how long to wait at most")
}

func (w *statusWait) check() error {
	if !slices.Contains([]string{"", waitHealthy, waitWhole}, w.what) {
		return fmt.Errorf("--wait is %s or %s, not %q", waitHealthy, waitWhole, w.what)
	}
	if w.voters < 0 {
		return fmt.Errorf("--await-voters is %d; it must be 0 or more", w.voters)
	}
	if w.timeout <= 0 {
		return fmt.Errorf("--wait-timeout is %v; it must be more than 0", w.timeout)
	}
	return nil
}

// asked reports whether there is anything to wait for.
func (w *statusWait) asked() bool { return w.what != "" || w.voters > 0 }

// goal says what is waited for.
func (w *statusWait) goal() string {
	if w.voters > 0 {
		return fmt.Sprintf("one of %d voters that are up", w.voters)
	}
	return w.what
}

// lacks says what a cluster lacks to be what is waited for; empty is nothing.
func (w *statusWait) lacks(s *chainfire.ClusterStatus) string {
	if !s.Healthy {
		return summary(s)
	}
	if why := w.lacksVoters(s); why != "" || w.what != waitWhole {
		return why
	}
	for i := range s.Members {
		m := &s.Members[i]
		switch {
		case !inService(m):
			return fmt.Sprintf("member %s (%s) is %s", memberID(m.ID), orDash(m.Name), m.Phase)
		case !m.Active:
			return fmt.Sprintf("member %s (%s) is not heard of", memberID(m.ID), orDash(m.Name))
		case m.AppliedIndex < s.CommitIndex && m.MatchIndex < s.CommitIndex:
			return fmt.Sprintf("member %s (%s) is %d entries behind", memberID(m.ID), orDash(m.Name), s.CommitIndex-m.MatchIndex)
		}
	}
	return ""
}

func (w *statusWait) lacksVoters(s *chainfire.ClusterStatus) string {
	if w.voters == 0 {
		return ""
	}
	have := 0
	for i := range s.Members {
		m := &s.Members[i]
		if m.Phase != chainfire.PhaseVoter {
			continue
		}
		if have++; !m.Active {
			return fmt.Sprintf("voter %s (%s) is not heard of", memberID(m.ID), orDash(m.Name))
		}
	}
	if have != w.voters {
		return fmt.Sprintf("%d members vote", have)
	}
	return ""
}

// await looks until the cluster is as asked. It returns the last status seen, which
// may be nil, and an error when the time is over.
func (w *statusWait) await(ctx context.Context, look func(context.Context) (*chainfire.ClusterStatus, error)) (*chainfire.ClusterStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	tick := time.NewTicker(statusPoll)
	defer tick.Stop()
	var last *chainfire.ClusterStatus
	why := ""
	for {
		s, err := look(ctx)
		if err == nil {
			last = s
			if why = w.lacks(s); why == "" {
				return s, nil
			}
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return last, ctx.Err()
			}
			if last == nil {
				return nil, fmt.Errorf("the cluster is not %s after %v: %w", w.goal(), w.timeout, err)
			}
			return last, &exitError{code: exitUnhealthy, err: fmt.Errorf("the cluster is not %s after %v: %s", w.goal(), w.timeout, why)}
		case <-tick.C:
		}
	}
}
