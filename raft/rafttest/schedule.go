package rafttest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"chainfire/raft"
)

// Schedule is one random run: its seed decides the cluster, the kinds of
// faults, and every event.
type Schedule struct {
	*Cluster
	rand *rand.Rand
	plan plan
	// nextID is the next member's, maxIDs the last that comes by chance.
	nextID, maxIDs uint64
	value          int
	// asked are the writes that clients wait for, acked those that they were
	// told are done.
	asked, acked []proposal
	// ticks counts those since healing began.
	ticks int
	story *story
}

// proposal is a client's write that was taken.
type proposal struct {
	member, life, index, term uint64
	data                      string
}

// maxFlying bounds the messages under way; above it the network drops.
const maxFlying = 300

// NewSchedule makes the run of a seed. Trace, when set, is called with the lines
// of its story; it may be nil.
func NewSchedule(seed uint64, trace func(string, ...any)) *Schedule {
	return NewScheduleOf(seed, nil, trace)
}

// NewScheduleOf is NewSchedule of a cluster whose members' engines, at each of
// their starts, are those of Options.Engine.
func NewScheduleOf(seed uint64, engine func(id uint64) raft.NewEngine, trace func(string, ...any)) *Schedule {
	s := &Schedule{rand: rand.New(rand.NewPCG(seed, hashSeed)), maxIDs: 12}
	s.plan = s.draw(seed)
	o := Options{
		Config: s.plan.config, Engine: engine, EarlyReads: s.plan.early,
		Jitter: func(_ uint64, n int) int { return s.rand.IntN(n) },
	}
	if trace != nil {
		s.story = &story{tell: trace}
		o.Watch = s.story.event
	}
	s.Cluster = New(o)
	s.outboxes = s.plan.outboxes
	if s.story != nil {
		s.story.c = s.Cluster
		s.story.begin(&s.plan)
	}
	var ids []uint64
	for id := 1; id <= s.plan.voters; id++ {
		ids = append(ids, uint64(id))
	}
	s.Bootstrap(ids, s.plan.compacted)
	for _, m := range s.list {
		s.drift(m)
	}
	if s.plan.elected {
		s.Campaign(s.anyone())
	}
	s.nextID = uint64(s.plan.voters) + 1
	return s
}

// Run performs steps random events, then heals a majority and demands progress.
func (s *Schedule) Run(steps int) error {
	s.chance(steps)
	if s.err == nil {
		s.heal()
		s.checkLogsAgree()
	}
	if s.story != nil {
		s.story.end(s)
	}
	return s.err
}

// chance performs steps random events.
func (s *Schedule) chance(steps int) {
	// Draws for which there is nothing to do do not count, within bounds.
	for i, idle := 0, 0; i < steps && idle < 20*steps && s.err == nil; {
		n, a := s.rand.IntN(s.plan.total), action(0)
		for ; n >= s.plan.weights[a]; a++ {
			n -= s.plan.weights[a]
		}
		if s.step(a) {
			i++
		} else {
			idle++
		}
		if s.moved {
			s.moved = false
			s.acknowledge()
		}
		s.switchOff()
	}
}

// some draws a member that fits, or nil.
func (s *Schedule) some(fits func(*member) bool) *member {
	n := len(s.list)
	i := s.rand.IntN(n)
	for range n {
		if m := s.list[i]; fits(m) {
			return m
		}
		if i++; i == n {
			i = 0
		}
	}
	return nil
}

// anyone draws a member's id.
func (s *Schedule) anyone() uint64 { return s.order[s.rand.IntN(len(s.order))] }

// step performs one event and reports whether there was anything to do.
func (s *Schedule) step(a action) bool {
	switch a {
	case actTick:
		s.passUnevenly()
		return true
	case actDeliver, actDrop, actDouble:
		return s.stepNetwork(a)
	case actFailSnapshot:
		return s.failSnapshot()
	case actHold:
		return s.hold()
	case actRelease:
		return s.release()
	case actCut:
		s.cut()
		return true
	case actMend:
		return s.mend()
	case actPower:
		return s.powerCut()
	}
	m := s.some(fits[a])
	if m == nil {
		return false
	}
	if a < firstFault {
		return s.stepMember(a, m)
	}
	return s.stepFault(a, m)
}

