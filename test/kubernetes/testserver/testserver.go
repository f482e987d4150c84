// Package testserver starts the servers that Kubernetes' own tests of its storage
// layer run on. It takes the place of the package of that name in k8s.io/apiserver,
// which starts an etcd inside the process of the tests: here it is a member of
// ChainFire, or of etcd, in a process of its own. Variables say which; the tests of
// the folder above set them.
package testserver

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
)

// The variables that say what to start.
const (
	// BinaryVariable is the path of the server's program.
	BinaryVariable = "CHAINFIRE_KUBERNETES_BINARY"
	// KindVariable is what program that is: KindChainFire or KindEtcd.
	KindVariable = "CHAINFIRE_KUBERNETES_KIND"
	// EngineVariable is the consensus engine of ChainFire's members.
	EngineVariable = "CHAINFIRE_KUBERNETES_ENGINE"
	// MembersVariable is how many members of ChainFire a cluster has.
	MembersVariable = "CHAINFIRE_KUBERNETES_MEMBERS"
	// StartedVariable is a file that grows by one byte for every server started.
	StartedVariable = "CHAINFIRE_KUBERNETES_STARTED"

	KindChainFire = "chainfire"
	KindEtcd      = "etcd"
)

// startTime bounds how long a server may take to serve.
const startTime = 60 * time.Second

// NewTestConfig is what a test may change of its server before RunEtcd: the addresses
// for clients, the interval of progress marks, the quota, and TLS for clients.
func NewTestConfig(t testing.TB) *embed.Config {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir = t.TempDir()
	client, peer := url.URL{Scheme: "http", Host: port(t)}, url.URL{Scheme: "http", Host: port(t)}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	return cfg
}

// RunEtcd starts a server, or a cluster of them, that is gone at the end of the test,
// and returns a client that counts what it asks, as the tests expect of it. A nil
// config means NewTestConfig's.
func RunEtcd(t testing.TB, cfg *embed.Config) *kubernetes.Client {
	t.Helper()
	if cfg == nil {
		cfg = NewTestConfig(t)
	}
	var endpoints []string
	switch kind := os.Getenv(KindVariable); kind {
	case KindChainFire:
		endpoints = runMembers(t, cfg)
	case KindEtcd:
		endpoints = []string{runEtcd(t, cfg)}
	default:
		t.Fatalf("%s is %q: run these tests from the folder test/kubernetes, which sets it", KindVariable, kind)
	}
	c := newClient(t, cfg, endpoints)
	recorder := storagetesting.NewKubernetesRecorder(c.Kubernetes)
	c.KV, c.Kubernetes = storagetesting.NewKVRecorder(c.KV, recorder), recorder
	return c
}

