package etcdapi

import (
	"context"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/protobuf/proto"

	"chainfire"
	"chainfire/internal/etcdrequest"
)

// kvServer is etcd's KV service. A new call in that service must not compile
// here until it is written, hence the unsafe embedding.
type kvServer struct {
	member          chainfire.KV
	maxRequestBytes int
	maxTxnOps       int
	slow            *slowLog
	pb.UnsafeKVServer
}

var _ pb.KVServer = (*kvServer)(nil)

// checkSize refuses what etcd would not propose. As there, it comes after the
// request's own checks.
func (s *kvServer) checkSize(r proto.Message) error {
	if proto.Size(r) > s.maxRequestBytes {
		return rpctypes.ErrGRPCRequestTooLarge
	}
	return nil
}

// Range reads keys.
func (s *kvServer) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	if err := checkRange(r); err != nil {
		return nil, err
	}
	var req chainfire.RangeRequest
	etcdrequest.FillRange(&req, r)
	began := time.Now()
	resp, err := s.member.Range(ctx, &req)
	s.slow.ranged(ctx, began, r, resp, err)
	if err != nil {
		return nil, toGRPC(err)
	}
	return newRangeResponse(resp), nil
}

// Put writes a key.
func (s *kvServer) Put(ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	if err := checkPut(r); err != nil {
		return nil, err
	}
	if err := s.checkSize(r); err != nil {
		return nil, err
	}
	var req chainfire.PutRequest
	etcdrequest.FillPut(&req, r)
	resp, err := s.member.Put(ctx, &req)
	if err != nil {
		return nil, toGRPC(err)
	}
	return newPutResponse(resp), nil
}

// DeleteRange removes keys.
func (s *kvServer) DeleteRange(ctx context.Context, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	if err := checkDelete(r); err != nil {
		return nil, err
	}
	if err := s.checkSize(r); err != nil {
		return nil, err
	}
	var req chainfire.DeleteRangeRequest
	etcdrequest.FillDelete(&req, r)
	resp, err := s.member.DeleteRange(ctx, &req)
	if err != nil {
		return nil, toGRPC(err)
	}
	return newDeleteResponse(resp), nil
}

// Txn compares and acts.
func (s *kvServer) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	if err := checkTxn(r, s.maxTxnOps); err != nil {
		return nil, err
	}
	req := etcdrequest.Txn(r)
	if err := req.Validate(); err != nil { // before its size is, as with etcd
		return nil, toGRPC(err)
	}
	readOnly := req.IsReadOnly()
	if !readOnly {
		if err := s.checkSize(r); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	resp, err := s.member.Txn(ctx, req)
	if readOnly {
		s.slow.readTxn(ctx, began, r, resp, err)
	}
	if err != nil {
		return nil, toGRPC(err)
	}
	out := newTxnResponse(resp)
	fillHeader(out.Header, &resp.Header)
	return out, nil
}

// Compact drops history.
func (s *kvServer) Compact(ctx context.Context, r *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	resp, err := s.member.Compact(ctx, &chainfire.CompactRequest{Revision: r.Revision, Physical: r.Physical})
	if err != nil {
		return nil, toGRPC(err)
	}
	return &pb.CompactionResponse{Header: newHeader(resp.Header)}, nil
}

func checkRange(r *pb.RangeRequest) error {
	if len(r.GetKey()) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	if r.SortOrder < pb.RangeRequest_NONE || r.SortOrder > pb.RangeRequest_DESCEND {
		return rpctypes.ErrGRPCInvalidSortOption
	}
	if r.SortTarget < pb.RangeRequest_KEY || r.SortTarget > pb.RangeRequest_VALUE {
		return rpctypes.ErrGRPCInvalidSortOption
	}
	return nil
}

func checkPut(r *pb.PutRequest) error {
	if len(r.GetKey()) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	if r.IgnoreValue && len(r.Value) != 0 {
		return rpctypes.ErrGRPCValueProvided
	}
	if r.IgnoreLease && r.Lease != 0 {
		return rpctypes.ErrGRPCLeaseProvided
	}
	return nil
}

func checkDelete(r *pb.DeleteRangeRequest) error {
	if len(r.GetKey()) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	return nil
}

// The answers are allocated together with their headers.

func newRangeResponse(r *chainfire.RangeResponse) *pb.RangeResponse {
	out := new(struct {
		answer pb.RangeResponse
		header pb.ResponseHeader
	})
	fillHeader(&out.header, &r.Header)
	out.answer.Header = &out.header
	out.answer.Kvs, out.answer.More, out.answer.Count = newKVs(r.KVs), r.More, r.Count
	return &out.answer
}

func newPutResponse(r *chainfire.PutResponse) *pb.PutResponse {
	out := new(struct {
		answer pb.PutResponse
		header pb.ResponseHeader
	})
	fillHeader(&out.header, &r.Header)
	out.answer.Header = &out.header
	out.answer.PrevKv = newKV(r.PrevKV)
	return &out.answer
}

func newDeleteResponse(r *chainfire.DeleteRangeResponse) *pb.DeleteRangeResponse {
	out := new(struct {
		answer pb.DeleteRangeResponse
		header pb.ResponseHeader
	})
	fillHeader(&out.header, &r.Header)
	out.answer.Header = &out.header
	out.answer.Deleted, out.answer.PrevKvs = r.Deleted, newKVs(r.PrevKVs)
	return &out.answer
}
