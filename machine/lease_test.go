package machine

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"chainfire"
	"chainfire/mvcc"
	"chainfire/raft"
)

func drawLease(t *rapid.T) int64 {
	return rapid.SampledFrom([]int64{5, 6, -1}).Draw(t, "lease")
}

// drawLeaseCommand draws commands in a log of term 1.
func drawLeaseCommand(t *rapid.T, c *Command) {
	id := drawLease(t)
	switch rapid.IntRange(0, 4).Draw(t, "lease command") {
	case 0, 1:
		c.GrantLease = &GrantLease{ID: id, TTL: rapid.Int64Range(1, MaxLeaseTTL).Draw(t, "ttl")}
	case 2, 3:
		c.RevokeLease = &RevokeLease{ID: id, Term: rapid.Uint64Range(0, 2).Draw(t, "term")}
	case 4:
		c.CheckpointLeases = &CheckpointLeases{
			Term:   rapid.Uint64Range(0, 2).Draw(t, "term"),
			Leases: []LeaseCheckpoint{{ID: id, Remaining: rapid.Int64Range(1, 99).Draw(t, "remaining")}, {ID: 6, Remaining: 3}},
		}
	}
}

// checkLeases compares the leases of a machine, and the keys of each, with the model.
func checkLeases(t fataler, m *model, got *Machine) {
	t.Helper()
	leases, err := got.Leases()
	if err != nil {
		t.Fatalf("leases: %v", err)
	}
	have, attached := map[int64]Lease{}, map[int64][]string{}
	for _, l := range leases {
		have[l.ID], attached[l.ID] = l, nil
		keys, err := got.LeaseKeys(l.ID)
		if err != nil {
			t.Fatalf("keys of lease %d: %v", l.ID, err)
		}
		for _, key := range keys {
			attached[l.ID] = append(attached[l.ID], string(key))
		}
	}
	if d := diff(m.leases, have); d != "" {
		t.Fatalf("leases: (-model +machine)\n%s", d)
	}
	if d := diff(m.attached(), attached); d != "" {
		t.Fatalf("attached keys: (-model +machine)\n%s", d)
	}
}

func putUnder(lease int64, key string) Command {
	return Command{Put: &chainfire.PutRequest{Key: []byte(key), Lease: lease}}
}

func TestRevokedLeaseTakesItsKeysInOneRevisionInTheirOrder(t *testing.T) {
	m, _ := start(t)
	defer closeAll(t, m)
	do(t, m, Command{GrantLease: &GrantLease{ID: 9, TTL: 10}})
	for _, key := range []string{"c", "a", "b", "moved", "deleted"} {
		do(t, m, putUnder(9, key))
	}
	do(t, m, putUnder(0, "moved"))
	do(t, m, Command{Delete: &chainfire.DeleteRangeRequest{Key: []byte("deleted")}})
	before := m.Revision()
	stream := m.NewWatchStream()
	defer stream.Close()
	if _, err := stream.Watch(&chainfire.WatchRequest{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: before + 1}); err != nil {
		t.Fatal(err)
	}
	res := do(t, m, Command{RevokeLease: &RevokeLease{ID: 9}})
	if res.Err != nil || res.RevokeLease.Header.Revision != before+1 || m.Revision() != before+1 {
		t.Fatalf("%+v, revision %d", res, m.Revision())
	}
	var deleted []string
	for len(deleted) < 3 {
		resp, err := stream.Recv(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range resp.Events {
			if e.Type != chainfire.EventDelete || e.KV.ModRevision != before+1 {
				t.Fatalf("event %+v", e)
			}
			deleted = append(deleted, string(e.KV.Key))
		}
	}
	if !slices.Equal(deleted, []string{"a", "b", "c"}) {
		t.Fatalf("deleted %q", deleted)
	}
	if res := do(t, m, putUnder(9, "late")); !errors.Is(res.Err, chainfire.ErrLeaseNotFound) {
		t.Fatalf("a key was attached to a revoked lease: %+v", res)
	}
}

func TestTxnThatAttachesToAnUnknownLeaseWritesNothing(t *testing.T) {
	m, _ := start(t)
	defer closeAll(t, m)
	res := do(t, m, Command{Txn: &chainfire.TxnRequest{Success: []chainfire.Op{
		{Put: &chainfire.PutRequest{Key: []byte("a")}},
		{Put: &chainfire.PutRequest{Key: []byte("b"), Lease: 9}},
	}}})
	if !errors.Is(res.Err, chainfire.ErrLeaseNotFound) || m.Revision() != 1 {
		t.Fatalf("%+v, revision %d", res, m.Revision())
	}
}

func TestExpiryFoundByALeaderThatWasReplacedRevokesNothing(t *testing.T) {
	m, _ := start(t)
	defer closeAll(t, m)
	do(t, m, Command{GrantLease: &GrantLease{ID: 9, TTL: 10}})
	stale := []Command{
		{RevokeLease: &RevokeLease{ID: 9, Term: 1}},
		{CheckpointLeases: &CheckpointLeases{Term: 1, Leases: []LeaseCheckpoint{{ID: 9, Remaining: 1}}}},
	}
	for i, c := range stale {
		res, err := m.Apply([]raft.Entry{{Index: uint64(3 + i), Term: 2, Data: c.AppendTo(nil)}})
		if err != nil || !errors.Is(res[0].Err, ErrLeaseProposer) {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	if l, err := m.Leases(); err != nil || !slices.Equal(l, []Lease{{ID: 9, TTL: 10}}) {
		t.Fatalf("%+v, %v", l, err)
	}
}

func TestGrantOutOfBoundsIsRefused(t *testing.T) {
	for want, q := range map[error]GrantLease{
		chainfire.ErrLeaseNotFound:    {TTL: 1},
		chainfire.ErrLeaseTTLTooLarge: {ID: 1, TTL: MaxLeaseTTL + 1},
		ErrMalformed:                  {ID: 1},
	} {
		c := Command{GrantLease: &q}
		if err := c.Validate(); !errors.Is(err, want) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func TestLeasesAreInACheckpointAndAnInspectionCountsThem(t *testing.T) {
	a, fs := start(t)
	do(t, a, Command{GrantLease: &GrantLease{ID: 9, TTL: 10}})
	do(t, a, Command{GrantLease: &GrantLease{ID: -1, TTL: 20}})
	do(t, a, putUnder(-1, "k"))
	do(t, a, Command{CheckpointLeases: &CheckpointLeases{Term: 1, Leases: []LeaseCheckpoint{{ID: 9, Remaining: 4}}}})
	if _, err := a.Checkpoint(t.Context(), "copy"); err != nil {
		t.Fatal(err)
	}
	found, err := Inspect(t.Context(), mvcc.InspectOptions{FS: fs, Dir: "copy"})
	if err != nil || found.Damage != 0 || found.Rows.Leases != 2 || found.Rows.Attached != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	opts := testOptions(fs)
	opts.Dir = "installed"
	if err := Install(opts, "copy"); err != nil {
		t.Fatal(err)
	}
	b, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, a, b)
	leases, err := b.Leases()
	if d := diff([]Lease{{ID: 9, TTL: 10, Remaining: 4}, {ID: -1, TTL: 20}}, leases); d != "" || err != nil {
		t.Errorf("%s, %v", d, err)
	}
	keys, err := b.LeaseKeys(-1)
	if err != nil || len(keys) != 1 || string(keys[0]) != "k" {
		t.Errorf("keys %q, %v", keys, err)
	}
}
