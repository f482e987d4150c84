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

	"chainfire/internal/disk"
	"chainfire/join"
	"chainfire/node"
	"chainfire/pki"
	"chainfire/raft"
	"chainfire/raft/etcdraft"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	dataDir, name                         string
	listenClient, listenPeer              string
	advertiseClient                       []string
	advertisePeer                         string
	join                                  []string
	replace, bootstrapFrom                string
	token, tokenFile                      string
	peerFiles                             pki.Files
	readReplica                           bool
	voters                                int
	replaceAfter                          time.Duration
	manageVoters                          bool
	heartbeat, election                   time.Duration
	reserveTTL                            time.Duration
	maxRequestBytes, seedRate, quotaBytes size
	diskReserve                           size
	insecureListenRemote                  bool
	clients                               clientOptions
	history                               historyOptions
	tls                                   tlsOptions
	auth                                  authOptions
	compare                               compareOptions
	s3                                    s3Options
	progress                              string
	raftEngine                            string
}

func (o *serveOptions) flags(f *pflag.FlagSet) {
	o.maxRequestBytes = 1536 << 10
	f.StringVar(&o.dataDir, "data-dir", "./chainfire-data", "folder for everything this member keeps")
	f.StringVar(&o.name, "name", "", "name of this member, unique in the cluster (default: its peer address)")
	f.StringVar(&o.listenClient, "listen-client", defaultClientAddr, "address for clients, HOST:PORT; they speak TLS there with --cert-file")
	f.StringVar(&o.listenPeer, "listen-peer", defaultPeerAddr, "address for other members, HOST:PORT; members speak mutual TLS, unless all of them write http://HOST:PORT")
	f.StringSliceVar(&o.advertiseClient, "advertise-client", nil, "address at which clients reach this member (default: --listen-client)")
	f.StringVar(&o.advertisePeer, "advertise-peer", "", "address at which the other members reach this one (default: --listen-peer)")
	f.StringSliceVar(&o.join, "join", nil, "join the cluster of these members: peer addresses, HOST[:PORT],...")
	f.StringVar(&o.replace, "replace", "", "with --join: take the place of this member, ID or NAME, which is down")
	f.StringVar(&o.bootstrapFrom, "bootstrap-from", "", "with --join: be seeded by this member, ID or NAME, and by no other")
	f.BoolVar(&o.readReplica, "read-replica", false, "with --join: become a learner that stays one, for reads alone")
	f.StringVar(&o.token, "token", "", "join token, for --join with an empty data folder; also from "+tokenVariable)
	f.StringVar(&o.tokenFile, "token-file", "", "file that holds the join token, instead of --token")
	f.StringVar(&o.peerFiles.Cert, "peer-cert-file", "", "certificate of your own that this member shows to other members, in place of one of the cluster's own authority; goes with the next two, at all members or at none")
	f.StringVar(&o.peerFiles.Key, "peer-key-file", "", "key of --peer-cert-file")
	f.StringVar(&o.peerFiles.Authorities, "peer-trusted-ca-file", "", "certificates of the authorities whose certificates make a member; whoever has one is trusted as a member")
	f.IntVar(&o.voters, "voters", defaultVoters, "how many voters the cluster should have, an odd number; members beyond it stand by")
	f.DurationVar(&o.replaceAfter, "replace-after", defaultReplaceAfter, "how long a voter may be silent until a member that stands by takes its place")
	f.BoolVar(&o.manageVoters, "manage-voters", true, "let the leader promote and replace voters by itself")
	f.DurationVar(&o.heartbeat, "heartbeat-interval", defaultHeartbeat, "how often the leader is heard of")
	f.DurationVar(&o.election, "election-timeout", defaultElection, "how long a leader may be silent, at least")
	f.Var(&o.maxRequestBytes, "max-request-bytes", "the largest write that is taken")
	f.Var(&o.quotaBytes, "quota-backend-bytes", "the size of the store on disk from which on the cluster takes no more keys; 0 is no bound")
	o.diskReserve = defaultDiskReserve
	f.Var(&o.diskReserve, "disk-reserve", "how much of the disk is to stay free, but no more than a quarter of it; with less the cluster takes no more keys; 0 is to fill it")
	f.Var(&o.seedRate, "seed-rate", "bytes a second that this member sends at most to seed others; 0 is no bound, but 16MiB while clients write")
	f.DurationVar(&o.reserveTTL, "reserve-ttl", defaultReserveTTL, "how long the place of a newcomer that fell silent is kept")
	f.StringVar(&o.raftEngine, "raft-engine", engineOwn, "the consensus engine: chainfire, or etcd for etcd's; members may differ, and change at a restart")
	f.BoolVar(&o.insecureListenRemote, "insecure-listen-remote", false, "allow addresses without TLS that other machines can reach: that for clients without --cert-file, and http:// in --listen-peer")
	o.clients.flags(f)
	o.history.flags(f)
	o.tls.flags(f)
	o.auth.flags(f)
	o.compare.flags(f)
	o.s3.flags(f)
	f.StringVar(&o.progress, "progress", progressAuto, "how to show a join: auto, bar, plain or json")
}

