package rafttest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// liar is an engine that breaks the contract in one way: in what it puts out, or
// in how it says that it stands.
type liar struct {
	raft.Engine
	ready  func(rd *raft.Ready)
	status func(s *raft.Status)
}

func (l *liar) Ready() raft.Ready {
	rd := l.Engine.Ready()
	if l.ready != nil {
		l.ready(&rd)
	}
	return rd
}

func (l *liar) Status() raft.Status {
	s := l.Engine.Status()
	if l.status != nil {
		l.status(&s)
	}
	return s
}

func (l *liar) Term() uint64    { return l.Status().Term }
func (l *liar) Commit() uint64  { return l.Status().Commit }
func (l *liar) Role() raft.Role { return l.Status().Role }

// liars makes all members liars.
func liars(ready func(*raft.Ready), status func(*raft.Status)) func(uint64) raft.NewEngine {
	return func(uint64) raft.NewEngine {
		return func(cfg raft.Config) (raft.Engine, error) {
			core, err := raft.New(cfg)
			return &liar{Engine: core, ready: ready, status: status}, err
		}
	}
}

// mustBreak demands that schedules of these engines break one of the rules, and
// no other one first.
func mustBreak(t *testing.T, engine func(uint64) raft.NewEngine, rules ...Rule) {
	t.Helper()
	for seed := uint64(1); seed <= 200; seed++ {
		err := NewScheduleOf(seed, engine, nil).Run(300)
		var broken *Violation
		if err == nil {
			continue
		}
		if !errors.As(err, &broken) || !slices.Contains(rules, broken.Rule) {
			t.Fatalf("seed %d: broke %v, want one of %v", seed, err, rules)
		}
		return
	}
	t.Fatalf("no schedule breaks one of %v", rules)
}

// Every check finds the engine that breaks its rule, and calls the rule by name.
func TestSchedulesFindWhoPutsOutWhatBreaksARule(t *testing.T) {
	for name, c := range map[string]struct {
		twist func(rd *raft.Ready)
		rules []Rule
	}{
		"promises before they are durable": {
			func(rd *raft.Ready) {
				if rd.Persist != nil {
					rd.Messages = append(rd.Messages, rd.Persist.Messages...)
					rd.Persist.Messages = nil
				}
			},
			[]Rule{durableFirst},
		},
		"votes that are not written": {
			func(rd *raft.Ready) {
				if rd.Persist != nil && rd.Persist.HardState != nil {
					rd.Persist.HardState.Vote = raft.None
				}
			},
			[]Rule{durableFirst, electionQuorum},
		},
		"terms that are not written": {
			func(rd *raft.Ready) {
				if rd.Persist != nil && rd.Persist.HardState != nil {
					rd.Persist.HardState.Term = 1
				}
			},
			[]Rule{durableFirst, electionQuorum},
		},
		"votes for everyone": {
			func(rd *raft.Ready) {
				for i := range rd.Messages {
					if m := &rd.Messages[i]; m.Type == raft.MsgVoteResp {
						m.Reject = false
					}
				}
			},
			[]Rule{durableFirst, oneVote},
		},
		"reads from before": {
			func(rd *raft.Ready) {
				for i := range rd.Reads {
					rd.Reads[i].Index = min(rd.Reads[i].Index, 3)
				}
			},
			[]Rule{readFloor},
		},
		"answers given twice": {
			func(rd *raft.Ready) { rd.Reads = append(rd.Reads, rd.Reads...) },
			[]Rule{readOnce},
		},
		"an entry left out": {
			func(rd *raft.Ready) {
				if len(rd.Committed) > 2 {
					rd.Committed = slices.Delete(slices.Clone(rd.Committed), 1, 2)
				}
			},
			[]Rule{appliedInOrder},
		},
		"another entry in the place of the one committed": {
			func(rd *raft.Ready) {
				rd.Committed = slices.Clone(rd.Committed)
				for i := range rd.Committed {
					if e := &rd.Committed[i]; e.Type == raft.EntryNormal && len(e.Data) > 0 {
						e.Data = []byte("another")
					}
				}
			},
			[]Rule{stateSafety},
		},
		"entries of one's own in appends": {
			func(rd *raft.Ready) {
				for i := range rd.Messages {
					m := &rd.Messages[i]
					m.Entries = slices.Clone(m.Entries)
					for j := range m.Entries {
						if e := &m.Entries[j]; e.Type == raft.EntryNormal {
							e.Data = []byte{byte(m.To)}
						}
					}
				}
			},
			[]Rule{logMatching},
		},
		"applied before it is written": {
			func(rd *raft.Ready) {
				if rd.Persist != nil {
					rd.Committed = append(rd.Committed, rd.Persist.Entries...)
				}
			},
			[]Rule{appliedDurable},
		},
		"writes with gaps in their numbers": {
			func(rd *raft.Ready) {
				if rd.Persist != nil {
					rd.Persist.Seq += 7
				}
			},
			[]Rule{soundWrites},
		},
		"heartbeats that promise too much": {
			func(rd *raft.Ready) {
				for i := range rd.Messages {
					if m := &rd.Messages[i]; m.Type == raft.MsgHeartbeat {
						m.Commit += 100
					}
				}
			},
			[]Rule{matchTrue},
		},
		"messages to oneself": {
			func(rd *raft.Ready) {
				for i := range rd.Messages {
					rd.Messages[i].To = rd.Messages[i].From
				}
			},
			[]Rule{soundMessages},
		},
		"nothing ever sent": {
			func(rd *raft.Ready) {
				rd.Messages = nil
				if rd.Persist != nil {
					rd.Persist.Messages = nil
				}
			},
			[]Rule{progresses},
		},
	} {
		t.Run(name, func(t *testing.T) { mustBreak(t, liars(c.twist, nil), c.rules...) })
	}
}

