package node_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chainfire"
	"chainfire/node"
)

// freeAddr is a loopback address that nobody listened at a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// listed are the options of members that begin a cluster together.
func listed(t *testing.T, token string, names ...string) []node.Options {
	t.Helper()
	c := &node.StaticCluster{Token: token}
	var out []node.Options
	for _, name := range names {
		o := options(t, name)
		o.Plain, o.ListenPeer = true, freeAddr(t)
		o.AdvertisePeer = "http://" + o.ListenPeer
		o.AdvertiseClient = []string{"http://client-of-" + name + ":2379"}
		c.Members = append(c.Members, node.StaticMember{Name: name, PeerURLs: []string{o.AdvertisePeer}})
		out = append(out, o)
	}
	for i := range out {
		// The order is no matter.
		list := node.StaticCluster{Token: token, Members: slices.Clone(c.Members)}
		slices.Reverse(list.Members[:i+1])
		out[i].Static = &list
	}
	return out
}

// startAll starts members at once, since none is up without others.
func startAll(t *testing.T, l []node.Options) []*node.Node {
	t.Helper()
	out := make([]*node.Node, len(l))
	errs := make([]error, len(l))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i, o := range l {
		wg.Go(func() { out[i], errs[i] = node.Start(ctx, o) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestMembersOfAListBeginAClusterTogether, without a join, and are then as others are:
// they start again with the same list, one more joins, and what needs the newest feature
// level works.
func TestMembersOfAListBeginAClusterTogether(t *testing.T) {
	l := listed(t, "t", "b", "a", "c")
	members := startAll(t, l)
	put(t, members[0], "k", "v")
	for _, n := range members {
		if got := get(t, n, "k"); got != "v" {
			t.Errorf("member %d has %q", n.ID(), got)
		}
	}
	if ids := []uint64{members[0].ID(), members[1].ID(), members[2].ID()}; !slices.Equal(ids, []uint64{2, 1, 3}) {
		t.Errorf("ids %v are not in the order of the names", ids)
	}
	if _, err := members[2].LeaseGrant(t.Context(), &chainfire.LeaseGrantRequest{TTL: 60}); err != nil {
		t.Errorf("a lease: %v", err)
	}
	eventually(t, "addresses for clients", func() error {
		for _, m := range membersOf(t, members[0]) {
			if want := []string{"http://client-of-" + m.Name + ":2379"}; !slices.Equal(m.ClientURLs, want) {
				return fmt.Errorf("%s: %v", m.Name, m.ClientURLs)
			}
		}
		return nil
	})
	cluster := members[0].ClusterID()
	for _, n := range members {
		stop(t, n)
	}
	members = startAll(t, l)
	if members[0].ClusterID() != cluster || get(t, members[1], "k") != "v" {
		t.Error("another cluster began")
	}
	d := options(t, "d", l[0].ListenPeer)
	d.Plain = true
	joined := start(t, d)
	if joined.ID() <= 3 {
		t.Errorf("a newcomer has the id %d of another member", joined.ID())
	}
	for _, n := range members {
		t.Cleanup(func() { stop(t, n) })
	}
}

// TestMemberThatLostItsDataDoesNotBeginAgain: it would vote as if it had never promised
// anything.
func TestMemberThatLostItsDataDoesNotBeginAgain(t *testing.T) {
	l := listed(t, "t", "a", "b", "c")
	members := startAll(t, l)
	put(t, members[0], "k", "v")
	for _, n := range members {
		t.Cleanup(func() { stop(t, n) })
	}
	stop(t, members[2])
	if err := os.RemoveAll(l[2].Dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		mustNotStart(t, l[2], nil, "a member of this name and these addresses has been in the cluster before")
	}
	put(t, members[1], "k", "w")
}

// TestListThatMakesNoSenseIsRefused, before anything is written.
func TestListThatMakesNoSenseIsRefused(t *testing.T) {
	for want, change := range map[string]func(*node.Options){
		"no member of the list is called \"x\"":   func(o *node.Options) { o.Name = "x" },
		"begins with 1 to 9 members, not 0":       func(o *node.Options) { o.Static.Members = nil },
		"begins with 1 to 9 members, not 10":      func(o *node.Options) { o.Static.Members = make([]node.StaticMember, 10) },
		"either begins a cluster or joins one":    func(o *node.Options) { o.Join = []string{"127.0.0.1:1"} },
		"have no authority of their own yet":      func(o *node.Options) { o.Plain = false },
		"a name that no other has":                func(o *node.Options) { o.Static.Members[1].Name = "a" },
		"each member needs":                       func(o *node.Options) { o.Static.Members[1].PeerURLs = nil },
		"is the peer address of \"a\" and of":     func(o *node.Options) { o.Static.Members[1].PeerURLs = o.Static.Members[0].PeerURLs },
		"which is to be reached at http://x:2380": func(o *node.Options) { o.AdvertisePeer = "http://x:2380" },
	} {
		o := listed(t, "t", "a", "b", "c")[0]
		change(&o)
		n, err := node.Start(t.Context(), o)
		if err == nil {
			stop(t, n)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a directory was made", want)
		}
	}
}

func membersOf(t *testing.T, n *node.Node) []chainfire.MemberInfo {
	t.Helper()
	c, err := n.Members(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	return c.Members
}

// TestMemberThatLostItsDataIsNotLetInByStartingTwice: the others know its directory, not
// only how often it was started. It comes up alone, ends, and comes up again; the member
// that was down when the last write was acknowledged must not form a majority with it.
func TestMemberThatLostItsDataIsNotLetInByStartingTwice(t *testing.T) {
	l := listed(t, "t", "a", "b", "c")
	members := startAll(t, l)
	put(t, members[0], "k", "old")
	eventually(t, "all have told which directory is theirs", func() error {
		for _, n := range members {
			s, err := n.ClusterStatus(t.Context())
			if err != nil {
				return err
			}
			for _, m := range s.Members {
				if m.Phase == chainfire.PhaseUnstarted {
					return fmt.Errorf("member %d has not", m.ID)
				}
			}
		}
		return nil
	})
	told, err := members[0].ClusterStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the member that will be away knows it too", func() error {
		s, err := members[1].Status(t.Context())
		if err == nil && s.AppliedIndex < told.CommitIndex {
			err = fmt.Errorf("it has applied %d of %d entries", s.AppliedIndex, told.CommitIndex)
		}
		return err
	})
	stop(t, members[1])
	put(t, members[0], "k", "new")
	stop(t, members[0])
	stop(t, members[2])
	if err := os.RemoveAll(l[2].Dir); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, l[2]))
	again := startAll(t, l[1:])
	for _, n := range again {
		t.Cleanup(func() { stop(t, n) })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if r, err := again[0].Range(ctx, &chainfire.RangeRequest{Key: []byte("k")}); err == nil {
		t.Errorf("the last write is lost: %+v", r.KVs)
	}
	a := startAll(t, l[:1])[0]
	t.Cleanup(func() { stop(t, a) })
	if got := get(t, a, "k"); got != "new" {
		t.Errorf("it is %q", got)
	}
}
