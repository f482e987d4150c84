package test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/metadata"
)

// TestEtcdctlManagesUsersAsWithEtcd gives the same lines to both.
func TestEtcdctlManagesUsersAsWithEtcd(t *testing.T) {
	t.Parallel()
	etcd := newEtcdctl(t, here.newEtcdWith(t, []string{"--bcrypt-cost", "4"}))
	own := newEtcdctl(t, oneMember(t, "--bcrypt-cost", "4").members[0].client)
	for _, line := range []string{
		"auth status",
		"auth enable",
		"user add root:secret",
		"user add root:again",
		"auth enable",
		"user grant-role root root",
		"role add readers",
		"role add readers",
		"role grant-permission readers --prefix=true read /a/",
		"role grant-permission readers readwrite /b/key",
		"role grant-permission readers --from-key=true write /z",
		"role grant-permission nobody read k",
		"role get readers",
		"role get root",
		"role add root",
		"role get root",
		"user add ann:pass",
		"user add cert --no-password",
		"user grant-role ann readers",
		"user grant-role ann nothing",
		"user get ann",
		"user get ann --detail",
		"user list",
		"role list",
		"auth enable",
		"put /a/1 v",
		"--user root:secret put /a/1 v",
		"--user root:wrong put /a/1 v",
		"--user cert:any put /a/1 v",
		"--user ann:pass get /a/1",
		"--user ann:pass get /a/ --prefix",
		"--user ann:pass get / --prefix",
		"--user ann:pass put /a/1 w",
		"--user ann:pass put /b/key w",
		"--user ann:pass put /zz w",
		"--user ann:pass get /zz",
		"--user ann:pass del /zz",
		"--user ann:pass user get ann",
		"--user ann:pass user get root",
		"--user ann:pass role get readers",
		"--user ann:pass user list",
		"--user ann:pass compaction 2",
		"--user ann:pass alarm list",
		"--user ann:pass alarm disarm",
		"--user ann:pass auth status",
		"--user ann:pass auth disable",
		"--user root:secret role revoke-permission readers /a/ /a0",
		"--user root:secret role revoke-permission readers /nothing",
		"--user ann:pass get /a/1",
		"--user root:secret user revoke-role root root",
		"--user root:secret user delete root",
		"--user root:secret role delete root",
		"--user root:secret user revoke-role ann readers",
		"--user root:secret user revoke-role ann readers",
		"--user root:secret role delete readers",
		"--user root:secret user delete cert",
		"--user root:secret user list",
		"--user root:secret auth disable",
		"auth disable",
		"user delete root",
		"auth enable",
		"get /a/1",
	} {
		args := strings.Fields(line)
		out, errOut, code := etcd.run("", args...)
		gotOut, gotErrOut, gotCode := own.run("", args...)
		if gotOut != out || lastError(gotErrOut) != lastError(errOut) || gotCode != code {
			t.Errorf("etcdctl %s: code %d, printed\n%s%s\netcd: code %d,\n%s%s", line, gotCode, gotOut, gotErrOut, code, out, errOut)
		}
	}
}

// lastError is what etcdctl says at the end of its errors: what it logs before has times.
func lastError(errOut string) string {
	_, last, _ := strings.Cut(errOut, "Error: ")
	return last
}

// withUsers makes root and ann, who may read and write what begins with "a", and enables
// authentication. All passwords are the names.
func withUsers(t *testing.T, c *clientv3.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var errs []error
	note := func(_ any, err error) { errs = append(errs, err) }
	note(c.UserAdd(ctx, "root", "root"))
	note(c.UserGrantRole(ctx, "root", "root"))
	note(c.UserAdd(ctx, "ann", "ann"))
	note(c.RoleAdd(ctx, "a"))
	note(c.RoleGrantPermission(ctx, "a", "a", "b", clientv3.PermissionType(clientv3.PermReadWrite)))
	note(c.UserGrantRole(ctx, "ann", "a"))
	note(c.AuthEnable(ctx))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// clientAs is etcd's client of a user.
func clientAs(t *testing.T, user string, endpoints ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Username: user, Password: user, DialTimeout: patience})
	if err != nil {
		t.Fatalf("connect as %s: %v", user, err)
	}
	t.Cleanup(func() { _ = c.Close() }) // nothing is in flight on it
	return c
}

