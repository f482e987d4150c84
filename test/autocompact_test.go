package test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestHistoryIsCompactedByItselfAfterItsPeriodAndNotBefore reads an old revision until
// it is gone, at every member.
func TestHistoryIsCompactedByItselfAfterItsPeriodAndNotBefore(t *testing.T) {
	t.Parallel()
	const period = 3 * time.Second
	c := here.newCluster(t, append(calm(), "--auto-compaction-retention", period.String())...)
	m := c.members[1]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	first, err := m.kv().Put(ctx, "k", "old")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.kv().Put(ctx, "k", "new"); err != nil {
		t.Fatal(err)
	}
	replaced := time.Now()
	for _, m := range c.members {
		await(t, "the end of an old revision at "+m.name, patience, func(ctx context.Context) error {
			r, err := m.kv().Get(ctx, "k", clientv3.WithRev(first.Header.Revision))
			switch {
			case errors.Is(err, rpctypes.ErrCompacted):
				return nil
			case err == nil && string(r.Kvs[0].Value) != "old":
				t.Fatalf("revision %d has %s", first.Header.Revision, r.Kvs[0].Value)
			}
			return fmt.Errorf("it is there: %w", err)
		})
	}
	if took := time.Since(replaced); took < period {
		t.Errorf("what was replaced %v ago is gone; %v of history are to be kept", took, period)
	}
	if r, err := m.kv().Get(ctx, "k"); err != nil || string(r.Kvs[0].Value) != "new" {
		t.Errorf("now: %v, %v", r, err)
	}
}