// defaultDiskReserve is how much of the disk is to stay free.
const defaultDiskReserve = 512 << 20

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

// The voter set that the leader works for.
const (
	defaultVoters       = 5
	maxVoters           = 9
	defaultReplaceAfter = time.Minute
)

// tokenVariable is the environment variable that may hold a join token.
const tokenVariable = "CHAINFIRE_TOKEN"

// maxTokenFile bounds the file that holds one.
const maxTokenFile = 4 << 10

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
	how := ", without http://"
	if flag == "--listen-client" {
		how = " with --cert-file and --key-file"
	}
	return fmt.Errorf("%s %s can be reached from other machines, and nothing protects it there: whoever reaches it can read and change everything; listen on 127.0.0.1, or speak TLS%s, or, in a network that you trust, add --insecure-listen-remote",
		flag, addr, how)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// advertised is the URL, with the scheme that is spoken there, for an address that
// was given, or for the one that is listened on.
func advertised(flag, scheme, given, listen string) (string, error) {
	if given == "" {
		given = listen
		if host, _, err := net.SplitHostPort(listen); err == nil && !isLoopback(host) {
			if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
				return "", fmt.Errorf("%s stands for every address of this machine, of which the others need one: name it with %s HOST:PORT", listen, flag)
			}
		}
	}
	if !strings.Contains(given, "://") {
		given = scheme + "://" + given
	}
	u, err := url.Parse(given)
	if err != nil || u.Host == "" || u.Hostname() == "" || (u.Path != "" && u.Path != "/") {
		return "", fmt.Errorf("%s %q: give HOST:PORT", flag, given)
	}
	if u.Scheme != scheme {
		return "", fmt.Errorf("%s %q: what is spoken there is %s; give HOST:PORT", flag, given, scheme)
	}
	if u.Port() == "" {
		return "", fmt.Errorf("%s %q has no port; give HOST:PORT", flag, given)
	}
	return scheme + "://" + u.Host, nil
}

