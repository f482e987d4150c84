package node_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"chainfire"
	"chainfire/node"
)

// leaderless is a member that is cut off from the other two of its cluster. It holds the
// key k and the lease 7. timeout is how long it waits for others.
func leaderless(t *testing.T, timeout time.Duration) *node.Node {
	t.Helper()
	l := listed(t, "cut-off", "a", "b", "c")
	for i := range l {
		l[i].RequestTimeout = timeout
	}
	members := startAll(t, l)
	put(t, members[0], "k", "v")
	if _, err := members[0].LeaseGrant(t.Context(), &chainfire.LeaseGrantRequest{ID: 7, TTL: 600}); err != nil {
		t.Fatal(err)
	}
	n := members[0]
	t.Cleanup(func() { stop(t, n) })
	stop(t, members[1])
	stop(t, members[2])
	eventually(t, "the member to have no leader", func() error {
		if err := n.Health(t.Context(), false); !errors.Is(err, chainfire.ErrNoLeader) {
			return errors.New("it has one")
		}
		return nil
	})
	return n
}

// TestMemberThatIsCutOffSaysSoInEtcdsWords, each kind of request in its own, and in the
// member's time where its caller would wait for longer: the caller can ask another member
// then. What needs no other member is answered.
func TestMemberThatIsCutOffSaysSoInEtcdsWords(t *testing.T) {
	t.Parallel()
	n := leaderless(t, time.Second)
	read := func(r chainfire.RangeRequest) error {
		r.Key = []byte("k")
		_, err := n.Range(t.Context(), &r)
		return err
	}
	if err := read(chainfire.RangeRequest{Serializable: true}); err != nil {
		t.Errorf("a serializable read: %v", err)
	}
	if l, err := n.LeaseList(t.Context()); err != nil || len(l.IDs) != 1 {
		t.Errorf("leases: %v, %v", l, err)
	}
	patient, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	var calls sync.WaitGroup
	for name, tc := range map[string]struct {
		call func(context.Context) error
		want error
	}{
		"a linearizable read": {func(ctx context.Context) error {
			_, err := n.Range(ctx, &chainfire.RangeRequest{Key: []byte("k")})
			return err
		}, chainfire.ErrTimeout},
		"a transaction that reads": {func(ctx context.Context) error {
			op := chainfire.Op{Range: &chainfire.RangeRequest{Key: []byte("k")}}
			_, err := n.Txn(ctx, &chainfire.TxnRequest{Success: []chainfire.Op{op}})
			return err
		}, chainfire.ErrTimeout},
		"the list of members": {func(ctx context.Context) error { _, err := n.Members(ctx, true); return err }, chainfire.ErrTimeout},
		"a write":             {func(ctx context.Context) error { _, err := n.Put(ctx, a("a")); return err }, context.DeadlineExceeded},
		"a grant": {func(ctx context.Context) error {
			_, err := n.LeaseGrant(ctx, &chainfire.LeaseGrantRequest{TTL: 60})
			return err
		}, context.DeadlineExceeded},
		"users":     {func(ctx context.Context) error { _, err := n.AuthNames(ctx, false); return err }, context.DeadlineExceeded},
		"alarms":    {func(ctx context.Context) error { _, err := n.Alarm(ctx, &chainfire.AlarmRequest{}); return err }, context.DeadlineExceeded},
		"a renewal": {func(ctx context.Context) error { _, err := n.LeaseRenew(ctx, 7); return err }, chainfire.ErrNoLeader},
		"time left": {func(ctx context.Context) error { _, err := n.LeaseTimeToLive(ctx, 7, false); return err }, chainfire.ErrNoLeader},
	} {
		for who, ctx := range map[string]context.Context{"without a deadline": t.Context(), "that is patient": patient} {
			calls.Go(func() {
				if err := tc.call(ctx); !errors.Is(err, tc.want) {
					t.Errorf("%s: a caller %s is told %v, want %v", name, who, err, tc.want)
				}
			})
		}
		calls.Go(func() {
			hasty, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			if err := tc.call(hasty); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: a caller that is hasty is told %v", name, err)
			}
		})
	}
	calls.Wait()
}

// TestSnapshotIsMadeWithoutALeaderWhateverTimeTheCallerHas: the wait for what may be
// missing takes no more than half of it.
func TestSnapshotIsMadeWithoutALeaderWhateverTimeTheCallerHas(t *testing.T) {
	t.Parallel()
	n := leaderless(t, 5*time.Second)
	for _, limit := range []time.Duration{4 * time.Second, time.Hour} {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		f, err := n.EtcdSnapshot(ctx)
		if err != nil {
			t.Fatalf("within %v: %v", limit, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
