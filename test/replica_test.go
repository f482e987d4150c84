package test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"chainfire"
)

// isReplica says how a member's record differs from that of a read replica that
// is up.
func isReplica(s *chainfire.ClusterStatus, name string) error {
	for _, m := range s.Members {
		if m.Name != name {
			continue
		}
		if !m.ReadReplica || !m.Learner || m.Phase != chainfire.PhaseLearner || !m.Active || !strings.Contains(m.Reason, "never votes") {
			return fmt.Errorf("it is %+v", m)
		}
		return nil
	}
	return errors.New("it is no member")
}

// TestReadReplicaServesReadsAndNeverVotes comes before those that vote: the voters
// grow as if it were not there.
func TestReadReplicaServesReadsAndNeverVotes(t *testing.T) {
	t.Parallel()
	c := oneMember(t, calm()...)
	a := c.members[0]
	r := here.newMember(t, "r", append(calm(), "--read-replica")...)
	r.start(a.peer)
	b := here.newMember(t, "b", calm()...)
	b.start(a.peer)
	c.members = append(c.members, r, b)
	c.awaitVoters(3, 1)
	a.await("a read replica and a standby", patience, func(ctx context.Context) error {
		s, err := a.status(ctx)
		if err != nil {
			return err
		}
		for _, m := range s.Members {
			if m.Name == "b" && !strings.Contains(m.Reason, "stays odd") {
				return fmt.Errorf("the other waits for %q", m.Reason)
			}
		}
		return isReplica(s, "r")
	})
	for _, args := range [][]string{{"status"}, {"member", "list"}} {
		if out, err := a.chainfire(args...); err != nil || strings.Count(out, "read-replica") != 1 {
			t.Errorf("%v prints %v\n%s", args, err, out)
		}
	}
	if _, err := a.chainfire("member", "promote", "r"); err == nil || !strings.Contains(err.Error(), "never votes") || !strings.Contains(err.Error(), "without --read-replica") {
		t.Errorf("a promotion by hand: %v", err)
	}
	readsAtReplica(t, a, r)

	d := here.newMember(t, "d", calm()...)
	d.start(a.peer)
	c.members = append(c.members, d)
	c.awaitVoters(4, 3)
	// It serves on under another leader, and after a restart, with and without
	// the flag.
	a.kill()
	c.awaitLeader()
	readsAtReplica(t, b, r)
	a.start()
	for _, args := range [][]string{calm(), append(calm(), "--read-replica")} {
		r.stop()
		r.args = args
		r.start()
		c.awaitVoters(4, 3)
		// At first it may be an entry behind, which is what is said of it then.
		r.await("the word that it is a read replica", soon, func(ctx context.Context) error {
			s, err := r.status(ctx)
			if err != nil {
				return err
			}
			return isReplica(s, "r")
		})
	}
	d.stop()
	d.args = append(d.args, "--read-replica")
	d.launch()
	d.mustFail(patience, "joined as one that may vote", "leave the flag away")
	lonely := here.newMember(t, "lonely", "--read-replica")
	lonely.launch()
	lonely.mustFail(patience, "a read replica joins a cluster that is there", "--join")
}

// readsAtReplica writes at a voter and reads at a replica, which takes no writes.
func readsAtReplica(t *testing.T, voter, replica *member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	voter.awaitServing()
	replica.awaitServing()
	from, err := replica.kv().Get(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	watch := replica.kv().Watch(ctx, "x", clientv3.WithRev(from.Header.Revision+1))
	for i := range 20 {
		value := fmt.Sprintf("%d at %v", i, time.Now())
		put(t, voter, "x", value)
		// Linearizable: it must be there at once.
		got, err := replica.kv().Get(ctx, "x")
		if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != value {
			t.Fatalf("read %v, %v; want %s", got, err, value)
		}
		txn, err := replica.kv().Txn(ctx).Then(clientv3.OpGet("x")).Commit()
		if err != nil || string(txn.Responses[0].GetResponseRange().Kvs[0].Value) != value {
			t.Fatalf("read %v, %v; want %s", txn, err, value)
		}
		select {
		case w := <-watch:
			if w.Err() != nil || len(w.Events) != 1 || string(w.Events[0].Kv.Value) != value {
				t.Fatalf("watched %+v, %v; want %s", w.Events, w.Err(), value)
			}
		case <-ctx.Done():
			t.Fatal("the watch is silent")
		}
	}
	if _, err := replica.kv().Get(ctx, "x", clientv3.WithSerializable()); err != nil {
		t.Error(err)
	}
	if _, err := replica.kv().Put(ctx, "x", "y"); !errors.Is(err, rpctypes.ErrGRPCNotSupportedForLearner) && !strings.Contains(fmt.Sprint(err), "not supported for learner") {
		t.Errorf("a write at a read replica: %v", err)
	}
}