func newClient(t testing.TB, cfg *embed.Config, endpoints []string) *kubernetes.Client {
	t.Helper()
	tls, err := cfg.ClientTLSInfo.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.ClientTLSInfo.Empty() {
		tls = nil
	}
	c, err := kubernetes.New(clientv3.Config{
		TLS: tls, Endpoints: endpoints, DialTimeout: 10 * time.Second,
		Logger: zaptest.NewLogger(t, zaptest.Level(zapcore.ErrorLevel)).Named("client"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// runEtcd starts one member of etcd. It syncs nothing, as in Kubernetes' own runs.
func runEtcd(t testing.TB, cfg *embed.Config) string {
	t.Helper()
	client, peer := cfg.ListenClientUrls[0], cfg.ListenPeerUrls[0]
	args := []string{
		"--name", cfg.Name, "--data-dir", filepath.Join(cfg.Dir, "data"), "--unsafe-no-fsync",
		"--listen-client-urls", client.String(), "--advertise-client-urls", client.String(),
		"--listen-peer-urls", peer.String(), "--initial-advertise-peer-urls", peer.String(),
		"--initial-cluster", cfg.InitialCluster,
		"--watch-progress-notify-interval", cfg.WatchProgressNotifyInterval.String(),
		"--quota-backend-bytes", strconv.FormatInt(cfg.QuotaBackendBytes, 10),
	}
	if tls := cfg.ClientTLSInfo; !tls.Empty() {
		args = append(args, "--cert-file", tls.CertFile, "--key-file", tls.KeyFile, "--trusted-ca-file", tls.TrustedCAFile)
	}
	p := start(t, cfg.Dir, args)
	awaitServing(t, p, cfg, client.String(), 1)
	return client.String()
}

// runMembers starts the members of a cluster of ChainFire, and returns when all vote.
func runMembers(t testing.TB, cfg *embed.Config) []string {
	t.Helper()
	scheme, secure := "http", []string(nil)
	if tls := cfg.ClientTLSInfo; !tls.Empty() {
		scheme, secure = "https", []string{"--cert-file", tls.CertFile, "--key-file", tls.KeyFile, "--trusted-ca-file", tls.TrustedCAFile}
	}
	n, err := strconv.Atoi(os.Getenv(MembersVariable))
	if err != nil {
		t.Fatalf("%s: %v", MembersVariable, err)
	}
	founder := cfg.ListenPeerUrls[0].Host
	var endpoints []string
	for i := range n {
		client, peer, dir := cfg.ListenClientUrls[0].Host, founder, filepath.Join(cfg.Dir, strconv.Itoa(i))
		args := []string{"serve", "--s3=off", "--raft-engine", os.Getenv(EngineVariable)}
		if i > 0 {
			client, peer = port(t), port(t)
			args = append(args, "--join", founder, "--token-file", filepath.Join(cfg.Dir, "0", "join-token"))
		}
		args = append(args,
			"--name", fmt.Sprintf("%s-%d", cfg.Name, i), "--data-dir", dir, "--listen-client", client, "--listen-peer", peer,
			"--watch-progress-notify-interval", cfg.WatchProgressNotifyInterval.String(),
			"--quota-backend-bytes", strconv.FormatInt(cfg.QuotaBackendBytes, 10))
		p := start(t, cfg.Dir, append(args, secure...))
		endpoints = append(endpoints, scheme+"://"+client)
		if i == 0 || i == n-1 {
			awaitServing(t, p, cfg, scheme+"://"+client, i+1)
		}
	}
	return endpoints
}

// start starts the server's program, and kills it at the end of the test. If that
// failed, the end of its log is shown.
func start(t testing.TB, dir string, args []string) *process {
	t.Helper()
	log, err := os.CreateTemp(dir, "log")
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProcess(os.Getenv(BinaryVariable), args, log)
	if err == nil {
		err = count()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("the log of the server ends:\n%s", text[max(0, len(text)-4096):])
		}
	})
	return p
}

// count says that one more server runs.
func count() error {
	f, err := os.OpenFile(os.Getenv(StartedVariable), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("count the servers: %w", err)
	}
	_, err = f.WriteString(".")
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// awaitServing waits until the server answers, and has so many members, all of whom
// vote.
func awaitServing(t testing.TB, p *process, cfg *embed.Config, endpoint string, voters int) {
	t.Helper()
	c := newClient(t, cfg, []string{endpoint})
	defer func() { _ = c.Close() }() // nothing is in flight on it
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(startTime); ; <-tick.C {
		err := serving(c, voters)
		if err == nil {
			return
		}
		if time.Now().After(end) || p.ended() {
			t.Fatalf("the server at %s does not serve: %v", endpoint, err)
		}
	}
}

func serving(c *kubernetes.Client, voters int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := c.KV.Get(ctx, "serving?"); err != nil {
		return err
	}
	list, err := c.MemberList(ctx)
	if err != nil {
		return err
	}
	have := 0
	for _, m := range list.Members {
		if !m.IsLearner {
			have++
		}
	}
	if have != voters {
		return fmt.Errorf("%d members vote, %d are to", have, voters)
	}
	return nil
}

// Ports are handed out below those that the system takes for outgoing connections.
const (
	firstPort = 10_000
	lastPort  = 32_000
)

var (
	portMu   sync.Mutex
	nextPort = os.Getpid() * 97
)

// port is a loopback address with a port that nobody listens on, handed out once.
func port(t testing.TB) string {
	t.Helper()
	portMu.Lock()
	defer portMu.Unlock()
	for range lastPort - firstPort {
		nextPort++
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+nextPort%(lastPort-firstPort)))
		if l, err := net.Listen("tcp", addr); err == nil {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}
