package etcdapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// serverMetrics are what the server itself counts beside calls, under etcd's names.
type serverMetrics struct {
	sent, received         prometheus.Counter
	requests               *prometheus.CounterVec
	streamFailures         *prometheus.CounterVec
	durations              *prometheus.HistogramVec
	healthy, unhealthy     prometheus.Counter
	checks                 *prometheus.GaugeVec
	checked                *prometheus.CounterVec
	hash, hashRev, backups prometheus.Histogram

	// times are those of durations by the method of a call, failed and not. It is complete
	// before the server serves.
	times map[string][2]prometheus.Observer
	// readTxn are those of transactions that only read.
	readTxn [2]prometheus.Observer

	mu       sync.Mutex
	versions map[string]bool
	// calls are the series of requests, found once: a look-up by labels costs more than
	// all else that is counted of a call.
	calls map[clientKind]prometheus.Counter
}

// clientKind is a kind of call, "unary" or "stream", by a client of a version.
type clientKind struct{ kind, version string }

// maxClientVersions bounds the versions of clients that are counted apart: they say of
// themselves what they are.
const maxClientVersions = 32

func newServerMetrics(reg prometheus.Registerer) (*serverMetrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	times := func(name, help string, first float64, n int) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(first, 2, n)}
	}
	m := &serverMetrics{
		sent:           counter("etcd_network_client_grpc_sent_bytes_total", "Bytes of messages sent to clients."),
		received:       counter("etcd_network_client_grpc_received_bytes_total", "Bytes of messages received from clients."),
		requests:       counters("etcd_server_client_requests_total", "Calls by the version that the client says it has.", "type", "client_api_version"),
		streamFailures: counters("etcd_network_server_stream_failures_total", "Streams of this member that failed.", "Type", "API"),
		durations: prometheus.NewHistogramVec(times("etcd_server_request_duration_seconds",
			"Time that a request took.", .001, 14), []string{"type", "success"}),
		healthy:   counter("etcd_server_health_success", "Times that /health found the member healthy."),
		unhealthy: counter("etcd_server_health_failures", "Times that /health did not."),
		checks: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "etcd_server_healthcheck", Help: "Whether a check of /livez or /readyz succeeded the last time.",
		}, []string{"type", "name"}),
		checked:  counters("etcd_server_healthchecks_total", "Checks of /livez and /readyz by what came of them.", "type", "name", "status"),
		hash:     prometheus.NewHistogram(times("etcd_mvcc_hash_duration_seconds", "Time that it took to hash the store.", .01, 15)),
		hashRev:  prometheus.NewHistogram(times("etcd_mvcc_hash_rev_duration_seconds", "Time that it took to hash the key space of a revision.", .01, 15)),
		backups:  prometheus.NewHistogram(times("etcd_disk_backend_snapshot_duration_seconds", "Time that it took to make a snapshot and to send it to a client.", .01, 17)),
		times:    map[string][2]prometheus.Observer{},
		versions: map[string]bool{},
		calls:    map[clientKind]prometheus.Counter{},
	}
	for _, c := range []prometheus.Collector{
		m.sent, m.received, m.requests, m.streamFailures, m.durations, m.healthy, m.unhealthy, m.checks, m.checked, m.hash, m.hashRev, m.backups,
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register server metrics: %w", err)
		}
	}
	return m, nil
}

// requestType is what etcd calls the kind of a call that it times; empty is none of them.
func requestType(service, method string) string {
	switch {
	case service == "etcdserverpb.KV" && method == "Compact":
		return "Compaction"
	case service == "etcdserverpb.KV", service == "etcdserverpb.Lease" && (method == "LeaseGrant" || method == "LeaseRevoke"),
		service == "etcdserverpb.Maintenance" && method == "Alarm", method == "Authenticate":
		return method
	case service == "etcdserverpb.Auth":
		return "Auth" + method
	}
	return ""
}

// prepare makes the series of every unary call that is timed.
func (m *serverMetrics) prepare(services map[string]grpc.ServiceInfo) {
	for service, info := range services {
		for _, method := range info.Methods {
			if kind := requestType(service, method.Name); kind != "" && !method.IsServerStream && !method.IsClientStream {
				m.times["/"+service+"/"+method.Name] = m.timesOf(kind)
			}
		}
	}
	m.readTxn = m.timesOf("ReadonlyTxn")
}

