package raft

import (
	"errors"
	"math"
	"strings"
	"testing"

	"chainfire/raft/confchange"
	"chainfire/raft/progress"
)

func TestNewRefusesStateThatDoesNotFit(t *testing.T) {
	jitter := func(int) int { return 0 }
	log := func(base uint64, n int) *memStorage {
		return &memStorage{base: base, entries: entriesOf(base+1, make([]uint64, n)...)}
	}
	for name, cfg := range map[string]Config{
		"no id":                 {Storage: log(0, 0), Jitter: jitter},
		"no storage":            {ID: 1, Jitter: jitter},
		"no jitter":             {ID: 1, Storage: log(0, 0)},
		"slow heartbeat":        {ID: 1, Storage: log(0, 0), Jitter: jitter, ElectionTicks: 3, HeartbeatTicks: 3},
		"applied after log":     {ID: 1, Storage: log(0, 2), Jitter: jitter, Applied: 3},
		"applied before log":    {ID: 1, Storage: log(5, 2), Jitter: jitter, Applied: 4},
		"committed after log":   {ID: 1, Storage: log(0, 2), Jitter: jitter, HardState: HardState{Commit: 3}},
		"invalid configuration": {ID: 1, Storage: log(0, 0), Jitter: jitter, Conf: ConfState{Voters: []uint64{2, 1}}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A crash between a snapshot's installation and the hard state that goes with it
// leaves a log whose last term is above the durable one.
func TestRestartTakesTheTermOfTheLog(t *testing.T) {
	s := newSolo(t, Config{
		ID: 1, HardState: HardState{Term: 3, Vote: 2, Commit: 4}, Applied: 9, Conf: ConfState{Voters: []uint64{1, 2}},
	}, &memStorage{base: 9, baseTerm: 5})
	if st := s.Status(); st.Term != 5 || st.Vote != None {
		t.Fatalf("term %d vote %d", st.Term, st.Vote)
	}
	rd := s.Ready()
	if rd.Persist == nil || rd.Persist.HardState == nil || rd.Persist.HardState.Term != 5 {
		t.Fatalf("the term is not written: %+v", rd.Persist)
	}
}

// A single voter whose disk takes longer than a tick must not outdate its own
// vote while it is being written.
func TestSoleVoterWaitsForItsDisk(t *testing.T) {
	s := newSolo(t, Config{ID: 1, Conf: ConfState{Voters: []uint64{1}}}, &memStorage{})
	s.Tick()
	rd := s.Ready()
	for range 100 {
		s.Tick()
	}
	if s.Role() != Candidate || s.Term() != 1 {
		t.Fatalf("%v of term %d while the vote is being written", s.Role(), s.Term())
	}
	s.Persisted(rd.Persist.Seq)
	if s.Role() != Leader {
		t.Fatalf("%v after the vote was written", s.Role())
	}
}

func TestQuarantinedMemberCountsForNothing(t *testing.T) {
	s := leaderOfThree(t, Config{})
	s.ack(3)
	session := s.leader.progress[3].Session
	reject := Message{Type: MsgAppendResp, From: 3, To: 1, Term: 2, Session: session, Index: 2, Reject: true}
	s.Step(reject)
	s.ready()
	reject.Round = s.take(MsgAppend).Round
	s.Step(reject)
	if p := s.Status().Peers[1]; p.State != progress.Quarantined || p.Match != 0 {
		t.Fatalf("%+v", p)
	}
	// An acknowledgement from before the loss arrives late.
	s.Step(Message{Type: MsgAppendResp, From: 3, To: 1, Term: 2, Session: session, Index: 2})
	if p := s.Status().Peers[1]; p.State != progress.Quarantined || p.Match != 0 || s.Err() != nil {
		t.Fatalf("%+v %v", p, s.Err())
	}
	if _, _, err := s.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	s.ready()
	s.Step(Message{Type: MsgAppendResp, From: 3, To: 1, Term: 2, Session: session, Index: 3})
	if s.Commit() != 2 {
		t.Fatalf("commit is %d with a quarantined follower", s.Commit())
	}
}

func TestChangeThatCannotBeDecodedIsNotAppended(t *testing.T) {
	s := leaderOfThree(t, Config{})
	var change confchange.Change
	for id := uint64(10); len(change.Steps) <= maxSteps; id++ {
		change.Steps = append(change.Steps, confchange.Step{Kind: confchange.AddLearner, ID: id})
	}
	if _, _, err := s.ProposeConf(change); !errors.Is(err, ErrBadChange) {
		t.Fatalf("%d steps: %v", len(change.Steps), err)
	}
	change.Steps = change.Steps[:maxSteps]
	if _, _, err := s.ProposeConf(change); err != nil {
		t.Fatalf("%d steps: %v", len(change.Steps), err)
	}
	s.ack(2)
	if s.Err() != nil || len(s.Status().Conf.Learners) != maxSteps {
		t.Fatalf("%v, %d learners", s.Err(), len(s.Status().Conf.Learners))
	}
}

// The entries of an earlier leader did not go into the uncommitted size; taking
// them out of it would let more in than the limit says.
func TestUncommittedSizeIsOfOwnEntriesOnly(t *testing.T) {
	s := newSolo(t, Config{
		ID: 1, HardState: HardState{Term: 1}, Conf: ConfState{Voters: []uint64{1, 2, 3}}, MaxUncommittedBytes: 100,
	}, &memStorage{entries: entriesOf(1, 1, 1, 1, 1)})
	s.Campaign()
	s.ready()
	s.Step(Message{Type: MsgPreVoteResp, From: 2, To: 1, Term: 2})
	s.ready()
	s.Step(Message{Type: MsgVoteResp, From: 2, To: 1, Term: 2})
	for range 3 {
		if _, _, err := s.Propose(nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.Propose(nil); !errors.Is(err, ErrTooMuchUncommitted) {
		t.Fatalf("above the limit: %v", err)
	}
	session := s.leader.progress[2].Session
	s.ready()
	s.Step(Message{Type: MsgAppendResp, From: 2, To: 1, Term: 2, Index: 5, Session: session})
	s.ready()
	// Of this leader only its first entry, of 24 bytes, is committed.
	if got := s.leader.uncommitted; s.Commit() != 5 || got != 3*entryOverhead {
		t.Fatalf("commit %d, uncommitted size %d", s.Commit(), got)
	}
}

func TestRefusedChangeLeavesEverythingAsItWas(t *testing.T) {
	s := leaderOfThree(t, Config{})
	i, _, err := s.ProposeConf(confchange.Change{Steps: []confchange.Step{{Kind: confchange.Remove, ID: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Propose([]byte("x")); !errors.Is(err, ErrTransferring) {
		t.Fatalf("write after a change that removes the leader: %v", err)
	}
	s.RefuseConf(i)
	s.ready()
	s.ack(2)
	if st := s.Status(); st.Applied != i || st.Role != Leader || len(st.Conf.Voters) != 3 || st.ConfPending {
		t.Fatalf("%+v", st)
	}
	if _, _, err := s.Propose([]byte("x")); err != nil {
		t.Fatalf("write after the refusal: %v", err)
	}
}

func TestLeaderNeverSendsWhatItsLogDidNotHold(t *testing.T) {
	for name, spoil := range map[string]func(*memStorage){
		"read error":      func(s *memStorage) { s.err = errDisk },
		"no entry":        func(s *memStorage) { s.empty = true },
		"shifted entries": func(s *memStorage) { s.entries[0].Index = 2 },
		"lower term":      func(s *memStorage) { s.entries[1].Term = 0 },
	} {
		s := leaderOfThree(t, Config{})
		spoil(s.storage)
		s.sent = nil
		s.Step(Message{
			Type: MsgAppendResp, From: 3, To: 1, Term: 2, Index: 1, Reject: true,
			Session: s.leader.progress[3].Session,
		})
		s.ready()
		if s.Err() == nil || len(s.sent) > 0 {
			t.Errorf("%s: error %v, %d messages", name, s.Err(), len(s.sent))
		}
	}
}

func TestCoreStopsWhenSafetyIsBroken(t *testing.T) {
	leader := func(t *testing.T) *solo { return leaderOfThree(t, Config{}) }
	follower := func(t *testing.T) *solo {
		return newSolo(t, Config{
			ID: 1, HardState: HardState{Term: 2, Commit: 2}, Applied: 1, Conf: ConfState{Voters: []uint64{1, 2, 3}},
		}, &memStorage{entries: entriesOf(1, 1, 2)})
	}
	for _, c := range []struct {
		what string
		make func(*testing.T) *solo
		msg  Message
	}{
		{"also leads", leader, Message{Type: MsgAppend, From: 2, To: 1, Term: 2}},
		{"acknowledged index", leader, Message{Type: MsgAppendResp, From: 2, To: 1, Term: 2, Index: 99, Session: 1}},
		{"in the place of", follower, Message{Type: MsgAppend, From: 2, To: 1, Term: 2, Index: 2, LogTerm: 2, Entries: entriesOf(9, 2)}},
		{"an entry of term 3 in", follower, Message{Type: MsgAppend, From: 2, To: 1, Term: 2, Index: 2, LogTerm: 2, Entries: entriesOf(3, 3)}},
		{"after which there is no", follower, Message{Type: MsgSnapshot, From: 2, To: 1, Term: 2, Snapshot: &SnapshotMeta{Index: math.MaxUint64, Term: 2}}},
		{"not available", follower, Message{Type: MsgAppend, From: 2, To: 1, Term: 2, Index: 2, LogTerm: 2, Entries: entriesOf(3, 1)}},
	} {
		s := c.make(t)
		s.Step(c.msg)
		if s.Err() == nil || !strings.Contains(s.Err().Error(), c.what) {
			t.Errorf("want an error with %q, got %v", c.what, s.Err())
		}
		s.Tick()
		s.Campaign()
		s.ReadIndex(1)
		s.Persisted(1)
		s.Applied(1)
		s.Unreachable(2)
		s.LeaderGone(2)
		s.Step(Message{Type: MsgVote, From: 2, To: 1, Term: 9})
		_, _, err := s.Propose(nil)
		_, _, confErr := s.ProposeConf(confchange.Change{})
		if rd := s.Ready(); rd.Persist != nil || len(rd.Messages) > 0 || err == nil || confErr == nil || s.TransferLeader(2) == nil {
			t.Errorf("%s: a stopped core goes on", c.what)
		}
	}
}

func TestAppliedBeyondWhatWasHandedOutStopsTheCore(t *testing.T) {
	s := leaderOfThree(t, Config{})
	s.Applied(99)
	if s.Err() == nil {
		t.Fatal("no error")
	}
}

func TestMalformedMembershipChangeStopsTheCore(t *testing.T) {
	s := newSolo(t, Config{ID: 1, HardState: HardState{Commit: 1}}, &memStorage{
		entries: []Entry{{Index: 1, Type: EntryConf, Data: []byte{99}}},
	})
	s.ready()
	if s.Err() == nil {
		t.Fatal("no error")
	}
}

func TestLeaderGoneShortensTheWait(t *testing.T) {
	s := newSolo(t, Config{
		ID: 1, HardState: HardState{Term: 2}, Conf: ConfState{Voters: []uint64{1, 2, 3}},
	}, &memStorage{})
	s.Step(Message{Type: MsgHeartbeat, From: 2, To: 1, Term: 2})
	s.LeaderGone(3)
	s.Tick()
	if s.Role() != Follower {
		t.Fatal("campaigned for the loss of one who does not lead")
	}
	s.LeaderGone(2)
	s.Tick()
	if s.Role() != PreCandidate {
		t.Fatalf("%v after the leader's end", s.Role())
	}
}

func TestUnreachableFollowerIsProbed(t *testing.T) {
	s := leaderOfThree(t, Config{})
	if p := s.Status().Peers[0]; p.ID != 2 || p.State != progress.Replicate {
		t.Fatalf("%+v", p)
	}
	s.Unreachable(2)
	s.Unreachable(9)
	if p := s.Status().Peers[0]; p.State != progress.Probe || p.Next != p.Match+1 {
		t.Fatalf("%+v", p)
	}
}

func TestMessagesForOthersAreDropped(t *testing.T) {
	s := leaderOfThree(t, Config{})
	for _, m := range []Message{
		{Type: MsgHeartbeat, From: 1, To: 1, Term: 99},
		{Type: MsgHeartbeat, From: 2, To: 3, Term: 99},
		{Type: MsgHeartbeat, From: None, To: 1, Term: 99},
	} {
		s.Step(m)
	}
	if s.Term() != 2 || s.Role() != Leader {
		t.Fatalf("%v of term %d", s.Role(), s.Term())
	}
}

func TestRolesHaveNames(t *testing.T) {
	got := Follower.String() + " " + PreCandidate.String() + " " + Candidate.String() + " " + Leader.String()
	if want := "follower pre-candidate candidate leader"; got != want {
		t.Fatalf("%q", got)
	}
}

func TestSoleVoterIsOneVoterAlone(t *testing.T) {
	for _, c := range []struct {
		conf ConfState
		want bool
	}{
		{ConfState{Voters: []uint64{1}}, true},
		{ConfState{Voters: []uint64{1}, Learners: []uint64{2}}, true},
		{ConfState{Voters: []uint64{2}}, false},
		{ConfState{Voters: []uint64{1, 2}}, false},
		{ConfState{Voters: []uint64{1}, Outgoing: []uint64{1, 2}}, false},
	} {
		s := newSolo(t, Config{ID: 1, Conf: c.conf}, &memStorage{})
		if got := s.SoleVoter(); got != c.want {
			t.Errorf("%v: %v", c.conf, got)
		}
	}
}

// A snapshot of what the log holds already is only news of a commit.
func TestSnapshotOfEntriesInTheLogTakesNothingAway(t *testing.T) {
	s := newSolo(t, Config{
		ID: 1, HardState: HardState{Term: 2, Commit: 1}, Applied: 1, Conf: ConfState{Voters: []uint64{1, 2, 3}},
	}, &memStorage{entries: entriesOf(1, 1, 2, 2, 2)})
	m := Message{Type: MsgSnapshot, From: 2, To: 1, Term: 2, Session: 7}
	s.Step(m) // The host has not got it yet.
	m.Snapshot = &SnapshotMeta{Index: 3, Term: 2, Conf: ConfState{Voters: []uint64{1, 2, 3}}}
	s.Step(m)
	s.ready()
	if r := s.take(MsgAppendResp); r.Reject || r.Index != 3 || r.Session != 7 {
		t.Errorf("answer %+v", r)
	}
	if st := s.Status(); st.First != 1 || st.Last != 4 || st.Commit != 3 || st.Applied != 3 {
		t.Errorf("%+v", st)
	}
	m.Snapshot = &SnapshotMeta{Index: 2, Term: 2, Conf: ConfState{Voters: []uint64{1, 2, 3}}}
	s.Step(m)
	s.ready()
	if r := s.take(MsgAppendResp); r.Reject || r.Index != 3 {
		t.Errorf("answer to an old snapshot %+v", r)
	}
}

// A second snapshot overtakes a first that is still being installed; the end of
// the first write is not the end of the second.
// A snapshot is fetched after it was offered, from a leader that may be in a
// later term by then. Whoever takes it is in that term too: else the one voter
// that it names would be elected in a term that had a leader already.
func TestSnapshotOfALaterTermRaisesTheTerm(t *testing.T) {
	s := newSolo(t, Config{ID: 5, HardState: HardState{Term: 2}}, &memStorage{})
	meta := SnapshotMeta{Index: 13, Term: 3, Conf: ConfState{Voters: []uint64{5}}}
	s.Step(Message{Type: MsgSnapshot, From: 1, To: 5, Term: 2, Snapshot: &meta})
	if s.Term() != 3 || s.Leader() != None {
		t.Fatalf("term %d, leader %d", s.Term(), s.Leader())
	}
	rd := s.Ready()
	if rd.Persist == nil || rd.Persist.HardState == nil || rd.Persist.HardState.Term != 3 {
		t.Fatalf("the term is not written with the snapshot: %+v", rd.Persist)
	}
	for _, m := range rd.Persist.Messages {
		if m.Type == MsgAppendResp && m.Term != 3 {
			t.Errorf("acknowledged in term %d", m.Term)
		}
	}
	s.storage.base, s.storage.baseTerm, s.storage.entries = 13, 3, nil
	s.Persisted(rd.Persist.Seq)
	for range 100 {
		s.Tick()
		s.ready()
	}
	if s.Role() != Leader || s.Term() < 4 {
		t.Fatalf("%v of term %d, which had a leader", s.Role(), s.Term())
	}
}

func TestSnapshotReplacesOneThatIsBeingInstalled(t *testing.T) {
	s := newSolo(t, Config{ID: 1}, &memStorage{})
	snapshot := func(i uint64) *Persist {
		s.Step(Message{
			Type: MsgSnapshot, From: 2, To: 1, Term: 2,
			Snapshot: &SnapshotMeta{Index: i, Term: 2, Conf: ConfState{Voters: []uint64{2}, Learners: []uint64{1}}},
		})
		p := s.Ready().Persist
		if p == nil || p.Snapshot == nil || p.Snapshot.Index != i {
			t.Fatalf("no write of snapshot %d: %+v", i, p)
		}
		return p
	}
	first, second := snapshot(5), snapshot(9)
	s.storage.base, s.storage.baseTerm = 5, 2
	s.Persisted(first.Seq)
	if st := s.Status(); st.Applied != 0 || st.First != 10 || s.Err() != nil {
		t.Fatalf("%+v, %v", st, s.Err())
	}
	s.storage.base = 9
	s.Persisted(second.Seq)
	if st := s.Status(); st.Applied != 9 || st.First != 10 || st.Last != 9 || s.Err() != nil {
		t.Fatalf("%+v, %v", st, s.Err())
	}
}

// An append shows that the logs agree up to its last entry, and no further: what
// stands behind that may be of another leader, whatever the leader has committed.
func TestCommitReachesOnlyAsFarAsTheAppend(t *testing.T) {
	s := newSolo(t, Config{
		ID: 1, HardState: HardState{Term: 2, Commit: 1}, Applied: 1, Conf: ConfState{Voters: []uint64{1, 2, 3}},
	}, &memStorage{entries: entriesOf(1, 1, 2, 2, 2)})
	s.Step(Message{Type: MsgAppend, From: 2, To: 1, Term: 3, Index: 1, LogTerm: 1, Entries: entriesOf(2, 2), Commit: 4})
	if s.Commit() != 2 || s.Status().Last != 4 {
		t.Fatalf("commit %d last %d", s.Commit(), s.Status().Last)
	}
}

// A member that was removed and added again starts from nothing: an answer to
// what it was sent before must not count, even in the same leadership.
func TestAnswerOfAnEarlierSessionIsDropped(t *testing.T) {
	s := leaderOfThree(t, Config{})
	s.ack(3)
	session := s.leader.progress[3].Session
	for _, kind := range []confchange.Kind{confchange.Remove, confchange.AddLearner} {
		if _, _, err := s.ProposeConf(confchange.Change{Steps: []confchange.Step{{Kind: kind, ID: 3}}}); err != nil {
			t.Fatal(err)
		}
		s.ready()
		s.ack(2)
	}
	last := s.Status().Last
	late := Message{Type: MsgAppendResp, From: 3, To: 1, Term: 2, Session: session, Index: last}
	s.Step(late)
	if p := s.Status().Peers[1]; p.ID != 3 || p.Match != 0 || p.Acked {
		t.Fatalf("%+v", p)
	}
	late.Session = s.leader.progress[3].Session
	s.Step(late)
	if p := s.Status().Peers[1]; p.Match != last || !p.Acked {
		t.Fatalf("%+v", p)
	}
}

// Who asks for votes learns from the answers what is committed, and stops asking
// in a configuration that is history.
func TestCandidateLearnsOfACommittedChange(t *testing.T) {
	removal := EncodeChange(confchange.Change{Steps: []confchange.Step{{Kind: confchange.Remove, ID: 2}}})
	log := append(entriesOf(1, 1, 2), Entry{Index: 3, Term: 2, Type: EntryConf, Data: removal}, Entry{Index: 4, Term: 2})
	s := newSolo(t, Config{
		ID: 1, HardState: HardState{Term: 2, Commit: 2}, Applied: 2, Conf: ConfState{Voters: []uint64{1, 2, 3}},
	}, &memStorage{entries: log})
	s.Campaign()
	s.ready()
	answer := Message{Type: MsgPreVoteResp, From: 3, To: 1, Term: 2, Reject: true, Commit: 3, HintTerm: 1}
	s.Step(answer)
	if s.Commit() != 2 || s.Role() != PreCandidate {
		t.Fatalf("%v with commit %d after hearing of another log's commit", s.Role(), s.Commit())
	}
	answer.HintTerm = 2
	s.Step(answer)
	if s.Commit() != 3 || s.Role() != Follower {
		t.Fatalf("%v with commit %d", s.Role(), s.Commit())
	}
	s.ready()
	if conf := s.Status().Conf; conf.Contains(2) {
		t.Fatalf("configuration %v", conf)
	}
	s.Campaign()
	s.ready()
	if m := s.take(MsgPreVote); m.To != 3 || m.Commit != 3 || m.HintTerm != 2 {
		t.Fatalf("%+v", m)
	}
}
