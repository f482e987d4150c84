package sigv4

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// Skew is how far the clocks of client and server may be apart.
const Skew = 15 * time.Minute

// Mechanism is how a request says who it is from.
type Mechanism int

// The mechanisms. Anonymous requests say nothing; whether they may do anything is the
// server's matter.
const (
	Anonymous Mechanism = iota
	Header
	Presigned
	Form
)

// ErrUnknownKey is returned by Keys for an access key that there is not, or that is disabled.
var ErrUnknownKey = errors.New("there is no such access key")

// Keys finds the secret of an access key.
type Keys interface {
	// Secret is the secret of an access key, or ErrUnknownKey. The session token is what the
	// request brought, empty if nothing: a key that needs none is to be refused with an
	// *Error of InvalidToken where there is one, and one that needs it where it is missing or
	// another one; ExpiredToken is for one that has ended.
	Secret(ctx context.Context, accessKeyID, sessionToken string) (string, error)
}

// Verifier verifies requests. It may be used by any number of goroutines.
type Verifier struct {
	// Region is the one region that signatures must be for.
	Region string
	// Service is the one service; "s3" where it is empty.
	Service string
	// Keys finds secrets.
	Keys Keys
	// Now is the clock; time.Now where it is nil.
	Now func() time.Time
	// TrustForwarded takes the first value of X-Forwarded-Host for the host that the client
	// signed. Set it only behind a proxy that sets or removes this header.
	TrustForwarded bool

	keys keyCache
}

// Verified is a request whose signature holds, or one that has none. Who is asking is
// known from here alone.
type Verified struct {
	Mechanism Mechanism
	// AccessKeyID is the key that signed; empty for an anonymous request.
	AccessKeyID string
	// SessionToken came with the request, signed.
	SessionToken string
	// Query is the query of the URL, read once.
	Query Query
	// Host is the host that was signed: with TrustForwarded it may be that of the request, or
	// the one that was forwarded. It is empty where no host was signed.
	Host string
	// SignedHeaders are the names of the headers that the signature covers, in lower case.
	SignedHeaders []string

	payload payload
	chain   chain
}

func (v *Verifier) now() time.Time {
	if v.Now != nil {
		return v.Now()
	}
	return time.Now()
}

func serviceOr(service string) string { return cmp.Or(service, "s3") }

func styleOf(service string) PathStyle {
	if service == "s3" {
		return S3Path
	}
	return ServicePath
}

// Verify reads and checks the signature of a request, without its body, which is then to be
// read through Verified.Body. It returns an *Error for whatever is not as it must be.
func (v *Verifier) Verify(r *http.Request) (*Verified, error) {
	q, err := ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(InvalidURI, "Couldn't parse the specified URI: %v.", err)
	}
	if p := r.URL.Path; strings.IndexByte(p, 0) >= 0 || !utf8.ValidString(p) {
		return nil, refuse(InvalidURI, "Couldn't parse the specified URI: the path is not UTF-8 without zero bytes.")
	}
	m, err := mechanism(r, q)
	if err != nil {
		return nil, err
	}
	switch m {
	case Header:
		return v.header(r, q)
	case Presigned:
		return v.presigned(r, q)
	default:
		out := &Verified{Query: q}
		out.payload, err = payloadOf(r.Header, r.Header.Get("X-Amz-Content-Sha256"))
		if err == nil && out.payload.chunksSigned {
			err = refuse(InvalidRequest, "A body in signed chunks needs a request that is signed.")
		}
		if err != nil {
			return nil, err
		}
		return out, nil
	}
}

