// Package locks serves etcd's Lock and Election services: mutexes and elections whose
// holder is known by the lease of its key. As in etcd they are nothing but requests for
// keys, leases and watches, made by the client's own package for them, so that holders
// here and those that use that package by themselves take turns.
package locks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Services are both services. Their methods may be called from any goroutine.
type Services struct {
	client atomic.Pointer[clientv3.Client]
	// ctx ends the calls that wait.
	ctx context.Context
	// onBehalf says for whom a call is made.
	onBehalf func(context.Context) context.Context

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

// New makes the services. onBehalf gives the context of their own calls, by that of the
// call that is served. They answer once they are connected, and end every call with
// rpctypes.ErrGRPCStopped when ctx ends.
func New(ctx context.Context, onBehalf func(context.Context) context.Context) *Services {
	return &Services{ctx: ctx, onBehalf: onBehalf}
}

// Register adds both to a server.
func (s *Services) Register(r grpc.ServiceRegistrar) {
	v3lockpb.RegisterLockServer(r, &lockServer{services: s})
	v3electionpb.RegisterElectionServer(r, &electionServer{services: s})
}

// keepAliveTimeout is how long a lease is kept before the first answer about it.
const keepAliveTimeout = 10 * time.Second

// Connect names the way to the member's own key, lease and watch services. It is called
// once, before the first call comes.
func (s *Services) Connect(conn grpc.ClientConnInterface) {
	// Who is cut off while waiting leaves the line by it, when ctx has ended.
	c := clientv3.NewCtxClient(context.Background())
	c.KV = clientv3.NewKVFromKVClient(etcdserverpb.NewKVClient(conn), c)
	c.Lease = clientv3.NewLeaseFromLeaseClient(etcdserverpb.NewLeaseClient(conn), c, keepAliveTimeout)
	c.Watcher = clientv3.NewWatchFromWatchClient(etcdserverpb.NewWatchClient(conn), c)
	s.client.Store(c)
}

// leaveTimeout is how long Close waits for those that are leaving the line.
const leaveTimeout = 2 * time.Second

// Close refuses calls from now on, waits for those that were ended, which leave the line
// first, as long as the context lets it and leaveTimeout at most, and gives back what
// Connect took.
func (s *Services) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	left := make(chan struct{})
	go func() {
		s.calls.Wait()
		close(left)
	}()
	var errs []error
	select {
	case <-left:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("wait for those who are leaving the line for a lock: %w", ctx.Err()))
	}
	if c := s.client.Load(); c != nil {
		if err := c.Close(); err != nil && !errors.Is(err, context.Canceled) {
			errs = append(errs, fmt.Errorf("close the client of locks: %w", err))
		}
	}
	return errors.Join(errs...)
}

// call is one request: it ends with the services.
func (s *Services) call(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(s.onBehalf(ctx))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		cancel(rpctypes.ErrGRPCStopped)
		return ctx, func() {}
	}
	s.calls.Add(1)
	stop := context.AfterFunc(s.ctx, func() { cancel(rpctypes.ErrGRPCStopped) })
	return ctx, func() {
		stop()
		cancel(nil)
		s.calls.Done()
	}
}

// reason is what a client is told of an error.
func reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, rpctypes.ErrGRPCStopped) {
		return cause
	}
	return err
}

// clientFor is the client for one call: also who was cut off while waiting, and leaves the
// line by the client's own context, does so for the caller.
func (s *Services) clientFor(ctx context.Context) *clientv3.Client {
	shared := s.client.Load()
	md, ok := metadata.FromOutgoingContext(ctx)
	if !ok {
		return shared
	}
	c := clientv3.NewCtxClient(metadata.NewOutgoingContext(context.Background(), md))
	c.KV, c.Lease, c.Watcher = shared.KV, shared.Lease, shared.Watcher
	return c
}

// session is that of the lease that a request names; 0 makes one. It is kept alive by
// who asks, not from here on.
func (s *Services) session(ctx context.Context, lease int64) (*concurrency.Session, error) {
	out, err := concurrency.NewSession(s.clientFor(ctx), concurrency.WithLease(clientv3.LeaseID(lease)), concurrency.WithContext(ctx))
	if err == nil {
		out.Orphan()
	}
	return out, err
}

type lockServer struct {
	services *Services
	v3lockpb.UnsafeLockServer
}

// Lock waits until the caller has the mutex of a name, and returns the key that says so.
func (l *lockServer) Lock(ctx context.Context, r *v3lockpb.LockRequest) (*v3lockpb.LockResponse, error) {
	ctx, cancel := l.services.call(ctx)
	defer cancel()
	s, err := l.services.session(ctx, r.Lease)
	if err != nil {
		return nil, reason(ctx, err)
	}
	m := concurrency.NewMutex(s, string(r.Name))
	if err := m.Lock(ctx); err != nil {
		return nil, reason(ctx, err)
	}
	return &v3lockpb.LockResponse{Header: m.Header(), Key: []byte(m.Key())}, nil
}

// Unlock gives a mutex back by its key.
func (l *lockServer) Unlock(ctx context.Context, r *v3lockpb.UnlockRequest) (*v3lockpb.UnlockResponse, error) {
	ctx, cancel := l.services.call(ctx)
	defer cancel()
	resp, err := l.services.client.Load().Delete(ctx, string(r.Key))
	if err != nil {
		return nil, reason(ctx, err)
	}
	return &v3lockpb.UnlockResponse{Header: resp.Header}, nil
}
