package s3api

import (
	"sync"

	"golang.org/x/time/rate"

	"chainfire/object"
)

// maxRates bounds the access keys whose rates are kept.
const maxRates = object.MaxKeys

// rates are how much each access key has used of what it may.
type rates struct {
	mu   sync.Mutex
	keys map[string]*keyRate
}

// keyRate is the rate of one key: of requests, and of bytes. Each is nil without a bound.
type keyRate struct {
	perRequest, perByte int64
	requests, bytes     *rate.Limiter
}

func newRates() *rates { return &rates{keys: map[string]*keyRate{}} }

// of is the rate of a key, by its bounds of now.
func (r *rates) of(key *object.AccessKey) *keyRate {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.keys[key.ID]
	if k != nil && k.perRequest == key.Requests && k.perByte == key.Bytes {
		return k
	}
	if k == nil && len(r.keys) >= maxRates {
		clear(r.keys) // most are of keys that are gone
	}
	k = &keyRate{perRequest: key.Requests, perByte: key.Bytes, requests: limiter(key.Requests, 1), bytes: limiter(key.Bytes, copyBuffer)}
	r.keys[key.ID] = k
	return k
}

// limiter lets so many pass per second, and of those of one second all at once.
func limiter(perSecond, least int64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), int(min(max(perSecond, least), 1<<40)))
}

// limit holds the access key to its bounds: a request over them is told to slow down, and
// bytes are let through as fast as they may move.
func (rq *request) limit() error {
	key := rq.who.key
	if key == nil || key.Requests <= 0 && key.Bytes <= 0 {
		return nil
	}
	k := rq.s.rates.of(key)
	if k.requests != nil && !k.requests.Allow() {
		return slowDown(SlowRate, "the access key %s has used up what it may for now.", key.ID)
	}
	if k.bytes == nil {
		return nil
	}
	if k.bytes.Tokens() < -float64(k.bytes.Burst()) { // others wait for a second already
		return slowDown(SlowRate, "the access key %s has used up what it may for now.", key.ID)
	}
	rq.rate = k.bytes
	rq.body.pace = rq.pace
	return nil
}

// pace waits until n more bytes may have moved.
func (rq *request) pace(n int) error {
	if rq.rate == nil {
		return nil
	}
	for n > 0 {
		m := min(n, rq.rate.Burst())
		if err := rq.rate.WaitN(rq.ctx(), m); err != nil {
			return err
		}
		n -= m
	}
	return nil
}
