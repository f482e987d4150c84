package node

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
	"chainfire/internal/sched"
	"chainfire/lessor"
	"chainfire/machine"
	"chainfire/raft"
)

// minTTL is the least time to live, in seconds, that is granted: as in etcd one and a
// half election timeouts, so that a lease outlives a change of the leader.
func (n *Node) minTTL() int64 {
	return int64((n.opts.election()*3/2 + time.Second - 1) / time.Second)
}

// LeaseGrant implements chainfire.Lease.
func (n *Node) LeaseGrant(ctx context.Context, r *chainfire.LeaseGrantRequest) (*chainfire.LeaseGrantResponse, error) {
	if n.learner() {
		return nil, chainfire.ErrLearner
	}
	ctx, cancel := n.withTimeout(ctx)
	defer cancel()
	if err := n.PermitUser(ctx); err != nil {
		return nil, err
	}
	if err := n.untilLevel(ctx, machine.LeaseLevel); err != nil {
		return nil, err
	}
	q := &machine.GrantLease{ID: r.ID, TTL: max(r.TTL, n.minTTL())}
	for {
		if r.ID == 0 {
			q.ID = int64(n.sched.Uint64()>>2) + 1
		}
		res, err := n.doWithRoom(ctx, leaseCost, &machine.Command{GrantLease: q})
		switch {
		case r.ID == 0 && errors.Is(err, chainfire.ErrLeaseExists):
			continue
		case err != nil:
			return nil, err
		}
		n.header(&res.GrantLease.Header)
		return res.GrantLease, nil
	}
}

// untilLevel waits until the cluster has come to a feature level, where that is a matter
// of time: it has just begun, or its members were just started with this version.
func (n *Node) untilLevel(ctx context.Context, level uint64) error {
	for n.machine.Level() < level {
		err := n.pause(ctx, n.opts.TickInterval)
		switch {
		case err == nil:
		case errors.Is(err, chainfire.ErrStopped):
			return err
		case n.machine.RaisableTo() < level:
			return chainfire.ErrFeatureLevel
		default:
			return n.timeoutError(ctx, chainfire.ErrNoLeader)
		}
	}
	return nil
}

// mayHaveLeases is chainfire.ErrLeaseNotFound in a cluster that has none, since it has
// members that know none.
func (n *Node) mayHaveLeases(ctx context.Context) error {
	if n.machine.Level() >= machine.LeaseLevel {
		return nil
	}
	ctx, cancel := n.withTimeout(ctx)
	defer cancel()
	if err := n.linearize(ctx); err != nil {
		return err
	}
	if n.machine.Level() < machine.LeaseLevel {
		return chainfire.ErrLeaseNotFound
	}
	return nil
}

// LeaseRevoke implements chainfire.Lease.
func (n *Node) LeaseRevoke(ctx context.Context, id int64) (*chainfire.LeaseRevokeResponse, error) {
	if n.learner() {
		return nil, chainfire.ErrLearner
	}
	if err := n.PermitUser(ctx); err != nil {
		return nil, err
	}
	if err := n.mayHaveLeases(ctx); err != nil {
		return nil, err
	}
	res, err := n.doFor(ctx, &machine.Command{RevokeLease: &machine.RevokeLease{ID: id}})
	if err != nil {
		return nil, err
	}
	n.header(&res.RevokeLease.Header)
	return res.RevokeLease, nil
}

// LeaseRenew implements chainfire.Lease.
func (n *Node) LeaseRenew(ctx context.Context, id int64) (ttl int64, err error) {
	if err := n.permitLease(ctx, []int64{id}, mayWrite); err != nil {
		return 0, err
	}
	err = n.atLeader(ctx,
		func(ctx context.Context) (err error) {
			ttl, err = n.renewHere(ctx, id)
			return err
		},
		func(ctx context.Context, leader api.PeerClient) error {
			r, err := leader.RenewLease(ctx, &api.RenewLeaseRequest{Id: id})
			ttl = r.GetTtl()
			return err
		})
	return ttl, err
}

