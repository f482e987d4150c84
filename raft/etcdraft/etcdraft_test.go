package etcdraft_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"chainfire/raft"
	"chainfire/raft/confchange"
	"chainfire/raft/etcdraft"
	"chainfire/raft/progress"
)

func TestBothEnginesRefuseWithTheSameErrors(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			h := start(t, engine, 3, 1)
			want := func(what string, err, target error) {
				t.Helper()
				if !errors.Is(err, target) {
					t.Errorf("%s: %v, want %v", what, err, target)
				}
			}
			_, _, err := h.Propose([]byte("x"))
			want("proposal to a follower", err, raft.ErrNotLeader)
			_, _, err = h.ProposeConf(add(4))
			want("change to a follower", err, raft.ErrNotLeader)
			want("transfer by a follower", h.TransferLeader(2), raft.ErrNotLeader)
			h.elect()
			_, _, err = h.ProposeConf(add(4))
			want("change before an entry of the own term is committed", err, raft.ErrConfPending)
			want("transfer to a stranger", h.TransferLeader(9), raft.ErrNotMember)
			h.settle()
			h.ack(2)
			h.settle()
			_, _, err = h.ProposeConf(confchange.Change{})
			want("leaving what is not joint", err, raft.ErrBadChange)
			_, _, err = h.ProposeConf(confchange.Change{Steps: []confchange.Step{{Kind: confchange.Remove, ID: 0}}})
			want("member 0", err, raft.ErrBadChange)
			_, _, err = h.ProposeConf(confchange.Change{Steps: make([]confchange.Step, 2000)})
			want("too many steps", err, raft.ErrBadChange)
			if _, _, err = h.ProposeConf(add(4)); err != nil {
				t.Fatal(err)
			}
			_, _, err = h.ProposeConf(add(5))
			want("two changes", err, raft.ErrConfPending)
			index, term, err := h.Propose(make([]byte, 900))
			if s := h.Status(); err != nil || index != s.Last || term != s.Term {
				t.Errorf("proposal: at %d/%d, want %d/%d: %v", index, term, s.Last, s.Term, err)
			}
			_, _, err = h.Propose(make([]byte, 100))
			want("too much", err, raft.ErrTooMuchUncommitted)
			if err := h.TransferLeader(2); err != nil {
				t.Fatal(err)
			}
			_, _, err = h.Propose([]byte("x"))
			want("proposal in a transfer", err, raft.ErrTransferring)
			if err := h.TransferLeader(1); err != nil || h.Status().Transferee != raft.None {
				t.Errorf("a transfer to the leader itself ends one: %v, %d", err, h.Status().Transferee)
			}
		})
	}
}

func TestRepliesCarrySessionAndRoundOfTheirOwnMessage(t *testing.T) {
	h := start(t, etcdraft.New, 3, 1)
	entry := raft.Entry{Index: 2, Term: 2, Data: []byte("x")}
	h.from(2, raft.Message{Type: raft.MsgAppend, Term: 2, Session: 3, Round: 5, Index: 1, LogTerm: 1, Entries: []raft.Entry{entry}})
	h.from(2, raft.Message{Type: raft.MsgAppend, Term: 2, Session: 3, Round: 6, Index: 9, LogTerm: 2})
	h.from(2, raft.Message{Type: raft.MsgHeartbeat, Term: 2, Session: 4, Round: 8})
	h.from(3, raft.Message{Type: raft.MsgAppend, Term: 1, Session: 7, Round: 9, Index: 1, LogTerm: 1})
	h.settle()
	if r := h.only(2, raft.MsgHeartbeatResp); r.Session != 4 || r.Round != 8 {
		t.Errorf("heartbeat: session %d round %d", r.Session, r.Round)
	}
	if r := h.only(3, raft.MsgAppendResp); r.Session != 7 || r.Round != 0 || !r.Reject || r.Term != 2 {
		t.Errorf("a leader of an older term is told %+v", r)
	}
	var got []string
	for _, m := range h.sent {
		if m.To == 2 && m.Type == raft.MsgAppendResp {
			got = append(got, fmt.Sprint(m.Session, m.Round, m.Index, m.Reject, m.Hint, m.HintTerm, m.Applied))
		}
	}
	if want := []string{"3 5 2 false 0 0 1", "3 6 9 true 2 2 1"}; !slices.Equal(got, want) {
		t.Errorf("appends: %q, want %q", got, want)
	}
}

