package sigv4

import (
	"crypto/sha256"
	"sync"
)

// maxKeys bounds the derived keys that are kept.
const maxKeys = 1024

// keyCache keeps signing keys that were derived. When it is full it begins anew: it is full
// of yesterday's.
type keyCache struct {
	mu   sync.Mutex
	keys map[cacheKey]Key
}

// cacheKey holds a hash of the secret, so that a secret that was changed is not found.
type cacheKey struct {
	secret [sha256.Size]byte
	scope  Scope
}

func (c *keyCache) derive(secret string, s Scope) Key {
	at := cacheKey{secret: sha256.Sum256([]byte(secret)), scope: s}
	c.mu.Lock()
	key, ok := c.keys[at]
	c.mu.Unlock()
	if ok {
		return key
	}
	key = SigningKey(secret, s)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil || len(c.keys) >= maxKeys {
		c.keys = make(map[cacheKey]Key)
	}
	c.keys[at] = key
	return key
}
