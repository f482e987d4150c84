package node

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"chainfire/api"
	"chainfire/machine"
	"chainfire/raft"
)

// led answers a call that only the leader can carry out: there, where another member
// leads, else here, once more where the voters changed meanwhile.
func led[Q, R any](
	ctx context.Context, n *Node, q *Q,
	there func(api.ClusterClient, context.Context, *Q, ...grpc.CallOption) (*R, error),
	here func(context.Context, *Q) (*R, error),
) (*R, error) {
	if _, err := n.service.gate(); err != nil {
		return nil, err
	}
	ctx, cancel := n.withDeadline(ctx)
	defer cancel()
	ctx, leader, err := n.onLeader(ctx)
	switch {
	case err != nil:
		return nil, err
	case leader != nil:
		return there(leader, ctx, q)
	}
	for {
		out, err := here(ctx, q)
		if !errors.Is(err, machine.ErrVotersChanged) {
			return out, changeError(err)
		}
	}
}

// onLeader finds the leader for a call that only it can carry out; nil is this
// member itself, whose state then reflects all that was committed.
func (n *Node) onLeader(ctx context.Context) (context.Context, api.ClusterClient, error) {
	lead := n.lead.Load()
	md, _ := metadata.FromIncomingContext(ctx)
	switch {
	case lead == n.id:
		if err := n.linearize(ctx); err != nil {
			return ctx, nil, status.Errorf(codes.Unavailable, "confirm leadership: %v; try again", err)
		}
		return ctx, nil, nil
	case lead == raft.None:
		return ctx, nil, status.Error(codes.Unavailable,
			"the cluster has no leader, so nothing can change who is in it: start enough voters for a majority first ('chainfire status' shows them)")
	case len(md.Get(statusForwardedKey)) > 0:
		return ctx, nil, status.Error(codes.Unavailable, "the leader is changing; try again")
	}
	for _, m := range n.machine.Members() {
		if m.ID != lead {
			continue
		}
		conn, err := n.peerConn(m.ID, m.PeerURLs)
		if err != nil {
			return ctx, nil, status.Errorf(codes.Unavailable, "cannot reach the leader %d: %v", lead, err)
		}
		return metadata.AppendToOutgoingContext(ctx, statusForwardedKey, "1"), api.NewClusterClient(conn), nil
	}
	return ctx, nil, status.Errorf(codes.Unavailable, "the leader %d is not known here yet; try again", lead)
}
