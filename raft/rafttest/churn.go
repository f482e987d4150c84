package rafttest

import (
	"chainfire/raft"
	"chainfire/raft/confchange"
)

// change proposes a random membership change, and reports whether there was one
// to propose.
func (s *Schedule) change(m *member) bool {
	conf := m.seen.conf.Clone()
	if conf.Joint() {
		if s.coin() {
			return false
		}
		// Refused while the automatic leave is under way.
		_, _, _ = s.ProposeConf(m.id, confchange.Change{})
		return true
	}
	var change confchange.Change
	next := s.nextID
	fresh := func() uint64 { next++; return next - 1 }
	switch ids := conf.IDs(); s.rand.IntN(6) {
	case 0:
		change.Steps = s.add(fresh())
	case 1:
		change.Steps = s.replace(m, &conf, fresh)
	case 2:
		change.Steps = s.swapRoles(m, &conf)
	case 3:
		change.Steps = []confchange.Step{{Kind: confchange.Remove, ID: ids[s.rand.IntN(len(ids))]}}
	default:
		change.Steps = s.several(m, ids, fresh)
	}
	change.Joint = len(change.Steps) > 0 && s.rand.IntN(4) == 0
	if s.rand.IntN(10) == 0 {
		change.Context = []byte(refusal)
	}
	return len(change.Steps) > 0 && s.proposeChange(m, &conf, change)
}

// proposeChange proposes a change that leaves a majority of members that can
// take part, and makes the members that come with it.
func (s *Schedule) proposeChange(m *member, conf *raft.ConfState, change confchange.Change) bool {
	if next, err := confchange.Apply(*conf, change); err == nil && !s.viable(&next) {
		return false
	}
	if _, _, err := s.ProposeConf(m.id, change); err != nil {
		// A change that does not fit is refused; that is part of the run.
		return true
	}
	for _, step := range change.Steps {
		for ; s.nextID <= step.ID; s.nextID++ {
			s.Add(s.nextID)
			s.drift(s.members[s.nextID])
		}
	}
	return true
}

// add adds a new member: as a learner, or without a keeper also as a voter.
func (s *Schedule) add(id uint64) []confchange.Step {
	if id > s.maxIDs {
		return nil
	}
	return []confchange.Step{{Kind: s.newcomer(), ID: id}}
}

func (s *Schedule) newcomer() confchange.Kind {
	if s.plan.keeper || s.coin() {
		return confchange.AddLearner
	}
	return confchange.AddVoter
}

// replace takes a voter out, one that was wiped if there is any, and puts a
// learner that has caught up in its place, or without a keeper any or a new one.
func (s *Schedule) replace(m *member, conf *raft.ConfState, fresh func() uint64) []confchange.Step {
	out := conf.Voters[s.rand.IntN(len(conf.Voters))]
	for _, id := range conf.Voters {
		if s.members[id].refusedByPeers {
			out = id
		}
	}
	steps := []confchange.Step{{Kind: confchange.Remove, ID: out}}
	for _, id := range conf.Learners {
		if s.plan.keeper && !m.keeper.promotable(s.Cluster, m, id) {
			continue
		}
		return append(steps, confchange.Step{Kind: confchange.AddVoter, ID: id})
	}
	if s.plan.keeper || s.nextID > s.maxIDs {
		return steps
	}
	return append(steps, confchange.Step{Kind: confchange.AddVoter, ID: fresh()})
}

// swapRoles demotes a voter or promotes a learner, or does both at once.
func (s *Schedule) swapRoles(m *member, conf *raft.ConfState) []confchange.Step {
	var steps []confchange.Step
	if len(conf.Voters) > 1 && s.coin() {
		steps = append(steps, confchange.Step{Kind: confchange.AddLearner, ID: conf.Voters[s.rand.IntN(len(conf.Voters))]})
	}
	if len(conf.Learners) > 0 {
		id := conf.Learners[s.rand.IntN(len(conf.Learners))]
		if !s.plan.keeper || m.keeper.promotable(s.Cluster, m, id) {
			steps = append(steps, confchange.Step{Kind: confchange.AddVoter, ID: id})
		}
	}
	return steps
}

