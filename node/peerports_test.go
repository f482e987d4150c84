package node_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"chainfire"
	"chainfire/api"
	"chainfire/internal/socket"
	"chainfire/join"
	"chainfire/node"
)

// at are the options of a member that is reached at some URLs, and listens at those that
// are not dead.
func at(t *testing.T, name string, urls ...string) node.Options {
	t.Helper()
	o := options(t, name)
	o.Plain, o.ListenPeer = true, ""
	p := &node.PeerPorts{Advertise: urls}
	for _, u := range urls {
		if !dead(u) {
			p.Listen = append(p.Listen, u)
		}
	}
	o.Peers = p
	return o
}

// dead reports whether a URL is one at which no test listens.
func dead(u string) bool {
	return strings.HasPrefix(u, "http://127.0.0.1:") && len(u) < len("http://127.0.0.1:10")
}

// short is a path that a socket may have, whatever the test is called.
func short(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, name)
}

// holds reads what a member has, which may be a learner.
func holds(n *node.Node, key, value string) error {
	r, err := n.Range(context.Background(), &chainfire.RangeRequest{Key: []byte(key), Serializable: true})
	if err != nil {
		return err
	}
	if len(r.KVs) != 1 || string(r.KVs[0].Value) != value {
		return fmt.Errorf("it has %+v", r.KVs)
	}
	return nil
}

