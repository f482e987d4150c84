package machine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"chainfire/internal/record"
	"chainfire/mvcc"
)

// TokenRecord is what the cluster keeps of a join token: enough to know it again.
type TokenRecord struct {
	// ID names the token to people: the index of the entry that made it.
	ID uint64
	// SecretHash is pki.Token.SecretHash.
	SecretHash []byte
	// Expires is when it ends, in seconds of Unix time by the leader's clock; 0 is
	// never.
	Expires int64
	// Uses is how many newcomers it still lets in; 0 is any number.
	Uses uint64
}

// CreateToken makes a join token known to the cluster.
type CreateToken struct {
	SecretHash []byte
	Expires    int64
	Uses       uint64
}

// RevokeToken makes the cluster forget a token. It is refused with ErrNoToken.
type RevokeToken struct {
	ID uint64
}

// Errors of tokens.
var (
	// ErrNoToken says that no such token is known: it was revoked, has been used
	// up, or never was.
	ErrNoToken = errors.New("no such join token")
	// ErrTooManyTokens refuses one token more.
	ErrTooManyTokens = errors.New("too many join tokens")
)

// Bounds of tokens.
const (
	tokenHashSize = 32
	maxTokens     = 1000
)

// tokenVersion is the first byte of a token's row.
const tokenVersion = 1

const rowToken = "token/"

func messageToken() record.Message {
	return record.New("token", record.Number, record.Text, record.Number, record.Number)
}

func (t *TokenRecord) encode() []byte {
	b := record.AppendUint([]byte{tokenVersion}, 1, t.ID)
	b = record.AppendBytes(b, 2, t.SecretHash)
	b = record.AppendUint(b, 3, uint64(t.Expires))
	return record.AppendUint(b, 4, t.Uses)
}

func (c *cluster) loadToken(row mvcc.MetaRow) error {
	if len(row.Value) == 0 || row.Value[0] != tokenVersion {
		return fmt.Errorf("%w: token row", ErrNewer)
	}
	var t TokenRecord
	m := messageToken()
	err := m.Read(row.Value[1:], func(x record.Field) error {
		switch x.Num {
		case 1:
			t.ID = x.N
		case 2:
			t.SecretHash = slices.Clone(x.Bytes)
		case 3:
			t.Expires = int64(x.N)
		case 4:
			t.Uses = x.N
		}
		return nil
	})
	if err != nil {
		return err
	}
	if row.Name != memberRow(rowToken, t.ID) {
		return fmt.Errorf("%w: row of token %d", ErrMalformed, t.ID)
	}
	c.tokens = append(c.tokens, t)
	return nil
}

// token is the place of a token.
func (c *cluster) token(id uint64) int {
	return slices.IndexFunc(c.tokens, func(t TokenRecord) bool { return t.ID == id })
}

func (r *round) createToken(index uint64, q *CreateToken) (id uint64, err error) {
	switch {
	case len(q.SecretHash) != tokenHashSize:
		return 0, refuse(ErrMalformed)
	case len(r.cluster.tokens) >= maxTokens:
		return 0, refuse(ErrTooManyTokens)
	}
	return index, r.storeToken(TokenRecord{
		ID: index, SecretHash: slices.Clone(q.SecretHash), Expires: q.Expires, Uses: q.Uses,
	})
}

func (r *round) storeToken(t TokenRecord) error {
	c := r.editing()
	if i := c.token(t.ID); i >= 0 {
		c.tokens[i] = t
	} else {
		c.tokens = append(c.tokens, t)
	}
	return r.w.SetMeta(memberRow(rowToken, t.ID), t.encode())
}

func (r *round) revokeToken(id uint64) error {
	i := r.cluster.token(id)
	if i < 0 {
		return refuse(ErrNoToken)
	}
	c := r.editing()
	c.tokens = slices.Delete(c.tokens, i, i+1)
	return r.w.DeleteMeta(memberRow(rowToken, id))
}

// useToken takes one use of a token, the last of which ends it.
func (r *round) useToken(id uint64) error {
	i := r.cluster.token(id)
	if i < 0 {
		return refuse(ErrNoToken)
	}
	t := r.cluster.tokens[i]
	switch t.Uses {
	case 0:
		return nil
	case 1:
		return r.revokeToken(id)
	}
	t.Uses--
	return r.storeToken(t)
}

// Tokens lists the join tokens in the order in which they were made, a copy.
func (m *Machine) Tokens() []TokenRecord {
	tokens := slices.Clone(m.cluster.Load().tokens)
	slices.SortFunc(tokens, func(a, b TokenRecord) int { return cmp.Compare(a.ID, b.ID) })
	return tokens
}
