package raft

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"chainfire/raft/confchange"
)

// drawMessage makes a message of any kind with numbers from the interesting
// neighbourhood and from the far ends.
func drawMessage(t *rapid.T) Message {
	n := func(name string) uint64 {
		if rapid.IntRange(0, 9).Draw(t, name+" far") == 0 {
			return rapid.Uint64().Draw(t, name)
		}
		return rapid.Uint64Range(0, 6).Draw(t, name)
	}
	m := Message{
		Type: MessageType(rapid.IntRange(0, int(MsgReadIndexResp)+1).Draw(t, "type")),
		From: n("from"), To: 1, Term: n("term"), Session: n("session"), Index: n("index"), LogTerm: n("log term"),
		Commit: n("commit"), Round: n("round"), Hint: n("hint"), HintTerm: n("hint term"), Applied: n("applied"),
		Reject: rapid.Bool().Draw(t, "reject"), Transfer: rapid.Bool().Draw(t, "transfer"),
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "entries") {
		e := Entry{Index: m.Index + uint64(i) + 1, Term: m.LogTerm, Type: EntryType(rapid.IntRange(0, 1).Draw(t, "entry type"))}
		if e.Type == EntryConf {
			e.Data = EncodeChange(confchange.Change{Steps: []confchange.Step{{ID: n("id")}}})
		}
		m.Entries = append(m.Entries, e)
	}
	if m.Type == MsgSnapshot {
		m.Snapshot = &SnapshotMeta{Index: m.Index, Term: m.LogTerm, Conf: ConfState{Voters: []uint64{1, 2, 3}}}
	}
	return m
}

// A member may stop when what it hears cannot be, but never panics, and never
// breaks its own invariants by it.
func TestAnyMessageIsSurvived(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var s *solo
		if rapid.Bool().Draw(rt, "leader") {
			s = leaderOfThree(t, Config{})
		} else {
			s = newSolo(t, Config{
				ID: 1, HardState: HardState{Term: 2, Commit: 2}, Applied: 1, Conf: ConfState{Voters: []uint64{1, 2, 3}},
			}, &memStorage{entries: entriesOf(1, 1, 2, 2, 2)})
		}
		for range rapid.IntRange(1, 12).Draw(rt, "inputs") {
			switch rapid.IntRange(0, 5).Draw(rt, "input") {
			case 0:
				s.Tick()
			case 1:
				s.ReadIndex(1)
			default:
				s.Step(drawMessage(rt))
			}
			if s.Err() == nil {
				s.ready()
			}
			if err := s.Err(); err != nil && strings.HasPrefix(err.Error(), "invariant") {
				rt.Fatal(err)
			}
		}
	})
}
