package test

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"chainfire"
	"chainfire/client"
)

// Bounds of waiting. They are generous: a wait ends as soon as its condition
// holds, and a busy machine must not fail a test.
const (
	soon     = 10 * time.Second
	patience = 30 * time.Second
	callTime = 5 * time.Second
)

// ports hands out loopback ports that nobody listens on, each once. They are
// below those that the system takes for outgoing connections, so that a member
// that is down finds its ports free when it comes back.
type ports struct {
	mu   sync.Mutex
	next int
}

const (
	firstPort = 10_000
	lastPort  = 32_000
)

func (p *ports) take() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == 0 {
		p.next = os.Getpid() * 97 % (lastPort - firstPort)
	}
	for range lastPort - firstPort {
		p.next++
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+p.next%(lastPort-firstPort)))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return "", fmt.Errorf("give port back: %w", err)
		}
		return addr, nil
	}
	return "", errors.New("no port is free")
}

// lab is what all tests of a run share.
type lab struct {
	binary string
	// engine is that of members for which a test says nothing.
	engine engine
	ports  ports
	// founders are the data directories of the members that founded the clusters,
	// by the peer addresses of all members.
	founders sync.Map
}

// tokenOfNobody is a join token of no cluster.
var tokenOfNobody = "cf1." + strings.Repeat("A", 43) + "." + strings.Repeat("A", 43)

// token is the join token that the founder of the cluster of a member left, for a
// newcomer that asks there.
func (l *lab) token(t *testing.T, newcomer, asked string) string {
	t.Helper()
	dir, ok := l.founders.Load(asked)
	if !ok {
		return tokenOfNobody
	}
	l.founders.Store(newcomer, dir)
	b, err := os.ReadFile(filepath.Join(dir.(string), "join-token"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// member is a member of a cluster under test: a directory, addresses, and the
// process that runs on them, if one does.
type member struct {
	t            *testing.T
	lab          *lab
	name, dir    string
	client, peer string
	// s3 is where it serves S3; empty is nowhere.
	s3 string
	// tls is how tests speak to it; nil is without.
	tls *tls.Config
	// args come after the arguments that every member has.
	args []string
	// env is what its process finds in its environment besides what this one has.
	env []string
	// within is the command that the binary is an argument of, if it runs in one.
	within []string
	engine engine
	// launches counts the processes that ran.
	launches int
	stderr   string
	proc     *process

	mu  sync.Mutex
	api *clientv3.Client
}

// newMember makes a member that does not run yet. It is killed at the end of the
// test; if the test failed, the end of its log is shown.
func (l *lab) newMember(t *testing.T, name string, args ...string) *member {
	t.Helper()
	dir := t.TempDir()
	m := &member{
		t: t, lab: l, name: name, args: args, engine: l.engine,
		dir: filepath.Join(dir, name), stderr: filepath.Join(dir, name+".log"),
	}
	m.client, m.peer = l.port(t), l.port(t)
	t.Cleanup(func() {
		if m.api != nil {
			_ = m.api.Close() // nothing is in flight on it
		}
		if m.proc == nil {
			return
		}
		if err := m.proc.kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the log of %s ends:\n%s", m.name, tail(m.stderr, 60))
		}
	})
	return m
}

// port is a loopback address with a port of its own.
func (l *lab) port(t *testing.T) string {
	t.Helper()
	addr, err := l.ports.take()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// launch starts the process, without waiting for anything.
func (m *member) launch(join ...string) *process {
	m.t.Helper()
	args := []string{
		"serve", "--progress", "json", "--name", m.name, "--data-dir", m.dir,
		"--listen-client", m.client, "--listen-peer", m.peer,
		"--raft-engine", m.engine.of(m.name, m.launches),
	}
	if m.s3 == "" {
		args = append(args, "--s3=off")
	} else {
		args = append(args, "--listen-s3", m.s3)
	}
	m.launches++
	if len(join) > 0 {
		args = append(args, "--join", strings.Join(join, ","), "--token", m.lab.token(m.t, m.peer, join[0]))
	} else if _, known := m.lab.founders.Load(m.peer); !known {
		m.lab.founders.Store(m.peer, m.dir)
	}
	line := append(append(append(slices.Clone(m.within), m.lab.binary), args...), m.args...)
	p, err := startProcess(line[0], line[1:], m.stderr, m.env...)
	if err != nil {
		m.t.Fatal(err)
	}
	m.proc = p
	return p
}

// start starts the process and waits until it serves.
func (m *member) start(join ...string) {
	m.t.Helper()
	m.launch(join...)
	m.awaitReady()
}

// awaitReady waits until the member answers serializable reads.
func (m *member) awaitReady() {
	m.t.Helper()
	m.await("answer to a serializable read", patience, func(ctx context.Context) error {
		_, err := m.kv().Get(ctx, "ready?", clientv3.WithSerializable())
		return err
	})
}

// awaitServing waits until the member answers linearizable reads.
func (m *member) awaitServing() {
	m.t.Helper()
	m.await("answer to a linearizable read", patience, func(ctx context.Context) error {
		_, err := m.kv().Get(ctx, "ready?")
		return err
	})
}

// await waits for a condition while the member's process lives.
func (m *member) await(what string, within time.Duration, ok func(context.Context) error) {
	m.t.Helper()
	await(m.t, m.name+": "+what, within, func(ctx context.Context) error {
		if err := m.proc.died(); err != nil {
			return &hopeless{err}
		}
		return ok(ctx)
	})
}

// hopeless is an error that waiting does not cure.
type hopeless struct{ error }

// await waits for a condition. A failure names the last reason it did not hold.
func await(t *testing.T, what string, within time.Duration, ok func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		try, done := context.WithTimeout(ctx, callTime)
		err := ok(try)
		done()
		var no *hopeless
		switch {
		case err == nil:
			return
		case errors.As(err, &no):
			t.Fatalf("%s: %v", what, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s did not come about within %v: %v", what, within, err)
		}
	}
}

// kv is an etcd client for this member alone.
func (m *member) kv() *clientv3.Client {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.api == nil {
		c, err := newTLSClient(m.tls, m.client)
		if err != nil {
			panic(err) // only an impossible configuration fails here
		}
		m.api = c
	}
	return m.api
}

// newClient makes an etcd client that finds a member again soon after it comes
// back.
func newClient(endpoints ...string) (*clientv3.Client, error) { return newTLSClient(nil, endpoints...) }

func newTLSClient(cfg *tls.Config, endpoints ...string) (*clientv3.Client, error) {
	c, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, TLS: cfg, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: time.Second,
		})},
	})
	if err != nil {
		return nil, fmt.Errorf("client of %v: %w", endpoints, err)
	}
	return c, nil
}

