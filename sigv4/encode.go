package sigv4

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const upperHex = "0123456789ABCDEF"

// unreserved reports whether a byte stands for itself (RFC 3986, section 2.3).
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// Encode percent-encodes every byte but the unreserved ones of RFC 3986, in upper-case
// hex: what the names and values of a query become. A space is %20.
func Encode(s string) string { return encode(s, false) }

// EncodePath does the same and keeps slashes: what the key of an object becomes in a path.
func EncodePath(s string) string { return encode(s, true) }

func encode(s string, keepSlash bool) string {
	n := 0
	for i := range len(s) {
		if !unreserved(s[i]) && (!keepSlash || s[i] != '/') {
			n++
		}
	}
	if n == 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 2*n)
	for i := range len(s) {
		if c := s[i]; unreserved(c) || keepSlash && c == '/' {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
	return b.String()
}

// Decode undoes percent-encoding. A plus sign stays one: this is the encoding of URIs, not
// that of forms. A percent sign that two hex digits do not follow is an error.
func Decode(s string) (string, error) {
	first := strings.IndexByte(s, '%')
	if first < 0 {
		return s, nil
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("%q ends within a percent-encoding", s)
		}
		high, low := unhex(s[i+1]), unhex(s[i+2])
		if high < 0 || low < 0 {
			return "", fmt.Errorf("%q is no percent-encoding", s[i:i+3])
		}
		b.WriteByte(byte(high<<4 | low))
		i += 2
	}
	return b.String(), nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// PathStyle is how a service makes a path canonical.
type PathStyle int

const (
	// S3Path encodes each byte of the path once, and leaves dots and empty segments as they
	// are: a key may hold any of them.
	S3Path PathStyle = iota
	// ServicePath is that of all other services: dot segments and empty ones are removed,
	// and what is left, encoded as it came, is encoded once more.
	ServicePath
)

// CanonicalURI is the canonical form of a path as it is on the wire, escaped and without
// its query. The empty path is "/". It fails where the path is not well encoded, or its
// key could be no name: with a zero byte, or text that is not UTF-8.
func CanonicalURI(wire string, style PathStyle) (string, error) {
	path, err := Decode(wire)
	if err != nil {
		return "", err
	}
	switch {
	case strings.IndexByte(path, 0) >= 0:
		return "", fmt.Errorf("the path holds a zero byte")
	case !utf8.ValidString(path):
		return "", fmt.Errorf("the path is not UTF-8")
	case wire == "":
		return "/", nil
	case style == ServicePath:
		return EncodePath(withoutDots(EncodePath(path))), nil
	}
	return EncodePath(path), nil
}

// withoutDots removes dot segments and empty ones; a trailing slash stays.
func withoutDots(path string) string {
	var kept []string
	for s := range strings.SplitSeq(path, "/") {
		switch s {
		case "", ".":
		case "..":
			if len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
		default:
			kept = append(kept, s)
		}
	}
	out := "/" + strings.Join(kept, "/")
	if len(kept) > 0 && (strings.HasSuffix(path, "/") || strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..")) {
		out += "/"
	}
	return out
}

// slashesKept is the other reading of a path of S3 whose key has its slashes encoded: there
// are signers that sign the path as they send it, with %2F, and AWS's own documents say that
// the slashes of a key stay. Both stand for the same key.
func slashesKept(wire string) (canonical string, differs bool) {
	parts := strings.Split(strings.ReplaceAll(wire, "%2f", "%2F"), "%2F")
	for i, p := range parts {
		text, err := Decode(p)
		if err != nil {
			return "", false
		}
		parts[i] = EncodePath(text)
	}
	return strings.Join(parts, "%2F"), len(parts) > 1
}
