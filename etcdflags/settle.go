package etcdflags

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// Settle fills in what follows from the rest: the folder for data, the cluster of this
// member alone, and, in place of addresses that were left at their defaults while the
// member listens at all of its machine's, those at host; empty is not known. It reports
// whether host was used.
func (c *Config) Settle(host string) (used bool) {
	untouched := Defaults().InitialCluster
	for _, a := range []struct {
		advertised, listen URLs
		def                string
	}{{c.AdvertisePeer, c.ListenPeer, defaultPeer}, {c.AdvertiseClient, c.ListenClient, defaultClient}} {
		if host == "" || len(a.advertised) != 1 || a.advertised.String() != a.def || len(a.listen) == 0 || a.listen[0].Hostname() != "0.0.0.0" {
			continue
		}
		a.advertised[0] = url.URL{Scheme: a.advertised[0].Scheme, Host: net.JoinHostPort(host, a.listen[0].Port())}
		used = true
	}
	if c.InitialCluster == untouched {
		c.InitialCluster = c.alone()
	}
	if c.DataDir == "" {
		c.DataDir = c.Name + ".etcd"
	}
	return used
}

// Members reads --initial-cluster for a member that is to begin or to join a cluster: it
// is one of them, with the addresses that it advertises. Names of hosts are compared by
// the address that resolve gives where they differ as texts.
func (c *Config) Members(resolve func(host string) (string, error)) (own Member, others []Member, err error) {
	all, err := ParseMembers(c.InitialCluster)
	if err != nil {
		return own, nil, err
	}
	i := slices.IndexFunc(all, func(m Member) bool { return m.Name == c.Name })
	if i < 0 {
		return own, nil, fmt.Errorf("--initial-cluster %q has no member with the name %q, that of --name: add this member to it", c.InitialCluster, c.Name)
	}
	own = all[i]
	if own.PeerURLs.String() != c.AdvertisePeer.String() {
		listed, lerr := resolved(own.PeerURLs, resolve)
		advertised, aerr := resolved(c.AdvertisePeer, resolve)
		if lerr != nil || aerr != nil || !slices.Equal(listed, advertised) {
			return own, nil, fmt.Errorf("--initial-cluster has %s, and --initial-advertise-peer-urls is %s: give the same addresses in both", own, c.AdvertisePeer)
		}
	}
	return own, slices.Delete(all, i, i+1), nil
}

// resolved are URLs with addresses in place of the names of hosts.
func resolved(urls URLs, resolve func(string) (string, error)) ([]string, error) {
	var out []string
	for _, u := range urls {
		if network, _ := Address(u); network == "tcp" && net.ParseIP(u.Hostname()) == nil {
			ip, err := resolve(u.Hostname())
			if err != nil {
				return nil, err
			}
			u.Host = net.JoinHostPort(ip, u.Port())
		}
		out = append(out, strings.TrimSuffix(u.String(), "/"))
	}
	slices.Sort(out)
	return out, nil
}
