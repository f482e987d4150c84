package machine

import (
	"slices"
	"testing"

	"chainfire/internal/disk"
	"chainfire/raft"
)

// TestRefoundedStateKnowsWhatTheClusterWasBefore makes a new cluster of a state twice.
func TestRefoundedStateKnowsWhatTheClusterWasBefore(t *testing.T) {
	opts := Options{FS: disk.NewFaultFS(), Dir: "m", Still: true}
	err := Bootstrap(opts, Init{
		ClusterID: 7, Conf: raft.ConfState{Voters: []uint64{1}}, Index: 1, Term: 1,
		Members: []MemberRecord{{ID: 1, Name: "a", PeerURLs: []string{"http://a"}, Incarnation: 1, Level: FeatureLevel}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	do(t, m, Command{RaiseLevel: &RaiseLevel{Level: ObjectLevel}})
	for life := range uint64(2) {
		index, term := m.Applied()
		err := m.Refound(Refounding{
			ClusterID: 8 + life, Index: index + 100, Term: term + 1,
			Member: MemberRecord{ID: index + 100, Name: "a", PeerURLs: []string{"http://a"}, Incarnation: 2 + life},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if m, err = Open(opts); err != nil {
			t.Fatal(err)
		}
	}
	defer closeAll(t, m)
	if got := m.Former(); m.ClusterID() != 9 || !slices.Equal(got, []uint64{8, 7}) {
		t.Errorf("cluster %d was %v before, want 8 and then 7", m.ClusterID(), got)
	}
}
