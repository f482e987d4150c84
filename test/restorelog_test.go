package test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/protobuf/proto"
)

// logOnly are flags for an etcd that leaves nearly everything in its log.
var logOnly = []string{"--backend-batch-interval", "1h", "--backend-batch-limit", "1000000"}

// copyOf is a copy of a data directory.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// sameUsers compares what two servers tell of users and roles.
func sameUsers(t *testing.T, etcd, own string, more ...string) {
	t.Helper()
	for _, line := range append([]string{"auth status", "user list", "role list", "user get root", "user get ann", "role get a"}, more...) {
		args := strings.Fields(line)
		out, errOut, code := newEtcdctl(t, etcd).run("", args...)
		if gotOut, gotErrOut, gotCode := newEtcdctl(t, own).run("", args...); gotOut != out || lastError(gotErrOut) != lastError(errOut) || gotCode != code {
			t.Errorf("etcdctl %s: code %d, printed\n%s%s\netcd: code %d,\n%s%s", line, gotCode, gotOut, gotErrOut, code, out, errOut)
		}
	}
}

// TestDataDirectoryOfAKilledEtcdIsRestoredWithWhatIsInItsLog, all that the same etcd has
// once it runs again.
func TestDataDirectoryOfAKilledEtcdIsRestoredWithWhatIsInItsLog(t *testing.T) {
	t.Parallel()
	from := here.startEtcdOver(t, "http", nil, logOnly)
	h := fill(t, 60, from.client)
	c := etcdClientOf(t, from.client)
	withUsers(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// Like a compaction, users and what removes rows commit the database; nothing after
	// that does, once etcd has noted its version in there.
	_, derr := clientAs(t, "root", from.client).AuthDisable(ctx)
	_, rerr := c.Revoke(ctx, clientv3.LeaseID(leasesOfFill[0]))
	if err := errors.Join(derr, rerr); err != nil {
		t.Fatal(err)
	}
	await(t, "the version is in the database", patience, func(context.Context) error {
		if !strings.Contains(from.proc.log(), `"new-storage-version":"3.7.0"`) {
			return errors.New("it is not")
		}
		return nil
	})
	for range 150 {
		h.step()
	}
	granted, err := c.Grant(ctx, 5000)
	_, perr := c.Put(ctx, "lease/log", "v", clientv3.WithLease(granted.ID))
	r, gerr := c.Get(ctx, "k")
	if err := errors.Join(err, perr, gerr); err != nil {
		t.Fatal(err)
	}
	h.revision = r.Header.Revision
	from.kill(t)
	dir := copyOf(t, from.dir)
	m, got := here.restoreAs(t, "a", dir)
	if got.Log == nil || got.Log.Entries < 150 || got.Log.Last != got.Applied+got.Log.Entries || got.Log.Beyond != 0 || got.Log.Torn != "" {
		t.Errorf("restored: %+v, of the log %+v", got, got.Log)
	}
	if got.Revision != h.revision || got.OldRevision != h.revision || got.Compacted != h.compact || got.Leases != len(leasesOfFill) {
		t.Errorf("restored: %+v, want revision %d, compacted at %d", got, h.revision, h.compact)
	}
	again := here.restartEtcd(t, from)
	mustBeSame(t, h, newSide(t, "etcd", again.client), newSide(t, "restored", m.client))
	sameUsers(t, again.client, m.client)
	if _, err := etcdClientOf(t, m.client).AuthEnable(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := clientAs(t, "ann", m.client).Put(ctx, "a1", "v"); err != nil {
		t.Errorf("with the password of before: %v", err)
	}
	moved, bumped := here.restoreAs(t, "b", dir, "--bump-revision", "1000", "--mark-compacted")
	if bumped.OldRevision != h.revision || bumped.Revision != h.revision+1000 || bumped.Compacted != bumped.Revision {
		t.Errorf("moved on: %+v", bumped)
	}
	if r, err := moved.kv().Get(ctx, "lease/log"); err != nil || r.Header.Revision != bumped.Revision || len(r.Kvs) != 1 {
		t.Errorf("moved on: %+v, %v", r, err)
	}
}

// TestLogOfAnEtcdThatLiesElsewhereIsNamed.
func TestLogOfAnEtcdThatLiesElsewhereIsNamed(t *testing.T) {
	t.Parallel()
	logs := filepath.Join(t.TempDir(), "log")
	from := here.startEtcdOver(t, "http", nil, append([]string{"--wal-dir", logs}, logOnly...))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := etcdClientOf(t, from.client).Put(ctx, "k", "v")
	if err != nil {
		t.Fatal(err)
	}
	into := filepath.Join(t.TempDir(), "data")
	mustComplain(t, []string{"snapshot", "restore", from.dir, "--data-dir", into, "--etcd-wal-dir", logs}, "in use", "stop the etcd")
	from.kill(t)
	mustComplain(t, []string{"snapshot", "restore", from.dir, "--data-dir", into}, filepath.Join(from.dir, "member", "wal"), "no such file", "--etcd-wal-dir")
	_, r := here.restoreAs(t, "a", from.dir, "--etcd-wal-dir", logs)
	if r.Revision != p.Header.Revision {
		t.Errorf("%+v", r)
	}
	db := filepath.Join(from.dir, "member", "snap", "db")
	if _, r := here.restoreAs(t, "b", db, "--skip-hash-check"); r.Revision >= p.Header.Revision || r.Log != nil {
		t.Errorf("without the log: %+v", r)
	}
}

// TestTornLogIsRestoredAndADamagedOneIsNot, and both are left as they are.
func TestTornLogIsRestoredAndADamagedOneIsNot(t *testing.T) {
	t.Parallel()
	from := here.startEtcdOver(t, "http", nil, logOnly)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := etcdClientOf(t, from.client)
	var last int64
	for i := range 20 {
		p, err := c.Put(ctx, fmt.Sprint("key ", i), strings.Repeat("v", 2000))
		if err != nil {
			t.Fatal(err)
		}
		last = p.Header.Revision
	}
	from.kill(t)
	names, err := filepath.Glob(filepath.Join(from.dir, "member", "wal", "*.wal"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	damage := func(how func(b []byte)) (dir, file string) {
		dir = copyOf(t, from.dir)
		file = filepath.Join(dir, "member", "wal", filepath.Base(names[0]))
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		how(b)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir, file
	}
	find := func(b []byte, key string) int { return strings.LastIndex(string(b), key) }
	dir, file := damage(func(b []byte) { clear(b[find(b, "key 19")+1000:]) })
	if _, r := here.restoreAs(t, "a", dir); r.Revision != last-1 || r.Log == nil || !strings.Contains(r.Log.Torn, file) {
		t.Errorf("torn: %+v, %+v", r, r.Log)
	}
	dir, file = damage(func(b []byte) { b[find(b, "key 7")+100] ^= 1 })
	into := filepath.Join(t.TempDir(), "data")
	mustComplain(t, []string{"snapshot", "restore", dir, "--data-dir", into}, "exit code 2", "corrupt data", file+" at offset")
	if _, err := os.Stat(into); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
}

// appendToLog appends entries to the log of an etcd that has ended, none of which the log
// says is committed.
func appendToLog(t *testing.T, e *etcdServer, requests []*pb.InternalRaftRequest) {
	t.Helper()
	w, err := wal.Open(nil, filepath.Join(e.dir, "member", "wal"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, state, entries, err := w.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	index := entries[len(entries)-1].GetIndex()
	var more []*raftpb.Entry
	for _, r := range requests {
		index++
		if r.Header == nil {
			r.Header = &pb.RequestHeader{}
		}
		r.Header.ID = index
		data, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		at, term := index, state.GetTerm()
		more = append(more, &raftpb.Entry{Index: &at, Term: &term, Data: data})
	}
	if err := errors.Join(w.Save(state, more), w.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestLogIsAppliedAsEtcdAppliesIt, also where that refuses an entry: it writes into the
// log of an etcd what clients can hardly bring about, and compares with what the etcd
// makes of it at its next start.
func TestLogIsAppliedAsEtcdAppliesIt(t *testing.T) {
	t.Parallel()
	from := here.startEtcdOver(t, "http", nil, logOnly)
	h := fill(t, 20, from.client)
	from.kill(t)
	appendToLog(t, from, slices.Concat(oddWrites(h.revision), oddLeases(), oddAlarms(), oddUsers(t)))
	m, got := here.restoreAs(t, "a", copyOf(t, from.dir))
	again := here.restartEtcd(t, from)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := etcdClientOf(t, again.client).Get(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	if got.Revision != r.Header.Revision || got.Compacted != h.revision || got.Alarms != 1 {
		t.Errorf("restored: %+v, and etcd is at revision %d", got, r.Header.Revision)
	}
	h.revision, h.compact = r.Header.Revision, h.revision
	sides := []side{newSide(t, "etcd", again.client), newSide(t, "restored", m.client)}
	mustBeSame(t, h, sides...)
	sameUsers(t, again.client, m.client, "user get bob", "user get none", "role get b")
	d := &differential{t: t, sides: sides, requests: requests{revision: h.revision, compacted: h.compact}}
	for id := int64(20); id < 26; id++ {
		q := &pb.LeaseTimeToLiveRequest{ID: id, Keys: true}
		both(d, q, func(ctx context.Context, s side) (proto.Message, error) {
			a, err := s.lease.LeaseTimeToLive(ctx, q)
			if err == nil && a.TTL > 0 {
				a.TTL = (a.TTL + 99) / 100 // it counts
			}
			return a, err
		})
	}
	if _, err := m.kv().AuthEnable(ctx); err != nil {
		t.Fatal(err)
	}
	for password, ok := range map[string]bool{"new": true, "ann": false} {
		_, err := pb.NewAuthClient(dial(t, m.client)).Authenticate(ctx, &pb.AuthenticateRequest{Name: "ann", Password: password})
		if (err == nil) != ok {
			t.Errorf("the password %q after a change in the log: %v", password, err)
		}
	}
}

func putOf(key string, lease int64) *pb.PutRequest {
	return &pb.PutRequest{Key: []byte(key), Value: []byte("v"), Lease: lease}
}

func putOp(key string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: putOf(key, 0)}}
}

// oddWrites begin at a revision.
func oddWrites(rev int64) []*pb.InternalRaftRequest {
	txn := func(key string, c *pb.Compare, more ...*pb.RequestOp) *pb.InternalRaftRequest {
		q := &pb.TxnRequest{Success: append(more, putOp(key+" held")), Failure: []*pb.RequestOp{putOp(key + " did not")}}
		if c != nil {
			q.Compare = []*pb.Compare{c}
		}
		return &pb.InternalRaftRequest{Txn: q}
	}
	at := func(rev int64) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("a"), Revision: rev}}}
	}
	var out []*pb.InternalRaftRequest
	for _, r := range []int64{rev + 1000, rev, rev, rev - 1} { // in the future, now, and again
		out = append(out, &pb.InternalRaftRequest{Compaction: &pb.CompactionRequest{Revision: r}})
	}
	for target := range pb.Compare_CompareTarget(7) {
		for result := range pb.Compare_CompareResult(6) {
			for i, key := range []string{"a", "a key that is not there"} {
				name := fmt.Sprintf("compare/%d/%d/%d", target, result, i)
				out = append(out, txn(name, &pb.Compare{Key: []byte(key), Target: target, Result: result}))
			}
		}
	}
	return append(out,
		&pb.InternalRaftRequest{Put: putOf("a", 0)},
		&pb.InternalRaftRequest{Put: putOf("of no lease", 99)},
		&pb.InternalRaftRequest{Put: &pb.PutRequest{Key: []byte("is not there"), IgnoreValue: true}},
		&pb.InternalRaftRequest{Put: &pb.PutRequest{Key: []byte("a"), IgnoreLease: true, Value: []byte("w")}},
		txn("reads the future", nil, at(rev+100000)), txn("reads the past", nil, at(1)), txn("reads now", nil, at(rev)),
		txn("nested", nil, &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{Success: []*pb.RequestOp{putOp("inside")}}}}),
		&pb.InternalRaftRequest{DeleteRange: &pb.DeleteRangeRequest{Key: []byte("is not there")}},
		&pb.InternalRaftRequest{DeleteRange: &pb.DeleteRangeRequest{Key: []byte("k/"), RangeEnd: []byte("k/1"), PrevKv: true}},
		&pb.InternalRaftRequest{Range: &pb.RangeRequest{Key: []byte("a")}},
	)
}

func oddLeases() (out []*pb.InternalRaftRequest) {
	for _, g := range []*pb.LeaseGrantRequest{{ID: 0, TTL: 10}, {ID: 20, TTL: 9_000_000_001}, {ID: 21, TTL: 5000}, {ID: 21, TTL: 6000}, {ID: 22, TTL: 7000}, {ID: 23, TTL: 8000}, {ID: 24, TTL: 9000}} {
		out = append(out, &pb.InternalRaftRequest{LeaseGrant: g})
	}
	checkpoint := func(id, left int64) *pb.InternalRaftRequest {
		return &pb.InternalRaftRequest{LeaseCheckpoint: &pb.LeaseCheckpointRequest{Checkpoints: []*pb.LeaseCheckpoint{{ID: id, Remaining_TTL: left}, {ID: 25, Remaining_TTL: 1}}}}
	}
	return append(out,
		&pb.InternalRaftRequest{Put: putOf("of lease 21", 21)}, &pb.InternalRaftRequest{Put: putOf("of lease 22", 22)},
		checkpoint(21, 3000), checkpoint(23, 3000), checkpoint(23, 0),
		&pb.InternalRaftRequest{LeaseRevoke: &pb.LeaseRevokeRequest{ID: 22}}, &pb.InternalRaftRequest{LeaseRevoke: &pb.LeaseRevokeRequest{ID: 22}},
		&pb.InternalRaftRequest{LeaseRevoke: &pb.LeaseRevokeRequest{ID: 24}},
	)
}

// oddAlarms leave one alarm of two members raised.
func oddAlarms() []*pb.InternalRaftRequest {
	alarm := func(member uint64, t pb.AlarmType, a pb.AlarmRequest_AlarmAction) *pb.InternalRaftRequest {
		return &pb.InternalRaftRequest{Alarm: &pb.AlarmRequest{MemberID: member, Alarm: t, Action: a}}
	}
	put := func(key string) *pb.InternalRaftRequest { return &pb.InternalRaftRequest{Put: putOf(key, 0)} }
	deletion := func(key string) *pb.InternalRaftRequest {
		return &pb.InternalRaftRequest{DeleteRange: &pb.DeleteRangeRequest{Key: []byte(key)}}
	}
	const on, off = pb.AlarmRequest_ACTIVATE, pb.AlarmRequest_DEACTIVATE
	return []*pb.InternalRaftRequest{
		put("alarm/1"), put("alarm/2"),
		alarm(5, pb.AlarmType_NOSPACE, on), alarm(6, pb.AlarmType_NOSPACE, on), alarm(5, pb.AlarmType_NONE, on), put("no room"),
		{LeaseGrant: &pb.LeaseGrantRequest{ID: 25, TTL: 1000}},
		{Txn: &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{Failure: []*pb.RequestOp{putOp("no room")}}}}}}},
		deletion("alarm/1"),
		alarm(5, pb.AlarmType_NOSPACE, off), put("no room still"), alarm(6, pb.AlarmType_NOSPACE, off), put("alarm/3"),
		alarm(5, pb.AlarmType_CORRUPT, on), deletion("alarm/2"), put("corrupt"),
		{LeaseRevoke: &pb.LeaseRevokeRequest{ID: 21}},
		alarm(5, pb.AlarmType_CORRUPT, off), put("alarm/4"),
	}
}