func (m *member) kill() {
	m.t.Helper()
	if err := m.proc.kill(); err != nil {
		m.t.Fatal(err)
	}
}

// stop ends the member in good order.
func (m *member) stop() {
	m.t.Helper()
	if err := m.proc.signal(syscall.SIGTERM); err != nil {
		m.t.Fatal(err)
	}
	code, err := m.proc.exit(patience)
	if err != nil || code != 0 {
		m.t.Fatalf("%s did not stop in good order: exit code %d, %v", m.name, code, err)
	}
}

// mustFail waits until the process ends with exit code 1 and an error that holds
// every one of the words.
func (m *member) mustFail(within time.Duration, words ...string) {
	m.t.Helper()
	code, err := m.proc.exit(within)
	log := m.proc.log()
	if err != nil || code != 1 {
		m.t.Fatalf("%s: exit code %d, %v; want 1; it wrote\n%s", m.name, code, err, log)
	}
	last := ""
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "chainfire: ") {
			last = line
		} else if last != "" {
			last += line // the error goes on
		}
	}
	for _, w := range words {
		if !strings.Contains(last, w) {
			m.t.Errorf("%s: the error does not say %q; it says\n%s", m.name, w, cmp.Or(last, log))
		}
	}
}

// status is the cluster as its leader sees it, asked through this member.
func (m *member) status(ctx context.Context) (*chainfire.ClusterStatus, error) {
	c, err := client.NewWith(client.Options{TLS: m.tls}, m.client)
	if err != nil {
		return nil, err
	}
	s, err := c.Status(ctx)
	return s, errors.Join(err, c.Close())
}

