package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"chainfire/bodies"
	"chainfire/etcdapi"
	"chainfire/etcdflags"
	"chainfire/internal/socket"
	"chainfire/node"
	"chainfire/raft"
)

// etcdOptions are what a configuration of etcd's comes to.
type etcdOptions struct {
	node node.Options
	api  etcdapi.Options
	tls  tlsOptions
	s3   s3Options
}

// etcdQuota is what etcd takes a quota of 0 for.
const etcdQuota = 2 << 30

// minProgressNotify bounds how often idle watches are told how far they are.
const minProgressNotify = 100 * time.Millisecond

// newEtcdOptions reads a configuration, as far as nothing of the data directory is needed.
func newEtcdOptions(cfg *etcdflags.Config, log *slog.Logger) (*etcdOptions, error) {
	if err := refuseEtcdData(cfg.DataDir); err != nil {
		return nil, err
	}
	s := serveOptions{
		heartbeat: time.Duration(cfg.Heartbeat) * time.Millisecond, election: time.Duration(cfg.Election) * time.Millisecond,
		history: historyOptions{mode: cfg.CompactionMode, retention: cfg.CompactionRetention},
		compare: compareOptions{every: cfg.CorruptCheck, atStart: cfg.Features.Enabled("InitialCorruptCheck")},
		auth:    authOptions{token: cfg.AuthToken, ttl: cfg.AuthTokenTTL, bcryptCost: cfg.BcryptCost},
		clients: clientOptions{
			maxTxnOps: int(min(cfg.MaxTxnOps, math.MaxInt32)), maxStreams: cfg.MaxStreams,
			pingMin: max(cfg.KeepaliveMinTime, 0), pingEvery: cfg.KeepaliveInterval, pingWait: cfg.KeepaliveTimeout,
			profiles: cfg.Pprof, cors: cfg.Origins(), hostWhitelist: cfg.HostWhitelist,
		},
	}
	if cfg.Features.Enabled("CompactHashCheck") {
		s.compare.compactEvery = cfg.CompactHashCheck
	}
	for _, check := range []func() error{s.history.parse, s.auth.parse, s.clients.check, s.compare.check} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	switch {
	case cfg.MaxRequestBytes < minRequestLimit || cfg.MaxRequestBytes > maxRequestLimit:
		return nil, fmt.Errorf("--max-request-bytes %d: give between %d and %d", cfg.MaxRequestBytes, minRequestLimit, maxRequestLimit)
	case cfg.ProgressNotify != 0 && cfg.ProgressNotify < minProgressNotify:
		return nil, fmt.Errorf("--watch-progress-notify-interval %v: give at least %v, or 0 for 10m", cfg.ProgressNotify, minProgressNotify)
	}
	tick, heartbeat, election, err := s.ticks()
	if err != nil {
		return nil, err
	}
	o := &etcdOptions{node: node.Options{
		Dir: cfg.DataDir, Name: cfg.Name, AdvertiseClient: cfg.AdvertiseClient.Strings(), Version: productVersion(),
		// Who votes is for operators to say, as with etcd.
		NoPromote: true, Voters: defaultVoters, ReplaceAfter: max(defaultReplaceAfter, s.election), ReserveTTL: defaultReserveTTL,
		TickInterval: tick, HeartbeatTicks: heartbeat, ElectionTicks: election, Engine: raft.NewCore,
		QuotaBytes: quota(cfg.QuotaBytes), DiskReserve: defaultDiskReserve, ProgressInterval: cfg.ProgressNotify,
	}}
	s.history.apply(&o.node)
	s.auth.apply(&o.node)
	s.compare.apply(&o.node)
	s.clients.apply(&o.api)
	o.slow(cfg)
	if o.node.MaxLearners = cfg.MaxLearners; cfg.MaxLearners == 0 {
		o.node.MaxLearners = -1
	}
	o.api.ExtensiveMetrics = cfg.Metrics == extensiveMetrics
	o.api.MaxRequestBytes, o.api.NoGateway = int(cfg.MaxRequestBytes), !cfg.Gateway
	o.peers(cfg, log)
	if err := o.security(cfg, log); err != nil {
		return nil, err
	}
	if err := o.objects(cfg); err != nil {
		return nil, err
	}
	return o, nil
}

