package etcdapi

import (
	"context"
	"encoding/base64"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"go.etcd.io/etcd/api/v3/authpb"

	"chainfire"
)

// authServer is etcd's Auth service.
type authServer struct {
	member chainfire.Auth
	pb.UnsafeAuthServer
}

var _ pb.AuthServer = (*authServer)(nil)

func (s *authServer) change(ctx context.Context, r *chainfire.AuthRequest) (*pb.ResponseHeader, error) {
	h, err := s.member.AuthChange(ctx, r)
	if err != nil {
		return nil, toGRPC(err)
	}
	return newHeader(h), nil
}

// AuthEnable lets in nobody but users from now on.
func (s *authServer) AuthEnable(ctx context.Context, _ *pb.AuthEnableRequest) (*pb.AuthEnableResponse, error) {
	h, err := s.change(ctx, &chainfire.AuthRequest{Op: chainfire.AuthEnable})
	if err != nil {
		return nil, err
	}
	return &pb.AuthEnableResponse{Header: h}, nil
}

// AuthDisable lets everyone in.
func (s *authServer) AuthDisable(ctx context.Context, _ *pb.AuthDisableRequest) (*pb.AuthDisableResponse, error) {
	h, err := s.change(ctx, &chainfire.AuthRequest{Op: chainfire.AuthDisable})
	if err != nil {
		return nil, err
	}
	return &pb.AuthDisableResponse{Header: h}, nil
}

// AuthStatus says which of the two holds.
func (s *authServer) AuthStatus(ctx context.Context, _ *pb.AuthStatusRequest) (*pb.AuthStatusResponse, error) {
	st, err := s.member.AuthStatus(ctx)
	if err != nil {
		return nil, toGRPC(err)
	}
	return &pb.AuthStatusResponse{Header: newHeader(st.Header), Enabled: st.Enabled, AuthRevision: st.Revision}, nil
}

// Authenticate gives a token for a password.
func (s *authServer) Authenticate(ctx context.Context, r *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	t, err := s.member.Authenticate(ctx, r.Name, r.Password)
	if err != nil {
		return nil, toGRPC(err)
	}
	return &pb.AuthenticateResponse{Header: newHeader(t.Header), Token: t.Token}, nil
}

// UserAdd makes a user. A hash that the client made is not taken, as in etcd.
func (s *authServer) UserAdd(ctx context.Context, r *pb.AuthUserAddRequest) (*pb.AuthUserAddResponse, error) {
	h, err := s.change(ctx, &chainfire.AuthRequest{
		Op: chainfire.AuthUserAdd, User: r.Name, Password: r.Password, NoPassword: r.GetOptions().GetNoPassword(),
	})
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserAddResponse{Header: h}, nil
}

// UserGet lists the roles of a user.
func (s *authServer) UserGet(ctx context.Context, r *pb.AuthUserGetRequest) (*pb.AuthUserGetResponse, error) {
	u, err := s.member.AuthUser(ctx, r.Name)
	if err != nil {
		return nil, toGRPC(err)
	}
	return &pb.AuthUserGetResponse{Header: newHeader(u.Header), Roles: u.Roles}, nil
}

// UserList lists the users.
func (s *authServer) UserList(ctx context.Context, _ *pb.AuthUserListRequest) (*pb.AuthUserListResponse, error) {
	l, err := s.member.AuthNames(ctx, false)
	if err != nil {
		return nil, toGRPC(err)
	}
	return &pb.AuthUserListResponse{Header: newHeader(l.Header), Users: l.Names}, nil
}

// UserDelete takes a user away.
func (s *authServer) UserDelete(ctx context.Context, r *pb.AuthUserDeleteRequest) (*pb.AuthUserDeleteResponse, error) {
	h, err := s.change(ctx, &chainfire.AuthRequest{Op: chainfire.AuthUserDelete, User: r.Name})
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserDeleteResponse{Header: h}, nil
}

// UserChangePassword gives a user another password, or takes a hash that the client made.
func (s *authServer) UserChangePassword(ctx context.Context, r *pb.AuthUserChangePasswordRequest) (*pb.AuthUserChangePasswordResponse, error) {
	q := &chainfire.AuthRequest{Op: chainfire.AuthUserPassword, User: r.Name, Password: r.Password}
	if r.Password == "" {
		var err error
		if q.PasswordHash, err = base64.StdEncoding.DecodeString(r.HashedPassword); err != nil {
			return nil, toGRPC(chainfire.ErrNoPasswordUser)
		}
	}
	h, err := s.change(ctx, q)
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserChangePasswordResponse{Header: h}, nil
}

