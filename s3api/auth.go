package s3api

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"chainfire/object"
	"chainfire/s3api/bucketpolicy"
	"chainfire/sigv4"
)

// identity is who asks, resolved once from the signature; nothing else may say who it is.
type identity struct {
	// key is the access key that signed, nil for an anonymous request.
	key *object.AccessKey
}

// id is the access key's id, empty for an anonymous request.
func (i *identity) id() string {
	if i.key == nil {
		return ""
	}
	return i.key.ID
}

// granted reports whether the access key may have access to a bucket.
func (i *identity) granted(a access, bucket string) bool {
	if a == accessOpen {
		return true
	}
	if i.key == nil {
		return false
	}
	if i.key.Admin || a == accessListed {
		return true
	}
	if a == accessAdmin {
		return false
	}
	var read, write bool
	for _, g := range i.key.Grants {
		if wildcard(g.Bucket, bucket) {
			read, write = read || g.Read, write || g.Write
		}
	}
	switch a {
	case accessRead:
		return read
	case accessWrite:
		return write
	default:
		return read && write
	}
}

// wildcard reports whether a text matches a pattern in which * stands for any bytes. It takes
// time in the product of their lengths at most.
func wildcard(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// lookup finds the access key of one request in one view, and keeps the row that the secret
// came from: who asks is that row, and no other.
type lookup struct {
	s     *Server
	view  *object.View
	found *object.AccessKey
}

type lookupKey struct{}

// contextKeys finds secrets by the lookup of the request's context, so that one verifier, and
// its cache, is for all.
type contextKeys struct{}

func (contextKeys) Secret(ctx context.Context, id, token string) (string, error) {
	l, ok := ctx.Value(lookupKey{}).(*lookup)
	if !ok {
		return "", errors.New("a signature is verified without a view of the access keys")
	}
	return l.secret(id, token)
}

func (l *lookup) secret(id, token string) (string, error) {
	if token != "" {
		return "", &sigv4.Error{Code: sigv4.InvalidToken, Message: "The provided token is malformed or otherwise not valid: there are no temporary credentials here."}
	}
	key, err := l.view.AccessKey(id)
	switch {
	case errors.Is(err, object.ErrNoSuchAccessKey):
		return "", sigv4.ErrUnknownKey
	case err != nil:
		return "", err
	}
	l.found = key
	if key.Disabled {
		return "", sigv4.ErrUnknownKey
	}
	secret, err := l.s.service.Unseal(key.ID, key.Sealed)
	if err != nil {
		return "", fmt.Errorf("unsealing the secret of access key %q: %w", key.ID, err)
	}
	return secret, nil
}

// authenticated runs verify, which is to read keys with the context given, first against what
// this member has applied. If the key is not there, or its secret is another one, it looks
// again in a state that has all that was acknowledged: the key may be new.
func (s *Server) authenticated(ctx context.Context, verify func(context.Context) (*sigv4.Verified, error)) (*sigv4.Verified, identity, error) {
	view, err := s.service.Local(ctx)
	if err != nil {
		return nil, identity{}, err
	}
	first := &lookup{s: s, view: view}
	v, err := verify(context.WithValue(ctx, lookupKey{}, first))
	s.closeView(view)
	if err == nil {
		return v, first.identity(v), nil
	}
	var refused *sigv4.Error
	again := errors.As(err, &refused) && (refused.Code == sigv4.InvalidAccessKeyID || refused.Code == sigv4.SignatureDoesNotMatch)
	if !again || !s.lookups.Allow() {
		return nil, identity{}, err
	}
	if view, err = s.service.View(ctx); err != nil {
		return nil, identity{}, err
	}
	defer s.closeView(view)
	switch same, err := first.same(view); {
	case err != nil:
		return nil, identity{}, err
	case same:
		return nil, identity{}, refused
	}
	second := &lookup{s: s, view: view}
	if v, err = verify(context.WithValue(ctx, lookupKey{}, second)); err != nil {
		return nil, identity{}, err
	}
	return v, second.identity(v), nil
}

// same reports whether a view has the same row for the key that was found.
func (l *lookup) same(view *object.View) (bool, error) {
	if l.found == nil {
		return false, nil
	}
	now, err := view.AccessKey(l.found.ID)
	if errors.Is(err, object.ErrNoSuchAccessKey) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return bytes.Equal(now.Sealed, l.found.Sealed) && now.Disabled == l.found.Disabled, nil
}

// identity is who signed.
func (l *lookup) identity(v *sigv4.Verified) identity {
	if v.Mechanism == sigv4.Anonymous {
		return identity{}
	}
	return identity{key: l.found}
}

// authenticate resolves who asks.
func (rq *request) authenticate() error {
	v, who, err := rq.s.authenticated(rq.ctx(), func(ctx context.Context) (*sigv4.Verified, error) {
		return rq.s.verifier.Verify(rq.r.WithContext(ctx))
	})
	if err != nil {
		return err
	}
	if v.Mechanism != sigv4.Anonymous && (who.key == nil || who.key.ID != v.AccessKeyID) {
		return errors.New("a signature was verified with another key than that of who signed")
	}
	if v.Mechanism != sigv4.Anonymous && rq.s.bucketIn(v.Host) != rq.s.bucketOfHost(rq.r) {
		return &sigv4.Error{Code: sigv4.SignatureDoesNotMatch, Message: "The host that was signed and the one in X-Forwarded-Host do not name the same bucket."}
	}
	rq.verified, rq.query, rq.who = v, v.Query, who
	return nil
}

// authorise holds that who asks may do the request's operation. What a bucket is, with its policy,
// is not for who has not signed, whatever the policy says: S3 too has it so of the policy.
func (rq *request) authorise() error {
	if rq.anonymous() && rq.op.access == accessControl && rq.op.level == bucketLevel {
		return refuse(codeAccessDenied)
	}
	return rq.allowed(rq.op.action, rq.op.access, rq.bucket, rq.key)
}

// allowed holds that who asks may do something to a bucket or, with a key, to an object of it.
// What a policy denies is denied, also where the access key is granted it, but for
// administrators; what a policy allows is allowed. Handlers call it for whatever they touch
// beside what the request's URL names.
func (rq *request) allowed(action string, a access, bucket, key string) error {
	answers, err := rq.allowedEach([]string{action}, a, bucket, []string{key})
	if err != nil {
		return err
	}
	return answers[0]
}

// allowedEach is allowed for several keys, with an action each, or one for all.
func (rq *request) allowedEach(actions []string, a access, bucket string, keys []string) ([]error, error) {
	answers := make([]error, len(keys))
	granted := rq.who.granted(a, bucket)
	switch {
	case granted && (a == accessOpen || rq.who.key.Admin || bucket == ""):
		return answers, nil
	case a == accessListed, a == accessAdmin, bucket == "": // policies are about other things
		for i := range answers {
			if !granted {
				answers[i] = refuse(codeAccessDenied)
			}
		}
		return answers, nil
	}
	view, err := rq.s.service.Local(rq.ctx())
	if err != nil {
		return nil, err
	}
	all, err := rq.judge(view, actions, granted, bucket, keys, answers)
	rq.s.closeView(view)
	// The policy may be new. Strangers make us ask as often as they make us look for keys.
	if err != nil || all || rq.who.key == nil && !rq.s.lookups.Allow() {
		return answers, err
	}
	view, done, err := rq.view()
	if err != nil {
		return nil, err
	}
	defer done()
	_, err = rq.judge(view, actions, granted, bucket, keys, answers)
	return answers, err
}

// judge decides by the policy in a view, and reports whether all is allowed.
func (rq *request) judge(view *object.View, actions []string, granted bool, bucket string, keys []string, answers []error) (bool, error) {
	all := true
	for i, key := range keys {
		said, err := rq.decide(view, actions[min(i, len(actions)-1)], bucket, key)
		if err != nil {
			return false, err
		}
		answers[i] = nil
		if said == bucketpolicy.Deny || !granted && said != bucketpolicy.Allow {
			answers[i], all = refuse(codeAccessDenied), false
		}
	}
	return all, nil
}

// anonymous reports whether a request is not signed.
func (rq *request) anonymous() bool { return rq.who.key == nil }

// maxObject bounds the size of what who asks may write; 0 is no bound.
func (i *identity) maxObject() int64 {
	if i.key == nil {
		return 0
	}
	return i.key.MaxObject
}
