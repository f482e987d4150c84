package main

import (
	"chainfire"
	"chainfire/auth"
	"chainfire/machine"
)

// jsonLogAuth are the commands of users, roles and alarms. One field is set.
type jsonLogAuth struct {
	Alarm *jsonLogAlarm `json:"alarm,omitempty"`
	Auth  *jsonLogUser  `json:"auth,omitempty"`
	Login *jsonLogUser  `json:"authenticate,omitempty"`
}

// jsonLogAlarm is an alarm that is raised, or taken back. A member of 0 is the cluster.
type jsonLogAlarm struct {
	Member string `json:"member"`
	Alarm  string `json:"alarm"`
	Off    bool   `json:"off,omitempty"`
}

// jsonLogUser is a change of users and roles, or who was given a token. The hashes of
// passwords and tokens, which the log has, are not shown: who has one can try passwords.
type jsonLogUser struct {
	Change     string             `json:"change,omitempty"`
	User       string             `json:"user,omitempty"`
	Role       string             `json:"role,omitempty"`
	NoPassword bool               `json:"no_password,omitempty"`
	Permission *jsonLogPermission `json:"permission,omitempty"`
}

type jsonLogPermission struct {
	Type string `json:"type"`
	jsonKey
	jsonRangeEnd
}

// newJSONLogAuth is nil for a command that is not of those.
func newJSONLogAuth(c *machine.Command) *jsonLogAuth {
	switch {
	case c.SetAlarm != nil:
		q := c.SetAlarm
		return &jsonLogAuth{Alarm: &jsonLogAlarm{Member: memberID(q.Member), Alarm: q.Type.String(), Off: q.Off}}
	case c.Auth != nil:
		return &jsonLogAuth{Auth: newJSONLogUser(c.Auth)}
	case c.Authenticate != nil:
		return &jsonLogAuth{Login: &jsonLogUser{User: c.Authenticate.User}}
	}
	return nil
}

func newJSONLogUser(q *auth.Change) *jsonLogUser {
	out := &jsonLogUser{Change: q.Op.String(), User: q.User, Role: q.Role, NoPassword: q.NoPassword}
	if p := q.Permission; p != nil {
		out.Permission = &jsonLogPermission{Type: permissionName(p.Type), jsonKey: newJSONKey(p.Key), jsonRangeEnd: newJSONRangeEnd(p.RangeEnd)}
	}
	return out
}

// permissionName is the word of 'etcdctl role grant-permission'.
func permissionName(t chainfire.PermissionType) string {
	switch t {
	case chainfire.PermitWrite:
		return "write"
	case chainfire.PermitReadWrite:
		return "readwrite"
	}
	return "read"
}