// LeaseTimeToLive implements chainfire.Lease.
func (n *Node) LeaseTimeToLive(ctx context.Context, id int64, keys bool) (*chainfire.LeaseTimeToLive, error) {
	if err := n.PermitUser(ctx); err != nil {
		return nil, err
	}
	var r *api.LeaseTimeToLiveResponse
	err := n.atLeader(ctx,
		func(ctx context.Context) (err error) {
			r, err = n.timeToLiveHere(ctx, id)
			return err
		},
		func(ctx context.Context, leader api.PeerClient) (err error) {
			r, err = leader.LeaseTimeToLive(ctx, &api.LeaseTimeToLiveRequest{Id: id})
			return err
		})
	if err != nil {
		return nil, err
	}
	out := &chainfire.LeaseTimeToLive{TTL: r.GetTtl(), GrantedTTL: r.GetGrantedTtl()}
	if keys {
		// They are read here: there may be more of them than fit into a message.
		ctx, cancel := n.withTimeout(ctx)
		defer cancel()
		if err := n.linearize(ctx); err != nil {
			return nil, err
		}
		if out.Keys, err = n.machine.LeaseKeys(id); err != nil {
			return nil, err
		}
		if err := n.permitKeys(ctx, out.Keys, mayRead); err != nil {
			return nil, err
		}
	}
	out.Header = n.Header()
	return out, nil
}

// LeaseList implements chainfire.Lease.
func (n *Node) LeaseList(ctx context.Context) (*chainfire.LeaseList, error) {
	if n.learner() {
		return nil, chainfire.ErrLearner
	}
	out := &chainfire.LeaseList{Header: n.Header()}
	leases, err := n.machine.Leases()
	if err != nil {
		return nil, err
	}
	for _, l := range leases {
		out.IDs = append(out.IDs, l.ID)
	}
	if err := n.permitLease(ctx, out.IDs, mayRead); err != nil {
		return nil, err
	}
	n.lessors.order(out.IDs)
	return out, nil
}

// atLeader has the leader do what only it can: here, or there where another leads. It
// goes after the leader while that changes, as long as there is time.
func (n *Node) atLeader(ctx context.Context, here func(context.Context) error, there func(context.Context, api.PeerClient) error) error {
	if n.learner() {
		return chainfire.ErrLearner
	}
	if err := n.mayHaveLeases(ctx); err != nil {
		return err
	}
	ctx, cancel := n.withTimeout(ctx)
	defer cancel()
	for {
		if err := n.untilLeader(ctx, func(lead uint64) bool { return lead != raft.None }); err != nil {
			if ctx.Err() != nil {
				return n.timeoutError(ctx, chainfire.ErrNoLeader)
			}
			return err
		}
		var err error
		if lead := n.lead.Load(); lead == n.id {
			err = here(ctx)
		} else {
			err = n.atMember(ctx, lead, there)
		}
		if !errors.Is(err, errLeadsNoMore) {
			return err
		}
		if err := n.pause(ctx, n.opts.TickInterval); errors.Is(err, chainfire.ErrStopped) {
			return err
		} else if err != nil {
			return n.timeoutError(ctx, chainfire.ErrNoLeader)
		}
	}
}

// atMember asks another member, which leads as far as is known here.
func (n *Node) atMember(ctx context.Context, lead uint64, there func(context.Context, api.PeerClient) error) error {
	leader, err := host{n}.Peer(lead)
	if err == nil {
		// A leader that does not answer may have been replaced: ask for the next one soon.
		ctx, cancel := sched.WithTimeout(ctx, n.sched, 2*n.opts.election(), nil)
		defer cancel()
		err = there(ctx, leader)
	}
	switch {
	case err == nil:
		return nil
	case status.Code(err) == codes.NotFound:
		return chainfire.ErrLeaseNotFound
	}
	n.log.Debug("the leader did not answer about a lease", "leader", lead, "err", err)
	return errLeadsNoMore
}

