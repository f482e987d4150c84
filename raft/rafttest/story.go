package rafttest

import (
	"errors"
	"fmt"
	"strings"

	"chainfire/raft"
)

// story tells a run to people: which cluster and which faults its seed chose,
// one line for each event, and how it ended.
type story struct {
	tell func(format string, args ...any)
	c    *Cluster
}

func (s *story) begin(p *plan) {
	for _, line := range p.describe() {
		s.tell("%s", line)
	}
}

// event tells an event, with its number and the time in ticks.
func (s *story) event(e *Event) {
	if words := e.words(); words != "" {
		s.tell("#%-5d t%-4d %s", s.c.events, s.c.rounds, words)
	}
}

// end tells which rule was broken, if any, and how every member is.
func (s *story) end(run *Schedule) {
	var v *Violation
	if errors.As(run.err, &v) {
		s.tell("BROKEN: %s", v.Rule.Name)
		s.tell("   see: %s", v.Rule.Source)
		s.tell("   how: %v", v.Detail)
		s.tell("  when: event #%d", v.Event)
	} else {
		s.tell("Every rule held.")
	}
	s.tell("%d events, %d entries committed, %d writes acknowledged, %d configurations, last leader in term %d.",
		run.events, len(run.check.ledger), len(run.acked), len(run.check.confs), len(run.check.terms)-1)
	s.tell("The members at the end:%s", run.Describe())
}

// describe says in a few lines what a seed chose.
func (p *plan) describe() []string {
	yes := func(is bool, then, otherwise string) string {
		if is {
			return then
		}
		return otherwise
	}
	c := &p.config
	return []string{
		fmt.Sprintf("The run of seed %d: %d voters at the start, %s.", p.seed, p.voters,
			yes(p.compacted, "whose logs begin after a snapshot", "with whole logs")),
		fmt.Sprintf("Limits: election timeout %d ticks, heartbeat every %d, a stalled disk after %d (0 is the default); appends of %d bytes, windows of %d appends and %d bytes; %d bytes uncommitted, %d being applied.",
			c.ElectionTicks, c.HeartbeatTicks, c.DiskStallTicks, c.MaxMessageBytes, c.MaxInflight, c.MaxInflightBytes,
			c.MaxUncommittedBytes, c.MaxApplyingBytes),
		fmt.Sprintf("Hosts: cores read %s; messages leave %s; completions are reported %s.",
			yes(p.early, "writes as soon as they are queued", "writes once they are durable"),
			yes(p.outboxes, "from an outbox, later", "at once"), yes(p.late, "late", "at once")),
		fmt.Sprintf("Network: %s.", yes(p.reorder, "messages overtake each other", "messages on one way stay in order")),
		fmt.Sprintf("Crashes may come %s%s.", yes(p.half, "between a snapshot and its log, ", "between writes, "),
			yes(p.torn, "and in the middle of a batch", "never in the middle of a batch")),
		fmt.Sprintf("Clocks %s. Learners become voters %s. Removed members %s. %s.",
			yes(p.drift, "drift", "agree"), yes(p.keeper, "by the keeper's rule", "at any time"),
			yes(p.retire, "are switched off", "stay"),
			yes(p.doom, "Up to a minority of the voters stays down for good", "In the end everyone comes back")),
		"Events, and how often: " + p.describeWeights() + ".",
	}
}

func (p *plan) describeWeights() string {
	names := [actions]string{
		"tick of all", "tick of one", "ready", "send", "deliver", "write", "report written", "apply", "report applied",
		"flush", "compact", "propose", "read", "change of members", "keeper", "transfer", "campaign", "start", "resume",
		"drop", "double", "fail a snapshot", "hold a message back", "let it go", "cut", "mend", "crash", "power failure", "pause", "change a clock",
		"wipe a disk", "unreachable", "leader gone",
	}
	var out []string
	for a, w := range p.weights {
		if w > 0 {
			out = append(out, fmt.Sprintf("%s %d", names[a], w))
		}
	}
	return strings.Join(out, ", ")
}

// words tells an event in plain words, or not at all.
func (e *Event) words() string {
	switch e.Kind {
	case EventReady:
		return fmt.Sprintf("%d puts out%s", e.Member, readyWords(e.Ready))
	case EventDeliver, EventFetched, EventLost, EventLostFetched, EventDrop, EventDouble, EventHold, EventRelease:
		return e.messageWords()
	case EventPersisted, EventReported, EventSent, EventApplied, EventSettled, EventFlush, EventCompact:
		return e.hostWords()
	case EventTick, EventCampaign, EventUnreachable, EventLeaderGone, EventTransfer, EventPropose, EventProposeConf, EventRead:
		return e.inputWords()
	}
	return e.faultWords()
}