// several draws up to three steps of any kind.
func (s *Schedule) several(m *member, ids []uint64, fresh func() uint64) []confchange.Step {
	var steps []confchange.Step
	made := s.nextID
	for range 1 + s.rand.IntN(3) {
		kind := confchange.Kind(s.rand.IntN(3))
		id := ids[s.rand.IntN(len(ids))]
		switch {
		case kind != confchange.Remove && s.rand.IntN(3) > 0 && made <= s.maxIDs:
			id = fresh()
			made++
			kind = s.newcomer()
		case kind == confchange.AddVoter && s.plan.keeper && !m.keeper.promotable(s.Cluster, m, id):
			continue
		}
		steps = append(steps, confchange.Step{Kind: kind, ID: id})
	}
	return steps
}

// keeper decides as the real one does (package join) which learners have caught
// up: those that in this session acknowledged something, are heard of, and hold
// and have applied what the log held when a round began, before the round took
// longer than an election timeout (thesis §4.2.1). It begins anew with each
// leadership.
type keeper struct {
	life, term uint64
	rounds     []round
}

// round is the catching-up of one learner.
type round struct {
	id uint64
	// target is the last index when it began, reached that of the round before
	// it, which the learner has caught up with.
	target, reached uint64
	began           int
	ready           bool
}

func (k *keeper) round(id uint64) *round {
	for i := range k.rounds {
		if k.rounds[i].id == id {
			return &k.rounds[i]
		}
	}
	return nil
}

// look moves the rounds of all learners on.
func (k *keeper) look(m *member, s *raft.Status, limit int) {
	if k.life != m.life || k.term != s.Term {
		*k = keeper{life: m.life, term: s.Term, rounds: k.rounds[:0]}
	}
	for i := range s.Peers {
		p := &s.Peers[i]
		r := k.round(p.ID)
		switch {
		case !s.Conf.IsLearner(p.ID):
			if r != nil {
				*r = round{id: p.ID, target: s.Last, began: m.ticks}
			}
			continue
		case r == nil:
			k.rounds = append(k.rounds, round{id: p.ID, target: s.Last, began: m.ticks})
			continue
		}
		switch held := min(p.Match, p.Applied); {
		case !p.Acked || !p.Active:
			r.ready = false
		case held >= r.target:
			*r = round{id: p.ID, target: s.Last, reached: r.target, began: m.ticks, ready: m.ticks-r.began <= limit}
		case m.ticks-r.began > limit:
			r.ready = false
		}
	}
}

// promotable looks and reports whether a learner is ready.
func (k *keeper) promotable(c *Cluster, m *member, id uint64) bool {
	s := c.status(m)
	k.look(m, s, c.cfg.ElectionTicks)
	r := k.round(id)
	if r == nil || !r.ready || !s.Conf.IsLearner(id) {
		return false
	}
	c.checkPromotion(m, id, r.reached)
	return true
}

// maxVoters is the number of voters beyond which the keeper promotes nobody.
const maxVoters = 5

// keep lets the leader's keeper look, and promotes as many learners as make the
// number of voters odd, in one change.
func (s *Schedule) keep(m *member) bool {
	var ready []confchange.Step
	conf := m.seen.conf.Clone()
	n := 1
	if len(conf.Voters)%2 == 1 {
		n = 2
	}
	for _, id := range conf.Learners {
		if len(ready) < n && m.keeper.promotable(s.Cluster, m, id) {
			ready = append(ready, confchange.Step{Kind: confchange.AddVoter, ID: id})
		}
	}
	if len(ready) < n || len(conf.Voters)+n > maxVoters || conf.Joint() || s.status(m).ConfPending {
		return len(conf.Learners) > 0
	}
	return s.proposeChange(m, &conf, confchange.Change{Steps: ready})
}
