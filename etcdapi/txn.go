package etcdapi

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
)

// errBadCompare refuses a comparison that this version knows no meaning for;
// etcd would let it hold by chance.
var errBadCompare = status.Error(codes.InvalidArgument, "etcdserver: unknown compare target or result")

// checkTxn checks a transaction and those nested in it. What a level uses of the
// limit is not left to the levels below.
func checkTxn(r *pb.TxnRequest, maxOps int) error {
	ops := max(len(r.GetCompare()), len(r.GetSuccess()), len(r.GetFailure()))
	if ops > maxOps {
		return rpctypes.ErrGRPCTooManyOps
	}
	for _, c := range r.GetCompare() {
		if len(c.GetKey()) == 0 {
			return rpctypes.ErrGRPCEmptyKey
		}
		if c.Result < pb.Compare_EQUAL || c.Result > pb.Compare_NOT_EQUAL ||
			c.Target < pb.Compare_VERSION || c.Target > pb.Compare_LEASE {
			return errBadCompare
		}
	}
	for _, branch := range [2][]*pb.RequestOp{r.GetSuccess(), r.GetFailure()} {
		for _, op := range branch {
			if err := checkOp(op, maxOps-ops); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkOp(op *pb.RequestOp, maxOps int) error {
	switch o := op.GetRequest().(type) {
	case *pb.RequestOp_RequestRange:
		return checkRange(o.RequestRange)
	case *pb.RequestOp_RequestPut:
		return checkPut(o.RequestPut)
	case *pb.RequestOp_RequestDeleteRange:
		return checkDelete(o.RequestDeleteRange)
	case *pb.RequestOp_RequestTxn:
		return checkTxn(o.RequestTxn, maxOps)
	default:
		return rpctypes.ErrGRPCKeyNotFound
	}
}

// newTxnResponse converts an answer. The headers inside name only their
// revision, and that of a nested transaction not even this, as with etcd; the
// caller fills the outermost one.
func newTxnResponse(r *chainfire.TxnResponse) *pb.TxnResponse {
	out := new(struct {
		answer pb.TxnResponse
		header pb.ResponseHeader
	})
	out.answer.Header, out.answer.Succeeded = &out.header, r.Succeeded
	if len(r.Responses) == 0 {
		return &out.answer
	}
	block := make([]pb.ResponseOp, len(r.Responses))
	out.answer.Responses = make([]*pb.ResponseOp, len(r.Responses))
	for i := range r.Responses {
		out.answer.Responses[i] = &block[i]
		fillOpResponse(&block[i], &r.Responses[i])
	}
	return &out.answer
}

func fillOpResponse(to *pb.ResponseOp, from *chainfire.OpResponse) {
	var header *pb.ResponseHeader
	switch {
	case from.Range != nil:
		resp := newRangeResponse(from.Range)
		header = resp.Header
		to.Response = &pb.ResponseOp_ResponseRange{ResponseRange: resp}
	case from.Put != nil:
		resp := newPutResponse(from.Put)
		header = resp.Header
		to.Response = &pb.ResponseOp_ResponsePut{ResponsePut: resp}
	case from.Delete != nil:
		resp := newDeleteResponse(from.Delete)
		header = resp.Header
		to.Response = &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: resp}
	case from.Txn != nil:
		to.Response = &pb.ResponseOp_ResponseTxn{ResponseTxn: newTxnResponse(from.Txn)}
	}
	if header != nil {
		header.ClusterId, header.MemberId, header.RaftTerm = 0, 0, 0
	}
}