// mechanism tells how a request is signed, and refuses one that says so in two ways.
func mechanism(r *http.Request, q Query) (Mechanism, error) {
	headers := r.Header["Authorization"]
	query := q.Has("X-Amz-Algorithm") || q.Has("X-Amz-Signature") || q.Has("X-Amz-Credential")
	old := q.Has("Signature") && q.Has("AWSAccessKeyId")
	switch {
	case len(headers) > 1, len(headers) == 1 && (query || old), query && old:
		return 0, refuse(InvalidArgument, "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified")
	case old, len(headers) == 1 && strings.HasPrefix(headers[0], "AWS "):
		return 0, refuse(InvalidRequest, "The authorization mechanism you have provided is not supported. Please use %s.", Algorithm)
	case len(headers) == 1 && strings.HasPrefix(headers[0], "AWS4-ECDSA-"), strings.HasPrefix(q.Get("X-Amz-Algorithm"), "AWS4-ECDSA-"):
		return 0, refuse(InvalidRequest, "Signatures for several regions (AWS4-ECDSA-P256-SHA256) are not supported. Please use %s.", Algorithm)
	case len(headers) == 1:
		return Header, nil
	case query:
		return Presigned, nil
	}
	return Anonymous, nil
}

// header verifies a request that is signed by its header Authorization.
func (v *Verifier) header(r *http.Request, q Query) (*Verified, error) {
	c, err := parseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		return nil, refuse(AuthorizationHeaderMalformed, "The authorization header is malformed; %v.", err)
	}
	if err := v.checkScope(c.scope, AuthorizationHeaderMalformed, "The authorization header is malformed"); err != nil {
		return nil, err
	}
	if c.at, err = headerTime(r.Header); err != nil {
		return nil, err
	}
	if c.scope.Day != c.at.Format(dayFormat) {
		return nil, refuse(AuthorizationHeaderMalformed,
			"The authorization header is malformed; the date of the credential, %s, is not that of the request, %s.",
			c.scope.Day, c.at.Format(dayFormat))
	}
	if now := v.now(); c.at.Before(now.Add(-Skew)) || c.at.After(now.Add(Skew)) {
		return nil, refuse(RequestTimeTooSkewed, "The difference between the request time and the current time is too large.").
			with("RequestTime", c.at.Format(DateFormat)).
			with("ServerTime", now.UTC().Format(time.RFC3339)).
			with("MaxAllowedSkewMilliseconds", fmt.Sprint(Skew.Milliseconds()))
	}
	hash, err := single(r.Header, "X-Amz-Content-Sha256")
	if err != nil {
		return nil, err
	}
	if hash == "" {
		return nil, refuse(InvalidRequest, "Missing required header for this request: x-amz-content-sha256")
	}
	token, err := single(r.Header, "X-Amz-Security-Token")
	if err != nil {
		return nil, err
	}
	return v.finish(r, q, &c, hash, token, Header)
}

// checkScope refuses a signature for another region or service.
func (v *Verifier) checkScope(s Scope, code Code, what string) error {
	if own := serviceOr(v.Service); s.Service != own {
		return refuse(code, "%s; incorrect service %q. This endpoint belongs to %q.", what, s.Service, own)
	}
	if s.Region != v.Region {
		return refuse(code, "%s; the region '%s' is wrong; expecting '%s'", what, s.Region, v.Region).
			with("Region", v.Region)
	}
	return nil
}

// headerTime is the moment at which a request says that it was signed.
func headerTime(h http.Header) (time.Time, error) {
	text, err := single(h, "X-Amz-Date")
	if err != nil {
		return time.Time{}, err
	}
	if text != "" {
		at, err := time.Parse(DateFormat, text)
		if err != nil {
			return at, refuse(AccessDenied, "AWS authentication requires a valid Date or x-amz-date header")
		}
		return at, nil
	}
	if text, err = single(h, "Date"); err != nil {
		return time.Time{}, err
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return at, refuse(AccessDenied, "AWS authentication requires a valid Date or x-amz-date header")
	}
	return at.UTC(), nil
}

// single is the value of a header that may be there once at most.
func single(h http.Header, name string) (string, error) {
	values := h[name]
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", refuse(InvalidArgument, "The header %s is there %d times.", strings.ToLower(name), len(values))
}

