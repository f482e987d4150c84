package etcdapi

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
)

// access is what every HTTP request passes first: it refuses foreign host names,
// and tells browsers which pages of other origins may read the answers.
type access struct {
	hosts, origins map[string]struct{}
	log            *slog.Logger
	next           http.Handler
}

// set is nil, which lets everything pass, for an empty list and for one with "*".
func set(list []string) map[string]struct{} {
	out := make(map[string]struct{}, len(list))
	for _, s := range list {
		if s == "*" {
			return nil
		}
		out[s] = struct{}{}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// ServeHTTP passes on what is allowed.
func (a *access) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The name that the JSON paths had before etcd 3.4, which it still takes.
	if rest, old := strings.CutPrefix(r.URL.Path, "/v3beta/"); old {
		r.URL.Path = "/v3/" + rest
	}
	if host := hostName(r.Host); a.hosts != nil {
		if _, ok := a.hosts[host]; !ok {
			a.log.Warn("http request to a foreign host name was refused", "host", host)
			http.Error(w, foreignHost(host), http.StatusMisdirectedRequest)
			return
		}
	}
	a.allowOrigin(w, r.Header.Get("Origin"))
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusOK)
		return
	}
	a.next.ServeHTTP(w, r)
}

func (a *access) allowOrigin(w http.ResponseWriter, origin string) {
	if a.origins == nil {
		origin = "*"
	} else if _, ok := a.origins[origin]; !ok {
		return
	}
	h := w.Header()
	h.Add("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE")
	h.Add("Access-Control-Allow-Origin", origin)
	h.Add("Access-Control-Allow-Headers", "accept, content-type, authorization")
}

// hostName is the host of a request without its port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

func foreignHost(host string) string {
	return fmt.Sprintf("the host name %q of this request is not one that this member answers to, which keeps "+
		"web pages from reaching it by DNS rebinding (CVE-2018-5702); to allow it, add --host-whitelist %q", host, host)
}
