package etcdapi

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	"chainfire"
)

const (
	// maxSlowText bounds what a line of the log says of a request: a key may be as long as a
	// request.
	maxSlowText = 1 << 10
	// How many lines about what took long there are in a second, and at once.
	slowLines, slowBurst = 5, 20
)

// slowLog tells of what took long: of keys, never of values.
type slowLog struct {
	log *slog.Logger
	// call and read are those of Options; 0 is never.
	call, read time.Duration
	lines      *rate.Limiter
	// leftOut are the lines that there were too many of since the last one.
	leftOut atomic.Uint64
	// reads are the slow ones, told of or not.
	reads atomic.Uint64
}

func newSlowLog(o *Options) *slowLog {
	return &slowLog{log: o.Logger, call: o.SlowCall, read: o.SlowRead, lines: rate.NewLimiter(slowLines, slowBurst)}
}

// unary times a call, its checks included.
func (l *slowLog) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	began := time.Now()
	resp, err := handler(ctx, req)
	took := time.Since(began)
	switch {
	case l.call > 0 && took > l.call:
		l.warn(ctx, "a request took long", func() []slog.Attr { return callAttrs(ctx, info.FullMethod, began, took, req, resp) })
	case l.log.Enabled(ctx, slog.LevelDebug):
		l.log.LogAttrs(ctx, slog.LevelDebug, "a request was answered", callAttrs(ctx, info.FullMethod, began, took, req, resp)...)
	}
	return resp, err
}

// warn logs unless there was much to tell lately.
func (l *slowLog) warn(ctx context.Context, msg string, attrs func() []slog.Attr) {
	if !l.lines.Allow() {
		l.leftOut.Add(1)
		return
	}
	a := attrs()
	if n := l.leftOut.Swap(0); n > 0 {
		a = append(a, slog.Uint64("left_out", n))
	}
	l.log.LogAttrs(ctx, slog.LevelWarn, msg, a...)
}

// callAttrs are what etcd says of a call. What it does not count is -1.
func callAttrs(ctx context.Context, method string, began time.Time, took time.Duration, req, resp any) []slog.Attr {
	remote := "No remote client info."
	if p, ok := peer.FromContext(ctx); ok {
		remote = p.Addr.String()
	}
	s := summarize(req, resp)
	return []slog.Attr{
		slog.Time("began", began), slog.Duration("took", took), slog.String("remote", remote), slog.String("method", method),
		slog.Int64("request_count", s.requests), slog.Int("request_bytes", s.requestBytes),
		slog.Int64("response_count", s.responses), slog.Int("response_bytes", s.responseBytes), slog.String("request", clip(s.request)),
	}
}

// callSummary is what is told of a call and its answer.
type callSummary struct {
	requests, responses         int64
	requestBytes, responseBytes int
	request                     string
}

// summarize describes the calls that etcd describes. The others may have secrets in them.
func summarize(req, resp any) callSummary {
	s := callSummary{requests: -1, responses: -1, requestBytes: -1, responseBytes: -1}
	switch a := resp.(type) {
	case *pb.RangeResponse:
		if q, ok := req.(*pb.RangeRequest); ok {
			s = callSummary{responses: a.GetCount(), requestBytes: proto.Size(q), responseBytes: proto.Size(a), request: q.String()}
		}
	case *pb.PutResponse:
		if q, ok := req.(*pb.PutRequest); ok {
			s = callSummary{requests: 1, requestBytes: proto.Size(q), responseBytes: proto.Size(a), request: describePut(q)}
		}
	case *pb.DeleteRangeResponse:
		if q, ok := req.(*pb.DeleteRangeRequest); ok {
			s = callSummary{responses: a.GetDeleted(), requestBytes: proto.Size(q), responseBytes: proto.Size(a), request: q.String()}
		}
	case *pb.TxnResponse:
		if q, ok := req.(*pb.TxnRequest); ok {
			taken := q.GetFailure()
			if a.GetSucceeded() {
				taken = q.GetSuccess()
			}
			s = callSummary{requests: int64(len(taken)), responseBytes: proto.Size(a), request: describeTxn(q)}
			for _, op := range taken {
				s.requestBytes += proto.Size(op)
			}
		}
	}
	return s
}

// describePut and describeTxn name sizes in place of values.
func describePut(q *pb.PutRequest) string {
	// What the client library makes of it is a Stringer, if of the old kind.
	return fmt.Sprint(pb.NewLoggablePutRequest(q))
}

func describeTxn(q *pb.TxnRequest) string { return pb.NewLoggableTxnRequest(q).String() }

// clip bounds a text.
func clip(s string) string {
	if len(s) <= maxSlowText {
		return s
	}
	return fmt.Sprintf("%s.. (%d bytes)", strings.ToValidUTF8(s[:maxSlowText], ""), len(s))
}

// ranged notes a range that began then.
func (l *slowLog) ranged(ctx context.Context, began time.Time, q *pb.RangeRequest, a *chainfire.RangeResponse, err error) {
	l.wasRead(ctx, began, "read-only range ", q, err, func() string {
		return fmt.Sprintf("range_response_count:%d size:%d", len(a.KVs), proto.Size(newRangeResponse(a)))
	})
}

// readTxn notes a transaction of nothing but reads that began then.
func (l *slowLog) readTxn(ctx context.Context, began time.Time, q *pb.TxnRequest, a *chainfire.TxnResponse, err error) {
	l.wasRead(ctx, began, "read-only txn ", pb.NewLoggableTxnRequest(q), err, func() string {
		var parts []string
		out := newTxnResponse(a)
		for _, r := range out.Responses {
			if op := r.GetResponseRange(); op != nil {
				parts = append(parts, fmt.Sprintf("range_response_count:%d", len(op.GetKvs())))
			}
		}
		return fmt.Sprintf("responses:<%s> size:%d", strings.Join(parts, " "), proto.Size(out))
	})
}

func (l *slowLog) wasRead(ctx context.Context, began time.Time, kind string, q fmt.Stringer, err error, answer func() string) {
	took := time.Since(began)
	if l.read <= 0 || took <= l.read {
		return
	}
	l.reads.Add(1)
	l.warn(ctx, "a read took long", func() []slog.Attr {
		a := []slog.Attr{
			slog.Duration("took", took), slog.Duration("limit", l.read), slog.String("kind", kind), slog.String("request", clip(q.String())),
		}
		if err != nil {
			return append(a, slog.String("response", ""), slog.Any("err", err))
		}
		return append(a, slog.String("response", clip(answer())))
	})
}
