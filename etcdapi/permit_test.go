package etcdapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"maps"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"chainfire"
)

// TestEveryCallNeedsARoleUnlessItIsNamed walks all methods of the server: those that need
// less than root are these.
func TestEveryCallNeedsARoleUnlessItIsNamed(t *testing.T) {
	f := start(t)
	var admin []string
	for service, info := range f.server.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			if name := "/" + service + "/" + m.Name; needOf(name) == needAdmin {
				admin = append(admin, m.Name)
			}
		}
	}
	slices.Sort(admin)
	want := []string{
		"Compact", "Defragment", "Downgrade", "Hash", "HashKV", "MemberAdd", "MemberPromote", "MemberRemove", "MemberUpdate",
		"MoveLeader", "Snapshot",
	}
	if !slices.Equal(admin, want) {
		t.Errorf("only root may call %v, want %v", admin, want)
	}
	for name := range maps.Keys(needs) {
		service, method, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
		if strings.HasPrefix(service, "chainfire.") {
			continue // it is registered by the member
		}
		if i := f.server.grpc.GetServiceInfo()[service]; !slices.ContainsFunc(i.Methods, func(m grpc.MethodInfo) bool { return m.Name == method }) {
			t.Errorf("there is no %s", name)
		}
	}
	if needOf("/chainfire.api.v1.Cluster/CreateToken") != needAdmin || needOf("/new.Service/Call") != needAdmin {
		t.Error("a call that is not named is open")
	}
}

// by is a context of calls with a token.
func by(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, token)
}

func TestCallsThatAreForRootAreRefusedToOthers(t *testing.T) {
	f := start(t)
	f.enableAuth(t)
	care, ctx := pb.NewMaintenanceClient(f.conn), bounded(t)
	raise := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE}
	for name, call := range map[string]struct {
		do    func(context.Context) error
		alone bool // root alone
	}{
		"HashKV":     {func(ctx context.Context) error { _, err := care.HashKV(ctx, &pb.HashKVRequest{}); return err }, true},
		"an alarm":   {func(ctx context.Context) error { _, err := care.Alarm(ctx, raise); return err }, true},
		"alarms":     {func(ctx context.Context) error { _, err := care.Alarm(ctx, &pb.AlarmRequest{}); return err }, false},
		"Status":     {func(ctx context.Context) error { _, err := care.Status(ctx, &pb.StatusRequest{}); return err }, false},
		"a snapshot": {func(ctx context.Context) error { _, err := snapshotOf(ctx, care); return err }, true},
		"who is a member": {func(ctx context.Context) error {
			_, err := pb.NewClusterClient(f.conn).MemberList(ctx, &pb.MemberListRequest{})
			return err
		}, false},
	} {
		wantStatus(t, call.do(ctx), rpctypes.ErrGRPCUserEmpty)
		if err := call.do(by(ctx, "ann")); call.alone {
			wantStatus(t, err, rpctypes.ErrGRPCPermissionDenied)
		} else if err != nil {
			t.Errorf("%s by ann: %v", name, err)
		}
		if err := call.do(by(ctx, "root")); err != nil {
			t.Errorf("%s by root: %v", name, err)
		}
	}
}

func snapshotOf(ctx context.Context, c pb.MaintenanceClient) (*pb.SnapshotResponse, error) {
	in, err := c.Snapshot(ctx, &pb.SnapshotRequest{})
	if err != nil {
		return nil, err
	}
	return in.Recv()
}

// TestWatchNeedsToReadAllThatItWatches, at the time when it is made.
func TestWatchNeedsToReadAllThatItWatches(t *testing.T) {
	f := start(t)
	f.enableAuth(t)
	for _, tc := range []struct{ who, key, end, want string }{
		{"ann", "a", "b", ""},
		{"ann", "a", "", ""},
		{"ann", "a", "\x00", "rpc error: code = PermissionDenied desc = etcdserver: permission denied"},
		{"ann", "", "\x00", "rpc error: code = PermissionDenied desc = etcdserver: permission denied"},
		{"ann", "b", "", "rpc error: code = PermissionDenied desc = etcdserver: permission denied"},
		{"", "a", "", "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"},
		{"root", "", "\x00", ""},
	} {
		ctx := bounded(t)
		if tc.who != "" {
			ctx = by(ctx, tc.who)
		}
		in, err := pb.NewWatchClient(f.conn).Watch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		q := &pb.WatchCreateRequest{Key: []byte(tc.key), RangeEnd: []byte(tc.end)}
		if err := in.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: q}}); err != nil {
			t.Fatal(err)
		}
		r, err := in.Recv()
		if err != nil || !r.Created || r.Canceled != (tc.want != "") || r.CancelReason != tc.want {
			t.Errorf("%+v: %v, %v", tc, r, err)
		}
	}
}

// TestCommonNameOfACertificateIsAUser where the server is told so, there is no token, and
// the call is not one of the JSON gateway.
func TestCommonNameOfACertificateIsAUser(t *testing.T) {
	f := start(t)
	shown := &x509.Certificate{Subject: pkix.Name{CommonName: "ann"}}
	chains := func(c ...[]*x509.Certificate) context.Context {
		return peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{State: tls.ConnectionState{VerifiedChains: c}}})
	}
	verified := chains([]*x509.Certificate{shown})
	with := func(ctx context.Context, kv ...string) context.Context {
		return metadata.NewIncomingContext(ctx, metadata.Pairs(kv...))
	}
	on, off := newGuard(&Options{Member: f.fakeMember, CertificateUsers: true}), newGuard(&Options{Member: f.fakeMember})
	for name, tc := range map[string]struct {
		g    *guard
		ctx  context.Context
		want chainfire.Credentials
	}{
		"verified":          {on, verified, chainfire.Credentials{CommonName: "ann"}},
		"not told to":       {off, verified, chainfire.Credentials{}},
		"not verified":      {on, chains(), chainfire.Credentials{}},
		"an empty chain":    {on, chains(nil), chainfire.Credentials{}},
		"the gateway":       {on, with(verified, "grpcgateway-accept", "*/*"), chainfire.Credentials{}},
		"a token":           {on, with(verified, "token", "t.1"), chainfire.Credentials{Token: "t.1", CommonName: "ann"}},
		"an empty token":    {on, with(verified, "token", ""), chainfire.Credentials{EmptyToken: true, CommonName: "ann"}},
		"an empty bearer":   {off, with(t.Context(), "authorization", "Bearer "), chainfire.Credentials{EmptyToken: true}},
		"its own call":      {on, with(t.Context(), sealKey, on.seal, commonNameKey, "ann"), chainfire.Credentials{CommonName: "ann"}},
		"a forged own call": {on, with(t.Context(), sealKey, off.seal, commonNameKey, "ann"), chainfire.Credentials{}},
	} {
		if got := tc.g.credentials(tc.ctx); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
	own, _ := metadata.FromOutgoingContext(on.onBehalf(chainfire.WithCredentials(t.Context(), chainfire.Credentials{CommonName: "ann"})))
	if got := on.credentials(metadata.NewIncomingContext(t.Context(), own)); got.CommonName != "ann" {
		t.Errorf("a call on behalf of ann: %+v", got)
	}
	own, _ = metadata.FromOutgoingContext(on.onBehalf(chainfire.WithCredentials(t.Context(), chainfire.Credentials{EmptyToken: true})))
	if got := on.credentials(metadata.NewIncomingContext(t.Context(), own)); !got.EmptyToken {
		t.Errorf("a call on behalf of who shows an empty token: %+v", got)
	}
}
