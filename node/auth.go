package node

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/crypto/bcrypt"

	"chainfire"
	"chainfire/auth"
	"chainfire/auth/token"
	"chainfire/machine"
)

// maxHashWaiters is how many may wait for a turn to hash a password: each takes a processor
// for some tens of milliseconds, which whoever asks must not take from everyone else.
const maxHashWaiters = 32

// hashing lets half as many callers in as there are processors.
func (n *Node) hashing(ctx context.Context, f func() error) error {
	if n.hashWaiters.Add(1) > maxHashWaiters {
		n.hashWaiters.Add(-1)
		return chainfire.ErrTooManyRequests
	}
	turn := n.sched.Wait(n.hashTurns, ctx.Done(), n.stop)
	n.hashWaiters.Add(-1)
	switch turn {
	case 1:
		return n.timeoutError(ctx, chainfire.ErrTimeout)
	case 2:
		return chainfire.ErrStopped
	}
	defer func() { n.hashTurns <- struct{}{} }()
	return f()
}

func newHashTurns() chan struct{} {
	turns := make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))
	for range cap(turns) {
		turns <- struct{}{}
	}
	return turns
}

// AuthChange implements chainfire.Auth.
func (n *Node) AuthChange(ctx context.Context, r *chainfire.AuthRequest) (chainfire.Header, error) {
	ctx, cancel := n.withTimeout(ctx)
	defer cancel()
	c := &auth.Change{Op: r.Op, User: r.User, Role: r.Role, NoPassword: r.NoPassword, Permission: r.Permission}
	if err := n.mayHaveUsers(ctx, r.Op); err != nil {
		return chainfire.Header{}, err
	}
	if err := n.mayChangeUsers(ctx); err != nil {
		return chainfire.Header{}, err
	}
	switch {
	case r.Op == chainfire.AuthUserAdd && !r.NoPassword, r.Op == chainfire.AuthUserPassword && r.Password != "":
		err := n.hashing(ctx, func() (err error) {
			c.Hash, err = bcrypt.GenerateFromPassword([]byte(r.Password), n.opts.BcryptCost)
			return err
		})
		if err != nil {
			return chainfire.Header{}, err
		}
	case r.Op == chainfire.AuthUserPassword:
		c.Hash = r.PasswordHash
	}
	res, err := n.doFor(ctx, &machine.Command{Auth: c})
	if err != nil {
		return chainfire.Header{}, err
	}
	if res.Auth != nil {
		n.log.Info("users and roles changed", "change", r.Op.String(), "user", r.User, "role", r.Role)
	}
	return n.Header(), nil
}

// mayChangeUsers refuses who may not, before anything is done; the log decides.
func (n *Node) mayChangeUsers(ctx context.Context) error {
	if !n.machine.Auth().Enabled() {
		return nil
	}
	_, err := n.authState(ctx, func(s *auth.State, id auth.Identity) error { return s.PermitAdmin(id) })
	return err
}

// mayHaveUsers waits until the cluster may have users. One that may not has authentication
// disabled, and disabling it is nothing to wait for.
func (n *Node) mayHaveUsers(ctx context.Context, op chainfire.AuthOp) error {
	if op == chainfire.AuthDisable && n.machine.Level() < machine.AuthLevel {
		return chainfire.ErrFeatureLevel
	}
	return n.untilLevel(ctx, machine.AuthLevel)
}

// authState is who may do what, after all that was acknowledged before the call. A bad
// token is refused, whatever is asked.
func (n *Node) authState(ctx context.Context, check func(*auth.State, auth.Identity) error) (*auth.State, error) {
	ctx, cancel := n.withTimeout(ctx)
	defer cancel()
	if err := n.linearizeOr(ctx, context.DeadlineExceeded); err != nil {
		return nil, err
	}
	id, err := n.whoAsks(ctx)
	if err != nil {
		return nil, err
	}
	s := n.machine.Auth()
	return s, check(s, id)
}

// AuthStatus implements chainfire.Auth.
func (n *Node) AuthStatus(ctx context.Context) (*chainfire.AuthStatus, error) {
	s, err := n.authState(ctx, func(*auth.State, auth.Identity) error { return nil })
	if err != nil {
		return nil, err
	}
	return &chainfire.AuthStatus{Header: n.Header(), Enabled: s.Enabled(), Revision: s.Revision()}, nil
}

