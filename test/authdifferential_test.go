package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// TestRandomRequestsOfUsersAreAnsweredAsByEtcd puts the same requests of users, who come
// and go, to etcd and to a member here: for what they may do and for what they may not.
func TestRandomRequestsOfUsersAreAnsweredAsByEtcd(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("a key of both, of more than thirty-two bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tokens := range []string{"simple", "jwt,sign-method=HS256,ttl=1h,priv-key=" + key} {
		t.Run(tokens[:3], func(t *testing.T) {
			t.Parallel()
			usersSideBySide(t, "--auth-token", tokens, "--bcrypt-cost", "4")
		})
	}
}

func usersSideBySide(t *testing.T, flags ...string) {
	seed := *requestSeedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	n := *requestsFlag
	if testing.Short() {
		n = min(n, 500)
	}
	t.Logf("%d requests of seed %d (-request-seed)", n, seed)
	d := &differential{
		t:        t, // Whether an empty interval inside of two that touch is permitted is no matter.
		requests: requests{random: rand.New(rand.NewPCG(seed, 2)), revision: 1, forward: true},
		sides:    []side{newSide(t, "etcd", here.newEtcdWith(t, flags)), newSide(t, "chainfire", oneMember(t, flags...).members[0].client)},
	}
	u := &users{differential: d, tokens: map[string]string{}}
	d.as = u.identified
	u.begin()
	for i := range n {
		if u.step(); d.differences > 20 {
			t.Fatalf("after %d requests there are enough differences", i+1)
		}
	}
	t.Logf("%d requests, of which %d were refused; %d differences", n, d.refused, d.differences)
}

// users draws requests of users and about them.
type users struct {
	*differential
	// who asks, and the tokens that they were given, by side and user.
	who    string
	tokens map[string]string
}

const garbage = "garbage"

func (u *users) identified(ctx context.Context, s side) context.Context {
	switch token := u.tokens[s.name+u.who]; {
	case u.who == garbage:
		return metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, "never.1")
	case token != "":
		return metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, token)
	}
	return ctx
}

// begin makes root and enables authentication.
func (u *users) begin() {
	u.add("root", false)
	u.grant("root", "root")
	u.enable()
	u.login("root", "root")
}

func (u *users) enable() {
	q := &pb.AuthEnableRequest{}
	both(u.differential, q, func(ctx context.Context, s side) (proto.Message, error) { return s.auth.AuthEnable(ctx, q) })
}

func (u *users) add(name string, noPassword bool) {
	q := &pb.AuthUserAddRequest{Name: name, Password: name, Options: &authpb.UserAddOptions{NoPassword: noPassword}}
	if u.oneIn(4) && !noPassword {
		q.Options = nil
	}
	both(u.differential, q, func(ctx context.Context, s side) (proto.Message, error) { return s.auth.UserAdd(ctx, q) })
}

func (u *users) grant(name, role string) {
	q := &pb.AuthUserGrantRoleRequest{User: name, Role: role}
	both(u.differential, q, func(ctx context.Context, s side) (proto.Message, error) { return s.auth.UserGrantRole(ctx, q) })
}

func (u *users) login(name, password string) {
	q := &pb.AuthenticateRequest{Name: name, Password: password}
	both(u.differential, q, func(ctx context.Context, s side) (proto.Message, error) {
		r, err := s.auth.Authenticate(ctx, q)
		if err == nil {
			u.tokens[s.name+name] = r.Token
		}
		return r, err
	})
}

func (u *users) name() string {
	if u.oneIn(30) {
		return pick(u.q(), "", "nobody")
	}
	return pick(u.q(), "root", "ann", "ann", "bob", "bob", "cy", "cy", "dan", "dan")
}

func (u *users) role() string {
	if u.oneIn(30) {
		return pick(u.q(), "", "none")
	}
	return pick(u.q(), "root", "r1", "r2", "r3", "r4")
}

func (u *users) q() *requests { return &u.requests }

