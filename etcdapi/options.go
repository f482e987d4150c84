package etcdapi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"chainfire"
)

const (
	defaultMaxRequestBytes = 1536 * 1024
	defaultMaxTxnOps       = 128
	// messageOverhead is what a gRPC message may be larger than the request
	// limit, so that a request which is a little too large gets etcd's error
	// and not gRPC's. Watch answers are split at the same size.
	messageOverhead = 512 * 1024

	defaultKeepaliveMinTime  = 5 * time.Second
	defaultKeepaliveInterval = 2 * time.Hour
	defaultKeepaliveTimeout  = 20 * time.Second
	defaultRequestTimeout    = 7 * time.Second
	defaultNoLeaderTimeout   = 3 * time.Second
	defaultStatusInterval    = 250 * time.Millisecond
)

// Options configure a Server. The zero value of each field but Member means its
// default; the defaults are etcd's.
type Options struct {
	// Member is the running member that answers. It is required.
	Member chainfire.Member
	// Logger is where the server logs. The default discards.
	Logger *slog.Logger
	// Registry is where the server's metrics are registered and what /metrics
	// shows. The default is a registry of the server's own.
	Registry *prometheus.Registry
	// MaxRequestBytes bounds the encoded size of a write. The default is 1.5 MiB.
	MaxRequestBytes int
	// MaxTxnOps bounds the comparisons and the operations of each branch of a
	// transaction, nested ones included along the way down. The default is 128.
	MaxTxnOps int
	// MaxConcurrentStreams bounds the calls in flight on one connection. The
	// default is no bound.
	MaxConcurrentStreams uint32
	// KeepaliveMinTime is the shortest interval at which a client may ping. A
	// client that pings more often is disconnected. The default is 5 seconds.
	KeepaliveMinTime time.Duration
	// KeepaliveInterval is the idle time after which the server pings a client,
	// and KeepaliveTimeout how long it waits for the answer. The defaults are 2
	// hours and 20 seconds.
	KeepaliveInterval, KeepaliveTimeout time.Duration
	// RequestTimeout bounds the reads that health checks do. The default is 7
	// seconds.
	RequestTimeout time.Duration
	// NoLeaderTimeout is how long the member may know no leader before streams
	// that require one are ended. The default is 3 seconds.
	NoLeaderTimeout time.Duration
	// StatusInterval is how often the member is asked for its leader and role.
	// The default is 250 milliseconds.
	StatusInterval time.Duration
	// SniffTimeout bounds how long a new connection may say nothing. The
	// default is 10 seconds.
	SniffTimeout time.Duration
	// TLS, if it is set, is what clients speak on every port; it may decide for each by
	// GetConfigForClient. Who speaks plain text is refused then. A handler finds the
	// state of the connection as credentials.TLSInfo in the AuthInfo of its peer, but for
	// calls that came as JSON. The default is plain text.
	TLS *tls.Config
	// HostWhitelist are the host names that HTTP requests without TLS may be made to.
	// Empty, and "*" among them, is any.
	HostWhitelist []string
	// CORS are the origins of the web pages that may read answers over HTTP, as
	// https://example.org. Empty, and "*" among them, is any, as with etcd.
	CORS []string
	// CertificateUsers says that the common name of a client's certificate names the user
	// that it is, where it shows no token. It has an effect with TLS alone.
	CertificateUsers bool
	// Profiles serves profiles of the process under /debug/pprof/, as etcd does if told
	// to. Whoever reaches the port can read and slow down the process by them.
	Profiles bool
	// SlowCall is from when on a unary call is logged that took longer, SlowRead the same of
	// a read with the wait for it. The default is never.
	SlowCall, SlowRead time.Duration
	// ExtensiveMetrics times calls as well, by method (grpc_server_handling_seconds).
	ExtensiveMetrics bool
	// NoGateway leaves out what is served as JSON over HTTP.
	NoGateway bool
	// Register adds further services to the gRPC server. It is called once, by
	// New. Their calls are counted, and refused without a leader if they carry
	// that requirement, but they are served on learners too.
	Register func(grpc.ServiceRegistrar)

	// metrics are made by New.
	metrics *serverMetrics
}

// withDefaults returns the options with every default filled in.
func (o Options) withDefaults() (Options, error) {
	if o.Member == nil {
		return o, errors.New("etcdapi: no member given")
	}
	if o.MaxRequestBytes < 0 || o.MaxRequestBytes > math.MaxInt32-messageOverhead {
		return o, fmt.Errorf("etcdapi: request limit of %d bytes is out of range", o.MaxRequestBytes)
	}
	if o.MaxTxnOps < 0 {
		return o, fmt.Errorf("etcdapi: transaction limit of %d operations is out of range", o.MaxTxnOps)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	orInt(&o.MaxRequestBytes, defaultMaxRequestBytes)
	orInt(&o.MaxTxnOps, defaultMaxTxnOps)
	if o.MaxConcurrentStreams == 0 {
		o.MaxConcurrentStreams = math.MaxUint32
	}
	orDuration(&o.KeepaliveMinTime, defaultKeepaliveMinTime)
	orDuration(&o.KeepaliveInterval, defaultKeepaliveInterval)
	orDuration(&o.KeepaliveTimeout, defaultKeepaliveTimeout)
	orDuration(&o.RequestTimeout, defaultRequestTimeout)
	orDuration(&o.NoLeaderTimeout, defaultNoLeaderTimeout)
	orDuration(&o.StatusInterval, defaultStatusInterval)
	return o, nil
}

func orInt(v *int, def int) {
	if *v == 0 {
		*v = def
	}
}

func orDuration(v *time.Duration, def time.Duration) {
	if *v <= 0 {
		*v = def
	}
}