// check finds what can be found wrong before anything is touched.
func (o *serveOptions) check() error {
	if o.dataDir == "" {
		return errors.New("--data-dir is empty: name a folder")
	}
	if err := o.checkAddresses(); err != nil {
		return err
	}
	if o.token != "" && o.tokenFile != "" {
		return errors.New("--token and --token-file: give one of them")
	}
	if o.replace != "" && o.readReplica {
		return errors.New("--replace and --read-replica: a member that takes another's place may have to vote; leave one of them out")
	}
	if o.replace != "" && len(o.join) == 0 {
		return fmt.Errorf("--replace %s: name members of its cluster with --join", o.replace)
	}
	if o.bootstrapFrom != "" && len(o.join) == 0 {
		return fmt.Errorf("--bootstrap-from %s: name members of its cluster with --join", o.bootstrapFrom)
	}
	if o.voters < 1 || o.voters > maxVoters || o.voters%2 == 0 {
		return fmt.Errorf("--voters %d: give an odd number up to %d; an even number of voters tolerates no more failures than one less", o.voters, maxVoters)
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
	if o.replaceAfter < o.election {
		return fmt.Errorf("--replace-after %v is shorter than --election-timeout %v", o.replaceAfter, o.election)
	}
	if o.reserveTTL < minReserveTTL {
		return fmt.Errorf("--reserve-ttl %v: give at least %v; a newcomer is heard of about once a second", o.reserveTTL, minReserveTTL)
	}
	for _, check := range []func() error{o.clients.check, o.history.parse, o.auth.parse, o.compare.check} {
		if err := check(); err != nil {
			return err
		}
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

// checkAddresses looks at where the member listens, and what protects it there.
func (o *serveOptions) checkAddresses() error {
	client, err := o.tls.addr(o.listenClient)
	if err != nil {
		return err
	}
	if !o.tls.on() {
		if err := o.checkListen("--listen-client", client); err != nil {
			return err
		}
	}
	addr, plain, err := o.peerAddr()
	if err != nil {
		return err
	}
	if plain {
		if err := o.checkListen("--listen-peer", addr); err != nil {
			return err
		}
	}
	if client == addr {
		if _, port, err := net.SplitHostPort(addr); err != nil || port != "0" {
			return fmt.Errorf("--listen-client and --listen-peer are both %s: give them different ports", addr)
		}
	}
	if err := errors.Join(o.s3.differs("--listen-client", client), o.s3.differs("--listen-peer", addr)); err != nil {
		return err
	}
	if err := o.checkPeerFiles(plain); err != nil {
		return err
	}
	if err := o.tls.check(o.peerFiles.Given()); err != nil {
		return err
	}
	return o.s3.check(o.tls.on(), o.insecureListenRemote)
}

// checkPeerFiles demands all three files of an operator's certificates, or none.
func (o *serveOptions) checkPeerFiles(plain bool) error {
	if !o.peerFiles.Given() {
		return nil
	}
	var missing []string
	for _, f := range [][2]string{
		{"--peer-cert-file", o.peerFiles.Cert},
		{"--peer-key-file", o.peerFiles.Key},
		{"--peer-trusted-ca-file", o.peerFiles.Authorities},
	} {
		if f[1] == "" {
			missing = append(missing, f[0])
		}
	}
	switch {
	case len(missing) > 0:
		return fmt.Errorf("%s is missing: --peer-cert-file, --peer-key-file and --peer-trusted-ca-file go together; give all three, or none for certificates that the cluster makes itself",
			strings.Join(missing, ", "))
	case plain:
		return errors.New("--peer-cert-file and http:// in --listen-peer: where members speak without TLS there are no certificates; leave one of the two away")
	case o.token != "" || o.tokenFile != "":
		return errors.New("--peer-cert-file and a join token: where members have certificates of your own, those let newcomers in; leave the token away")
	}
	return nil
}

// peerAddr is the address of --listen-peer, and whether members are to speak
// without TLS there.
func (o *serveOptions) peerAddr() (addr string, plain bool, err error) {
	addr, plain = strings.CutPrefix(o.listenPeer, join.SchemePlain+"://")
	addr = strings.TrimSuffix(strings.TrimPrefix(addr, join.SchemeTLS+"://"), "/")
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return "", false, fmt.Errorf("--listen-peer %q: give HOST:PORT, as %s", o.listenPeer, defaultPeerAddr)
	}
	return addr, plain, nil
}

// joinToken reads the token that was given; nil is none.
func (o *serveOptions) joinToken(getenv func(string) string) (*pki.Token, error) {
	text, from := o.token, "--token"
	switch {
	case o.tokenFile != "":
		b, err := disk.ReadFile(disk.OS(), o.tokenFile, maxTokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		text, from = string(b), "--token-file "+o.tokenFile
	case text == "":
		text, from = getenv(tokenVariable), tokenVariable
	}
	if text == "" {
		return nil, nil
	}
	t, err := pki.ParseToken(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return &t, nil
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
func (o *serveOptions) nodeOptions(clientAddr string, getenv func(string) string) (node.Options, error) {
	tick, heartbeat, election, err := o.ticks()
	if err != nil {
		return node.Options{}, err
	}
	engine, err := o.engine()
	if err != nil {
		return node.Options{}, err
	}
	peer, plain, err := o.peerAddr()
	if err != nil {
		return node.Options{}, err
	}
	token, err := o.joinToken(getenv)
	if err != nil {
		return node.Options{}, err
	}
	bodies, err := blobStore(o.s3.blobStore, getenv)
	if err != nil {
		return node.Options{}, err
	}
	out := node.Options{
		Dir: o.dataDir, Name: o.name, ListenPeer: peer, Plain: plain, Join: o.join, Replace: o.replace, Token: token,
		PeerFiles: o.peerFiles, PeerOnly: o.tls.peerOnly, ReadReplica: o.readReplica, BootstrapFrom: o.bootstrapFrom, Version: productVersion(),
		Voters: o.voters, ReplaceAfter: o.replaceAfter, NoPromote: !o.manageVoters,
		TickInterval: tick, HeartbeatTicks: heartbeat, ElectionTicks: election, SeedRate: int64(o.seedRate), BodyRate: int64(o.s3.background), QuotaBytes: int64(o.quotaBytes), DiskReserve: int64(o.diskReserve),
		ReserveTTL: o.reserveTTL, Engine: engine, ProgressInterval: o.clients.progressEvery,
		SlowApply: slowApply, OweFirstKey: o.s3.on, SealKeyFile: o.s3.sealKeyFile, BlobStore: bodies,
		Bounds: node.Bounds{NoBodies: !o.s3.on},
	}
	o.history.apply(&out)
	o.auth.apply(&out)
	o.compare.apply(&out)
	if len(o.advertiseClient) == 0 {
		o.advertiseClient = []string{""}
	}
	for _, a := range o.advertiseClient {
		u, err := advertised("--advertise-client", o.tls.scheme(), a, clientAddr)
		if err != nil {
			return out, err
		}
		out.AdvertiseClient = append(out.AdvertiseClient, u)
	}
	if _, port, err := net.SplitHostPort(peer); err == nil && port == "0" && o.advertisePeer == "" {
		return out, nil // the member knows its address once it listens
	}
	scheme := join.SchemeTLS
	if plain {
		scheme = join.SchemePlain
	}
	out.AdvertisePeer, err = advertised("--advertise-peer", scheme, o.advertisePeer, peer)
	return out, err
}
