package etcdwal

import (
	"encoding/base64"
	"fmt"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/crypto/bcrypt"

	"chainfire"
	"chainfire/auth"
)

// authChange is the change of users and roles that a request makes, nil if it makes none.
func authChange(r *pb.InternalRaftRequest) (*auth.Change, error) {
	switch {
	case r.AuthEnable != nil:
		return &auth.Change{Op: chainfire.AuthEnable}, nil
	case r.AuthDisable != nil:
		return &auth.Change{Op: chainfire.AuthDisable}, nil
	case r.AuthUserAdd != nil:
		q := r.AuthUserAdd
		return withHash(&auth.Change{Op: chainfire.AuthUserAdd, User: q.Name, NoPassword: q.GetOptions().GetNoPassword()}, q.Password, q.HashedPassword), nil
	case r.AuthUserChangePassword != nil:
		q := r.AuthUserChangePassword
		return withHash(&auth.Change{Op: chainfire.AuthUserPassword, User: q.Name}, q.Password, q.HashedPassword), nil
	case r.AuthUserDelete != nil:
		return &auth.Change{Op: chainfire.AuthUserDelete, User: r.AuthUserDelete.Name}, nil
	case r.AuthUserGrantRole != nil:
		return &auth.Change{Op: chainfire.AuthUserGrant, User: r.AuthUserGrantRole.User, Role: r.AuthUserGrantRole.Role}, nil
	case r.AuthUserRevokeRole != nil:
		return &auth.Change{Op: chainfire.AuthUserRevoke, User: r.AuthUserRevokeRole.Name, Role: r.AuthUserRevokeRole.Role}, nil
	case r.AuthRoleAdd != nil:
		return &auth.Change{Op: chainfire.AuthRoleAdd, Role: r.AuthRoleAdd.Name}, nil
	case r.AuthRoleDelete != nil:
		return &auth.Change{Op: chainfire.AuthRoleDelete, Role: r.AuthRoleDelete.Role}, nil
	case r.AuthRoleGrantPermission != nil:
		return grantPermission(r.AuthRoleGrantPermission)
	case r.AuthRoleRevokePermission != nil:
		q := r.AuthRoleRevokePermission
		return &auth.Change{Op: chainfire.AuthRoleRevoke, Role: q.Role, Permission: &chainfire.Permission{Key: q.Key, RangeEnd: q.RangeEnd}}, nil
	}
	return nil, nil
}

// withHash is a change with the hash of a password, nil where there is none to be had:
// etcd refuses it. Before etcd 3.5 the log had the password itself, and each member hashed
// it anew.
func withHash(c *auth.Change, password, hash string) *auth.Change {
	var err error
	switch {
	case c.NoPassword:
	case password != "" && hash == "":
		c.Hash, err = bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	default:
		c.Hash, err = base64.StdEncoding.DecodeString(hash)
	}
	if err != nil {
		return nil
	}
	return c
}

func grantPermission(r *pb.AuthRoleGrantPermissionRequest) (*auth.Change, error) {
	c := &auth.Change{Op: chainfire.AuthRoleGrant, Role: r.Name}
	if p := r.Perm; p != nil {
		if p.PermType < authpb.Permission_READ || p.PermType > authpb.Permission_READWRITE {
			return nil, fmt.Errorf("permission of type %d for role %q: %w", p.PermType, r.Name, chainfire.ErrInvalidAuthMgmt)
		}
		c.Permission = &chainfire.Permission{Type: chainfire.PermissionType(p.PermType), Key: p.Key, RangeEnd: p.RangeEnd}
	}
	return c, nil
}
