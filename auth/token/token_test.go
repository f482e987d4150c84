package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chainfire/auth"
)

func TestSimpleTokenIsGoodForATimeAfterItsLastUse(t *testing.T) {
	table, now := NewTable(time.Minute), time.Now()
	secret, hash := New()
	text := Simple(secret, 7)
	table.Add(hash, 7, "ann", now)
	for _, wrong := range []string{"", secret, secret + ".8", "x.7", secret + ".", "." + secret, text + ".7"} {
		if user, _, ok := table.User(wrong, now); ok {
			t.Errorf("%q is %s's", wrong, user)
		}
	}
	if _, index, ok := table.User("never.9", now); ok || index != 9 {
		t.Errorf("a token of index 9: %d, %v", index, ok)
	}
	for range 5 {
		now = now.Add(50 * time.Second)
		if user, _, ok := table.User(text, now); !ok || user != "ann" {
			t.Fatalf("%q, %v", user, ok)
		}
	}
	if _, _, ok := table.User(text, now.Add(time.Minute)); ok {
		t.Error("it is good a minute after its last use")
	}
	if _, _, ok := table.User(text, now); ok {
		t.Error("it came back")
	}
}

func TestTokensOfOneUserEndTogether(t *testing.T) {
	table, now := NewTable(0), time.Now()
	give := func(user string) string {
		secret, hash := New()
		table.Add(hash, 1, user, now)
		return Simple(secret, 1)
	}
	a1, a2, b := give("ann"), give("ann"), give("bob")
	table.DropUser("ann")
	for text, want := range map[string]bool{a1: false, a2: false, b: true} {
		if _, _, ok := table.User(text, now); ok != want {
			t.Errorf("good: %v, want %v", ok, want)
		}
	}
	table.Clear()
	if _, _, ok := table.User(b, now); ok {
		t.Error("it is good after all were forgotten")
	}
}

func TestTableDropsWhatEndedAndWhatWasNotUsedForLongest(t *testing.T) {
	table, now := NewTable(time.Minute), time.Now()
	first, hash := New()
	table.Add(hash, 1, "ann", now)
	second, hash := New()
	table.Add(hash, 1, "bob", now)
	if _, _, ok := table.User(Simple(first, 1), now); !ok {
		t.Fatal("not known")
	}
	for i := range MaxTokens - 1 {
		table.Add(Hash{byte(i), byte(i >> 8), byte(i >> 16), 1}, 1, "cy", now)
	}
	if _, _, ok := table.User(Simple(second, 1), now); ok {
		t.Error("the one that was not used for longest is still there")
	}
	if _, _, ok := table.User(Simple(first, 1), now); !ok {
		t.Error("one that was used is gone")
	}
	_, hash = New()
	table.Add(hash, 1, "ann", now.Add(time.Hour))
	if n := table.byUse.Len(); n != 1 || len(table.byHash) != 1 {
		t.Errorf("%d tokens are kept after all but one ended", n)
	}
}

// keyFiles writes a pair of keys.
func keyFiles(t *testing.T, private any, public any) (privFile, pubFile string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte, err error) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(err, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	privFile = write("priv", "PRIVATE KEY", der, err)
	der, err = x509.MarshalPKIXPublicKey(public)
	return privFile, write("pub", "PUBLIC KEY", der, err)
}

func TestJSONWebTokensProveThemselves(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	edPub, edKey, err3 := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	rsaPriv, rsaPub := keyFiles(t, rsaKey, &rsaKey.PublicKey)
	ecPriv, ecPub := keyFiles(t, ecKey, &ecKey.PublicKey)
	edPriv, edPubFile := keyFiles(t, edKey, edPub)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret of some length"), 0o600); err != nil {
		t.Fatal(err)
	}
	now, id := time.Now(), auth.Identity{User: "ann", Revision: 7}
	var givers []*JWT
	for _, tc := range []struct{ method, priv, pub string }{
		{"RS256", rsaPriv, rsaPub}, {"PS512", rsaPriv, rsaPub}, {"ES256", ecPriv, ecPub}, {"EdDSA", edPriv, edPubFile}, {"HS256", secret, ""},
	} {
		option := fmt.Sprintf("jwt,sign-method=%s,priv-key=%s,ttl=1m", tc.method, tc.priv)
		if tc.pub != "" {
			option += ",pub-key=" + tc.pub
		}
		j, err := Parse(option)
		if err != nil {
			t.Fatalf("%s: %v", tc.method, err)
		}
		text, err := j.Give(id, now)
		if err != nil {
			t.Fatalf("%s: %v", tc.method, err)
		}
		if got, err := j.User(text, now); err != nil || got != id {
			t.Errorf("%s: %+v, %v", tc.method, got, err)
		}
		if _, err := j.User(text, now.Add(2*time.Minute)); err == nil {
			t.Errorf("%s: good after its time", tc.method)
		}
		if _, err := j.User(text[:len(text)-4]+"AAAA", now); err == nil {
			t.Errorf("%s: good with another signature", tc.method)
		}
		for _, other := range givers {
			if _, err := other.User(text, now); err == nil {
				t.Errorf("%s: good for %s", tc.method, other.method.Alg())
			}
		}
		givers = append(givers, j)
		if tc.pub == "" {
			continue
		}
		verifier, err := Parse(fmt.Sprintf("jwt,sign-method=%s,pub-key=%s", tc.method, tc.pub))
		if err != nil {
			t.Fatalf("%s: %v", tc.method, err)
		}
		if got, err := verifier.User(text, now); err != nil || got != id {
			t.Errorf("%s by the public key: %+v, %v", tc.method, got, err)
		}
		if _, err := verifier.Give(id, now); !errors.Is(err, ErrVerifyOnly) {
			t.Errorf("%s: %v", tc.method, err)
		}
	}
	// A token that is not signed at all.
	if _, err := givers[0].User("eyJhbGciOiJub25lIn0.eyJ1c2VybmFtZSI6InJvb3QiLCJyZXZpc2lvbiI6OX0.", now); err == nil {
		t.Error("a token without signature is good")
	}
	for option, want := range map[string]string{
		"":           "give simple, or jwt",
		"simple,a=b": "a: there are sign-method",
		"jwt":        "give one of RS256",
		"jwt,sign-method=none,priv-key=" + secret:                         "give one of RS256",
		"jwt,sign-method=RS256":                                           "no key: give priv-key=FILE",
		"jwt,sign-method=HS256,pub-key=" + secret:                         "HS256 has one key",
		"jwt,sign-method=RS256,priv-key=/nowhere/x":                       "priv-key: open /nowhere/x",
		"jwt,sign-method=RS256,priv-key=" + secret:                        "priv-key: ",
		"jwt,sign-method=RS256,pub-key=" + ecPub:                          "pub-key: ",
		"jwt,sign-method=ES256,priv-key=" + ecPriv + ",pub-key=" + rsaPub: "pub-key: ",
		"jwt,sign-method=HS256,priv-key=" + secret + ",ttl=0s":            "ttl=0s: give a time above 0",
		"jwt,sign-method=HS256,sign-method=HS256":                         "each name once",
		"jwt,what": "write NAME=VALUE",
		"basic":    "give simple, or jwt",
	} {
		if j, err := Parse(option); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", option, j, err, want)
		}
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, otherPub := keyFiles(t, other, &other.PublicKey)
	if _, err := Parse("jwt,sign-method=RS256,priv-key=" + rsaPriv + ",pub-key=" + otherPub); err == nil || !strings.Contains(err.Error(), "pub-key is not the public key of priv-key") {
		t.Errorf("keys that do not belong together: %v", err)
	}
}
