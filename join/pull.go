package join

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
	"chainfire/internal/sched"
	"chainfire/raft"
	"chainfire/snapshot"
)

// source is a member that a newcomer may be seeded by.
type source struct {
	Record
	addr string
}

// sources are the members that may seed this newcomer, best first: all that the
// leader named, or the one that was asked for by name.
func (c *Newcomer) sources(resp *api.JoinResponse) ([]source, error) {
	var out []source
	var errs []error
	for _, s := range resp.GetSources() {
		addr, err := c.opts.Schemes.Address(s.GetPeerUrl())
		if err != nil {
			errs = append(errs, fmt.Errorf("member %d: %w", s.GetMemberId(), err))
			continue
		}
		r := Record{MemberInfo: chainfire.MemberInfo{ID: s.GetMemberId()}}
		for _, m := range resp.GetMembers() {
			if m.GetId() == r.ID {
				r.Name = m.GetName()
			}
		}
		out = append(out, source{r, addr})
	}
	if len(out) == 0 {
		return nil, errors.Join(append(errs, errors.New("the cluster named no member to seed from"))...)
	}
	if c.opts.BootstrapFrom == "" {
		return out, nil
	}
	return c.named(out, resp.GetMembers())
}

// named is the source that was asked for. The error lists those that there are.
func (c *Newcomer) named(from []source, members []*api.Member) ([]source, error) {
	var records []Record
	var possible []string
	for _, s := range from {
		// One that is reached at several addresses is there once for each.
		if !slices.Contains(possible, s.Called()) {
			records = append(records, s.Record)
			possible = append(possible, s.Called())
		}
	}
	who := c.opts.BootstrapFrom
	r, err := Find(records, who)
	if err == nil {
		return slices.DeleteFunc(from, func(s source) bool { return s.ID != r.ID }), nil
	}
	why := Reason(err)
	if status.Code(err) == codes.NotFound {
		var all []Record
		for _, m := range members {
			all = append(all, Record{MemberInfo: chainfire.MemberInfo{ID: m.GetId(), Name: m.GetName()}})
		}
		why = fmt.Sprintf("no member is called %q", who)
		if r, err := Find(all, who); err == nil {
			why = fmt.Sprintf("member %s is not a voter that is up", r.Called())
		}
	}
	return nil, fmt.Errorf("--bootstrap-from %s: %s; a newcomer can be seeded by %s: name one of these, or leave --bootstrap-from away for any",
		who, why, strings.Join(possible, ", "))
}

// pull fetches the snapshot from the first source that can give it, while the
// leader is told how far it is and may end the join.
func (c *Newcomer) pull(ctx context.Context, resp *api.JoinResponse) (raft.SnapshotMeta, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The reporting task has connections of its own.
	reporter := &Newcomer{opts: c.opts, conns: map[string]Conn{}, addrs: append([]string(nil), c.addrs...)}
	reporting := sched.NewGroup(c.opts.Sched)
	reporting.Go(func() {
		defer reporter.Close()
		c.reportSeed(ctx, reporter, cancel)
	})
	defer func() { cancel(nil); reporting.Wait() }()
	from, err := c.sources(resp)
	if err != nil {
		return raft.SnapshotMeta{}, err
	}
	c.opts.Seeding.begin(c.place, c.opts.Incarnation, c.opts.BootstrapFrom)
	defer c.opts.Seeding.end()
	return c.pullFrom(ctx, from, resp.GetReservedIndex())
}

// pullFrom asks one source after the other, and in between whoever is to be asked
// in place of the one that is (Seeding).
func (c *Newcomer) pullFrom(ctx context.Context, from []source, minIndex uint64) (raft.SnapshotMeta, error) {
	var errs []error
	for i := 0; i < len(from); {
		using, asked := c.opts.Seeding.use(ctx)
		s, patience := from[i], sourcePatience
		switch {
		case asked != nil:
			s = asked.source
		case i == len(from)-1:
			patience = lastSourcePatience
		}
		meta, err := c.fetch(using, s, minIndex, patience, asked)
		c.opts.Seeding.ended(asked, err)
		if err == nil {
			return meta, nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return meta, cause
		}
		switch {
		case errors.Is(err, syscall.ENOSPC):
			return meta, err // no other source makes room here
		case errors.Is(context.Cause(using), errOtherSource):
		case asked != nil:
			c.opts.Logger.Warn("the source that was asked for failed; going on with the others", "from", s.ID, "err", err)
		default:
			errs = append(errs, fmt.Errorf("from member %d at %s: %w", s.ID, s.addr, err))
			i++
		}
	}
	err := errors.Join(errs...)
	if c.opts.BootstrapFrom != "" {
		err = fmt.Errorf("%w; no other member was asked, as --bootstrap-from %s names this one: start it and then the newcomer again, or leave --bootstrap-from away",
			err, c.opts.BootstrapFrom)
	}
	return raft.SnapshotMeta{}, err
}

// How long a source may give nothing: until another is asked, and until the join
// ends with the last one.
const (
	sourcePatience     = 5 * time.Second
	lastSourcePatience = 30 * time.Second
)

// fetch pulls the snapshot of one source; asked is who is told of it, or nil.
func (c *Newcomer) fetch(ctx context.Context, s source, minIndex uint64, patience time.Duration, asked *takeover) (raft.SnapshotMeta, error) {
	client, err := c.client(s.addr)
	if err != nil {
		return raft.SnapshotMeta{}, err
	}
	text := fmt.Sprintf("seeding from member %d at %s", s.ID, s.addr)
	return snapshot.Fetch(ctx, snapshot.FetchOptions{
		FS: c.opts.FS, Dir: c.opts.Dir, MinIndex: minIndex, ClusterID: c.place.Cluster, Patience: patience,
		Reserve: c.opts.Reserve, Sched: c.opts.Sched,
		Source: &snapshot.GRPCSource{
			Client: client, Label: s.addr, ClusterID: c.place.Cluster, MemberID: c.place.Member,
		},
		Offered: func(o snapshot.Offer) { c.opts.Seeding.offered(asked, o) },
		Progress: func(done, total int64) {
			c.opts.Seeding.progress(asked, done, total)
			c.seedDone.Store(done)
			c.seedTotal.Store(total)
			c.opts.Report(Event{Step: StepSeed, Text: text, Done: done, Total: total, Member: c.place.Member})
		},
	})
}

// reportSeed keeps the reservation alive until the context ends.
func (c *Newcomer) reportSeed(ctx context.Context, via *Newcomer, giveUp context.CancelCauseFunc) {
	tick, stop := sched.Tick(c.opts.Sched, time.Second)
	defer stop()
	for c.opts.Sched.Wait(ctx.Done(), tick) == 1 {
		err := via.ask(ctx, "report", func(ctx context.Context, p api.PeerClient) error {
			_, err := p.JoinStatus(ctx, &api.JoinStatusRequest{
				ClusterId: c.place.Cluster, MemberId: c.place.Member, Incarnation: c.opts.Incarnation,
				SeedBytesDone: uint64(c.seedDone.Load()), SeedBytesTotal: uint64(c.seedTotal.Load()),
			})
			return err
		})
		var refused *RefusedError
		if errors.As(err, &refused) {
			giveUp(refused)
			return
		}
	}
}
