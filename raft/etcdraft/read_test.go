package etcdraft_test

import (
	"slices"
	"testing"

	"chainfire/raft"
	"chainfire/raft/etcdraft"
)

func TestReadsOfASingleVoterWaitForAnEntryOfItsTerm(t *testing.T) {
	h := start(t, etcdraft.New, 1, 1, 1, 1)
	h.Campaign()
	h.ready()
	h.persist()
	if h.Role() != raft.Leader {
		t.Fatalf("it is %v", h.Role())
	}
	h.ReadIndex(5)
	h.ready()
	if len(h.reads) != 0 {
		t.Fatalf("answered %+v while commit is %d of %d", h.reads, h.Commit(), h.Status().Last)
	}
	h.settle()
	if want := []raft.ReadState{{ID: 5, Index: 4}}; !slices.Equal(h.reads, want) {
		t.Errorf("reads %+v, want %+v", h.reads, want)
	}
}

func TestReadsPassThroughALeaderInBothDirections(t *testing.T) {
	h := start(t, etcdraft.New, 3, 1)
	h.elect()
	h.settle()
	h.ack(2)
	h.settle()
	h.drop()
	h.from(3, raft.Message{Type: raft.MsgReadIndex, Term: 2, Round: 77})
	h.ReadIndex(5)
	h.ready()
	var rounds []uint64
	for _, m := range h.sent {
		if m.To == 2 && m.Type == raft.MsgHeartbeat {
			rounds = append(rounds, m.Round)
		}
	}
	if !slices.Equal(rounds, []uint64{1, 2}) {
		t.Fatalf("heartbeats of rounds %v", rounds)
	}
	h.from(2, raft.Message{Type: raft.MsgHeartbeatResp, Term: 2, Round: 99})
	h.from(2, raft.Message{Type: raft.MsgHeartbeatResp, Term: 2, Round: 2})
	h.ready()
	if m := h.only(3, raft.MsgReadIndexResp); m.Round != 77 || m.Index != 2 || m.Reject {
		t.Errorf("answer to 3: %+v", m)
	}
	if want := []raft.ReadState{{ID: 5, Index: 2}}; !slices.Equal(h.reads, want) {
		t.Errorf("own read: %+v", h.reads)
	}

	f := start(t, etcdraft.New, 3, 1)
	f.from(2, raft.Message{Type: raft.MsgHeartbeat, Term: 2})
	f.ReadIndex(6)
	f.ReadIndex(7)
	f.settle()
	ask := f.only(2, raft.MsgReadIndex)
	if ask.Term != 2 || ask.Round != 7<<32+1 {
		t.Errorf("question %+v", ask)
	}
	f.from(2, raft.Message{Type: raft.MsgReadIndexResp, Term: 2, Round: ask.Round, Index: 1})
	f.ReadIndex(8)
	f.settle()
	f.from(2, raft.Message{Type: raft.MsgReadIndexResp, Term: 2, Round: ask.Round + 1, Reject: true})
	f.from(3, raft.Message{Type: raft.MsgReadIndex, Term: 2, Round: 1})
	f.settle()
	if want := []raft.ReadState{{ID: 6, Index: 1}, {ID: 7, Index: 1}, {ID: 8, Rejected: true}}; !slices.Equal(f.reads, want) {
		t.Errorf("reads %+v, want %+v", f.reads, want)
	}
	if m := f.only(3, raft.MsgReadIndexResp); !m.Reject {
		t.Errorf("a follower answers a read: %+v", m)
	}
}

func TestReadWithoutAnAnswerIsGivenUp(t *testing.T) {
	h := start(t, etcdraft.New, 3, 1)
	h.from(2, raft.Message{Type: raft.MsgHeartbeat, Term: 2})
	h.ReadIndex(6)
	h.settle()
	for range testElection {
		h.from(2, raft.Message{Type: raft.MsgHeartbeat, Term: 2})
		h.Tick()
	}
	h.settle()
	if want := []raft.ReadState{{ID: 6, Rejected: true}}; !slices.Equal(h.reads, want) {
		t.Errorf("reads %+v", h.reads)
	}
}
