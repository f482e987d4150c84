package machine

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"chainfire"
	"chainfire/auth"
	"chainfire/internal/record"
	"chainfire/mvcc"
)

// AuthLevel is the feature level from which on the log and the store may hold users and
// roles.
const AuthLevel uint64 = 2

// TokenHashLen is the length of the hash of a token that a member gives to a user.
const TokenHashLen = 32

// Authenticate tells all members of a token for a user, by its hash. It is refused with
// chainfire.ErrAuthNotEnabled, or ErrAuthFailed where the user must not have one.
type Authenticate struct {
	User      string
	TokenHash []byte
}

func (q *Authenticate) check() error {
	if len(q.TokenHash) != TokenHashLen || len(q.User) > auth.MaxNameLen {
		return fmt.Errorf("%w: token of a user", ErrMalformed)
	}
	return nil
}

func messageCaller() record.Message { return record.New("caller", record.Text, record.Number) }

func appendCaller(b []byte, id auth.Identity) []byte {
	return record.AppendUint(record.AppendBytes(b, 1, id.User), 2, id.Revision)
}

func decodeCaller(b []byte) (id auth.Identity, err error) {
	m := messageCaller()
	err = m.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			id.User = string(x.Bytes)
		case 2:
			id.Revision = x.N
		}
		return nil
	})
	return id, err
}

func messageAuthenticate() record.Message {
	return record.New("authenticate", record.Text, record.Text)
}

func appendAuthenticate(b []byte, q *Authenticate) []byte {
	return record.AppendBytes(record.AppendBytes(b, 1, q.User), 2, q.TokenHash)
}

func decodeAuthenticate(b []byte) (*Authenticate, error) {
	q := &Authenticate{}
	m := messageAuthenticate()
	return q, m.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.User = string(x.Bytes)
		case 2:
			q.TokenHash = x.Bytes
		}
		return nil
	})
}

func messageAuthChange() record.Message {
	return record.New("change of users", record.Number, record.Text, record.Text, record.Text, record.Flag, record.Text)
}

func appendAuthChange(b []byte, c *auth.Change) []byte {
	b = record.AppendUint(b, 1, uint64(c.Op))
	b = record.AppendBytes(b, 2, c.User)
	b = record.AppendBytes(b, 3, c.Role)
	b = record.AppendBytes(b, 4, c.Hash)
	b = record.AppendBool(b, 5, c.NoPassword)
	if c.Permission != nil {
		b = record.AppendMessage(b, 6, func(b []byte) []byte { return appendPermission(b, c.Permission) })
	}
	return b
}

func decodeAuthChange(b []byte) (*auth.Change, error) {
	c := &auth.Change{}
	m := messageAuthChange()
	return c, m.Read(b, func(x record.Field) (err error) {
		switch x.Num {
		case 1:
			var n uint8
			n, err = m.Enum(x, uint8(chainfire.AuthRoleRevoke))
			c.Op = chainfire.AuthOp(n)
		case 2:
			c.User = string(x.Bytes)
		case 3:
			c.Role = string(x.Bytes)
		case 4:
			c.Hash = x.Bytes
		case 5:
			c.NoPassword = x.N == 1
		case 6:
			c.Permission, err = decodePermission(x.Bytes)
		}
		return err
	})
}

func messagePermission() record.Message {
	return record.New("permission", record.Number, record.Text, record.Text)
}

func appendPermission(b []byte, p *chainfire.Permission) []byte {
	b = record.AppendUint(b, 1, uint64(p.Type))
	b = record.AppendBytes(b, 2, p.Key)
	return record.AppendBytes(b, 3, p.RangeEnd)
}

func decodePermission(b []byte) (*chainfire.Permission, error) {
	p := &chainfire.Permission{}
	m := messagePermission()
	return p, m.Read(b, func(x record.Field) (err error) {
		switch x.Num {
		case 1:
			var n uint8
			n, err = m.Enum(x, uint8(chainfire.PermitReadWrite))
			p.Type = chainfire.PermissionType(n)
		case 2:
			p.Key = slices.Clone(x.Bytes)
		case 3:
			p.RangeEnd = slices.Clone(x.Bytes)
		}
		return err
	})
}

// The rows of users and roles: whether authentication is enabled and the revision, and
// behind the other names one row for each user and each role.
const (
	rowAuth     = "auth"
	rowUser     = "user/"
	rowRole     = "role/"
	authVersion = 1
)

func messageUser() record.Message {
	return record.New("user", record.Text, record.Flag, record.Repeated)
}
func messageRole() record.Message { return record.New("role", record.Repeated) }

func encodeAuth(s *auth.State) []byte {
	b := []byte{authVersion, 0}
	if s.Enabled() {
		b[1] = 1
	}
	return binary.AppendUvarint(b, s.Revision())
}

func encodeUser(u *auth.User) []byte {
	b := record.AppendBytes([]byte{authVersion}, 1, u.Hash)
	b = record.AppendBool(b, 2, u.NoPassword)
	return record.AppendStrings(b, 3, u.Roles)
}

