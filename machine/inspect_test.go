package machine

import (
	"context"
	"strings"
	"testing"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/mvcc"
)

func TestInspectionOfAMachineSaysWhoIsInTheCluster(t *testing.T) {
	m, fs := start(t)
	do(t, m, Command{Put: &chainfire.PutRequest{Key: []byte("foo"), Value: []byte("bar")}})
	five := do(t, m, Command{Reserve: &Reserve{Name: "five", PeerURLs: []string{"http://five"}, Incarnation: 55}}).MemberID
	six := do(t, m, Command{Reserve: &Reserve{Name: "six", PeerURLs: []string{"http://six"}, Incarnation: 66}}).MemberID
	do(t, m, Command{Release: &Release{ID: six}})
	hash, err := m.HashKV(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	members, conf := m.Members(), m.Conf()
	index, term := m.Applied()
	closeAll(t, m)

	var faults []mvcc.Fault
	o := mvcc.InspectOptions{FS: fs, Dir: "data", Fault: func(f *mvcc.Fault) error { faults = append(faults, *f); return nil }}
	got, err := Inspect(context.Background(), o)
	if err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
	if d := diff(got.Members, members); d != "" || len(got.Members) != 2 || got.Members[1].ID != five || !got.Members[1].Reserved {
		t.Errorf("members %s", d)
	}
	if got.ClusterID != 7 || !got.Conf.Equal(conf) || len(got.Removed) != 1 || got.Removed[0] != six || got.Hash != hash ||
		got.State.Applied != index || got.State.Term != term {
		t.Errorf("%+v", got)
	}
}

func TestInspectionFindsMembershipThatIsNotAsItIsWritten(t *testing.T) {
	fs := disk.NewFaultFS()
	other := mvcc.Options{FS: fs, Dir: "other"}
	if err := mvcc.Create(other, mvcc.State{Applied: 3, Term: 1}, []mvcc.MetaRow{
		{Name: rowConf, Value: []byte{9, 9}}, {Name: memberRow(rowMember, 4), Value: []byte{1, 0xff}}, {Name: "what", Value: nil},
	}); err != nil {
		t.Fatal(err)
	}
	var faults []string
	got, err := Inspect(context.Background(), mvcc.InspectOptions{
		FS: fs, Dir: "other", Fault: func(f *mvcc.Fault) error { faults = append(faults, f.Reason); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(faults, "\n")
	for _, part := range []string{"configuration", "malformed", "unknown row", "no cluster id"} {
		if !strings.Contains(all, part) {
			t.Errorf("%q is not in\n%s", part, all)
		}
	}
	if got.Damage != 4 {
		t.Errorf("damage %d", got.Damage)
	}
}
