package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// readyTimeout bounds how long a cluster may take to form.
	readyTimeout = 2 * time.Minute
	readyPoll    = 50 * time.Millisecond
	// growTimeout bounds how long one more member may take to be a voter.
	growTimeout = 5 * time.Minute
)

// cluster is a running cluster on this machine.
type cluster struct {
	sys     system
	seats   []seat
	members []*process
}

// startCluster starts a cluster of n members below dir and waits until each of
// them serves. On an error nothing is left running. Call it on the main
// goroutine.
func startCluster(ctx context.Context, sys system, n int, dir string) (*cluster, error) {
	seats, err := newSeats(sys.name, n, dir)
	if err != nil {
		return nil, err
	}
	c := &cluster{sys: sys, seats: seats}
	if err := c.form(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", sys.name, err), c.stop())
	}
	return c, nil
}

func (c *cluster) form(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for i := range c.seats {
		if err := c.startMember(i); err != nil {
			return err
		}
		if i == 0 && c.sys.joins {
			if err := c.await(ctx, 1); err != nil {
				return err
			}
		}
	}
	return c.await(ctx, len(c.seats))
}

// startMember starts member i, the first time or again on its data.
func (c *cluster) startMember(i int) error {
	return c.startWith(i, c.sys.args(c.seats, i))
}

func (c *cluster) startWith(i int, args []string) error {
	p, err := startProcess(c.sys.binary, args, c.seats[i].dir+".log", c.sys.env...)
	if err != nil {
		return err
	}
	if i < len(c.members) {
		c.members[i] = p
	} else {
		c.members = append(c.members, p)
	}
	return nil
}

// pair starts two members: voters, or one and its standby where the system makes
// no two.
func (s system) pair(ctx context.Context, dir string) (*cluster, error) {
	if !s.joins {
		return startCluster(ctx, s, 2, dir)
	}
	c, err := startCluster(ctx, s, 1, dir)
	if err != nil {
		return nil, err
	}
	err = c.addSeat(dir)
	if err == nil {
		err = c.startMember(1)
	}
	if err == nil {
		err = c.awaitMembers(ctx, 2, 1)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", s.name, err), c.stop())
	}
	return c, nil
}

// grow adds one more member and waits until all are voters that serve.
func (c *cluster) grow(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, growTimeout)
	defer cancel()
	i := len(c.seats)
	if err := c.addSeat(dir); err != nil {
		return err
	}
	var err error
	if c.sys.grow != nil {
		err = c.sys.grow(ctx, c, i)
	} else {
		err = c.startMember(i)
	}
	if err != nil {
		return err
	}
	return c.await(ctx, len(c.seats))
}

func (c *cluster) addSeat(dir string) error {
	all, err := newSeats(c.sys.name, len(c.seats)+1, dir)
	if err != nil {
		return err
	}
	c.seats = append(c.seats, all[len(c.seats)])
	return nil
}

// awaitAll waits until all members are voters that serve reads.
func (c *cluster) awaitAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return c.await(ctx, len(c.seats))
}

// awaitMembers waits until the first member sees so many members, some of them
// learners.
func (c *cluster) awaitMembers(ctx context.Context, members, learners int) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		have, learning, err := countMembers(ctx, c.seats[0].client)
		if err == nil && have == members && learning == learners {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d members, %d of them learners: %w", have, learning, errors.Join(context.Cause(ctx), err))
		case <-tick.C:
		}
	}
}

func countMembers(ctx context.Context, endpoint string) (all, learners int, err error) {
	cl, err := dial([]string{endpoint})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, cl.Close()) }()
	list, err := cl.MemberList(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, m := range list.Members {
		if m.IsLearner {
			learners++
		}
	}
	return len(list.Members), learners, nil
}

// removeData removes what the members keep, once they are stopped.
func (c *cluster) removeData() error {
	var errs []error
	for _, s := range c.seats {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// await waits until the first n members are voters that serve reads.
func (c *cluster) await(ctx context.Context, n int) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		err := c.ready(ctx, n)
		if err == nil {
			return nil
		}
		for _, m := range c.members {
			if ended := m.running(); ended != nil {
				return ended
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w; last: %w; output of the last member ends:\n%s",
				context.Cause(ctx), err, c.members[len(c.members)-1].logTail())
		case <-tick.C:
		}
	}
}

