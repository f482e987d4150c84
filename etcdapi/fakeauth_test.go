package etcdapi

import (
	"context"
	"testing"

	"chainfire"
	"chainfire/auth"
)

// The fake's tokens are the names of users, and its passwords too.

func (f *fakeMember) AuthChange(ctx context.Context, r *chainfire.AuthRequest) (chainfire.Header, error) {
	if err := f.enter(ctx, "AuthChange"); err != nil {
		return chainfire.Header{}, err
	}
	if err := f.PermitAdmin(ctx); err != nil {
		return chainfire.Header{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	next, _, err := f.auth.Change(&auth.Change{Op: r.Op, User: r.User, Role: r.Role, Hash: r.PasswordHash, NoPassword: r.NoPassword, Permission: r.Permission})
	if err != nil {
		return chainfire.Header{}, err
	}
	f.auth = next
	return f.header(f.rev), nil
}

func (f *fakeMember) AuthStatus(ctx context.Context) (*chainfire.AuthStatus, error) {
	if err := f.enter(ctx, "AuthStatus"); err != nil {
		return nil, err
	}
	s, _ := f.who(ctx)
	return &chainfire.AuthStatus{Header: f.Header(), Enabled: s.Enabled(), Revision: s.Revision()}, nil
}

func (f *fakeMember) Authenticate(ctx context.Context, user, password string) (*chainfire.AuthToken, error) {
	if err := f.enter(ctx, "Authenticate"); err != nil {
		return nil, err
	}
	s, _ := f.who(ctx)
	if _, ok := s.User(user); !ok || user != password {
		return nil, chainfire.ErrAuthFailed
	}
	return &chainfire.AuthToken{Header: f.Header(), Token: user}, nil
}

func (f *fakeMember) AuthUser(ctx context.Context, name string) (*chainfire.AuthUser, error) {
	if err := f.enter(ctx, "AuthUser"); err != nil {
		return nil, err
	}
	s, _ := f.who(ctx)
	u, ok := s.User(name)
	if !ok {
		return nil, chainfire.ErrUserNotFound
	}
	return &chainfire.AuthUser{Header: f.Header(), Roles: u.Roles}, nil
}

func (f *fakeMember) AuthRole(ctx context.Context, name string) (*chainfire.AuthRole, error) {
	if err := f.enter(ctx, "AuthRole"); err != nil {
		return nil, err
	}
	s, _ := f.who(ctx)
	r, ok := s.Role(name)
	if !ok {
		return nil, chainfire.ErrRoleNotFound
	}
	return &chainfire.AuthRole{Header: f.Header(), Permissions: r.Permissions}, nil
}

func (f *fakeMember) AuthNames(ctx context.Context, roles bool) (*chainfire.AuthNames, error) {
	if err := f.enter(ctx, "AuthNames"); err != nil {
		return nil, err
	}
	s, _ := f.who(ctx)
	out := &chainfire.AuthNames{Header: f.Header(), Names: s.Users()}
	if roles {
		out.Names = s.Roles()
	}
	return out, nil
}

// who is the state of users, and who asks.
func (f *fakeMember) who(ctx context.Context) (*auth.State, auth.Identity) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := chainfire.CredentialsOf(ctx)
	name := c.Token
	if name == "" {
		name = c.CommonName
	}
	if name == "" {
		return f.auth, auth.Identity{}
	}
	return f.auth, auth.Identity{User: name, Revision: f.auth.Revision()}
}

func (f *fakeMember) PermitRead(ctx context.Context, key, rangeEnd []byte) error {
	s, id := f.who(ctx)
	return s.PermitRead(id, key, rangeEnd)
}

func (f *fakeMember) PermitUser(ctx context.Context) error {
	s, id := f.who(ctx)
	if s.Enabled() && id == (auth.Identity{}) {
		return chainfire.ErrUserEmpty
	}
	return nil
}

func (f *fakeMember) PermitAdmin(ctx context.Context) error {
	s, id := f.who(ctx)
	return s.PermitAdmin(id)
}

// enableAuth makes the users root and ann, who may write the keys from a to b, and turns
// authentication on.
func (f *fakeMember) enableAuth(t *testing.T) {
	t.Helper()
	keys := &chainfire.Permission{Type: chainfire.PermitReadWrite, Key: []byte("a"), RangeEnd: []byte("b")}
	for _, r := range []chainfire.AuthRequest{
		{Op: chainfire.AuthUserAdd, User: "root"},
		{Op: chainfire.AuthUserGrant, User: "root", Role: "root"},
		{Op: chainfire.AuthUserAdd, User: "ann"},
		{Op: chainfire.AuthRoleAdd, Role: "a"},
		{Op: chainfire.AuthRoleGrant, Role: "a", Permission: keys},
		{Op: chainfire.AuthUserGrant, User: "ann", Role: "a"},
		{Op: chainfire.AuthEnable},
	} {
		if _, err := f.AuthChange(t.Context(), &r); err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
	}
}
