// Package auth decides who may do what: users, roles, and the intervals of keys that a
// role permits to read or write. It is a pure function of the changes in the log, so that
// every member decides the same. The rules are those of etcd 3.7.
package auth

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"chainfire"
)

// Bounds of what there may be. A password's hash is one of bcrypt, of 60 bytes.
const (
	MaxUsers       = 10_000
	MaxRoles       = 10_000
	MaxUserRoles   = 1_000
	MaxPermissions = 10_000 // of one role
	MaxNameLen     = 1024   // bytes
	MaxHashLen     = 128    // bytes
)

// User is one user. Neither it nor a role is modified once it is in a State.
type User struct {
	Name string
	// Hash is bcrypt's of the password; empty lets no password in.
	Hash []byte
	// NoPassword says that the user is known by its certificate alone.
	NoPassword bool
	// Roles are in order, each once.
	Roles []string
}

// Role is one role.
type Role struct {
	Name string
	// Permissions are ordered by key and end, each interval once.
	Permissions []chainfire.Permission
}

// State is who may do what. It is never modified: a change makes another one. All methods
// may be called from any goroutine.
type State struct {
	enabled  bool
	revision uint64
	users    map[string]*User
	roles    map[string]*Role
	// merged remembers, by user, what all its roles permit.
	merged sync.Map
}

// firstRevision is that of a cluster that has never heard of users.
const firstRevision = 1

// New is the state of a cluster without users.
func New() *State {
	return &State{revision: firstRevision, users: map[string]*User{}, roles: map[string]*Role{}}
}

// Load is a state as it was stored.
func Load(enabled bool, revision uint64, users []User, roles []Role) *State {
	s := New()
	s.enabled, s.revision = enabled, max(revision, firstRevision)
	for i := range users {
		s.users[users[i].Name] = &users[i]
	}
	for i := range roles {
		s.roles[roles[i].Name] = &roles[i]
	}
	return s
}

// Import is Load of what another system stored, in any order: intervals that are granted
// twice are granted once, with all that either permits. It returns
// chainfire.ErrTooManyAuth, or what a change would be refused with that makes it.
func Import(enabled bool, revision uint64, users []User, roles []Role) (*State, error) {
	if len(users) > MaxUsers || len(roles) > MaxRoles {
		return nil, chainfire.ErrTooManyAuth
	}
	for i := range users {
		u := &users[i]
		c := Change{Op: chainfire.AuthUserAdd, User: u.Name, Hash: u.Hash}
		if err := errors.Join(c.Bounded(), c.check()); err != nil {
			return nil, fmt.Errorf("user %q: %w", u.Name, err)
		}
		if len(u.Roles) > MaxUserRoles {
			return nil, fmt.Errorf("user %q: %w", u.Name, chainfire.ErrTooManyAuth)
		}
	}
	for i := range roles {
		r := &roles[i]
		c := Change{Op: chainfire.AuthRoleAdd, Role: r.Name}
		if err := errors.Join(c.Bounded(), c.check()); err != nil {
			return nil, fmt.Errorf("role %q: %w", r.Name, err)
		}
		if len(r.Permissions) > MaxPermissions {
			return nil, fmt.Errorf("role %q: %w", r.Name, chainfire.ErrTooManyAuth)
		}
		var err error
		if r.Permissions, err = tidy(r.Permissions); err != nil {
			return nil, fmt.Errorf("role %q: %w", r.Name, err)
		}
	}
	return Load(enabled, revision, users, roles), nil
}

// tidy is a list of permissions in order, each interval once.
func tidy(l []chainfire.Permission) ([]chainfire.Permission, error) {
	slices.SortStableFunc(l, comparePermissions)
	out := l[:0]
	for _, p := range l {
		if err := (&Change{Op: chainfire.AuthRoleGrant, Permission: &p}).check(); err != nil {
			return nil, err
		}
		if n := len(out); n > 0 && comparePermissions(out[n-1], p) == 0 {
			if out[n-1].Type != p.Type {
				out[n-1].Type = chainfire.PermitReadWrite
			}
			continue
		}
		out = append(out, p)
	}
	return out, nil
}

// Enabled reports whether calls need a user.
func (s *State) Enabled() bool { return s.enabled }

// Revision counts the changes. What was permitted at an older one may not be now.
func (s *State) Revision() uint64 { return s.revision }

// User finds a user.
func (s *State) User(name string) (*User, bool) {
	u, ok := s.users[name]
	return u, ok
}

// Role finds a role.
func (s *State) Role(name string) (*Role, bool) {
	r, ok := s.roles[name]
	return r, ok
}