// TestTokenIsGoodAtEveryMember, right after one of them gave it.
func TestTokenIsGoodAtEveryMember(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, "--bcrypt-cost", "4")
	withUsers(t, c.members[0].kv())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i := range 20 {
		giver, taker := c.members[i%3], c.members[(i+1+i/3%2)%3]
		token, err := pb.NewAuthClient(dial(t, giver.client)).Authenticate(ctx, &pb.AuthenticateRequest{Name: "ann", Password: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		as := metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, token.Token)
		if _, err := pb.NewKVClient(dial(t, taker.client)).Put(as, &pb.PutRequest{Key: []byte("a")}); err != nil {
			t.Errorf("a token of %s at %s: %v", giver.name, taker.name, err)
		}
	}
	ann := clientAs(t, "ann", c.members[1].client)
	if _, err := ann.Put(ctx, "b", ""); !errors.Is(err, rpctypes.ErrPermissionDenied) {
		t.Errorf("a key of somebody else: %v", err)
	}
	// What only the cluster's own client has a call for is for root.
	if r := here.chainfire(t, t.TempDir(), c.members[0], "token", "list"); r.code == 0 || !strings.Contains(r.stderr, "user name is empty") {
		t.Errorf("nobody lists join tokens: %+v", r)
	}
}

// TestUserThatIsTakenAwayCanDoNoMore, though its token was good a moment ago; and so for
// one whose password or role is another.
func TestUserThatIsTakenAwayCanDoNoMore(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, "--bcrypt-cost", "4")
	withUsers(t, c.members[0].kv())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	root := clientAs(t, "root", c.members[0].client)
	raw := pb.NewKVClient(dial(t, c.members[2].client))
	give := func() context.Context {
		t.Helper()
		r, err := pb.NewAuthClient(dial(t, c.members[1].client)).Authenticate(ctx, &pb.AuthenticateRequest{Name: "ann", Password: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		as := metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, r.Token)
		if _, err := raw.Put(as, &pb.PutRequest{Key: []byte("a")}); err != nil {
			t.Fatal(err)
		}
		return as
	}
	refused := func(as context.Context, want error) {
		t.Helper()
		// A linearizable read has seen the change; a write is applied after it.
		if _, err := raw.Range(as, &pb.RangeRequest{Key: []byte("a")}); !errors.Is(rpctypes.Error(err), want) {
			t.Errorf("a read: %v, want %v", err, want)
		}
		if _, err := raw.Put(as, &pb.PutRequest{Key: []byte("a")}); !errors.Is(rpctypes.Error(err), want) {
			t.Errorf("a write: %v, want %v", err, want)
		}
	}
	as := give()
	if _, err := root.UserChangePassword(ctx, "ann", "other"); err != nil {
		t.Fatal(err)
	}
	refused(as, rpctypes.ErrInvalidAuthToken)
	if _, err := root.UserChangePassword(ctx, "ann", "ann"); err != nil {
		t.Fatal(err)
	}
	as = give()
	if _, err := root.UserRevokeRole(ctx, "ann", "a"); err != nil {
		t.Fatal(err)
	}
	refused(as, rpctypes.ErrPermissionDenied)
	if _, err := root.UserGrantRole(ctx, "ann", "a"); err != nil {
		t.Fatal(err)
	}
	as = give()
	if _, err := root.UserDelete(ctx, "ann"); err != nil {
		t.Fatal(err)
	}
	refused(as, rpctypes.ErrInvalidAuthToken)
}

