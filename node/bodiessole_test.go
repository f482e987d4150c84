package node_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
	"chainfire/node"
)

// TestAMemberThatAloneHasBodiesIsRemovedOnlyByForce has two members of three lose their extents, and
// get them back too slowly.
func TestAMemberThatAloneHasBodiesIsRemovedOnlyByForce(t *testing.T) {
	slow := func(o *node.Options) { o.BodyRate = 1 } // one extent at once, and then no more
	all := []node.Options{options(t, "a")}
	slow(&all[0])
	members := []*node.Node{start(t, all[0])}
	for _, name := range []string{"b", "c"} {
		o := options(t, name, peerAddr(t, members[0]))
		slow(&o)
		all, members = append(all, o), append(members, start(t, o))
	}
	voters(t, 3, members...)
	makeBucket(t, members[0], "bucket")
	data := noise(1, 5<<20)
	if err := putBytes(t.Context(), members[0], "key", data); err != nil {
		t.Fatal(err)
	}
	hasAllExtents(t, members[2], 5)
	for i := range 2 {
		all[i].ListenPeer = strings.TrimPrefix(members[i].AdvertisePeer(), "https://")
		stop(t, members[i])
		if err := os.RemoveAll(filepath.Join(all[i].Dir, "blob")); err != nil {
			t.Fatal(err)
		}
		members[i] = start(t, all[i])
	}
	sole := members[2]
	eventually(t, "removal is refused for the bodies", func() error {
		_, err := members[0].MemberRemove(t.Context(), sole.ID())
		if err == nil {
			t.Fatal("the member was removed")
		}
		if !errors.Is(err, chainfire.ErrUnhealthyCluster) || !strings.Contains(err.Error(), "would be lost") {
			return err // the members may have to find each other first
		}
		return nil
	})
	cluster := clusterClient(t, members[0])
	q := &api.RemoveMemberRequest{Member: fmt.Sprint(sole.ID())}
	eventually(t, "the service refuses it too, and names the way", func() error {
		r, err := cluster.RemoveMember(t.Context(), q)
		if err == nil {
			t.Fatalf("the member was removed without force: %v", r)
		}
		if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "--force") {
			return err
		}
		return nil
	})
	q.Force = true
	r, err := cluster.RemoveMember(t.Context(), q)
	if err != nil || !strings.Contains(r.GetWarning(), "would be lost") {
		t.Errorf("with force: %q, %v", r.GetWarning(), err)
	}
}

// TestAMemberThatAloneHasBodiesIsNotReplaced grows a cluster of one to three whose newcomers get its
// bodies too slowly, and has a fourth take
// the place of the first.
func TestAMemberThatAloneHasBodiesIsNotReplaced(t *testing.T) {
	first := options(t, "a")
	a := start(t, first)
	makeBucket(t, a, "bucket")
	data := noise(1, 5<<20)
	if err := putBytes(t.Context(), a, "key", data); err != nil {
		t.Fatal(err)
	}
	join := func(name string, tune func(*node.Options)) *node.Node {
		o := options(t, name, peerAddr(t, a))
		o.BodyRate = 1 // one extent at once, and then no more
		tune(&o)
		return start(t, o)
	}
	b := join("b", func(*node.Options) {})
	join("c", func(*node.Options) {})
	voters(t, 3, a)
	standby := join("d", func(*node.Options) {})
	eventually(t, "another member leads", func() error {
		if err := a.MoveLeader(t.Context(), b.ID()); err != nil && !errors.Is(err, chainfire.ErrNotLeader) {
			return err
		}
		st, err := b.Status(t.Context())
		if err == nil && st.Leader != b.ID() {
			err = fmt.Errorf("member %d leads", st.Leader)
		}
		return err
	})
	cluster := clusterClient(t, b)
	eventually(t, "the replacement is refused for the bodies", func() error {
		r, err := cluster.ReplaceMember(t.Context(), &api.ReplaceMemberRequest{Member: fmt.Sprint(a.ID()), By: fmt.Sprint(standby.ID())})
		if err == nil && r.GetBy() != nil {
			t.Fatal("the member that alone has bodies was replaced")
		}
		if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "would be lost") {
			return fmt.Errorf("%q, %w", r.GetReason(), err)
		}
		return nil
	})
	if err := readsBytes(t, b, "key", data); err != nil {
		t.Error(err)
	}
}

func TestAMemberWithoutBodiesDoesNotRemoveWhoMayAloneHaveThem(t *testing.T) {
	a := start(t, options(t, "a"))
	makeBucket(t, a, "bucket")
	blind := options(t, "b", peerAddr(t, a))
	blind.Bounds.NoBodies = true
	b := start(t, blind)
	c := start(t, options(t, "c", peerAddr(t, a)))
	voters(t, 3, a, b, c)
	if err := putBytes(t.Context(), a, "key", noise(1, 1<<20)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the removal is refused for the bodies", func() error {
		_, err := b.MemberRemove(t.Context(), c.ID())
		if err == nil {
			t.Fatal("it was removed by a member that knows nothing of bodies")
		}
		if !errors.Is(err, chainfire.ErrUnhealthyCluster) || !strings.Contains(err.Error(), "serves no S3") {
			return err
		}
		return nil
	})
}
