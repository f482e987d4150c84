package s3api

import (
	"net"
	"net/http"
	"strings"
	"unicode/utf8"

	"chainfire/object"
	"chainfire/sigv4"
)

// targetOf takes bucket and key out of a request: out of its path as it was on the wire,
// decoded once, after it was taken apart. Slashes and dots in a key are bytes like others.
func (s *Server) targetOf(r *http.Request) (target, error) {
	var t target
	wire, ok := strings.CutPrefix(r.URL.EscapedPath(), "/")
	if !ok && wire != "" {
		return t, refuse(codeInvalidURI)
	}
	if t.bucket = s.bucketOfHost(r); t.bucket != "" {
		// The path would name another bucket.
		if !bucketName(t.bucket) {
			return t, refuse(codeInvalidBucketName).with("BucketName", t.bucket)
		}
		t.virtual = true
	} else {
		bucket, rest, _ := strings.Cut(wire, "/")
		name, err := sigv4.Decode(bucket)
		if err != nil {
			return t, refuse(codeInvalidURI).because(err)
		}
		if wire != "" && !bucketName(name) {
			return t, refuse(codeInvalidBucketName).with("BucketName", name)
		}
		t.bucket, wire = name, rest
	}
	key, err := sigv4.Decode(wire)
	if err != nil {
		return t, refuse(codeInvalidURI).because(err)
	}
	if err := checkKey(key); err != nil {
		return t, err
	}
	t.key = key
	return t, nil
}

// checkKey holds a key to what a key may be; the empty one passes.
func checkKey(key string) error {
	switch {
	case len(key) > object.MaxKeyLen:
		return refuse(codeKeyTooLong)
	case strings.IndexByte(key, 0) >= 0 || !utf8.ValidString(key):
		return refusef(codeInvalidURI, "A key is UTF-8 without zero bytes.")
	}
	return nil
}

// bucketOfHost is the bucket that the host of a request names.
func (s *Server) bucketOfHost(r *http.Request) string { return s.bucketIn(s.hostOf(r)) }

// hostOf is the host, and the port where there is one, that the client asked.
func (s *Server) hostOf(r *http.Request) string {
	if s.o.TrustForwarded {
		first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Host"), ",")
		if first = strings.TrimSpace(first); first != "" {
			return first
		}
	}
	return r.Host
}

// bucketIn is what a host names as a bucket, which is a sub-domain of one of ours; empty is none.
func (s *Server) bucketIn(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, d := range s.o.Domains {
		d = strings.ToLower(d)
		if host == d {
			return ""
		}
		if bucket, ok := strings.CutSuffix(host, "."+d); ok {
			return bucket
		}
	}
	return ""
}

// bucketName reports whether a text may be the name of a bucket, by AWS's rules for general
// purpose buckets: 3 to 63 of lower-case letters, digits, dots and hyphens, which begin and
// end with a letter or digit, without two dots side by side, and not in the form of an
// address of IPv4.
func bucketName(s string) bool {
	if len(s) < object.MinBucketLen || len(s) > object.MaxBucketLen || strings.Contains(s, "..") || net.ParseIP(s) != nil {
		return false
	}
	for i := range len(s) {
		c := s[i]
		inner := (c == '.' || c == '-') && i > 0 && i < len(s)-1
		if !inner && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