func TestWhatPromisesDurabilityLeavesWithItsWrite(t *testing.T) {
	h := start(t, etcdraft.New, 3, 1)
	h.Campaign()
	h.settle()
	h.drop()
	h.from(2, raft.Message{Type: raft.MsgPreVoteResp, Term: 2})
	h.ready()
	if len(h.sent) > 0 {
		t.Errorf("%+v left before the candidate's own vote was durable", h.sent)
	}
	h.persist()
	if m := h.only(3, raft.MsgVote); m.Term != 2 || h.hard.Vote != 1 || h.hard.Term != 2 {
		t.Errorf("vote of term %d with %+v on the disk", m.Term, h.hard)
	}

	f := start(t, etcdraft.New, 3, 1)
	f.from(2, raft.Message{Type: raft.MsgAppend, Term: 2, Index: 1, LogTerm: 1, Entries: []raft.Entry{{Index: 2, Term: 2}}})
	f.ready()
	f.from(2, raft.Message{Type: raft.MsgAppend, Term: 2, Index: 2, LogTerm: 2, Commit: 2})
	f.ready()
	if len(f.sent)+len(f.committed) > 0 || len(f.queue) != 2 {
		t.Fatalf("sent %+v, handed out %+v, %d writes", f.sent, f.committed, len(f.queue))
	}
	f.persist()
	f.ready()
	if m := f.only(2, raft.MsgAppendResp); m.Index != 2 || len(f.committed) != 1 {
		t.Errorf("after the first write: %+v, handed out %+v", m, f.committed)
	}
}

func TestLeaderHandsOutOnlyWhatItsOwnDiskHolds(t *testing.T) {
	h := start(t, etcdraft.New, 3, 1)
	h.elect()
	h.ready()
	h.ack(2)
	h.ack(3)
	h.ready()
	if h.Commit() != 2 || len(h.committed) != 0 {
		t.Fatalf("commit %d, handed out %+v", h.Commit(), h.committed)
	}
	h.persist()
	h.ready()
	if len(h.committed) != 1 || h.committed[0].Index != 2 {
		t.Errorf("handed out %+v", h.committed)
	}
}

func TestChangeIsHandedOutOnceItsCommitIsDurable(t *testing.T) {
	h := start(t, etcdraft.New, 3, 1)
	conf := raft.Entry{Index: 2, Term: 2, Type: raft.EntryConf, Data: raft.EncodeChange(add(4))}
	h.from(2, raft.Message{Type: raft.MsgAppend, Term: 2, Index: 1, LogTerm: 1, Entries: []raft.Entry{conf}})
	h.settle()
	h.from(2, raft.Message{Type: raft.MsgHeartbeat, Term: 2, Commit: 2})
	h.ready()
	if len(h.committed) != 0 || len(h.queue) != 1 {
		t.Fatalf("handed out %+v with %d writes under way", h.committed, len(h.queue))
	}
	h.persist()
	h.ready()
	if h.hard.Commit != 2 || len(h.committed) != 1 || !slices.Equal(h.committed[0].Data, conf.Data) {
		t.Errorf("handed out %+v with commit %d on the disk", h.committed, h.hard.Commit)
	}
}

func TestRefusedChangeLeavesTheConfigurationAsItIs(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			h := start(t, engine, 3, 1)
			before := h.Status().Conf
			h.elect()
			h.settle()
			h.ack(2)
			h.settle()
			index, _, err := h.ProposeConf(add(4))
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
			h.RefuseConf(index)
			h.Applied(index)
			if s := h.Status(); !s.Conf.Equal(before) || s.Applied != index || s.ConfPending {
				t.Errorf("conf %v applied %d pending %v", s.Conf, s.Applied, s.ConfPending)
			}
			if _, _, err := h.ProposeConf(add(5)); err != nil {
				t.Errorf("the next change: %v", err)
			}
		})
	}
}