// oddUsers end with authentication disabled, and an alarm raised after it.
func oddUsers(t *testing.T) []*pb.InternalRaftRequest {
	t.Helper()
	hash := func(password string) string {
		b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(b)
	}
	as := func(user string, rev uint64, r *pb.InternalRaftRequest) *pb.InternalRaftRequest {
		r.Header = &pb.RequestHeader{Username: user, AuthRevision: rev}
		return r
	}
	add := func(name string) *pb.InternalRaftRequest {
		return &pb.InternalRaftRequest{AuthUserAdd: &pb.AuthUserAddRequest{Name: name, HashedPassword: hash(name), Options: &authpb.UserAddOptions{}}}
	}
	put := func(key string, lease int64) *pb.InternalRaftRequest {
		return &pb.InternalRaftRequest{Put: putOf("users/"+key, lease)}
	}
	permit := func(role, key, end string) *pb.InternalRaftRequest {
		return &pb.InternalRaftRequest{AuthRoleGrantPermission: &pb.AuthRoleGrantPermissionRequest{Name: role, Perm: &authpb.Permission{PermType: authpb.Permission_WRITE, Key: []byte(key), RangeEnd: []byte(end)}}}
	}
	grant := func(user, role string) *pb.InternalRaftRequest {
		return &pb.InternalRaftRequest{AuthUserGrantRole: &pb.AuthUserGrantRoleRequest{User: user, Role: role}}
	}
	enable := func() *pb.InternalRaftRequest {
		return &pb.InternalRaftRequest{AuthEnable: &pb.AuthEnableRequest{}}
	}
	return []*pb.InternalRaftRequest{
		enable(), add("root"), add("root"), add("ann"), add("bob"), add("none"), enable(), // revision 5
		grant("root", "root"), grant("root", "root"), grant("ann", "a"), grant("nobody", "root"), // 6
		{AuthRoleAdd: &pb.AuthRoleAddRequest{Name: "a"}},
		{AuthRoleAdd: &pb.AuthRoleAddRequest{Name: "b"}},                                                           // 8
		permit("a", "users/a", "users/b"), permit("b", "users/b", ""), permit("a", "z", "y"), permit("c", "z", ""), // 10
		grant("ann", "a"), grant("bob", "b"), // 12
		{AuthUserDelete: &pb.AuthUserDeleteRequest{Name: "none"}},
		{AuthUserDelete: &pb.AuthUserDeleteRequest{Name: "none"}}, // 13
		enable(),
		put("a nobody's", 0), as("root", 12, put("a root's, too late", 0)), as("root", 13, put("a root's", 0)),
		as("ann", 13, put("ann", 0)), as("ann", 13, put("bob", 0)), as("nobody", 13, put("a of nobody", 0)),
		as("bob", 13, put("b", 21)), as("ann", 13, put("a b", 21)), as("ann", 13, &pb.InternalRaftRequest{LeaseRevoke: &pb.LeaseRevokeRequest{ID: 21}}),
		as("ann", 13, &pb.InternalRaftRequest{Put: &pb.PutRequest{Key: []byte("users/a previous"), PrevKv: true}}),
		as("ann", 13, &pb.InternalRaftRequest{Txn: &pb.TxnRequest{Success: []*pb.RequestOp{putOp("users/a in"), putOp("users/b in")}}}),
		as("ann", 13, add("eve")), add("eve"), as("root", 1, add("eve")), // 14
		as("ann", 13, put("a, too late", 0)), as("ann", 14, put("a", 0)),
		as("root", 14, &pb.InternalRaftRequest{AuthUserChangePassword: &pb.AuthUserChangePasswordRequest{Name: "ann", HashedPassword: "no base64"}}),
		as("root", 14, &pb.InternalRaftRequest{AuthUserChangePassword: &pb.AuthUserChangePasswordRequest{Name: "ann", HashedPassword: hash("new")}}), // 15
		as("root", 15, &pb.InternalRaftRequest{AuthUserDelete: &pb.AuthUserDeleteRequest{Name: "root"}}),
		as("root", 15, &pb.InternalRaftRequest{AuthRoleRevokePermission: &pb.AuthRoleRevokePermissionRequest{Role: "b", Key: []byte("users/b")}}), // 16
		as("bob", 16, put("b, no more", 0)),
		as("root", 16, &pb.InternalRaftRequest{AuthUserRevokeRole: &pb.AuthUserRevokeRoleRequest{Name: "bob", Role: "b"}}), // 17
		as("root", 17, &pb.InternalRaftRequest{AuthRoleDelete: &pb.AuthRoleDeleteRequest{Role: "b"}}),                      // 18
		as("", 0, &pb.InternalRaftRequest{Authenticate: &pb.InternalAuthenticateRequest{Name: "ann", Password: "new", SimpleToken: "token"}}),
		as("", 0, &pb.InternalRaftRequest{AuthDisable: &pb.AuthDisableRequest{}}),
		as("root", 18, &pb.InternalRaftRequest{AuthDisable: &pb.AuthDisableRequest{}}),
		put("the end", 0),
		{Alarm: &pb.AlarmRequest{MemberID: 5, Alarm: pb.AlarmType_NOSPACE, Action: pb.AlarmRequest_ACTIVATE}},
		{Alarm: &pb.AlarmRequest{MemberID: 6, Alarm: pb.AlarmType_NOSPACE, Action: pb.AlarmRequest_ACTIVATE}},
	}
}