// finish checks what all signed requests have in common, and the signature.
func (v *Verifier) finish(r *http.Request, q Query, c *claim, hash, token string, m Mechanism) (*Verified, error) {
	out := &Verified{
		Mechanism: m, AccessKeyID: c.accessKeyID, SessionToken: token, Query: q, SignedHeaders: c.names,
	}
	var err error
	if out.payload, err = payloadOf(r.Header, hash); err != nil {
		return nil, err
	}
	if err := checkSigned(r, c.names); err != nil {
		return nil, err
	}
	key, known, err := v.key(r.Context(), c, token)
	if err != nil {
		return nil, err
	}
	host, matches, err := v.match(r, q, c, &key, hash)
	switch {
	case err != nil:
		return nil, err
	case known != nil:
		return nil, known
	case matches != nil:
		return nil, matches
	}
	out.Host = host
	out.chain = chain{key: key, at: c.at, scope: c.scope, previous: c.signature}
	return out, nil
}

// checkSigned holds that everything which says what a request means is signed.
func checkSigned(r *http.Request, names []string) error {
	signed := make(map[string]bool, len(names))
	for _, n := range names {
		signed[n] = true
	}
	var missing []string
	for name := range r.Header {
		lower := strings.ToLower(name)
		means := strings.HasPrefix(lower, "x-amz-") || lower == "content-md5"
		if means && !signed[lower] {
			missing = append(missing, lower)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return refuse(AccessDenied, "There were headers present in the request which were not signed").
		with("HeadersNotSigned", joinSorted(missing))
}

// key is the signing key of a claim. For an access key that there is not, it is some key, so
// that the work is the same, and the refusal beside it.
func (v *Verifier) key(ctx context.Context, c *claim, token string) (Key, *Error, error) {
	secret, err := v.Keys.Secret(ctx, c.accessKeyID, token)
	var refused *Error
	switch {
	case err == nil:
		return v.keys.derive(secret, c.scope), nil, nil
	case errors.Is(err, ErrUnknownKey):
		unknown := refuse(InvalidAccessKeyID, "The AWS Access Key Id you provided does not exist in our records.").
			with("AWSAccessKeyId", c.accessKeyID)
		return v.keys.derive(c.accessKeyID, c.scope), unknown, nil
	case errors.As(err, &refused):
		return Key{}, nil, refused
	}
	return Key{}, nil, fmt.Errorf("finding the secret of an access key: %w", err)
}

// match computes the signature of the request in each reading of its host and its path that
// means the same, and compares. It returns the host of the one that was sent, or the refusal if it
// is none of them.
func (v *Verifier) match(r *http.Request, q Query, c *claim, key *Key, hash string) (signed string, refused *Error, err error) {
	wire, style := r.URL.EscapedPath(), styleOf(serviceOr(v.Service))
	uri, err := CanonicalURI(wire, style)
	if err != nil {
		return "", nil, refuse(InvalidURI, "Couldn't parse the specified URI: %v.", err)
	}
	paths := []string{uri}
	if other, differs := slashesKept(wire); differs && style == S3Path {
		paths = append(paths, other)
	}
	query := q.Canonical("X-Amz-Signature")
	var first, firstToSign string
	for _, host := range v.hosts(r) {
		headers, err := CanonicalHeaders(r, host, c.names)
		if err != nil {
			return "", nil, refuse(SignatureDoesNotMatch, "A header that is signed did not arrive: %v.", err)
		}
		for _, path := range paths {
			canonical := CanonicalRequest(r.Method, path, query, headers, c.names, hash)
			toSign := StringToSign(c.at, c.scope, canonical)
			if first == "" {
				first, firstToSign = canonical, toSign
			}
			if subtle.ConstantTimeCompare([]byte(key.Sign(toSign)), []byte(c.signature)) == 1 {
				signed = host
			}
		}
	}
	if signed != "" {
		return signed, nil, nil
	}
	return "", mismatch(c.accessKeyID, firstToSign, c.signature).
		with("CanonicalRequest", first).with("CanonicalRequestBytes", spaced(first)), nil
}

// mismatch is the refusal of a signature, with what a user needs to find out why.
func mismatch(accessKeyID, toSign, signature string) *Error {
	return refuse(SignatureDoesNotMatch, "The request signature we calculated does not match the signature you provided. Check your key and signing method.").
		with("AWSAccessKeyId", accessKeyID).
		with("StringToSign", toSign).
		with("SignatureProvided", signature).
		with("StringToSignBytes", spaced(toSign))
}
