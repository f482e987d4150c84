package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"chainfire/s3api"
)

// s3Stats are the metrics of S3.
type s3Stats struct {
	requests *prometheus.CounterVec
	slowed   *prometheus.CounterVec
	in, out  prometheus.Counter
	inFlight prometheus.Gauge
}

var _ s3api.Stats = (*s3Stats)(nil)

func newS3Stats(r prometheus.Registerer) (*s3Stats, error) {
	s := &s3Stats{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chainfire_s3_requests_total", Help: "Requests of S3 that were answered, by operation and the class of the status.",
		}, []string{"operation", "status"}),
		slowed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chainfire_s3_slowed_down_total", Help: "Requests of S3 that were told to slow down, by the reason.",
		}, []string{"reason"}),
		in: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chainfire_s3_received_bytes_total", Help: "Bytes of the bodies of requests of S3.",
		}),
		out: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chainfire_s3_sent_bytes_total", Help: "Bytes of the bodies of answers of S3.",
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "chainfire_s3_requests_in_flight", Help: "Requests of S3 that are being served.",
		}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{s.requests, s.slowed, s.in, s.out, s.inFlight} {
		errs = append(errs, r.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register the metrics of S3: %w", err)
	}
	for _, reason := range s3api.SlowReasons() {
		s.slowed.WithLabelValues(reason) // from the start, at 0: the first one is an increase
	}
	return s, nil
}

// Began implements s3api.Stats.
func (s *s3Stats) Began() { s.inFlight.Inc() }

// SlowedDown implements s3api.Stats.
func (s *s3Stats) SlowedDown(reason string) { s.slowed.WithLabelValues(reason).Inc() }

// Ended implements s3api.Stats.
func (s *s3Stats) Ended(operation string, status int, in, out int64) {
	s.inFlight.Dec()
	if operation == "" {
		operation = "none"
	}
	class := "none" // cut off before there was one
	if status > 0 {
		class = strconv.Itoa(status/100) + "xx"
	}
	s.requests.WithLabelValues(operation, class).Inc()
	s.in.Add(float64(in))
	s.out.Add(float64(out))
}
