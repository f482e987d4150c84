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
	if !n.machine.Auth().Enabled() {
		return auth.Identity{}, nil
	}
	// Before the look at the tokens: what changes after it makes the identity outdated.
	revision := n.authRevision.Load()
	c := chainfire.CredentialsOf(ctx)
	switch {
	case c.EmptyToken:
		return auth.Identity{}, chainfire.ErrInvalidAuthToken
	case c.Token == "" && c.CommonName == "":
		return auth.Identity{}, nil
	case c.Token == "":
		return auth.Identity{User: c.CommonName, Revision: revision}, nil
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
		revision = n.authRevision.Load()
		user, _, ok = n.tokens.User(c.Token, n.sched.Now())
	}
	if !ok {
		return auth.Identity{}, chainfire.ErrInvalidAuthToken
	}
	return auth.Identity{User: user, Revision: revision}, nil
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
	id, err := n.client(ctx)
	if err != nil {
		return machine.Result{}, err
	}
	c.Caller = id
	return n.do(ctx, c)
}

// doWithRoom is doFor for a command that takes room.
func (n *Node) doWithRoom(ctx context.Context, cost int64, c *machine.Command) (machine.Result, error) {
	id, err := n.client(ctx)
	if err != nil {
		return machine.Result{}, err
	}
	if err := n.roomFor(ctx, cost); err != nil {
		return machine.Result{}, err
	}
	c.Caller = id
	res, err := n.do(ctx, c)
	if err != nil {
		n.quota.give(cost)
	}
	return res, err
}

// client is who asks for a write. Nobody is refused before anything is done for it, in the
// log above all.
func (n *Node) client(ctx context.Context) (auth.Identity, error) {
	if lagging(n.commit.Load(), n.appliedIndex.Load()) {
		return auth.Identity{}, chainfire.ErrTooManyRequests
	}
	id, err := n.whoAsks(ctx)
	if err != nil || id != (auth.Identity{}) || !n.machine.Auth().Enabled() {
		return id, err
	}
	// It may have been disabled where this member has not come to yet.
	ctx, cancel := n.withTimeout(ctx)
	defer cancel()
	if err := n.linearize(ctx); err != nil {
		return id, err
	}
	if n.machine.Auth().Enabled() {
		return id, chainfire.ErrUserEmpty
	}
	return id, nil
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

// permitLease lets a caller do something with leases who may do it with all their keys.
func (n *Node) permitLease(ctx context.Context, ids []int64, check func(s *auth.State, id auth.Identity, key []byte) error) error {
	return n.permitAll(ctx, func(s *auth.State, id auth.Identity) error {
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
		return nil
	})
}

// permitKeys is permitLease for keys that were read.
func (n *Node) permitKeys(ctx context.Context, keys [][]byte, check func(s *auth.State, id auth.Identity, key []byte) error) error {
	return n.permitAll(ctx, func(s *auth.State, id auth.Identity) error {
		for _, key := range keys {
			if err := check(s, id, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// permitAll lets the role root do everything, and others what check lets them, if that is
// so at the end as well.
func (n *Node) permitAll(ctx context.Context, check func(*auth.State, auth.Identity) error) error {
	return n.permit(ctx, func(s *auth.State, id auth.Identity) error {
		switch err := s.PermitAdmin(id); {
		case err == nil:
			return nil
		case errors.Is(err, chainfire.ErrUserEmpty):
			return err
		}
		if err := check(s, id); err != nil {
			return err
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
