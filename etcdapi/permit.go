package etcdapi

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"chainfire"
)

// need is what a call needs of its caller while authentication is enabled.
type need uint8

const (
	// needAdmin is what every call needs that is not named: one that is new must not be
	// open to all.
	needAdmin need = iota
	// needUser lets any user in.
	needUser
	// needChecked is checked by the member, key by key or for itself.
	needChecked
	// needNothing lets everyone in.
	needNothing
)

// needs are etcd's.
var needs = map[string]need{
	pb.KV_Range_FullMethodName:       needChecked,
	pb.KV_RangeStream_FullMethodName: needChecked,
	pb.KV_Put_FullMethodName:         needChecked,
	pb.KV_DeleteRange_FullMethodName: needChecked,
	pb.KV_Txn_FullMethodName:         needChecked,
	pb.Watch_Watch_FullMethodName:    needChecked,

	pb.Lease_LeaseGrant_FullMethodName:      needChecked,
	pb.Lease_LeaseRevoke_FullMethodName:     needChecked,
	pb.Lease_LeaseKeepAlive_FullMethodName:  needChecked,
	pb.Lease_LeaseTimeToLive_FullMethodName: needChecked,
	pb.Lease_LeaseLeases_FullMethodName:     needChecked,

	pb.Maintenance_Status_FullMethodName: needUser,
	pb.Maintenance_Alarm_FullMethodName:  needUser, // and more, unless it only asks
	pb.Cluster_MemberList_FullMethodName: needUser,

	pb.Auth_AuthEnable_FullMethodName:           needChecked,
	pb.Auth_AuthDisable_FullMethodName:          needChecked,
	pb.Auth_AuthStatus_FullMethodName:           needChecked,
	pb.Auth_Authenticate_FullMethodName:         needNothing,
	pb.Auth_UserAdd_FullMethodName:              needChecked,
	pb.Auth_UserGet_FullMethodName:              needChecked,
	pb.Auth_UserList_FullMethodName:             needChecked,
	pb.Auth_UserDelete_FullMethodName:           needChecked,
	pb.Auth_UserChangePassword_FullMethodName:   needChecked,
	pb.Auth_UserGrantRole_FullMethodName:        needChecked,
	pb.Auth_UserRevokeRole_FullMethodName:       needChecked,
	pb.Auth_RoleAdd_FullMethodName:              needChecked,
	pb.Auth_RoleGet_FullMethodName:              needChecked,
	pb.Auth_RoleList_FullMethodName:             needChecked,
	pb.Auth_RoleDelete_FullMethodName:           needChecked,
	pb.Auth_RoleGrantPermission_FullMethodName:  needChecked,
	pb.Auth_RoleRevokePermission_FullMethodName: needChecked,

	"/chainfire.api.v1.Cluster/ClusterStatus": needUser,
}

// openServices are those whose calls need nothing, or come back as calls that are checked.
var openServices = [...]string{"/grpc.health.", "/grpc.reflection.", "/v3lockpb.", "/v3electionpb."}

func needOf(method string) need {
	for _, s := range openServices {
		if strings.HasPrefix(method, s) {
			return needNothing
		}
	}
	return needs[method]
}

// guard finds out what a caller shows of itself, and keeps out who may not make a call.
type guard struct {
	member chainfire.Auth
	// certificates says that the common name of a certificate names a user.
	certificates bool
	// seal is what the server's own calls on behalf of a client show, in memory.
	seal string
}

func newGuard(o *Options) *guard {
	return &guard{member: o.Member, certificates: o.CertificateUsers, seal: rand.Text()}
}

// The metadata in which a call of the server's own says for whom it is.
const (
	sealKey       = "chainfire-own-call"
	commonNameKey = "chainfire-common-name-bin"
)

// bearer begins a token in the header of an HTTP request.
const bearer = "Bearer "

// admit is the context of a call by whoever may make it.
func (g *guard) admit(ctx context.Context, method string) (context.Context, error) {
	if c := g.credentials(ctx); c != (chainfire.Credentials{}) {
		ctx = chainfire.WithCredentials(ctx, c)
	}
	switch needOf(method) {
	case needAdmin:
		return ctx, toGRPC(g.member.PermitAdmin(ctx))
	case needUser:
		return ctx, toGRPC(g.member.PermitUser(ctx))
	}
	return ctx, nil
}

// credentials are those of a call: a token or, failing that, a certificate. The JSON
// gateway has none for whom it serves.
func (g *guard) credentials(ctx context.Context) (c chainfire.Credentials) {
	token := metadata.ValueFromIncomingContext(ctx, rpctypes.TokenFieldNameGRPC)
	if len(token) == 0 {
		token = metadata.ValueFromIncomingContext(ctx, rpctypes.TokenFieldNameSwagger)
	}
	if len(token) > 0 {
		c.Token = strings.TrimPrefix(token[0], bearer)
		c.EmptyToken = c.Token == ""
	}
	if !g.certificates {
		return c
	}
	if p, ok := peer.FromContext(ctx); ok && len(metadata.ValueFromIncomingContext(ctx, "grpcgateway-accept")) == 0 {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.VerifiedChains) > 0 && len(info.State.VerifiedChains[0]) > 0 {
			c.CommonName = info.State.VerifiedChains[0][0].Subject.CommonName
		}
	}
	if seal := metadata.ValueFromIncomingContext(ctx, sealKey); len(seal) > 0 && subtle.ConstantTimeCompare([]byte(seal[0]), []byte(g.seal)) == 1 {
		if name := metadata.ValueFromIncomingContext(ctx, commonNameKey); len(name) > 0 {
			c.CommonName = name[0]
		}
	}
	return c
}

// onBehalf is the context of a call that the server makes for the caller of another one.
func (g *guard) onBehalf(ctx context.Context) context.Context {
	c := chainfire.CredentialsOf(ctx)
	if c.Token != "" || c.EmptyToken {
		ctx = metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, c.Token)
	}
	if c.CommonName != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, sealKey, g.seal, commonNameKey, c.CommonName)
	}
	return ctx
}

func (g *guard) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, err := g.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	if a, ok := req.(*pb.AlarmRequest); ok && a.Action != pb.AlarmRequest_GET {
		if err := g.member.PermitAdmin(ctx); err != nil {
			return nil, toGRPC(err)
		}
	}
	return handler(ctx, req)
}

func (g *guard) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, err := g.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return handler(srv, &contextStream{ServerStream: ss, ctx: ctx})
}