// UserGrantRole gives a role to a user.
func (s *authServer) UserGrantRole(ctx context.Context, r *pb.AuthUserGrantRoleRequest) (*pb.AuthUserGrantRoleResponse, error) {
	h, err := s.change(ctx, &chainfire.AuthRequest{Op: chainfire.AuthUserGrant, User: r.User, Role: r.Role})
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserGrantRoleResponse{Header: h}, nil
}

// UserRevokeRole takes a role from a user.
func (s *authServer) UserRevokeRole(ctx context.Context, r *pb.AuthUserRevokeRoleRequest) (*pb.AuthUserRevokeRoleResponse, error) {
	h, err := s.change(ctx, &chainfire.AuthRequest{Op: chainfire.AuthUserRevoke, User: r.Name, Role: r.Role})
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserRevokeRoleResponse{Header: h}, nil
}

// RoleAdd makes a role.
func (s *authServer) RoleAdd(ctx context.Context, r *pb.AuthRoleAddRequest) (*pb.AuthRoleAddResponse, error) {
	h, err := s.change(ctx, &chainfire.AuthRequest{Op: chainfire.AuthRoleAdd, Role: r.Name})
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleAddResponse{Header: h}, nil
}

// RoleGet lists what a role permits.
func (s *authServer) RoleGet(ctx context.Context, r *pb.AuthRoleGetRequest) (*pb.AuthRoleGetResponse, error) {
	role, err := s.member.AuthRole(ctx, r.Role)
	if err != nil {
		return nil, toGRPC(err)
	}
	out := &pb.AuthRoleGetResponse{Header: newHeader(role.Header)}
	for _, p := range role.Permissions {
		out.Perm = append(out.Perm, &authpb.Permission{PermType: authpb.Permission_Type(p.Type), Key: p.Key, RangeEnd: p.RangeEnd})
	}
	return out, nil
}

// RoleList lists the roles.
func (s *authServer) RoleList(ctx context.Context, _ *pb.AuthRoleListRequest) (*pb.AuthRoleListResponse, error) {
	l, err := s.member.AuthNames(ctx, true)
	if err != nil {
		return nil, toGRPC(err)
	}
	return &pb.AuthRoleListResponse{Header: newHeader(l.Header), Roles: l.Names}, nil
}

// RoleDelete takes a role away.
func (s *authServer) RoleDelete(ctx context.Context, r *pb.AuthRoleDeleteRequest) (*pb.AuthRoleDeleteResponse, error) {
	h, err := s.change(ctx, &chainfire.AuthRequest{Op: chainfire.AuthRoleDelete, Role: r.Role})
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleDeleteResponse{Header: h}, nil
}

// RoleGrantPermission lets a role do something with keys.
func (s *authServer) RoleGrantPermission(ctx context.Context, r *pb.AuthRoleGrantPermissionRequest) (*pb.AuthRoleGrantPermissionResponse, error) {
	q := &chainfire.AuthRequest{Op: chainfire.AuthRoleGrant, Role: r.Name}
	if p := r.Perm; p != nil {
		if p.PermType < authpb.Permission_READ || p.PermType > authpb.Permission_READWRITE {
			return nil, toGRPC(chainfire.ErrInvalidAuthMgmt)
		}
		q.Permission = &chainfire.Permission{Type: chainfire.PermissionType(p.PermType), Key: p.Key, RangeEnd: p.RangeEnd}
	}
	h, err := s.change(ctx, q)
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleGrantPermissionResponse{Header: h}, nil
}

// RoleRevokePermission takes that back.
func (s *authServer) RoleRevokePermission(ctx context.Context, r *pb.AuthRoleRevokePermissionRequest) (*pb.AuthRoleRevokePermissionResponse, error) {
	h, err := s.change(ctx, &chainfire.AuthRequest{
		Op: chainfire.AuthRoleRevoke, Role: r.Role, Permission: &chainfire.Permission{Key: r.Key, RangeEnd: r.RangeEnd},
	})
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleRevokePermissionResponse{Header: h}, nil
}