// Users lists the users' names in order, Roles the roles'.
func (s *State) Users() []string { return slices.Sorted(maps.Keys(s.users)) }

// Roles lists the roles' names in order.
func (s *State) Roles() []string { return slices.Sorted(maps.Keys(s.roles)) }

// HasRole reports whether a user has a role.
func (u *User) HasRole(role string) bool {
	_, ok := slices.BinarySearch(u.Roles, role)
	return ok
}

// Change is one change, as it is in the log.
type Change struct {
	Op         chainfire.AuthOp
	User, Role string
	Hash       []byte
	NoPassword bool
	Permission *chainfire.Permission
}

// Touched names what a change has made different: these users and roles, or their absence.
type Touched struct {
	Users, Roles []string
}

// Bounded refuses what must not be in the log.
func (c *Change) Bounded() error {
	switch {
	case c.Op < chainfire.AuthEnable || c.Op > chainfire.AuthRoleRevoke:
		return chainfire.ErrInvalidAuthMgmt
	case len(c.User) > MaxNameLen, len(c.Role) > MaxNameLen, len(c.Hash) > MaxHashLen:
		return chainfire.ErrTooManyAuth
	}
	return nil
}

// check refuses what no state lets pass.
func (c *Change) check() error {
	p := c.Permission
	switch {
	case c.Op == chainfire.AuthUserAdd && c.User == "":
		return chainfire.ErrUserEmpty
	case c.Op == chainfire.AuthRoleAdd && c.Role == "":
		return chainfire.ErrRoleEmpty
	case c.Op == chainfire.AuthRoleGrant && p == nil, c.Op == chainfire.AuthRoleRevoke && p == nil:
		return chainfire.ErrPermissionNotGiven
	case c.Op == chainfire.AuthRoleGrant && (!interval(p.Key, p.RangeEnd) || p.Type > chainfire.PermitReadWrite):
		return chainfire.ErrInvalidAuthMgmt
	}
	return nil
}

// interval reports whether a key and an end are an interval that can be granted.
func interval(key, end []byte) bool {
	return len(key) > 0 && (len(end) == 0 || openEnd(end) || bytes.Compare(key, end) < 0)
}

// Change makes the state after a change, or returns why there is none. The state is the
// receiver itself where nothing is different.
func (s *State) Change(c *Change) (*State, Touched, error) {
	if err := c.Bounded(); err != nil {
		return nil, Touched{}, err
	}
	if err := c.check(); err != nil {
		return nil, Touched{}, err
	}
	next := &State{enabled: s.enabled, revision: s.revision + 1, users: s.users, roles: s.roles}
	var touched Touched
	var err error
	switch c.Op {
	case chainfire.AuthEnable, chainfire.AuthDisable:
		return s.turn(next, c.Op == chainfire.AuthEnable)
	case chainfire.AuthUserAdd, chainfire.AuthUserDelete, chainfire.AuthUserPassword, chainfire.AuthUserGrant, chainfire.AuthUserRevoke:
		var u *User
		if u, err = s.changeUser(c); err != nil {
			return nil, touched, err
		}
		if old, ok := s.users[c.User]; ok && old == u {
			return s, touched, nil
		}
		next.users, touched.Users = with(s.users, c.User, u), []string{c.User}
	case chainfire.AuthRoleDelete:
		touched, err = s.deleteRole(next, c.Role)
	default:
		var r *Role
		if r, err = s.changeRole(c); err == nil {
			next.roles, touched.Roles = with(s.roles, c.Role, r), []string{c.Role}
		}
	}
	if err != nil {
		return nil, Touched{}, err
	}
	return next, touched, nil
}

// with is a copy of a map with one entry set, or taken out where it is nil.
func with[T any](m map[string]*T, name string, v *T) map[string]*T {
	out := maps.Clone(m)
	if v == nil {
		delete(out, name)
	} else {
		out[name] = v
	}
	return out
}

// turn enables or disables authentication. Enabling leaves the revision as it is, as in
// etcd.
func (s *State) turn(next *State, on bool) (*State, Touched, error) {
	if s.enabled == on {
		return s, Touched{}, nil
	}
	if on {
		root, ok := s.users[chainfire.AuthRoot]
		if !ok {
			return nil, Touched{}, chainfire.ErrRootUserNotExist
		}
		if !root.HasRole(chainfire.AuthRoot) {
			return nil, Touched{}, chainfire.ErrRootRoleNotExist
		}
		next.revision = s.revision
	}
	next.enabled = on
	return next, Touched{}, nil
}

