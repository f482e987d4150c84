package test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire/api"
)

// transfer asks a member to be the source of a newcomer, and returns what came.
func transfer(ctx context.Context, t *testing.T, from *member, q *api.TransferSnapshotRequest) (parts []*api.TransferSnapshotResponse, err error) {
	t.Helper()
	stream, err := api.NewClusterClient(dial(t, from.client)).TransferSnapshot(ctx, q)
	for err == nil {
		var m *api.TransferSnapshotResponse
		if m, err = stream.Recv(); err == nil {
			parts = append(parts, m)
		}
		if m.GetDone() {
			return parts, nil
		}
	}
	return parts, err
}

// slowed is a cluster of three whose members other than fast seed at a trickle, and a
// newcomer that has begun on one of the slow ones.
func slowed(t *testing.T) (c *cluster, fast, newcomer *member) {
	t.Helper()
	c = here.newCluster(t, brisk("--seed-rate", "64KiB")...)
	leader := c.awaitLeader()
	ballast(t, leader.kv(), seedSize)
	newcomer = here.newMember(t, "d", brisk()...)
	newcomer.launch(leader.peer)
	newcomer.awaitSeeding(64 << 10)
	slow := c.seeders(newcomer)
	if len(slow) != 1 {
		t.Fatalf("the newcomer is seeded by %v", slow)
	}
	for _, m := range c.members {
		if m.name != slow[0] && m != leader {
			fast = m
		}
	}
	fast.stop()
	fast.args = brisk()
	fast.start()
	fast.awaitServing()
	return c, fast, newcomer
}

// TestNewcomerOnASlowSourceTakesItsSeedFromTheMemberThatIsAsked ends in a moment what
// would take minutes at the source's rate.
func TestNewcomerOnASlowSourceTakesItsSeedFromTheMemberThatIsAsked(t *testing.T) {
	t.Parallel()
	c, fast, d := slowed(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	parts, err := transfer(ctx, t, fast, &api.TransferSnapshotRequest{TargetAddr: "http://" + d.peer})
	if err != nil {
		t.Fatal(err)
	}
	first, last := parts[0], parts[len(parts)-1]
	if first.GetMeta().GetTotalBytes() < seedSize || !last.GetDone() {
		t.Fatalf("%d messages, from %v to %v", len(parts), first, last)
	}
	end := parts[len(parts)-2].GetProgress()
	if end == nil || end.GetBytesDone() != first.GetMeta().GetTotalBytes() {
		t.Errorf("before the end it is at %v of %d bytes", end, first.GetMeta().GetTotalBytes())
	}
	d.awaitReady()
	c.members = append(c.members, d)
	c.awaitVoters(4, 3)
	if got := c.seeders(d); len(got) != 2 || !strings.Contains(strings.Join(got, " "), fast.name) {
		t.Errorf("the newcomer is seeded by %v, at last by %s", got, fast.name)
	}
	c.mustHoldTheSame("ballast/")
	for what, q := range map[string]*api.TransferSnapshotRequest{
		"no newcomer any more": {TargetNodeId: d.id(fast)}, "the source itself": {TargetNodeId: fast.id(fast)},
	} {
		mustAnswer(t, what, codes.FailedPrecondition, "member", func(ctx context.Context) error { _, err := transfer(ctx, t, fast, q); return err })
	}
	mustAnswer(t, "an id of nobody", codes.NotFound, "no newcomer has the id 999", func(ctx context.Context) error {
		_, err := transfer(ctx, t, fast, &api.TransferSnapshotRequest{TargetNodeId: 999})
		return err
	})
	mustAnswer(t, "an address of nobody", codes.NotFound, "no newcomer has the peer address", func(ctx context.Context) error {
		_, err := transfer(ctx, t, fast, &api.TransferSnapshotRequest{TargetAddr: "127.0.0.1:1"})
		return err
	})
	mustAnswer(t, "an address of another", codes.InvalidArgument, "is not at 127.0.0.1:1", func(ctx context.Context) error {
		_, err := transfer(ctx, t, fast, &api.TransferSnapshotRequest{TargetNodeId: d.id(fast), TargetAddr: "127.0.0.1:1"})
		return err
	})
}

// TestLaterCallForASourceTakesTheNewcomerFromAnEarlierOne runs the command of
// docs/operate/join.md while a slow member is the source that was asked for.
func TestLaterCallForASourceTakesTheNewcomerFromAnEarlierOne(t *testing.T) {
	t.Parallel()
	c, fast, d := slowed(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	leader := c.awaitLeader()
	first, err := api.NewClusterClient(dial(t, leader.client)).TransferSnapshot(ctx, &api.TransferSnapshotRequest{TargetAddr: d.peer})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := first.Recv(); err != nil || m.GetMeta() == nil {
		t.Fatalf("the first call begins with %v, %v", m, err)
	}
	a := here.chainfire(t, t.TempDir(), fast, "seed", "push", "d")
	if a.code != 0 || !strings.Contains(a.stdout, "d has its seed from "+fast.client) {
		t.Errorf("exit code %d: %s%s", a.code, a.stdout, a.stderr)
	}
	for err == nil {
		_, err = first.Recv()
	}
	if status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "was asked for as the source meanwhile") {
		t.Errorf("the first call ends with %v", err)
	}
	d.awaitReady()
	again := here.chainfire(t, t.TempDir(), fast, "seed", "push", "d")
	if again.code != 1 || !strings.Contains(again.stderr, "has its state already: it is no newcomer") || strings.Contains(again.stderr, "rpc error") {
		t.Errorf("of a member that needs none: exit code %d: %s", again.code, again.stderr)
	}
}

// TestSourceThatWasAskedForAndDiesIsLeftForAnother kills it in the middle, with the
// command that asked for it waiting.
func TestSourceThatWasAskedForAndDiesIsLeftForAnother(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, brisk("--seed-rate", "1MiB")...)
	leader := c.awaitLeader()
	ballast(t, leader.kv(), seedSize)
	d := here.newMember(t, "d", brisk()...)
	d.launch(leader.peer)
	d.awaitSeeding(256 << 10)
	first := c.seeders(d)[0]
	var other *member
	for _, m := range c.followers() {
		if m.name != first {
			other = m
		}
	}
	// It is asked by its name here, as a person would.
	pushed := make(chan answer, 1)
	go func() { pushed <- here.chainfire(t, t.TempDir(), other, "seed", "push", "d") }()
	d.await("the other source", patience, func(context.Context) error {
		if got := c.seeders(d); len(got) != 2 {
			return fmt.Errorf("seeded by %v", got)
		}
		return nil
	})
	other.kill()
	if a := <-pushed; a.code != 1 || !strings.Contains(a.stderr, "seed d from "+other.client) {
		t.Errorf("the command ends with exit code %d: %s", a.code, a.stderr)
	}
	d.awaitReady()
	other.start()
	c.members = append(c.members, d)
	c.awaitVoters(4, 3)
	c.mustHoldTheSame("ballast/")
}

