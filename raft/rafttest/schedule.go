package rafttest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// Schedule is one random run: its seed decides the cluster, the kinds of
// faults, and every event.
type Schedule struct {
	*Cluster
	rand    *rand.Rand
	weights [actions]int
	total   int
	reorder bool
	half    bool
	retire  bool
	nextID  uint64
	value   int
	acked   map[uint64]string
	asked   []proposal
	maxIDs  uint64
	// ticks counts those since healing began.
	ticks int
}

// proposal is a client's write that was taken and not heard of again yet.
type proposal struct {
	member, life, index, term uint64
	data                      string
}

// action is one kind of event.
type action int

const (
	actTick action = iota
	actTickOne
	actReady
	actDeliver
	actPersist
	actApply
	actPropose
	actFlush
	actDrop
	actDouble
	actCrash
	actStart
	actCut
	actMend
	actPause
	actResume
	actConf
	actTransfer
	actRead
	actCompact
	actUnreachable
	actLeaderGone
	actCampaign
	actions
)

// maxFlying bounds the messages under way; above it the network drops.
const maxFlying = 300

// NewSchedule makes the run of a seed. Trace may be nil.
func NewSchedule(seed uint64, trace func(string, ...any)) *Schedule {
	return NewScheduleOf(seed, nil, trace)
}

// NewScheduleOf is NewSchedule with the engines of Options.Engine.
func NewScheduleOf(seed uint64, engine func(id uint64) raft.NewEngine, trace func(string, ...any)) *Schedule {
	r := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	s := &Schedule{rand: r, acked: map[uint64]string{}, maxIDs: 12}
	pick := func(v ...int) int { return v[r.IntN(len(v))] }
	s.Cluster = New(Options{
		Config: raft.Config{
			ElectionTicks: pick(3, 5, 10, 10), HeartbeatTicks: pick(1, 1, 2),
			MaxMessageBytes: uint64(pick(1, 60, 200, 1<<20)), MaxInflight: pick(1, 2, 4, 64),
			MaxInflightBytes: uint64(pick(1, 100, 1<<20)), MaxUncommittedBytes: uint64(pick(200, 1<<20)),
			MaxApplyingBytes: uint64(pick(1, 100, 1<<20)), DiskStallTicks: pick(0, 0, 6),
		},
		Engine:     engine,
		EarlyReads: r.IntN(2) == 0,
		Jitter:     func(_ uint64, n int) int { return r.IntN(n) },
		Trace:      trace,
	})
	s.swarm(pick)
	voters := pick(1, 1, 2, 3, 3, 3, 4, 5)
	var ids []uint64
	for id := 1; id <= voters; id++ {
		ids = append(ids, uint64(id))
	}
	s.Bootstrap(ids, r.IntN(2) == 0)
	s.nextID = uint64(voters) + 1
	return s
}

// swarm chooses which kinds of events there are in this run, and how often.
func (s *Schedule) swarm(pick func(...int) int) {
	w := &s.weights
	w[actTick], w[actTickOne] = pick(5, 10, 25, 60), pick(0, 10, 60)
	w[actReady], w[actDeliver], w[actPersist] = pick(300, 600), pick(200, 500, 800), pick(100, 300)
	w[actApply], w[actPropose], w[actFlush] = pick(50, 200), pick(5, 40, 100), pick(2, 20)
	maybe := func(a action, weights ...int) {
		if s.rand.IntN(2) == 0 {
			w[a] = pick(weights...)
		}
	}
	maybe(actDrop, 5, 50, 150)
	maybe(actDouble, 5, 50, 150)
	maybe(actCrash, 1, 5, 12)
	w[actStart] = pick(5, 20)
	maybe(actCut, 2, 8, 20)
	w[actMend] = pick(10, 30)
	maybe(actPause, 2, 8)
	w[actResume] = pick(5, 20)
	maybe(actConf, 5, 20, 60)
	maybe(actTransfer, 2, 8)
	maybe(actRead, 5, 40)
	maybe(actCompact, 5, 20)
	maybe(actUnreachable, 2, 10)
	maybe(actLeaderGone, 1, 4)
	maybe(actCampaign, 1, 4)
	s.reorder = s.rand.IntN(2) == 0
	s.half = s.rand.IntN(2) == 0
	s.retire = s.rand.IntN(2) == 0
	for _, n := range w {
		s.total += n
	}
}

