package etcdapi

import (
	"bytes"
	"context"
	"errors"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
)

func opPut(key string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(key)}}}
}

func opRange(key string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte(key)}}}
}

func opDelete(key, end string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{
		RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end)},
	}}
}

func opTxn(then, otherwise []*pb.RequestOp) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{Success: then, Failure: otherwise}}}
}

func ops(o ...*pb.RequestOp) []*pb.RequestOp { return o }

func times(n int, o *pb.RequestOp) []*pb.RequestOp {
	out := make([]*pb.RequestOp, n)
	for i := range out {
		out[i] = o
	}
	return out
}

func TestRequestsAreCheckedBeforeTheMemberSeesThem(t *testing.T) {
	f := start(t)
	f.set(func() {
		f.hook = func(_ context.Context, call string) error {
			if call == "Range" || call == "Put" || call == "DeleteRange" {
				return errors.New("the member was asked")
			}
			return nil
		}
	})
	k := []byte("k")
	for _, tc := range []struct {
		name string
		call func(context.Context) error
		want error
	}{
		{"range without a key, before its sort order", rangeCall(f, &pb.RangeRequest{SortOrder: 9}), rpctypes.ErrGRPCEmptyKey},
		{"range with an unknown order", rangeCall(f, &pb.RangeRequest{Key: k, SortOrder: 3}), rpctypes.ErrGRPCInvalidSortOption},
		{"range with a negative order", rangeCall(f, &pb.RangeRequest{Key: k, SortOrder: -1}), rpctypes.ErrGRPCInvalidSortOption},
		{"range with an unknown target", rangeCall(f, &pb.RangeRequest{Key: k, SortTarget: 5}), rpctypes.ErrGRPCInvalidSortOption},
		{"put without a key, before its value", putCall(f, &pb.PutRequest{Value: k, IgnoreValue: true}), rpctypes.ErrGRPCEmptyKey},
		{"put with a value to ignore, before its lease", putCall(f, &pb.PutRequest{Key: k, Value: k, IgnoreValue: true, Lease: 1, IgnoreLease: true}), rpctypes.ErrGRPCValueProvided},
		{"put with a lease to ignore", putCall(f, &pb.PutRequest{Key: k, Value: k, Lease: 1, IgnoreLease: true}), rpctypes.ErrGRPCLeaseProvided},
		{"delete without a key", func(ctx context.Context) error {
			_, err := f.kv.DeleteRange(ctx, &pb.DeleteRangeRequest{RangeEnd: k})
			return err
		}, rpctypes.ErrGRPCEmptyKey},
	} {
		t.Run(tc.name, func(t *testing.T) { wantStatus(t, tc.call(bounded(t)), tc.want) })
	}
}

func rangeCall(f *fixture, r *pb.RangeRequest) func(context.Context) error {
	return func(ctx context.Context) error { _, err := f.kv.Range(ctx, r); return err }
}

func putCall(f *fixture, r *pb.PutRequest) func(context.Context) error {
	return func(ctx context.Context) error { _, err := f.kv.Put(ctx, r); return err }
}

func TestTransactionsAreCheckedInEtcdsOrder(t *testing.T) {
	f := start(t)
	for _, tc := range []struct {
		name string
		txn  *pb.TxnRequest
		want error
	}{
		{"128 operations", &pb.TxnRequest{Success: times(128, opRange("k"))}, nil},
		{"129 operations, before their keys", &pb.TxnRequest{Success: times(129, opRange(""))}, rpctypes.ErrGRPCTooManyOps},
		{"129 in the failure branch", &pb.TxnRequest{Failure: times(129, opRange("k"))}, rpctypes.ErrGRPCTooManyOps},
		{"129 comparisons", &pb.TxnRequest{Compare: make129()}, rpctypes.ErrGRPCTooManyOps},
		{"127 below one", &pb.TxnRequest{Success: ops(opTxn(times(127, opRange("k")), nil))}, nil},
		{"128 below one", &pb.TxnRequest{Success: ops(opTxn(times(128, opRange("k")), nil))}, rpctypes.ErrGRPCTooManyOps},
		{"comparison without a key, before the operations", &pb.TxnRequest{Compare: []*pb.Compare{{}}, Success: ops(&pb.RequestOp{})}, rpctypes.ErrGRPCEmptyKey},
		{"comparison of an unknown kind", &pb.TxnRequest{Compare: []*pb.Compare{{Key: []byte("k"), Result: 4}}}, errBadCompare},
		{"comparison of an unknown field", &pb.TxnRequest{Compare: []*pb.Compare{{Key: []byte("k"), Target: 5}}}, errBadCompare},
		{"operation without a request", &pb.TxnRequest{Success: ops(&pb.RequestOp{})}, rpctypes.ErrGRPCKeyNotFound},
		{"success before failure", &pb.TxnRequest{Success: ops(opRange("")), Failure: ops(&pb.RequestOp{})}, rpctypes.ErrGRPCEmptyKey},
		{"nested operation without a key", &pb.TxnRequest{Failure: ops(opTxn(nil, ops(opPut(""))))}, rpctypes.ErrGRPCEmptyKey},
		{"keys before duplicates", &pb.TxnRequest{Success: ops(opPut("k"), opPut("k"), opDelete("", ""))}, rpctypes.ErrGRPCEmptyKey},
		{"duplicate in success", &pb.TxnRequest{Success: ops(opPut("k"), opPut("k"))}, rpctypes.ErrGRPCDuplicateKey},
		{"duplicate in failure", &pb.TxnRequest{Failure: ops(opPut("k"), opPut("k"))}, rpctypes.ErrGRPCDuplicateKey},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := f.kv.Txn(bounded(t), tc.txn)
			wantStatus(t, err, tc.want)
		})
	}
}