func (c *cluster) ready(ctx context.Context, n int) error {
	ask := c.sys.serves
	if ask == nil {
		ask = func(ctx context.Context, s seat, n int) error { return serves(ctx, s.client, n) }
	}
	for _, s := range c.seats[:n] {
		if err := ask(ctx, s, n); err != nil {
			return fmt.Errorf("member %s: %w", s.name, err)
		}
	}
	return nil
}

// serves asks one member whether it is one of n voters, has a leader, and
// answers a linearizable read.
func serves(ctx context.Context, endpoint string, n int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := listens(ctx, endpoint); err != nil {
		return err
	}
	cl, err := dial([]string{endpoint})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cl.Close()) }()
	list, err := cl.MemberList(ctx)
	if err != nil {
		return err
	}
	if len(list.Members) != n {
		return fmt.Errorf("sees %d members, not %d", len(list.Members), n)
	}
	for _, m := range list.Members {
		if m.IsLearner {
			return fmt.Errorf("sees member %s still learning", m.Name)
		}
	}
	status, err := cl.Status(ctx, endpoint)
	if err != nil {
		return err
	}
	if status.Leader == 0 {
		return errors.New("knows no leader")
	}
	_, err = cl.Get(ctx, keyName(0), clientv3.WithCountOnly())
	return err
}

// leader is the member that leads, as the members see it.
func (c *cluster) leader(ctx context.Context) (int, error) {
	for i, s := range c.seats {
		leads, err := leads(ctx, s.client)
		if err != nil {
			return 0, fmt.Errorf("ask member %s who leads: %w", s.name, err)
		}
		if leads {
			return i, nil
		}
	}
	return 0, errors.New("no member leads")
}

func leads(ctx context.Context, endpoint string) (_ bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	cl, err := dial([]string{endpoint})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, cl.Close()) }()
	st, err := cl.Status(ctx, endpoint)
	if err != nil {
		return false, err
	}
	return st.Leader == st.Header.GetMemberId(), nil
}

// listens tries a port once. It comes before a client of gRPC, which would wait
// a whole second between its attempts.
func listens(ctx context.Context, endpoint string) error {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (c *cluster) endpoints() []string {
	var out []string
	for _, s := range c.seats {
		out = append(out, s.client)
	}
	return out
}

// usage adds up what the members have used; the peak is that of the largest.
func (c *cluster) usage() (usage, error) {
	var sum usage
	for _, m := range c.members {
		if err := m.running(); err != nil {
			return usage{}, err
		}
		u, err := usageOf(m.pid())
		if err != nil {
			return usage{}, err
		}
		sum.CPU += u.CPU
		sum.RSS += u.RSS
		sum.Written += u.Written
		sum.PeakRSS = max(sum.PeakRSS, u.PeakRSS)
	}
	return sum, nil
}

// forgetPeaks makes the peak of every member's memory what it has now.
func (c *cluster) forgetPeaks() error {
	var errs []error
	for _, m := range c.members {
		errs = append(errs, forgetPeak(m.pid()))
	}
	return errors.Join(errs...)
}

// stop ends every member, the last one first.
func (c *cluster) stop() error {
	var errs []error
	for i := len(c.members) - 1; i >= 0; i-- {
		errs = append(errs, c.members[i].stop())
	}
	return errors.Join(errs...)
}

// newSeats makes a folder and free ports for each of n members.
func newSeats(name string, n int, dir string) ([]seat, error) {
	ports, err := freePorts(3 * n)
	if err != nil {
		return nil, err
	}
	var seats []seat
	for i := range n {
		s := seat{
			name:   fmt.Sprintf("%s-%d", name, i+1),
			client: ports[3*i],
			peer:   ports[3*i+1],
			s3:     ports[3*i+2],
		}
		s.dir = filepath.Join(dir, s.name)
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return nil, fmt.Errorf("make data folder: %w", err)
		}
		seats = append(seats, s)
	}
	return seats, nil
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
