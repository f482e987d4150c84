package etcdapi

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// lastCode is the highest code that gRPC defines.
const lastCode = codes.Unauthenticated

// callMetrics counts and times the calls of a gRPC server, under the names and
// labels that etcd's dashboards use.
type callMetrics struct {
	started, received, sent, handled *prometheus.CounterVec
	// seconds is nil where calls are not timed.
	seconds *prometheus.HistogramVec
	// methods is complete before the server serves and is not written later.
	methods map[string]*methodMetrics
}

// methodMetrics are the series of one method, found once so that a call costs
// no look-up by labels.
type methodMetrics struct {
	started, received, sent prometheus.Counter
	handled                 [lastCode + 1]prometheus.Counter
	// seconds is nil where calls are not timed.
	seconds prometheus.Observer
}

// newCallMetrics makes the metrics; with timed calls have a histogram of their times.
func newCallMetrics(reg prometheus.Registerer, timed bool) (*callMetrics, error) {
	labels := []string{"grpc_type", "grpc_service", "grpc_method"}
	counter := func(name, help string, labels []string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &callMetrics{
		started:  counter("grpc_server_started_total", "Calls started on the server.", labels),
		received: counter("grpc_server_msg_received_total", "Messages received from clients.", labels),
		sent:     counter("grpc_server_msg_sent_total", "Messages sent to clients.", labels),
		handled:  counter("grpc_server_handled_total", "Calls completed on the server, whatever the outcome.", append(labels[:3:3], "grpc_code")),
		methods:  make(map[string]*methodMetrics),
	}
	all := []prometheus.Collector{m.started, m.received, m.sent, m.handled}
	if timed {
		m.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "grpc_server_handling_seconds", Help: "Time from the start of a call to its end.",
			// Those of etcd, so that sums over both are right, and finer ones below.
			Buckets: append([]float64{.0001, .00025, .0005, .001, .0025}, prometheus.DefBuckets...),
		}, labels)
		all = append(all, m.seconds)
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register call metrics: %w", err)
		}
	}
	return m, nil
}

// prepare makes the series of every method that the server has.
func (m *callMetrics) prepare(services map[string]grpc.ServiceInfo) {
	for service, info := range services {
		for _, method := range info.Methods {
			l := []string{callType(method.IsClientStream, method.IsServerStream), service, method.Name}
			mm := &methodMetrics{
				started: m.started.WithLabelValues(l...), received: m.received.WithLabelValues(l...),
				sent: m.sent.WithLabelValues(l...),
			}
			if m.seconds != nil {
				mm.seconds = m.seconds.WithLabelValues(l...)
			}
			for c := range mm.handled {
				mm.handled[c] = m.handled.WithLabelValues(l[0], l[1], l[2], codes.Code(c).String())
			}
			m.methods["/"+service+"/"+method.Name] = mm
		}
	}
}

func callType(clientStream, serverStream bool) string {
	switch {
	case clientStream && serverStream:
		return "bidi_stream"
	case clientStream:
		return "client_stream"
	case serverStream:
		return "server_stream"
	}
	return "unary"
}

// end counts a call that returned err.
func (m *methodMetrics) end(start time.Time, err error) {
	s, ok := status.FromError(err)
	if !ok {
		s = status.FromContextError(err)
	}
	c := s.Code()
	if c > lastCode {
		c = codes.Unknown
	}
	m.handled[c].Inc()
	if m.seconds != nil {
		m.seconds.Observe(time.Since(start).Seconds())
	}
}

func (m *callMetrics) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	mm := m.methods[info.FullMethod]
	if mm == nil {
		return handler(ctx, req)
	}
	start := time.Now()
	mm.started.Inc()
	mm.received.Inc()
	resp, err := handler(ctx, req)
	if err == nil {
		mm.sent.Inc()
	}
	mm.end(start, err)
	return resp, err
}

func (m *callMetrics) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	mm := m.methods[info.FullMethod]
	if mm == nil {
		return handler(srv, ss)
	}
	start := time.Now()
	mm.started.Inc()
	err := handler(srv, &countedStream{ServerStream: ss, metrics: mm})
	mm.end(start, err)
	return err
}

// countedStream counts the messages of a stream.
type countedStream struct {
	grpc.ServerStream
	metrics *methodMetrics
}

// SendMsg sends and counts.
func (s *countedStream) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	if err == nil {
		s.metrics.sent.Inc()
	}
	return err
}

// RecvMsg receives and counts.
func (s *countedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil {
		s.metrics.received.Inc()
	}
	return err
}
