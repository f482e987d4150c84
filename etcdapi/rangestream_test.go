package etcdapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"chainfire"
)

// readStream returns the parts of a streamed answer.
func readStream(t *testing.T, f *fixture, r *pb.RangeRequest) ([]*pb.RangeResponse, error) {
	t.Helper()
	s, err := f.kv.RangeStream(bounded(t), r)
	if err != nil {
		return nil, err
	}
	var parts []*pb.RangeResponse
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return parts, nil
		}
		if err != nil {
			return parts, err
		}
		parts = append(parts, m.RangeResponse)
	}
}

func TestStreamedPartsMergeToTheUnaryAnswer(t *testing.T) {
	f := start(t, func(o *Options) { o.MaxRequestBytes = 4096 })
	for i := range 200 {
		put(t, f, fmt.Sprintf("k%03d", i), strings.Repeat("v", i%7*100))
	}
	put(t, f, "k000", "newer")
	for _, r := range []*pb.RangeRequest{
		{},
		{Limit: 1},
		{Limit: 9},
		{Limit: 10},
		{Limit: 11},
		{Limit: 150},
		{Limit: 200},
		{Limit: 201},
		{Limit: -1},
		{KeysOnly: true},
		{CountOnly: true},
		{Revision: 50},
		{Revision: 50, Limit: 20},
		{Serializable: true},
		{SortOrder: pb.RangeRequest_ASCEND},
		{SortTarget: pb.RangeRequest_MOD},
		{SortTarget: pb.RangeRequest_VALUE, Limit: 20},
		{Key: []byte("nothing"), RangeEnd: []byte("o")},
		{Key: []byte("k1"), RangeEnd: []byte{0}},
	} {
		if r.Key == nil {
			r.Key, r.RangeEnd = []byte("k"), []byte("l")
		}
		t.Run(fmt.Sprint(r), func(t *testing.T) {
			want, err := f.kv.Range(bounded(t), r)
			if err != nil {
				t.Fatal(err)
			}
			parts, err := readStream(t, f, r)
			if err != nil {
				t.Fatal(err)
			}
			got := &pb.RangeResponse{}
			for i, p := range parts {
				if last := i == len(parts)-1; !last && (p.Header != nil || p.More || p.Count != 0) {
					t.Errorf("part %d of %d has more than keys: %v", i, len(parts), p)
				}
				proto.Merge(got, p)
			}
			wantProto(t, got, want)
		})
	}
}

func TestStreamReadsOneRevisionThroughout(t *testing.T) {
	f := start(t)
	for i := range 40 {
		put(t, f, fmt.Sprintf("k%03d", i), "old")
	}
	before := f.Revision()
	f.set(func() {
		f.asked = nil
		reads := 0
		f.hook = func(_ context.Context, call string) error {
			if call != "Range" {
				return nil
			}
			if reads++; reads == 2 { // between the first part and the second
				return f.write(func(rev int64) error {
					f.remove(&chainfire.DeleteRangeRequest{Key: []byte("k"), RangeEnd: []byte("l")}, rev)
					return nil
				})
			}
			return nil
		}
	})
	parts, err := readStream(t, f, &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range parts {
		n += len(p.Kvs)
	}
	last := parts[len(parts)-1]
	if n != 40 || last.Count != 40 || last.Header.Revision != before {
		t.Errorf("got %d keys, count %d at %d; want 40 at %d", n, last.Count, last.Header.Revision, before)
	}
	if f.asked[0] != "linearizable" || slices.Contains(f.asked[1:], "linearizable") {
		t.Errorf("reads were %v", f.asked)
	}
}

func TestStreamRefusesWhatItCannotOrder(t *testing.T) {
	f := start(t)
	k := []byte("k")
	sorts := status.Error(codes.Unimplemented, "RangeStream does not support custom sort orders")
	filters := status.Error(codes.Unimplemented, "RangeStream does not support revision filters")
	for _, tc := range []struct {
		r    *pb.RangeRequest
		want error
	}{
		{&pb.RangeRequest{SortOrder: pb.RangeRequest_DESCEND}, rpctypes.ErrGRPCEmptyKey},
		{&pb.RangeRequest{Key: k, SortOrder: 7}, rpctypes.ErrGRPCInvalidSortOption},
		{&pb.RangeRequest{Key: k, SortOrder: pb.RangeRequest_DESCEND, MinModRevision: 1}, sorts},
		{&pb.RangeRequest{Key: k, SortOrder: pb.RangeRequest_ASCEND, SortTarget: pb.RangeRequest_VALUE}, sorts},
		{&pb.RangeRequest{Key: k, SortTarget: pb.RangeRequest_VALUE, MinModRevision: 1}, filters},
		{&pb.RangeRequest{Key: k, MinModRevision: 1}, filters},
		{&pb.RangeRequest{Key: k, MaxModRevision: 1}, filters},
		{&pb.RangeRequest{Key: k, MinCreateRevision: 1}, filters},
		{&pb.RangeRequest{Key: k, MaxCreateRevision: 1}, filters},
		{&pb.RangeRequest{Key: k, Revision: 99}, rpctypes.ErrGRPCFutureRev},
		{&pb.RangeRequest{Key: k, Revision: 99, CountOnly: true}, rpctypes.ErrGRPCFutureRev},
	} {
		t.Run(fmt.Sprint(tc.r), func(t *testing.T) {
			_, err := readStream(t, f, tc.r)
			wantStatus(t, err, tc.want)
		})
	}
}

func TestEtcdsClientReadsTheStream(t *testing.T) {
	f := start(t)
	c := f.client(t)
	for i := range 30 {
		put(t, f, fmt.Sprintf("k%03d", i), "v")
	}
	stream, err := c.GetStream(bounded(t), "k", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	got, err := clientv3.GetStreamToGetResponse(stream)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Kvs) != 30 || got.Count != 30 || got.More {
		t.Errorf("got %d keys of %d, more %v", len(got.Kvs), got.Count, got.More)
	}
}
