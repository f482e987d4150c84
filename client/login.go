package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// As makes the calls of a gRPC connection to a member's client port those of a user: it
// logs in before the first one, and again when what that gave is not good any more. In a
// cluster without authentication it does nothing. An empty name is nobody.
func As(user, password string) []grpc.DialOption {
	if user == "" {
		return nil
	}
	l := &login{user: user, password: password}
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(l.unary), grpc.WithChainStreamInterceptor(l.stream)}
}

// login is who makes the calls of one connection.
type login struct {
	user, password string

	mu    sync.Mutex
	token string
	// open says that the cluster asked for no token.
	open bool
}

// as is a context of a call by the user. stale is a token that was refused.
func (l *login) as(ctx context.Context, cc *grpc.ClientConn, stale string) (_ context.Context, token string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if stale != "" && l.token == stale {
		l.token = ""
	}
	if l.token == "" && !l.open {
		r := &pb.AuthenticateResponse{}
		err := cc.Invoke(ctx, pb.Auth_Authenticate_FullMethodName, &pb.AuthenticateRequest{Name: l.user, Password: l.password}, r)
		switch {
		case errors.Is(rpctypes.Error(err), rpctypes.ErrAuthNotEnabled):
			l.open = true
		case err != nil:
			return nil, "", fmt.Errorf("log in as %s: %w", l.user, err)
		}
		l.token = r.GetToken()
	}
	if l.token == "" {
		return ctx, "", nil
	}
	return metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, l.token), l.token, nil
}

// outdated reports whether a call was refused for the token that it was made with.
func (l *login) outdated(err error) bool {
	err = rpctypes.Error(err)
	if errors.Is(err, rpctypes.ErrUserEmpty) {
		l.mu.Lock()
		l.open = false // authentication was enabled since
		l.mu.Unlock()
		return true
	}
	return errors.Is(err, rpctypes.ErrInvalidAuthToken) || errors.Is(err, rpctypes.ErrAuthOldRevision)
}

func (l *login) unary(ctx context.Context, method string, q, r any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if method == pb.Auth_Authenticate_FullMethodName {
		return invoke(ctx, method, q, r, cc, opts...)
	}
	as, token, err := l.as(ctx, cc, "")
	if err != nil {
		return err
	}
	if err = invoke(as, method, q, r, cc, opts...); !l.outdated(err) {
		return err
	}
	if as, _, err = l.as(ctx, cc, token); err != nil {
		return err
	}
	return invoke(as, method, q, r, cc, opts...)
}

// stream logs in for a stream. One that is refused for its token is not made again, since
// its first message may be gone.
func (l *login) stream(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	as, _, err := l.as(ctx, cc, "")
	if err != nil {
		return nil, err
	}
	return open(as, d, cc, method, opts...)
}
