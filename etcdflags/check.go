package etcdflags

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// maxElection is the longest election timeout, in milliseconds.
const maxElection = 50_000

// journalOutput is the journal of systemd, as an output of the log.
const journalOutput = "systemd/journal"

// check finds what contradicts itself, in etcd's order, and what is not to be had here.
func (c *Config) check() error {
	for _, check := range []func() error{
		c.checkLogging, c.checkAddresses, c.checkCluster, c.checkTimes, c.checkFeatures, c.checkTLS, c.refused,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkLogging() error {
	switch {
	case c.Logger != "zap":
		return fmt.Errorf("--logger %q: there is only zap", c.Logger)
	case len(c.LogOutputs) > 1 && slices.Contains(c.LogOutputs, DefaultOutput):
		return fmt.Errorf("--log-outputs %s: %s stands alone; give stderr in its place", strings.Join(c.LogOutputs, ","), DefaultOutput)
	case len(c.LogOutputs) > 1 && slices.Contains(c.LogOutputs, journalOutput):
		return fmt.Errorf("--log-outputs %s: %s stands alone", strings.Join(c.LogOutputs, ","), journalOutput)
	case c.LogFormat != "json" && c.LogFormat != "console" && c.LogFormat != "":
		return fmt.Errorf("--log-format %q: choose json or console", c.LogFormat)
	case !slices.Contains([]string{"debug", "info", "warn", "error", "dpanic", "panic", "fatal"}, c.LogLevel):
		return fmt.Errorf("--log-level %q: choose debug, info, warn, error, panic or fatal", c.LogLevel)
	}
	if !c.LogRotation {
		return nil
	}
	if len(c.LogOutputs) != 1 || slices.Contains([]string{DefaultOutput, journalOutput, "stderr", "stdout"}, c.LogOutputs[0]) {
		return errors.New("--enable-log-rotation needs --log-outputs with the path of one file")
	}
	_, err := c.Rotation()
	return err
}

// Rotation is when a log file is begun anew.
type Rotation struct {
	// MaxSize is in megabytes, MaxAge in days; MaxBackups is how many files are kept. 0 is
	// 100 MB, and no bound.
	MaxSize    int  `json:"maxsize"`
	MaxAge     int  `json:"maxage"`
	MaxBackups int  `json:"maxbackups"`
	LocalTime  bool `json:"localtime"`
	Compress   bool `json:"compress"`
}

// Rotation reads --log-rotation-config-json.
func (c *Config) Rotation() (r Rotation, err error) {
	if err := json.Unmarshal([]byte(c.LogRotationJSON), &r); err != nil {
		return r, fmt.Errorf("--log-rotation-config-json: %w", err)
	}
	return r, nil
}

func (c *Config) checkAddresses() error {
	for _, l := range []struct {
		flag string
		urls URLs
	}{
		{"--listen-peer-urls", c.ListenPeer},
		{"--listen-client-urls", c.ListenClient},
		{"--listen-client-http-urls", c.ListenHTTP},
		{"--listen-metrics-urls", c.ListenMetrics},
	} {
		for _, u := range l.urls {
			if network, _ := Address(u); network == "unix" {
				continue
			}
			if host := u.Hostname(); host != "localhost" && net.ParseIP(host) == nil {
				return fmt.Errorf("%s %s: a member listens at addresses of its machine: give an IP address in place of %q, as 0.0.0.0 for all of them", l.flag, u.String(), host)
			}
		}
	}
	for _, l := range []struct {
		flag string
		urls URLs
	}{{"--initial-advertise-peer-urls", c.AdvertisePeer}, {"--advertise-client-urls", c.AdvertiseClient}} {
		for _, u := range l.urls {
			if network, _ := Address(u); network != "unix" && u.Hostname() == "" {
				return fmt.Errorf("%s %s has no host: give one at which others reach this member", l.flag, u.String())
			}
		}
	}
	return nil
}

func (c *Config) checkCluster() error {
	if c.InitialClusterState != StateNew && c.InitialClusterState != StateExisting {
		return fmt.Errorf("--initial-cluster-state %q: choose %s or %s", c.InitialClusterState, StateNew, StateExisting)
	}
	ways := 0
	for _, way := range []bool{c.InitialCluster != "", c.DiscoverySRV != "", len(c.Discovery.Endpoints) > 0} {
		if way {
			ways++
		}
	}
	switch {
	case ways > 1:
		return errors.New("--initial-cluster, --discovery-endpoints and --discovery-srv: give one of them")
	case c.Discovery.Token != "" && len(c.Discovery.Endpoints) == 0:
		return errors.New("--discovery-token goes with --discovery-endpoints; neither is supported: name the members with --initial-cluster")
	}
	return nil
}

func (c *Config) checkTimes() error {
	switch {
	case c.Heartbeat == 0:
		return errors.New("--heartbeat-interval 0: give a number of milliseconds above 0")
	case c.Election == 0:
		return errors.New("--election-timeout 0: give a number of milliseconds above 0")
	case c.Election > maxElection:
		return fmt.Errorf("--election-timeout %d: give at most %d milliseconds", c.Election, maxElection)
	case c.Heartbeat > c.Election/5:
		return fmt.Errorf("--election-timeout %d is less than five times --heartbeat-interval %d: a heartbeat that is a little late would cost the leader its place", c.Election, c.Heartbeat)
	case len(c.ListenClient) > 0 && len(c.AdvertiseClient) == 0:
		return errors.New("--advertise-client-urls is required when --listen-client-urls is set explicitly: give the addresses at which clients reach this member")
	case c.CompactionMode != "periodic" && c.CompactionMode != "revision":
		return fmt.Errorf("--auto-compaction-mode %q: choose periodic or revision", c.CompactionMode)
	}
	return nil
}

func (c *Config) checkFeatures() error {
	const maxRate = 1_000_000
	switch {
	case c.Tracing && (c.TracingRate < 0 || c.TracingRate > maxRate):
		return fmt.Errorf("--distributed-tracing-sampling-rate %d: give from 0 to %d", c.TracingRate, maxRate)
	case c.Features.Enabled("LeaseCheckpointPersist") && !c.Features.Enabled("LeaseCheckpoint"):
		return errors.New("--feature-gates: LeaseCheckpointPersist needs LeaseCheckpoint")
	case c.CompactHashCheck <= 0:
		return fmt.Errorf("--compact-hash-check-time %v: give a time above 0", c.CompactHashCheck)
	}
	return nil
}

func (c *Config) checkTLS() error {
	versions := map[string]int{"": 0, "TLS1.2": 12, "TLS1.3": 13}
	for _, v := range [][2]string{{"--tls-min-version", c.TLSMinVersion}, {"--tls-max-version", c.TLSMaxVersion}} {
		if _, known := versions[v[1]]; !known {
			return fmt.Errorf("%s %q: choose TLS1.2 or TLS1.3", v[0], v[1])
		}
	}
	least, most := versions[c.TLSMinVersion], versions[c.TLSMaxVersion]
	switch {
	case most != 0 && least > most:
		return fmt.Errorf("--tls-min-version %s is above --tls-max-version %s", c.TLSMinVersion, c.TLSMaxVersion)
	case least == versions["TLS1.3"] && len(c.CipherSuites) > 0:
		return errors.New("--cipher-suites and --tls-min-version TLS1.3: the suites of TLS 1.3 cannot be chosen; leave one of them away")
	}
	return nil
}
