package join

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
	"chainfire/internal/disk"
	"chainfire/internal/sched"
	"chainfire/raft"
)

// NewcomerOptions configure a Newcomer.
type NewcomerOptions struct {
	// Targets are peer addresses of members, HOST or HOST:PORT.
	Targets []string
	Name    string
	// PeerURLs is where the members reach the newcomer; its peer port answers
	// Identify with Incarnation before Seed is called.
	PeerURLs, ClientURLs []string
	Incarnation          uint64
	// Replace is the member whose place it takes, by id or name; empty is nobody's.
	Replace string
	// BootstrapFrom is the member that it is seeded by, by id or name, and by no other;
	// empty is any.
	BootstrapFrom string
	// Cluster, where it is not 0, refuses any other cluster.
	Cluster uint64
	// ReadReplica asks for a place as a learner that stays one.
	ReadReplica bool
	// Secret is that of the join token, Request and Certificate what goes with it
	// (api.JoinRequest); empty where members speak without TLS.
	Secret, Request, Certificate []byte
	// Adopt takes the pass of a newcomer that has a place, before anything else is
	// asked of the cluster. Nil where members speak without TLS.
	Adopt   func(cluster, member uint64, p Pass) error
	Version string
	// Level is the feature level that this program knows.
	Level uint64
	// FS and Dir are where the seed goes. Reserve is what must stay free there beside
	// it, in bytes.
	FS      disk.FS
	Dir     string
	Reserve int64
	// Brought is what a snapshot holds that is in Dir already, complete and
	// verified; nil is none. It is of Cluster.
	Brought *raft.SnapshotMeta
	// Seeding lets others see and change where the seed comes from; nil lets nobody.
	Seeding *Seeding
	// Logger hears of what is not right and no reason to stop; nil discards.
	Logger *slog.Logger
	// Report takes every event.
	Report func(Event)
	// Timeout bounds the search for a member that answers and for a leader.
	// Default 30 s.
	Timeout time.Duration
	// Dial connects to peer ports; the default is Dial.
	Dial Dialer
	// Schemes are those of the cluster's peer URLs.
	Schemes Schemes
	// Sched is where the waiting is done; the default is sched.Go.
	Sched sched.Scheduler
}

// Place is a newcomer's place in the cluster, with its seed.
type Place struct {
	Cluster, Member uint64
	// Seed is what the snapshot in Dir holds.
	Seed    raft.SnapshotMeta
	Dir     string
	Members []*api.Member
	// SealKey is what the members seal secrets with; nil where there is none, or where it is
	// made of the authority's key.
	SealKey []byte
}

// Newcomer is the joining side. It belongs to one goroutine.
type Newcomer struct {
	opts  NewcomerOptions
	conns map[string]Conn
	// addrs are the members that may be asked, the one that answered last first.
	addrs []string
	place Place
	// step is what the person who waits is told of while no member answers;
	// empty tells nothing.
	step Step
	// seedDone and seedTotal are read by the task that reports to the leader.
	seedDone, seedTotal atomic.Int64
}

