package locks

import (
	"context"
	"errors"

	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
)

// errNoLeaderKey refuses a request that does not say who was elected. The text is etcd's.
var errNoLeaderKey = errors.New(`"leader" field must be provided`)

// anyLease is for a session that only reads.
const anyLease = -1

type electionServer struct {
	services *Services
	v3electionpb.UnsafeElectionServer
}

// Campaign waits until the caller is elected.
func (e *electionServer) Campaign(ctx context.Context, r *v3electionpb.CampaignRequest) (*v3electionpb.CampaignResponse, error) {
	ctx, cancel := e.services.call(ctx)
	defer cancel()
	s, err := e.services.session(ctx, r.Lease)
	if err != nil {
		return nil, reason(ctx, err)
	}
	c := concurrency.NewElection(s, string(r.Name))
	if err := c.Campaign(ctx, string(r.Value)); err != nil {
		return nil, reason(ctx, err)
	}
	return &v3electionpb.CampaignResponse{
		Header: c.Header(),
		Leader: &v3electionpb.LeaderKey{Name: r.Name, Key: []byte(c.Key()), Rev: c.Rev(), Lease: int64(s.Lease())},
	}, nil
}

// resume takes up the election of who won it.
func (e *electionServer) resume(ctx context.Context, k *v3electionpb.LeaderKey) (*concurrency.Election, error) {
	if k == nil {
		return nil, errNoLeaderKey
	}
	s, err := e.services.session(ctx, k.Lease)
	if err != nil {
		return nil, err
	}
	return concurrency.ResumeElection(s, string(k.Name), string(k.Key), k.Rev), nil
}

// Proclaim gives what the elected says another value.
func (e *electionServer) Proclaim(ctx context.Context, r *v3electionpb.ProclaimRequest) (*v3electionpb.ProclaimResponse, error) {
	ctx, cancel := e.services.call(ctx)
	defer cancel()
	c, err := e.resume(ctx, r.Leader)
	if err == nil {
		err = c.Proclaim(ctx, string(r.Value))
	}
	if err != nil {
		return nil, reason(ctx, err)
	}
	return &v3electionpb.ProclaimResponse{Header: c.Header()}, nil
}

// Resign gives the office back.
func (e *electionServer) Resign(ctx context.Context, r *v3electionpb.ResignRequest) (*v3electionpb.ResignResponse, error) {
	ctx, cancel := e.services.call(ctx)
	defer cancel()
	c, err := e.resume(ctx, r.Leader)
	if err == nil {
		err = c.Resign(ctx)
	}
	if err != nil {
		return nil, reason(ctx, err)
	}
	return &v3electionpb.ResignResponse{Header: c.Header()}, nil
}

// Leader says who is elected now.
func (e *electionServer) Leader(ctx context.Context, r *v3electionpb.LeaderRequest) (*v3electionpb.LeaderResponse, error) {
	ctx, cancel := e.services.call(ctx)
	defer cancel()
	s, err := e.services.session(ctx, anyLease)
	if err != nil {
		return nil, reason(ctx, err)
	}
	l, err := concurrency.NewElection(s, string(r.Name)).Leader(ctx)
	if err != nil {
		return nil, reason(ctx, err)
	}
	return &v3electionpb.LeaderResponse{Header: l.Header, Kv: l.Kvs[0]}, nil
}

// Observe sends who is elected, now and from now on.
func (e *electionServer) Observe(r *v3electionpb.LeaderRequest, stream v3electionpb.Election_ObserveServer) error {
	ctx, cancel := e.services.call(stream.Context())
	defer cancel()
	s, err := e.services.session(ctx, anyLease)
	if err != nil {
		return reason(ctx, err)
	}
	for l := range concurrency.NewElection(s, string(r.Name)).Observe(ctx) {
		if err := stream.Send(&v3electionpb.LeaderResponse{Header: l.Header, Kv: l.Kvs[0]}); err != nil {
			return err
		}
	}
	return reason(ctx, ctx.Err())
}
