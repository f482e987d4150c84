package sigv4

import (
	"fmt"
	"net/http"
	"strings"
)

// hosts are the hosts that the client may have signed: the one it sent, and the same with or
// without the port that goes without saying.
func (v *Verifier) hosts(r *http.Request) []string {
	out := withPorts(r.Host)
	if !v.TrustForwarded {
		return out
	}
	if forwarded, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Host"), ","); strings.TrimSpace(forwarded) != "" {
		out = append(withPorts(strings.TrimSpace(forwarded)), out...)
	}
	return out
}

func withPorts(host string) []string {
	for _, port := range []string{":443", ":80"} {
		if without, ok := strings.CutSuffix(host, port); ok && !strings.HasSuffix(without, ":") {
			return []string{host, without}
		}
	}
	if i := strings.LastIndexByte(host, ':'); i < 0 || strings.HasSuffix(host, "]") {
		return []string{host, host + ":443", host + ":80"}
	}
	return []string{host}
}

// spaced are the bytes of a text in hex, as AWS shows them.
func spaced(s string) string { return fmt.Sprintf("% x", s) }
