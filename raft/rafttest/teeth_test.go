package rafttest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"chainfire/raft"
)

// liar is an engine that breaks the contract in one way.
type liar struct {
	raft.Engine
	twist func(e *liar, rd *raft.Ready)
	// kept is for what the twist remembers.
	kept []raft.Entry
	seq  uint64
}

func (l *liar) Ready() raft.Ready {
	rd := l.Engine.Ready()
	l.twist(l, &rd)
	return rd
}

func (l *liar) Persisted(seq uint64) { l.Engine.Persisted(seq + l.seq) }

// Every check finds the engine that breaks its rule, and calls the rule by name.
func TestSchedulesFindWhoBreaksARule(t *testing.T) {
	for name, c := range map[string]struct {
		twist func(l *liar, rd *raft.Ready)
		rules []Rule
	}{
		"promises before they are durable": {
			func(_ *liar, rd *raft.Ready) {
				if rd.Persist != nil {
					rd.Messages = append(rd.Messages, rd.Persist.Messages...)
					rd.Persist.Messages = nil
				}
			},
			[]Rule{durableFirst},
		},
		"votes that are not written": {
			func(_ *liar, rd *raft.Ready) {
				if rd.Persist != nil && rd.Persist.HardState != nil {
					rd.Persist.HardState.Vote = raft.None
				}
			},
			[]Rule{durableFirst, electionQuorum},
		},
		"terms that are not written": {
			func(_ *liar, rd *raft.Ready) {
				if rd.Persist != nil && rd.Persist.HardState != nil {
					rd.Persist.HardState.Term = 1
				}
			},
			[]Rule{durableFirst, electionQuorum},
		},
		"votes for everyone": {
			func(_ *liar, rd *raft.Ready) {
				for i := range rd.Messages {
					if m := &rd.Messages[i]; m.Type == raft.MsgVoteResp {
						m.Reject = false
					}
				}
			},
			[]Rule{durableFirst, oneVote},
		},
		"reads from before": {
			func(_ *liar, rd *raft.Ready) {
				for i := range rd.Reads {
					rd.Reads[i].Index = min(rd.Reads[i].Index, 3)
				}
			},
			[]Rule{readFloor},
		},
		"answers given twice": {
			func(_ *liar, rd *raft.Ready) { rd.Reads = append(rd.Reads, rd.Reads...) },
			[]Rule{readOnce},
		},
		"an entry left out": {
			func(_ *liar, rd *raft.Ready) {
				if len(rd.Committed) > 2 {
					rd.Committed = slices.Delete(slices.Clone(rd.Committed), 1, 2)
				}
			},
			[]Rule{appliedInOrder},
		},
		"another entry in the place of the one committed": {
			func(_ *liar, rd *raft.Ready) {
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
			func(_ *liar, rd *raft.Ready) {
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
			func(l *liar, rd *raft.Ready) {
				if rd.Persist != nil {
					rd.Committed = append(rd.Committed, rd.Persist.Entries...)
				}
			},
			[]Rule{appliedDurable},
		},
		"writes with gaps in their numbers": {
			func(l *liar, rd *raft.Ready) {
				if rd.Persist != nil {
					rd.Persist.Seq += 7
				}
			},
			[]Rule{soundWrites},
		},
		"heartbeats that promise too much": {
			func(_ *liar, rd *raft.Ready) {
				for i := range rd.Messages {
					if m := &rd.Messages[i]; m.Type == raft.MsgHeartbeat {
						m.Commit += 100
					}
				}
			},
			[]Rule{matchTrue},
		},
		"messages to oneself": {
			func(_ *liar, rd *raft.Ready) {
				for i := range rd.Messages {
					rd.Messages[i].To = rd.Messages[i].From
				}
			},
			[]Rule{soundMessages},
		},
		"nothing ever sent": {
			func(_ *liar, rd *raft.Ready) {
				rd.Messages = nil
				if rd.Persist != nil {
					rd.Persist.Messages = nil
				}
			},
			[]Rule{progresses},
		},
	} {
		t.Run(name, func(t *testing.T) {
			engine := func(uint64) raft.NewEngine {
				return func(cfg raft.Config) (raft.Engine, error) {
					core, err := raft.New(cfg)
					return &liar{Engine: core, twist: c.twist}, err
				}
			}
			for seed := uint64(1); seed <= 200; seed++ {
				err := NewScheduleOf(seed, engine, nil).Run(300)
				var broken *Violation
				if err == nil || !errors.As(err, &broken) {
					continue
				}
				if !slices.Contains(c.rules, broken.Rule) {
					t.Fatalf("seed %d: broke %v, want one of %v", seed, err, c.rules)
				}
				return
			}
			t.Fatal("not found")
		})
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
	s := NewScheduleOf(3, func(uint64) raft.NewEngine {
		return func(cfg raft.Config) (raft.Engine, error) {
			core, err := raft.New(cfg)
			return &liar{Engine: core, twist: func(_ *liar, rd *raft.Ready) { rd.Messages = nil }}, err
		}
	}, func(_ string, args ...any) {
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