// The checks also find the engine that is not as its rules say.
func TestSchedulesFindWhoIsNotAsTheRulesSay(t *testing.T) {
	leading := func(s *raft.Status) bool { return s.Role == raft.Leader }
	for name, c := range map[string]struct {
		twist func(s *raft.Status)
		rules []Rule
	}{
		"everyone leads": {
			func(s *raft.Status) { s.Role = raft.Leader },
			[]Rule{electionSafety, electionQuorum, complete},
		},
		"a candidate that leads": {
			func(s *raft.Status) {
				if s.Role == raft.Candidate {
					s.Role = raft.Leader
				}
			},
			[]Rule{electionQuorum},
		},
		"a term that goes back": {
			func(s *raft.Status) { s.Term -= s.Last % 2 },
			[]Rule{onlyForward, durableFirst},
		},
		"a commit index that goes back": {
			func(s *raft.Status) { s.Commit -= s.Last % 2 },
			[]Rule{onlyForward},
		},
		"a leader that cuts its log": {
			func(s *raft.Status) {
				if leading(s) {
					s.Last -= s.Commit % 2
				}
			},
			[]Rule{leaderAppendOnly},
		},
		"a leader that commits at once": {
			func(s *raft.Status) {
				if leading(s) {
					s.Commit = s.Last
				}
			},
			[]Rule{commitQuorum, commitInTerm},
		},
		"a follower that commits at once": {
			func(s *raft.Status) {
				if !leading(s) {
					s.Commit = s.Last
				}
			},
			[]Rule{commitQuorum, committedStays},
		},
		"a match that goes back": {
			func(s *raft.Status) {
				for i := range s.Peers {
					s.Peers[i].Match -= min(s.Peers[i].Match, s.Last%2)
				}
			},
			[]Rule{matchGrows},
		},
		"a match that is not there": {
			func(s *raft.Status) {
				for i := range s.Peers {
					s.Peers[i].Match = s.Last
				}
			},
			[]Rule{matchTrue},
		},
		"a whole disk that is suspected": {
			func(s *raft.Status) { s.Amnesia = true },
			[]Rule{honestDisk},
		},
		"a voter left out of the configuration": {
			func(s *raft.Status) {
				if n := len(s.Conf.Voters); n > 1 {
					s.Conf.Voters = s.Conf.Voters[:n-1]
				}
			},
			[]Rule{confSequence},
		},
		"a candidate that does not follow": {
			func(s *raft.Status) {
				if s.Role == raft.Follower && s.Last > 5 {
					s.Role = raft.Candidate
				}
			},
			[]Rule{follows},
		},
	} {
		t.Run(name, func(t *testing.T) { mustBreak(t, liars(nil, c.twist), c.rules...) })
	}
}

// Who was removed does not come back under the same id.
func TestIdentityIsNotUsedAgain(t *testing.T) {
	c := New(Options{})
	c.Bootstrap([]uint64{1, 2, 3}, false)
	c.Campaign(1)
	for _, kind := range []confchange.Kind{confchange.Remove, confchange.AddLearner} {
		c.Settle()
		change := confchange.Change{Steps: []confchange.Step{{Kind: kind, ID: 3}}}
		if _, _, err := c.ProposeConf(1, change); err != nil {
			t.Fatal(err)
		}
	}
	c.Settle()
	var broken *Violation
	if !errors.As(c.Err(), &broken) || broken.Rule != freshIdentity {
		t.Fatalf("broke %v, want %v", c.Err(), freshIdentity)
	}
}

// A seed gives the same run each time, and its story changes nothing; another
// seed, or more steps, gives another.
func TestSameSeedSameRun(t *testing.T) {
	run := func(seed uint64, steps int, trace func(string, ...any)) uint64 {
		s := NewSchedule(seed, trace)
		if err := s.Run(steps); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		return s.Hash()
	}
	seen := map[uint64]bool{}
	for seed := uint64(1); seed <= 50; seed++ {
		lines := 0
		hash := run(seed, 300, nil)
		if run(seed, 300, func(string, ...any) { lines++ }) != hash {
			t.Errorf("seed %d: telling the story changes the run", seed)
		}
		if lines < 100 {
			t.Errorf("seed %d: a story of %d lines", seed, lines)
		}
		for _, h := range []uint64{hash, run(seed, 400, nil)} {
			if seen[h] {
				t.Errorf("seed %d: another run has its hash", seed)
			}
			seen[h] = true
		}
	}
}

// A story says what the seed chose, numbers its events, and ends with the broken
// rule, where it stands, and every member.
func TestStoryNamesTheBrokenRule(t *testing.T) {
	var lines []string
	silent := liars(func(rd *raft.Ready) { rd.Messages = nil }, nil)
	s := NewScheduleOf(3, silent, func(_ string, args ...any) {
		for _, a := range args {
			if line, ok := a.(string); ok {
				lines = append(lines, line)
			}
		}
	})
	if s.plan.voters == 1 {
		t.Fatal("this seed has one voter, who needs no messages")
	}
	if err := s.Run(200); err == nil {
		t.Fatal("a cluster without messages made progress")
	}
	told := strings.Join(lines, "\n")
	for _, want := range []string{
		"The run of seed 3", "Network: ", "starts its life 1", "puts out", "all faults end",
		progresses.Name, progresses.Source, "term=", "conf=",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("the story does not say %q", want)
		}
	}
}
