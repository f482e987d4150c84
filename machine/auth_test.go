package machine

import (
	"errors"
	"slices"
	"testing"

	"chainfire"
	"chainfire/auth"
)

// withUsers is a machine with root and with ann, who may read and write the keys from a to
// b and read those from c to d.
func withUsers(t *testing.T) (m *Machine, as func(user string, c Command) Result, restart func()) {
	t.Helper()
	m, fs := start(t)
	do1 := func(c Command) Result { return do(t, m, c) }
	must := func(c auth.Change) {
		t.Helper()
		if r := do1(Command{Auth: &c}); r.Err != nil || r.Auth == nil {
			t.Fatalf("%+v: %v", c, r.Err)
		}
	}
	must(auth.Change{Op: chainfire.AuthUserAdd, User: "root", Hash: []byte("hash")})
	must(auth.Change{Op: chainfire.AuthUserGrant, User: "root", Role: "root"})
	must(auth.Change{Op: chainfire.AuthUserAdd, User: "ann", NoPassword: true})
	must(auth.Change{Op: chainfire.AuthRoleAdd, Role: "r"})
	must(auth.Change{Op: chainfire.AuthRoleGrant, Role: "r", Permission: &chainfire.Permission{Type: chainfire.PermitReadWrite, Key: []byte("a"), RangeEnd: []byte("b")}})
	must(auth.Change{Op: chainfire.AuthRoleGrant, Role: "r", Permission: &chainfire.Permission{Key: []byte("c"), RangeEnd: []byte("d")}})
	must(auth.Change{Op: chainfire.AuthUserGrant, User: "ann", Role: "r"})
	must(auth.Change{Op: chainfire.AuthEnable})
	as = func(user string, c Command) Result {
		t.Helper()
		if user != "" {
			c.Caller = auth.Identity{User: user, Revision: m.Auth().Revision()}
		}
		return do1(c)
	}
	return m, as, func() {
		t.Helper()
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		m2 := reopen(t, fs)
		*m = Machine{store: m2.store, known: m2.known}
		m.cluster.Store(m2.cluster.Load())
	}
}

func put(key string, lease int64) *chainfire.PutRequest {
	return &chainfire.PutRequest{Key: []byte(key), Value: []byte("v"), Lease: lease}
}

