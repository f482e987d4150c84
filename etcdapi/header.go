package etcdapi

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"chainfire"
)

func fillHeader(to *pb.ResponseHeader, h *chainfire.Header) {
	to.ClusterId, to.MemberId, to.Revision, to.RaftTerm = h.ClusterID, h.MemberID, h.Revision, h.RaftTerm
}

func newHeader(h chainfire.Header) *pb.ResponseHeader {
	out := new(pb.ResponseHeader)
	fillHeader(out, &h)
	return out
}

// clusterHeader is the header of the membership calls, which name no revision.
func clusterHeader(h chainfire.Header) *pb.ResponseHeader {
	h.Revision = 0
	return newHeader(h)
}
