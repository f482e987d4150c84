package rafttest

import (
	"math/rand/v2"
	"slices"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// execution is a cluster on its way through a plan.
type execution struct {
	*Cluster
	plan  *Plan
	rand  *rand.Rand
	ticks int
	// faults counts those that happened.
	faults int
	// command and change are the next to be done; given and changed are where
	// they were put last.
	command, change int
	given, changed  attempt
}

// attempt is a place in a leader's log.
type attempt struct {
	index, term uint64
	tick        int
}

// tick lets everything happen between two ticks, and then the tick.
func (x *execution) tick() {
	for x.faults < len(x.plan.faults) && x.plan.faults[x.faults].tick <= x.ticks {
		x.strike(x.plan.faults[x.faults])
		x.faults++
	}
	if x.ticks == faultTicks {
		x.mendAll()
	}
	for range roundsPerTick {
		x.round()
		x.client()
		x.operator()
	}
	x.ticks++
	for _, id := range x.order {
		if x.members[id].runs() {
			x.Tick(id)
		}
	}
}

// strike lets a fault happen to the member that it names, if there is one.
func (x *execution) strike(f fault) {
	if f.member >= len(x.order) || f.other >= len(x.order) {
		return
	}
	id, other := x.order[f.member], x.order[f.other]
	m := x.members[id]
	switch f.kind {
	case faultCrash:
		if m.up() {
			x.Crash(id, f.amount, f.amount%2 == 0)
		}
	case faultBehead:
		if lead := x.Leader(); lead != raft.None {
			x.Crash(lead, f.amount, f.amount%2 == 0)
		}
	case faultStart:
		x.Start(id)
	case faultIsolate:
		for _, o := range x.order {
			x.Cut(id, o, true)
			x.Cut(o, id, true)
		}
	case faultCut:
		x.Cut(id, other, true)
	case faultMend:
		x.net.cut = nil
	case faultPause:
		m.paused = true
	case faultResume:
		m.paused = false
	default:
		x.disturb(f, m, other)
	}
}

// disturb does what only a member that runs can be asked for.
func (x *execution) disturb(f fault, m *member, other uint64) {
	if !m.runs() {
		return
	}
	switch f.kind {
	case faultTransfer:
		// A target that does not fit is refused; that is part of the plan.
		_ = x.Transfer(m.id, other)
	case faultCompact:
		x.Flush(m.id)
		x.Compact(m.id, m.machine.Index-min(uint64(f.amount), m.machine.Index))
	case faultRead:
		x.Read(m.id)
	}
}

// mendAll ends all faults.
func (x *execution) mendAll() {
	x.note(Event{Kind: EventHeal})
	x.net.cut = nil
	for _, id := range x.order {
		x.members[id].paused = false
		x.Start(id)
	}
}

// round gives every member and every message under way one turn.
func (x *execution) round() {
	loss, double := x.plan.loss, x.plan.double
	if x.ticks >= faultTicks {
		loss, double = 0, 0
	}
	for _, id := range x.order {
		m := x.members[id]
		if !m.runs() {
			continue
		}
		x.Ready(id)
		if x.rand.IntN(100) >= x.plan.slow {
			x.Persist(id, len(m.disk.queue))
		}
		x.Apply(id, len(m.applying))
	}
	n := len(x.net.flying)
	for range n {
		// What comes about meanwhile goes behind.
		msg := x.Take(0)
		to := x.members[msg.To]
		switch {
		case x.rand.IntN(100) < loss || n > maxFlying:
		case x.rand.IntN(100) < x.plan.idle || to != nil && to.paused:
			x.net.put(&msg)
		default:
			if x.rand.IntN(100) < double {
				x.net.put(&msg)
			}
			x.Deliver(msg)
		}
	}
}

// applied reports whether an attempt came to be applied somewhere, and whether
// it is certain that it never will be.
func (x *execution) applied(a attempt) (done, lost bool) {
	if a.index == 0 {
		return false, true
	}
	if a.index > uint64(len(x.check.ledger)) {
		return false, false
	}
	if x.check.ledger[a.index-1].entry.Term != a.term {
		return false, true
	}
	return slices.ContainsFunc(x.order, func(id uint64) bool {
		return x.members[id].up() && x.members[id].machine.Index >= a.index
	}), false
}

// client gives the next command to the leader. It loses patience with one that
// is not applied, and gives it again, in which case it may be committed twice.
func (x *execution) client() {
	done, lost := x.applied(x.given)
	if done {
		x.command++
		x.given = attempt{}
		lost = true
	}
	if x.command == x.plan.commands || x.ticks < x.command*faultTicks/x.plan.commands {
		return
	}
	if lost || x.ticks-x.given.tick > 2*x.cfg.ElectionTicks {
		x.give()
	}
}

func (x *execution) give() {
	lead := x.Leader()
	if lead == raft.None {
		return
	}
	if index, term, err := x.Propose(lead, []byte(command(x.command))); err == nil {
		x.given = attempt{index, term, x.ticks}
	}
}

// operator makes the next membership change. One is made again only when the
// earlier attempt can no longer be committed: a change that came twice could
// undo what came between.
func (x *execution) operator() {
	done, lost := x.applied(x.changed)
	if done {
		x.change++
		x.changed = attempt{}
		lost = true
	}
	lead := x.Leader()
	if x.change == len(x.plan.changes) || !lost || lead == raft.None ||
		x.ticks < x.change*faultTicks/len(x.plan.changes) {
		return
	}
	change := x.plan.changes[x.change]
	index, term, err := x.ProposeConf(lead, change)
	if err != nil {
		// Another is under way, or leadership is; it is tried again.
		return
	}
	x.changed = attempt{index, term, x.ticks}
	for _, s := range change.Steps {
		if s.Kind != confchange.Remove && x.members[s.ID] == nil {
			x.Add(s.ID)
		}
	}
}

// done reports whether everything of the plan is applied by every member of the
// last configuration, and every read is answered.
func (x *execution) done() bool {
	lead := x.members[x.Leader()]
	if lead == nil || x.command < x.plan.commands || x.change < len(x.plan.changes) || len(x.check.reads) > 0 {
		return false
	}
	conf := lead.core.Status().Conf
	return !conf.Joint() && !slices.ContainsFunc(conf.IDs(), func(id uint64) bool {
		m := x.members[id]
		return m.machine.Index < uint64(len(x.check.ledger)) || !m.core.Status().Conf.Equal(conf)
	})
}

func (x *execution) outcome() Outcome {
	conf, _ := x.check.conf()
	o := Outcome{Conf: *conf, Ticks: x.ticks}
	for i := range x.check.terms {
		if x.check.terms[i].leader != raft.None {
			o.Terms++
		}
	}
	seen := map[string]bool{}
	for i := range x.check.ledger {
		e := &x.check.ledger[i].entry
		data := string(e.Data)
		switch {
		case e.Type == raft.EntryConf || data == "":
		case seen[data]:
			o.Doubles++
		default:
			seen[data] = true
			o.Commands = append(o.Commands, data)
		}
	}
	return o
}
