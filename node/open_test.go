package node

import (
	"log/slog"
	"testing"

	"chainfire/machine"
	"chainfire/raft"
)

// A snapshot has become the state, and the member died before its log followed:
// the log begins again after it. The vote of an older term is none of the new one.
func TestStateAheadOfItsLogRestartsTheLogAfterIt(t *testing.T) {
	opts := Options{
		Dir: t.TempDir(), Name: "a", ListenPeer: "127.0.0.1:0", Version: "0.1.0", Plain: true,
		Logger: slog.New(slog.DiscardHandler),
	}
	if err := opts.fill(); err != nil {
		t.Fatal(err)
	}
	dir := &Node{opts: opts, log: opts.Logger, sched: opts.Sched}
	err := machine.Bootstrap(dir.machineOptions(), machine.Init{
		ClusterID: 7, Index: 50, Term: 3, Conf: raft.ConfState{Voters: []uint64{1, 2, 3}},
		Members: []machine.MemberRecord{{ID: 1, Name: "a", PeerURLs: []string{"http://127.0.0.1:1"}, Incarnation: 11}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.createLog(9, 1, raft.HardState{Term: 2, Vote: 2, Commit: 9}); err != nil {
		t.Fatal(err)
	}
	if err := saveIdentity(opts.FS, opts.Dir, identity{Cluster: 7, Member: 1, Incarnation: 11, Name: "a"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		n, err := Start(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		s := n.status()
		if s.First != 51 || s.Last != 50 || s.Applied != 50 || s.Commit != 50 || s.Term != 3 || s.Vote != raft.None {
			t.Errorf("%+v", s)
		}
		if err := n.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