// changeUser is what a change makes of a user; nil is nothing any more.
func (s *State) changeUser(c *Change) (*User, error) {
	old, found := s.users[c.User]
	root := s.enabled && c.User == chainfire.AuthRoot
	switch {
	case c.Op == chainfire.AuthUserAdd && found:
		return nil, chainfire.ErrUserExists
	case c.Op == chainfire.AuthUserAdd && len(s.users) >= MaxUsers:
		return nil, chainfire.ErrTooManyAuth
	case c.Op == chainfire.AuthUserAdd:
		return &User{Name: c.User, Hash: slices.Clone(c.Hash), NoPassword: c.NoPassword}, nil
	case c.Op == chainfire.AuthUserDelete && root, c.Op == chainfire.AuthUserRevoke && root && c.Role == chainfire.AuthRoot:
		return nil, chainfire.ErrInvalidAuthMgmt
	case !found:
		return nil, chainfire.ErrUserNotFound
	case c.Op == chainfire.AuthUserDelete:
		return nil, nil
	}
	u := *old
	switch c.Op {
	case chainfire.AuthUserPassword:
		if !old.NoPassword {
			u.Hash = slices.Clone(c.Hash)
		}
	case chainfire.AuthUserGrant:
		if _, ok := s.roles[c.Role]; !ok && c.Role != chainfire.AuthRoot {
			return nil, chainfire.ErrRoleNotFound
		}
		i, has := slices.BinarySearch(old.Roles, c.Role)
		if has {
			return old, nil
		}
		if len(old.Roles) >= MaxUserRoles {
			return nil, chainfire.ErrTooManyAuth
		}
		u.Roles = slices.Insert(slices.Clone(old.Roles), i, c.Role)
	case chainfire.AuthUserRevoke:
		if !old.HasRole(c.Role) {
			return nil, chainfire.ErrRoleNotGranted
		}
		u.Roles = without(old.Roles, c.Role)
	}
	return &u, nil
}

func without(l []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(l), func(s string) bool { return s == name })
}

// deleteRole takes a role out, and away from all who have it.
func (s *State) deleteRole(next *State, name string) (Touched, error) {
	if s.enabled && name == chainfire.AuthRoot {
		return Touched{}, chainfire.ErrInvalidAuthMgmt
	}
	if _, ok := s.roles[name]; !ok {
		return Touched{}, chainfire.ErrRoleNotFound
	}
	touched := Touched{Roles: []string{name}}
	next.roles, next.users = with(s.roles, name, nil), maps.Clone(s.users)
	for _, user := range s.Users() {
		if old := s.users[user]; old.HasRole(name) {
			u := *old
			u.Roles = without(old.Roles, name)
			next.users[user] = &u
			touched.Users = append(touched.Users, user)
		}
	}
	return touched, nil
}

// changeRole is what a change makes of a role.
func (s *State) changeRole(c *Change) (*Role, error) {
	old, found := s.roles[c.Role]
	switch {
	case c.Op == chainfire.AuthRoleAdd && found:
		return nil, chainfire.ErrRoleExists
	case c.Op == chainfire.AuthRoleAdd && len(s.roles) >= MaxRoles:
		return nil, chainfire.ErrTooManyAuth
	case c.Op == chainfire.AuthRoleAdd:
		return &Role{Name: c.Role}, nil
	case !found:
		return nil, chainfire.ErrRoleNotFound
	}
	p := chainfire.Permission{Type: c.Permission.Type, Key: slices.Clone(c.Permission.Key), RangeEnd: slices.Clone(c.Permission.RangeEnd)}
	r := &Role{Name: old.Name, Permissions: slices.Clone(old.Permissions)}
	i, has := slices.BinarySearchFunc(r.Permissions, p, comparePermissions)
	switch {
	case c.Op == chainfire.AuthRoleRevoke && !has:
		return nil, chainfire.ErrPermissionNotGranted
	case c.Op == chainfire.AuthRoleRevoke:
		r.Permissions = slices.Delete(r.Permissions, i, i+1)
	case has:
		r.Permissions[i] = p
	case len(r.Permissions) >= MaxPermissions:
		return nil, chainfire.ErrTooManyAuth
	default:
		r.Permissions = slices.Insert(r.Permissions, i, p)
	}
	return r, nil
}

func comparePermissions(a, b chainfire.Permission) int {
	return cmp.Or(bytes.Compare(a.Key, b.Key), bytes.Compare(a.RangeEnd, b.RangeEnd))
}
