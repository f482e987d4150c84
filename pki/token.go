package pki

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Token is what lets a newcomer in: the hash of the cluster's authority, by which
// the newcomer knows the cluster before it sends anything, and a secret, by which
// the cluster knows the newcomer. Written out it is cf1.HASH.SECRET.
type Token struct {
	Authority [sha256.Size]byte
	Secret    [secretSize]byte
}

const (
	secretSize  = 32
	tokenPrefix = "cf1"
)

// ErrBadToken says that a text is no join token, or only a part of one.
var ErrBadToken = errors.New("not a join token")

var tokenEncoding = base64.RawURLEncoding.Strict()

// NewToken makes a token for a cluster whose authority has the given certificate.
func NewToken(authorityPEM []byte) (Token, error) {
	cert, err := parseCert(authorityPEM)
	if err != nil {
		return Token{}, fmt.Errorf("certificate of the cluster's authority: %w", err)
	}
	t := Token{Authority: hash(cert)}
	if _, err := rand.Read(t.Secret[:]); err != nil {
		return Token{}, fmt.Errorf("draw a secret: %w", err)
	}
	return t, nil
}

// Text is the token as a person passes it on. Never log it.
func (t Token) Text() string {
	return strings.Join([]string{
		tokenPrefix, tokenEncoding.EncodeToString(t.Authority[:]), tokenEncoding.EncodeToString(t.Secret[:]),
	}, ".")
}

// String keeps the secret out of logs and error texts.
func (t Token) String() string {
	return tokenPrefix + "." + tokenEncoding.EncodeToString(t.Authority[:]) + ".(secret)"
}

// GoString keeps the secret out of %#v.
func (t Token) GoString() string { return t.String() }

// ParseToken reads a token. Its error says what is wrong without the text itself.
func ParseToken(s string) (Token, error) {
	var t Token
	parts := strings.Split(strings.TrimSpace(s), ".")
	switch {
	case len(parts) != 3 || parts[0] != tokenPrefix:
		return t, fmt.Errorf("%w: it has the form %s.HASH.SECRET; get one with 'chainfire token create'", ErrBadToken, tokenPrefix)
	case !decodeInto(t.Authority[:], parts[1]):
		return t, fmt.Errorf("%w: its hash is damaged; was it copied whole?", ErrBadToken)
	case !decodeInto(t.Secret[:], parts[2]):
		return t, fmt.Errorf("%w: its secret is damaged; was it copied whole?", ErrBadToken)
	}
	return t, nil
}

func decodeInto(dst []byte, s string) bool {
	b, err := tokenEncoding.DecodeString(s)
	return err == nil && copy(dst, b) == len(dst) && len(b) == len(dst)
}

// SecretHash is what the cluster keeps of a token: enough to know it again, not
// enough to use it.
func (t Token) SecretHash() [sha256.Size]byte {
	return sha256.Sum256(append([]byte("chainfire join token\x00"), t.Secret[:]...))
}

// Matches compares a secret that a newcomer sent with what the cluster keeps, in
// constant time.
func Matches(secret, kept []byte) bool {
	var t Token
	if len(secret) != secretSize {
		return false
	}
	copy(t.Secret[:], secret)
	h := t.SecretHash()
	return sameHash(h[:], kept)
}
