package node_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"chainfire"
	"chainfire/auth"
	"chainfire/internal/disk"
	"chainfire/node"
)

// withUsers is a member with root and with ann, who may write what begins with "a".
func withUsers(t *testing.T, change func(*node.Options)) (*node.Node, node.Options) {
	t.Helper()
	o := options(t, "a")
	o.BcryptCost = bcrypt.MinCost
	if change != nil {
		change(&o)
	}
	n := start(t, o)
	for _, r := range []chainfire.AuthRequest{
		{Op: chainfire.AuthUserAdd, User: "root", Password: "root"},
		{Op: chainfire.AuthUserGrant, User: "root", Role: "root"},
		{Op: chainfire.AuthUserAdd, User: "ann", Password: "ann"},
		{Op: chainfire.AuthRoleAdd, Role: "a"},
		{Op: chainfire.AuthRoleGrant, Role: "a", Permission: &chainfire.Permission{Type: chainfire.PermitReadWrite, Key: []byte("a"), RangeEnd: []byte("b")}},
		{Op: chainfire.AuthUserGrant, User: "ann", Role: "a"},
		{Op: chainfire.AuthEnable},
	} {
		if _, err := n.AuthChange(t.Context(), &r); err != nil {
			t.Fatalf("%v: %v", r.Op, err)
		}
	}
	return n, o
}

// as is a context of calls by a user, with a token that is made for it.
func as(t *testing.T, n *node.Node, user string) context.Context {
	t.Helper()
	token, err := n.Authenticate(t.Context(), user, user)
	if err != nil {
		t.Fatal(err)
	}
	return chainfire.WithCredentials(t.Context(), chainfire.Credentials{Token: token.Token})
}

func a(key string) *chainfire.PutRequest {
	return &chainfire.PutRequest{Key: []byte(key), Value: []byte(strings.Repeat("v", 64<<10))}
}

// TestTokenOfBeforeARestartIsNotGoodAfterIt, though the log has it: it would be good for
// its whole time again.
func TestTokenOfBeforeARestartIsNotGoodAfterIt(t *testing.T) {
	fs := disk.NewFaultFS()
	n, o := withUsers(t, func(o *node.Options) { o.FS = fs })
	before := as(t, n, "ann")
	if _, err := n.Put(before, a("a1")); err != nil {
		t.Fatal(err)
	}
	// The power goes: what the store had not flushed is applied again.
	o.FS = fs.Crash(disk.CrashOptions{Names: disk.NamesAll})
	stop(t, n)
	n = start(t, o)
	as(t, n, "root") // it has applied all of its log
	if _, err := n.Put(before, a("a1")); !errors.Is(err, chainfire.ErrInvalidAuthToken) {
		t.Errorf("the token of before: %v", err)
	}
	if _, err := n.Put(as(t, n, "ann"), a("a1")); err != nil {
		t.Errorf("a new one: %v", err)
	}
}