// AuthUser implements chainfire.Auth.
func (n *Node) AuthUser(ctx context.Context, name string) (*chainfire.AuthUser, error) {
	s, err := n.authState(ctx, func(s *auth.State, id auth.Identity) error {
		if err := s.PermitAdmin(id); err != nil && id.User != name {
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	u, ok := s.User(name)
	if !ok {
		return nil, chainfire.ErrUserNotFound
	}
	return &chainfire.AuthUser{Header: n.Header(), Roles: u.Roles}, nil
}

// AuthRole implements chainfire.Auth.
func (n *Node) AuthRole(ctx context.Context, name string) (*chainfire.AuthRole, error) {
	s, err := n.authState(ctx, func(s *auth.State, id auth.Identity) error {
		err := s.PermitAdmin(id)
		if u, ok := s.User(id.User); err != nil && ok && u.HasRole(name) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	r, ok := s.Role(name)
	if !ok {
		return nil, chainfire.ErrRoleNotFound
	}
	out := &chainfire.AuthRole{Header: n.Header(), Permissions: r.Permissions}
	if name == chainfire.AuthRoot {
		out.Permissions = []chainfire.Permission{{Type: chainfire.PermitReadWrite, Key: []byte{}, RangeEnd: []byte{0}}}
	}
	return out, nil
}

// AuthNames implements chainfire.Auth.
func (n *Node) AuthNames(ctx context.Context, roles bool) (*chainfire.AuthNames, error) {
	s, err := n.authState(ctx, func(s *auth.State, id auth.Identity) error { return s.PermitAdmin(id) })
	if err != nil {
		return nil, err
	}
	out := &chainfire.AuthNames{Header: n.Header(), Names: s.Users()}
	if roles {
		out.Names = s.Roles()
	}
	return out, nil
}

// Authenticate implements chainfire.Auth.
func (n *Node) Authenticate(ctx context.Context, user, password string) (*chainfire.AuthToken, error) {
	ctx, cancel := n.withTimeout(ctx)
	defer cancel()
	if err := n.linearize(ctx); err != nil {
		return nil, err
	}
	for {
		s := n.machine.Auth()
		if err := n.checkPassword(ctx, s, user, password); err != nil {
			if errors.Is(err, chainfire.ErrAuthFailed) || errors.Is(err, chainfire.ErrNoPasswordUser) {
				n.log.Warn("a password was refused", "user", user[:min(len(user), auth.MaxNameLen)], "err", err)
			}
			return nil, err
		}
		text, err := n.giveToken(ctx, auth.Identity{User: user, Revision: s.Revision()})
		if err != nil {
			return nil, err
		}
		// The password that was checked may be none any more.
		if s.Revision() == n.machine.Auth().Revision() {
			return &chainfire.AuthToken{Header: n.Header(), Token: text}, nil
		}
	}
}

// checkPassword takes as long for a user that is not there.
func (n *Node) checkPassword(ctx context.Context, s *auth.State, user, password string) error {
	if !s.Enabled() {
		return chainfire.ErrAuthNotEnabled
	}
	if len(user) > auth.MaxNameLen {
		return chainfire.ErrAuthFailed
	}
	u, ok := s.User(user)
	if ok && u.NoPassword {
		return chainfire.ErrNoPasswordUser
	}
	return n.hashing(ctx, func() error {
		if !ok {
			_, err := bcrypt.GenerateFromPassword([]byte{}, n.opts.BcryptCost)
			return errors.Join(chainfire.ErrAuthFailed, err)
		}
		if bcrypt.CompareHashAndPassword(u.Hash, []byte(password)) != nil {
			return chainfire.ErrAuthFailed
		}
		return nil
	})
}

// giveToken makes a token for a user: one that proves itself, or one that all members are
// told of.
func (n *Node) giveToken(ctx context.Context, id auth.Identity) (string, error) {
	if n.opts.AuthJWT != nil {
		text, err := n.opts.AuthJWT.Give(id, n.sched.Now())
		if err != nil {
			return "", fmt.Errorf("make a token: %w", err)
		}
		return text, nil
	}
	secret, hash := token.New()
	res, err := n.do(ctx, &machine.Command{Authenticate: &machine.Authenticate{User: id.User, TokenHash: hash[:]}})
	if err != nil {
		return "", err
	}
	return token.Simple(secret, res.Index), nil
}

// rememberTokens keeps the tokens of a round of results, and forgets those of users that
// are gone or have another password. What this member had in its log when it started has
// been good for its time, and is not good again. Applier only.
func (n *Node) rememberTokens(results []machine.Result) {
	for i := range results {
		r := &results[i]
		switch {
		case r.Authenticated != nil && r.Index < n.tokensFrom.Load():
		case r.Authenticated != nil:
			n.tokens.Add(token.Hash(r.Authenticated.TokenHash), r.Index, r.Authenticated.User, n.sched.Now())
		case r.Auth == nil:
		case r.Auth.Op == chainfire.AuthDisable:
			n.tokens.Clear()
		case r.Auth.Op == chainfire.AuthUserDelete, r.Auth.Op == chainfire.AuthUserPassword:
			n.tokens.DropUser(r.Auth.User)
		}
	}
	n.authRevision.Store(n.machine.Auth().Revision())
}
