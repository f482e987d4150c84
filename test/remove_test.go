package test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// brisk is for tests that wait for the silence of a member: soon enough to wait for,
// and not so soon that a busy machine makes anyone silent.
func brisk(more ...string) []string {
	return append([]string{"--heartbeat-interval", "100ms", "--election-timeout", "1500ms"}, more...)
}

// awaitSilence waits until the leader has not heard of a member for so long.
func (m *member) awaitSilence(id uint64, least time.Duration) {
	m.t.Helper()
	m.await(fmt.Sprintf("the silence of member %d", id), patience, func(ctx context.Context) error {
		s, err := m.status(ctx)
		if err != nil {
			return err
		}
		for _, i := range s.Members {
			if i.ID == id && !i.Active && i.LastContactMillis >= least.Milliseconds() {
				return nil
			}
		}
		return fmt.Errorf("status is %+v", s)
	})
}

// mustSay demands an exit code, and every one of the words in the output of a command.
func (a answer) mustSay(t *testing.T, code int, words ...string) {
	t.Helper()
	if a.code != code {
		t.Errorf("exit code %d, want %d", a.code, code)
	}
	for _, w := range words {
		if !strings.Contains(a.stdout+a.stderr, w) {
			t.Errorf("it does not say %q", w)
		}
	}
	if t.Failed() {
		t.Fatalf("it says\n%s%s", a.stdout, a.stderr)
	}
}

// TestRemovalThatLeavesNoMajorityIsRefused has three voters, one of which is silent:
// of the others none can go, by ChainFire's call or by etcd's, and the silent one can.
func TestRemovalThatLeavesNoMajorityIsRefused(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, brisk()...)
	leader, f := c.awaitLeader(), c.followers()
	silent, other := f[0], f[1]
	id := silent.id(leader)
	silent.kill()
	leader.awaitSilence(id, 0)
	// Any member may be asked, and the member named by its name.
	here.chainfire(t, t.TempDir(), other, "member", "remove", other.name).mustSay(t, 1,
		"2 must be up", fmt.Sprintf("1 are silent: %d (%s)", id, silent.name), "Start what is silent", "replace it instead", "--force")
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if _, err := leader.kv().MemberRemove(ctx, other.id(leader)); !errors.Is(err, rpctypes.ErrUnhealthy) {
		t.Errorf("etcd's call was answered %v", err)
	}
	here.chainfire(t, t.TempDir(), other, "member", "remove", "nobody").mustSay(t, 1, `no member is called "nobody"`, silent.name)
	here.chainfire(t, t.TempDir(), other, "member", "remove", silent.name).mustSay(t, 0,
		fmt.Sprintf("member %d (%s) removed", id, silent.name))
	c.awaitVoters(2, 2)
	put(t, leader, "still", "serving")
	silent.launch()
	silent.mustFail(patience, "was removed from the cluster")
}

// TestForcedRemovalDoesWhatItWarnsOf removes a voter that is up while another is
// silent: nothing can be written until that one is back, and nothing is lost.
func TestForcedRemovalDoesWhatItWarnsOf(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, brisk()...)
	leader, f := c.awaitLeader(), c.followers()
	silent, gone := f[0], f[1]
	put(t, leader, "before", "the removal")
	id := silent.id(leader)
	silent.kill()
	leader.awaitSilence(id, 0)
	here.chainfire(t, t.TempDir(), leader, "member", "remove", gone.name, "--force").mustSay(t, 0,
		"removed", "warning: ", fmt.Sprintf("1 are silent: %d (%s)", id, silent.name), "nothing can be written")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := leader.kv().Put(ctx, "without", "a majority"); err == nil {
		t.Error("a write was acknowledged by one of two voters")
	}
	gone.mustFail(patience, "was removed from the cluster")
	silent.start()
	c.awaitVoters(2, 2)
	put(t, silent, "after", "the removal")
	c.mustHoldTheSame("")
	here.chainfire(t, t.TempDir(), leader, "member", "remove", gone.name).mustSay(t, 1, "no member is called")
}

func TestOnlyVoterIsNotRemovedNotEvenByForce(t *testing.T) {
	t.Parallel()
	a := oneMember(t).members[0]
	here.chainfire(t, t.TempDir(), a, "member", "remove", "a", "--force").mustSay(t, 1, "is the only voter")
	put(t, a, "still", "serving")
}
