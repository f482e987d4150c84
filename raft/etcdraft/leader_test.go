package etcdraft_test

import (
	"errors"
	"slices"
	"testing"

	"chainfire/raft"
	"chainfire/raft/confchange"
	"chainfire/raft/etcdraft"
	"chainfire/raft/progress"
)

func TestLeaderWhoseDiskStallsGivesUp(t *testing.T) {
	h := start(t, etcdraft.New, 3, 1)
	h.elect()
	h.ready()
	for range 3*testElection - 1 {
		h.from(2, raft.Message{Type: raft.MsgHeartbeatResp, Term: 2})
		h.Tick()
	}
	if h.Role() != raft.Leader {
		t.Fatalf("it is %v before its time", h.Role())
	}
	h.Tick()
	if h.Role() != raft.Follower || h.Term() != 2 {
		t.Errorf("it is %v of term %d", h.Role(), h.Term())
	}
	for range 5 * testElection {
		h.Tick()
	}
	if h.Role() != raft.Follower {
		t.Errorf("it campaigns while its disk stalls")
	}
}

func TestFollowersOfADeadLeaderDoNotWaitForTheirTimeout(t *testing.T) {
	h := start(t, etcdraft.New, 3, 1)
	for id, want := range map[uint64]raft.Role{3: raft.Follower, 2: raft.PreCandidate} {
		h.from(2, raft.Message{Type: raft.MsgHeartbeat, Term: 2})
		h.settle()
		h.LeaderGone(id)
		h.Tick()
		if h.Role() != want {
			t.Errorf("told that %d is gone it is %v", id, h.Role())
		}
		h.from(2, raft.Message{Type: raft.MsgHeartbeat, Term: 2})
	}
	// And it lets others ask for votes.
	h.LeaderGone(2)
	h.drop()
	h.from(3, raft.Message{Type: raft.MsgPreVote, Term: 3, Index: 1, LogTerm: 1})
	h.settle()
	if m := h.only(3, raft.MsgPreVoteResp); m.Reject {
		t.Errorf("%+v", m)
	}
}

func TestAnswerToAnEarlierPreVoteIsNotCounted(t *testing.T) {
	h := start(t, etcdraft.New, 3, 1)
	h.Campaign()
	h.settle()
	h.from(2, raft.Message{Type: raft.MsgHeartbeat, Term: 2})
	h.settle()
	h.Campaign()
	h.from(3, raft.Message{Type: raft.MsgPreVoteResp, Term: 2})
	if h.Role() != raft.PreCandidate {
		t.Errorf("it is %v by an answer to the question for term 2", h.Role())
	}
	h.from(3, raft.Message{Type: raft.MsgPreVoteResp, Term: 3})
	if h.Role() != raft.Candidate {
		t.Errorf("it is %v", h.Role())
	}
}

func TestVotesTellWhatIsCommitted(t *testing.T) {
	h := start(t, etcdraft.New, 3, 1, 1, 1)
	h.from(3, raft.Message{Type: raft.MsgPreVote, Term: 2, Index: 5, LogTerm: 1, Commit: 2, HintTerm: 1})
	h.settle()
	if s := h.Status(); s.Commit != 2 || s.Leader != raft.None || s.Term != 1 {
		t.Errorf("commit %d, leader %d, term %d", s.Commit, s.Leader, s.Term)
	}
	if m := h.only(3, raft.MsgPreVoteResp); m.Reject || m.Commit != 2 || m.HintTerm != 1 {
		t.Errorf("%+v", m)
	}
	h.from(3, raft.Message{Type: raft.MsgPreVote, Term: 2, Index: 5, LogTerm: 1, Commit: 3, HintTerm: 2})
	if c := h.Commit(); c != 2 {
		t.Errorf("commit %d by an entry that is not in the log", c)
	}
	if slices.ContainsFunc(h.sent, func(m raft.Message) bool { return m.Type == raft.MsgAppendResp }) {
		t.Errorf("a leader that does not exist is answered: %+v", h.sent)
	}
}

