package node

import (
	"errors"
	"io"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
	"chainfire/join"
)

// TransferSnapshot implements api.ClusterServer: a newcomer that is being seeded takes
// its seed from this member.
func (s clusterService) TransferSnapshot(q *api.TransferSnapshotRequest, out grpc.ServerStreamingServer[api.TransferSnapshotResponse]) error {
	if _, err := s.n.service.gate(); err != nil {
		return err
	}
	if q.GetTargetNodeId() == 0 && q.GetTargetAddr() == "" {
		return s.n.snapshotCalls.GetSnapshot(&api.GetSnapshotRequest{}, transferStream{out})
	}
	r, err := s.n.transferTarget(q)
	if err != nil {
		return err
	}
	client, err := s.n.peerClient(r.ID, r.PeerURLs)
	if err != nil {
		return status.Errorf(codes.Unavailable, "cannot reach member %s: %v", r.Called(), err)
	}
	s.n.log.Info("a newcomer is asked to take its seed from here", "member", r.ID, "addr", r.PeerURLs[0])
	in, err := client.TakeSeed(out.Context(), &api.TakeSeedRequest{
		ClusterId: s.n.cluster, MemberId: r.ID, Incarnation: r.Incarnation,
		Source: &api.SnapshotSource{MemberId: s.n.id, PeerUrl: s.n.order(s.n.id, s.n.opts.peerURLs())[0]},
	})
	for err == nil {
		var m *api.TransferSnapshotResponse
		if m, err = in.Recv(); err == nil {
			err = out.Send(m)
		}
	}
	return transferError(r, err)
}

// transferError is how a transfer ended, for who asked for it.
func transferError(r join.Record, err error) error {
	switch st := status.Convert(err); {
	case errors.Is(err, io.EOF):
		return nil
	case st.Code() == codes.Unimplemented:
		return status.Errorf(codes.FailedPrecondition, "member %s is of an older version, which chooses its source itself; let it go on, or update it and start it again", r.Called())
	case st.Code() == codes.Canceled, st.Code() == codes.DeadlineExceeded:
		return status.Errorf(st.Code(), "member %s: %s; the newcomer goes on by itself", r.Called(), st.Message())
	default:
		return status.Errorf(st.Code(), "member %s: %s", r.Called(), join.Reason(err))
	}
}

// transferTarget finds the newcomer that is meant.
func (n *Node) transferTarget(q *api.TransferSnapshotRequest) (join.Record, error) {
	addr := ""
	if q.GetTargetAddr() != "" {
		var err error
		if addr, err = join.Target(q.GetTargetAddr()); err != nil {
			return join.Record{}, status.Errorf(codes.InvalidArgument, "target address %q: give HOST:PORT of the newcomer's peer port", q.GetTargetAddr())
		}
	}
	at := func(r join.Record) bool {
		return addr == "" || slices.ContainsFunc(r.PeerURLs, func(u string) bool {
			a, err := n.opts.schemes().Address(u)
			return err == nil && a == addr
		})
	}
	for _, r := range (host{n}).Records() {
		switch {
		case q.GetTargetNodeId() != 0 && r.ID != q.GetTargetNodeId(), q.GetTargetNodeId() == 0 && !at(r):
		case !at(r):
			return r, status.Errorf(codes.InvalidArgument, "member %s is not at %s, but at %v", r.Called(), addr, r.PeerURLs)
		case r.ID == n.id:
			return r, status.Errorf(codes.FailedPrecondition, "member %s is the one that is asked to be the source", r.Called())
		case r.Phase != chainfire.PhaseReserved:
			return r, status.Errorf(codes.FailedPrecondition, "member %s has its state already: it is no newcomer (%s)", r.Called(), r.Phase)
		default:
			return r, nil
		}
	}
	if addr != "" && q.GetTargetNodeId() == 0 {
		return join.Record{}, status.Errorf(codes.NotFound, "no newcomer has the peer address %s; 'chainfire status' shows who joins", addr)
	}
	return join.Record{}, status.Errorf(codes.NotFound, "no newcomer has the id %d; 'chainfire status' shows who joins", q.GetTargetNodeId())
}

// transferStream sends a whole snapshot as TransferSnapshot does.
type transferStream struct {
	grpc.ServerStreamingServer[api.TransferSnapshotResponse]
}

// Send implements grpc.ServerStreamingServer.
func (s transferStream) Send(m *api.GetSnapshotResponse) error {
	out := &api.TransferSnapshotResponse{}
	switch p := m.GetPart().(type) {
	case *api.GetSnapshotResponse_Meta:
		out.Part = &api.TransferSnapshotResponse_Meta{Meta: p.Meta}
	case *api.GetSnapshotResponse_Chunk:
		out.Part = &api.TransferSnapshotResponse_Chunk{Chunk: p.Chunk}
	case *api.GetSnapshotResponse_Done:
		out.Part = &api.TransferSnapshotResponse_Done{Done: p.Done}
	}
	return s.ServerStreamingServer.Send(out)
}

// TakeSeed implements api.PeerServer, while this process is a newcomer.
func (p *peerService) TakeSeed(q *api.TakeSeedRequest, out grpc.ServerStreamingServer[api.TransferSnapshotResponse]) error {
	p.mu.Lock()
	seeding := p.seeding
	p.mu.Unlock()
	if seeding == nil {
		return status.Error(codes.FailedPrecondition, "it is no newcomer that is being seeded")
	}
	return seeding.Take(out.Context(), q, out.Send)
}