// TestCallerMayDoWhatTheStateSaysThatTheCommandFinds, and nothing of what is refused is
// done.
func TestCallerMayDoWhatTheStateSaysThatTheCommandFinds(t *testing.T) {
	_, as, _ := withUsers(t)
	del := func(key, end string, prev bool) *chainfire.DeleteRangeRequest {
		return &chainfire.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end), PrevKV: prev}
	}
	get := func(key, end string) chainfire.Op {
		return chainfire.Op{Range: &chainfire.RangeRequest{Key: []byte(key), RangeEnd: []byte(end)}}
	}
	txn := func(compared string, success, failure []chainfire.Op) *chainfire.TxnRequest {
		q := &chainfire.TxnRequest{Success: success, Failure: failure}
		if compared != "" {
			q.Compare = []chainfire.Compare{{Key: []byte(compared)}}
		}
		return q
	}
	for _, l := range []int64{1, 2, 3} {
		if r := as("", Command{GrantLease: &GrantLease{ID: l, TTL: 10}}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if r := as("root", Command{Put: put("z", 1)}); r.Err != nil {
		t.Fatal(r.Err)
	}
	denied := chainfire.ErrPermissionDenied
	for _, tc := range []struct {
		name string
		c    Command
		want error
	}{
		{"a key of hers", Command{Put: put("a", 0)}, nil},
		{"another", Command{Put: put("b", 0)}, denied},
		{"one to read only", Command{Put: put("c", 0)}, denied},
		{"a lease with others' keys", Command{Put: put("a", 1)}, denied},
		{"a lease with her keys", Command{Put: put("a2", 2)}, nil},
		{"to revoke that", Command{RevokeLease: &RevokeLease{ID: 2}}, nil},
		{"to revoke the other", Command{RevokeLease: &RevokeLease{ID: 1}}, denied},
		{"an interval of hers", Command{Delete: del("a1", "a9", true)}, nil},
		{"one that is too long", Command{Delete: del("a1", "b1", false)}, denied},
		{"everything", Command{Delete: del("\x00", "\x00", false)}, denied},
		{"to compare what she reads", Command{Txn: txn("c", []chainfire.Op{{Put: put("a", 0)}}, nil)}, nil},
		{"to compare what she may not", Command{Txn: txn("x", nil, []chainfire.Op{{Put: put("a", 0)}})}, denied},
		{"the branch not taken", Command{Txn: txn("a", []chainfire.Op{{Put: put("a", 0)}}, []chainfire.Op{get("x", "")})}, denied},
		{"nested", Command{Txn: txn("", []chainfire.Op{{Txn: txn("", []chainfire.Op{{Delete: del("x", "", false)}, {Put: put("a", 0)}}, nil)}}, nil)}, denied},
		{"a change of users", Command{Auth: &auth.Change{Op: chainfire.AuthDisable}}, denied},
	} {
		if r := as("", tc.c); !errors.Is(r.Err, chainfire.ErrUserEmpty) {
			t.Errorf("%s by nobody: %v", tc.name, r.Err)
		}
		if r := as("ann", tc.c); !errors.Is(r.Err, tc.want) || (r.Err == nil) != (tc.want == nil) {
			t.Errorf("%s: %v, want %v", tc.name, r.Err, tc.want)
		}
	}
	if r := as("root", Command{Txn: txn("", []chainfire.Op{get("b", ""), get("x", "")}, nil)}); r.Err != nil || r.Txn.Responses[0].Range.Count+r.Txn.Responses[1].Range.Count != 0 {
		t.Errorf("what was refused was done: %+v, %v", r.Txn, r.Err)
	}
	// The end of a lease is nobody's wish.
	if r := as("", Command{RevokeLease: &RevokeLease{ID: 3, Term: 2}}); errors.Is(r.Err, chainfire.ErrUserEmpty) {
		t.Errorf("%v", r.Err)
	}
	// Who was let in before the last change has to come again.
	old := auth.Identity{User: "ann", Revision: 1}
	if r := as("", Command{Put: put("a", 0), Caller: old}); !errors.Is(r.Err, chainfire.ErrAuthOldRevision) {
		t.Errorf("%v", r.Err)
	}
}

// TestUsersOutliveARestart, and so does the revision.
func TestUsersOutliveARestart(t *testing.T) {
	m, as, restart := withUsers(t)
	if r := as("root", Command{Auth: &auth.Change{Op: chainfire.AuthRoleDelete, Role: "r"}}); r.Err != nil {
		t.Fatal(r.Err)
	}
	if r := as("root", Command{Auth: &auth.Change{Op: chainfire.AuthUserAdd, User: "bob"}}); r.Err != nil {
		t.Fatal(r.Err)
	}
	if r := as("root", Command{Auth: &auth.Change{Op: chainfire.AuthUserDelete, User: "bob"}}); r.Err != nil {
		t.Fatal(r.Err)
	}
	before := m.Auth()
	restart()
	after := m.Auth()
	if before == after || !after.Enabled() || after.Revision() != before.Revision() ||
		!slices.Equal(after.Users(), []string{"ann", "root"}) || len(after.Roles()) != 0 {
		t.Errorf("%+v, before %+v", after, before)
	}
	root, _ := after.User("root")
	ann, _ := after.User("ann")
	if string(root.Hash) != "hash" || !slices.Equal(root.Roles, []string{"root"}) || !ann.NoPassword || len(ann.Roles) != 0 {
		t.Errorf("root %+v, ann %+v", root, ann)
	}
}

// TestTokensAreForUsersWithAPassword: all members are told of them in the same order as of
// the users.
func TestTokensAreForUsersWithAPassword(t *testing.T) {
	_, as, _ := withUsers(t)
	hash := make([]byte, TokenHashLen)
	if r := as("", Command{Authenticate: &Authenticate{User: "root", TokenHash: hash}}); r.Err != nil || r.Authenticated == nil || r.Authenticated.User != "root" {
		t.Errorf("%+v", r)
	}
	for _, user := range []string{"ann", "nobody"} {
		if r := as("", Command{Authenticate: &Authenticate{User: user, TokenHash: hash}}); !errors.Is(r.Err, chainfire.ErrAuthFailed) || r.Authenticated != nil {
			t.Errorf("%s: %+v", user, r)
		}
	}
	if r := as("root", Command{Auth: &auth.Change{Op: chainfire.AuthDisable}}); r.Err != nil {
		t.Fatal(r.Err)
	}
	if r := as("", Command{Authenticate: &Authenticate{User: "root", TokenHash: hash}}); !errors.Is(r.Err, chainfire.ErrAuthNotEnabled) {
		t.Errorf("%+v", r)
	}
	if err := (&Command{Authenticate: &Authenticate{User: "root", TokenHash: hash[1:]}}).Validate(); !errors.Is(err, ErrMalformed) {
		t.Errorf("a short hash: %v", err)
	}
}
