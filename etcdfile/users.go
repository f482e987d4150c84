package etcdfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/authpb"
	"google.golang.org/protobuf/proto"

	"chainfire"
	"chainfire/auth"
)

// The tables of users and roles, and the two rows of the first one.
var (
	tableAuth      = []byte("auth")
	tableUsers     = []byte("authUsers")
	tableRoles     = []byte("authRoles")
	rowAuthEnabled = []byte("authEnabled")
	rowAuthRev     = []byte("authRevision")
)

// putUsers writes who may do what; without users the tables are there and empty.
func putUsers(tx *bbolt.Tx, s *auth.State) error {
	var tables [3]*bbolt.Bucket
	for i, name := range [3][]byte{tableAuth, tableUsers, tableRoles} {
		var err error
		if tables[i], err = tx.CreateBucket(name); err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
	}
	if s == nil {
		return nil
	}
	enabled := []byte{0}
	if s.Enabled() {
		enabled[0] = 1
	}
	errs := []error{tables[0].Put(rowAuthEnabled, enabled), tables[0].Put(rowAuthRev, binary.BigEndian.AppendUint64(nil, s.Revision()))}
	put := func(table *bbolt.Bucket, name string, m proto.Message) {
		row, err := proto.Marshal(m)
		errs = append(errs, err, table.Put([]byte(name), row))
	}
	for _, name := range s.Users() {
		u, _ := s.User(name)
		put(tables[1], name, &authpb.User{
			Name: []byte(name), Password: u.Hash, Roles: u.Roles, Options: &authpb.UserAddOptions{NoPassword: u.NoPassword},
		})
	}
	for _, name := range s.Roles() {
		r, _ := s.Role(name)
		m := &authpb.Role{Name: []byte(name)}
		for _, p := range r.Permissions {
			m.KeyPermission = append(m.KeyPermission, &authpb.Permission{PermType: authpb.Permission_Type(p.Type), Key: p.Key, RangeEnd: p.RangeEnd})
		}
		put(tables[2], name, m)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("write users and roles: %w", err)
	}
	return nil
}

// Auth reads who may do what.
func (f *File) Auth() (*auth.State, error) {
	enabled, revision := false, uint64(0)
	err := f.each(tableAuth, func(k, v []byte) error {
		switch {
		case bytes.Equal(k, rowAuthEnabled):
			enabled = len(v) == 1 && v[0] == 1
		case bytes.Equal(k, rowAuthRev) && len(v) == 8:
			revision = binary.BigEndian.Uint64(v)
		}
		return nil
	})
	var users []auth.User
	var roles []auth.Role
	err = errors.Join(err, f.each(tableUsers, func(k, v []byte) error {
		m := &authpb.User{}
		if err := proto.Unmarshal(v, m); err != nil {
			return fmt.Errorf("user %q: %w", k, err)
		}
		roles := slices.Compact(slices.Sorted(slices.Values(m.Roles)))
		users = append(users, auth.User{Name: string(k), Hash: m.Password, NoPassword: m.GetOptions().GetNoPassword(), Roles: roles})
		return nil
	}), f.each(tableRoles, func(k, v []byte) error {
		m := &authpb.Role{}
		if err := proto.Unmarshal(v, m); err != nil {
			return fmt.Errorf("role %q: %w", k, err)
		}
		r := auth.Role{Name: string(k)}
		for _, p := range m.KeyPermission {
			if p.PermType < authpb.Permission_READ || p.PermType > authpb.Permission_READWRITE {
				continue // it permits nothing there
			}
			r.Permissions = append(r.Permissions, chainfire.Permission{Type: chainfire.PermissionType(p.PermType), Key: p.Key, RangeEnd: p.RangeEnd})
		}
		roles = append(roles, r)
		return nil
	}))
	var s *auth.State
	if err == nil {
		s, err = auth.Import(enabled, revision, users, roles)
	}
	if err != nil {
		return nil, fmt.Errorf("read users and roles of %s: %w", f.Path, err)
	}
	return s, nil
}