// step draws who asks, and what for.
func (u *users) step() {
	u.t.Helper()
	u.who = pick(u.q(), "root", "root", "ann", "bob", "cy", "dan")
	if u.oneIn(20) {
		u.who = pick(u.q(), "", garbage)
	}
	switch n := u.random.IntN(100); {
	case n < 50:
		u.differential.step()
	case n < 60:
		password := u.who
		if u.oneIn(6) {
			password = "wrong"
		}
		u.login(u.who, password)
	case n < 65:
		u.lookAtMember()
	default:
		u.manage()
	}
}

// manage changes users and roles, and looks at them; mostly as root.
func (u *users) manage() {
	if !u.oneIn(6) {
		if u.who = "root"; u.oneIn(4) {
			u.login("root", "root")
		}
	}
	ctxOf := func(call func(context.Context, pb.AuthClient) (proto.Message, error), q proto.Message) {
		both(u.differential, q, func(ctx context.Context, s side) (proto.Message, error) { return call(ctx, s.auth) })
	}
	switch u.random.IntN(16) {
	case 0, 1:
		u.add(u.name(), u.oneIn(6))
	case 2, 3, 4:
		u.grant(u.name(), u.role())
	case 5:
		q := &pb.AuthUserRevokeRoleRequest{Name: u.name(), Role: u.role()}
		ctxOf(func(ctx context.Context, c pb.AuthClient) (proto.Message, error) { return c.UserRevokeRole(ctx, q) }, q)
	case 6:
		q := &pb.AuthRoleAddRequest{Name: u.role()}
		ctxOf(func(ctx context.Context, c pb.AuthClient) (proto.Message, error) { return c.RoleAdd(ctx, q) }, q)
	case 7, 8, 9:
		q := &pb.AuthRoleGrantPermissionRequest{Name: u.role()}
		if !u.oneIn(20) {
			q.Perm = u.permission()
		}
		ctxOf(func(ctx context.Context, c pb.AuthClient) (proto.Message, error) {
			return c.RoleGrantPermission(ctx, q)
		}, q)
	case 10:
		p := u.permission()
		q := &pb.AuthRoleRevokePermissionRequest{Role: u.role(), Key: p.Key, RangeEnd: p.RangeEnd}
		ctxOf(func(ctx context.Context, c pb.AuthClient) (proto.Message, error) {
			return c.RoleRevokePermission(ctx, q)
		}, q)
	case 11:
		q := &pb.AuthRoleGetRequest{Role: u.role()}
		ctxOf(func(ctx context.Context, c pb.AuthClient) (proto.Message, error) { return c.RoleGet(ctx, q) }, q)
	case 12:
		q := &pb.AuthUserGetRequest{Name: u.name()}
		ctxOf(func(ctx context.Context, c pb.AuthClient) (proto.Message, error) { return c.UserGet(ctx, q) }, q)
	case 13:
		users, roles := &pb.AuthUserListRequest{}, &pb.AuthRoleListRequest{}
		ctxOf(func(ctx context.Context, c pb.AuthClient) (proto.Message, error) { return c.UserList(ctx, users) }, users)
		ctxOf(func(ctx context.Context, c pb.AuthClient) (proto.Message, error) { return c.RoleList(ctx, roles) }, roles)
	case 14:
		q := &pb.AuthUserChangePasswordRequest{Name: u.name()}
		q.Password = q.Name // the token of before is none any more
		if u.oneIn(8) && q.Name != "root" {
			q.Password = ""
		}
		ctxOf(func(ctx context.Context, c pb.AuthClient) (proto.Message, error) { return c.UserChangePassword(ctx, q) }, q)
	default:
		u.takeAway(ctxOf)
	}
}

