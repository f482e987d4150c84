package chainfire

import "context"

// Auth is who may do what: users, roles and what those permit, once it is enabled. All
// calls may come from any goroutine and go to any member. A call that is not permitted
// gets ErrUserEmpty (nobody said who asks), ErrInvalidAuthToken, ErrAuthOldRevision (what
// is permitted has changed since the token was given) or ErrPermissionDenied.
type Auth interface {
	// AuthChange changes users, roles or permissions, or turns authentication on or off.
	// The errors are those of error.go under "users and roles".
	AuthChange(ctx context.Context, r *AuthRequest) (Header, error)
	// AuthStatus says whether authentication is enabled.
	AuthStatus(ctx context.Context) (*AuthStatus, error)
	// Authenticate gives a token for a user's password. It returns ErrAuthNotEnabled,
	// ErrAuthFailed or ErrNoPasswordUser.
	Authenticate(ctx context.Context, user, password string) (*AuthToken, error)
	// AuthUser lists the roles of a user, in order, to itself and to whoever has the role
	// root. AuthRole lists what a role permits, to whoever has it as well.
	AuthUser(ctx context.Context, name string) (*AuthUser, error)
	AuthRole(ctx context.Context, name string) (*AuthRole, error)
	// AuthNames lists all users or all roles, in order, to whoever has the role root.
	AuthNames(ctx context.Context, roles bool) (*AuthNames, error)

	// PermitRead returns nil if the caller may read all of an interval of keys,
	// PermitUser if the caller is any user, and PermitAdmin if it has the role root. They
	// look at this member's applied state. All do while authentication is not enabled.
	PermitRead(ctx context.Context, key, rangeEnd []byte) error
	PermitUser(ctx context.Context) error
	PermitAdmin(ctx context.Context) error
}

// AuthRoot is the name of the user that must be there before authentication is enabled,
// and of the role that permits everything.
const AuthRoot = "root"

// AuthOp is a change of users and roles.
type AuthOp uint8

// The changes. Each names what of an AuthRequest it takes.
const (
	AuthEnable       AuthOp = iota + 1
	AuthDisable             //
	AuthUserAdd             // User, Password or NoPassword
	AuthUserDelete          // User
	AuthUserPassword        // User, Password or PasswordHash
	AuthUserGrant           // User, Role
	AuthUserRevoke          // User, Role
	AuthRoleAdd             // Role
	AuthRoleDelete          // Role
	AuthRoleGrant           // Role, Permission
	AuthRoleRevoke          // Role, Permission, whose type is ignored
)

// String says what is done.
func (o AuthOp) String() string {
	names := [...]string{
		AuthEnable: "enable authentication", AuthDisable: "disable authentication",
		AuthUserAdd: "add a user", AuthUserDelete: "delete a user", AuthUserPassword: "change a password",
		AuthUserGrant: "grant a role", AuthUserRevoke: "revoke a role",
		AuthRoleAdd: "add a role", AuthRoleDelete: "delete a role",
		AuthRoleGrant: "grant a permission", AuthRoleRevoke: "revoke a permission",
	}
	if int(o) < len(names) && names[o] != "" {
		return names[o]
	}
	return "unknown change"
}

// AuthRequest is one change.
type AuthRequest struct {
	Op         AuthOp
	User, Role string
	// Password is hashed by the member that is asked, and kept nowhere.
	Password string
	// PasswordHash is bcrypt's hash, for AuthUserPassword without a password.
	PasswordHash []byte
	// NoPassword makes a user that has none, and is known by its certificate.
	NoPassword bool
	Permission *Permission
}

// PermissionType is what may be done with keys.
type PermissionType uint8

// The types.
const (
	PermitRead PermissionType = iota
	PermitWrite
	PermitReadWrite
)

// Permission permits something for an interval of keys.
type Permission struct {
	Type          PermissionType
	Key, RangeEnd []byte
}

// AuthStatus is whether authentication is enabled, and the revision that every change of
// users, roles and permissions moves on.
type AuthStatus struct {
	Header   Header
	Enabled  bool
	Revision uint64
}

// AuthToken is what a caller shows instead of a password.
type AuthToken struct {
	Header Header
	Token  string
}

// AuthUser is a user.
type AuthUser struct {
	Header Header
	Roles  []string
}

// AuthRole is a role.
type AuthRole struct {
	Header      Header
	Permissions []Permission
}

// AuthNames is the names of users or roles.
type AuthNames struct {
	Header Header
	Names  []string
}

// Credentials are what a caller has shown to say who it is.
type Credentials struct {
	// Token is that of Authenticate.
	Token string
	// EmptyToken says that a token was shown and nothing is in it. It is nobody's, as any
	// other that was not given out.
	EmptyToken bool
	// CommonName is that of the caller's certificate, which was verified. It counts
	// where there is no token.
	CommonName string
}

type credentialsKey struct{}

// WithCredentials says who makes the calls that are made with the context.
func WithCredentials(ctx context.Context, c Credentials) context.Context {
	return context.WithValue(ctx, credentialsKey{}, c)
}

// CredentialsOf are those of a context; none are the zero value.
func CredentialsOf(ctx context.Context) Credentials {
	c, _ := ctx.Value(credentialsKey{}).(Credentials)
	return c
}
