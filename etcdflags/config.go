// Package etcdflags reads the command line of etcd 3.7: its flags, its environment
// variables and its file in YAML, as etcd reads them, with etcd's defaults. What each
// flag comes to here is in one table, of which docs/reference/etcd-flags.md is a print.
// The package opens no port and no file but that of the configuration, logs nothing, and
// knows nothing of a member.
package etcdflags

import (
	"maps"
	"math"
	"slices"
	"time"
)

// Config is what a command line comes to. It is filled by Parse; its tags are the names
// of the file. Fields that no field of the file is read into directly have none.
type Config struct {
	Name            string `json:"name"`
	DataDir         string `json:"data-dir"`
	WALDir          string `json:"wal-dir"`
	SnapshotCount   uint64 `json:"snapshot-count"`
	SnapshotCatchUp uint64 `json:"snapshot-catchup-entries"`
	MaxSnapshots    uint   `json:"max-snapshots"`
	MaxWALs         uint   `json:"max-wals"`
	// Heartbeat and Election are in milliseconds.
	Heartbeat   uint `json:"heartbeat-interval"`
	Election    uint `json:"election-timeout"`
	TickAdvance bool `json:"initial-election-tick-advance"`

	// ListenClient is where clients are served, ListenHTTP where those that speak HTTP
	// are, if there are any: then no HTTP is served at ListenClient.
	ListenPeer, ListenClient, ListenHTTP, ListenMetrics URLs `json:"-"`
	AdvertisePeer, AdvertiseClient                      URLs `json:"-"`

	// QuotaBytes is 0 for etcd's default, and less for no bound.
	QuotaBytes        int64         `json:"quota-backend-bytes"`
	FreelistType      string        `json:"backend-bbolt-freelist-type"`
	BatchInterval     time.Duration `json:"backend-batch-interval"`
	BatchLimit        int           `json:"backend-batch-limit"`
	MaxTxnOps         uint          `json:"max-txn-ops"`
	MaxRequestBytes   uint          `json:"max-request-bytes"`
	MaxStreams        uint32        `json:"max-concurrent-streams"`
	KeepaliveMinTime  time.Duration `json:"grpc-keepalive-min-time"`
	KeepaliveInterval time.Duration `json:"grpc-keepalive-interval"`
	KeepaliveTimeout  time.Duration `json:"grpc-keepalive-timeout"`
	Sockets           struct {
		ReusePort    bool `json:"reuse-port"`
		ReuseAddress bool `json:"reuse-address"`
	} `json:"socket-options"`
	PeerReadTimeout  time.Duration `json:"-"`
	PeerWriteTimeout time.Duration `json:"-"`
	MemoryLock       bool          `json:"memory-mlock"`

	InitialCluster      string    `json:"initial-cluster"`
	InitialClusterToken string    `json:"initial-cluster-token"`
	InitialClusterState string    `json:"initial-cluster-state"`
	DiscoverySRV        string    `json:"discovery-srv"`
	DiscoverySRVName    string    `json:"discovery-srv-name"`
	Discovery           Discovery `json:"-"`
	StrictReconfig      bool      `json:"strict-reconfig-check"`
	PreVote             bool      `json:"pre-vote"`
	CompactionMode      string    `json:"auto-compaction-mode"`
	CompactionRetention string    `json:"auto-compaction-retention"`
	V2Deprecation       []string  `json:"-"`
	ForceNewCluster     bool      `json:"force-new-cluster"`
	NoSync              bool      `json:"unsafe-no-fsync"`

	ClientTLS, PeerTLS TLS      `json:"-"`
	SelfSignedYears    uint     `json:"self-signed-cert-validity"`
	CipherSuites       []string `json:"cipher-suites"`
	TLSMinVersion      string   `json:"tls-min-version"`
	TLSMaxVersion      string   `json:"tls-max-version"`
	// CORS and HostWhitelist are sets; "*" is any.
	CORS          URLs     `json:"-"`
	HostWhitelist []string `json:"-"`

	AuthToken  string `json:"auth-token"`
	BcryptCost uint   `json:"bcrypt-cost"`
	// AuthTokenTTL is in seconds.
	AuthTokenTTL uint `json:"auth-token-ttl"`

	Pprof   bool   `json:"enable-pprof"`
	Metrics string `json:"metrics"`
	Gateway bool   `json:"enable-grpc-gateway"`

	Logger          string        `json:"logger"`
	LogOutputs      []string      `json:"log-outputs"`
	LogLevel        string        `json:"log-level"`
	LogFormat       string        `json:"log-format"`
	LogRotation     bool          `json:"enable-log-rotation"`
	LogRotationJSON string        `json:"log-rotation-config-json"`
	WarnApply       time.Duration `json:"warning-apply-duration"`
	WarnUnary       time.Duration `json:"warning-unary-request-duration"`
	Tracing         bool          `json:"enable-distributed-tracing"`
	TracingAddress  string        `json:"distributed-tracing-address"`
	TracingService  string        `json:"distributed-tracing-service-name"`
	TracingInstance string        `json:"distributed-tracing-instance-id"`
	TracingRate     int           `json:"distributed-tracing-sampling-rate"`

	CorruptCheck      time.Duration `json:"corrupt-check-time"`
	CompactHashCheck  time.Duration `json:"compact-hash-check-time"`
	CompactionBatch   int           `json:"compaction-batch-limit"`
	CompactionSleep   time.Duration `json:"compaction-sleep-interval"`
	ProgressNotify    time.Duration `json:"watch-progress-notify-interval"`
	DowngradeCheck    time.Duration `json:"downgrade-check-time"`
	DefragThresholdMB uint          `json:"bootstrap-defrag-threshold-megabytes"`
	MaxLearners       int           `json:"max-learners"`

	// Those of S3, which is served at ListenS3 alone; empty is nowhere.
	ListenS3         string   `json:"listen-s3"`
	S3Region         string   `json:"s3-region"`
	S3Domains        []string `json:"s3-domain"`
	S3TrustForwarded bool     `json:"s3-trust-forwarded"`
	SealKeyFile      string   `json:"seal-key-file"`
	BlobStore        string   `json:"blob-store"`
	// S3BackgroundRate is a number of bytes with or without a unit, as 64MiB.
	S3BackgroundRate string `json:"s3-background-rate"`
	// Features are the gates that were named.
	Features Gates `json:"-"`

	configFile  string
	fallback    string
	showVersion bool
}

