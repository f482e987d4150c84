package etcdapi

import (
	"errors"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

func TestFragmentsStayBelowTheLimitAndLoseNothing(t *testing.T) {
	const limit = 1000
	for _, sizes := range [][]int{
		{}, {10}, {5000}, {10, 10}, {400, 400, 400, 400}, {5000, 5000}, {10, 5000, 10}, {994 - 30, 1, 1}, {100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100},
	} {
		whole := &pb.WatchResponse{Header: header(9), WatchId: 4, Events: make([]*mvccpb.Event, len(sizes))}
		for i, n := range sizes {
			whole.Events[i] = &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte{byte(i)}, Value: make([]byte, n)}}
		}
		var parts []*pb.WatchResponse
		err := sendFragments(whole, limit, func(r *pb.WatchResponse) error { parts = append(parts, r); return nil })
		if err != nil {
			t.Fatal(err)
		}
		merged := &pb.WatchResponse{Header: header(9), WatchId: 4}
		for i, p := range parts {
			if p.Fragment != (i < len(parts)-1) || p.WatchId != 4 || p.Header.Revision != 9 {
				t.Errorf("%v: part %d of %d is %v", sizes, i, len(parts), p)
			}
			if proto.Size(p) >= limit && len(p.Events) > 1 {
				t.Errorf("%v: part %d has %d bytes", sizes, i, proto.Size(p))
			}
			merged.Events = append(merged.Events, p.Events...)
		}
		wantProto(t, merged, whole)
		if proto.Size(whole) < limit && len(parts) != 1 {
			t.Errorf("%v: small answer in %d parts", sizes, len(parts))
		}
	}
}

func TestFragmentsStopAtTheFirstFailure(t *testing.T) {
	r := &pb.WatchResponse{Events: []*mvccpb.Event{
		{Kv: &mvccpb.KeyValue{Value: make([]byte, 100)}}, {Kv: &mvccpb.KeyValue{Value: make([]byte, 100)}},
	}}
	broken, calls := errors.New("broken"), 0
	err := sendFragments(r, 50, func(*pb.WatchResponse) error { calls++; return broken })
	if !errors.Is(err, broken) || calls != 1 {
		t.Errorf("%d sends, %v", calls, err)
	}
}
