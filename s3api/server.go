package s3api

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"chainfire/object"
	"chainfire/sigv4"
)

// Options say what a Server serves, and within which bounds.
type Options struct {
	// Service is the buckets and objects.
	Service object.Service
	// Region is the one that signatures are for; "us-east-1" where it is empty.
	Region string
	// Domains are the names, without ports, whose sub-domains are buckets. Without any,
	// buckets are only in paths.
	Domains []string
	// TrustForwarded believes X-Forwarded-Host, X-Forwarded-For and X-Forwarded-Proto. Set it
	// only behind a proxy that sets or removes each of them.
	TrustForwarded bool
	// HostID is what answers give as x-amz-id-2: which member it was.
	HostID string
	// Logger has the access log and what went wrong; slog.Default where it is nil.
	Logger *slog.Logger
	// Now is the clock; time.Now where it is nil.
	Now func() time.Time
	// Limits bound what requests may take.
	Limits Limits
	// Stats hears of every request; nil is nobody.
	Stats Stats
	// Traceable must be set where an execution trace of the process may be taken (package
	// runtime/trace): bodies then take more of the processor. A trace ends the process otherwise.
	Traceable bool
}

// Stats hears of requests, on the goroutine of each: Began as it begins, and Ended once it has
// been answered or cut off. Operation is as AWS calls it, empty where the request came to
// none; in and out are the bytes of its body and of the answer's. SlowedDown comes before Ended where
// the request was told to slow down, with one of SlowReasons.
type Stats interface {
	Began()
	SlowedDown(reason string)
	Ended(operation string, status int, in, out int64)
}

// noStats are stats that nobody hears of.
type noStats struct{}

func (noStats) Began()                          {}
func (noStats) SlowedDown(string)               {}
func (noStats) Ended(string, int, int64, int64) {}

// Limits bound what requests may take. A field that is 0 has its default.
type Limits struct {
	// Requests bounds those that are served at a time, default 1024. One more is told to
	// slow down. So is one of an access key that has three quarters of those that others
	// leave; all who have not signed count as one key.
	Requests int
	// Idle is how long a client may move no byte of a body, default a minute.
	Idle time.Duration
	// Headers is how long the headers of a request may take, default 20 s.
	Headers time.Duration
}

// Bounds that are the same for all servers.
const (
	// minRate is the least number of bytes of a body that a client must move per second of
	// those that the server waits for it. It is held over windows of rateWindow.
	minRate    = 1 << 10
	rateWindow = 30 * time.Second
	// keepAlive is how long a connection may wait for the next request; headerBytes bounds
	// the headers of one.
	keepAlive   = 2 * time.Minute
	headerBytes = 64 << 10
	// maxLookups is how often per second strangers make this member ask the cluster for keys
	// and policies that it does not know.
	maxLookups = 100
)

func (l Limits) withDefaults() Limits {
	return Limits{
		Requests: cmp.Or(l.Requests, 1024),
		Idle:     cmp.Or(l.Idle, time.Minute),
		Headers:  cmp.Or(l.Headers, 20*time.Second),
	}
}

// Server serves S3. Its methods may be called from any goroutine.
type Server struct {
	o        Options
	service  object.Service
	log      *slog.Logger
	verifier sigv4.Verifier
	table    []operation
	// documents are those of buckets, as they were read.
	documents *documents
	slots     *slots
	// lookups bounds how often strangers make this member ask the cluster.
	lookups *rate.Limiter
	rates   *rates
	buffers sync.Pool
	hashes  hashes
}

// New makes a server.
func New(o Options) *Server {
	o.Region = cmp.Or(o.Region, "us-east-1")
	o.Limits = o.Limits.withDefaults()
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Stats == nil {
		o.Stats = noStats{}
	}
	// The longest first: of two that are a host's the bucket is before the longer one.
	o.Domains = slices.SortedFunc(slices.Values(o.Domains), func(a, b string) int { return len(b) - len(a) })
	s := &Server{
		o: o, service: o.Service, log: o.Logger,
		verifier: sigv4.Verifier{
			Region: o.Region, Keys: contextKeys{}, Now: o.Now, TrustForwarded: o.TrustForwarded,
		},
		table:     operations(),
		documents: newDocuments(),
		slots:     newSlots(o.Limits.Requests),
		lookups:   rate.NewLimiter(maxLookups, maxLookups),
		rates:     newRates(),
		hashes:    hashes{single: o.Traceable},
	}
	s.buffers.New = func() any { return new([copyBuffer]byte) }
	return s
}

// Close waits until no request is being served, and ends what the server has beside them. Later
// requests are refused. Where the context ends first, that stays until the process ends. To be called
// once, after the HTTP server was shut down or closed.
func (s *Server) Close(ctx context.Context) {
	if s.slots.close(ctx) {
		s.hashes.close()
	}
}

// HTTPServer is a server of the standard library with the bounds on headers and connections
// that a handler cannot set.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.o.Limits.Headers,
		IdleTimeout:       keepAlive,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}
