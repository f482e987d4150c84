package sigv4

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxExpiry is how long a presigned URL may be good for.
const MaxExpiry = 7 * 24 * time.Hour

// queryNames are the parameters of a presigned URL, each of which may be there once.
var queryNames = [...]string{
	"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature",
	"X-Amz-Security-Token", "X-Amz-Content-Sha256",
}

// presigned verifies a request that is signed by the query of its URL.
func (v *Verifier) presigned(r *http.Request, q Query) (*Verified, error) {
	bad := func(format string, args ...any) *Error {
		return refuse(AuthorizationQueryParametersError, format, args...)
	}
	for _, name := range queryNames {
		n := q.count(name)
		switch {
		case n > 1:
			return nil, bad("%s is there %d times", name, n)
		case n == 0 && !slices.Contains(queryNames[6:], name):
			return nil, bad("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
		}
	}
	if q.Get("X-Amz-Algorithm") != Algorithm {
		return nil, bad("X-Amz-Algorithm only supports %q", Algorithm)
	}
	c, err := queryClaim(q)
	if err != nil {
		return nil, err
	}
	const what = "Error parsing the X-Amz-Credential parameter"
	if err := v.checkScope(c.scope, AuthorizationQueryParametersError, what); err != nil {
		return nil, err
	}
	if c.scope.Day != c.at.Format(dayFormat) {
		return nil, bad("%s; the date %s is not that of X-Amz-Date", what, c.scope.Day)
	}
	if err := v.checkExpiry(q.Get("X-Amz-Expires"), c.at); err != nil {
		return nil, err
	}
	token := q.Get("X-Amz-Security-Token")
	if r.Header.Get("X-Amz-Security-Token") != "" {
		return nil, refuse(InvalidArgument, "A presigned request has its session token in the query alone.")
	}
	hash, err := presignedHash(r.Header, q)
	if err != nil {
		return nil, err
	}
	return v.finish(r, q, &c, hash, token, Presigned)
}

// queryClaim reads what the query says of its signature.
func queryClaim(q Query) (c claim, err error) {
	bad := func(format string, args ...any) *Error {
		return refuse(AuthorizationQueryParametersError, format, args...)
	}
	if c.accessKeyID, c.scope, err = parseCredential(q.Get("X-Amz-Credential")); err != nil {
		return c, bad("Error parsing the X-Amz-Credential parameter; %v", err)
	}
	if c.names, err = parseSignedHeaders(q.Get("X-Amz-SignedHeaders")); err != nil {
		return c, bad("Error parsing the X-Amz-SignedHeaders parameter; %v", err)
	}
	c.signature = q.Get("X-Amz-Signature")
	if err := parseSignature(c.signature); err != nil {
		return c, bad("Error parsing the X-Amz-Signature parameter; %v", err)
	}
	if c.at, err = time.Parse(DateFormat, q.Get("X-Amz-Date")); err != nil {
		return c, bad("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
	}
	return c, nil
}

// checkExpiry holds a presigned request to its time.
func (v *Verifier) checkExpiry(text string, at time.Time) error {
	seconds, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil || strings.HasPrefix(text, "+"):
		return refuse(AuthorizationQueryParametersError, "X-Amz-Expires should be a number")
	case seconds < 1:
		return refuse(AuthorizationQueryParametersError, "X-Amz-Expires must be non-negative and not zero")
	case seconds > int64(MaxExpiry/time.Second):
		return refuse(AuthorizationQueryParametersError, "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
	}
	now, end := v.now(), at.Add(time.Duration(seconds)*time.Second)
	switch {
	case at.After(now.Add(Skew)):
		return refuse(AccessDenied, "Request is not valid yet").
			with("X-Amz-Date", at.Format(DateFormat)).with("ServerTime", now.UTC().Format(time.RFC3339))
	case !now.Before(end):
		return refuse(AccessDenied, "Request has expired").
			with("X-Amz-Expires", text).with("Expires", end.Format(time.RFC3339)).with("ServerTime", now.UTC().Format(time.RFC3339))
	}
	return nil
}

// presignedHash is the hash of the body that is part of the signature: that of the header or
// of the query, which must agree, or none.
func presignedHash(h http.Header, q Query) (string, error) {
	header, err := single(h, "X-Amz-Content-Sha256")
	if err != nil {
		return "", err
	}
	query := q.Get("X-Amz-Content-Sha256")
	switch {
	case header != "" && query != "" && header != query:
		return "", refuse(InvalidArgument, "x-amz-content-sha256 is one thing in the header and another in the query.")
	case header != "":
		return header, nil
	case query != "":
		return query, nil
	}
	return UnsignedPayload, nil
}
