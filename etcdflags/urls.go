package etcdflags

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// URLs are addresses, in the order of their texts, each once.
type URLs []url.URL

// any_ is the word for any origin.
var any_ = url.URL{Path: "*"}

// ParseURLs reads a list with commas between: http://HOST:PORT, https://HOST:PORT,
// unix://PATH or unixs://PATH.
func ParseURLs(text string) (URLs, error) {
	var out URLs
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		u, err := url.Parse(part)
		if err != nil {
			return nil, fmt.Errorf("%q is no URL: %w", part, err)
		}
		switch u.Scheme {
		case "http", "https":
			if _, _, err := net.SplitHostPort(u.Host); err != nil {
				return nil, fmt.Errorf("%q has no HOST:PORT", part)
			}
			if u.Path != "" {
				return nil, fmt.Errorf("%q has a path, %s: leave it away", part, u.Path)
			}
		case "unix", "unixs":
		default:
			return nil, fmt.Errorf("%q has no scheme that there is: give http, https, unix or unixs", part)
		}
		out = append(out, *u)
	}
	slices.SortFunc(out, func(a, b url.URL) int { return cmp.Compare(a.String(), b.String()) })
	return slices.CompactFunc(out, func(a, b url.URL) bool { return a.String() == b.String() }), nil
}

func mustURLs(text string) URLs {
	u, err := ParseURLs(text)
	if err != nil {
		panic(err)
	}
	return u
}

// Strings are the texts.
func (u URLs) Strings() []string {
	out := make([]string, 0, len(u))
	for _, x := range u {
		out = append(out, x.String())
	}
	return out
}

// String has commas between.
func (u URLs) String() string { return strings.Join(u.Strings(), ",") }

// Secure reports whether TLS is spoken at a URL.
func Secure(u url.URL) bool { return u.Scheme == "https" || u.Scheme == "unixs" }

// Address is what to listen on at a URL, with its network.
func Address(u url.URL) (network, addr string) {
	if u.Scheme == "unix" || u.Scheme == "unixs" {
		return "unix", u.Host + u.Path
	}
	return "tcp", u.Host
}

// Member is one of --initial-cluster.
type Member struct {
	Name     string
	PeerURLs URLs
}

// String is the member as it is written there.
func (m Member) String() string {
	parts := make([]string, 0, len(m.PeerURLs))
	for _, u := range m.PeerURLs.Strings() {
		parts = append(parts, m.Name+"="+u)
	}
	return strings.Join(parts, ",")
}

// ParseMembers reads --initial-cluster: NAME=URL, with commas between; a name that comes
// again has several URLs. They are in the order of their names.
func ParseMembers(text string) ([]Member, error) {
	at := map[string][]string{}
	var names []string
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		name, u, _ := strings.Cut(part, "=")
		if _, known := at[name]; !known {
			names = append(names, name)
		}
		at[name] = append(at[name], u)
	}
	slices.Sort(names)
	var out []Member
	owner := map[string]string{}
	for _, name := range names {
		urls, err := ParseURLs(strings.Join(at[name], ","))
		if err != nil {
			return nil, fmt.Errorf("--initial-cluster: member %q: %w", name, err)
		}
		for _, u := range urls.Strings() {
			if other, taken := owner[u]; taken {
				return nil, fmt.Errorf("--initial-cluster has %s for %q and for %q: give each member its own", u, other, name)
			}
			owner[u] = name
		}
		out = append(out, Member{Name: name, PeerURLs: urls})
	}
	return out, nil
}
