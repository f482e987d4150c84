package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"chainfire/internal/socket"
	"chainfire/join"
	"chainfire/pki"
)

// PeerPorts is where a member meets the others when each of its addresses says for itself
// what is spoken there, as under etcd's command line: http://HOST:PORT and unix://PATH
// without TLS, https://HOST:PORT and unixs://PATH with it. A member is reached at any of
// its addresses, and reaches others at any of theirs.
type PeerPorts struct {
	// Listen are the URLs where others connect, Advertise those under which they reach this
	// member; they differ where something between the two passes connections on. Each has
	// one at least.
	Listen, Advertise []string
	// Socket are the options of ports of TCP.
	Socket socket.Options
	// Limits bound the TLS that is spoken.
	Limits pki.Limits
	// Client are certificate and key that are shown where this member connects, in place of
	// those of Options.PeerFiles; it needs those all the same.
	Client pki.Files
	// Sources takes a certificate that names hosts only from the addresses of these.
	Sources bool
	// AutoTLSYears, if it is not 0 and there are no PeerFiles, has a certificate made for so
	// many years that signs itself, and members speak TLS that proves nothing (pki.Unproven).
	AutoTLSYears int
}

func (p *PeerPorts) check(o *Options) error {
	if len(p.Listen) == 0 || len(p.Advertise) == 0 {
		return errors.New("a member needs an address where it listens for others, and one where they reach it")
	}
	for _, u := range p.Advertise {
		if err := join.CheckURL(u); err != nil {
			return err
		}
	}
	schemes, first := o.schemes(), map[string]string{}
	for _, u := range p.Listen {
		addr, err := schemes.Address(u)
		if err != nil {
			return err
		}
		scheme, at := schemes.Split(addr)
		if join.SecureScheme(scheme) && o.Plain {
			return fmt.Errorf("%s: members that speak TLS need certificates", u)
		}
		// Where ports are shared, two listeners at one would each get half of who connects.
		if _, port, err := net.SplitHostPort(at); first[at] != "" && (err != nil || port != "0") {
			return fmt.Errorf("%s and %s are one address: give the port for members one of them, or each its own", first[at], u)
		}
		first[at] = u
	}
	return nil
}

// fillPeers settles where a member meets the others.
func (o *Options) fillPeers() error {
	if o.Peers != nil {
		if err := o.Peers.check(o); err != nil {
			return err
		}
		o.ListenPeer, o.AdvertisePeer = o.Peers.Listen[0], o.Peers.Advertise[0]
	}
	if o.Static != nil {
		return o.Static.check(o)
	}
	return nil
}

// unproven reports whether members prove nothing to each other over their TLS.
func (o *Options) unproven() bool {
	return o.Peers != nil && o.Peers.AutoTLSYears > 0 && !o.PeerFiles.Given()
}

// ownOptions are those of certificates of the operator, but for what every member has.
func (o *Options) ownOptions() pki.OwnOptions {
	out := pki.OwnOptions{FS: o.FS, Files: o.PeerFiles, Only: o.PeerOnly, Log: o.Logger}
	if p := o.Peers; p != nil {
		out.Limits, out.Client, out.Sources = p.Limits, p.Client, p.Sources
	}
	return out
}

// usual is the scheme that an address has which does not say: that of the first address
// at which this member is reached over the network.
func (p *PeerPorts) usual() string {
	for _, u := range p.Advertise {
		if x, err := url.Parse(u); err == nil && !join.LocalScheme(x.Scheme) {
			return x.Scheme
		}
	}
	return join.SchemePlain
}

// schemes are what is spoken at the addresses of this cluster's members.
func (o *Options) schemes() join.Schemes {
	switch {
	case o.Peers != nil:
		return join.Schemes{Usual: o.Peers.usual(), Mixed: true}
	case o.Plain:
		return join.Schemes{Usual: join.SchemePlain}
	}
	return join.Schemes{Usual: join.SchemeTLS}
}

// scheme is that of the URLs at which members reach each other.
func (o *Options) scheme() string { return o.schemes().Usual }