func (e *Event) messageWords() string {
	m := e.Message
	words := messageWords(m)
	switch e.Kind {
	case EventDeliver:
		return fmt.Sprintf("%d gets from %d: %s", m.To, m.From, words)
	case EventFetched:
		return fmt.Sprintf("%d has fetched from %d: %s", m.To, m.From, words)
	case EventLostFetched:
		return fmt.Sprintf("%d no longer has what it fetched from %d: %s", m.To, m.From, words)
	case EventDouble:
		return fmt.Sprintf("the network doubles, %d to %d: %s", m.From, m.To, words)
	case EventHold:
		return fmt.Sprintf("the network holds back, %d to %d: %s", m.From, m.To, words)
	case EventRelease:
		return fmt.Sprintf("the network lets go what it held back, %d to %d: %s", m.From, m.To, words)
	case EventDrop:
		return fmt.Sprintf("the network loses, %d to %d: %s", m.From, m.To, words)
	}
	return fmt.Sprintf("nobody takes, %d to %d: %s", m.From, m.To, words)
}

func (e *Event) hostWords() string {
	switch e.Kind {
	case EventPersisted:
		return fmt.Sprintf("%d has write %d on its disk, and sends what waited for it", e.Member, e.N)
	case EventReported:
		return fmt.Sprintf("%d learns that its writes up to %d are durable", e.Member, e.N)
	case EventSent:
		return fmt.Sprintf("%d sends %d messages out of its outbox", e.Member, e.N)
	case EventApplied:
		return fmt.Sprintf("%d has applied everything up to %d", e.Member, e.Index)
	case EventSettled:
		return fmt.Sprintf("%d learns that everything up to %d is applied", e.Member, e.Index)
	case EventFlush:
		return fmt.Sprintf("%d makes its state durable as it is at %d", e.Member, e.Index)
	}
	return fmt.Sprintf("%d compacts its log, which now holds [%d, %d]", e.Member, e.First, e.Index)
}

func (e *Event) inputWords() string {
	switch e.Kind {
	case EventTick:
		if e.N == 0 {
			return ""
		}
		return fmt.Sprintf("%d ticks and is %v of term %d", e.Member, e.Role, e.Term)
	case EventCampaign:
		return fmt.Sprintf("%d is told to campaign", e.Member)
	case EventUnreachable:
		return fmt.Sprintf("%d is told that it cannot reach %d", e.Member, e.Peer)
	case EventLeaderGone:
		return fmt.Sprintf("%d is told that leader %d is gone", e.Member, e.Peer)
	case EventTransfer:
		return fmt.Sprintf("%d is asked to hand leadership to %d%s", e.Member, e.Peer, outcome(e.Err))
	case EventRead:
		return fmt.Sprintf("%d is asked for read %d", e.Member, e.N)
	case EventPropose:
		return fmt.Sprintf("%d is given write %q, at %d/%d%s", e.Member, e.Data, e.Index, e.Term, outcome(e.Err))
	}
	return fmt.Sprintf("%d is given membership change %s, at %d/%d%s", e.Member, describeChange(*e.Change), e.Index, e.Term, outcome(e.Err))
}

func outcome(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf(": refused, %v", err)
}

func (e *Event) faultWords() string {
	switch e.Kind {
	case EventStart:
		return fmt.Sprintf("%d starts its life %d: term %d, log [%d, %d], %d known committed, %d applied", e.Member, e.N,
			e.Term, e.First, e.Index, e.Commit, e.Applied)
	case EventCrash:
		return fmt.Sprintf("%d crashes; of its %d writes under way %d are durable", e.Member, e.N, e.Index)
	case EventTorn:
		return fmt.Sprintf("%d crashes in the middle of its %d writes under way; term and vote and up to %d entries are durable", e.Member, e.N, e.Index)
	case EventWipe:
		return fmt.Sprintf("%d loses its disk; the others take it for a stranger from now on", e.Member)
	case EventPause:
		return fmt.Sprintf("%d stands still", e.Member)
	case EventResume:
		return fmt.Sprintf("%d goes on", e.Member)
	case EventClock:
		return fmt.Sprintf("the clock of %d runs at %d%% now", e.Member, e.N*100/nominal)
	case EventSwitchOff:
		return fmt.Sprintf("%d was removed and is switched off", e.Member)
	case EventDoom:
		return fmt.Sprintf("%d stays down for good", e.Member)
	case EventCut:
		return fmt.Sprintf("the way from %d to %d is cut", e.Member, e.Peer)
	case EventMend:
		return fmt.Sprintf("the way from %d to %d is mended", e.Member, e.Peer)
	case EventHeal:
		return "all faults end, and progress is due"
	case EventDrill:
		return fmt.Sprintf("the drill %q begins", e.Data)
	}
	return fmt.Sprintf("BROKEN: %v", e.Err)
}

