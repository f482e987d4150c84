package rafttest

import (
	"fmt"
	"slices"
	"strings"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// Exploration is a search through everything that can happen to a small cluster,
// in every order, within bounds. Without Ordered loss needs no event of its own:
// a message that is lost is one that is under way for ever.
type Exploration struct {
	// Voters are the first members; Strangers exist from the start as well, with
	// empty disks.
	Voters, Strangers []uint64
	// Changes are the membership changes, which leaders propose in this order.
	Changes []Proposal
	// How many campaigns, writes, crashes, heartbeats, doubled messages and reads
	// there may be.
	Campaigns, Writes, Crashes, Heartbeats, Doubles, Reads int
	// Ordered delivers the messages from one member to another in order. A
	// message is then lost by an event, of which there may be Losses.
	Ordered bool
	Losses  int
	// SlowDisks makes each write's coming to the disk an event; else it follows
	// at once.
	SlowDisks bool
	// Depth bounds the events of one run; 0 means no bound.
	Depth int
}

// Proposal makes a membership change for the leader that is to propose it.
type Proposal func(lead uint64) confchange.Change

// Explored says what a search went through.
type Explored struct {
	// States is how many different states there were, Events how many events led
	// to them; Depth is the length of the longest run.
	States, Events, Depth int
	// Whole says that no run was cut short.
	Whole bool
}

// String prints the figures.
func (e Explored) String() string {
	whole := "cut at depth"
	if e.Whole {
		whole = "whole, depth"
	}
	return fmt.Sprintf("%d states, %d events, %s %d", e.States, e.Events, whole, e.Depth)
}

// Run goes through all of it. The error names the events that led to the first
// broken promise.
func (e Exploration) Run() (Explored, error) {
	x := newExplorer(e)
	s := x.begin(nil)
	depth := e.Depth
	if depth == 0 {
		depth = 1 << 30
	}
	x.visit(s, depth)
	return x.found, x.err
}

// explorer is a search under way.
type explorer struct {
	*cloner
	*hasher
	e     Exploration
	found Explored
	// left is, for each state seen, how many events were still allowed from it.
	left map[uint64]int
	path []event
	err  error
}

func newExplorer(e Exploration) *explorer {
	return &explorer{cloner: newCloner(), hasher: newHasher(), e: e, found: Explored{Whole: true}, left: map[uint64]int{}}
}

// key identifies a state.
func (x *explorer) key(s *state) uint64 {
	sum := x.fingerprint(s.Cluster, x.e.Ordered)
	for _, n := range s.done {
		sum = mix(sum, uint64(n))
	}
	return sum
}

func (x *explorer) copyOf(s *state) *state { return &state{x.clone(s.Cluster), s.done} }

// state is a cluster and what may still happen to it.
type state struct {
	*Cluster
	// done is how often each kind of bounded event has happened.
	done [eventKinds]int
}

// event is one thing that happens. What its numbers mean depends on the kind.
type event struct {
	kind eventKind
	a, b uint64
}

type eventKind int

const (
	evDeliver eventKind = iota // a: index among the messages under way
	evDouble                   // likewise
	evLose                     // likewise
	evCampaign
	evWrite
	evChange
	evRead
	evHeartbeat
	evCrash // b: how many queued writes survive
	evPersist
	eventKinds
)

// exploreTicks is the election timeout of explored members.
const exploreTicks = 4

// begin makes the cluster with its first voter as the leader.
func (x *explorer) begin(trace func(string, ...any)) *state {
	s := &state{Cluster: New(Options{
		Config: raft.Config{ElectionTicks: exploreTicks},
		// Nobody campaigns before it is told to.
		Jitter: func(_ uint64, n int) int { return n - 1 },
		Trace:  trace,
	})}
	s.Bootstrap(x.e.Voters, false)
	for _, id := range x.e.Strangers {
		s.Add(id)
	}
	s.Campaign(x.e.Voters[0])
	s.Settle()
	return s
}

// visit explores what can follow a state, which it may change.
func (x *explorer) visit(s *state, depth int) {
	if s.err != nil {
		x.fail(s)
		return
	}
	key := x.key(s)
	before, seen := x.left[key]
	if seen && before >= depth {
		return
	}
	if !seen {
		x.found.States++
	}
	x.left[key] = depth
	x.found.Depth = max(x.found.Depth, len(x.path))
	next := x.events(s)
	if depth == 0 {
		x.found.Whole = x.found.Whole && len(next) == 0
		return
	}
	for i, ev := range next {
		child := s
		if i < len(next)-1 {
			child = x.copyOf(s)
		}
		x.found.Events++
		x.path = append(x.path, ev)
		x.perform(child, ev)
		x.visit(child, depth-1)
		x.path = x.path[:len(x.path)-1]
		if x.err != nil {
			return
		}
	}
}

// fail runs the path again with a trace.
func (x *explorer) fail(s *state) {
	var lines []string
	again := x.begin(func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) })
	for _, ev := range x.path {
		x.perform(again, ev)
	}
	trace := strings.Join(lines, "\n")
	if again.err == nil {
		// Then a copy or a fingerprint is at fault, not the core.
		x.err = fmt.Errorf("%w\nbut not when its %d events are run from the start:\n%s", s.err, len(x.path), trace)
		return
	}
	x.err = fmt.Errorf("%w\nafter %d events:\n%s", again.err, len(x.path), trace)
}

