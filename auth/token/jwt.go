package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"chainfire/auth"
)

// ErrVerifyOnly says that a member has only the public key of its tokens: another one
// gives them.
var ErrVerifyOnly = errors.New("token signing attempted with verify-only key")

// JWT gives and verifies JSON Web Tokens. It is never modified.
type JWT struct {
	method jwt.SigningMethod
	// sign is nil where tokens are only verified.
	sign, verify any
	ttl          time.Duration
}

// The kinds of tokens, and the options of the second.
const (
	kindSimple = "simple"
	kindJWT    = "jwt"

	optMethod  = "sign-method"
	optPublic  = "pub-key"
	optPrivate = "priv-key"
	optTTL     = "ttl"
)

// Parse reads etcd's option --auth-token: "simple", for which it returns nil, or
// "jwt,sign-method=METHOD,priv-key=FILE,pub-key=FILE,ttl=TIME". Method is one of RFC 7518,
// section 3.1, or EdDSA. Without a private key tokens are only verified.
func Parse(option string) (*JWT, error) {
	kind, rest, _ := strings.Cut(option, ",")
	opts := map[string]string{}
	for rest != "" {
		var pair string
		pair, rest, _ = strings.Cut(rest, ",")
		name, value, ok := strings.Cut(pair, "=")
		if _, twice := opts[name]; !ok || twice || value == "" {
			return nil, fmt.Errorf("%q: write NAME=VALUE, each name once", pair)
		}
		if !slices.Contains([]string{optMethod, optPublic, optPrivate, optTTL}, name) {
			return nil, fmt.Errorf("%s: there are %s, %s, %s and %s", name, optMethod, optPrivate, optPublic, optTTL)
		}
		opts[name] = value
	}
	switch {
	case kind == kindSimple && len(opts) == 0:
		return nil, nil
	case kind != kindJWT:
		return nil, fmt.Errorf("%q: give %s, or %s,%s=METHOD,%s=FILE", option, kindSimple, kindJWT, optMethod, optPrivate)
	}
	return parseJWT(opts)
}

func parseJWT(opts map[string]string) (*JWT, error) {
	j := &JWT{method: jwt.GetSigningMethod(opts[optMethod]), ttl: DefaultTTL}
	if j.method == nil || j.method == jwt.SigningMethodNone {
		return nil, fmt.Errorf("%s=%q: give one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, HS256, HS384 and HS512",
			optMethod, opts[optMethod])
	}
	if text, ok := opts[optTTL]; ok {
		var err error
		if j.ttl, err = time.ParseDuration(text); err != nil || j.ttl <= 0 {
			return nil, fmt.Errorf("%s=%s: give a time above 0, as 5m", optTTL, text)
		}
	}
	var pem [2][]byte
	for i, name := range [2]string{optPrivate, optPublic} {
		if opts[name] == "" {
			continue
		}
		var err error
		if pem[i], err = os.ReadFile(opts[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if pem[0] == nil && pem[1] == nil {
		return nil, fmt.Errorf("no key: give %s=FILE, or %s=FILE to verify only", optPrivate, optPublic)
	}
	if err := j.setKeys(pem[0], pem[1]); err != nil {
		return nil, err
	}
	return j, nil
}

// setKeys reads the keys for the method.
func (j *JWT) setKeys(private, public []byte) error {
	switch j.method.(type) {
	case *jwt.SigningMethodHMAC:
		if len(private) == 0 {
			return fmt.Errorf("no key: %s has one key for both, %s=FILE", j.method.Alg(), optPrivate)
		}
		j.sign, j.verify = private, private
		return nil
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
		return keyPair(j, private, public, jwt.ParseRSAPrivateKeyFromPEM, jwt.ParseRSAPublicKeyFromPEM,
			func(k *rsa.PrivateKey) *rsa.PublicKey { return &k.PublicKey })
	case *jwt.SigningMethodECDSA:
		return keyPair(j, private, public, jwt.ParseECPrivateKeyFromPEM, jwt.ParseECPublicKeyFromPEM,
			func(k *ecdsa.PrivateKey) *ecdsa.PublicKey { return &k.PublicKey })
	case *jwt.SigningMethodEd25519:
		return keyPair(j, private, public, jwt.ParseEdPrivateKeyFromPEM, jwt.ParseEdPublicKeyFromPEM,
			func(k crypto.PrivateKey) crypto.PublicKey {
				if k, ok := k.(ed25519.PrivateKey); ok {
					return k.Public()
				}
				return nil
			})
	}
	return fmt.Errorf("%s=%s is not supported", optMethod, j.method.Alg())
}

// keyPair reads the two keys of a method that has two; they must belong together.
func keyPair[S, V any](j *JWT, private, public []byte, parseS func([]byte) (S, error), parseV func([]byte) (V, error), publicOf func(S) V) error {
	if private != nil {
		k, err := parseS(private)
		if err != nil {
			return fmt.Errorf("%s: %w", optPrivate, err)
		}
		j.sign, j.verify = k, publicOf(k)
	}
	if public == nil {
		return nil
	}
	k, err := parseV(public)
	if err != nil {
		return fmt.Errorf("%s: %w", optPublic, err)
	}
	same, ok := any(k).(interface{ Equal(x crypto.PublicKey) bool })
	if private != nil && (!ok || !same.Equal(j.verify)) {
		return fmt.Errorf("%s is not the public key of %s", optPublic, optPrivate)
	}
	j.verify = k
	return nil
}

// The claims, as etcd has them.
const (
	claimUser     = "username"
	claimRevision = "revision"
)

// Give makes a token for a user. It returns ErrVerifyOnly.
func (j *JWT) Give(id auth.Identity, now time.Time) (string, error) {
	if j.sign == nil {
		return "", ErrVerifyOnly
	}
	text, err := jwt.NewWithClaims(j.method, jwt.MapClaims{
		claimUser: id.User, claimRevision: id.Revision, "exp": now.Add(j.ttl).Unix(),
	}).SignedString(j.sign)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return text, nil
}

// User is who a token was given to, and when. An error says what is wrong with it.
func (j *JWT) User(text string, now time.Time) (auth.Identity, error) {
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return j.verify, nil },
		jwt.WithValidMethods([]string{j.method.Alg()}), jwt.WithTimeFunc(func() time.Time { return now }))
	if err != nil {
		return auth.Identity{}, fmt.Errorf("verify a token: %w", err)
	}
	user, isText := claims[claimUser].(string)
	rev, isNumber := claims[claimRevision].(float64)
	if !isText || !isNumber || rev < 0 || rev >= math.MaxInt64 {
		return auth.Identity{}, errors.New("a token without user and revision")
	}
	return auth.Identity{User: user, Revision: uint64(rev)}, nil
}
