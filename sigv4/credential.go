package sigv4

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of what a request says of its signature.
const (
	maxAccessKeyID   = 128
	maxSignedHeaders = 256
	maxRegion        = 64
)

// claim is what a request says of its signature, before any of it is checked.
type claim struct {
	accessKeyID string
	scope       Scope
	at          time.Time
	names       []string // of the signed headers
	signature   string   // 64 hex digits
}

// parseCredential reads ACCESS-KEY-ID/DAY/REGION/SERVICE/aws4_request. It is taken apart from
// its end, as an access key may hold slashes.
func parseCredential(text string) (accessKeyID string, s Scope, err error) {
	parts := strings.Split(text, "/")
	n := len(parts)
	if n < 5 {
		return "", s, fmt.Errorf(`expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/%s"`, terminator)
	}
	accessKeyID = strings.Join(parts[:n-4], "/")
	s = Scope{Day: parts[n-4], Region: parts[n-3], Service: parts[n-2]}
	switch {
	case accessKeyID == "" || len(accessKeyID) > maxAccessKeyID:
		return "", s, fmt.Errorf("the access key id has from 1 to %d characters", maxAccessKeyID)
	case len(s.Region) > maxRegion || len(s.Service) > maxRegion:
		return "", s, fmt.Errorf("a region and a service have at most %d characters", maxRegion)
	case parts[n-1] != terminator:
		return "", s, fmt.Errorf("it ends with %q; expecting %q", parts[n-1], terminator)
	}
	if _, err := time.Parse(dayFormat, s.Day); err != nil {
		return "", s, fmt.Errorf("%q is no date as YYYYMMDD", s.Day)
	}
	return accessKeyID, s, nil
}

// parseSignedHeaders reads the names of the signed headers: lower case, in order, none twice,
// and the host among them.
func parseSignedHeaders(text string) ([]string, error) {
	names := strings.Split(text, ";")
	if len(names) > maxSignedHeaders {
		return nil, fmt.Errorf("more than %d headers are signed", maxSignedHeaders)
	}
	for i, name := range names {
		switch {
		case !isToken(name):
			return nil, fmt.Errorf("%q is no name of a header in lower case", name)
		case i > 0 && names[i-1] >= name:
			return nil, fmt.Errorf("%q comes after %q: they must be in order, and none twice", name, names[i-1])
		}
	}
	if !slices.Contains(names, "host") {
		return nil, fmt.Errorf("the header host must be signed")
	}
	return names, nil
}

// isToken reports whether a text is the name of a header (RFC 9110, section 5.6.2) in lower
// case.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			continue
		}
		return false
	}
	return s != ""
}

// parseSignature checks that a signature is 64 digits of lower-case hex.
func parseSignature(text string) error {
	if !isSHA256(text) {
		return fmt.Errorf("the signature is not 64 digits of lower-case hex")
	}
	return nil
}

// isSHA256 reports whether a text is such a hash in lower-case hex.
func isSHA256(s string) bool {
	if len(s) != 64 || strings.ToLower(s) != s {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

// parseAuthorization reads the header Authorization.
func parseAuthorization(value string) (c claim, err error) {
	rest, ok := strings.CutPrefix(value, Algorithm)
	if !ok || rest == "" || rest[0] != ' ' && rest[0] != '\t' {
		return c, fmt.Errorf("expecting %q, then Credential, SignedHeaders and Signature", Algorithm)
	}
	var seen [3]bool
	for part := range strings.SplitSeq(rest, ",") {
		name, text, equals := strings.Cut(strings.Trim(part, " \t"), "=")
		i := slices.Index([]string{"Credential", "SignedHeaders", "Signature"}, name)
		switch {
		case i < 0 || !equals:
			return c, fmt.Errorf("%q is not expected; expecting Credential, SignedHeaders and Signature", name)
		case seen[i]:
			return c, fmt.Errorf("%s is there twice", name)
		}
		seen[i] = true
		switch name {
		case "Credential":
			c.accessKeyID, c.scope, err = parseCredential(text)
		case "SignedHeaders":
			c.names, err = parseSignedHeaders(text)
		case "Signature":
			c.signature, err = text, parseSignature(text)
		}
		if err != nil {
			return c, fmt.Errorf("%s: %w", name, err)
		}
	}
	for i, name := range []string{"Credential", "SignedHeaders", "Signature"} {
		if !seen[i] {
			return c, fmt.Errorf("%s is missing", name)
		}
	}
	return c, nil
}

// joinSorted puts names in order, as AWS lists them.
func joinSorted(names []string) string {
	slices.Sort(names)
	return strings.Join(names, ", ")
}