// events lists what can happen next.
func (x *explorer) events(s *state) (out []event) {
	may := func(kind eventKind, limit int, a, b uint64) {
		if limit < 0 || s.done[kind] < limit {
			out = append(out, event{kind, a, b})
		}
	}
	e := &x.e
	for _, i := range x.deliverable(s) {
		may(evDeliver, -1, i, 0)
		may(evDouble, e.Doubles, i, 0)
		may(evLose, e.Losses, i, 0)
	}
	for _, id := range s.order {
		m := s.members[id]
		if len(m.disk.queue) > 0 {
			may(evPersist, -1, id, 0)
		}
		for n := range len(m.disk.queue) + 1 {
			may(evCrash, e.Crashes, id, uint64(n))
		}
		if m.core.Role() != raft.Leader {
			if conf := m.core.Status().Conf; conf.Contains(id) {
				may(evCampaign, e.Campaigns, id, 0)
			}
			continue
		}
		may(evWrite, e.Writes, id, 0)
		may(evRead, e.Reads, id, 0)
		may(evHeartbeat, e.Heartbeats, id, 0)
		may(evChange, len(e.Changes), id, 0)
	}
	return out
}

// deliverable lists the messages under way that may arrive next, each but once.
func (x *explorer) deliverable(s *state) (out []uint64) {
	var same []uint64
	for i := range s.net.flying {
		m := s.net.at(i)
		key := x.message(m)
		if x.e.Ordered {
			key = m.From<<32 | m.To
		}
		if !slices.Contains(same, key) {
			same = append(same, key)
			out = append(out, uint64(i))
		}
	}
	return out
}

// perform makes an event happen.
func (x *explorer) perform(s *state, ev event) {
	s.done[ev.kind]++
	id := ev.a
	switch ev.kind {
	case evDeliver, evDouble:
		msg := *s.net.at(int(ev.a))
		if ev.kind == evDeliver {
			s.Take(int(ev.a))
		}
		s.done[evDeliver] = 0
		s.Deliver(msg)
	case evLose:
		s.Take(int(ev.a))
	case evCampaign:
		// Everybody has waited in vain for the leader.
		for _, other := range s.order {
			if !s.Leads(other) {
				s.waitInVain(other)
			}
		}
		s.Campaign(id)
	case evWrite:
		_, _, _ = s.Propose(id, fmt.Appendf(nil, "w%d", s.done[evWrite])) // may be refused
	case evChange:
		if _, _, err := s.ProposeConf(id, x.e.Changes[s.done[evChange]-1](id)); err != nil {
			s.done[evChange]-- // it is still to come
		}
	case evRead:
		s.Read(id)
	case evHeartbeat:
		s.Tick(id)
	case evCrash:
		s.Crash(id, int(ev.b), false)
		s.Start(id)
	case evPersist:
		s.done[evPersist] = 0
		s.Persist(id, 1)
	}
	for _, id := range s.order {
		x.host(s, id)
	}
}

// waitInVain moves a member's time on until it no longer hears from a leader.
func (s *state) waitInVain(id uint64) {
	for range exploreTicks {
		s.Tick(id)
	}
}

// host does what a member's host has to do, as far as its disk goes along.
func (x *explorer) host(s *state, id uint64) {
	m := s.members[id]
	for m.fresh && s.err == nil {
		s.Ready(id)
		if n := len(m.disk.queue); n > 0 && !x.e.SlowDisks {
			s.Persist(id, n)
		}
		if n := len(m.applying); n > 0 {
			s.Apply(id, n)
		}
	}
}