func encodeRole(r *auth.Role) []byte {
	b := []byte{authVersion}
	for i := range r.Permissions {
		b = record.AppendMessage(b, 1, func(b []byte) []byte { return appendPermission(b, &r.Permissions[i]) })
	}
	return b
}

// authRows is users and roles as they are read row by row.
type authRows struct {
	found    bool
	enabled  bool
	revision uint64
	users    []auth.User
	roles    []auth.Role
}

// load takes one row over; ok says that it is one of users and roles.
func (a *authRows) load(row mvcc.MetaRow) (ok bool, err error) {
	isUser := len(row.Name) > len(rowUser) && row.Name[:len(rowUser)] == rowUser
	isRole := len(row.Name) > len(rowRole) && row.Name[:len(rowRole)] == rowRole
	switch {
	case row.Name != rowAuth && !isUser && !isRole:
		return false, nil
	case len(row.Value) == 0 || row.Value[0] != authVersion:
		return true, fmt.Errorf("%w: row of users and roles", ErrNewer)
	}
	a.found = true
	b := row.Value[1:]
	switch {
	case isUser:
		u := auth.User{Name: row.Name[len(rowUser):]}
		m := messageUser()
		err = m.Read(b, func(x record.Field) error {
			switch x.Num {
			case 1:
				u.Hash = slices.Clone(x.Bytes)
			case 2:
				u.NoPassword = x.N == 1
			case 3:
				u.Roles = append(u.Roles, string(x.Bytes))
			}
			return nil
		})
		a.users = append(a.users, u)
	case isRole:
		r := auth.Role{Name: row.Name[len(rowRole):]}
		m := messageRole()
		err = m.Read(b, func(x record.Field) error {
			p, err := decodePermission(x.Bytes)
			if err == nil {
				r.Permissions = append(r.Permissions, *p)
			}
			return err
		})
		a.roles = append(a.roles, r)
	default:
		rev, n := binary.Uvarint(b[min(1, len(b)):])
		if len(b) == 0 || b[0] > 1 || n != len(b)-1 {
			return true, fmt.Errorf("%w: row of authentication", ErrMalformed)
		}
		a.enabled, a.revision = b[0] == 1, rev
	}
	return true, err
}

func (a *authRows) state() *auth.State {
	if !a.found {
		return auth.New()
	}
	return auth.Load(a.enabled, a.revision, a.users, a.roles)
}

// authStateRows are the rows that hold a state of users and roles.
func authStateRows(s *auth.State) []mvcc.MetaRow {
	rows := []mvcc.MetaRow{{Name: rowAuth, Value: encodeAuth(s)}}
	for _, name := range s.Users() {
		u, _ := s.User(name)
		rows = append(rows, mvcc.MetaRow{Name: rowUser + name, Value: encodeUser(u)})
	}
	for _, name := range s.Roles() {
		r, _ := s.Role(name)
		rows = append(rows, mvcc.MetaRow{Name: rowRole + name, Value: encodeRole(r)})
	}
	return rows
}

// AuthOf reads who may do what from an exact view.
func AuthOf(v *mvcc.View) (*auth.State, error) {
	var stored authRows
	for _, prefix := range [...]string{rowAuth, rowUser, rowRole} {
		rows, err := v.MetaPrefix(prefix)
		if err != nil {
			return nil, fmt.Errorf("read users and roles: %w", err)
		}
		for _, row := range rows {
			if _, err := stored.load(row); err != nil {
				return nil, fmt.Errorf("read users and roles: %w", err)
			}
		}
	}
	return stored.state(), nil
}

// IsSecretRow reports whether a row of the store, as mvcc names it, holds the hash of a
// password or of a join token, which who reads files for others should not show.
func IsSecretRow(name string) bool {
	return strings.HasPrefix(name, "u/"+rowUser) || strings.HasPrefix(name, "u/"+rowToken)
}

// Auth is who may do what. Any goroutine.
func (m *Machine) Auth() *auth.State { return m.cluster.Load().auth }

func (r *round) changeAuth(c *auth.Change) error {
	next, touched, err := r.cluster.auth.Change(c)
	if err != nil {
		return refuse(err)
	}
	if next == r.cluster.auth {
		return nil
	}
	r.editing().auth = next
	if err := r.w.SetMeta(rowAuth, encodeAuth(next)); err != nil {
		return err
	}
	for _, name := range touched.Users {
		u, ok := next.User(name)
		if !ok {
			err = r.w.DeleteMeta(rowUser + name)
		} else {
			err = r.w.SetMeta(rowUser+name, encodeUser(u))
		}
		if err != nil {
			return err
		}
	}
	for _, name := range touched.Roles {
		role, ok := next.Role(name)
		if !ok {
			err = r.w.DeleteMeta(rowRole + name)
		} else {
			err = r.w.SetMeta(rowRole+name, encodeRole(role))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *round) authenticate(q *Authenticate) error {
	s := r.cluster.auth
	if err := q.check(); err != nil {
		return refuse(err)
	}
	if !s.Enabled() {
		return refuse(chainfire.ErrAuthNotEnabled)
	}
	if u, ok := s.User(q.User); !ok || u.NoPassword {
		return refuse(chainfire.ErrAuthFailed)
	}
	return nil
}