// TLS is what is said at one of the two ports.
type TLS struct {
	CertFile, KeyFile, TrustedCAFile, CRLFile string
	// ClientCertFile and ClientKeyFile are shown where the member itself connects.
	ClientCertFile, ClientKeyFile string
	ClientCertAuth, Auto          bool
	AllowedCNs, AllowedHostnames  []string
	// SkipSANVerification takes a peer's certificate whatever names it is for.
	SkipSANVerification bool
}

// Discovery is where members would find each other.
type Discovery struct {
	Endpoints                                                    []string
	Token, Cert, Key, CACert, User, Password                     string
	DialTimeout, RequestTimeout, KeepaliveTime, KeepaliveTimeout time.Duration
	InsecureTransport, InsecureSkipVerify                        bool
}

// The states of --initial-cluster-state.
const (
	StateNew      = "new"
	StateExisting = "existing"
)

// DefaultName is the name of a member that is given none.
const DefaultName = "default"

const (
	defaultClient = "http://localhost:2379"
	defaultPeer   = "http://localhost:2380"
)

// DefaultOutput is where the log goes unless something else is said.
const DefaultOutput = "default"

// Defaults are what an empty command line comes to, but that nothing was checked.
func Defaults() *Config {
	c := &Config{
		Name: DefaultName, SnapshotCount: 10_000, SnapshotCatchUp: 5_000, MaxSnapshots: 5, MaxWALs: 5,
		Heartbeat: 100, Election: 1000, TickAdvance: true,
		ListenPeer: mustURLs(defaultPeer), ListenClient: mustURLs(defaultClient),
		AdvertisePeer: mustURLs(defaultPeer), AdvertiseClient: mustURLs(defaultClient),
		MaxTxnOps: 128, MaxRequestBytes: 1536 << 10, MaxStreams: math.MaxUint32,
		KeepaliveMinTime: 5 * time.Second, KeepaliveInterval: 2 * time.Hour, KeepaliveTimeout: 20 * time.Second,
		PeerReadTimeout: 5 * time.Second, PeerWriteTimeout: 5 * time.Second,
		InitialClusterToken: "etcd-cluster", InitialClusterState: StateNew,
		StrictReconfig: true, PreVote: true, CompactionMode: "periodic", CompactionRetention: "0",
		SelfSignedYears: 1, TLSMinVersion: "TLS1.2", CORS: URLs{any_}, HostWhitelist: []string{"*"},
		AuthToken: "simple", BcryptCost: 10, AuthTokenTTL: 300, Metrics: "basic", Gateway: true,
		Logger: "zap", LogOutputs: []string{DefaultOutput}, LogLevel: "info", LogFormat: "json",
		LogRotationJSON: `{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}`,
		WarnApply:       100 * time.Millisecond, WarnUnary: 300 * time.Millisecond,
		TracingAddress: "localhost:4317", TracingService: "etcd",
		CompactHashCheck: time.Minute, DowngradeCheck: 5 * time.Second, MaxLearners: 1,
		Features: Gates{}, fallback: "exit", S3Region: "us-east-1", S3BackgroundRate: "64MiB",
		Discovery: Discovery{
			DialTimeout: 2 * time.Second, RequestTimeout: 5 * time.Second,
			KeepaliveTime: 2 * time.Second, KeepaliveTimeout: 6 * time.Second, InsecureTransport: true,
		},
	}
	c.InitialCluster = c.alone()
	return c
}

// alone is the list of members that has this one only.
func (c *Config) alone() string {
	m := Member{Name: c.Name, PeerURLs: c.AdvertisePeer}
	if m.Name == "" {
		m.Name = DefaultName
	}
	return m.String()
}

// Gates are feature gates by their names.
type Gates map[string]bool

// knownGates are those of etcd 3.7, each with what it is by default.
var knownGates = map[string]bool{
	"AllAlpha": false, "AllBeta": false,
	"CompactHashCheck": false, "FastLeaseKeepAlive": true, "InitialCorruptCheck": false,
	"LeaseCheckpoint": false, "LeaseCheckpointPersist": false, "PriorityRequest": false,
	"SetMemberLocalAddr": false, "StopGRPCServiceOnDefrag": false, "TxnModeWriteWithSharedBuffer": true,
}

// KnownGates lists the names of the feature gates.
func KnownGates() []string { return slices.Sorted(maps.Keys(knownGates)) }

// stages are the gates that the two names for many stand for.
var stages = map[string][]string{
	"AllAlpha": {"CompactHashCheck", "InitialCorruptCheck", "LeaseCheckpoint", "LeaseCheckpointPersist", "PriorityRequest", "SetMemberLocalAddr", "StopGRPCServiceOnDefrag"},
	"AllBeta":  {"FastLeaseKeepAlive", "TxnModeWriteWithSharedBuffer"},
}

// Enabled reports whether a gate is open.
func (g Gates) Enabled(name string) bool {
	if on, named := g[name]; named {
		return on
	}
	for all, of := range stages {
		if on, named := g[all]; named && slices.Contains(of, name) {
			return on
		}
	}
	return knownGates[name]
}