func (m *serverMetrics) timesOf(kind string) [2]prometheus.Observer {
	var out [2]prometheus.Observer
	for i := range out {
		out[i] = m.durations.WithLabelValues(kind, strconv.FormatBool(i == 1))
	}
	return out
}

// unary times a call that was let in.
func (m *serverMetrics) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	times, timed := m.times[info.FullMethod]
	if !timed {
		return handler(ctx, req)
	}
	if t, ok := req.(*pb.TxnRequest); ok && onlyReads(t) {
		times = m.readTxn
	}
	began := time.Now()
	resp, err := handler(ctx, req)
	success := 0
	if err == nil {
		success = 1
	}
	times[success].Observe(time.Since(began).Seconds())
	return resp, err
}

// streamNames are the streams whose failures are counted, as etcd calls them.
var streamNames = map[string]string{
	pb.Watch_Watch_FullMethodName:          "watch",
	pb.Lease_LeaseKeepAlive_FullMethodName: "lease-keepalive",
}

// stream counts how a stream fails, but for its client's end.
func (m *serverMetrics) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if name := streamNames[info.FullMethod]; name != "" {
		ss = &fallibleStream{ServerStream: ss, failures: m.streamFailures, name: name}
	}
	return handler(srv, ss)
}

// fallibleStream counts its failures.
type fallibleStream struct {
	grpc.ServerStream
	failures *prometheus.CounterVec
	name     string
}

// failed looks at the error and not at the stream's context: gRPC cancels that by itself
// when either of its messages fails.
func (s *fallibleStream) failed(what string, err error) error {
	switch status.Code(err) {
	case codes.OK, codes.Canceled, codes.DeadlineExceeded, codes.Unavailable: // its client ended it, or is gone
		return err
	}
	if !errors.Is(err, io.EOF) {
		s.failures.WithLabelValues(what, s.name).Inc()
	}
	return err
}

// SendMsg implements grpc.ServerStream.
func (s *fallibleStream) SendMsg(m any) error { return s.failed("send", s.ServerStream.SendMsg(m)) }

// RecvMsg implements grpc.ServerStream.
func (s *fallibleStream) RecvMsg(m any) error { return s.failed("receive", s.ServerStream.RecvMsg(m)) }

// onlyReads reports whether a transaction writes nothing, whichever way it goes. One that
// is nested in it counts as a write, as with etcd.
func onlyReads(t *pb.TxnRequest) bool {
	for _, ops := range [][]*pb.RequestOp{t.GetSuccess(), t.GetFailure()} {
		for _, op := range ops {
			if op.GetRequestRange() == nil {
				return false
			}
		}
	}
	return true
}

// client counts a call, "unary" or "stream", of a client of this version.
func (m *serverMetrics) client(kind, version string) {
	m.mu.Lock()
	calls, ok := m.calls[clientKind{kind, version}]
	if !ok {
		calls = m.callsOf(kind, version)
	}
	m.mu.Unlock()
	calls.Inc()
}

// callsOf finds a series that was not looked for yet, or is one of those not told apart.
// The lock is held.
func (m *serverMetrics) callsOf(kind, version string) prometheus.Counter {
	if !m.versions[version] {
		if len(m.versions) >= maxClientVersions || len(version) > 64 {
			return m.requests.WithLabelValues(kind, "other")
		}
		version = strings.Clone(version)
		m.versions[version] = true
	}
	calls := m.requests.WithLabelValues(kind, version)
	m.calls[clientKind{kind, version}] = calls
	return calls
}

// health counts what /health found.
func (m *serverMetrics) health(ok bool) {
	if ok {
		m.healthy.Inc()
		return
	}
	m.unhealthy.Inc()
}

// check notes what came of a check of /livez or /readyz.
func (m *serverMetrics) check(kind, name string, err error) {
	value, status := 1., "success"
	if err != nil {
		value, status = 0, "error"
	}
	m.checks.WithLabelValues(kind, name).Set(value)
	m.checked.WithLabelValues(kind, name, status).Inc()
}

// codec counts the bytes of messages. It is that of gRPC, which registers it.
type codec struct {
	encoding.CodecV2
	sent, received prometheus.Counter
}

func (m *serverMetrics) codec() codec { return codec{encoding.GetCodecV2("proto"), m.sent, m.received} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	b, err := c.CodecV2.Marshal(v)
	c.sent.Add(float64(b.Len()))
	return b, err
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(b mem.BufferSlice, v any) error {
	c.received.Add(float64(b.Len()))
	return c.CodecV2.Unmarshal(b, v)
}
