package machine

import (
	"bytes"
	"errors"
	"testing"
)

func createToken(uses uint64) Command {
	return Command{CreateToken: &CreateToken{SecretHash: bytes.Repeat([]byte{7}, tokenHashSize), Expires: 1234, Uses: uses}}
}

// withToken is a newcomer that asks for a place with a token.
func withToken(name string, token uint64) Command {
	c := reserve(name, "http://"+name, uint64(len(name))+1000)
	c.Reserve.Token = token
	return c
}

func TestTokenLetsInAsManyAsItSaysAndIsThenGone(t *testing.T) {
	m, fs := start(t)
	made := do(t, m, createToken(2))
	if made.Err != nil || made.TokenID != made.Index {
		t.Fatalf("%+v", made)
	}
	id := made.TokenID
	if res := do(t, m, withToken("a", id)); res.Err != nil {
		t.Fatal(res.Err)
	}
	// The same newcomer asks again, as after a restart: no use is taken.
	if res := do(t, m, withToken("a", id)); res.Err != nil {
		t.Fatal(res.Err)
	}
	closeAll(t, m)
	m = reopen(t, fs)
	if l := m.Tokens(); len(l) != 1 || l[0].Uses != 1 || l[0].Expires != 1234 || len(l[0].SecretHash) != tokenHashSize {
		t.Fatalf("tokens are %+v", l)
	}
	// A newcomer that is refused takes no use.
	refused := withToken("bb", id)
	refused.Reserve.PeerURLs = []string{"http://a"}
	if res := do(t, m, refused); res.Err == nil {
		t.Fatal("two members have one URL")
	}
	if res := do(t, m, withToken("bb", id)); res.Err != nil {
		t.Fatal(res.Err)
	}
	if l := m.Tokens(); len(l) != 0 {
		t.Fatalf("a token that is used up is still there: %+v", l)
	}
	before := m.Members()
	if res := do(t, m, withToken("ccc", id)); !errors.Is(res.Err, ErrNoToken) {
		t.Fatalf("%+v", res)
	}
	if d := diff(before, m.Members()); d != "" {
		t.Fatal(d)
	}
	closeAll(t, m)
}

func TestTokenWithoutANumberLetsInAnyUntilItIsRevoked(t *testing.T) {
	m, fs := start(t)
	id := do(t, m, createToken(0)).TokenID
	for _, name := range []string{"a", "bb", "ccc"} {
		if res := do(t, m, withToken(name, id)); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	if res := do(t, m, Command{RevokeToken: &RevokeToken{ID: id}}); res.Err != nil {
		t.Fatal(res.Err)
	}
	closeAll(t, m)
	m = reopen(t, fs)
	if res := do(t, m, withToken("dddd", id)); !errors.Is(res.Err, ErrNoToken) {
		t.Fatalf("%+v", res)
	}
	if res := do(t, m, Command{RevokeToken: &RevokeToken{ID: id}}); !errors.Is(res.Err, ErrNoToken) {
		t.Fatalf("revoked twice: %+v", res)
	}
	closeAll(t, m)
}

func TestTokensAreBounded(t *testing.T) {
	m, _ := start(t)
	defer closeAll(t, m)
	if res := do(t, m, Command{CreateToken: &CreateToken{SecretHash: []byte("short")}}); res.Err == nil {
		t.Error("a token without a whole hash is taken")
	}
	for range maxTokens {
		if res := do(t, m, createToken(1)); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	if res := do(t, m, createToken(1)); !errors.Is(res.Err, ErrTooManyTokens) {
		t.Errorf("%+v", res)
	}
}
