package test

import (
	"context"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// TestDowngradeIsCheckedAsByEtcdAndThenRefusedWithTheWayToGo: no version of etcd reads the
// store.
func TestDowngradeIsCheckedAsByEtcdAndThenRefusedWithTheWayToGo(t *testing.T) {
	t.Parallel()
	m := oneMember(t).members[0]
	d := &differential{t: t, sides: []side{newSide(t, "etcd", here.newEtcd(t)), newSide(t, "chainfire", m.client)}}
	for _, r := range []*pb.DowngradeRequest{
		{},
		{Version: "3"},
		{Version: "x.y.z"},
		{Version: "3.8"},
		{Version: "3.7.0"},
		{Version: "3.5.0"},
		{Version: "2.6.0"},
		{Action: pb.DowngradeRequest_ENABLE, Version: "3.4"},
		{Action: pb.DowngradeRequest_ENABLE, Version: ""},
		{Action: pb.DowngradeRequest_CANCEL},
		{Action: 9},
	} {
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.care.Downgrade(ctx, r) })
	}
	for _, a := range []pb.DowngradeRequest_DowngradeAction{pb.DowngradeRequest_VALIDATE, pb.DowngradeRequest_ENABLE} {
		_, err := newSide(t, "chainfire", m.client).care.Downgrade(t.Context(), &pb.DowngradeRequest{Action: a, Version: "3.6"})
		if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "to go to 3.6, save a snapshot") {
			t.Errorf("%v: %v", a, err)
		}
	}
}
