package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"chainfire/join"
	"chainfire/node"
	"chainfire/raft"
	"chainfire/raft/etcdraft"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	dataDir, name             string
	listenClient, listenPeer  string
	advertiseClient           []string
	advertisePeer             string
	join                      []string
	heartbeat, election       time.Duration
	reserveTTL                time.Duration
	maxRequestBytes, seedRate size
	insecureListenRemote      bool
	progress                  string
	raftEngine                string
}

func (o *serveOptions) flags(f *pflag.FlagSet) {
	o.maxRequestBytes = 1536 << 10
	f.StringVar(&o.dataDir, "data-dir", "./chainfire-data", "folder for everything this member keeps")
	f.StringVar(&o.name, "name", "", "name of this member, unique in the cluster (default: its peer address)")
	f.StringVar(&o.listenClient, "listen-client", defaultClientAddr, "address for clients, HOST:PORT")
	f.StringVar(&o.listenPeer, "listen-peer", defaultPeerAddr, "address for other members, HOST:PORT")
	f.StringSliceVar(&o.advertiseClient, "advertise-client", nil, "address at which clients reach this member (default: --listen-client)")
	f.StringVar(&o.advertisePeer, "advertise-peer", "", "address at which the other members reach this one (default: --listen-peer)")
	f.StringSliceVar(&o.join, "join", nil, "join the cluster of these members: peer addresses, HOST[:PORT],...")
	f.DurationVar(&o.heartbeat, "heartbeat-interval", defaultHeartbeat, "how often the leader is heard of")
	f.DurationVar(&o.election, "election-timeout", defaultElection, "how long a leader may be silent, at least")
	f.Var(&o.maxRequestBytes, "max-request-bytes", "the largest write that is taken")
	f.Var(&o.seedRate, "seed-rate", "bytes a second that this member sends at most to seed others; 0 is no bound")
	f.DurationVar(&o.reserveTTL, "reserve-ttl", defaultReserveTTL, "how long the place of a newcomer that fell silent is kept")
	f.BoolVar(&o.insecureListenRemote, "insecure-listen-remote", false, "allow addresses that other machines can reach, though there is no TLS yet")
	f.StringVar(&o.raftEngine, "raft-engine", engineOwn, "the consensus engine: chainfire, or etcd for etcd's; members may differ, and change at a restart")
	f.StringVar(&o.progress, "progress", progressAuto, "how to show a join: auto, bar, plain or json")
}

// The consensus engines.
const (
	engineOwn  = "chainfire"
	engineEtcd = "etcd"
)

// engine is the consensus engine that the flag names.
func (o *serveOptions) engine() (raft.NewEngine, error) {
	switch o.raftEngine {
	case engineOwn:
		return raft.NewCore, nil
	case engineEtcd:
		return etcdraft.New, nil
	}
	return nil, fmt.Errorf("--raft-engine %q: give %s or %s", o.raftEngine, engineOwn, engineEtcd)
}

// Raft's times. A tick is half a heartbeat, so that chance can spread elections.
const (
	defaultHeartbeat  = 50 * time.Millisecond
	defaultElection   = 250 * time.Millisecond
	ticksPerHeartbeat = 2
	minHeartbeat      = 10 * time.Millisecond
	maxElection       = time.Minute
	// minHeartbeats is how many heartbeats an election timeout holds at least:
	// one that is late must not cost the leader its place.
	minHeartbeats = 5
)

// The time that a silent newcomer has to come back. It speaks every second.
const (
	defaultReserveTTL = 30 * time.Second
	minReserveTTL     = 3 * time.Second
)

// ticks turns the times into the ticks that the core counts.
func (o *serveOptions) ticks() (tick time.Duration, heartbeat, election int, err error) {
	switch {
	case o.heartbeat < minHeartbeat:
		return 0, 0, 0, fmt.Errorf("--heartbeat-interval %v: give at least %v", o.heartbeat, minHeartbeat)
	case o.election > maxElection:
		return 0, 0, 0, fmt.Errorf("--election-timeout %v: give at most %v", o.election, maxElection)
	case o.election < minHeartbeats*o.heartbeat:
		return 0, 0, 0, fmt.Errorf("--election-timeout %v is less than %d times --heartbeat-interval %v: a heartbeat that is a little late would cost the leader its place; give at least %v",
			o.election, minHeartbeats, o.heartbeat, minHeartbeats*o.heartbeat)
	}
	tick = o.heartbeat / ticksPerHeartbeat
	return tick, ticksPerHeartbeat, int((o.election + tick - 1) / tick), nil
}

