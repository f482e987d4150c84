package node_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"chainfire"
	"chainfire/node"
)

func grant(t *testing.T, n *node.Node, ttl int64) int64 {
	t.Helper()
	g, err := n.LeaseGrant(t.Context(), &chainfire.LeaseGrantRequest{TTL: ttl})
	if err != nil || g.TTL != ttl || g.ID <= 0 {
		t.Fatalf("grant: %+v, %v", g, err)
	}
	return g.ID
}

func timeLeft(t *testing.T, n *node.Node, id int64) int64 {
	t.Helper()
	l, err := n.LeaseTimeToLive(t.Context(), id, false)
	if err != nil {
		t.Fatal(err)
	}
	return l.TTL
}

// TestTimeThatALeaseHasLeftSurvivesRestarts: a lease of 100 s that is noted every half
// second is not given 100 s by every leader that begins.
func TestTimeThatALeaseHasLeftSurvivesRestarts(t *testing.T) {
	o := options(t, "a")
	o.Bounds.LeaseCheckpoints = 500 * time.Millisecond
	n := start(t, o)
	id, other := grant(t, n, 100), grant(t, n, 100)
	for range 3 {
		before := timeLeft(t, n, id)
		eventually(t, "6 seconds pass for a lease", func() error {
			if left := timeLeft(t, n, id); left > before-6 {
				return fmt.Errorf("it has %d s, and had %d", left, before)
			}
			return nil
		})
		stop(t, n)
		n = start(t, o)
		// Some of it for the last checkpoint, one second for the election, one rounded.
		if left := timeLeft(t, n, id); left > before-2 {
			t.Errorf("a new leader gives a lease %d s, it had %d before the last six", left, before)
		}
	}
	if left := timeLeft(t, n, other); left > 97 {
		t.Fatalf("the other has %d s left", left)
	}
	if ttl, err := n.LeaseRenew(t.Context(), other); err != nil || ttl != 100 {
		t.Fatalf("renewed for %d s, %v", ttl, err)
	}
	stop(t, n)
	n = start(t, o)
	if left := timeLeft(t, n, other); left < 98 {
		t.Errorf("a lease that was renewed just before has %d s left", left)
	}
	stop(t, n)
}

func TestLeasesHaveToWaitForTheLastMemberOfAnOlderVersion(t *testing.T) {
	o := options(t, "a")
	o.RequestTimeout = time.Second
	n := start(t, program(o, "1.0.0", 1))
	if _, err := n.LeaseGrant(t.Context(), &chainfire.LeaseGrantRequest{TTL: 5}); !errors.Is(err, chainfire.ErrFeatureLevel) {
		t.Errorf("granted: %v", err)
	}
	if _, err := n.LeaseRevoke(t.Context(), 5); !errors.Is(err, chainfire.ErrLeaseNotFound) {
		t.Errorf("revoked: %v", err)
	}
	if _, err := n.LeaseRenew(t.Context(), 5); !errors.Is(err, chainfire.ErrLeaseNotFound) {
		t.Errorf("renewed: %v", err)
	}
	stop(t, n)
	n = start(t, program(o, "1.1.0", 2))
	grant(t, n, 5)
	stop(t, n)
}

func TestLeaseIsGrantedTheLeastThatAChangeOfTheLeaderTakes(t *testing.T) {
	o := options(t, "a")
	o.TickInterval, o.ElectionTicks = 100*time.Millisecond, 10
	n := start(t, o)
	for asked, want := range map[int64]int64{-1: 2, 0: 2, 1: 2, 3: 3} {
		g, err := n.LeaseGrant(t.Context(), &chainfire.LeaseGrantRequest{TTL: asked})
		if err != nil || g.TTL != want {
			t.Errorf("of %d s are granted %+v, %v, want %d", asked, g, err, want)
		}
	}
	stop(t, n)
}

func TestHistoryIsCompactedByRevisionsByTheLeader(t *testing.T) {
	o := options(t, "a")
	o.CompactRevisions, o.Bounds.CompactEvery = 3, 20*time.Millisecond
	n := start(t, o)
	for i := range 10 {
		put(t, n, "k", fmt.Sprint(i))
	}
	last := n.Revision()
	read := func(rev int64) error {
		_, err := n.Range(t.Context(), &chainfire.RangeRequest{Key: []byte("k"), Revision: rev})
		return err
	}
	eventually(t, "what is more than three revisions ago is gone", func() error {
		if err := read(last - 4); !errors.Is(err, chainfire.ErrCompacted) {
			return fmt.Errorf("revision %d of %d: %w", last-4, last, err)
		}
		return nil
	})
	if err := read(last - 3); err != nil {
		t.Errorf("revision %d of %d: %v", last-3, last, err)
	}
	stop(t, n)
}
