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
	"google.golang.org/grpc/status"
)

// As makes the calls of a gRPC connection to a member's client port those of a user: it
// logs in before the first one, and again when what that gave is not good any more. In a
// cluster without authentication it does nothing. An empty name is nobody.
func As(user, password string) []grpc.DialOption {
	if user == "" {
		return nil
	}
	return (&login{user: user, password: password}).options()
}

// login is who makes the calls of one connection.
type login struct {
	user, password string

	mu    sync.Mutex
	token string
	// open says that the cluster asked for no token.
	open bool
	// under is the login under way, for which all calls wait that need one; nil is none.
	under *attempt
}

func (l *login) options() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(l.unary), grpc.WithChainStreamInterceptor(l.stream)}
}

// attempt is one login.
type attempt struct {
	// waits are the calls that wait for it; without any it is canceled. It is guarded by the
	// login's lock.
	waits  int
	cancel context.CancelFunc
	// done is closed once err is set, and the login has what came of it.
	done chan struct{}
	err  error
}

// as is a context of a call by the user. stale is a token that was refused.
func (l *login) as(ctx context.Context, cc *grpc.ClientConn, stale string) (_ context.Context, token string, err error) {
	l.mu.Lock()
	if stale != "" && l.token == stale {
		l.token = ""
	}
	for l.token == "" && !l.open {
		err := l.await(ctx, cc)
		if err != nil {
			l.mu.Unlock()
			return nil, "", err
		}
	}
	token = l.token
	l.mu.Unlock()
	if token == "" {
		return ctx, "", nil
	}
	return metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, token), token, nil
}

// await waits within a context for the login under way, which it begins if there is none.
// The lock is held when it is called and when it returns, and not meanwhile.
func (l *login) await(ctx context.Context, cc *grpc.ClientConn) error {
	a := l.under
	if a == nil {
		a = &attempt{done: make(chan struct{})}
		var own context.Context
		// It is not the caller's alone: others may wait longer.
		own, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
		l.under = a
		go l.run(own, cc, a)
	}
	a.waits++
	l.mu.Unlock()
	var err error
	select {
	case <-a.done:
		err = a.err
	case <-ctx.Done():
		err = status.FromContextError(ctx.Err()).Err()
	}
	l.mu.Lock()
	if a.waits--; a.waits == 0 {
		a.cancel()
		if l.under == a {
			l.under = nil
		}
	}
	if err != nil {
		return fmt.Errorf("log in as %s: %w", l.user, err)
	}
	return nil
}

// run logs in.
func (l *login) run(ctx context.Context, cc *grpc.ClientConn, a *attempt) {
	defer close(a.done)
	r := &pb.AuthenticateResponse{}
	err := cc.Invoke(ctx, pb.Auth_Authenticate_FullMethodName, &pb.AuthenticateRequest{Name: l.user, Password: l.password}, r)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.under == a {
		l.under = nil
	}
	switch {
	case errors.Is(rpctypes.Error(err), rpctypes.ErrAuthNotEnabled):
		l.open = true
	case err != nil:
		a.err = err
	case r.GetToken() == "":
		a.err = errors.New("the member gave no token")
	default:
		l.token = r.GetToken()
	}
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
