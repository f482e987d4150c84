package rafttest

import (
	"fmt"
	"strings"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

var messageNames = map[raft.MessageType]string{
	raft.MsgVote: "vote", raft.MsgVoteResp: "vote-resp", raft.MsgPreVote: "pre-vote",
	raft.MsgPreVoteResp: "pre-vote-resp", raft.MsgAppend: "append", raft.MsgAppendResp: "append-resp",
	raft.MsgHeartbeat: "heartbeat", raft.MsgHeartbeatResp: "heartbeat-resp", raft.MsgSnapshot: "snapshot",
	raft.MsgTimeoutNow: "timeout-now", raft.MsgReadIndex: "read-index", raft.MsgReadIndexResp: "read-index-resp",
}

// describeMessage prints a message in one line: only the fields that say
// something.
func describeMessage(m raft.Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d->%d %s term=%d", m.From, m.To, messageNames[m.Type], m.Term)
	switch m.Type {
	case raft.MsgVote, raft.MsgPreVote, raft.MsgAppend:
		fmt.Fprintf(&b, " at=%d/%d", m.Index, m.LogTerm)
	case raft.MsgAppendResp, raft.MsgReadIndexResp:
		fmt.Fprintf(&b, " index=%d", m.Index)
	}
	if m.Commit > 0 {
		fmt.Fprintf(&b, " commit=%d", m.Commit)
	}
	if len(m.Entries) > 0 {
		fmt.Fprintf(&b, " entries=%s", describeEntries(m.Entries))
	}
	if m.Reject {
		b.WriteString(" reject")
		if m.Type == raft.MsgAppendResp {
			fmt.Fprintf(&b, " hint=%d/%d", m.Hint, m.HintTerm)
		}
	}
	if m.Round > 0 && m.Type != raft.MsgReadIndex && m.Type != raft.MsgReadIndexResp {
		fmt.Fprintf(&b, " round=%d", m.Round)
	}
	if m.Transfer {
		b.WriteString(" transfer")
	}
	if s := m.Snapshot; s != nil {
		fmt.Fprintf(&b, " snapshot=%d/%d %v", s.Index, s.Term, s.Conf)
	}
	return b.String()
}

// describeEntries prints entries as [index/term data ...].
func describeEntries(es []raft.Entry) string {
	parts := make([]string, len(es))
	for i := range es {
		parts[i] = fmt.Sprintf("%d/%d %s", es[i].Index, es[i].Term, describeData(&es[i]))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func describeData(e *raft.Entry) string {
	if e.Type == raft.EntryConf {
		change, err := raft.DecodeChange(e.Data)
		if err != nil {
			return err.Error()
		}
		return describeChange(change)
	}
	switch {
	case len(e.Data) == 0:
		return "-"
	case len(e.Data) > 16:
		return fmt.Sprintf("%s...(%d)", e.Data[:8], len(e.Data))
	}
	return string(e.Data)
}

func describeChange(c confchange.Change) string {
	if c.Leave() {
		return "leave-joint"
	}
	parts := make([]string, len(c.Steps))
	for i, s := range c.Steps {
		parts[i] = fmt.Sprintf("%v(%d)", s.Kind, s.ID)
	}
	if c.Joint {
		parts = append(parts, "joint")
	}
	if len(c.Context) > 0 {
		parts = append(parts, string(c.Context))
	}
	return strings.Join(parts, "+")
}

func describeReady(rd raft.Ready) string {
	var b strings.Builder
	for _, m := range rd.Messages {
		fmt.Fprintf(&b, "\n  send %s", describeMessage(m))
	}
	if p := rd.Persist; p != nil {
		fmt.Fprintf(&b, "\n  write %d", p.Seq)
		if p.HardState != nil {
			fmt.Fprintf(&b, " term=%d vote=%d commit=%d", p.HardState.Term, p.HardState.Vote, p.HardState.Commit)
		}
		if p.Snapshot != nil {
			fmt.Fprintf(&b, " snapshot=%d/%d %v", p.Snapshot.Index, p.Snapshot.Term, p.Snapshot.Conf)
		}
		if len(p.Entries) > 0 {
			fmt.Fprintf(&b, " entries=%s", describeEntries(p.Entries))
		}
		for _, m := range p.Messages {
			fmt.Fprintf(&b, "\n    then send %s", describeMessage(m))
		}
	}
	if len(rd.Committed) > 0 {
		fmt.Fprintf(&b, "\n  apply %s", describeEntries(rd.Committed))
	}
	for _, r := range rd.Reads {
		fmt.Fprintf(&b, "\n  read %d index=%d", r.ID, r.Index)
		if r.Rejected {
			b.WriteString(" rejected")
		}
	}
	return b.String()
}

// Describe prints every member in one line each.
func (c *Cluster) Describe() string {
	var b strings.Builder
	for _, m := range c.list {
		if !m.up() || m.core.Term() > 0 {
			fmt.Fprintf(&b, "\n%s%s", m.describe(), m.fate())
		}
	}
	return b.String()
}

// fate says what became of a member that is not simply up or down.
func (m *member) fate() string {
	switch {
	case m.retired:
		return " (removed and switched off)"
	case m.doomed:
		return " (down for good)"
	case m.refusedByPeers:
		return " (lost its disk and is refused)"
	case m.paused:
		return " (stands still)"
	}
	return ""
}

func (m *member) describe() string {
	if !m.up() {
		return fmt.Sprintf("%d: down", m.id)
	}
	s := m.core.Status()
	out := fmt.Sprintf("%d: %v term=%d vote=%d lead=%d log=[%d, %d] stable=%d commit=%d applied=%d conf=%v",
		m.id, s.Role, s.Term, s.Vote, s.Leader, s.First, s.Last, s.Stable, s.Commit, s.Applied, s.Conf)
	for _, p := range s.Peers {
		out += fmt.Sprintf("\n   %d: %v match=%d next=%d applied=%d", p.ID, p.State, p.Match, p.Next, p.Applied)
	}
	return out
}