// NewNewcomer makes a newcomer.
func NewNewcomer(o NewcomerOptions) (*Newcomer, error) {
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Dial == nil {
		o.Dial = Dial
	}
	o.Sched = sched.Or(o.Sched)
	if o.Report == nil {
		o.Report = func(Event) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Seeding == nil {
		o.Seeding = NewSeeding(o.Sched, o.Schemes)
	}
	n := &Newcomer{opts: o, conns: map[string]Conn{}}
	for _, t := range o.Targets {
		addr, err := o.Schemes.Target(t)
		if err != nil {
			return nil, err
		}
		n.addrs = append(n.addrs, addr)
	}
	if len(n.addrs) == 0 {
		return nil, errors.New("no member to join was named")
	}
	return n, nil
}

// defaultPeerPort is the peer port when an address names none.
const defaultPeerPort = "2380"

// Target is the address that --join means: HOST, HOST:PORT, or that as a URL.
func Target(s string) (string, error) {
	s = strings.TrimSpace(s)
	for _, scheme := range []string{SchemeTLS, SchemePlain} {
		s = strings.TrimPrefix(s, scheme+"://")
	}
	s = strings.TrimSuffix(s, "/")
	if s == "" || strings.ContainsAny(s, "/ ") {
		return "", fmt.Errorf("--join %q: give HOST or HOST:PORT of a member's peer port", s)
	}
	if _, _, err := net.SplitHostPort(s); err == nil {
		return s, nil
	}
	return net.JoinHostPort(strings.Trim(s, "[]"), defaultPeerPort), nil
}

// Close gives the connections back.
func (c *Newcomer) Close() {
	for _, conn := range c.conns {
		_ = conn.Close() // every call on it has ended
	}
}

func (c *Newcomer) client(addr string) (api.PeerClient, error) {
	conn := c.conns[addr]
	if conn == nil {
		var err error
		if conn, err = c.opts.Dial(addr); err != nil {
			return nil, err
		}
		c.conns[addr] = conn
	}
	return api.NewPeerClient(conn), nil
}

// final reports whether an answer is one that asking again does not change. That
// the two sides do not speak alike is, where they meet for the first time.
func (c *Newcomer) final(err error) bool {
	switch status.Code(err) {
	case codes.FailedPrecondition, codes.AlreadyExists, codes.InvalidArgument, codes.NotFound,
		codes.OutOfRange, codes.Unimplemented, codes.PermissionDenied, codes.Unauthenticated:
		return true
	}
	s, ok := status.FromError(err)
	return ok && c.step == StepCheck && misfit(s.Message()) != ""
}

// ask puts a call to one member after the other until one answers for good or
// the time is over. The error names every member that was tried.
func (c *Newcomer) ask(ctx context.Context, doing string, call func(context.Context, api.PeerClient) error) error {
	ctx, cancel := sched.WithTimeout(ctx, c.opts.Sched, c.opts.Timeout, nil)
	defer cancel()
	wait := 100 * time.Millisecond
	begun, told := c.opts.Sched.Now(), time.Duration(0)
	for {
		var tried []string
		for i, addr := range c.addrs {
			err := c.askOne(ctx, addr, call)
			if err == nil {
				c.addrs[0], c.addrs[i] = c.addrs[i], c.addrs[0]
				return nil
			}
			if c.final(err) {
				return fmt.Errorf("%s: %s: %w", doing, addr, &RefusedError{Reason: Reason(err), Code: status.Code(err)})
			}
			tried = append(tried, addr+": "+Reason(err))
		}
		if since := c.opts.Sched.Now().Sub(begun); c.step != "" && since >= told+tellInterval {
			told = since
			c.opts.Report(Event{Step: c.step, Member: c.place.Member, Text: fmt.Sprintf(
				"no answer yet (%s); trying for another %v", strings.Join(tried, "; "), (c.opts.Timeout - since).Round(time.Second))})
		}
		if !sched.Sleep(ctx, c.opts.Sched, wait, nil) {
			if errors.Is(ctx.Err(), context.Canceled) {
				return fmt.Errorf("%s: %w (%s)", doing, ctx.Err(), strings.Join(tried, "; "))
			}
			return fmt.Errorf("%s: no member answered within %v (%s); check the addresses given to --join and that a member runs there",
				doing, c.opts.Timeout, strings.Join(tried, "; "))
		}
		wait = min(2*wait, 2*time.Second)
	}
}

// tellInterval is how often a person is told that nothing answers.
const tellInterval = 3 * time.Second

func (c *Newcomer) askOne(ctx context.Context, addr string, call func(context.Context, api.PeerClient) error) error {
	client, err := c.client(addr)
	if err != nil {
		return err
	}
	ctx, cancel := sched.WithTimeout(ctx, c.opts.Sched, 15*time.Second, nil)
	defer cancel()
	return call(ctx, client)
}

// RefusedError is the cluster's definite refusal of a step of a join.
type RefusedError struct {
	Reason string
	Code   codes.Code
}

// Error implements error.
func (e *RefusedError) Error() string { return "refused: " + e.Reason }

// Seed checks in, reserves a place and pulls a snapshot. On an error after the
// reservation it gives the place back.
func (c *Newcomer) Seed(ctx context.Context) (Place, error) {
	o := &c.opts
	c.step = StepCheck
	defer func() { c.step = "" }()
	o.Report(Event{Step: StepCheck, Text: "asking " + strings.Join(c.addrs, ", ") + " for a place"})
	var brought raft.SnapshotMeta
	if o.Brought != nil {
		brought = *o.Brought
	}
	var resp *api.JoinResponse
	var asked time.Time
	err := c.ask(ctx, "join", func(ctx context.Context, p api.PeerClient) (err error) {
		asked = o.Sched.Now()
		resp, err = p.Join(ctx, &api.JoinRequest{
			Name: o.Name, PeerUrls: o.PeerURLs, ClientUrls: o.ClientURLs, Incarnation: o.Incarnation,
			Version: o.Version, ExpectedClusterId: o.Cluster, Nonce: o.Incarnation,
			Replace: o.Replace, TokenSecret: o.Secret, CertificateRequest: o.Request, Certificate: o.Certificate,
			ClockUnixMillis: asked.UnixMilli(), ReadReplica: o.ReadReplica,
			SeedIndex: brought.Index, SeedTerm: brought.Term, FeatureLevel: o.Level,
		})
		return err
	})
	if err != nil {
		return Place{}, err
	}
	c.compareClocks(asked, resp.GetClockUnixMillis())
	c.place = Place{Cluster: resp.GetClusterId(), Member: resp.GetMemberId(), Dir: o.Dir, Members: resp.GetMembers(), SealKey: resp.GetSealKey()}
	c.learnAddresses(resp.GetMembers())
	text := fmt.Sprintf("cluster %x keeps a place for member %d", c.place.Cluster, c.place.Member)
	if old := resp.GetReplaces(); old != 0 {
		text += fmt.Sprintf(", which takes that of member %d when it has caught up", old)
	}
	o.Report(Event{Step: StepReserve, Cluster: c.place.Cluster, Member: c.place.Member, Text: text})
	if err := c.adopt(resp); err != nil {
		return Place{}, fmt.Errorf("the certificate that the cluster gave: %w", err)
	}
	if o.Replace != "" && resp.GetReplaces() == 0 {
		err := errors.New("the leader is of an older version, which does not know --replace; update the members first")
		c.abandon(err)
		return Place{}, err
	}
	if brought.Index != 0 && resp.GetSeedAccepted() {
		o.Report(Event{Step: StepSeed, Member: c.place.Member, Text: fmt.Sprintf(
			"nothing is pulled: the seed that is here ends with entry %d, and the log reaches back to there", brought.Index)})
		c.place.Seed = brought
		return c.place, nil
	}
	if brought.Index != 0 {
		o.Report(Event{Step: StepSeed, Member: c.place.Member, Text: fmt.Sprintf(
			"the log does not reach back to entry %d, with which the seed that is here ends: what differs is pulled", brought.Index)})
	}
	meta, err := c.pull(ctx, resp)
	if err != nil {
		c.abandon(err)
		return Place{}, fmt.Errorf("seed: %w", err)
	}
	c.place.Seed = meta
	return c.place, nil
}

// adopt takes the newcomer's pass. Connections from before were made without it.
func (c *Newcomer) adopt(r *api.JoinResponse) error {
	if c.opts.Adopt == nil {
		return nil
	}
	err := c.opts.Adopt(r.GetClusterId(), r.GetMemberId(), Pass{
		Certificate: r.GetCertificate(), Authority: r.GetAuthorityCertificate(), AuthorityKey: r.GetAuthorityKey(),
	})
	c.Close()
	clear(c.conns)
	return err
}

// learnAddresses adds the peer addresses of all members to those that may be
// asked.
func (c *Newcomer) learnAddresses(members []*api.Member) {
	have := map[string]bool{}
	for _, a := range c.addrs {
		have[a] = true
	}
	for _, m := range members {
		for _, u := range m.GetPeerUrls() {
			if a, err := c.opts.Schemes.Address(u); err == nil && !have[a] && m.GetId() != c.place.Member {
				have[a] = true
				c.addrs = append(c.addrs, a)
			}
		}
	}
}

// abandon gives the place back, as well as it can be done; the leader does so
// by itself when the newcomer stays silent.
func (c *Newcomer) abandon(why error) {
	ctx, cancel := sched.WithTimeout(context.Background(), c.opts.Sched, 3*time.Second, nil)
	defer cancel()
	err := c.ask(ctx, "abandon", func(ctx context.Context, p api.PeerClient) error {
		_, err := p.Abandon(ctx, &api.AbandonRequest{
			ClusterId: c.place.Cluster, MemberId: c.place.Member, Incarnation: c.opts.Incarnation, Reason: why.Error(),
		})
		return err
	})
	if err != nil {
		c.opts.Report(Event{Step: StepSeed, Member: c.place.Member, Text: "the place could not be given back; the leader clears it after a while: " + err.Error()})
	}
}

// Resume makes a newcomer go on after its seed, as after a restart.
func (c *Newcomer) Resume(p Place) { c.place = p }

// Learn asks to be added as a learner. The member must be running.
func (c *Newcomer) Learn(ctx context.Context) error {
	c.step = StepLearn
	defer func() { c.step = "" }()
	c.opts.Report(Event{Step: StepLearn, Text: "asking to replicate as a learner", Member: c.place.Member})
	return c.ask(ctx, "learn", func(ctx context.Context, p api.PeerClient) error {
		r, err := p.Learn(ctx, &api.LearnRequest{
			ClusterId: c.place.Cluster, MemberId: c.place.Member, Incarnation: c.opts.Incarnation,
			SnapshotIndex: c.place.Seed.Index, SnapshotTerm: c.place.Seed.Term,
		})
		if err == nil {
			c.learnAddresses(r.GetMembers())
		}
		return err
	})
}

// Watch reports where the member stands until it is a voter or the context
// ends. It returns a RefusedError when the cluster has given the member up.
func (c *Newcomer) Watch(ctx context.Context) error {
	tick, stop := sched.Tick(c.opts.Sched, 250*time.Millisecond)
	defer stop()
	for {
		var r *api.JoinStatusResponse
		err := c.ask(ctx, "status", func(ctx context.Context, p api.PeerClient) (err error) {
			r, err = p.JoinStatus(ctx, &api.JoinStatusRequest{
				ClusterId: c.place.Cluster, MemberId: c.place.Member, Incarnation: c.opts.Incarnation,
			})
			return err
		})
		var refused *RefusedError
		switch {
		case errors.As(err, &refused):
			return refused
		case err == nil && r.GetPhase() == string(chainfire.PhaseVoter):
			c.opts.Report(Event{Step: StepVoter, Text: "this member votes", Member: c.place.Member})
			return nil
		case err == nil:
			c.opts.Report(Event{
				Step: StepPromote, Text: r.GetReason(), Member: c.place.Member, Match: r.GetMatchIndex(), Commit: r.GetCommitIndex(),
			})
		}
		if c.opts.Sched.Wait(ctx.Done(), tick) == 0 {
			return ctx.Err()
		}
	}
}