func TestRemovedLeaderHandsOverOnceAVoterHasAppliedIt(t *testing.T) {
	h := start(t, etcdraft.New, 3, 1)
	h.elect()
	h.settle()
	h.ack(2)
	h.settle()
	if _, _, err := h.ProposeConf(confchange.Change{Steps: []confchange.Step{{Kind: confchange.Remove, ID: 1}}}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Propose([]byte("x")); !errors.Is(err, raft.ErrTransferring) {
		t.Errorf("proposal after it: %v", err)
	}
	h.settle()
	h.from(2, raft.Message{Type: raft.MsgAppendResp, Term: 2, Index: 3, Applied: 2})
	h.settle()
	h.from(3, raft.Message{Type: raft.MsgAppendResp, Term: 2, Index: 3, Applied: 2})
	h.settle()
	if h.Status().Conf.IsVoter(1) || h.Role() != raft.Leader {
		t.Fatalf("%v in %v", h.Role(), h.Status().Conf)
	}
	h.ReadIndex(9)
	h.settle()
	if want := []raft.ReadState{{ID: 9, Rejected: true}}; !slices.Equal(h.reads, want) {
		t.Errorf("a read at a leader that is no voter: %+v", h.reads)
	}
	h.from(3, raft.Message{Type: raft.MsgHeartbeatResp, Term: 2, Applied: 3})
	h.settle()
	h.only(3, raft.MsgTimeoutNow)
	if h.Role() != raft.Follower || h.Term() != 2 {
		t.Errorf("it is %v of term %d", h.Role(), h.Term())
	}
}

func TestStatusSaysWhatALeaderKnowsOfItsFollowers(t *testing.T) {
	h := start(t, etcdraft.New, 3, 1)
	h.elect()
	h.settle()
	h.from(2, raft.Message{Type: raft.MsgAppendResp, Term: 2, Index: 2, Applied: 1})
	h.from(2, raft.Message{Type: raft.MsgAppendResp, Term: 2, Index: 2, Applied: 2, Session: 4})
	h.settle()
	for range testElection - 1 {
		h.Tick()
	}
	h.from(2, raft.Message{Type: raft.MsgHeartbeatResp, Term: 2})
	h.Tick()
	s := h.Status()
	want := []raft.PeerStatus{
		{ID: 2, State: progress.Replicate, Match: 2, Next: 3, Applied: 1, Active: true, Acked: true, SilentTicks: 1},
		{ID: 3, State: progress.Probe, Match: 0, Next: 2, SilentTicks: testElection},
	}
	if !slices.Equal(s.Peers, want) {
		t.Errorf("peers %+v\nwant  %+v", s.Peers, want)
	}
	if !s.CommittedInTerm || s.ConfPending || s.Stable != 2 || s.Leader != 1 {
		t.Errorf("%+v", s)
	}
}

// A joint configuration that is applied while leadership is being handed over is
// left once that has come to nothing.
func TestJointConfigurationIsLeftAlsoAfterATransfer(t *testing.T) {
	h := start(t, etcdraft.New, 3, 1)
	h.elect()
	h.settle()
	h.ack(2)
	h.settle()
	index, _, err := h.ProposeConf(confchange.Change{Steps: []confchange.Step{{Kind: confchange.AddVoter, ID: 4}, {Kind: confchange.Remove, ID: 3}}})
	if err != nil {
		t.Fatal(err)
	}
	h.ready()
	h.persist()
	h.ack(2)
	h.ready()
	for len(h.queue) > 0 {
		h.persist()
	}
	h.ready()
	if err := h.TransferLeader(3); err != nil {
		t.Fatal(err)
	}
	h.Applied(index)
	if s := h.Status(); !s.Conf.Joint() || s.Last != index {
		t.Fatalf("%v, log to %d", s.Conf, s.Last)
	}
	for range 2 * testElection {
		h.from(2, raft.Message{Type: raft.MsgHeartbeatResp, Term: 2})
		h.Tick()
	}
	h.settle()
	h.ack(2)
	h.settle()
	want := raft.ConfState{Voters: []uint64{1, 2, 4}}
	if s := h.Status(); !s.Conf.Equal(want) || s.Last != index+1 {
		t.Errorf("%v, log to %d", s.Conf, s.Last)
	}
	last := h.committed[len(h.committed)-1]
	if change, err := raft.DecodeChange(last.Data); err != nil || last.Type != raft.EntryConf || !change.Leave() {
		t.Errorf("the last entry is %+v: %v", last, err)
	}
}
