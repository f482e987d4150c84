package node

import (
	"cmp"
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"chainfire"
	"chainfire/api"
	"chainfire/internal/sched"
	"chainfire/raft"
	"chainfire/raft/progress"
	"chainfire/raft/quorum"
)

// Status implements chainfire.Maintenance.
func (n *Node) Status(context.Context) (*chainfire.Status, error) {
	st := n.status()
	if st.ID == raft.None {
		return nil, chainfire.ErrStopped
	}
	usage, err := n.machine.DiskUsage()
	if err != nil {
		return nil, err
	}
	out := &chainfire.Status{
		Header: n.Header(), Version: n.opts.Version, Leader: st.Leader, Learner: n.learner(),
		ReadReplica: n.readReplica(n.id),
		RaftIndex:   st.Last, CommitIndex: st.Commit, AppliedIndex: st.Applied,
		StoreBytes: usage.DiskBytes, LiveBytes: usage.LiveBytes, QuotaBytes: n.opts.QuotaBytes, AuthRevision: n.machine.Auth().Revision(),
	}
	if st.Leader == raft.None {
		out.Errors = append(out.Errors, chainfire.ErrNoLeader.Error())
	}
	if st.Amnesia {
		out.Errors = append(out.Errors, "this member lacks entries that it had acknowledged; remove it and join it again with an empty directory")
	}
	return out, nil
}

// Health implements chainfire.Maintenance.
func (n *Node) Health(ctx context.Context, linearizable bool) error {
	if err := n.Err(); err != nil {
		return err
	}
	if n.lead.Load() == raft.None {
		return chainfire.ErrNoLeader
	}
	if !linearizable {
		return nil
	}
	ctx, cancel := n.withTimeout(ctx)
	defer cancel()
	return n.linearize(ctx)
}

// HashKV implements chainfire.Maintenance.
func (n *Node) HashKV(ctx context.Context, rev int64) (*chainfire.KVHash, error) {
	h, err := n.machine.EtcdHash(ctx, rev)
	if err != nil {
		return nil, n.rotten(err)
	}
	out := &chainfire.KVHash{Header: n.Header(), Hash: h.Sum, HashRevision: h.Revision, CompactRevision: h.Compacted}
	out.Header.Revision = h.Current
	return out, nil
}

const statusForwardedKey = "chainfire-forwarded"

// ClusterStatus implements chainfire.Maintenance. Without a leader to ask, the
// member answers with what it knows itself.
func (n *Node) ClusterStatus(ctx context.Context) (*chainfire.ClusterStatus, error) {
	lead := n.lead.Load()
	md, _ := metadata.FromIncomingContext(ctx)
	if lead != n.id && lead != raft.None && len(md.Get(statusForwardedKey)) == 0 {
		for _, m := range n.machine.Members() {
			if m.ID != lead {
				continue
			}
			if s, err := n.askStatus(ctx, m.ID, m.PeerURLs); err == nil {
				return s, nil
			}
		}
	}
	st := n.status()
	if st.ID == raft.None {
		return nil, chainfire.ErrStopped
	}
	return n.clusterStatus(st), nil
}

func (n *Node) askStatus(ctx context.Context, id uint64, urls []string) (*chainfire.ClusterStatus, error) {
	conn, err := n.peerConn(id, urls)
	if err != nil {
		return nil, err
	}
	ctx, cancel := sched.WithTimeout(ctx, n.sched, 4*n.opts.election(), nil)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, statusForwardedKey, "1")
	r, err := api.NewClusterClient(conn).ClusterStatus(ctx, &api.ClusterStatusRequest{})
	if err != nil {
		return nil, err
	}
	return r.ClusterStatus(), nil
}