// takeAway deletes, or turns authentication off and on again.
func (u *users) takeAway(ctxOf func(func(context.Context, pb.AuthClient) (proto.Message, error), proto.Message)) {
	switch u.random.IntN(5) {
	case 0:
		q := &pb.AuthUserDeleteRequest{Name: u.name()}
		ctxOf(func(ctx context.Context, c pb.AuthClient) (proto.Message, error) { return c.UserDelete(ctx, q) }, q)
	case 1:
		q := &pb.AuthRoleDeleteRequest{Role: u.role()}
		ctxOf(func(ctx context.Context, c pb.AuthClient) (proto.Message, error) { return c.RoleDelete(ctx, q) }, q)
	case 2, 3:
		q := &pb.AuthStatusRequest{}
		ctxOf(func(ctx context.Context, c pb.AuthClient) (proto.Message, error) { return c.AuthStatus(ctx, q) }, q)
	default:
		q := &pb.AuthDisableRequest{}
		ctxOf(func(ctx context.Context, c pb.AuthClient) (proto.Message, error) { return c.AuthDisable(ctx, q) }, q)
		u.differential.step()
		u.takeAwayWhileDisabled(ctxOf)
		u.who = ""
		u.add("root", false)
		u.grant("root", "root")
		u.enable()
		u.login("root", "root")
	}
}

func (u *users) takeAwayWhileDisabled(ctxOf func(func(context.Context, pb.AuthClient) (proto.Message, error), proto.Message)) {
	if !u.oneIn(3) {
		return
	}
	q := &pb.AuthUserDeleteRequest{Name: "root"}
	ctxOf(func(ctx context.Context, c pb.AuthClient) (proto.Message, error) { return c.UserDelete(ctx, q) }, q)
	u.enable()
}

// permission is for an interval whose end follows from its begin: what etcd makes of two
// with the same begin is not what was asked for.
func (u *users) permission() *authpb.Permission {
	p := &authpb.Permission{PermType: authpb.Permission_Type(u.random.IntN(3)), Key: u.key()}
	switch {
	case len(p.Key) == 0:
	case p.Key[len(p.Key)-1]%3 == 0:
		p.RangeEnd = append([]byte{}, p.Key...)
		p.RangeEnd[len(p.RangeEnd)-1] += 3
	case p.Key[len(p.Key)-1]%7 == 0:
		p.RangeEnd = []byte{0}
	case p.Key[len(p.Key)-1]%5 == 0:
		p.RangeEnd = []byte("b")
	}
	return p
}

// lookAtMember asks for what operators ask for.
func (u *users) lookAtMember() {
	switch u.random.IntN(7) {
	case 0:
		q := &pb.HashKVRequest{Revision: u.revision}
		both(u.differential, q, func(ctx context.Context, s side) (proto.Message, error) { return s.care.HashKV(ctx, q) })
	case 1:
		q := &pb.StatusRequest{}
		both(u.differential, q, func(ctx context.Context, s side) (proto.Message, error) { return without(s.care.Status(ctx, q)) })
	case 2:
		q := &pb.AlarmRequest{}
		both(u.differential, q, func(ctx context.Context, s side) (proto.Message, error) { return s.care.Alarm(ctx, q) })
	case 3:
		q := &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE}
		both(u.differential, q, func(ctx context.Context, s side) (proto.Message, error) { return s.care.Alarm(ctx, q) })
	case 4:
		q := &pb.MemberListRequest{}
		both(u.differential, q, func(ctx context.Context, s side) (proto.Message, error) { return without(s.peers.MemberList(ctx, q)) })
	case 5:
		q := &pb.DefragmentRequest{}
		both(u.differential, q, func(ctx context.Context, s side) (proto.Message, error) { return s.care.Defragment(ctx, q) })
	default:
		q := &pb.SnapshotRequest{}
		both(u.differential, q, func(ctx context.Context, s side) (proto.Message, error) { return snapshotEnds(ctx, s.care) })
	}
}

// without is an answer that differs by its nature: that there is one counts.
func without[M proto.Message](m M, err error) (proto.Message, error) {
	if err == nil {
		proto.Reset(m)
	}
	return m, err
}

func snapshotEnds(ctx context.Context, c pb.MaintenanceClient) (proto.Message, error) {
	in, err := c.Snapshot(ctx, &pb.SnapshotRequest{})
	for err == nil {
		_, err = in.Recv()
	}
	if errors.Is(err, io.EOF) {
		return &pb.SnapshotResponse{}, nil
	}
	return nil, fmt.Errorf("%w", err)
}
