package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	// Algorithm is the name of the signature's algorithm.
	Algorithm = "AWS4-HMAC-SHA256"

	// DateFormat is that of x-amz-date: basic ISO 8601, in UTC.
	DateFormat = "20060102T150405Z"

	dayFormat  = "20060102"
	terminator = "aws4_request"

	// emptySHA256 is the hash of nothing.
	emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// Scope is what a signing key is good for: one day, one region, one service.
type Scope struct {
	Day     string // as 20060102, in UTC
	Region  string
	Service string
}

// NewScope is the scope of a moment.
func NewScope(at time.Time, region, service string) Scope {
	return Scope{Day: at.UTC().Format(dayFormat), Region: region, Service: service}
}

// String is the scope as it is signed and sent.
func (s Scope) String() string {
	return s.Day + "/" + s.Region + "/" + s.Service + "/" + terminator
}

// Key is a key that signs within one scope.
type Key [sha256.Size]byte

// SigningKey derives the key of a scope from a secret. It holds for the scope's day, and
// takes four hashes: who signs much keeps it.
func SigningKey(secret string, s Scope) Key {
	k := mac([]byte("AWS4"+secret), s.Day)
	k = mac(k, s.Region)
	k = mac(k, s.Service)
	return Key(mac(k, terminator))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// Sign is the signature of a string to sign, in hex.
func (k *Key) Sign(stringToSign string) string {
	return hex.EncodeToString(mac(k[:], stringToSign))
}

// StringToSign is what is signed of a request: its algorithm, its moment, its scope, and the
// hash of its canonical form.
func StringToSign(at time.Time, s Scope, canonicalRequest string) string {
	sum := sha256.Sum256([]byte(canonicalRequest))
	return Algorithm + "\n" + at.UTC().Format(DateFormat) + "\n" + s.String() + "\n" + hex.EncodeToString(sum[:])
}

// CanonicalRequest puts the canonical form of a request together. Headers are the canonical
// headers, each line ended; names are those of the signed headers, in order.
func CanonicalRequest(method, uri, query, headers string, names []string, payloadHash string) string {
	return method + "\n" + uri + "\n" + query + "\n" + headers + "\n" + strings.Join(names, ";") + "\n" + payloadHash
}

// CanonicalHeaders is the canonical form of the headers that are named, in lower case and in
// order: values are trimmed, spaces inside folded to one, values of repeated headers joined
// by a comma in the order in which they came. The host is given by the caller: Go keeps it
// apart, and behind a proxy it may be another one; so is the length of the body, which Go
// takes out of the headers. It fails if a named header is not there.
func CanonicalHeaders(r *http.Request, host string, names []string) (string, error) {
	var b strings.Builder
	for _, name := range names {
		values, err := valuesOf(r, host, name)
		if err != nil {
			return "", err
		}
		b.WriteString(name)
		b.WriteByte(':')
		for i, v := range values {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(folded(v))
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

func valuesOf(r *http.Request, host, name string) ([]string, error) {
	switch name {
	case "host":
		return []string{host}, nil
	case "content-length":
		if r.ContentLength >= 0 {
			return []string{fmt.Sprint(r.ContentLength)}, nil
		}
	case "transfer-encoding":
		if len(r.TransferEncoding) > 0 {
			return r.TransferEncoding, nil
		}
	}
	values := r.Header[http.CanonicalHeaderKey(name)]
	if len(values) == 0 {
		return nil, fmt.Errorf("the header %q is signed and not there", name)
	}
	return values, nil
}

// folded is a header's value without spaces around it, and with one where there were several.
func folded(v string) string {
	v = strings.Trim(v, " \t")
	if !strings.Contains(v, "  ") {
		return v
	}
	var b strings.Builder
	b.Grow(len(v))
	for i := range len(v) {
		if v[i] != ' ' || v[i-1] != ' ' {
			b.WriteByte(v[i])
		}
	}
	return b.String()
}

func sha256Of(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}