// TestEmptyTokenIsNobodys: clients begin with one and ask for another when they are told
// that it is invalid. Without authentication nobody looks at it.
func TestEmptyTokenIsNobodys(t *testing.T) {
	n, _ := withUsers(t, nil)
	empty := chainfire.WithCredentials(t.Context(), chainfire.Credentials{EmptyToken: true, CommonName: "ann"})
	if _, err := n.Put(empty, a("a")); !errors.Is(err, chainfire.ErrInvalidAuthToken) {
		t.Errorf("a write: %v", err)
	}
	read := &chainfire.RangeRequest{Key: []byte("a"), Serializable: true}
	if _, err := n.Range(empty, read); !errors.Is(err, chainfire.ErrInvalidAuthToken) {
		t.Errorf("a read: %v", err)
	}
	if _, err := n.AuthChange(as(t, n, "root"), &chainfire.AuthRequest{Op: chainfire.AuthDisable}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Put(empty, a("a")); err != nil {
		t.Errorf("without authentication: %v", err)
	}
}

// TestNobodyRaisesNoAlarmAndWritesNothingIntoTheLog.
func TestNobodyRaisesNoAlarmAndWritesNothingIntoTheLog(t *testing.T) {
	n, _ := withUsers(t, func(o *node.Options) { o.QuotaBytes = 16 << 20 })
	st, err := n.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 300 { // of 64 KiB
		wg.Go(func() {
			if _, err := n.Put(t.Context(), a("a")); !errors.Is(err, chainfire.ErrUserEmpty) {
				t.Errorf("nobody: %v", err)
			}
		})
	}
	wg.Wait()
	if l := n.Alarms(); len(l) > 0 {
		t.Errorf("alarms %v", l)
	}
	if after, err := n.Status(t.Context()); err != nil || after.RaftIndex > st.RaftIndex+2 {
		t.Errorf("the log grew from %d to %d, %v", st.RaftIndex, after.RaftIndex, err)
	}
	// What is refused to a user takes no room either.
	ann := as(t, n, "ann")
	for range 300 {
		if _, err := n.Put(ann, a("x")); !errors.Is(err, chainfire.ErrPermissionDenied) {
			t.Fatalf("a key of somebody else: %v", err)
		}
	}
	if l := n.Alarms(); len(l) > 0 {
		t.Errorf("alarms %v", l)
	}
}

// TestStrangersWaitInALineOfAnEnd: who guesses passwords does not keep others from logging
// in for long, and a name of any length is refused at once.
func TestStrangersWaitInALineOfAnEnd(t *testing.T) {
	n, _ := withUsers(t, func(o *node.Options) { o.BcryptCost = 7 }) // some milliseconds, or some tens under the race detector
	var wg sync.WaitGroup
	refused := make(chan error, 200)
	for range 200 {
		wg.Go(func() {
			_, err := n.Authenticate(t.Context(), "nobody", "guess")
			refused <- err
		})
	}
	wg.Wait()
	close(refused)
	failed, busy := 0, 0
	for err := range refused {
		switch {
		case errors.Is(err, chainfire.ErrAuthFailed):
			failed++
		case errors.Is(err, chainfire.ErrTooManyRequests):
			busy++
		default:
			t.Errorf("a guess: %v", err)
		}
	}
	if failed == 0 || busy == 0 {
		t.Errorf("%d failed, %d were sent away", failed, busy)
	}
	began := time.Now()
	if _, err := n.Authenticate(t.Context(), strings.Repeat("n", auth.MaxNameLen+1), "x"); !errors.Is(err, chainfire.ErrAuthFailed) {
		t.Errorf("a long name: %v", err)
	}
	t.Logf("a long name took %v", time.Since(began))
	// A stranger's password is not hashed.
	if _, err := n.AuthChange(t.Context(), &chainfire.AuthRequest{Op: chainfire.AuthUserAdd, User: "x", Password: "x"}); !errors.Is(err, chainfire.ErrUserEmpty) {
		t.Errorf("a user by nobody: %v", err)
	}
}

// TestChangeOfUsersMakesTokensOutdatedAtOnce under concurrent writes: after a password was
// changed, nothing that the old token asked for later is done.
func TestChangeOfUsersMakesTokensOutdatedAtOnce(t *testing.T) {
	n, _ := withUsers(t, nil)
	root := as(t, n, "root")
	for range 20 {
		ann := as(t, n, "ann")
		if _, err := n.Put(ann, a("a")); err != nil {
			t.Fatal(err)
		}
		if _, err := n.AuthChange(root, &chainfire.AuthRequest{Op: chainfire.AuthUserPassword, User: "ann", Password: "ann"}); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Put(ann, a("a")); !errors.Is(err, chainfire.ErrInvalidAuthToken) && !errors.Is(err, chainfire.ErrAuthOldRevision) {
			t.Fatalf("the old token: %v", err)
		}
	}
}
