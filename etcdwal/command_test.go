package etcdwal_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/raft/v3/raftpb"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"chainfire"
	"chainfire/auth"
	"chainfire/etcdwal"
	"chainfire/machine"
)

// commands are those of an entry with a request.
func commands(t *testing.T, r *pb.InternalRaftRequest) ([]machine.Command, error) {
	t.Helper()
	data, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return etcdwal.Commands(&raftpb.Entry{Data: data}, 3)
}

func TestCommandHasTheCallerOfTheEntry(t *testing.T) {
	got, err := commands(t, &pb.InternalRaftRequest{
		Header: &pb.RequestHeader{Username: "ann", AuthRevision: 7}, Put: &pb.PutRequest{Key: []byte("k"), Value: []byte("v"), Lease: 5, PrevKv: true},
	})
	want := []machine.Command{{
		Caller: auth.Identity{User: "ann", Revision: 7}, Put: &chainfire.PutRequest{Key: []byte("k"), Value: []byte("v"), Lease: 5, PrevKV: true},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEntryThatLeavesTheStateIsNoCommand(t *testing.T) {
	old := protowire.AppendBytes(protowire.AppendTag(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 5), 2, protowire.BytesType), []byte("PUT"))
	old = protowire.AppendBytes(protowire.AppendTag(old, 3, protowire.BytesType), []byte("/0/members/8e9e05c52164694d/attributes"))
	conf := raftpb.EntryConfChange
	for name, e := range map[string]*raftpb.Entry{
		"of a new leader":               {},
		"a change of the members":       {Type: &conf, Data: []byte("anything")},
		"a name, as etcd 3.5 writes it": {Data: old},
		"the old API, inside of a request": {
			Data: protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), old),
		},
	} {
		if got, err := etcdwal.Commands(e, 1); err != nil || len(got) > 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, r := range []*pb.InternalRaftRequest{
		{Range: &pb.RangeRequest{Key: []byte("k")}},
		{Authenticate: &pb.InternalAuthenticateRequest{Name: "ann"}},
		{LeaseGrant: &pb.LeaseGrantRequest{TTL: 5}},
		{LeaseGrant: &pb.LeaseGrantRequest{ID: 5, TTL: machine.MaxLeaseTTL + 1}},
		{Alarm: &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE}},
		{AuthUserAdd: &pb.AuthUserAddRequest{Name: "ann", HashedPassword: "?"}},
	} {
		if got, err := commands(t, r); err != nil || len(got) > 0 {
			t.Errorf("%v: %+v, %v", r, got, err)
		}
	}
}

func TestPasswordOfAnOldEntryIsHashed(t *testing.T) {
	got, err := commands(t, &pb.InternalRaftRequest{AuthUserAdd: &pb.AuthUserAddRequest{Name: "ann", Password: "secret"}})
	if err != nil || len(got) != 1 || bcrypt.CompareHashAndPassword(got[0].Auth.Hash, []byte("secret")) != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCheckpointOfManyLeasesIsSplitAndOneOfNothingGivesAllBack(t *testing.T) {
	q := &pb.LeaseCheckpointRequest{}
	for id := range int64(machine.MaxCheckpoints + 1) {
		q.Checkpoints = append(q.Checkpoints, &pb.LeaseCheckpoint{ID: id + 1, Remaining_TTL: id})
	}
	got, err := commands(t, &pb.InternalRaftRequest{LeaseCheckpoint: q})
	if err != nil || len(got) != 2 || len(got[1].CheckpointLeases.Leases) != 1 || got[0].CheckpointLeases.Term != 3 {
		t.Fatalf("%d commands, %v", len(got), err)
	}
	if l := got[0].CheckpointLeases.Leases; l[0].Remaining != machine.MaxLeaseTTL || l[1] != (machine.LeaseCheckpoint{ID: 2, Remaining: 1}) {
		t.Errorf("%+v", l[:2])
	}
}

func TestWhatNoCommandCanBeIsAnError(t *testing.T) {
	index := uint64(12)
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"no request":                 {[]byte{0xff}, chainfire.ErrCorrupt},
		"a request of a newer etcd":  {protowire.AppendBytes(protowire.AppendTag(nil, 2000, protowire.BytesType), nil), machine.ErrNewer},
		"an alarm that is not known": {marshal(t, &pb.InternalRaftRequest{Alarm: &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: 9}}), chainfire.ErrUnknownAlarm},
		"a name that is too long":    {marshal(t, &pb.InternalRaftRequest{AuthRoleAdd: &pb.AuthRoleAddRequest{Name: strings.Repeat("x", auth.MaxNameLen+1)}}), chainfire.ErrTooManyAuth},
		"a permission of no kind": {marshal(t, &pb.InternalRaftRequest{AuthRoleGrantPermission: &pb.AuthRoleGrantPermissionRequest{
			Name: "r", Perm: &authpb.Permission{PermType: 9, Key: []byte("k")},
		}}), chainfire.ErrInvalidAuthMgmt},
	} {
		got, err := etcdwal.Commands(&raftpb.Entry{Index: &index, Data: c.data}, 1)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "entry 12 of etcd's log") || got != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
