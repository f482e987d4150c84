package etcdapi

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

func wantProto(t *testing.T, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(want, got) {
		t.Errorf("answer differs (-want +got):\n%s", cmp.Diff(want, got, protocmp.Transform()))
	}
}

func header(rev int64) *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: fakeCluster, MemberId: fakeID, Revision: rev, RaftTerm: fakeTerm}
}

func TestWrittenKeyIsReadWithAllItsFields(t *testing.T) {
	f := start(t)
	ctx := bounded(t)
	if _, err := f.kv.Put(ctx, &pb.PutRequest{Key: []byte("a"), Value: []byte("1"), Lease: 5}); err != nil {
		t.Fatal(err)
	}
	again, err := f.kv.Put(ctx, &pb.PutRequest{Key: []byte("a"), Value: []byte("2"), PrevKv: true, IgnoreLease: true})
	if err != nil {
		t.Fatal(err)
	}
	first := &mvccpb.KeyValue{Key: []byte("a"), Value: []byte("1"), CreateRevision: 2, ModRevision: 2, Version: 1, Lease: 5}
	second := &mvccpb.KeyValue{Key: []byte("a"), Value: []byte("2"), CreateRevision: 2, ModRevision: 3, Version: 2, Lease: 5}
	wantProto(t, again, &pb.PutResponse{Header: header(3), PrevKv: first})
	got, err := f.kv.Range(ctx, &pb.RangeRequest{Key: []byte("a")})
	if err != nil {
		t.Fatal(err)
	}
	wantProto(t, got, &pb.RangeResponse{Header: header(3), Kvs: []*mvccpb.KeyValue{second}, Count: 1})
	old, err := f.kv.Range(ctx, &pb.RangeRequest{Key: []byte("a"), Revision: 2, Serializable: true})
	if err != nil {
		t.Fatal(err)
	}
	wantProto(t, old, &pb.RangeResponse{Header: header(3), Kvs: []*mvccpb.KeyValue{first}, Count: 1})
	gone, err := f.kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte("a"), PrevKv: true})
	if err != nil {
		t.Fatal(err)
	}
	wantProto(t, gone, &pb.DeleteRangeResponse{Header: header(4), Deleted: 1, PrevKvs: []*mvccpb.KeyValue{second}})
}

func TestRangeOptionsReachTheMember(t *testing.T) {
	f := start(t)
	c := f.client(t)
	ctx := bounded(t)
	for _, kv := range [][2]string{{"a", "3"}, {"b", "1"}, {"c", "2"}, {"b", "0"}} { // revisions 2 to 5
		put(t, f, kv[0], kv[1])
	}
	for _, tc := range []struct {
		name string
		opts []clientv3.OpOption
		want string
	}{
		{"prefix", nil, "a=3 b=0 c=2 of 3"},
		{"limit", []clientv3.OpOption{clientv3.WithLimit(2)}, "a=3 b=0 more of 3"},
		{"revision", []clientv3.OpOption{clientv3.WithRev(3)}, "a=3 b=1 of 2"},
		{"descending keys", []clientv3.OpOption{clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend)}, "c=2 b=0 a=3 of 3"},
		{"values", []clientv3.OpOption{clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend)}, "b=0 c=2 a=3 of 3"},
		{"a target without an order", []clientv3.OpOption{clientv3.WithSort(clientv3.SortByValue, clientv3.SortNone)}, "b=0 c=2 a=3 of 3"},
		{"mod revision", []clientv3.OpOption{clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend)}, "b=0 c=2 a=3 of 3"},
		{"create revision", []clientv3.OpOption{clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend)}, "c=2 b=0 a=3 of 3"},
		{"version", []clientv3.OpOption{clientv3.WithSort(clientv3.SortByVersion, clientv3.SortDescend), clientv3.WithLimit(1)}, "b=0 more of 3"},
		{"keys only", []clientv3.OpOption{clientv3.WithKeysOnly()}, "a= b= c= of 3"},
		{"count only", []clientv3.OpOption{clientv3.WithCountOnly()}, "of 3"},
		{"min mod revision", []clientv3.OpOption{clientv3.WithMinModRev(4)}, "b=0 c=2 of 3"},
		{"max mod revision", []clientv3.OpOption{clientv3.WithMaxModRev(4)}, "a=3 c=2 of 3"},
		{"min create revision", []clientv3.OpOption{clientv3.WithMinCreateRev(3)}, "b=0 c=2 of 3"},
		{"max create revision", []clientv3.OpOption{clientv3.WithMaxCreateRev(3)}, "a=3 b=0 of 3"},
		{"serializable", []clientv3.OpOption{clientv3.WithSerializable()}, "a=3 b=0 c=2 of 3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp, err := c.Get(ctx, "a", append(tc.opts, clientv3.WithRange("z"))...)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, kv := range resp.Kvs {
				got += fmt.Sprintf("%s=%s ", kv.Key, kv.Value)
			}
			if resp.More {
				got += "more "
			}
			if got += fmt.Sprintf("of %d", resp.Count); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
	if last := f.asked[len(f.asked)-1]; last != "serializable" {
		t.Errorf("last read was %s", last)
	}
}

