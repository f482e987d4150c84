// Package token gives users what they show instead of their password: simple tokens,
// which every member remembers for a while, and JSON Web Tokens, which prove themselves
// (RFC 7519).
package token

import (
	"container/list"
	"crypto/rand"
	"crypto/sha256"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Hash is what is kept of a simple token.
type Hash [sha256.Size]byte

// New is a token that nobody can guess, of which the log may hold the hash.
func New() (secret string, hash Hash) {
	secret = rand.Text()
	return secret, sha256.Sum256([]byte(secret))
}

// Simple is the simple token of a secret whose hash stands in the log at an index: like
// etcd's, letters, a dot and the index, by which a member knows whether it should have
// heard of it.
func Simple(secret string, index uint64) string { return secret + "." + strconv.FormatUint(index, 10) }

// MaxTokens bounds a Table: beyond it the token that was not used for longest is dropped.
const MaxTokens = 100_000

// DefaultTTL is for how long a token is good after its last use.
const DefaultTTL = 5 * time.Minute

// Table is the simple tokens that one member knows. Any goroutine may call its methods.
type Table struct {
	ttl time.Duration

	mu sync.Mutex
	// byUse has *entry, least recently used first.
	byUse  *list.List
	byHash map[Hash]*list.Element
}

type entry struct {
	hash  Hash
	index uint64
	user  string
	until time.Time
}

// NewTable makes a table; 0 is DefaultTTL.
func NewTable(ttl time.Duration) *Table {
	if ttl <= 0 {
		ttl = DefaultTTL
	}
	return &Table{ttl: ttl, byUse: list.New(), byHash: map[Hash]*list.Element{}}
}

// Add remembers a token for a user, which the log gave at an index.
func (t *Table) Add(h Hash, index uint64, user string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.byUse.Len() >= MaxTokens || t.byUse.Len() > 0 && !now.Before(t.byUse.Front().Value.(*entry).until) {
		t.drop(t.byUse.Front())
	}
	if old, ok := t.byHash[h]; ok {
		t.drop(old)
	}
	t.byHash[h] = t.byUse.PushBack(&entry{hash: h, index: index, user: user, until: now.Add(t.ttl)})
}

// User is whose token a text is. A use makes it good for as long again. Where it is not
// known, index is that of the log which would have told of it, 0 for no token at all.
func (t *Table) User(text string, now time.Time) (user string, index uint64, ok bool) {
	secret, number, found := strings.Cut(text, ".")
	index, err := strconv.ParseUint(number, 10, 64)
	if !found || err != nil {
		return "", 0, false
	}
	h := Hash(sha256.Sum256([]byte(secret)))
	t.mu.Lock()
	defer t.mu.Unlock()
	e, known := t.byHash[h]
	if !known || e.Value.(*entry).index != index {
		return "", index, false
	}
	if !now.Before(e.Value.(*entry).until) {
		t.drop(e)
		return "", index, false
	}
	e.Value.(*entry).until = now.Add(t.ttl)
	t.byUse.MoveToBack(e)
	return e.Value.(*entry).user, index, true
}

// DropUser forgets the tokens of a user.
func (t *Table) DropUser(user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.byUse.Front(); e != nil; {
		next := e.Next()
		if e.Value.(*entry).user == user {
			t.drop(e)
		}
		e = next
	}
}

// Clear forgets all tokens.
func (t *Table) Clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byUse.Init()
	clear(t.byHash)
}

func (t *Table) drop(e *list.Element) {
	delete(t.byHash, e.Value.(*entry).hash)
	t.byUse.Remove(e)
}