// TestNewcomerThatNamedItsSourceIsNotTakenOver says so to who asks.
func TestNewcomerThatNamedItsSourceIsNotTakenOver(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, brisk("--seed-rate", "1MiB")...)
	leader, source := c.awaitLeader(), c.followers()[0]
	ballast(t, leader.kv(), seedSize)
	d := here.newMember(t, "d", brisk("--bootstrap-from", source.name)...)
	d.launch(leader.peer)
	d.awaitSeeding(256 << 10)
	mustAnswer(t, "bound to another source", codes.FailedPrecondition, "--bootstrap-from "+source.name, func(ctx context.Context) error {
		_, err := transfer(ctx, t, leader, &api.TransferSnapshotRequest{TargetAddr: d.peer})
		return err
	})
	d.awaitReady()
	if got := c.seeders(d); len(got) != 1 || got[0] != source.name {
		t.Errorf("the newcomer is seeded by %v", got)
	}
}

// TestTransferWithoutATargetIsAPull sends the whole state to who asks.
func TestTransferWithoutATargetIsAPull(t *testing.T) {
	t.Parallel()
	a := oneMember(t).members[0]
	ballast(t, a.kv(), 1<<20)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	parts, err := transfer(ctx, t, a, &api.TransferSnapshotRequest{})
	if err != nil {
		t.Fatal(err)
	}
	bytes := uint64(0)
	for _, p := range parts[1 : len(parts)-1] {
		k := p.GetChunk()
		if k.GetOffset() != bytes {
			t.Fatalf("a chunk at %d comes after %d bytes", k.GetOffset(), bytes)
		}
		bytes += uint64(len(k.GetData()))
	}
	if meta := parts[0].GetMeta(); meta == nil || bytes != meta.GetTotalBytes() || bytes < 1<<20 {
		t.Errorf("%d bytes came of %d", bytes, parts[0].GetMeta().GetTotalBytes())
	}
}