// cluster is a set of members under test.
type cluster struct {
	t       *testing.T
	members []*member
}

// newCluster grows a cluster by joins until it has three voters. args go to every
// member.
func (l *lab) newCluster(t *testing.T, args ...string) *cluster {
	t.Helper()
	const n = 3
	c := &cluster{t: t}
	for i := range n {
		c.members = append(c.members, l.newMember(t, string(rune('a'+i)), args...))
	}
	c.grow()
	return c
}

// grow starts the first member, and lets the others join until all of them vote.
func (c *cluster) grow() {
	c.t.Helper()
	n := len(c.members)
	c.members[0].start()
	c.members[0].awaitServing()
	for _, m := range c.members[1:] {
		m.launch(c.members[0].peer)
	}
	c.awaitVoters(n, n)
	for _, m := range c.members {
		m.awaitServing()
	}
	for _, m := range c.members[1:] {
		m.awaitStep("voter")
	}
}

// awaitStep waits until the member has said that it came to a step of its join.
func (m *member) awaitStep(step string) {
	m.t.Helper()
	m.await("the step "+step, patience, func(context.Context) error {
		if !m.proc.said(func(e event) bool { return e.Step == step }) {
			return errors.New("it has not said so")
		}
		return nil
	})
}

// endpoints are the client addresses of all members.
func (c *cluster) endpoints() []string {
	var out []string
	for _, m := range c.members {
		out = append(out, m.client)
	}
	return out
}

// running are the members whose process lives.
func (c *cluster) running() []*member {
	var out []*member
	for _, m := range c.members {
		if m.proc != nil && m.proc.alive() {
			out = append(out, m)
		}
	}
	return out
}

// awaitVoters waits until every running member counts so many members, so many
// of which vote, and the leader hears all of them and knows of nobody else.
func (c *cluster) awaitVoters(members, voters int) {
	c.t.Helper()
	for _, m := range c.running() {
		m.await(fmt.Sprintf("%d members, %d voters", members, voters), patience, func(ctx context.Context) error {
			s, err := m.status(ctx)
			if err != nil {
				return err
			}
			return exactly(s, members, voters)
		})
	}
}

// exactly says how a cluster differs from one of so many members, all active.
func exactly(s *chainfire.ClusterStatus, members, voters int) error {
	have, active := 0, 0
	for _, i := range s.Members {
		if i.Phase == chainfire.PhaseVoter {
			have++
		}
		if i.Active {
			active++
		}
	}
	if !s.Healthy || len(s.Members) != members || have != voters || active != members {
		return fmt.Errorf("status is %+v", *s)
	}
	return nil
}

// awaitLeader waits until a running member leads and a majority follows it, and
// returns it.
func (c *cluster) awaitLeader() *member {
	c.t.Helper()
	var leader *member
	await(c.t, "a leader", patience, func(ctx context.Context) error {
		var reasons []error
		for _, m := range c.running() {
			s, err := m.status(ctx)
			if err != nil || !s.Healthy {
				reasons = append(reasons, fmt.Errorf("%s: %+v %w", m.name, s, err))
				continue
			}
			for _, i := range s.Members {
				for _, r := range c.running() {
					if i.ID == s.Leader && i.Name == r.name {
						leader = r
						return nil
					}
				}
			}
		}
		return errors.Join(append(reasons, errors.New("nobody leads"))...)
	})
	return leader
}

// followers are the running members that do not lead.
func (c *cluster) followers() []*member {
	c.t.Helper()
	leader := c.awaitLeader()
	var out []*member
	for _, m := range c.running() {
		if m != leader {
			out = append(out, m)
		}
	}
	return out
}

// id is the id of this member in the cluster, as another member has it.
func (m *member) id(asked *member) uint64 {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), callTime)
	defer cancel()
	r, err := asked.kv().MemberList(ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, i := range r.Members {
		if i.GetName() == m.name {
			return i.GetID()
		}
	}
	m.t.Fatalf("no member is called %s", m.name)
	return 0
}
