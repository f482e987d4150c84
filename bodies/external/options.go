package external

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Options say which store, and where in it. Cluster, Former and the two keys are not in an address.
type Options struct {
	// Endpoint is the host of the store, with its port where that is not the usual one; Secure
	// says that it is asked over TLS.
	Endpoint string
	Secure   bool
	// Bucket must be there. Prefix begins the names of all objects; it is empty or ends
	// in a slash.
	Bucket, Prefix string
	// Region is what requests are signed for; it is asked of the store where it is empty.
	Region string
	// PathStyle has the bucket in the path of requests, as most stores want it.
	PathStyle bool
	// AccessKeyID and SecretAccessKey sign the requests. The key must be allowed to list the
	// bucket, and to read, write and delete under the prefix.
	AccessKeyID, SecretAccessKey string
	// Cluster is the id of the cluster: clusters may share a bucket and a prefix.
	Cluster uint64
	// Former are the ids that the cluster had before it was recovered, the last one first: what
	// was written under them is read, and stays as it is.
	Former []uint64
	// Transport may be nil.
	Transport http.RoundTripper
}

// Scheme begins the address of a store.
const Scheme = "s3"

// Parse reads the address of a store: s3://BUCKET[/PREFIX]?endpoint=URL, where the endpoint is
// http://HOST[:PORT] or https://HOST[:PORT]; &region=NAME and &path-style=false may follow.
func Parse(address string) (Options, error) {
	bad := func(format string, args ...any) (Options, error) {
		return Options{}, fmt.Errorf("the address of a store for bodies, %q: %s; it is written s3://BUCKET[/PREFIX]?endpoint=https://HOST[:PORT]", redacted(address), fmt.Sprintf(format, args...))
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return bad("it is no URL")
	case u.Scheme != Scheme:
		return bad("its scheme is not %s", Scheme)
	case u.User != nil:
		return bad("keys do not belong into an address")
	case u.Host == "" || u.Port() != "":
		return bad("there is no name of a bucket where it belongs")
	case u.Fragment != "":
		return bad("it has a fragment")
	}
	o := Options{Bucket: u.Host, Prefix: strings.TrimPrefix(u.Path, "/"), PathStyle: true}
	if o.Prefix != "" && !strings.HasSuffix(o.Prefix, "/") {
		o.Prefix += "/"
	}
	if len(o.Prefix) > maxPrefix {
		return bad("a prefix of %d bytes, at most %d", len(o.Prefix), maxPrefix)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("its parameters cannot be read")
	}
	for name, values := range q {
		if len(values) != 1 || !slices.Contains([]string{"endpoint", "region", "path-style"}, name) {
			return bad("parameter %q is not known, or is there twice", name)
		}
	}
	o.Region = q.Get("region")
	if text := q.Get("path-style"); text != "" {
		if o.PathStyle, err = strconv.ParseBool(text); err != nil {
			return bad("path-style is %q, not true or false", text)
		}
	}
	e, err := url.Parse(q.Get("endpoint"))
	if err != nil || e.Host == "" || e.Scheme != "http" && e.Scheme != "https" || strings.Trim(e.Path, "/") != "" || e.User != nil || e.RawQuery != "" {
		return bad("the endpoint is not http://HOST[:PORT] or https://HOST[:PORT]")
	}
	o.Endpoint, o.Secure = e.Host, e.Scheme == "https"
	return o, nil
}

// maxPrefix leaves room for the rest of a name.
const maxPrefix = 512

// redacted is an address without what may be a secret in the wrong place.
func redacted(address string) string {
	if u, err := url.Parse(address); err == nil {
		return u.Redacted()
	}
	return "(not a URL)"
}
