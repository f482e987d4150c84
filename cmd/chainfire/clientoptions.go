package main

import (
	"fmt"
	"math"
	"time"

	"github.com/spf13/pflag"

	"chainfire"
	"chainfire/etcdapi"
)

// clientOptions bound what clients may ask, with etcd's flags of the same names.
type clientOptions struct {
	maxTxnOps           int
	maxStreams          uint32
	pingMin             time.Duration
	pingEvery, pingWait time.Duration
	progressEvery       time.Duration
	profiles            bool
	cors, hostWhitelist []string
}

// minProgressEvery is as etcd has it.
const minProgressEvery = 100 * time.Millisecond

func (o *clientOptions) flags(f *pflag.FlagSet) {
	f.IntVar(&o.maxTxnOps, "max-txn-ops", 128, "the most comparisons, and operations of a branch, that a transaction may have")
	f.Uint32Var(&o.maxStreams, "max-concurrent-streams", math.MaxUint32, "the most calls that a client may have under way on one connection")
	f.DurationVar(&o.pingMin, "grpc-keepalive-min-time", 5*time.Second, "the least time between two pings of a client; one that pings more often is disconnected")
	f.DurationVar(&o.pingEvery, "grpc-keepalive-interval", 2*time.Hour, "after how long without a word a client is pinged; 0 is never")
	f.DurationVar(&o.pingWait, "grpc-keepalive-timeout", 20*time.Second, "how long a client may take to answer that; 0 is for ever")
	f.DurationVar(&o.progressEvery, "watch-progress-notify-interval", 10*time.Minute, "how often idle watches that asked for it are told how far they are; 0 is the default")
	f.BoolVar(&o.profiles, "enable-pprof", false, "serve profiles of the process under /debug/pprof/ at the client port, to whoever can reach it")
	f.StringSliceVar(&o.cors, "cors", []string{"*"}, "origins of web pages that may read what HTTP answers; empty or * is any")
	f.StringSliceVar(&o.hostWhitelist, "host-whitelist", []string{"*"}, "host names that HTTP requests without TLS may be made to; empty or * is any")
}

func (o *clientOptions) check() error {
	switch {
	case o.maxTxnOps < 1 || o.maxTxnOps > chainfire.MaxTxnParts:
		return fmt.Errorf("--max-txn-ops %d: give between 1 and %d", o.maxTxnOps, chainfire.MaxTxnParts)
	case o.maxStreams == 0:
		return fmt.Errorf("--max-concurrent-streams 0: give at least 1")
	case o.pingMin < 0 || o.pingEvery < 0 || o.pingWait < 0:
		return fmt.Errorf("--grpc-keepalive-min-time, --grpc-keepalive-interval and --grpc-keepalive-timeout: give no time below 0")
	case o.progressEvery != 0 && o.progressEvery < minProgressEvery:
		return fmt.Errorf("--watch-progress-notify-interval %v: give at least %v", o.progressEvery, minProgressEvery)
	}
	return nil
}

// apply puts them into the options of the client port.
func (o *clientOptions) apply(to *etcdapi.Options) {
	never := func(d time.Duration) time.Duration {
		if d == 0 {
			return math.MaxInt64
		}
		return d
	}
	to.MaxTxnOps, to.MaxConcurrentStreams = o.maxTxnOps, o.maxStreams
	// What is 0 in a flag means none; there it would mean the default.
	to.KeepaliveMinTime = max(o.pingMin, 1)
	to.KeepaliveInterval, to.KeepaliveTimeout = never(o.pingEvery), never(o.pingWait)
	to.Profiles = o.profiles
	to.CORS, to.HostWhitelist = o.cors, o.hostWhitelist
}