func readyWords(rd *raft.Ready) string {
	var b strings.Builder
	for i := range rd.Messages {
		fmt.Fprintf(&b, "; to %d %s", rd.Messages[i].To, messageWords(&rd.Messages[i]))
	}
	if p := rd.Persist; p != nil {
		fmt.Fprintf(&b, "; to its disk write %d", p.Seq)
		if h := p.HardState; h != nil {
			fmt.Fprintf(&b, ", term %d, vote %d, commit %d", h.Term, h.Vote, h.Commit)
		}
		if s := p.Snapshot; s != nil {
			fmt.Fprintf(&b, ", the snapshot at %d/%d with %v", s.Index, s.Term, s.Conf)
		}
		if len(p.Entries) > 0 {
			fmt.Fprintf(&b, ", entries %s", describeEntries(p.Entries))
		}
		for i := range p.Messages {
			fmt.Fprintf(&b, "; after it to %d %s", p.Messages[i].To, messageWords(&p.Messages[i]))
		}
	}
	if n := len(rd.Committed); n > 0 {
		fmt.Fprintf(&b, "; to be applied %d to %d", rd.Committed[0].Index, rd.Committed[n-1].Index)
	}
	for _, r := range rd.Reads {
		if r.Rejected {
			fmt.Fprintf(&b, "; read %d gets no index", r.ID)
		} else {
			fmt.Fprintf(&b, "; read %d gets index %d", r.ID, r.Index)
		}
	}
	return strings.Replace(b.String(), ";", ":", 1)
}

// messageWords tells what a message says.
func messageWords(m *raft.Message) string {
	in := fmt.Sprintf(" (term %d)", m.Term)
	no := ""
	if m.Reject {
		no = "no "
	}
	switch m.Type {
	case raft.MsgVote, raft.MsgPreVote:
		what := "may I have your vote"
		if m.Type == raft.MsgPreVote {
			what = "would I have your vote"
		}
		return fmt.Sprintf("%s, my log ends at %d/%d%s", what, m.Index, m.LogTerm, in)
	case raft.MsgVoteResp:
		return no + "vote for you" + in
	case raft.MsgPreVoteResp:
		return no + "vote for you if it came to it" + in
	case raft.MsgAppend:
		what := "nothing"
		if len(m.Entries) > 0 {
			what = describeEntries(m.Entries)
		}
		return fmt.Sprintf("append %s after %d/%d, %d is committed%s", what, m.Index, m.LogTerm, m.Commit, in)
	case raft.MsgAppendResp:
		if m.Reject {
			return fmt.Sprintf("nothing fits after %d, try %d/%d%s", m.Index, m.Hint, m.HintTerm, in)
		}
		return fmt.Sprintf("all is durable here up to %d%s", m.Index, in)
	case raft.MsgHeartbeat:
		return fmt.Sprintf("heartbeat of round %d, %d is committed%s", m.Round, m.Commit, in)
	case raft.MsgHeartbeatResp:
		return fmt.Sprintf("heartbeat of round %d heard%s", m.Round, in)
	case raft.MsgSnapshot:
		if m.Snapshot == nil {
			return "fetch a snapshot of me" + in
		}
		return fmt.Sprintf("the snapshot at %d/%d with %v%s", m.Snapshot.Index, m.Snapshot.Term, m.Snapshot.Conf, in)
	case raft.MsgTimeoutNow:
		return "take over" + in
	case raft.MsgReadIndex:
		return fmt.Sprintf("which index for my reads %d%s", m.Round, in)
	case raft.MsgReadIndexResp:
		if m.Reject {
			return fmt.Sprintf("no index for your reads %d%s", m.Round, in)
		}
		return fmt.Sprintf("index %d for your reads %d%s", m.Index, m.Round, in)
	}
	return describeMessage(*m)
}
