package test

import (
	"fmt"
	"math/rand/v2"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// requests draws requests of etcd's API, most of them valid, about few keys, so that
// they meet.
type requests struct {
	random *rand.Rand
	// revision is the current one as far as is known, compacted the compacted one.
	revision, compacted int64
	// forward leaves out intervals that end before they begin.
	forward bool
}

// oneIn is true in one of n cases.
func (q *requests) oneIn(n int) bool { return q.random.IntN(n) == 0 }

func pick[T any](q *requests, from ...T) T { return from[q.random.IntN(len(from))] }

func (q *requests) key() []byte {
	switch q.random.IntN(40) {
	case 0:
		return nil
	case 1:
		return []byte{0}
	case 2:
		return []byte("a\x00")
	case 3:
		return []byte("a\xff\xff")
	}
	return fmt.Appendf(nil, "%s%d", pick(q, "a", "b", "b/", "c/c/"), q.random.IntN(8))
}

// end is the end of an interval, mostly none.
func (q *requests) end() []byte {
	switch q.random.IntN(6) {
	case 0:
		return []byte{0}
	case 1:
		if q.forward {
			return pick(q, []byte("d"), []byte("\xff"))
		}
		return pick(q, []byte("b"), []byte("c"), []byte("b0"), []byte("\xff"))
	case 2:
		if !q.forward {
			return q.key()
		}
	}
	return nil
}

func (q *requests) value() []byte {
	if q.oneIn(8) {
		return nil
	}
	return []byte(strings.Repeat(string(rune('a'+q.random.IntN(26))), q.random.IntN(30)))
}

// around is a revision that is mostly within reach.
func (q *requests) around() int64 {
	switch q.random.IntN(12) {
	case 0:
		return q.revision + 1 + q.random.Int64N(3)
	case 1:
		return -1
	case 2:
		return max(0, q.compacted-1)
	case 3:
		return q.compacted
	}
	return q.compacted + q.random.Int64N(q.revision-q.compacted+1)
}

func (q *requests) maybe(n int) int64 {
	if q.oneIn(n) {
		return q.around()
	}
	return 0
}

func (q *requests) rangeOf() *pb.RangeRequest {
	r := &pb.RangeRequest{
		Key: q.key(), RangeEnd: q.end(), Revision: q.maybe(3), Serializable: q.oneIn(4), KeysOnly: q.oneIn(6), CountOnly: q.oneIn(8),
		MinModRevision: q.maybe(10), MaxModRevision: q.maybe(10), MinCreateRevision: q.maybe(10), MaxCreateRevision: q.maybe(10),
	}
	if q.oneIn(3) {
		r.Limit = q.random.Int64N(6)
	}
	if q.oneIn(40) {
		r.Limit = -1
	}
	if q.oneIn(3) {
		r.SortOrder = pb.RangeRequest_SortOrder(q.random.IntN(3))
		r.SortTarget = pb.RangeRequest_SortTarget(q.random.IntN(5))
	}
	if q.oneIn(60) {
		r.SortOrder, r.SortTarget = pb.RangeRequest_SortOrder(q.random.IntN(5)), pb.RangeRequest_SortTarget(q.random.IntN(7))
	}
	if r.SortTarget != pb.RangeRequest_KEY {
		r.Limit = min(r.Limit, 0) // etcd leaves open which of the keys that are equal in it come first
	}
	return r
}

func (q *requests) put() *pb.PutRequest {
	r := &pb.PutRequest{Key: q.key(), Value: q.value(), PrevKv: q.oneIn(3)}
	if q.oneIn(8) {
		r.IgnoreValue = true
		if !q.oneIn(4) {
			r.Value = nil
		}
	}
	if q.oneIn(8) {
		r.IgnoreLease = true
	}
	if q.oneIn(5) {
		r.Lease = q.lease()
	}
	return r
}

// lease is the id of one that there may be.
func (q *requests) lease() int64 { return pick[int64](q, 1, 2, 3, 1<<62, -4) }

// grant asks for a lease that does not expire while anybody looks.
func (q *requests) grant() *pb.LeaseGrantRequest {
	r := &pb.LeaseGrantRequest{ID: q.lease(), TTL: 100_000 + q.random.Int64N(100_000)}
	if q.oneIn(10) {
		r.TTL = pick[int64](q, 9_000_000_000, 9_000_000_001, 1<<62)
	}
	return r
}

func (q *requests) remove() *pb.DeleteRangeRequest {
	return &pb.DeleteRangeRequest{Key: q.key(), RangeEnd: q.end(), PrevKv: q.oneIn(3)}
}

func (q *requests) compare() *pb.Compare {
	c := &pb.Compare{
		Result: pb.Compare_CompareResult(q.random.IntN(4)), Target: pb.Compare_CompareTarget(q.random.IntN(5)), Key: q.key(),
	}
	if q.oneIn(4) {
		c.RangeEnd = q.end()
	}
	if q.oneIn(20) {
		return c // with nothing to compare with
	}
	target := c.Target
	if q.oneIn(30) {
		target = pb.Compare_CompareTarget(q.random.IntN(6)) // with something else
	}
	switch target {
	case pb.Compare_VERSION:
		c.TargetUnion = &pb.Compare_Version{Version: q.random.Int64N(4)}
	case pb.Compare_CREATE:
		c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: q.around()}
	case pb.Compare_MOD:
		c.TargetUnion = &pb.Compare_ModRevision{ModRevision: q.around()}
	case pb.Compare_VALUE:
		c.TargetUnion = &pb.Compare_Value{Value: q.value()}
	case pb.Compare_LEASE:
		c.TargetUnion = &pb.Compare_Lease{Lease: q.random.Int64N(2)}
	}
	return c
}

func (q *requests) op(depth int) *pb.RequestOp {
	switch n := q.random.IntN(20); {
	case n < 7:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: q.rangeOf()}}
	case n < 14:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: q.put()}}
	case n < 17:
		r := q.remove()
		if string(r.RangeEnd) == "\x00" {
			r.RangeEnd = nil // etcd does not survive what it lets follow such a deletion
		}
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}
	case n < 19 && depth > 0:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: q.txn(depth - 1)}}
	case n == 19 && q.oneIn(20):
		return &pb.RequestOp{}
	}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("a1")}}}
}

func (q *requests) txn(depth int) *pb.TxnRequest {
	r := &pb.TxnRequest{}
	for range q.random.IntN(3) {
		r.Compare = append(r.Compare, q.compare())
	}
	for range q.random.IntN(4) {
		r.Success = append(r.Success, q.op(depth))
	}
	for range q.random.IntN(3) {
		r.Failure = append(r.Failure, q.op(depth))
	}
	return r
}

func (q *requests) watch() *pb.WatchCreateRequest {
	r := &pb.WatchCreateRequest{Key: q.key(), RangeEnd: q.end(), StartRevision: max(1, q.around()), PrevKv: q.oneIn(3)}
	for range q.random.IntN(2) {
		r.Filters = append(r.Filters, pb.WatchCreateRequest_FilterType(q.random.IntN(2)))
	}
	if q.oneIn(5) {
		r.WatchId = q.random.Int64N(5)
	}
	return r
}
