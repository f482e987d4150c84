package rafttest

import (
	"fmt"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// EventKind is the kind of an Event.
type EventKind uint8

// The kinds.
const (
	EventStart EventKind = iota
	EventCrash
	EventTorn
	EventWipe
	EventPause
	EventResume
	EventSwitchOff
	EventTick
	EventCampaign
	EventUnreachable
	EventLeaderGone
	EventTransfer
	EventPropose
	EventProposeConf
	EventRead
	EventReady
	EventPersisted
	EventReported
	EventSent
	EventApplied
	EventSettled
	EventFlush
	EventCompact
	EventCut
	EventMend
	EventDeliver
	EventFetched
	EventLost
	EventLostFetched
	EventDrop
	EventDouble
	EventHold
	EventRelease
	EventHeal
	EventDoom
	EventDrill
	EventClock
	EventFailed
)

// Event is one thing that happened. Which of the fields say something depends on
// the kind; all of them, and what the messages and the Ready hold, go into the
// hash of a run.
type Event struct {
	Kind         EventKind
	Member, Peer uint64
	// Index and Term name a log entry or a term; N counts.
	Index, Term, N uint64
	// Role is the member's after the event.
	Role    raft.Role
	First   uint64
	Applied uint64
	Commit  uint64
	Data    []byte
	Change  *confchange.Change
	Message *raft.Message
	Ready   *raft.Ready
	Err     error
}

// note takes in an event: it goes into the hash, and to those who follow the run.
func (c *Cluster) note(e Event) {
	c.events++
	c.hash.event(&e)
	if c.watch != nil {
		shown := e
		c.watch(&shown)
	}
	if c.trace == nil {
		return
	}
	shown := e
	if line := shown.terse(); line != "" {
		c.trace("%s", line)
	}
}

// Events is the number of events so far.
func (c *Cluster) Events() int { return c.events }

// Hash sums up every event so far: two runs that differ in anything have
// different ones.
func (c *Cluster) Hash() uint64 { return uint64(c.hash) }

func (h *hash) event(e *Event) {
	h.add(uint64(e.Kind) | uint64(e.Role)<<8 | e.Member<<16 | e.Peer<<32)
	h.add(e.Index | e.Term<<32)
	h.add(e.N | e.Commit<<32)
	h.add(e.First | e.Applied<<32)
	if e.Err != nil {
		h.addBytes([]byte(e.Err.Error()))
	}
	if e.Data != nil {
		h.addBytes(e.Data)
	}
	if e.Message != nil {
		h.message(e.Message)
	}
	if e.Ready != nil {
		h.ready(e.Ready)
	}
}

func (h *hash) message(m *raft.Message) {
	var flags uint64
	if m.Reject {
		flags |= 1 << 8
	}
	if m.Transfer {
		flags |= 1 << 9
	}
	h.add(uint64(m.Type) | flags | m.From<<16 | m.To<<32)
	h.add(m.Term | m.Session<<32)
	h.add(m.Index | m.LogTerm<<32)
	h.add(m.Commit | m.Applied<<32)
	h.add(m.Hint | m.HintTerm<<32)
	h.add(m.Round)
	h.add(uint64(len(m.Entries)))
	if s := m.Snapshot; s != nil {
		h.add(s.Index | s.Term<<32)
	}
}

func (h *hash) ready(rd *raft.Ready) {
	for i := range rd.Messages {
		h.message(&rd.Messages[i])
	}
	if p := rd.Persist; p != nil {
		h.add(p.Seq)
		if p.HardState != nil {
			h.add(p.HardState.Term | p.HardState.Vote<<32)
			h.add(p.HardState.Commit)
		}
		for i := range p.Entries {
			h.add(p.Entries[i].Index | p.Entries[i].Term<<32)
		}
		for i := range p.Messages {
			h.message(&p.Messages[i])
		}
	}
	h.add(uint64(len(rd.Committed)))
	for _, r := range rd.Reads {
		h.add(r.ID<<32 | r.Index)
	}
}

// terse prints an event in a line for scripts, or nothing where a script shows
// nothing.
func (e *Event) terse() string {
	switch e.Kind {
	case EventStart:
		return fmt.Sprintf("start %d: term %d commit %d applied %d log [%d, %d]", e.Member, e.Term, e.Commit,
			e.Applied, e.First, e.Index)
	case EventCrash:
		return fmt.Sprintf("crash %d: %d of %d writes kept", e.Member, e.Index, e.N)
	case EventTorn:
		return fmt.Sprintf("crash %d: in the middle of %d writes, %d entries kept", e.Member, e.N, e.Index)
	case EventPause:
		return fmt.Sprintf("pause %d", e.Member)
	case EventResume:
		return fmt.Sprintf("resume %d", e.Member)
	case EventSwitchOff:
		return fmt.Sprintf("switch off %d", e.Member)
	case EventTick:
		if e.N == 0 {
			return ""
		}
		return fmt.Sprintf("tick %d: %v of term %d", e.Member, e.Role, e.Term)
	case EventHeal:
		return "heal"
	case EventDrill:
		return fmt.Sprintf("drill: %s", e.Data)
	case EventFailed:
		return fmt.Sprintf("FAILED: %v", e.Err)
	case EventCut, EventMend:
		return fmt.Sprintf("cut %d -> %d: %v", e.Member, e.Peer, e.Kind == EventCut)
	case EventDeliver, EventFetched, EventLost, EventLostFetched, EventDrop, EventDouble, EventHold, EventRelease:
		return e.terseMessage()
	case EventReady, EventPersisted, EventReported, EventSent, EventApplied, EventSettled, EventFlush, EventCompact:
		return e.terseHost()
	}
	return e.terseInput()
}

func (e *Event) terseMessage() string {
	what := map[EventKind]string{
		EventDeliver: "deliver", EventFetched: "fetched", EventLost: "lost", EventDrop: "drop",
		EventDouble: "double", EventHold: "hold", EventRelease: "release", EventLostFetched: "lost with the receiver's crash:",
	}
	return what[e.Kind] + " " + describeMessage(*e.Message)
}

// terseHost prints what a member's host did.
func (e *Event) terseHost() string {
	switch e.Kind {
	case EventReady:
		return fmt.Sprintf("ready %d:%s", e.Member, describeReady(*e.Ready))
	case EventPersisted:
		return fmt.Sprintf("persisted %d: write %d", e.Member, e.N)
	case EventReported:
		return fmt.Sprintf("reported %d: write %d", e.Member, e.N)
	case EventSent:
		return fmt.Sprintf("sent %d: %d messages", e.Member, e.N)
	case EventSettled:
		return fmt.Sprintf("settled %d: up to %d", e.Member, e.Index)
	case EventApplied:
		return fmt.Sprintf("applied %d: up to %d", e.Member, e.Index)
	case EventFlush:
		return fmt.Sprintf("flush %d: applied %d", e.Member, e.Index)
	case EventCompact:
		return fmt.Sprintf("compact %d: log [%d, %d]", e.Member, e.First, e.Index)
	}
	return ""
}

// terseInput prints what a core was given.
func (e *Event) terseInput() string {
	switch e.Kind {
	case EventCampaign:
		return fmt.Sprintf("campaign %d", e.Member)
	case EventUnreachable:
		return fmt.Sprintf("unreachable %d -> %d", e.Member, e.Peer)
	case EventLeaderGone:
		return fmt.Sprintf("leader gone %d: %d", e.Member, e.Peer)
	case EventTransfer:
		return fmt.Sprintf("transfer %d -> %d: %v", e.Member, e.Peer, e.Err)
	case EventPropose:
		return fmt.Sprintf("propose %d %q: index %d term %d %v", e.Member, e.Data, e.Index, e.Term, e.Err)
	case EventProposeConf:
		return fmt.Sprintf("conf %d %s: index %d term %d %v", e.Member, describeChange(*e.Change), e.Index, e.Term, e.Err)
	case EventRead:
		return fmt.Sprintf("read %d: id %d", e.Member, e.N)
	}
	return ""
}
