package auth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	etcdauth "go.etcd.io/etcd/server/v3/auth"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.uber.org/zap"
	"golang.org/x/crypto/bcrypt"
	"pgregory.net/rapid"

	"chainfire"
)

// newEtcd is etcd's own store of users, on a database in a folder.
func newEtcd(t *testing.T) etcdauth.AuthStore {
	t.Helper()
	cfg := backend.DefaultBackendConfig(zap.NewNop())
	cfg.Path, cfg.BatchInterval = t.TempDir()+"/db", time.Hour
	cfg.UnsafeNoFsync = true
	be := backend.New(cfg)
	tokens, err := etcdauth.NewTokenProvider(zap.NewNop(), "", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := etcdauth.NewAuthStore(zap.NewNop(), schema.NewAuthBackend(zap.NewNop(), be), tokens, bcrypt.MinCost)
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), be.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// etcdDoes performs a change there.
func etcdDoes(s etcdauth.AuthStore, c *Change) (err error) {
	hash := base64.StdEncoding.EncodeToString(c.Hash)
	var perm *authpb.Permission
	if p := c.Permission; p != nil {
		perm = &authpb.Permission{PermType: authpb.Permission_Type(p.Type), Key: p.Key, RangeEnd: p.RangeEnd}
	}
	switch c.Op {
	case chainfire.AuthEnable:
		err = s.AuthEnable()
	case chainfire.AuthDisable:
		s.AuthDisable()
	case chainfire.AuthUserAdd:
		_, err = s.UserAdd(&pb.AuthUserAddRequest{Name: c.User, HashedPassword: hash, Options: &authpb.UserAddOptions{NoPassword: c.NoPassword}})
	case chainfire.AuthUserDelete:
		_, err = s.UserDelete(&pb.AuthUserDeleteRequest{Name: c.User})
	case chainfire.AuthUserPassword:
		_, err = s.UserChangePassword(&pb.AuthUserChangePasswordRequest{Name: c.User, HashedPassword: hash})
	case chainfire.AuthUserGrant:
		_, err = s.UserGrantRole(&pb.AuthUserGrantRoleRequest{User: c.User, Role: c.Role})
	case chainfire.AuthUserRevoke:
		_, err = s.UserRevokeRole(&pb.AuthUserRevokeRoleRequest{Name: c.User, Role: c.Role})
	case chainfire.AuthRoleAdd:
		_, err = s.RoleAdd(&pb.AuthRoleAddRequest{Name: c.Role})
	case chainfire.AuthRoleDelete:
		_, err = s.RoleDelete(&pb.AuthRoleDeleteRequest{Role: c.Role})
	case chainfire.AuthRoleGrant:
		_, err = s.RoleGrantPermission(&pb.AuthRoleGrantPermissionRequest{Name: c.Role, Perm: perm})
	case chainfire.AuthRoleRevoke:
		_, err = s.RoleRevokePermission(&pb.AuthRoleRevokePermissionRequest{Role: c.Role, Key: perm.GetKey(), RangeEnd: perm.GetRangeEnd()})
	}
	return err
}

// text is an error without the prefix of etcd's, and with its words for the same.
func text(err error) string {
	if err == nil {
		return ""
	}
	s := strings.TrimPrefix(err.Error(), "auth: ")
	for _, same := range [][2]string{
		{"user already exists", "user name already exists"},
		{"role already exists", "role name already exists"},
		{"user not found", "user name not found"},
		{"role not found", "role name not found"},
		{"revision in header is old", "revision of auth store is old"},
	} {
		if s == same[0] {
			return same[1]
		}
	}
	return s
}

var (
	names   = rapid.SampledFrom([]string{"root", "root", "ann", "bob", "cy", ""})
	roles   = rapid.SampledFrom([]string{"root", "r1", "r2", "r3", ""})
	drawKey = rapid.SampledFrom([]string{"\x00", "a", "a\x00", "ab", "b", "b\xff", "c", "d", "\xff", "\xff\xff"})
	drawEnd = rapid.SampledFrom([]string{"", "", "", "\x00", "a\x00", "ab", "b", "c", "d", "\xff"})
)

// drawChange draws one that mostly makes sense.
func drawChange(t *rapid.T) *Change {
	c := &Change{Op: chainfire.AuthOp(rapid.IntRange(1, 11).Draw(t, "op"))}
	switch c.Op {
	case chainfire.AuthUserAdd, chainfire.AuthUserDelete, chainfire.AuthUserPassword, chainfire.AuthUserGrant, chainfire.AuthUserRevoke:
		c.User = names.Draw(t, "user")
	}
	switch c.Op {
	case chainfire.AuthUserAdd:
		c.NoPassword = rapid.Bool().Draw(t, "no password")
	case chainfire.AuthUserGrant, chainfire.AuthUserRevoke, chainfire.AuthRoleAdd, chainfire.AuthRoleDelete:
		c.Role = roles.Draw(t, "role")
	case chainfire.AuthRoleGrant, chainfire.AuthRoleRevoke:
		c.Role = roles.Draw(t, "role")
		c.Permission = &chainfire.Permission{
			Type: chainfire.PermissionType(rapid.IntRange(0, 2).Draw(t, "type")),
			Key:  []byte(drawKey.Draw(t, "key")),
		}
		// One end for each key: of two etcd makes something else than was asked for.
		switch k := string(c.Permission.Key); k {
		case "a", "b":
			c.Permission.RangeEnd = []byte("b\xff")
		case "c":
			c.Permission.RangeEnd = []byte("d")
		case "d":
			c.Permission.RangeEnd = []byte{0}
		}
	}
	return c
}

// TestUsersAndPermissionsAreThoseOfEtcd makes the same changes to etcd's store and to a
// state here, and asks both who may do what.
func TestUsersAndPermissionsAreThoseOfEtcd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		there, here := newEtcd(t), New()
		for i := range rapid.IntRange(10, 120).Draw(rt, "changes") {
			c := drawChange(rt)
			want := etcdDoes(there, c)
			next, touched, err := here.Change(c)
			if text(err) != text(want) {
				rt.Fatalf("change %d, %+v: %v, etcd %v", i, c, err, want)
			}
			if err != nil {
				continue
			}
			for _, name := range append(here.Users(), next.Users()...) {
				before, _ := here.User(name)
				after, _ := next.User(name)
				if before != after && !slices.Contains(touched.Users, name) {
					rt.Fatalf("change %+v of user %s is not told", c, name)
				}
			}
			here = next
			compareStates(rt, there, here)
		}
	})
}

