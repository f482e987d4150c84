package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"chainfire"
)

func TestWaitEndsWhenTheClusterIsAsAsked(t *testing.T) {
	t.Parallel()
	ill := testStatus()
	ill.Healthy = false
	well := testStatus()
	well.CommitIndex = 100
	for i := range well.Members {
		m := &well.Members[i]
		m.Phase, m.Active, m.MatchIndex, m.AppliedIndex = chainfire.PhaseVoter, true, 100, 100
	}
	silent, seeding, behind := *well, *well, *well
	edit := func(s *chainfire.ClusterStatus, f func(*chainfire.MemberStatus)) *chainfire.ClusterStatus {
		s.Members = append([]chainfire.MemberStatus(nil), s.Members...)
		f(&s.Members[1])
		return s
	}
	for _, c := range []struct {
		name, what string
		seen       []*chainfire.ClusterStatus
		lacks      string
	}{
		{"it becomes healthy", waitHealthy, []*chainfire.ClusterStatus{nil, ill, &silent}, ""},
		{"it becomes whole", waitWhole, []*chainfire.ClusterStatus{
			ill,
			edit(&silent, func(m *chainfire.MemberStatus) { m.Active = false }),
			edit(&seeding, func(m *chainfire.MemberStatus) { m.Phase = chainfire.PhaseSeeding }),
			edit(&behind, func(m *chainfire.MemberStatus) { m.MatchIndex, m.AppliedIndex = 90, 90 }),
			well,
		}, ""},
		{"it stays unhealthy", waitHealthy, []*chainfire.ClusterStatus{ill}, "not healthy"},
		{"a member stays silent", waitWhole, []*chainfire.ClusterStatus{&silent}, "is not heard of"},
		{"a member stays behind", waitWhole, []*chainfire.ClusterStatus{&behind}, "is 10 entries behind"},
		{"nobody answers", waitHealthy, []*chainfire.ClusterStatus{nil}, "nobody is there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := statusWait{what: c.what, timeout: time.Minute}
			if c.lacks != "" {
				w.timeout = 3 * statusPoll
			}
			i := -1
			got, err := w.await(t.Context(), func(context.Context) (*chainfire.ClusterStatus, error) {
				if i++; i < len(c.seen) && c.seen[i] == nil || i >= len(c.seen) && c.seen[0] == nil {
					return nil, errors.New("nobody is there")
				}
				return c.seen[min(i, len(c.seen)-1)], nil
			})
			switch {
			case c.lacks == "" && (err != nil || got != c.seen[len(c.seen)-1] || i != len(c.seen)-1):
				t.Errorf("look %d: %+v, %v", i, got, err)
			case c.lacks != "" && (err == nil || !strings.Contains(err.Error(), c.lacks)):
				t.Errorf("got %v, want %q", err, c.lacks)
			}
		})
	}
}

func TestWaitForNothingKnownIsRefused(t *testing.T) {
	t.Parallel()
	for _, w := range []statusWait{{what: "ready", timeout: time.Second}, {what: waitHealthy}} {
		if err := w.check(); err == nil {
			t.Errorf("%+v is taken", w)
		}
	}
}