// checkListen refuses an address that other machines can reach, unless the user
// says that this is meant.
func (o *serveOptions) checkListen(flag, addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%s %q: give HOST:PORT, as 127.0.0.1:2379", flag, addr)
	}
	if isLoopback(host) || o.insecureListenRemote {
		return nil
	}
	return fmt.Errorf("%s %s can be reached from other machines, and there is no TLS yet: whoever reaches it can read and change everything; listen on 127.0.0.1, or, in a network that you trust, add --insecure-listen-remote",
		flag, addr)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// advertised is the URL for an address that was given, or for the one that is
// listened on.
func advertised(flag, given, listen string) (string, error) {
	if given == "" {
		given = listen
		if host, _, err := net.SplitHostPort(listen); err == nil && !isLoopback(host) {
			if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
				return "", fmt.Errorf("%s stands for every address of this machine, of which the others need one: name it with %s HOST:PORT", listen, flag)
			}
		}
	}
	if !strings.Contains(given, "://") {
		given = "http://" + given
	}
	u, err := url.Parse(given)
	if err != nil || u.Host == "" || u.Hostname() == "" || (u.Path != "" && u.Path != "/") {
		return "", fmt.Errorf("%s %q: give HOST:PORT", flag, given)
	}
	if u.Scheme != "http" {
		return "", fmt.Errorf("%s %q: there is no TLS yet; give HOST:PORT", flag, given)
	}
	if u.Port() == "" {
		return "", fmt.Errorf("%s %q has no port; give HOST:PORT", flag, given)
	}
	return "http://" + u.Host, nil
}

// check finds what can be found wrong before anything is touched.
func (o *serveOptions) check() error {
	if o.dataDir == "" {
		return errors.New("--data-dir is empty: name a folder")
	}
	if err := o.checkListen("--listen-client", o.listenClient); err != nil {
		return err
	}
	if err := o.checkListen("--listen-peer", o.listenPeer); err != nil {
		return err
	}
	if o.listenClient == o.listenPeer {
		if _, port, err := net.SplitHostPort(o.listenPeer); err != nil || port != "0" {
			return fmt.Errorf("--listen-client and --listen-peer are both %s: give them different ports", o.listenPeer)
		}
	}
	for _, j := range o.join {
		if _, err := join.Target(j); err != nil {
			return err
		}
	}
	if _, _, _, err := o.ticks(); err != nil {
		return err
	}
	if _, err := o.engine(); err != nil {
		return err
	}
	if o.reserveTTL < minReserveTTL {
		return fmt.Errorf("--reserve-ttl %v: give at least %v; a newcomer is heard of about once a second", o.reserveTTL, minReserveTTL)
	}
	if o.maxRequestBytes < minRequestLimit || o.maxRequestBytes > maxRequestLimit {
		return fmt.Errorf("--max-request-bytes %s: give between %d and %d bytes", o.maxRequestBytes.String(), minRequestLimit, maxRequestLimit)
	}
	if o.seedRate != 0 && o.seedRate < minSeedRate {
		return fmt.Errorf("--seed-rate %s: give at least %d bytes a second, or 0 for no bound", o.seedRate.String(), minSeedRate)
	}
	_, err := newProgress(o.progress, nil)
	return err
}

// Bounds of the flags. What is written travels whole between members, and is
// held in memory several times on its way.
const (
	minRequestLimit = 1 << 10
	maxRequestLimit = 16 << 20
	minSeedRate     = 64 << 10
)

// nodeOptions are the options of the member, but for where it logs and reports.
// The client port is open already, at the address given.
func (o *serveOptions) nodeOptions(clientAddr string) (node.Options, error) {
	tick, heartbeat, election, err := o.ticks()
	if err != nil {
		return node.Options{}, err
	}
	engine, err := o.engine()
	if err != nil {
		return node.Options{}, err
	}
	out := node.Options{
		Dir: o.dataDir, Name: o.name, ListenPeer: o.listenPeer, Join: o.join, Version: productVersion(),
		TickInterval: tick, HeartbeatTicks: heartbeat, ElectionTicks: election, SeedRate: int64(o.seedRate),
		ReserveTTL: o.reserveTTL, Engine: engine,
	}
	if len(o.advertiseClient) == 0 {
		o.advertiseClient = []string{""}
	}
	for _, a := range o.advertiseClient {
		u, err := advertised("--advertise-client", a, clientAddr)
		if err != nil {
			return out, err
		}
		out.AdvertiseClient = append(out.AdvertiseClient, u)
	}
	if _, port, err := net.SplitHostPort(o.listenPeer); err == nil && port == "0" && o.advertisePeer == "" {
		return out, nil // the member knows its address once it listens
	}
	out.AdvertisePeer, err = advertised("--advertise-peer", o.advertisePeer, o.listenPeer)
	return out, err
}