func compareStates(t *rapid.T, there etcdauth.AuthStore, here *State) {
	if there.Revision() != here.Revision() || there.IsAuthEnabled() != here.Enabled() {
		t.Fatalf("revision %d, enabled %v; etcd %d, %v", here.Revision(), here.Enabled(), there.Revision(), there.IsAuthEnabled())
	}
	users, _ := there.UserList(&pb.AuthUserListRequest{})
	if !slices.Equal(users.Users, here.Users()) {
		t.Fatalf("users %v, etcd %v", here.Users(), users.Users)
	}
	list, _ := there.RoleList(&pb.AuthRoleListRequest{})
	if !slices.Equal(list.Roles, here.Roles()) {
		t.Fatalf("roles %v, etcd %v", here.Roles(), list.Roles)
	}
	for _, name := range here.Users() {
		u, _ := here.User(name)
		want, err := there.UserGet(&pb.AuthUserGetRequest{Name: name})
		if err != nil || !slices.Equal(u.Roles, want.Roles) {
			t.Fatalf("user %s has %v, etcd %v, %v", name, u.Roles, want.GetRoles(), err)
		}
	}
	id := Identity{User: names.Draw(t, "who"), Revision: here.Revision() - uint64(rapid.IntRange(0, 8).Draw(t, "older")/8)}
	if rapid.IntRange(0, 20).Draw(t, "nobody") == 0 {
		id = Identity{}
	}
	asked := etcdauth.AuthInfo{Username: id.User, Revision: id.Revision}
	key, end := []byte(drawKey.Draw(t, "key")), []byte(drawEnd.Draw(t, "end"))
	if empty := len(end) > 0 && end[0] != 0 && bytes.Compare(key, end) >= 0; empty {
		return
	}
	for what, pair := range map[string][2]error{
		"read":  {here.PermitRead(id, key, end), there.IsRangePermitted(&asked, key, end)},
		"write": {here.PermitWrite(id, key, end), there.IsDeleteRangePermitted(&asked, key, end)},
		"admin": {here.PermitAdmin(id), there.IsAdminPermitted(&asked)},
	} {
		if text(pair[0]) != text(pair[1]) {
			t.Fatalf("%s of %q to %q by %+v: %v, etcd %v", what, key, end, id, pair[0], pair[1])
		}
	}
}

// enabled is a state with root, and ann who may do what the permissions say.
func enabled(t *testing.T, l ...chainfire.Permission) *State {
	t.Helper()
	s := New()
	do := func(c Change) {
		t.Helper()
		next, _, err := s.Change(&c)
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		s = next
	}
	do(Change{Op: chainfire.AuthUserAdd, User: "root"})
	do(Change{Op: chainfire.AuthUserGrant, User: "root", Role: "root"})
	do(Change{Op: chainfire.AuthUserAdd, User: "ann"})
	do(Change{Op: chainfire.AuthRoleAdd, Role: "r"})
	for _, p := range l {
		do(Change{Op: chainfire.AuthRoleGrant, Role: "r", Permission: &p})
	}
	do(Change{Op: chainfire.AuthUserGrant, User: "ann", Role: "r"})
	do(Change{Op: chainfire.AuthEnable})
	return s
}

