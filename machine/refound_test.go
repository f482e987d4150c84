package machine

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/raft"
	"chainfire/raft/confchange"
)

func TestRefoundedStateIsANewClusterWithTheOldKeys(t *testing.T) {
	f := disk.NewFaultFS()
	opts := Options{FS: f, Dir: "m", Still: true}
	err := Bootstrap(opts, Init{
		ClusterID: 7, Conf: raft.ConfState{Voters: []uint64{1}}, Index: 1, Term: 1,
		Members: []MemberRecord{{ID: 1, Name: "a", PeerURLs: []string{"http://a"}, Incarnation: 1}},
		Tokens:  []TokenRecord{{ID: 1, SecretHash: make([]byte, tokenHashSize)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	do(t, m, Command{Put: &chainfire.PutRequest{Key: []byte("k"), Value: []byte("v")}})
	reserved := do(t, m, reserve("two", "http://two", 22)).MemberID
	change(t, m, one(confchange.AddLearner, reserved), nil)
	at, _ := m.Applied()
	good := Refounding{
		ClusterID: 8, Member: MemberRecord{ID: at + 100, Name: "a", PeerURLs: []string{"http://a"}, Incarnation: 9},
		Index: at + 100, Term: 2, BumpRevision: 50, Tokens: []TokenRecord{{ID: at + 100, SecretHash: make([]byte, tokenHashSize)}},
	}
	for name, spoil := range map[string]func(*Refounding){
		"the old cluster id":  func(r *Refounding) { r.ClusterID = 7 },
		"a member id in use":  func(r *Refounding) { r.Member.ID = reserved },
		"an index applied":    func(r *Refounding) { r.Index = at },
		"the old term":        func(r *Refounding) { r.Term = 1 },
		"a revision too high": func(r *Refounding) { r.BumpRevision = 1 << 62 },
	} {
		r := good
		spoil(&r)
		if err := m.Refound(r); err == nil {
			t.Errorf("%s is taken", name)
		}
		if now, _ := m.Applied(); now != at || m.ClusterID() != 7 {
			t.Errorf("%s: the state was changed", name)
		}
	}
	before := m.Revision()
	if err := m.Refound(good); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if m, err = Open(opts); err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, m)
	if index, term := m.Applied(); index != at+100 || term != 2 || m.ClusterID() != 8 || !m.Conf().Equal(raft.ConfState{Voters: []uint64{at + 100}}) {
		t.Errorf("index %d, term %d, cluster %d, %v", index, term, m.ClusterID(), m.Conf())
	}
	if members := m.Members(); len(members) != 1 || members[0].ID != at+100 || !m.Removed(1) || !m.Removed(reserved) {
		t.Errorf("members %+v", members)
	}
	if tokens := m.Tokens(); !slices.EqualFunc(tokens, good.Tokens, func(a, b TokenRecord) bool { return a.ID == b.ID }) {
		t.Errorf("tokens %+v", tokens)
	}
	if m.Revision() != before+50 || m.CompactRevision() != m.Revision() {
		t.Errorf("revision %d, compacted %d, was %d", m.Revision(), m.CompactRevision(), before)
	}
	mustWatchFromNowOnly(t, m, before)
}

// mustWatchFromNowOnly checks what a reader and a watch see of a jump of the
// revision: what they knew is gone, and said to be, and the keys are there.
func mustWatchFromNowOnly(t *testing.T, m *Machine, before int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := m.Range(ctx, &chainfire.RangeRequest{Key: []byte("k"), Revision: before}); !errors.Is(err, chainfire.ErrCompacted) {
		t.Errorf("a read at the old revision: %v", err)
	}
	r, err := m.Range(ctx, &chainfire.RangeRequest{Key: []byte("k")})
	if err != nil || r.Count != 1 || r.Header.Revision != m.Revision() {
		t.Errorf("a read: %+v, %v", r, err)
	}
	s := m.NewWatchStream()
	defer s.Close()
	// One went on at a member that was lost: it saw revisions that are not here.
	if _, err := s.Watch(&chainfire.WatchRequest{Key: []byte("k"), StartRevision: before + 10}); err != nil {
		t.Fatal(err)
	}
	if w, err := s.Recv(ctx); err != nil || !w.Canceled || w.CompactRevision != m.Revision() {
		t.Errorf("a watch from between: %+v, %v", w, err)
	}
	if _, err := s.Watch(&chainfire.WatchRequest{Key: []byte("k"), StartRevision: m.Revision() + 1}); err != nil {
		t.Fatal(err)
	}
	applied, _ := m.Applied()
	c := Command{Put: &chainfire.PutRequest{Key: []byte("k"), Value: []byte("w")}}
	if _, err := m.Apply([]raft.Entry{{Index: applied + 1, Term: 2, Data: c.AppendTo(nil)}}); err != nil {
		t.Fatal(err)
	}
	if w, err := s.Recv(ctx); err != nil || len(w.Events) != 1 || w.Events[0].KV.ModRevision != m.Revision() {
		t.Errorf("a watch from now: %+v, %v", w, err)
	}
}