// Run performs steps random events, then heals everything and demands progress.
func (s *Schedule) Run(steps int) error {
	// Draws for which there is nothing to do do not count, within bounds.
	for i, idle := 0, 0; i < steps && idle < 20*steps && s.err == nil; {
		n, a := s.rand.IntN(s.total), action(0)
		for ; n >= s.weights[a]; a++ {
			n -= s.weights[a]
		}
		if s.step(a) {
			i++
		} else {
			idle++
		}
		s.acknowledge()
		s.switchOff()
	}
	if s.err == nil {
		s.heal()
	}
	return s.err
}

// some draws a member that fits, or nil.
func (s *Schedule) some(fits func(*member) bool) *member {
	n := len(s.order)
	from := s.rand.IntN(n)
	for i := range n {
		if m := s.members[s.order[(from+i)%n]]; fits(m) {
			return m
		}
	}
	return nil
}

func leads(m *member) bool { return m.runs() && m.core.Role() == raft.Leader }

// step performs one event and reports whether there was anything to do.
func (s *Schedule) step(a action) bool {
	switch a {
	case actTick:
		for _, id := range s.order {
			if s.members[id].runs() {
				s.Tick(id)
			}
		}
		return true
	case actDeliver, actDrop, actDouble:
		return s.stepNetwork(a)
	case actCut:
		s.cut()
		return true
	case actMend:
		return s.mend()
	}
	m := s.some(fits[a])
	if m != nil {
		s.stepMember(a, m)
	}
	return m != nil
}

// fits says for which members there is something to do.
var fits = map[action]func(*member) bool{
	actPropose:     leads,
	actConf:        leads,
	actTransfer:    leads,
	actStart:       func(m *member) bool { return !m.up() && !m.retired },
	actResume:      func(m *member) bool { return m.paused },
	actReady:       func(m *member) bool { return m.runs() && m.fresh },
	actPersist:     func(m *member) bool { return m.runs() && len(m.disk.queue) > 0 },
	actApply:       func(m *member) bool { return m.runs() && len(m.applying) > 0 },
	actFlush:       func(m *member) bool { return m.runs() && m.machine.Index > m.disk.durable.machine.Index },
	actCompact:     func(m *member) bool { return m.runs() && m.machine.Index > m.disk.durable.log.base },
	actTickOne:     (*member).runs,
	actCrash:       (*member).runs,
	actPause:       (*member).runs,
	actRead:        (*member).runs,
	actUnreachable: (*member).runs,
	actLeaderGone:  (*member).runs,
	actCampaign:    (*member).runs,
}

func (s *Schedule) stepMember(a action, m *member) {
	switch a {
	case actPropose:
		s.propose(m)
	case actConf:
		s.change(m)
	case actTransfer:
		// A target that does not fit is refused; that is part of the run.
		_ = s.Transfer(m.id, s.order[s.rand.IntN(len(s.order))])
	case actStart:
		s.Start(m.id)
	case actResume:
		m.paused = false
		s.trace("resume %d", m.id)
	case actTickOne:
		s.Tick(m.id)
	case actReady:
		s.Ready(m.id)
	case actPersist:
		s.Persist(m.id, 1+s.rand.IntN(3))
	case actApply:
		s.Apply(m.id, 1+s.rand.IntN(4))
	case actFlush:
		s.Flush(m.id)
	case actCrash:
		s.Crash(m.id, s.rand.IntN(len(m.disk.queue)+1), s.half && s.rand.IntN(2) == 0)
	case actPause:
		m.paused = true
		s.trace("pause %d", m.id)
	case actRead:
		s.Read(m.id)
	case actCompact:
		s.Flush(m.id)
		s.Compact(m.id, uint64(s.rand.IntN(int(m.machine.Index)+1)))
	case actUnreachable:
		s.Unreachable(m.id, s.order[s.rand.IntN(len(s.order))])
	case actLeaderGone:
		s.LeaderGone(m.id, m.core.Leader())
	case actCampaign:
		s.Campaign(m.id)
	}
}