func make129() []*pb.Compare {
	out := make([]*pb.Compare, 129)
	for i := range out {
		out[i] = &pb.Compare{}
	}
	return out
}

func TestEnumsOfTheVocabularyCountAsEtcds(t *testing.T) {
	for got, want := range map[int]int{
		int(chainfire.SortNone): int(pb.RangeRequest_NONE), int(chainfire.SortAscend): int(pb.RangeRequest_ASCEND), int(chainfire.SortDescend): int(pb.RangeRequest_DESCEND),
	} {
		if got != want {
			t.Errorf("sort order %d is %d in etcd", got, want)
		}
	}
	same := [][2]int{
		{int(chainfire.SortByKey), int(pb.RangeRequest_KEY)},
		{int(chainfire.SortByVersion), int(pb.RangeRequest_VERSION)},
		{int(chainfire.SortByCreate), int(pb.RangeRequest_CREATE)},
		{int(chainfire.SortByMod), int(pb.RangeRequest_MOD)},
		{int(chainfire.SortByValue), int(pb.RangeRequest_VALUE)},
		{int(chainfire.CompareEqual), int(pb.Compare_EQUAL)},
		{int(chainfire.CompareGreater), int(pb.Compare_GREATER)},
		{int(chainfire.CompareLess), int(pb.Compare_LESS)},
		{int(chainfire.CompareNotEqual), int(pb.Compare_NOT_EQUAL)},
		{int(chainfire.CompareVersion), int(pb.Compare_VERSION)},
		{int(chainfire.CompareCreate), int(pb.Compare_CREATE)},
		{int(chainfire.CompareMod), int(pb.Compare_MOD)},
		{int(chainfire.CompareValue), int(pb.Compare_VALUE)},
		{int(chainfire.CompareLease), int(pb.Compare_LEASE)},
	}
	for _, p := range same {
		if p[0] != p[1] {
			t.Errorf("%d is %d in etcd", p[0], p[1])
		}
	}
}

func TestRequestOverTheLimitIsRefusedWithEtcdsError(t *testing.T) {
	f := start(t)
	const limit = 1536 * 1024
	// Tags and lengths of a one byte key and a value of this size take 7 bytes.
	fits := bytes.Repeat([]byte("v"), limit-7)
	if _, err := f.kv.Put(bounded(t), &pb.PutRequest{Key: []byte("k"), Value: fits}); err != nil {
		t.Errorf("request of exactly the limit: %v", err)
	}
	over := append(fits, 'v')
	_, err := f.kv.Put(bounded(t), &pb.PutRequest{Key: []byte("k"), Value: over})
	wantStatus(t, err, rpctypes.ErrGRPCRequestTooLarge)
	write := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("k"), Value: over}}}
	_, err = f.kv.Txn(bounded(t), &pb.TxnRequest{Success: ops(write)})
	wantStatus(t, err, rpctypes.ErrGRPCRequestTooLarge)
	_, err = f.kv.DeleteRange(bounded(t), &pb.DeleteRangeRequest{Key: over, RangeEnd: []byte("end")})
	wantStatus(t, err, rpctypes.ErrGRPCRequestTooLarge)
	// Reads are proposed by nobody, so only the message limit bounds them.
	if _, err := f.kv.Txn(bounded(t), &pb.TxnRequest{Success: ops(opRange(string(over)))}); err != nil {
		t.Errorf("large read: %v", err)
	}
	_, err = f.kv.Put(bounded(t), &pb.PutRequest{Key: []byte("k"), Value: make([]byte, limit+messageOverhead)})
	wantCode(t, err, codes.ResourceExhausted)
	if status.Convert(err).Message() == status.Convert(rpctypes.ErrGRPCRequestTooLarge).Message() {
		t.Error("a message over the overhead reached the handler")
	}
}
