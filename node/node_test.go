package node_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chainfire"
	"chainfire/join"
	"chainfire/node"
	"chainfire/pki"
)

func options(t *testing.T, name string, joinAddrs ...string) node.Options {
	t.Helper()
	level := slog.LevelError
	if os.Getenv("CHAINFIRE_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	o := node.Options{
		Dir: filepath.Join(t.TempDir(), name), Name: name, ListenPeer: "127.0.0.1:0", Join: joinAddrs, Version: "0.1.0",
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("node", name),
	}
	if len(joinAddrs) > 0 {
		o.Token = founderToken(t, joinAddrs[0])
	}
	return o
}

// founders are the data directories of members that run, by peer address.
var founders sync.Map

// founderToken is the join token that the first member of a cluster made.
func founderToken(t *testing.T, addr string) *pki.Token {
	t.Helper()
	dir, ok := founders.Load(addr)
	if !ok {
		return nil
	}
	b, err := os.ReadFile(node.TokenFile(dir.(string)))
	if err != nil {
		t.Fatal(err)
	}
	token, err := pki.ParseToken(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return &token
}

func start(t *testing.T, o node.Options) *node.Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	n, err := node.Start(ctx, o)
	if err != nil {
		t.Fatalf("start %s: %v", o.Name, err)
	}
	founders.Store(strings.TrimPrefix(n.AdvertisePeer(), "https://"), o.Dir)
	t.Cleanup(func() { stop(t, n) })
	return n
}

func stop(t *testing.T, n *node.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Errorf("stop member %d: %v", n.ID(), err)
	}
}

// eventually waits for a condition, for a bounded time.
func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about: %v", what, err)
		}
		<-tick.C
	}
}

func put(t *testing.T, n *node.Node, key, value string) int64 {
	t.Helper()
	r, err := n.Put(t.Context(), &chainfire.PutRequest{Key: []byte(key), Value: []byte(value)})
	if err != nil {
		t.Fatalf("put %s on member %d: %v", key, n.ID(), err)
	}
	return r.Header.Revision
}

func get(t *testing.T, n *node.Node, key string) string {
	t.Helper()
	r, err := n.Range(t.Context(), &chainfire.RangeRequest{Key: []byte(key)})
	if err != nil {
		t.Fatalf("get %s on member %d: %v", key, n.ID(), err)
	}
	if len(r.KVs) == 0 {
		return ""
	}
	return string(r.KVs[0].Value)
}

// voters waits until each of the members knows so many voters. One that is to be
// written through must be among them: a member that has not applied its own promotion
// refuses writes, though the others know it as a voter.
func voters(t *testing.T, want int, members ...*node.Node) {
	t.Helper()
	for _, n := range members {
		eventually(t, fmt.Sprintf("member %d knows %d voters", n.ID(), want), func() error {
			m, err := n.Members(t.Context(), false)
			if err != nil {
				return err
			}
			have := 0
			for _, i := range m.Members {
				if !i.Learner {
					have++
				}
			}
			if have != want {
				return fmt.Errorf("%d voters in %+v", have, m.Members)
			}
			return nil
		})
	}
}

func TestSingleMemberServesAndRestartsWithEverything(t *testing.T) {
	o := options(t, "a")
	n := start(t, o)
	if rev := put(t, n, "k", "v1"); rev != 2 {
		t.Errorf("the first write is revision %d, not 2", rev)
	}
	put(t, n, "k", "v2")
	stop(t, n)
	n = start(t, o)
	if v := get(t, n, "k"); v != "v2" {
		t.Errorf("after a restart the key holds %q", v)
	}
	if rev := put(t, n, "k", "v3"); rev != 4 {
		t.Errorf("the third write is revision %d, not 4", rev)
	}
}

func TestClusterGrowsToThreeUnderWritesAndSurvivesItsLeader(t *testing.T) {
	a := start(t, options(t, "a"))
	addr := peerAddr(t, a)
	var stopWriting atomic.Bool
	var wg sync.WaitGroup
	var acked atomic.Int64
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; !stopWriting.Load(); i++ {
				_, err := a.Put(t.Context(), &chainfire.PutRequest{Key: fmt.Appendf(nil, "w%d-%06d", w, i), Value: []byte("x")})
				if err != nil {
					t.Errorf("a write failed while the cluster grew: %v", err)
					return
				}
				acked.Add(1)
			}
		}()
	}
	b := start(t, options(t, "b", addr))
	c := start(t, options(t, "c", addr))
	voters(t, 3, a)
	stopWriting.Store(true)
	wg.Wait()
	total := acked.Load()
	for _, n := range []*node.Node{a, b, c} {
		eventually(t, "the member to serve as a voter", func() error {
			r, err := n.Range(t.Context(), &chainfire.RangeRequest{Key: []byte("w"), RangeEnd: []byte("x"), CountOnly: true})
			if err == nil && r.Count != total {
				t.Errorf("member %d has %d of %d acknowledged writes", n.ID(), r.Count, total)
			}
			return err
		})
	}
	stop(t, a)
	put(t, b, "after", "the leader left")
	if v := get(t, c, "after"); v != "the leader left" {
		t.Errorf("read %q", v)
	}
}