func TestPanicOfTheReferenceStopsTheEngineWithTheReason(t *testing.T) {
	h := start(t, etcdraft.New, 3, 1)
	h.Step(raft.Message{Type: raft.MsgHeartbeat, From: 2, To: 1, Term: 2, Commit: 9})
	if err := h.Err(); err == nil || !strings.Contains(err.Error(), "tocommit(9) is out of range") {
		t.Fatalf("a commit index beyond a log that lost its end: %v", err)
	}
	h.Tick()
	h.Campaign()
	h.Step(raft.Message{Type: raft.MsgHeartbeat, From: 2, To: 1, Term: 3})
	if rd := h.Ready(); rd.Persist != nil || len(rd.Messages) > 0 || h.Role() != raft.Follower {
		t.Errorf("a stopped engine goes on: %+v", rd)
	}
	if _, _, err := h.Propose(nil); err == nil || !errors.Is(err, h.Err()) {
		t.Errorf("proposal to a stopped engine: %v", err)
	}
}

func TestWhatNoMemberMaySayStopsTheEngine(t *testing.T) {
	for want, m := range map[string]raft.Message{
		"append from 2": {Type: raft.MsgAppend, Term: 3, Index: 1, LogTerm: 1, Entries: []raft.Entry{{Index: 3, Term: 2}}},
		"2 also leads":  {Type: raft.MsgHeartbeat, Term: 2},
		"acknowledged":  {Type: raft.MsgAppendResp, Term: 2, Index: 99},
	} {
		h := start(t, etcdraft.New, 3, 1)
		h.elect()
		m.From, m.To = 2, 1
		h.Step(m)
		if err := h.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want it to say %q", m, err, want)
		}
	}
}

func TestSnapshotIsAskedForAgainAndTakenOnTheSecondArrival(t *testing.T) {
	h := start(t, etcdraft.New, 3, 1)
	h.log.entries = []raft.Entry{{Index: 1, Term: 1}}
	h.elect()
	h.settle()
	h.ack(2)
	h.settle()
	h.log.entries = h.log.entries[len(h.log.entries)-1:]
	h.drop()
	h.from(3, raft.Message{Type: raft.MsgAppendResp, Term: 2, Index: 1, Reject: true})
	h.settle()
	if m := h.only(3, raft.MsgSnapshot); m.Snapshot != nil || m.Term != 2 {
		t.Errorf("%+v", m)
	}
	if p := h.Status().Peers[1]; p.ID != 3 || p.State != progress.Snapshot {
		t.Errorf("%+v", p)
	}
	h.drop()
	for range 4 * testElection {
		h.from(2, raft.Message{Type: raft.MsgHeartbeatResp, Term: 2})
		h.Tick()
	}
	h.settle()
	h.only(3, raft.MsgSnapshot)

	f := start(t, etcdraft.New, 3, 1)
	conf := raft.ConfState{Voters: []uint64{1, 2}, Learners: []uint64{4}}
	f.from(2, raft.Message{Type: raft.MsgSnapshot, Term: 2})
	f.from(2, raft.Message{Type: raft.MsgSnapshot, Term: 2, Session: 3, Round: 4, Snapshot: &raft.SnapshotMeta{Index: 20, Term: 2, Conf: conf}})
	f.ready()
	if len(f.sent) > 0 || len(f.queue) != 1 || f.queue[0].Snapshot == nil {
		t.Fatalf("sent %+v before the snapshot is the state", f.sent)
	}
	f.persist()
	if m := f.only(2, raft.MsgAppendResp); m.Index != 20 || m.Session != 3 || m.Round != 4 {
		t.Errorf("%+v", m)
	}
	if s := f.Status(); s.Applied != 20 || s.First != 21 || !s.Conf.Equal(conf) {
		t.Errorf("%+v", s)
	}
}
