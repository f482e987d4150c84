package raft

import "testing"

// The rules here answer bugs of other implementations; the table in BUGS.md says
// which.

// A vote that is asked for in earnest, as by a removed member that does not ask
// for pre-votes first, disturbs nobody who hears from a leader: no answer, no new
// term. A leader that asked for the election itself says so.
func TestWhoHearsFromALeaderGivesNoVote(t *testing.T) {
	follower := newSolo(t, Config{
		ID: 1, HardState: HardState{Term: 2}, Conf: ConfState{Voters: []uint64{1, 2, 3}},
	}, &memStorage{})
	follower.Step(Message{Type: MsgHeartbeat, From: 2, To: 1, Term: 2})
	for name, s := range map[string]*solo{"follower": follower, "leader": leaderOfThree(t, Config{})} {
		s.ready()
		s.sent = nil
		vote := Message{Type: MsgVote, From: 3, To: 1, Term: 9, Index: 99, LogTerm: 8}
		s.Step(vote)
		s.ready()
		if s.Term() != 2 || len(s.sent) > 0 {
			t.Errorf("%s: term %d, %d messages", name, s.Term(), len(s.sent))
		}
		vote.Transfer = true
		s.Step(vote)
		s.ready()
		if r := s.take(MsgVoteResp); r.Reject || r.Term != 9 || s.Role() != Follower {
			t.Errorf("%s: answer to a transfer %+v", name, r)
		}
	}
}

// Every way in which a leader can hear of a newer term ends its leadership.
func TestEveryMessageOfANewerTermEndsALeadership(t *testing.T) {
	for typ := MsgVote; typ <= MsgReadIndexResp; typ++ {
		if typ == MsgVote || typ == MsgPreVote {
			continue // whoever leads is not disturbed by those (thesis §4.2.3)
		}
		s := leaderOfThree(t, Config{})
		s.Step(Message{Type: typ, From: 2, To: 1, Term: 3, Session: s.leader.progress[2].Session, Reject: true})
		if s.Role() != Follower || s.Term() != 3 {
			t.Errorf("type %d: %v of term %d", typ, s.Role(), s.Term())
		}
	}
}

// A follower that lacks what the leader's append builds on has heard from the
// leader all the same, and does not campaign.
func TestAppendThatDoesNotFitIsALeadersWord(t *testing.T) {
	s := newSolo(t, Config{
		ID: 1, HardState: HardState{Term: 2}, Conf: ConfState{Voters: []uint64{1, 2, 3}},
	}, &memStorage{entries: entriesOf(1, 1, 2)})
	for range 10 {
		for range 9 {
			s.Tick()
		}
		if s.Role() != Follower {
			t.Fatalf("%v although the leader is there", s.Role())
		}
		s.Step(Message{Type: MsgAppend, From: 2, To: 1, Term: 2, Index: 50, LogTerm: 2})
		s.ready()
		if r := s.take(MsgAppendResp); !r.Reject {
			t.Fatalf("answer %+v", r)
		}
	}
}