// fits says for which members there is something to do.
var fits = [actions]func(*member) bool{
	actPropose:     (*member).leads,
	actConf:        (*member).leads,
	actKeep:        (*member).leads,
	actTransfer:    (*member).leads,
	actStart:       func(m *member) bool { return !m.up() && !m.retired && !m.doomed },
	actResume:      func(m *member) bool { return m.paused },
	actReady:       func(m *member) bool { return m.runs() && m.fresh },
	actSend:        func(m *member) bool { return m.runs() && len(m.outbox) > 0 },
	actPersist:     func(m *member) bool { return m.runs() && len(m.disk.queue) > 0 },
	actReport:      func(m *member) bool { return m.runs() && m.written > 0 },
	actApply:       func(m *member) bool { return m.runs() && len(m.applying) > 0 },
	actSettled:     func(m *member) bool { return m.runs() && m.applied > 0 },
	actFlush:       func(m *member) bool { return m.runs() && m.machine.Index > m.disk.durable.machine.Index },
	actCompact:     func(m *member) bool { return m.runs() && m.machine.Index > m.disk.durable.log.base },
	actTickOne:     (*member).runs,
	actCrash:       (*member).up,
	actPause:       (*member).runs,
	actRead:        (*member).runs,
	actUnreachable: (*member).runs,
	actLeaderGone:  (*member).runs,
	actCampaign:    (*member).runs,
	actClock:       (*member).up,
	actWipe:        func(m *member) bool { return m.able() && m.disk.writes > 0 },
}

// stepMember lets a member's host do a part of its work, or a client ask
// something of it.
func (s *Schedule) stepMember(a action, m *member) bool {
	switch a {
	case actTickOne:
		s.Tick(m.id)
	case actReady:
		s.Ready(m.id)
	case actSend:
		s.Send(m.id, 1+s.rand.IntN(4))
	case actPersist:
		if n := 1 + s.rand.IntN(3); s.plan.late {
			s.Write(m.id, n)
		} else {
			s.Persist(m.id, n)
		}
	case actReport:
		s.Report(m.id)
	case actApply:
		if n := 1 + s.rand.IntN(4); s.plan.late {
			s.ApplyQuietly(m.id, n)
		} else {
			s.Apply(m.id, n)
		}
	case actSettled:
		s.Settled(m.id)
	case actFlush:
		s.Flush(m.id)
	case actCompact:
		s.Flush(m.id)
		s.Compact(m.id, uint64(s.rand.IntN(int(m.machine.Index)+1)))
	case actPropose:
		s.propose(m)
	case actRead:
		s.Read(m.id)
	case actConf:
		return s.change(m)
	case actKeep:
		return s.keep(m)
	case actTransfer:
		// A target that does not fit is refused; that is part of the run.
		_ = s.Transfer(m.id, s.anyone())
	case actCampaign:
		s.Campaign(m.id)
	case actStart:
		s.Start(m.id)
	case actResume:
		m.paused = false
		s.note(Event{Kind: EventResume, Member: m.id})
	}
	return true
}

func (s *Schedule) propose(m *member) (proposal, bool) {
	s.value++
	data := fmt.Appendf(nil, "v%d", s.value)
	if s.rand.IntN(10) == 0 {
		data = append(data, strings.Repeat(".", s.rand.IntN(120))...)
	}
	index, term, err := s.Propose(m.id, data)
	p := proposal{m.id, m.life, index, term, string(data)}
	if err == nil {
		s.asked = append(s.asked, p)
	}
	return p, err == nil
}

// acknowledge answers the clients whose write is committed and applied where it
// was proposed, and forgets those whose member or place is gone.
func (s *Schedule) acknowledge() {
	s.asked = slices.DeleteFunc(s.asked, func(p proposal) bool {
		m := s.members[p.member]
		if !m.up() || m.life != p.life {
			return true
		}
		if m.machine.Index < p.index {
			return false
		}
		if s.check.ledger[p.index-1].entry.Term == p.term {
			s.acked = append(s.acked, p)
		}
		return true
	})
}

// Leads reports whether a member is the leader.
func (c *Cluster) Leads(id uint64) bool {
	m := c.members[id]
	return m.up() && m.core.Role() == raft.Leader
}
