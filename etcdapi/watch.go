package etcdapi

import (
	"context"
	"errors"
	"io"
	"log/slog"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
)

// watchMember is what watches need of a member.
type watchMember interface {
	chainfire.Watcher
	chainfire.Auth
}

// watchServer is etcd's Watch service.
type watchServer struct {
	member watchMember
	log    *slog.Logger
	// maxMessage is the size above which the answers of a watch that allows it
	// are split.
	maxMessage int
	pb.UnsafeWatchServer
}

var _ pb.WatchServer = (*watchServer)(nil)

// Watch serves one stream with two goroutines, whatever the number of watches:
// this one hands out what the member's stream has, the other one obeys the
// client. It returns why the stream ended.
func (s *watchServer) Watch(stream pb.Watch_WatchServer) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	w := newWatchSession(s.member, stream, s.maxMessage)
	defer w.close()
	// The receiver outlives this call until gRPC ends the stream, which it does
	// when this call returns; it is only then that Recv stops to wait.
	go func() {
		err := w.obey(stream)
		if err == nil || errors.Is(err, io.EOF) {
			return // the client sends no more, and goes on to watch
		}
		s.log.Debug("watch stream cannot be read any more", "err", err)
		cancel(err)
	}()
	err := w.handOut(ctx)
	s.log.Debug("watch stream ended", "reason", err)
	return err
}

// obey performs what the client asks for. It returns nil once the session is
// closed.
func (w *watchSession) obey(stream pb.Watch_WatchServer) error {
	for {
		req, err := stream.Recv()
		if err != nil {
			return err
		}
		switch u := req.GetRequestUnion().(type) {
		case *pb.WatchRequest_CreateRequest:
			err = w.create(u.CreateRequest)
		case *pb.WatchRequest_CancelRequest:
			err = w.cancel(u.CancelRequest.GetWatchId())
		case *pb.WatchRequest_ProgressRequest:
			w.requestProgress()
		default:
			// A request of a kind that is not known yet does not end the stream.
		}
		if errors.Is(err, errSessionClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// handOut sends what the member's stream has until the stream ends.
func (w *watchSession) handOut(ctx context.Context) error {
	for {
		resp, err := w.watches.Recv(ctx)
		if err != nil {
			return endReason(ctx, err)
		}
		if err := w.deliver(resp); err != nil {
			return endReason(ctx, err)
		}
	}
}

// endReason is what the client is told when its stream ends.
func endReason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, context.Canceled) {
		return rpctypes.ErrGRPCWatchCanceled
	}
	if s, ok := status.FromError(err); ok && s.Code() != codes.OK {
		return err
	}
	return toGRPC(err)
}

// newWatchRequest converts a request. id is the watch's name on the member's
// stream, from is its first revision.
func newWatchRequest(r *pb.WatchCreateRequest, id, from int64) *chainfire.WatchRequest {
	out := &chainfire.WatchRequest{
		Key: watchKey(r), RangeEnd: r.RangeEnd, StartRevision: from, ID: id,
		PrevKV: r.PrevKv, ProgressNotify: r.ProgressNotify, Fragment: r.Fragment,
	}
	for _, f := range r.Filters {
		switch f {
		case pb.WatchCreateRequest_NOPUT:
			out.NoPut = true
		case pb.WatchCreateRequest_NODELETE:
			out.NoDelete = true
		}
	}
	return out
}

// watchKey is the first key of the watched interval; no key stands for the
// smallest one.
func watchKey(r *pb.WatchCreateRequest) []byte {
	if len(r.Key) == 0 {
		return []byte{0}
	}
	return r.Key
}
