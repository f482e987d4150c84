package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"chainfire"
	"chainfire/client"
	"chainfire/join"
	"chainfire/node"
)

// demoSize is how many members the demo grows to.
const demoSize = 3

// demoMember is one member of the demo's cluster.
type demoMember struct {
	number       int
	name         string
	client, peer string
	// process is nil while it does not run.
	process *demoProcess
	// steps are what the member has said since it was last started.
	steps *demoSteps
}

// demoSteps is what a member says of itself.
type demoSteps struct {
	mu                    sync.Mutex
	ready, standby, voter bool
}

func (s *demoSteps) note(e progressEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case e.Step == stepReady:
		s.ready = true
	case e.Step == string(join.StepVoter):
		s.voter = true
	case e.Step == string(join.StepPromote) && strings.HasPrefix(e.Text, "caught up"):
		s.standby = true
	}
}

func (s *demoSteps) isReady() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

// joined reports whether the member is a voter, or as far as it can come alone.
func (s *demoSteps) joined() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready && (s.standby || s.voter)
}

func (s *demoSteps) isVoter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready && s.voter
}

// demoCluster is the members of the demo, on this machine. It belongs to one
// goroutine, which is locked to its thread.
type demoCluster struct {
	// dir is where the members run, and so the folder that their data is in.
	dir     string
	members []*demoMember
	rate    size
	report  func(*demoMember, progressEvent)
}

func newDemoCluster(dir string, rate size, report func(*demoMember, progressEvent)) (*demoCluster, error) {
	ports, err := freePorts(2 * demoSize)
	if err != nil {
		return nil, err
	}
	c := &demoCluster{dir: dir, rate: rate, report: report}
	for i := range demoSize {
		name := fmt.Sprintf("member-%d", i+1)
		c.members = append(c.members, &demoMember{
			number: i + 1, name: name, client: ports[2*i], peer: ports[2*i+1],
		})
	}
	return c, nil
}

// freePorts finds loopback addresses that nobody listens on. All are held at
// once, so that no two are the same.
func freePorts(n int) (addrs []string, err error) {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			err = errors.Join(err, l.Close())
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		held = append(held, l)
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// args are the arguments that start a member, the first time or again.
func (c *demoCluster) args(m *demoMember) []string {
	args := []string{
		"serve", "--s3=off", "--name", m.name, "--data-dir", m.name, "--listen-client", m.client, "--listen-peer", m.peer,
	}
	if m.number > 1 {
		args = append(args, "--join", c.members[0].peer, "--token-file", node.TokenFile(c.members[0].name))
	}
	return args
}

func (c *demoCluster) start(m *demoMember) error {
	args := append(c.args(m), "--progress", progressJSON, "--seed-rate", c.rate.String())
	m.steps = &demoSteps{}
	steps := m.steps
	p, err := startDemoProcess(c.dir, args, m.name+".log", func(e progressEvent) {
		c.report(m, e)
		steps.note(e)
	})
	if err != nil {
		return err
	}
	m.process = p
	return nil
}

// endpoints are the client addresses of all members.
func (c *demoCluster) endpoints() []string {
	var out []string
	for _, m := range c.members {
		out = append(out, m.client)
	}
	return out
}

// demoPoll is how often the demo looks whether something has come about.
const demoPoll = 20 * time.Millisecond

// await waits until a condition holds. It fails when it takes too long, when a
// member ends by itself, and when the context ends.
func (c *demoCluster) await(ctx context.Context, what string, within time.Duration, ok func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("%s: it did not happen within %v", what, within))
	defer cancel()
	tick := time.NewTicker(demoPoll)
	defer tick.Stop()
	for !ok() {
		for _, m := range c.members {
			if m.process == nil {
				continue
			}
			if err := m.process.died(); err != nil {
				return fmt.Errorf("%s: %s: %w", what, m.name, err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// pass lets time pass, as long as every member lives.
func (c *demoCluster) pass(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	return c.await(ctx, "let the clients work", d+time.Second, func() bool { return !time.Now().Before(end) })
}

// status is the cluster as a leader among the members that run sees it, or nil
// when there is none at the moment.
func (c *demoCluster) status(ctx context.Context) *chainfire.ClusterStatus {
	var running []string
	for _, m := range c.members {
		if m.process != nil {
			running = append(running, m.client)
		}
	}
	api, err := client.New(running...)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := api.Status(ctx)
	if cerr := api.Close(); err != nil || cerr != nil || !s.Healthy || s.Leader == 0 {
		return nil
	}
	return s
}

// leader is the member that leads, and the state it is in; nil when there is
// none at the moment.
func (c *demoCluster) leader(ctx context.Context) (*demoMember, *chainfire.ClusterStatus) {
	s := c.status(ctx)
	if s == nil {
		return nil, nil
	}
	for _, i := range s.Members {
		for _, m := range c.members {
			if i.ID == s.Leader && i.Name == m.name && m.process != nil {
				return m, s
			}
		}
	}
	return nil, nil
}

// stop ends every member that runs, the last one first.
func (c *demoCluster) stop() error {
	var errs []error
	for i := len(c.members) - 1; i >= 0; i-- {
		m := c.members[i]
		if m.process == nil {
			continue
		}
		if err := m.process.stop(m.steps.isReady()); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", m.name, err))
		}
		m.process = nil
	}
	return errors.Join(errs...)
}

// kill ends whatever is left at once.
func (c *demoCluster) kill() {
	for _, m := range c.members {
		if m.process != nil {
			_ = m.process.kill() // the way out of a panic; nobody is left to tell
		}
	}
}