func TestWritesThroughFollowersAreForwarded(t *testing.T) {
	a := start(t, options(t, "a"))
	b := start(t, options(t, "b", peerAddr(t, a)))
	c := start(t, options(t, "c", peerAddr(t, a)))
	voters(t, 3, b, c)
	for i, n := range []*node.Node{b, c, a} {
		key := fmt.Sprintf("k%d", i)
		put(t, n, key, "v")
		for _, r := range []*node.Node{a, b, c} {
			if get(t, r, key) != "v" {
				t.Errorf("member %d does not see what was written on member %d", r.ID(), n.ID())
			}
		}
	}
}

// peerAddr is where a member listens for peers.
func peerAddr(t *testing.T, n *node.Node) string {
	t.Helper()
	m, err := n.Members(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range m.Members {
		if i.ID == n.ID() {
			addr, err := join.HostPort(i.PeerURLs[0])
			if err != nil {
				t.Fatal(err)
			}
			return addr
		}
	}
	t.Fatal("the member does not know itself")
	return ""
}

func TestJoinThatCannotBeCalledBackIsRefusedAndLeavesNothing(t *testing.T) {
	a := start(t, options(t, "a"))
	o := options(t, "b", peerAddr(t, a))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.AdvertisePeer = "https://" + closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	refusedWith(t, a, o, "called the newcomer back at "+o.AdvertisePeer)
}

func TestJoinWithAnAddressInUseIsRefusedAndLeavesNothing(t *testing.T) {
	a := start(t, options(t, "a"))
	o := options(t, "b", peerAddr(t, a))
	o.AdvertisePeer = "https://" + peerAddr(t, a)
	refusedWith(t, a, o, "is that of member 1")
}

func TestJoinWithANameInUseIsRefusedAndLeavesNothing(t *testing.T) {
	a := start(t, options(t, "a"))
	o := options(t, "a", peerAddr(t, a))
	refusedWith(t, a, o, `the name "a" is that of member 1`)
}

func refusedWith(t *testing.T, a *node.Node, o node.Options, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n, err := node.Start(ctx, o)
	if err == nil {
		stop(t, n)
		t.Fatal("the join went through")
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("the newcomer was told %q, which does not say %q", err, want)
	}
	s, err := a.ClusterStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Members) != 1 {
		t.Errorf("the refused join left %+v behind", s.Members)
	}
	put(t, a, "still", "serving")
}

func TestDirectoryInUseIsRefused(t *testing.T) {
	o := options(t, "a")
	start(t, o)
	if n, err := node.Start(t.Context(), o); err == nil {
		stop(t, n)
		t.Fatal("two members run in one directory")
	} else if !strings.Contains(err.Error(), "in use") {
		t.Errorf("told %q", err)
	}
}

func TestDataWithoutIdentityIsNotOverwritten(t *testing.T) {
	o := options(t, "a")
	n := start(t, o)
	put(t, n, "precious", "data")
	stop(t, n)
	if err := os.Rename(filepath.Join(o.Dir, "member.json"), filepath.Join(o.Dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	if n, err := node.Start(t.Context(), o); err == nil {
		stop(t, n)
		t.Fatal("a new cluster was begun over an old one")
	}
	if err := os.Rename(filepath.Join(o.Dir, "elsewhere"), filepath.Join(o.Dir, "member.json")); err != nil {
		t.Fatal(err)
	}
	if v := get(t, start(t, o), "precious"); v != "data" {
		t.Errorf("the key holds %q", v)
	}
}

func TestRemovedMemberStopsAndSaysSo(t *testing.T) {
	a := start(t, options(t, "a"))
	b := start(t, options(t, "b", peerAddr(t, a)))
	if _, err := a.MemberRemove(t.Context(), b.ID()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-b.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the removed member runs on")
	}
	if err := b.Err(); err == nil || !strings.Contains(err.Error(), "removed from the cluster") && !strings.Contains(err.Error(), "given this member up") {
		t.Errorf("it stopped with %v", err)
	}
	put(t, a, "still", "serving")
}

func TestRemovingTheOnlyVoterIsRefused(t *testing.T) {
	a := start(t, options(t, "a"))
	if _, err := a.MemberRemove(t.Context(), a.ID()); !errors.Is(err, chainfire.ErrMemberNotReady) {
		t.Errorf("answered %v", err)
	}
	put(t, a, "still", "serving")
}

func TestRemovedLeaderHandsOverAndTheRestServe(t *testing.T) {
	a := start(t, options(t, "a"))
	b := start(t, options(t, "b", peerAddr(t, a)))
	c := start(t, options(t, "c", peerAddr(t, a)))
	rest := []*node.Node{a, b, c}
	voters(t, 3, rest...)
	var leader *node.Node
	eventually(t, "one of them leads", func() error { // mostly the first
		s, err := a.Status(t.Context())
		if err != nil {
			return err
		}
		i := slices.IndexFunc(rest, func(n *node.Node) bool { return n.ID() == s.Leader })
		if i < 0 {
			return fmt.Errorf("%+v", s)
		}
		leader = rest[i]
		rest = slices.Delete(rest, i, i+1)
		return nil
	})
	if _, err := rest[0].MemberRemove(t.Context(), leader.ID()); err != nil {
		t.Fatal(err)
	}
	put(t, rest[0], "after", "the leader was removed")
	if v := get(t, rest[1], "after"); v != "the leader was removed" {
		t.Errorf("read %q", v)
	}
	select {
	case <-leader.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the removed leader runs on")
	}
}