func (n *Node) clusterStatus(st raft.Status) *chainfire.ClusterStatus {
	out := &chainfire.ClusterStatus{Header: n.Header(), Leader: st.Leader, LastIndex: st.Last, CommitIndex: st.Commit, FeatureLevel: n.machine.Level()}
	peers := map[uint64]raft.PeerStatus{}
	for _, p := range st.Peers {
		peers[p.ID] = p
	}
	successor := map[uint64]string{}
	for _, m := range n.machine.Members() {
		if m.Replaces != 0 {
			successor[m.Replaces] = fmt.Sprintf("goes out when member %d has caught up, which takes its place", m.ID)
		}
	}
	leads := st.Role == raft.Leader
	active := func(id uint64) bool { return id == n.id || peers[id].Active }
	for _, m := range n.machine.Members() {
		p := peers[m.ID]
		s := chainfire.MemberStatus{
			MemberInfo: info(m, st.Conf), Phase: phase(m, st.Conf), Leader: m.ID == st.Leader,
			MatchIndex: p.Match, AppliedIndex: p.Applied, Active: leads && active(m.ID), LastContactMillis: -1,
			Version: m.Version,
		}
		if done, total := n.watch.seed(m.ID); s.Phase == chainfire.PhaseReserved && total > 0 && done < total {
			s.Phase = chainfire.PhaseSeeding
		}
		switch {
		case m.ID == n.id:
			s.MatchIndex, s.AppliedIndex, s.LastContactMillis = st.Stable, st.Applied, 0
			s.Active = true
		case m.Incarnation == 0:
			// It has never been heard of, whatever its progress begins with.
			s.Active = false
		case leads && st.Conf.Contains(m.ID):
			s.LastContactMillis = int64(p.SilentTicks) * n.opts.TickInterval.Milliseconds()
		}
		if leads {
			s.Reason = cmp.Or(n.alarmNote(m.ID), n.reason(m.ID, p, st.Conf.IsLearner(m.ID)), successor[m.ID])
		}
		out.Members = append(out.Members, s)
	}
	if leads {
		out.Healthy = st.CommittedInTerm && quorum.Has(st.Conf.Voters, st.Conf.Outgoing, active)
		out.FailureTolerance = tolerance(st.Conf, active)
	}
	return out
}

func (n *Node) reason(id uint64, p raft.PeerStatus, learner bool) string {
	if p.State == progress.Quarantined {
		return "lost entries that it had acknowledged; remove it and join it again with an empty directory"
	}
	if p.State == progress.Snapshot {
		return "is being sent a snapshot: what it lacks is no longer in the log"
	}
	return n.watch.reason(id, learner)
}

// tolerance is how many more voters may fail.
func tolerance(conf raft.ConfState, active func(uint64) bool) int {
	spare := func(ids []uint64) int {
		up := 0
		for _, id := range ids {
			if active(id) {
				up++
			}
		}
		return max(0, up-quorum.Size(len(ids)))
	}
	t := spare(conf.Voters)
	if conf.Joint() {
		t = min(t, spare(conf.Outgoing))
	}
	return t
}

// clusterService is api.Cluster on a node.
type clusterService struct {
	api.UnimplementedClusterServer
	n *Node
}

// ClusterStatus implements api.ClusterServer.
func (s clusterService) ClusterStatus(ctx context.Context, _ *api.ClusterStatusRequest) (*api.ClusterStatusResponse, error) {
	if _, err := s.n.service.gate(); err != nil {
		return nil, err
	}
	cs, err := s.n.ClusterStatus(ctx)
	if err != nil {
		return nil, err
	}
	return api.NewClusterStatusResponse(cs), nil
}

// OpenSnapshot implements api.ClusterServer, for who saves this member's state.
func (s clusterService) OpenSnapshot(ctx context.Context, q *api.OpenSnapshotRequest) (*api.OpenSnapshotResponse, error) {
	return s.n.service.OpenSnapshot(ctx, q)
}

// ReadSnapshot implements api.ClusterServer.
func (s clusterService) ReadSnapshot(q *api.ReadSnapshotRequest, out grpc.ServerStreamingServer[api.SnapshotChunk]) error {
	return s.n.service.ReadSnapshot(q, out)
}

// CloseSnapshot implements api.ClusterServer.
func (s clusterService) CloseSnapshot(ctx context.Context, q *api.CloseSnapshotRequest) (*api.CloseSnapshotResponse, error) {
	return s.n.service.CloseSnapshot(ctx, q)
}

// GetSnapshot implements api.ClusterServer, for who pulls a whole state in one call.
func (s clusterService) GetSnapshot(q *api.GetSnapshotRequest, out grpc.ServerStreamingServer[api.GetSnapshotResponse]) error {
	if _, err := s.n.service.gate(); err != nil {
		return err
	}
	return s.n.snapshotCalls.GetSnapshot(q, out)
}

// RegisterCluster adds ChainFire's own Cluster service to a gRPC server, as that
// of the client port.
func (n *Node) RegisterCluster(r grpc.ServiceRegistrar) {
	api.RegisterClusterServer(r, clusterService{n: n})
}