// objects reads how S3 is served, which is nowhere unless that is said. As everywhere on
// this command line, what protects an address is for operators to say.
func (o *etcdOptions) objects(cfg *etcdflags.Config) error {
	rate, err := parseSize(cfg.S3BackgroundRate)
	if err != nil {
		return fmt.Errorf("--s3-background-rate: %w", err)
	}
	o.s3 = s3Options{
		on: cfg.ListenS3 != "", listen: givenText{value: cfg.ListenS3, given: cfg.ListenS3 != ""}, region: cfg.S3Region,
		domains: cfg.S3Domains, trustForwarded: cfg.S3TrustForwarded, sealKeyFile: cfg.SealKeyFile, blobStore: cfg.BlobStore,
		background: size(rate),
	}
	o.node.BodyRate = rate
	o.node.OweFirstKey, o.node.SealKeyFile, o.node.Bounds.NoBodies = o.s3.on, cfg.SealKeyFile, !o.s3.on
	if !o.s3.on && (len(cfg.S3Domains) > 0 || cfg.S3TrustForwarded || cfg.BlobStore != "" || rate != bodies.DefaultBytesPerSecond) {
		return errors.New("--s3-domain, --s3-trust-forwarded, --blob-store and --s3-background-rate are for S3, which is off without --listen-s3: give that as well")
	}
	return o.s3.check(o.tls.on(), true)
}

// extensiveMetrics is the value of --metrics that has more than the others.
const extensiveMetrics = "extensive"

// slow reads from when on what took long is logged. As with etcd no time for requests is
// the usual one, and no time for applying is all of it.
func (o *etcdOptions) slow(cfg *etcdflags.Config) {
	o.api.SlowCall = cfg.WarnUnary
	if cfg.WarnUnary == 0 {
		o.api.SlowCall = slowCall
	}
	o.api.SlowCall = max(o.api.SlowCall, time.Nanosecond)
	o.api.SlowRead = max(cfg.WarnApply, time.Nanosecond)
	o.node.SlowApply = o.api.SlowRead
}

func quota(n int64) int64 {
	switch {
	case n == 0:
		return etcdQuota
	case n < 0:
		return 0
	}
	return n
}

// refuseEtcdData refuses a directory that etcd has used.
func refuseEtcdData(dir string) error {
	for _, name := range []string{"member", "proxy"} {
		_, err := os.Lstat(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("--data-dir %s: %w", dir, err)
		default:
			return fmt.Errorf("--data-dir %s is that of a member of etcd (it holds %s), whose files are others: "+
				"make a new directory of it with 'chainfire snapshot restore %s --data-dir NEW', or of an etcd that runs with 'chainfire migrate', and name that one here; %s stays as it is",
				dir, name, dir, dir)
		}
	}
	return nil
}

// peers reads where this member and the others meet.
func (o *etcdOptions) peers(cfg *etcdflags.Config, log *slog.Logger) {
	o.node.Peers = &node.PeerPorts{
		Listen: cfg.ListenPeer.Strings(), Advertise: cfg.AdvertisePeer.Strings(),
		Socket: socket.Options(cfg.Sockets),
	}
	var plain, secure []string
	for _, u := range slices.Concat(cfg.ListenPeer, cfg.AdvertisePeer) {
		if etcdflags.Secure(u) {
			secure = append(secure, u.String())
		} else {
			plain = append(plain, u.String())
		}
	}
	if len(plain) > 0 && len(secure) > 0 {
		log.Warn("members reach this one with TLS and without it: what is said without it anybody on the way can read and change, and who reaches such a port is taken for a member",
			"with", secure, "without", plain)
	}
}
