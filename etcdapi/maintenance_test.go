package etcdapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
)

func TestStatusHasEveryFieldThatIsKnown(t *testing.T) {
	f := start(t)
	m := pb.NewMaintenanceClient(f.conn)
	want := &pb.StatusResponse{
		Header: header(1), Version: "3.7.3", StorageVersion: "3.7.0", DbSize: 4096, DbSizeInUse: 1024,
		Leader: fakeID, RaftIndex: 20, RaftAppliedIndex: 10, RaftTerm: fakeTerm,
		Errors: []string{"disk is slow"}, DowngradeInfo: &pb.DowngradeInfo{},
	}
	got, err := m.Status(bounded(t), &pb.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	wantProto(t, got, want)
	f.set(func() { f.leader, f.learner = 0, true })
	if got, err = m.Status(bounded(t), &pb.StatusRequest{}); err != nil {
		t.Fatal(err)
	}
	want.Leader, want.IsLearner, want.Errors = 0, true, []string{"etcdserver: no leader", "disk is slow"}
	wantProto(t, got, want)
}

func TestLeadershipMovesOrSaysWhyNot(t *testing.T) {
	f := start(t)
	c := f.client(t)
	if _, err := c.MoveLeader(bounded(t), 77); err != nil || f.leader != 77 {
		t.Errorf("leader is %d, %v", f.leader, err)
	}
	f.set(func() {
		f.hook = func(_ context.Context, call string) error {
			if call == "MoveLeader" {
				return chainfire.ErrNotLeader
			}
			return nil
		}
	})
	_, err := pb.NewMaintenanceClient(f.conn).MoveLeader(bounded(t), &pb.MoveLeaderRequest{TargetID: 77})
	wantStatus(t, err, status.Error(codes.FailedPrecondition, "etcdserver: not leader"))
}

func TestAlarmsAreRaisedListedShownAndTakenBack(t *testing.T) {
	f := start(t)
	m, ctx := pb.NewMaintenanceClient(f.conn), bounded(t)
	h := &pb.ResponseHeader{ClusterId: fakeCluster, MemberId: fakeID, Revision: 1, RaftTerm: fakeTerm}
	r, err := m.Alarm(ctx, &pb.AlarmRequest{})
	wantMessage(t, r, &pb.AlarmResponse{Header: h}, err)
	want := &pb.AlarmResponse{Header: h, Alarms: []*pb.AlarmMember{{MemberID: 5, Alarm: pb.AlarmType_NOSPACE}}}
	r, err = m.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: 5, Alarm: pb.AlarmType_NOSPACE})
	wantMessage(t, r, want, err)
	r, err = m.Alarm(ctx, &pb.AlarmRequest{})
	wantMessage(t, r, want, err)
	st, err := m.Status(ctx, &pb.StatusRequest{})
	if err != nil || !strings.Contains(st.Errors[len(st.Errors)-1], "alarm:NOSPACE") {
		t.Errorf("status: %v, %v", st, err)
	}
	wantHTTP(t, f, "/health", 503, `{"health":"false","reason":"ALARM NOSPACE"}`)
	wantHTTP(t, f, "/health?exclude=NOSPACE", 200, `{"health":"true","reason":""}`)
	wantHTTP(t, f, "/readyz/data_corruption", 200, "ok")
	f.set(func() { f.alarms = append(f.alarms, chainfire.Alarm{MemberID: 6, Type: chainfire.AlarmCorrupt}) })
	wantHTTP(t, f, "/health?exclude=NOSPACE", 503, `{"health":"false","reason":"ALARM CORRUPT"}`)
	wantHTTP(t, f, "/readyz/data_corruption", 503, "[-]data_corruption failed: alarm activated: CORRUPT")
	r, err = m.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: 5, Alarm: pb.AlarmType_NOSPACE})
	wantMessage(t, r, want, err)
	r, err = m.Alarm(ctx, &pb.AlarmRequest{Action: 7, MemberID: 5, Alarm: pb.AlarmType_NOSPACE})
	wantMessage(t, r, &pb.AlarmResponse{Header: h}, err)
	_, err = m.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: 5, Alarm: 258})
	wantCode(t, err, codes.InvalidArgument)
}

func TestHashKVHasEtcdsFieldsAndErrors(t *testing.T) {
	f := start(t)
	m := pb.NewMaintenanceClient(f.conn)
	r, err := m.HashKV(bounded(t), &pb.HashKVRequest{})
	if err != nil || r.Hash != fakeHash || r.HashRevision != 1 || r.CompactRevision != -1 || r.Header.Revision != 1 || r.Header.MemberId != fakeID {
		t.Errorf("got %v, %v", r, err)
	}
	_, err = m.HashKV(bounded(t), &pb.HashKVRequest{Revision: 2})
	wantStatus(t, err, status.Error(codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision"))
	h, err := m.Hash(bounded(t), &pb.HashRequest{})
	if err != nil || h.Hash != fakeHash || h.Header.Revision != 1 {
		t.Errorf("got %v, %v", h, err)
	}
}

func TestDefragmentIsDoneAtOnce(t *testing.T) {
	f := start(t)
	if _, err := pb.NewMaintenanceClient(f.conn).Defragment(bounded(t), &pb.DefragmentRequest{}); err != nil {
		t.Error(err)
	}
}

func TestSnapshotIsTheFileAndItsHash(t *testing.T) {
	f := start(t)
	r, err := f.client(t).SnapshotWithVersion(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte(fakeFileText))
	if want := append([]byte(fakeFileText), hash[:]...); !bytes.Equal(b, want) || r.Version != "3.7.0" {
		t.Errorf("%d bytes of version %s, want %d", len(b), r.Version, len(want))
	}
	f.set(func() {
		f.hook = func(context.Context, string) error { return fmt.Errorf("%w: make some", chainfire.ErrNoRoom) }
	})
	_, err = f.client(t).SnapshotWithVersion(bounded(t))
	wantStatus(t, err, status.Error(codes.ResourceExhausted, "etcdserver: too little room on the disk: make some"))
}