// TestPermissionOnOneKeyIsForNoOther: etcd once gave away what came after it
// (GHSA-xg4h-6gfc-h4m8).
func TestPermissionOnOneKeyIsForNoOther(t *testing.T) {
	s := enabled(t, chainfire.Permission{Key: []byte("k")}, chainfire.Permission{Key: []byte("k\x00")}, chainfire.Permission{Key: []byte("m"), RangeEnd: []byte("n")})
	ann := Identity{User: "ann", Revision: s.Revision()}
	for _, tc := range []struct {
		key, end string
		ok       bool
	}{
		{"k", "", true},
		{"k", "k\x00", true},
		{"k", "k\x00\x00", true}, // the two touch
		{"k", "\x00", false},
		{"k", "l", false},
		{"k", "k\x00\x00\x00", false},
		{"j", "k", false},
		{"l", "", false},
		{"m", "n", true},
		{"m", "n\x00", false},
		{"m", "\x00", false},
		{"mm", "mz", true},
		{"k", "n", false},
		{"\x00", "\x00", false},
		{"n", "m", false},   // no key at all
		{"mz", "mm", true},  // none either, but inside
		{"mz", "kk", false}, // not inside
	} {
		err := s.PermitRead(ann, []byte(tc.key), []byte(tc.end))
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, chainfire.ErrPermissionDenied) {
			t.Errorf("read %q to %q: %v", tc.key, tc.end, err)
		}
		if err := s.PermitWrite(ann, []byte(tc.key), []byte(tc.end)); !errors.Is(err, chainfire.ErrPermissionDenied) {
			t.Errorf("write %q to %q: %v", tc.key, tc.end, err)
		}
	}
}

// TestGrantingAnIntervalAgainReplacesIt: etcd replaces only the first of those that begin
// with the same key, and adds one to the others.
func TestGrantingAnIntervalAgainReplacesIt(t *testing.T) {
	k := []byte("k")
	s := enabled(t,
		chainfire.Permission{Type: chainfire.PermitReadWrite, Key: k, RangeEnd: []byte("z")}, chainfire.Permission{Key: k, RangeEnd: []byte("l")},
		chainfire.Permission{Type: chainfire.PermitRead, Key: k, RangeEnd: []byte("z")})
	r, _ := s.Role("r")
	if len(r.Permissions) != 2 {
		t.Errorf("%+v", r.Permissions)
	}
	if err := s.PermitWrite(Identity{"ann", s.Revision()}, k, nil); !errors.Is(err, chainfire.ErrPermissionDenied) {
		t.Errorf("what was taken back is still permitted: %v", err)
	}
}

// TestThereAreOnlySoManyUsersRolesAndPermissions names the bounds.
func TestThereAreOnlySoManyUsersRolesAndPermissions(t *testing.T) {
	s := enabled(t)
	full := &State{revision: 1, users: map[string]*User{}, roles: map[string]*Role{"r": {Name: "r", Permissions: make([]chainfire.Permission, MaxPermissions)}}}
	for i := range MaxUsers {
		name := fmt.Sprint("u", i)
		full.users[name] = &User{Name: name, Roles: make([]string, MaxUserRoles)}
	}
	for i := len(full.roles); i < MaxRoles; i++ {
		full.roles[fmt.Sprint("r", i)] = &Role{}
	}
	long := strings.Repeat("n", MaxNameLen+1)
	for _, tc := range []struct {
		s *State
		c Change
	}{
		{s, Change{Op: chainfire.AuthUserAdd, User: long}},
		{s, Change{Op: chainfire.AuthRoleAdd, Role: long}},
		{s, Change{Op: chainfire.AuthUserAdd, User: "u", Hash: make([]byte, MaxHashLen+1)}},
		{full, Change{Op: chainfire.AuthUserAdd, User: "one more"}},
		{full, Change{Op: chainfire.AuthRoleAdd, Role: "one more"}},
		{full, Change{Op: chainfire.AuthUserGrant, User: "u1", Role: "r"}},
		{full, Change{Op: chainfire.AuthRoleGrant, Role: "r", Permission: &chainfire.Permission{Key: []byte("k")}}},
	} {
		if _, _, err := tc.s.Change(&tc.c); !errors.Is(err, chainfire.ErrTooManyAuth) {
			t.Errorf("%d: %v", tc.c.Op, err)
		}
	}
	if _, _, err := s.Change(&Change{Op: 99}); !errors.Is(err, chainfire.ErrInvalidAuthMgmt) {
		t.Errorf("%v", err)
	}
}
