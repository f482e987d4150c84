package sigv4

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Credentials are those of a client.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
	// SessionToken goes with credentials that are lent for a time; else it is empty.
	SessionToken string
}

// Signer signs requests of a client. It may be used by any number of goroutines.
type Signer struct {
	Credentials Credentials
	Region      string
	// Service is "s3" where it is empty.
	Service string

	keys keyCache
}

func (s *Signer) scope(at time.Time) Scope { return NewScope(at, s.Region, serviceOr(s.Service)) }

// unsigned are headers that proxies and libraries change on the way.
var unsigned = []string{
	"accept-encoding", "authorization", "connection", "expect", "te", "trailer", "transfer-encoding", "upgrade",
	"user-agent", "x-amzn-trace-id", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
}

// names are those of the headers that are signed.
func (s *Signer) names(r *http.Request) []string {
	names := []string{"host"}
	for name := range r.Header {
		if lower := strings.ToLower(name); lower != "host" && !slices.Contains(unsigned, lower) {
			names = append(names, lower)
		}
	}
	slices.Sort(names)
	return names
}

func hostOf(r *http.Request) string {
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	if port, ok := map[string]string{"http": ":80", "https": ":443"}[r.URL.Scheme]; ok {
		host = strings.TrimSuffix(host, port) // a client leaves it away
	}
	return host
}

// Sign adds the headers x-amz-date, x-amz-content-sha256, x-amz-security-token where there is
// a token, and Authorization. The payload is the hash of the body in lower-case hex, or one of
// the words that stand for it; headers must not change afterwards. It fails where the URL is
// not well encoded.
func (s *Signer) Sign(r *http.Request, payload string, at time.Time) error {
	_, err := s.sign(r, payload, at)
	return err
}

func (s *Signer) sign(r *http.Request, payload string, at time.Time) (chain, error) {
	r.Header.Del("Authorization")
	r.Header.Set("X-Amz-Date", at.UTC().Format(DateFormat))
	r.Header.Set("X-Amz-Content-Sha256", payload)
	if t := s.Credentials.SessionToken; t != "" {
		r.Header.Set("X-Amz-Security-Token", t)
	}
	q, err := ParseQuery(r.URL.RawQuery)
	if err != nil {
		return chain{}, fmt.Errorf("signing a request: %w", err)
	}
	names, scope := s.names(r), s.scope(at)
	toSign, err := s.stringToSign(r, q, names, payload, at)
	if err != nil {
		return chain{}, err
	}
	key := s.keys.derive(s.Credentials.SecretAccessKey, scope)
	signature := key.Sign(toSign)
	r.Header.Set("Authorization", Algorithm+" Credential="+s.Credentials.AccessKeyID+"/"+scope.String()+
		", SignedHeaders="+strings.Join(names, ";")+", Signature="+signature)
	return chain{key: key, at: at, scope: scope, previous: signature}, nil
}

func (s *Signer) stringToSign(r *http.Request, q Query, names []string, payload string, at time.Time) (string, error) {
	uri, err := CanonicalURI(r.URL.EscapedPath(), styleOf(serviceOr(s.Service)))
	if err != nil {
		return "", fmt.Errorf("signing a request: %w", err)
	}
	headers, err := CanonicalHeaders(r, hostOf(r), names)
	if err != nil {
		return "", fmt.Errorf("signing a request: %w", err)
	}
	return StringToSign(at, s.scope(at), CanonicalRequest(r.Method, uri, q.Canonical("X-Amz-Signature"), headers, names, payload)), nil
}

// Presign returns the URL with a signature that is good for so long, from 1 s to 7 days: whoever
// has it can make this one request, with the headers that the request has and a body of any
// content.
func (s *Signer) Presign(r *http.Request, expires time.Duration, at time.Time) (*url.URL, error) {
	if expires < time.Second || expires > MaxExpiry {
		return nil, fmt.Errorf("presigning a request for %v: it must be from 1s to %v", expires, MaxExpiry)
	}
	q, err := ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("presigning a request: %w", err)
	}
	q = slices.DeleteFunc(q, func(p Pair) bool { return slices.Contains(queryNames[:], p.Name) })
	names := s.names(r)
	q = append(q,
		Pair{Name: "X-Amz-Algorithm", Value: Algorithm},
		Pair{Name: "X-Amz-Credential", Value: s.Credentials.AccessKeyID + "/" + s.scope(at).String()},
		Pair{Name: "X-Amz-Date", Value: at.UTC().Format(DateFormat)},
		Pair{Name: "X-Amz-Expires", Value: strconv.FormatInt(int64(expires/time.Second), 10)},
		Pair{Name: "X-Amz-SignedHeaders", Value: strings.Join(names, ";")},
	)
	if t := s.Credentials.SessionToken; t != "" {
		q = append(q, Pair{Name: "X-Amz-Security-Token", Value: t})
	}
	payload := UnsignedPayload
	if h := r.Header.Get("X-Amz-Content-Sha256"); h != "" {
		payload = h
	}
	toSign, err := s.stringToSign(r, q, names, payload, at)
	if err != nil {
		return nil, err
	}
	key := s.keys.derive(s.Credentials.SecretAccessKey, s.scope(at))
	out := *r.URL
	out.RawQuery = q.Canonical("") + "&X-Amz-Signature=" + key.Sign(toSign)
	return &out, nil
}

// ChunkSigner writes a body in signed chunks: SignChunked returns one. It is used by one
// goroutine.
type ChunkSigner struct {
	chain chain
}

// SignChunked signs a request whose body is to be of so many bytes, in chunks that the signer
// it returns puts a signature to. The length of the body on the wire is the caller's to know;
// trailer names the header that is to follow the body, or is empty.
func (s *Signer) SignChunked(r *http.Request, length int64, trailer string, at time.Time) (*ChunkSigner, error) {
	payload := StreamingPayload
	if trailer != "" {
		payload = StreamingPayloadTrailer
		r.Header.Set("X-Amz-Trailer", trailer)
	}
	r.Header.Set("X-Amz-Decoded-Content-Length", strconv.FormatInt(length, 10))
	r.Header.Set("Content-Encoding", "aws-chunked")
	c, err := s.sign(r, payload, at)
	if err != nil {
		return nil, err
	}
	return &ChunkSigner{chain: c}, nil
}

// Append adds one chunk to dst: one of no bytes is the last. All but the last two have at least
// MinChunk bytes.
func (c *ChunkSigner) Append(dst, data []byte) []byte {
	sum := sha256Of(data)
	c.chain.previous = c.chain.chunk(sum)
	dst = strconv.AppendInt(dst, int64(len(data)), 16)
	dst = append(dst, ";chunk-signature="...)
	dst = append(dst, c.chain.previous...)
	dst = append(dst, "\r\n"...)
	if len(data) == 0 {
		return dst
	}
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}

// AppendTrailer adds what comes after the last chunk: the trailer, if one was named, or the
// end of the body.
func (c *ChunkSigner) AppendTrailer(dst []byte, name, value string) []byte {
	if name != "" {
		line := strings.ToLower(name) + ":" + value
		dst = append(dst, line+"\r\nx-amz-trailer-signature:"+c.chain.trailers(line+"\n")+"\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// PayloadHash is the hash of a body, as x-amz-content-sha256 has it.
func PayloadHash(body []byte) string { return hex.EncodeToString(sha256Of(body)) }
