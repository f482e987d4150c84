package etcdapi

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"

	"chainfire"
	"chainfire/etcdapi/gateway"
)

// access is what every HTTP request passes first: it refuses foreign host names, which
// TLS keeps away by itself, and JSON of those who would be taken for nobody; and it tells
// browsers which pages of other origins may read the answers.
type access struct {
	hosts, origins map[string]struct{}
	// certificates says that certificates name users, as long as member has any.
	certificates bool
	member       chainfire.Auth
	log          *slog.Logger
	next         http.Handler
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
	if host := hostName(r.Host); a.hosts != nil && r.TLS == nil {
		if _, ok := a.hosts[host]; !ok {
			a.log.Warn("http request to a foreign host name was refused", "host", host)
			http.Error(w, foreignHost(host), http.StatusMisdirectedRequest)
			return
		}
	}
	if a.namesUserInVain(r) {
		http.Error(w, commonNameIgnored, http.StatusBadRequest)
		return
	}
	origin := r.Header.Get("Origin")
	a.allowOrigin(w, origin)
	if _, ok := a.origins[origin]; origin != "" && a.origins != nil && !ok && gateway.IsWebSocket(r) {
		// A browser keeps the answers of other requests from such a page, but not these.
		http.Error(w, "pages of "+origin+" may not open a WebSocket here; to allow it, add --cors "+origin, http.StatusForbidden)
		return
	}
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusOK)
		return
	}
	a.next.ServeHTTP(w, r)
}

const commonNameIgnored = "CommonName of client sending a request against gateway will be ignored and not used as expected"

// namesUserInVain reports whether a request for JSON comes with a certificate that would
// name its user over gRPC.
func (a *access) namesUserInVain(r *http.Request) bool {
	if !a.certificates || r.TLS == nil || !strings.HasPrefix(r.URL.Path, gateway.Path) {
		return false
	}
	named := slices.ContainsFunc(r.TLS.VerifiedChains, func(chain []*x509.Certificate) bool {
		return len(chain) > 0 && chain[0].Subject.CommonName != ""
	})
	if !named {
		return false
	}
	// Without an answer the request has none either; it is left to say so.
	st, err := a.member.AuthStatus(r.Context())
	return err == nil && st.Enabled
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
