package etcdapi

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"chainfire"
)

// clusterServer is etcd's Cluster service.
type clusterServer struct {
	member chainfire.Cluster
	pb.UnsafeClusterServer
}

var _ pb.ClusterServer = (*clusterServer)(nil)

// MemberAdd adds a member that has not started yet.
func (s *clusterServer) MemberAdd(ctx context.Context, r *pb.MemberAddRequest) (*pb.MemberAddResponse, error) {
	urls, err := checkPeerURLs(r.PeerURLs)
	if err != nil {
		return nil, err
	}
	c, err := s.member.MemberAdd(ctx, &chainfire.MemberAddRequest{PeerURLs: urls, Learner: r.IsLearner})
	if err != nil {
		return nil, toGRPC(err)
	}
	out := &pb.MemberAddResponse{Header: clusterHeader(c.Header), Members: newMembers(c.Members)}
	if c.Member != nil {
		out.Member = newMember(c.Member)
	}
	return out, nil
}

// MemberRemove removes a member for good.
func (s *clusterServer) MemberRemove(ctx context.Context, r *pb.MemberRemoveRequest) (*pb.MemberRemoveResponse, error) {
	c, err := s.member.MemberRemove(ctx, r.ID)
	if err != nil {
		return nil, toGRPC(err)
	}
	return &pb.MemberRemoveResponse{Header: clusterHeader(c.Header), Members: newMembers(c.Members)}, nil
}

// MemberUpdate changes a member's peer URLs. They are checked here too, though
// etcd leaves this to its clients: a URL that nobody can dial must not get in.
func (s *clusterServer) MemberUpdate(ctx context.Context, r *pb.MemberUpdateRequest) (*pb.MemberUpdateResponse, error) {
	urls, err := checkPeerURLs(r.PeerURLs)
	if err != nil {
		return nil, err
	}
	c, err := s.member.MemberUpdate(ctx, r.ID, urls)
	if err != nil {
		return nil, toGRPC(err)
	}
	return &pb.MemberUpdateResponse{Header: clusterHeader(c.Header), Members: newMembers(c.Members)}, nil
}

// MemberList lists the members.
func (s *clusterServer) MemberList(ctx context.Context, r *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	c, err := s.member.Members(ctx, r.Linearizable)
	if err != nil {
		return nil, toGRPC(err)
	}
	return &pb.MemberListResponse{Header: clusterHeader(c.Header), Members: newMembers(c.Members)}, nil
}

// MemberPromote makes a learner a voter.
func (s *clusterServer) MemberPromote(ctx context.Context, r *pb.MemberPromoteRequest) (*pb.MemberPromoteResponse, error) {
	c, err := s.member.MemberPromote(ctx, r.ID)
	if err != nil {
		return nil, toGRPC(err)
	}
	return &pb.MemberPromoteResponse{Header: clusterHeader(c.Header), Members: newMembers(c.Members)}, nil
}

func newMember(m *chainfire.MemberInfo) *pb.Member {
	return &pb.Member{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, IsLearner: m.Learner}
}

func newMembers(ms []chainfire.MemberInfo) []*pb.Member {
	out := make([]*pb.Member, len(ms))
	for i := range ms {
		out[i] = newMember(&ms[i])
	}
	return out
}

// checkPeerURLs returns the URLs trimmed and sorted. Each is a scheme, host and
// port, or a path for the unix schemes; there must be one at least.
func checkPeerURLs(raw []string) ([]string, error) {
	if len(raw) == 0 {
		return nil, rpctypes.ErrGRPCMemberBadURLs
	}
	out := make([]string, len(raw))
	for i, text := range raw {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil {
			return nil, rpctypes.ErrGRPCMemberBadURLs
		}
		switch u.Scheme {
		case "http", "https":
			if _, _, err := net.SplitHostPort(u.Host); err != nil || u.Path != "" {
				return nil, rpctypes.ErrGRPCMemberBadURLs
			}
		case "unix", "unixs":
		default:
			return nil, rpctypes.ErrGRPCMemberBadURLs
		}
		out[i] = u.String()
	}
	slices.Sort(out)
	return out, nil
}