// TestUsersWorkOnWhileAuthenticationIsTurnedOffAndOnAndMembersDie: etcd's client comes
// again by itself for a token that is none any more, and nothing that was acknowledged to
// it is lost.
func TestUsersWorkOnWhileAuthenticationIsTurnedOffAndOnAndMembersDie(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, "--bcrypt-cost", "4")
	withUsers(t, c.members[0].kv())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var endpoints []string
	for _, m := range c.members {
		endpoints = append(endpoints, m.client)
	}
	ann, root := clientAs(t, "ann", endpoints...), clientAs(t, "root", endpoints...)
	var written atomic.Int64
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := int64(1); ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			for {
				one, end := context.WithTimeout(ctx, 5*time.Second)
				_, err := ann.Put(one, fmt.Sprintf("a%d", i), "")
				end()
				if err == nil {
					break
				}
				// What may come: the change of a moment, or the loss of a leader.
				if ctx.Err() != nil || errors.Is(err, rpctypes.ErrPermissionDenied) {
					done <- fmt.Errorf("put %d: %w", i, err)
					return
				}
			}
			written.Store(i)
		}
	}()
	progress := func() {
		t.Helper()
		from := written.Load()
		await(t, "writes go on", patience, func(context.Context) error {
			if n := written.Load(); n < from+20 {
				return fmt.Errorf("%d written since", n-from)
			}
			return nil
		})
	}
	progress()
	for range 3 {
		if _, err := root.AuthDisable(ctx); err != nil {
			t.Fatal(err)
		}
		progress()
		if _, err := root.AuthEnable(ctx); err != nil {
			t.Fatal(err)
		}
		progress()
	}
	leader := leaderAs(ctx, t, root, c)
	leader.kill()
	progress()
	leader.launch()
	await(t, "it serves again", patience, func(ctx context.Context) error {
		_, err := clientAs(t, "ann", leader.client).Get(ctx, "a1")
		return err
	})
	progress()
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r, err := root.Get(ctx, "a", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || r.Count < written.Load() {
		t.Errorf("%d keys, %v, of %d that were acknowledged", r.Count, err, written.Load())
	}
}