// leads makes sure that this member leads in a term even now, and that all that was
// acknowledged is applied here.
func (n *Node) leads(ctx context.Context, term uint64) error {
	if err := n.linearize(ctx); err != nil {
		return err
	}
	// What confirms a read in this term is this member's leadership.
	if n.leadingTerm() != term {
		return errLeadsNoMore
	}
	return nil
}

// renewHere renews a lease on the leader. What is left is counted from before the
// leadership was confirmed: who leads after that gives it as much at least.
func (n *Node) renewHere(ctx context.Context, id int64) (int64, error) {
	l := n.lessors
	term, asked := n.leadingTerm(), l.time()
	if err := n.leads(ctx, term); err != nil {
		return 0, err
	}
	for {
		a, changed, err := l.renew(term, id, asked)
		switch {
		case err != nil:
			return 0, err
		case changed != nil:
			if err := n.await(ctx, changed, chainfire.ErrNoLeader); err != nil {
				return 0, err
			}
		case a.State == lessor.Missing:
			return 0, chainfire.ErrLeaseNotFound
		case a.State == lessor.Renewed:
			return a.TTL, nil
		case a.State == lessor.Noted:
			if err := n.restoreLease(ctx, term, id, a); err != nil {
				return 0, err
			}
		}
	}
}

// restoreLease has the log say that all of the time of a lease is left.
func (n *Node) restoreLease(ctx context.Context, term uint64, id int64, a lessor.Answer) error {
	_, err := n.do(ctx, &machine.Command{CheckpointLeases: &machine.CheckpointLeases{
		Term: term, Leases: []machine.LeaseCheckpoint{{ID: id, Remaining: a.TTL}},
	}})
	if errors.Is(err, machine.ErrLeaseProposer) {
		return errLeadsNoMore
	}
	if err == nil {
		n.lessors.restored(term, id, a.Note)
	}
	return err
}

func (n *Node) timeToLiveHere(ctx context.Context, id int64) (*api.LeaseTimeToLiveResponse, error) {
	term := n.leadingTerm()
	if err := n.leads(ctx, term); err != nil {
		return nil, err
	}
	for {
		left, ttl, changed, err := n.lessors.timeLeft(term, id)
		switch {
		case err != nil:
			return nil, err
		case changed == nil:
			return &api.LeaseTimeToLiveResponse{Ttl: int64(left / time.Second), GrantedTtl: int64(ttl / time.Second)}, nil
		}
		if err := n.await(ctx, changed, chainfire.ErrNoLeader); err != nil {
			return nil, err
		}
	}
}

// RenewLease implements api.PeerServer.
func (p *peerService) RenewLease(ctx context.Context, q *api.RenewLeaseRequest) (*api.RenewLeaseResponse, error) {
	if _, err := p.gate(); err != nil {
		return nil, err
	}
	ctx, cancel := p.n.withTimeout(ctx)
	defer cancel()
	ttl, err := p.n.renewHere(ctx, q.GetId())
	if err != nil {
		return nil, leaseStatus(err)
	}
	return &api.RenewLeaseResponse{Ttl: ttl}, nil
}

// LeaseTimeToLive implements api.PeerServer.
func (p *peerService) LeaseTimeToLive(ctx context.Context, q *api.LeaseTimeToLiveRequest) (*api.LeaseTimeToLiveResponse, error) {
	if _, err := p.gate(); err != nil {
		return nil, err
	}
	ctx, cancel := p.n.withTimeout(ctx)
	defer cancel()
	out, err := p.n.timeToLiveHere(ctx, q.GetId())
	if err != nil {
		return nil, leaseStatus(err)
	}
	return out, nil
}

// leaseStatus is what another member is told.
func leaseStatus(err error) error {
	if errors.Is(err, chainfire.ErrLeaseNotFound) {
		return status.Error(codes.NotFound, err.Error())
	}
	return status.Error(codes.Unavailable, err.Error())
}