// TestMembersAreReachedAtAnyOfTheirAddresses: of the first of each nobody answers, and of
// the others one is a socket of this machine.
func TestMembersAreReachedAtAnyOfTheirAddresses(t *testing.T) {
	file := short(t, "a b")
	socket := strings.ReplaceAll(file, " ", "%20")
	l := []node.Options{
		at(t, "a", "http://127.0.0.1:1", "http://"+freeAddr(t)),
		at(t, "b", "http://127.0.0.1:2", "http://"+freeAddr(t), "http://"+freeAddr(t)),
		at(t, "c", "http://127.0.0.1:3", "unix://"+socket),
	}
	c := &node.StaticCluster{Token: "t"}
	for _, o := range l {
		c.Members = append(c.Members, node.StaticMember{Name: o.Name, PeerURLs: o.Peers.Advertise})
	}
	for i := range l {
		l[i].Static = c
	}
	members := startAll(t, l)
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	for i, n := range members {
		t.Cleanup(func() { stop(t, n) })
		put(t, n, "k", fmt.Sprint(i))
		if _, err := n.ClusterStatus(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for _, m := range membersOf(t, members[0]) {
		i := slices.IndexFunc(l, func(o node.Options) bool { return o.Name == m.Name })
		if i < 0 || !slices.Equal(slices.Sorted(slices.Values(m.PeerURLs)), slices.Sorted(slices.Values(l[i].Peers.Advertise))) {
			t.Errorf("%s is at %q", m.Name, m.PeerURLs)
		}
	}

	// One more comes in the same way, to a place that is kept for it, and one that is
	// another's place comes in by none of its addresses alone.
	d := at(t, "d", "http://127.0.0.1:4", "http://"+freeAddr(t))
	place := []string{d.Peers.Advertise[1], d.Peers.Advertise[0]} // in whatever order it is kept
	if _, err := members[0].MemberAdd(t.Context(), &chainfire.MemberAddRequest{PeerURLs: place, Learner: true}); err != nil {
		t.Fatal(err)
	}
	d.Join, d.NoPromote = []string{"http://127.0.0.1:3", "unix://" + socket}, true
	other := at(t, "e", d.Peers.Advertise[1])
	other.Join = d.Join
	mustNotStart(t, other, nil, "start it with just those of its place")
	joined := start(t, d)
	eventually(t, "it has what was written", func() error { return holds(joined, "k", "2") })

	// Where a member is to be reached is changed while it runs.
	urls := []string{"http://127.0.0.1:5", d.Peers.Advertise[1]}
	if _, err := members[1].MemberUpdate(t.Context(), joined.ID(), urls); err != nil {
		t.Fatal(err)
	}
	put(t, members[1], "k", "new")
	eventually(t, "the change is known", func() error {
		if err := holds(joined, "k", "new"); err != nil {
			return err
		}
		for _, m := range membersOf(t, members[1]) {
			if m.ID == joined.ID() && !slices.Equal(m.PeerURLs, urls) {
				return fmt.Errorf("it is at %q", m.PeerURLs)
			}
		}
		return nil
	})
	if _, err := members[1].MemberUpdate(t.Context(), joined.ID(), []string{"ftp://x:1"}); !errors.Is(err, chainfire.ErrInvalidPeerURL) {
		t.Errorf("an address of another kind: %v", err)
	}
}

// TestPortsThatMakeNoSenseAreRefused before anything is made.
func TestPortsThatMakeNoSenseAreRefused(t *testing.T) {
	for want, p := range map[string]*node.PeerPorts{
		"needs an address":  {Advertise: []string{"http://127.0.0.1:1"}},
		"the scheme must":   {Listen: []string{"ftp://127.0.0.1:1"}, Advertise: []string{"http://127.0.0.1:1"}},
		"need certificates": {Listen: []string{"https://127.0.0.1:0"}, Advertise: []string{"https://127.0.0.1:1"}},
		"are one address":   {Listen: []string{"http://127.0.0.1:1", "HTTP://127.0.0.1:1/"}, Advertise: []string{"http://127.0.0.1:1"}, Socket: socket.Options{ReusePort: true}},
		"has no path":       {Listen: []string{"unix://"}, Advertise: []string{"http://127.0.0.1:1"}},
	} {
		o := options(t, "a")
		o.Plain, o.Peers = true, p
		n, err := node.Start(t.Context(), o)
		if err == nil {
			stop(t, n)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := os.Stat(o.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a directory was made", want)
		}
	}
}

// TestMembersThatProveNothingToEachOtherAreToldApartAllTheSame: who is of another cluster
// is not let in, whoever it says it is over its TLS.
func TestMembersThatProveNothingToEachOtherAreToldApartAllTheSame(t *testing.T) {
	unproven := func(token, name string) node.Options {
		o := options(t, name)
		u := "https://" + freeAddr(t)
		o.Peers = &node.PeerPorts{Listen: []string{u}, Advertise: []string{u}, AutoTLSYears: 1}
		o.Static = &node.StaticCluster{Token: token, Members: []node.StaticMember{{Name: name, PeerURLs: []string{u}}}}
		return o
	}
	a := unproven("t", "a")
	n := start(t, a)
	put(t, n, "k", "v")
	// One that has the name and the place of a in a list of its own.
	b := unproven("other", "b")
	b.Static.Members = append(b.Static.Members, node.StaticMember{Name: "a", PeerURLs: a.Peers.Advertise})
	stranger := startAll(t, []node.Options{b})[0]
	t.Cleanup(func() { stop(t, stranger) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := stranger.Put(ctx, &chainfire.PutRequest{Key: []byte("k"), Value: []byte("w")}); err == nil {
		t.Error("it forms a majority with a member of another cluster")
	}
	if got := get(t, n, "k"); got != "v" {
		t.Errorf("k is %q", got)
	}
	c, err := api.NewClusterClient(dialUnproven(t, a.Peers.Advertise[0])).AddMember(t.Context(), &api.AddMemberRequest{Name: "d", PeerUrls: []string{"127.0.0.1:7"}})
	if want := "--peer-auto-tls --listen-peer-urls https://127.0.0.1:7 --initial-advertise-peer-urls https://127.0.0.1:7 --initial-cluster a=" + a.Peers.Advertise[0] + ",d=https://127.0.0.1:7"; err != nil || !strings.Contains(c.GetCommand(), want) {
		t.Errorf("%q has not %q, %v", c.GetCommand(), want, err)
	}
}

func dialUnproven(t *testing.T, peerURL string) join.Conn {
	t.Helper()
	addr, err := join.HostPort(peerURL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := join.DialWith(addr, credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestMembersSpeakAtEachAddressAsItsURLSays: one is reached over TLS, one without, one
// either way, and who is new to them answers where they say that they are.
func TestMembersSpeakAtEachAddressAsItsURLSays(t *testing.T) {
	socket := short(t, "s")
	c := &node.StaticCluster{Token: "t"}
	var l []node.Options
	for name, schemes := range map[string][]string{"a": {"https"}, "b": {"http"}, "c": {"http", "https", "unixs"}} {
		o := options(t, name)
		o.Peers = &node.PeerPorts{AutoTLSYears: 1}
		for _, scheme := range schemes {
			where := freeAddr(t)
			if scheme == join.SchemeUnixTLS {
				where = socket
			}
			o.Peers.Advertise = append(o.Peers.Advertise, scheme+"://"+where)
		}
		o.Peers.Listen = o.Peers.Advertise
		c.Members = append(c.Members, node.StaticMember{Name: name, PeerURLs: o.Peers.Advertise})
		l = append(l, o)
	}
	for i := range l {
		l[i].Static = c
	}
	members := startAll(t, l)
	for i, n := range members {
		t.Cleanup(func() { stop(t, n) })
		put(t, n, "k", fmt.Sprint(i))
	}
	d := options(t, "d")
	u := "https://" + freeAddr(t)
	d.Peers, d.NoPromote = &node.PeerPorts{Listen: []string{u}, Advertise: []string{u}, AutoTLSYears: 1}, true
	d.Join = []string{"unixs://" + socket}
	joined := start(t, d)
	eventually(t, "it has what was written", func() error { return holds(joined, "k", "2") })
}