// TestLocksAreForThoseWhoMayWriteTheirKeys, and who is cut off while it waits leaves the
// line.
func TestLocksAreForThoseWhoMayWriteTheirKeys(t *testing.T) {
	t.Parallel()
	m := oneMember(t, "--bcrypt-cost", "4").members[0]
	withUsers(t, m.kv())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn := dial(t, m.client)
	locks := v3lockpb.NewLockClient(conn)
	token, err := pb.NewAuthClient(conn).Authenticate(ctx, &pb.AuthenticateRequest{Name: "ann", Password: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	ann := metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, token.Token)
	lease := func() int64 {
		t.Helper()
		r, err := pb.NewLeaseClient(conn).LeaseGrant(ann, &pb.LeaseGrantRequest{TTL: 60})
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	if _, err := locks.Lock(ctx, &v3lockpb.LockRequest{Name: []byte("a"), Lease: lease()}); !errors.Is(rpctypes.Error(err), rpctypes.ErrUserEmpty) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := locks.Lock(ann, &v3lockpb.LockRequest{Name: []byte("x"), Lease: lease()}); !errors.Is(rpctypes.Error(err), rpctypes.ErrPermissionDenied) {
		t.Errorf("a lock of others: %v", err)
	}
	held, err := locks.Lock(ann, &v3lockpb.LockRequest{Name: []byte("a"), Lease: lease()})
	if err != nil {
		t.Fatal(err)
	}
	waiting, leave := context.WithCancel(ann)
	left := make(chan error, 1)
	go func() {
		_, err := locks.Lock(waiting, &v3lockpb.LockRequest{Name: []byte("a"), Lease: lease()})
		left <- err
	}()
	count := func(want int64) {
		t.Helper()
		await(t, fmt.Sprintf("%d in line", want), patience, func(ctx context.Context) error {
			r, err := clientAs(t, "ann", m.client).Get(ctx, "a/", clientv3.WithRange("a0"), clientv3.WithCountOnly())
			if err == nil && r.Count != want {
				err = fmt.Errorf("there are %d", r.Count)
			}
			return err
		})
	}
	count(2)
	leave()
	if err := <-left; err == nil {
		t.Error("two have the lock")
	}
	count(1)
	if _, err := locks.Unlock(ann, &v3lockpb.UnlockRequest{Key: held.Key}); err != nil {
		t.Error(err)
	}
}

// leaderAs is the member that leads, as a user is told.
func leaderAs(ctx context.Context, t *testing.T, as *clientv3.Client, c *cluster) *member {
	t.Helper()
	for _, m := range c.members {
		if s, err := as.Status(ctx, m.client); err == nil && s.Leader == s.Header.MemberId {
			return m
		}
	}
	t.Fatal("nobody says that it leads")
	return nil
}

// TestSnapshotForEtcdHasTheUsers, with what they may do and their passwords.
func TestSnapshotForEtcdHasTheUsers(t *testing.T) {
	t.Parallel()
	m := oneMember(t, "--bcrypt-cost", "4").members[0]
	withUsers(t, m.kv())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := clientAs(t, "root", m.client).Put(ctx, "a1", "v"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "snapshot.db")
	if out, errOut, code := newEtcdctl(t, m.client).run("", "--user", "root:root", "snapshot", "save", file); code != 0 {
		t.Fatalf("save: exit code %d: %s%s", code, out, errOut)
	}
	etcd, own := newEtcdctl(t, here.newEtcd(t, file)), newEtcdctl(t, m.client)
	for _, line := range []string{
		"get a1", "--user ann:ann get a1", "--user ann:ann get b", "--user ann:wrong get a1", "--user root:root role get a",
		"--user root:root user list", "--user root:root user get ann", "--user root:root role list", "--user ann:ann put a2 v",
	} {
		args := strings.Fields(line)
		out, errOut, code := etcd.run("", args...)
		if gotOut, gotErrOut, gotCode := own.run("", args...); gotOut != out || lastError(gotErrOut) != lastError(errOut) || gotCode != code {
			t.Errorf("etcdctl %s: code %d, printed\n%s%s\netcd: code %d,\n%s%s", line, gotCode, gotOut, gotErrOut, code, out, errOut)
		}
	}
}

// TestCommandsAskAsAUser: those that go through etcd's services and those that do not.
func TestCommandsAskAsAUser(t *testing.T) {
	t.Parallel()
	m := oneMember(t, "--bcrypt-cost", "4").members[0]
	run := func(args ...string) answer {
		t.Helper()
		return here.chainfire(t, t.TempDir(), m, args...)
	}
	lines := [][]string{
		{"put", "a1", "v"},
		{"get", "a1"},
		{"lease", "list"},
		{"status"},
		{"member", "list"},
		{"token", "list"},
		{"snapshot", "save", "s"},
	}
	for _, line := range lines {
		if r := run(append(line, "--user", "root:root")...); r.code != 0 { // nobody is asked for a user yet
			t.Errorf("%v: %+v", line, r)
		}
	}
	withUsers(t, m.kv())
	for _, line := range lines {
		if r := run(append(line, "--user", "root:root")...); r.code != 0 {
			t.Errorf("%v as root: %+v", line, r)
		}
		if r := run(line...); r.code == 0 || !strings.Contains(r.stderr, "user name is empty") {
			t.Errorf("%v as nobody: %+v", line, r)
		}
		if r := run(append(line, "--user", "root:wrong")...); r.code == 0 || !strings.Contains(r.stderr, "authentication failed, invalid user ID or password") {
			t.Errorf("%v with a wrong password: %+v", line, r)
		}
	}
	if r := run("token", "list", "--user", "ann:ann"); r.code == 0 || !strings.Contains(r.stderr, "permission denied") {
		t.Errorf("join tokens for ann: %+v", r)
	}
	if r := run("put", "b", "v", "--user", "ann:ann"); r.code == 0 || !strings.Contains(r.stderr, "permission denied; the user has no role for it") {
		t.Errorf("a key of somebody else: %+v", r)
	}
	for want, args := range map[string][]string{
		"--user has no password":    {"--user", "ann"},
		"give it once":              {"--user", "ann:ann", "--password", "ann"},
		"a password without a user": {"--password", "ann"},
		"is for the other commands": {"--user", "ann:ann"},
	} {
		line := append([]string{"get", "a1"}, args...)
		if want == "is for the other commands" {
			line = append([]string{"serve"}, args...)
		}
		if r := run(line...); r.code == 0 || !strings.Contains(r.stderr, want) {
			t.Errorf("%v: %+v, want %q", line, r, want)
		}
	}
}
