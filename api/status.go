package api

import "chainfire"

// NewClusterStatusResponse is a cluster's status as it travels.
func NewClusterStatusResponse(s *chainfire.ClusterStatus) *ClusterStatusResponse {
	out := &ClusterStatusResponse{
		Header: &Header{
			ClusterId: s.Header.ClusterID, MemberId: s.Header.MemberID,
			Revision: s.Header.Revision, RaftTerm: s.Header.RaftTerm,
		},
		Leader: s.Leader, Healthy: s.Healthy, FailureTolerance: int32(min(s.FailureTolerance, 1<<20)),
		LastIndex: s.LastIndex, CommitIndex: s.CommitIndex, FeatureLevel: s.FeatureLevel,
	}
	for _, m := range s.Members {
		out.Members = append(out.Members, &MemberStatus{
			Member: &Member{Id: m.ID, Name: m.Name, PeerUrls: m.PeerURLs, ClientUrls: m.ClientURLs, Learner: m.Learner, ReadReplica: m.ReadReplica},
			Phase:  string(m.Phase), Leader: m.Leader, MatchIndex: m.MatchIndex, AppliedIndex: m.AppliedIndex,
			Active: m.Active, LastContactMillis: m.LastContactMillis, Reason: m.Reason, Version: m.Version,
		})
	}
	return out
}

// ClusterStatus is the status that a ClusterStatusResponse carries.
func (x *ClusterStatusResponse) ClusterStatus() *chainfire.ClusterStatus {
	h := x.GetHeader()
	out := &chainfire.ClusterStatus{
		Header: chainfire.Header{
			ClusterID: h.GetClusterId(), MemberID: h.GetMemberId(),
			Revision: h.GetRevision(), RaftTerm: h.GetRaftTerm(),
		},
		Leader: x.GetLeader(), Healthy: x.GetHealthy(), FailureTolerance: int(x.GetFailureTolerance()),
		LastIndex: x.GetLastIndex(), CommitIndex: x.GetCommitIndex(), FeatureLevel: x.GetFeatureLevel(),
	}
	for _, s := range x.GetMembers() {
		m := s.GetMember()
		out.Members = append(out.Members, chainfire.MemberStatus{
			MemberInfo: chainfire.MemberInfo{
				ID: m.GetId(), Name: m.GetName(), PeerURLs: m.GetPeerUrls(), ClientURLs: m.GetClientUrls(), Learner: m.GetLearner(),
				ReadReplica: m.GetReadReplica(),
			},
			Phase: chainfire.MemberPhase(s.GetPhase()), Leader: s.GetLeader(), MatchIndex: s.GetMatchIndex(),
			AppliedIndex: s.GetAppliedIndex(), Active: s.GetActive(), LastContactMillis: s.GetLastContactMillis(), Reason: s.GetReason(),
			Version: s.GetVersion(),
		})
	}
	return out
}
