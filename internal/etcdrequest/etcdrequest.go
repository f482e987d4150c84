// Package etcdrequest turns etcd's requests into ChainFire's: those that come over the
// wire, and those that etcd has in its log.
package etcdrequest

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"chainfire"
)

// FillRange converts a request whose sort order and target are known ones. etcd sorts
// upwards when a target but no order is given.
func FillRange(to *chainfire.RangeRequest, r *pb.RangeRequest) {
	order := chainfire.SortOrder(r.SortOrder)
	if order == chainfire.SortNone && r.SortTarget != pb.RangeRequest_KEY {
		order = chainfire.SortAscend
	}
	*to = chainfire.RangeRequest{
		Key: r.Key, RangeEnd: r.RangeEnd, Limit: r.Limit, Revision: r.Revision,
		SortOrder: order, SortTarget: chainfire.SortTarget(r.SortTarget),
		Serializable: r.Serializable, KeysOnly: r.KeysOnly, CountOnly: r.CountOnly,
		MinModRevision: r.MinModRevision, MaxModRevision: r.MaxModRevision,
		MinCreateRevision: r.MinCreateRevision, MaxCreateRevision: r.MaxCreateRevision,
	}
}

// FillPut converts a put.
func FillPut(to *chainfire.PutRequest, r *pb.PutRequest) {
	*to = chainfire.PutRequest{
		Key: r.Key, Value: r.Value, Lease: r.Lease, PrevKV: r.PrevKv,
		IgnoreValue: r.IgnoreValue, IgnoreLease: r.IgnoreLease,
	}
}

// FillDelete converts a deletion.
func FillDelete(to *chainfire.DeleteRangeRequest, r *pb.DeleteRangeRequest) {
	*to = chainfire.DeleteRangeRequest{Key: r.Key, RangeEnd: r.RangeEnd, PrevKV: r.PrevKv}
}

// Txn converts a transaction whose comparisons have a target and a result that are known.
// An operation of no kind stays one, which chainfire.TxnRequest.Validate refuses.
func Txn(r *pb.TxnRequest) *chainfire.TxnRequest {
	out := &chainfire.TxnRequest{Success: ops(r.GetSuccess()), Failure: ops(r.GetFailure())}
	if n := len(r.GetCompare()); n > 0 {
		out.Compare = make([]chainfire.Compare, n)
	}
	for i, c := range r.GetCompare() {
		to := &out.Compare[i]
		to.Key, to.RangeEnd = c.Key, c.RangeEnd
		to.Target, to.Result = chainfire.CompareTarget(c.Target), chainfire.CompareResult(c.Result)
		switch to.Target {
		case chainfire.CompareVersion:
			to.Number = c.GetVersion()
		case chainfire.CompareCreate:
			to.Number = c.GetCreateRevision()
		case chainfire.CompareMod:
			to.Number = c.GetModRevision()
		case chainfire.CompareLease:
			to.Number = c.GetLease()
		case chainfire.CompareValue:
			to.Value = c.GetValue()
		}
	}
	return out
}

func ops(l []*pb.RequestOp) []chainfire.Op {
	if len(l) == 0 {
		return nil
	}
	out := make([]chainfire.Op, len(l))
	for i, op := range l {
		switch o := op.GetRequest().(type) {
		case *pb.RequestOp_RequestRange:
			out[i].Range = new(chainfire.RangeRequest)
			FillRange(out[i].Range, o.RequestRange)
		case *pb.RequestOp_RequestPut:
			out[i].Put = new(chainfire.PutRequest)
			FillPut(out[i].Put, o.RequestPut)
		case *pb.RequestOp_RequestDeleteRange:
			out[i].Delete = new(chainfire.DeleteRangeRequest)
			FillDelete(out[i].Delete, o.RequestDeleteRange)
		case *pb.RequestOp_RequestTxn:
			out[i].Txn = Txn(o.RequestTxn)
		}
	}
	return out
}