// peerURLs are those at which the others reach this member.
func (o *Options) peerURLs() []string {
	if o.Peers != nil {
		return o.Peers.Advertise
	}
	return []string{o.AdvertisePeer}
}

// listenAddrs are where this member listens for the others.
func (n *Node) listenAddrs() []string {
	if n.opts.Peers != nil {
		return n.addresses(n.opts.Peers.Listen)
	}
	return []string{n.opts.ListenPeer}
}

// helloAddrs are where this member is reached, for those that do not know yet: URLs where
// it cannot be sure that they take HOST:PORT as it does.
func (o *Options) helloAddrs() ([]string, error) {
	schemes, urls := o.schemes(), o.peerURLs()
	if o.Peers != nil && o.Peers.differ(o.Static) {
		return urls, nil
	}
	var out []string
	for _, u := range urls {
		addr, err := schemes.Address(u)
		if err != nil {
			return nil, err
		}
		out = append(out, addr)
	}
	return out, nil
}

// differ reports whether the members that this one knows of from its options speak in more
// than one way.
func (p *PeerPorts) differ(c *StaticCluster) bool {
	all := slices.Concat(p.Listen, p.Advertise)
	if c != nil {
		for _, m := range c.Members {
			all = append(all, m.PeerURLs...)
		}
	}
	usual := p.usual()
	return slices.ContainsFunc(all, func(u string) bool { return !strings.HasPrefix(u, usual+"://") })
}

// addresses are where the member of these URLs is dialed; what is no URL is left out.
func (n *Node) addresses(urls []string) []string {
	var out []string
	schemes := n.opts.schemes()
	for _, u := range urls {
		if a, err := schemes.Address(u); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// heardAddresses are those that another member said of itself, as this one writes them.
func (n *Node) heardAddresses(addrs []string) []string {
	var out []string
	for _, a := range addrs {
		if strings.Contains(a, "://") {
			out = append(out, n.addresses([]string{a})...)
		} else {
			out = append(out, a)
		}
	}
	return out
}

// order puts the peer URLs of a member in the order in which they are to be tried: first
// where messages reach it now, and of its own where this member listens.
func (n *Node) order(id uint64, urls []string) []string {
	if len(urls) < 2 {
		return urls
	}
	good := func(u string) bool { return n.opts.Peers != nil && slices.Contains(n.opts.Peers.Listen, u) }
	if id != n.id {
		at := n.reachedAt(id)
		good = func(u string) bool {
			a, err := n.opts.schemes().Address(u)
			return err == nil && a == at
		}
	}
	out := slices.Clone(urls)
	slices.SortStableFunc(out, func(a, b string) int {
		switch {
		case good(a) == good(b):
			return 0
		case good(a):
			return -1
		}
		return 1
	})
	return out
}

// reachedAt is the address at which messages reach a member now; empty is none.
func (n *Node) reachedAt(id uint64) string {
	if n.streams == nil {
		return ""
	}
	for _, p := range n.streams.Peers() {
		if p.ID == id && p.Connected {
			return p.Addr
		}
	}
	return ""
}

// reach is where a member is called.
func (n *Node) reach(id uint64, urls []string) (string, error) {
	addrs := n.addresses(n.order(id, urls))
	if len(addrs) == 0 {
		return "", fmt.Errorf("member %d has no peer URL to reach it at", id)
	}
	return addrs[0], nil
}

// tlsHosts are the hosts that certificates of a member with these URLs are to name.
func tlsHosts(urls []string) []string {
	var out []string
	for _, u := range urls {
		if x, err := url.Parse(u); err == nil && x.Scheme == join.SchemeTLS {
			out = append(out, x.Hostname())
		}
	}
	return out
}

// dialRaw connects to where Schemes.Split says that an address is.
func dialRaw(ctx context.Context, scheme, at string) (net.Conn, error) {
	var d net.Dialer
	if join.LocalScheme(scheme) {
		return d.DialContext(ctx, socket.Unix, at)
	}
	return d.DialContext(ctx, socket.TCP, at)
}
