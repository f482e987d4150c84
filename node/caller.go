package node

import (
	"context"
	"errors"

	"chainfire"
	"chainfire/auth"
	"chainfire/auth/token"
	"chainfire/machine"
)

// newTokens are the simple tokens that this member knows.
func newTokens(o *Options) *token.Table { return token.NewTable(o.AuthTokenTTL) }

// whoAsks finds out who makes a call: nobody while authentication is not enabled, and
// where the call says nothing of who makes it.
func (n *Node) whoAsks(ctx context.Context) (auth.Identity, error) {
	s := n.machine.Auth()
	if !s.Enabled() {
		return auth.Identity{}, nil
	}
	c := chainfire.CredentialsOf(ctx)
	switch {
	case c.Token == "" && c.CommonName == "":
		return auth.Identity{}, nil
	case c.Token == "":
		return auth.Identity{User: c.CommonName, Revision: s.Revision()}, nil
	case n.opts.AuthJWT != nil:
		id, err := n.opts.AuthJWT.User(c.Token, n.sched.Now())
		if err != nil {
			n.log.Debug("token refused", "err", err)
			return auth.Identity{}, chainfire.ErrInvalidAuthToken
		}
		return id, nil
	}
	user, index, ok := n.tokens.User(c.Token, n.sched.Now())
	if !ok && index > n.appliedIndex.Load() {
		// Another member may have given it a moment ago.
		ctx, cancel := n.withTimeout(ctx)
		defer cancel()
		if err := n.linearize(ctx); err != nil {
			return auth.Identity{}, err
		}
		user, _, ok = n.tokens.User(c.Token, n.sched.Now())
	}
	if !ok {
		return auth.Identity{}, chainfire.ErrInvalidAuthToken
	}
	return auth.Identity{User: user, Revision: n.machine.Auth().Revision()}, nil
}

// permitted reads for a caller whom check lets. What was permitted must still be when the
// read is done.
func (n *Node) permitted(ctx context.Context, check func(*auth.State, auth.Identity) error, read func() error) error {
	if !n.machine.Auth().Enabled() {
		return read()
	}
	id, err := n.whoAsks(ctx)
	if err != nil {
		return err
	}
	if err := check(n.machine.Auth(), id); err != nil {
		return err
	}
	if err := read(); err != nil {
		return err
	}
	if id.Revision != 0 && id.Revision != n.machine.Auth().Revision() {
		return chainfire.ErrAuthOldRevision
	}
	return nil
}

// doFor runs a client's command through the log, which checks what the client may do when
// it is applied.
func (n *Node) doFor(ctx context.Context, c *machine.Command) (machine.Result, error) {
	if lagging(n.commit.Load(), n.appliedIndex.Load()) {
		return machine.Result{}, chainfire.ErrTooManyRequests
	}
	id, err := n.whoAsks(ctx)
	if err != nil {
		return machine.Result{}, err
	}
	c.Caller = id
	return n.do(ctx, c)
}

// maxApplyLag is how many committed entries may wait to be applied here, as in etcd. A
// write would wait behind all of them, so that its client had better ask another member.
const maxApplyLag = 5000

// lagging reports whether clients' writes are refused for that. The applied index is that
// of a moment later, so that it may be ahead.
func lagging(commit, applied uint64) bool { return commit > applied && commit-applied > maxApplyLag }

// PermitRead implements chainfire.Auth.
func (n *Node) PermitRead(ctx context.Context, key, rangeEnd []byte) error {
	return n.permit(ctx, func(s *auth.State, id auth.Identity) error { return s.PermitRead(id, key, rangeEnd) })
}

// PermitUser implements chainfire.Auth.
func (n *Node) PermitUser(ctx context.Context) error {
	return n.permit(ctx, func(_ *auth.State, id auth.Identity) error {
		if id == (auth.Identity{}) {
			return chainfire.ErrUserEmpty
		}
		return nil
	})
}

// PermitAdmin implements chainfire.Auth.
func (n *Node) PermitAdmin(ctx context.Context) error {
	return n.permit(ctx, func(s *auth.State, id auth.Identity) error { return s.PermitAdmin(id) })
}

func (n *Node) permit(ctx context.Context, check func(*auth.State, auth.Identity) error) error {
	if !n.machine.Auth().Enabled() {
		return nil
	}
	id, err := n.whoAsks(ctx)
	if err != nil {
		return err
	}
	s := n.machine.Auth()
	if !s.Enabled() {
		return nil
	}
	return check(s, id)
}

// permitLease lets a caller do something with a lease who may do it with all its keys.
func (n *Node) permitLease(ctx context.Context, ids []int64, check func(s *auth.State, id auth.Identity, key []byte) error) error {
	return n.permit(ctx, func(s *auth.State, id auth.Identity) error {
		switch err := s.PermitAdmin(id); {
		case err == nil:
			return nil
		case errors.Is(err, chainfire.ErrUserEmpty):
			return err
		}
		for _, lease := range ids {
			keys, err := n.machine.LeaseKeys(lease)
			if err != nil {
				return err
			}
			for _, key := range keys {
				if err := check(s, id, key); err != nil {
					return err
				}
			}
		}
		if n.machine.Auth().Revision() != s.Revision() {
			return chainfire.ErrAuthOldRevision
		}
		return nil
	})
}

// mayRead and mayWrite are checks of one key.
func mayRead(s *auth.State, id auth.Identity, key []byte) error { return s.PermitRead(id, key, nil) }

func mayWrite(s *auth.State, id auth.Identity, key []byte) error { return s.PermitWrite(id, key, nil) }
