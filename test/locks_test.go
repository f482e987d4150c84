package test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// acquired is what a call for a lock came to.
type acquired struct {
	key []byte
	err error
}

func lock(ctx context.Context, l v3lockpb.LockClient, name string, lease int64) <-chan acquired {
	out := make(chan acquired, 1)
	go func() {
		r, err := l.Lock(ctx, &v3lockpb.LockRequest{Name: []byte(name), Lease: lease})
		out <- acquired{r.GetKey(), err}
	}()
	return out
}

func mustHave(t *testing.T, from <-chan acquired) []byte {
	t.Helper()
	select {
	case a := <-from:
		if a.err != nil {
			t.Fatal(a.err)
		}
		return a.key
	case <-time.After(soon):
		t.Fatal("the lock was not had")
	}
	return nil
}

// TestLockPassesOnWhenItIsGivenBackAndWhenItsLeaseEnds lets three take turns, each
// through another member, and one by the client's own package.
func TestLockPassesOnWhenItIsGivenBackAndWhenItsLeaseEnds(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var locks []v3lockpb.LockClient
	for _, m := range c.members {
		locks = append(locks, v3lockpb.NewLockClient(dial(t, m.client)))
	}
	first := mustHave(t, lock(ctx, locks[0], "l", 0))
	if !strings.HasPrefix(string(first), "l/") {
		t.Errorf("the lock's key is %q", first)
	}
	short := attached(t, c.members[1], 8)
	second := lock(ctx, locks[1], "l", int64(short))
	waiting(ctx, t, c.members[0], "l/", 2)
	s, err := concurrency.NewSession(c.members[2].kv(), concurrency.WithTTL(60))
	if err != nil {
		t.Fatal(err)
	}
	third := concurrency.NewMutex(s, "l")
	if err := third.TryLock(ctx); !errors.Is(err, concurrency.ErrLocked) {
		t.Errorf("a lock that is held: %v", err)
	}
	if _, err := locks[2].Unlock(ctx, &v3lockpb.UnlockRequest{Key: first}); err != nil {
		t.Fatal(err)
	}
	mustHave(t, second)
	// Nobody keeps the second's lease.
	if err := third.Lock(ctx); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(third.Unlock(ctx), s.Close()); err != nil {
		t.Error(err)
	}
	_, err = locks[0].Lock(ctx, &v3lockpb.LockRequest{Name: []byte("l"), Lease: 12345})
	if status.Code(err) != codes.Unknown || status.Convert(err).Message() != rpctypes.ErrLeaseNotFound.Error() {
		t.Errorf("a lease that there is not: %v", err)
	}
}

// waiting waits until as many keys are in line.
func waiting(ctx context.Context, t *testing.T, m *member, prefix string, n int64) {
	t.Helper()
	kv := pb.NewKVClient(dial(t, m.client))
	await(t, fmt.Sprintf("%d in line", n), soon, func(context.Context) error {
		r, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte(prefix), RangeEnd: []byte(prefix + "\xff"), CountOnly: true})
		if err == nil && r.Count != n {
			err = fmt.Errorf("there are %d", r.Count)
		}
		return err
	})
}

func TestLockThatIsWaitedForDoesNotHoldAStopUp(t *testing.T) {
	t.Parallel()
	m := oneMember(t).members[0]
	l := v3lockpb.NewLockClient(dial(t, m.client))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	mustHave(t, lock(ctx, l, "l", 0))
	second := lock(ctx, l, "l", 0)
	waiting(ctx, t, m, "l/", 2)
	began := time.Now()
	m.stop()
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the stop took %v", took)
	}
	if a := <-second; status.Code(a.err) != codes.Unavailable {
		t.Errorf("who waited is told %v", a.err)
	}
	// Who was cut off is in line no more; who has the lock has it.
	m.start()
	m.awaitServing()
	waiting(ctx, t, m, "l/", 1)
}

// TestElectionIsWonObservedAndPassedOn is the whole of the service, over gRPC and JSON.
func TestElectionIsWonObservedAndPassedOn(t *testing.T) {
	t.Parallel()
	m := oneMember(t).members[0]
	e := v3electionpb.NewElectionClient(dial(t, m.client))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	name := []byte("e")
	_, err := e.Leader(ctx, &v3electionpb.LeaderRequest{Name: name})
	if status.Convert(err).Message() != concurrency.ErrElectionNoLeader.Error() {
		t.Errorf("before the first: %v", err)
	}
	_, err = e.Resign(ctx, &v3electionpb.ResignRequest{})
	if status.Code(err) != codes.Unknown || status.Convert(err).Message() != `"leader" field must be provided` {
		t.Errorf("resigned: %v", err)
	}
	a, err := e.Campaign(ctx, &v3electionpb.CampaignRequest{Name: name, Value: []byte("a")})
	if err != nil {
		t.Fatal(err)
	}
	seen, err := e.Observe(ctx, &v3electionpb.LeaderRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	mustSee := func(value string) {
		t.Helper()
		if r, err := seen.Recv(); err != nil || string(r.Kv.Value) != value {
			t.Fatalf("seen is %v, %v, want %s", r, err, value)
		}
	}
	mustSee("a")
	if _, err := e.Proclaim(ctx, &v3electionpb.ProclaimRequest{Leader: a.Leader, Value: []byte("a2")}); err != nil {
		t.Fatal(err)
	}
	mustSee("a2")
	b := make(chan error, 1)
	go func() {
		_, err := e.Campaign(ctx, &v3electionpb.CampaignRequest{Name: name, Value: []byte("b")})
		b <- err
	}()
	waiting(ctx, t, m, "e/", 2)
	if r, err := e.Leader(ctx, &v3electionpb.LeaderRequest{Name: name}); err != nil || string(r.Kv.Value) != "a2" {
		t.Errorf("the leader is %v, %v", r, err)
	}
	if _, err := e.Resign(ctx, &v3electionpb.ResignRequest{Leader: a.Leader}); err != nil {
		t.Fatal(err)
	}
	if err := <-b; err != nil {
		t.Fatal(err)
	}
	mustSee("b")
	if r := post("election/leader", `{"name":"ZQ=="}`).mustAt(t, m.client); r.code != 200 || !strings.Contains(r.body, `"value":"Yg=="`) {
		t.Errorf("as JSON the leader is %+v", r)
	}
}
