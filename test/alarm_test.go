package test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// TestQuotaStopsWritesOfAllMembersUntilItsAlarmIsTakenBack fills one member's store.
func TestQuotaStopsWritesOfAllMembersUntilItsAlarmIsTakenBack(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, calm()...)
	other, m := c.members[1], c.members[0]
	m.stop()
	m.args = append(m.args, "--quota-backend-bytes", "24MiB") // at one, which alone looks after it
	m.start()
	m.awaitServing()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	st, err := m.kv().Status(ctx, m.client)
	if err != nil || st.DbSizeQuota != 24<<20 {
		t.Fatalf("status: %+v, %v", st, err)
	}
	value := string(bytesOf(512 << 10)) // which the store cannot make smaller
	keys := 0
	for ; err == nil && keys < 200; keys++ {
		_, err = m.kv().Put(ctx, fmt.Sprintf("k%d", keys), value)
	}
	if !errors.Is(err, rpctypes.ErrNoSpace) || keys < 20 {
		t.Fatalf("the put of key %d: %v", keys, err)
	}
	lists := func(at *member, want string) {
		t.Helper()
		out, errOut, code := newEtcdctl(t, at.client).run("", "alarm", "list")
		if code != 0 || strings.Join(strings.Fields(out), " ") != want { // how many blanks there are differs by the build
			t.Errorf("alarm list at %s: code %d, %q%s, want %q", at.name, code, out, errOut, want)
		}
	}
	alarm := fmt.Sprintf("memberID:%d alarm:NOSPACE", m.id(m))
	lists(other, alarm)
	if _, err := other.kv().Put(ctx, "small", "v"); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Errorf("a put at another member: %v", err)
	}
	if _, err := other.kv().Grant(ctx, 5); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Errorf("a lease at another member: %v", err)
	}
	if r, err := other.kv().Get(ctx, "k0"); err != nil || r.Count != 1 {
		t.Errorf("a read: %v, %v", r, err)
	}
	if r := get("/health").mustAt(t, other.client); r.code != 503 || !strings.Contains(r.body, "ALARM NOSPACE") {
		t.Errorf("/health: %+v", r)
	}
	if _, err := other.kv().Delete(ctx, "k0"); err != nil {
		t.Errorf("a deletion: %v", err)
	}
	if out, errOut, code := newEtcdctl(t, other.client).run("", "alarm", "disarm"); code != 0 || strings.Join(strings.Fields(out), " ") != alarm {
		t.Errorf("disarm: code %d, %q%s", code, out, errOut)
	}
	lists(m, "")
	if _, err := other.kv().Put(ctx, "k0", "v"); err != nil {
		t.Errorf("a put after it was taken back: %v", err)
	}
}

// TestAlarmsAreThoseOfEtcd puts the same requests to both.
func TestAlarmsAreThoseOfEtcd(t *testing.T) {
	t.Parallel()
	d := &differential{t: t, sides: []side{newSide(t, "etcd", here.newEtcd(t)), newSide(t, "chainfire", oneMember(t).members[0].client)}}
	const on, off = pb.AlarmRequest_ACTIVATE, pb.AlarmRequest_DEACTIVATE
	none, space, corrupt := pb.AlarmType_NONE, pb.AlarmType_NOSPACE, pb.AlarmType_CORRUPT
	for _, r := range []*pb.AlarmRequest{
		{},
		{Action: off, MemberID: 1, Alarm: space},
		{Action: on, MemberID: 9, Alarm: none},
		{Action: on, MemberID: 9, Alarm: space},
		{Action: on, MemberID: 9, Alarm: space},
		{},
		{Alarm: corrupt},
		{Alarm: space},
		{MemberID: 3, Alarm: space},
		{Action: on, MemberID: 9, Alarm: corrupt},
		{Action: off, MemberID: 8, Alarm: corrupt},
		{Action: off, MemberID: 9, Alarm: corrupt},
		{Action: off, MemberID: 9, Alarm: space},
		{},
	} {
		d.alarm(r)
		d.underAlarm()
	}
	if d.refused == 0 {
		t.Error("nothing was refused")
	}
}
