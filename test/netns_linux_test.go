package test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// network is a bridge with a network namespace for each of some members, all made
// by this test and removed with it.
type network struct {
	t      *testing.T
	bridge string
	hosts  int
}

// newNetwork needs root, or a user namespace with a network of its own.
func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{t: t, bridge: fmt.Sprintf("cf%d", os.Getpid())}
	n.ip("link", "add", n.bridge, "type", "bridge")
	t.Cleanup(func() { n.ip("link", "del", n.bridge) })
	n.ip("addr", "add", "10.213.77.254/24", "dev", n.bridge)
	n.ip("link", "set", n.bridge, "up")
	return n
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %v: %v: %s; this test makes network namespaces, for which it must run as root", args, err, out)
	}
}

// netHost is a member in a network namespace.
type netHost struct {
	*member
	net        *network
	space, end string
	addr       string
	// down says that its link is cut, deaf whom it cannot send to.
	down bool
	deaf []*netHost
}

// newHost makes a member in a network namespace of its own.
func (n *network) newHost(name string, args ...string) *netHost {
	n.t.Helper()
	n.hosts++
	h := &netHost{
		net: n, space: fmt.Sprintf("%s-%d", n.bridge, n.hosts), end: fmt.Sprintf("%sv%d", n.bridge, n.hosts),
		addr: fmt.Sprintf("10.213.77.%d", n.hosts%250+1),
	}
	n.ip("netns", "add", h.space)
	linked := false
	n.t.Cleanup(func() {
		if linked {
			n.ip("link", "del", h.end) // with its namespace it would go some time later
		}
		n.ip("netns", "del", h.space)
	})
	// Made before the member, whose process is killed before its network goes.
	h.member = here.newMember(n.t, name, append([]string{"--insecure-listen-remote"}, args...)...)
	h.client, h.peer = h.addr+":2379", h.addr+":2380"
	here.founders.Delete(h.peer) // a network that is gone may have had the same addresses
	h.within = []string{"ip", "netns", "exec", h.space}
	n.ip("link", "add", h.end, "type", "veth", "peer", "name", "eth0", "netns", h.space)
	linked = true
	n.ip("link", "set", h.end, "master", n.bridge, "up")
	n.ip("-n", h.space, "addr", "add", h.addr+"/24", "dev", "eth0")
	n.ip("-n", h.space, "link", "set", "eth0", "up")
	n.ip("-n", h.space, "link", "set", "lo", "up")
	return h
}

// cut takes the host off the network, without a word to anyone.
func (h *netHost) cut() {
	h.down = true
	h.net.ip("link", "set", h.end, "down")
}

// deafen loses everything that this host sends to another.
func (h *netHost) deafen(to *netHost) {
	h.deaf = append(h.deaf, to)
	h.net.ip("-n", h.space, "route", "add", "blackhole", to.addr+"/32")
}

// mend takes all cuts of this host back.
func (h *netHost) mend() {
	if h.down {
		h.net.ip("link", "set", h.end, "up")
	}
	for _, to := range h.deaf {
		h.net.ip("-n", h.space, "route", "del", "blackhole", to.addr+"/32")
	}
	h.down, h.deaf = false, nil
}