func TestTransactionComparesAndAnswersLikeEtcd(t *testing.T) {
	f := start(t)
	ctx := bounded(t)
	put(t, f, "a", "1")
	resp, err := f.kv.Txn(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{
			{Key: []byte("a"), Target: pb.Compare_VALUE, TargetUnion: &pb.Compare_Value{Value: []byte("1")}},
			{Key: []byte("a"), Target: pb.Compare_MOD, Result: pb.Compare_GREATER, TargetUnion: &pb.Compare_ModRevision{ModRevision: 1}},
			{Key: []byte("a"), Target: pb.Compare_CREATE, Result: pb.Compare_LESS, TargetUnion: &pb.Compare_CreateRevision{CreateRevision: 3}},
			{Key: []byte("a"), Target: pb.Compare_VERSION, Result: pb.Compare_NOT_EQUAL, TargetUnion: &pb.Compare_Version{Version: 2}},
			{Key: []byte("a"), Target: pb.Compare_LEASE, TargetUnion: &pb.Compare_Lease{Lease: 0}},
		},
		Success: ops(opRange("a"), opPut("b"), opDelete("a", ""), opTxn(ops(opPut("c")), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	rev := func(r int64) *pb.ResponseHeader { return &pb.ResponseHeader{Revision: r} }
	a := &mvccpb.KeyValue{Key: []byte("a"), Value: []byte("1"), CreateRevision: 2, ModRevision: 2, Version: 1}
	wantProto(t, resp, &pb.TxnResponse{
		Header: header(3), Succeeded: true,
		Responses: []*pb.ResponseOp{
			{Response: &pb.ResponseOp_ResponseRange{ResponseRange: &pb.RangeResponse{Header: rev(2), Kvs: []*mvccpb.KeyValue{a}, Count: 1}}},
			{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{Header: rev(3)}}},
			{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: &pb.DeleteRangeResponse{Header: rev(3), Deleted: 1}}},
			{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: &pb.TxnResponse{
				Header: &pb.ResponseHeader{}, Succeeded: true,
				Responses: []*pb.ResponseOp{{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{Header: rev(3)}}}},
			}}},
		},
	})
	other, err := f.kv.Txn(ctx, &pb.TxnRequest{
		// The value is of another kind than the target, so it counts as zero.
		Compare: []*pb.Compare{{Key: []byte("b"), Target: pb.Compare_VERSION, TargetUnion: &pb.Compare_Lease{Lease: 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantProto(t, other, &pb.TxnResponse{Header: header(3)})
}

func TestCompactedAndFutureRevisionsAreEtcdsErrors(t *testing.T) {
	f := start(t)
	c := f.client(t)
	ctx := bounded(t)
	put(t, f, "a", "1")
	put(t, f, "a", "2")
	resp, err := c.Compact(ctx, 3, clientv3.WithCompactPhysical())
	if err != nil {
		t.Fatal(err)
	}
	wantProto(t, resp.Header, header(3))
	_, err = f.kv.Compact(ctx, &pb.CompactionRequest{Revision: 3})
	wantStatus(t, err, rpctypes.ErrGRPCCompacted)
	_, err = f.kv.Range(ctx, &pb.RangeRequest{Key: []byte("a"), Revision: 2})
	wantStatus(t, err, rpctypes.ErrGRPCCompacted)
	_, err = f.kv.Range(ctx, &pb.RangeRequest{Key: []byte("a"), Revision: 9})
	wantStatus(t, err, rpctypes.ErrGRPCFutureRev)
}

func TestCallWhoseClientGivesUpIsCanceledAtTheMember(t *testing.T) {
	f := start(t)
	entered, left := make(chan struct{}), make(chan error, 1)
	f.set(func() {
		f.hook = func(ctx context.Context, call string) error {
			if call != "Put" {
				return nil
			}
			close(entered)
			<-ctx.Done()
			left <- ctx.Err()
			return ctx.Err()
		}
	})
	ctx, cancel := context.WithCancel(bounded(t))
	go func() {
		<-entered
		cancel()
	}()
	_, err := f.kv.Put(ctx, &pb.PutRequest{Key: []byte("k")})
	wantCode(t, err, codes.Canceled)
	if err := <-left; err == nil {
		t.Error("the member's context did not end")
	}
}