// cut takes away one way, or isolates a member.
func (s *Schedule) cut() {
	one, other := s.order[s.rand.IntN(len(s.order))], s.order[s.rand.IntN(len(s.order))]
	if s.rand.IntN(2) == 0 {
		s.Cut(one, other, true)
		return
	}
	for _, id := range s.order {
		s.Cut(one, id, true)
		s.Cut(id, one, true)
	}
}

// mend restores the ways to and from one member, or all of them.
func (s *Schedule) mend() bool {
	if len(s.net.cut) == 0 {
		return false
	}
	id := s.order[s.rand.IntN(len(s.order))]
	all := s.rand.IntN(3) == 0
	for _, from := range s.order {
		for _, to := range s.order {
			if s.net.cut[[2]uint64{from, to}] && (all || from == id || to == id) {
				s.Cut(from, to, false)
			}
		}
	}
	return true
}

func (s *Schedule) stepNetwork(a action) bool {
	n := len(s.net.flying)
	if n == 0 {
		return false
	}
	i := s.rand.IntN(n)
	if !s.reorder {
		// The oldest on the same way.
		at := s.net.flying[i]
		i = slices.IndexFunc(s.net.flying, func(m raft.Message) bool { return m.From == at.From && m.To == at.To })
	}
	switch {
	case a == actDrop || n > maxFlying:
		s.trace("drop %s", describeMessage(s.Take(i)))
	case a == actDouble:
		s.trace("double %s", describeMessage(s.net.flying[i]))
		s.net.flying = append(s.net.flying, s.net.flying[i])
	default:
		if m := s.members[s.net.flying[i].To]; m != nil && m.paused {
			return false
		}
		s.Deliver(s.Take(i))
	}
	return true
}

func (s *Schedule) propose(m *member) (proposal, bool) {
	s.value++
	data := fmt.Sprintf("v%d", s.value)
	if s.rand.IntN(10) == 0 {
		data += strings.Repeat(".", s.rand.IntN(120))
	}
	index, term, err := s.Propose(m.id, []byte(data))
	p := proposal{m.id, m.life, index, term, data}
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
		if s.check.ledger[p.index-1].Term == p.term {
			s.acked[p.index] = p.data
		}
		return true
	})
}

// change proposes a random membership change.
func (s *Schedule) change(m *member) {
	conf := m.core.Status().Conf
	if conf.Joint() && s.rand.IntN(2) == 0 {
		// Refused while the automatic leave is under way.
		_, _, _ = s.ProposeConf(m.id, confchange.Change{})
		return
	}
	var change confchange.Change
	change.Joint = s.rand.IntN(4) == 0
	ids, next := conf.IDs(), s.nextID
	for range 1 + s.rand.IntN(3)*s.rand.IntN(2) {
		kind := confchange.Kind(s.rand.IntN(3))
		id := ids[s.rand.IntN(len(ids))]
		if kind != confchange.Remove && s.rand.IntN(3) > 0 && next <= s.maxIDs {
			id = next
			next++
		}
		change.Steps = append(change.Steps, confchange.Step{Kind: kind, ID: id})
	}
	if s.rand.IntN(10) == 0 {
		change.Context = []byte(refusal)
	}
	if _, _, err := s.ProposeConf(m.id, change); err != nil {
		// A change that does not fit is refused; that is part of the run.
		return
	}
	for ; s.nextID < next; s.nextID++ {
		s.Add(s.nextID)
	}
}
