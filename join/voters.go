package join

import (
	"fmt"
	"slices"

	"chainfire/raft/quorum"
)

// planVoters chooses the next change of the voter set: learners that are ready
// become voters, as many as make their number odd and no greater than what is
// wanted; or, with enough voters, one that stands by takes the place of one that
// has been silent for long. Never a change that makes the number even, never
// while another is under way, and never one after which no majority of living
// voters is there.
func (k *Keeper) planVoters(ready []uint64, v View) (Action, bool) {
	if len(v.Conf.Voters) >= k.opts.Voters || len(v.Conf.Voters)%2 == 1 && len(v.Conf.Voters)+2 > k.opts.Voters {
		return k.replacement(ready, v)
	}
	n := 1
	if len(v.Conf.Voters)%2 == 1 {
		n = 2
	}
	if len(ready) < n {
		if a, ok := k.replacement(ready, v); ok {
			return a, true
		}
		k.explain(ready, "caught up; stays a learner until one more has, so that the number of voters stays odd")
		return Action{}, false
	}
	return k.settled(Action{Kind: Promote, IDs: ready[:n]}, slices.Concat(v.Conf.Voters, ready[:n]), v)
}

// replacement chooses the voter that has been silent for longest, if that is too
// long, and the learner that takes its place. The voter stays a member: when it
// comes back it catches up and stands by in its turn.
func (k *Keeper) replacement(ready []uint64, v View) (Action, bool) {
	var dead MemberView
	for _, m := range v.Members {
		if m.ID != v.Self && !m.Active && m.Silent > max(k.opts.ReplaceAfter, dead.Silent) && slices.Contains(v.Conf.Voters, m.ID) {
			dead = m
		}
	}
	if dead.ID == 0 {
		k.explain(ready, fmt.Sprintf("stands by: there are %d voters", len(v.Conf.Voters)))
		return Action{}, false
	}
	if len(ready) == 0 {
		return Action{}, false
	}
	return k.settled(Action{Kind: Replace, IDs: []uint64{ready[0], dead.ID}}, exchanged(v.Conf.Voters, ready[0], dead.ID), v)
}

// exchanged are the voters with one in place of another.
func exchanged(voters []uint64, in, out uint64) []uint64 {
	next := slices.DeleteFunc(slices.Clone(voters), func(id uint64) bool { return id == out })
	return append(next, in)
}

// planExchange keeps the first promise that can be kept: a learner that has caught
// up takes the place of the member that it replaces. That one goes out for good,
// also when it came back meanwhile: what was promised stands.
func (k *Keeper) planExchange(successors []MemberView, v View) (Action, bool) {
	for _, m := range successors {
		a := Action{Kind: Exchange, IDs: []uint64{m.ID, m.Replaces}}
		next := v.Conf.Voters
		if slices.Contains(next, m.Replaces) {
			next = exchanged(next, m.ID, m.Replaces)
		}
		if a, ok := k.settled(a, next, v); ok {
			return a, true
		}
	}
	return Action{}, false
}

// staying leaves those out of the learners that are ready whose place is promised
// to another: they are about to go.
func staying(ready []uint64, v View) []uint64 {
	return slices.DeleteFunc(ready, func(id uint64) bool {
		return slices.ContainsFunc(v.Members, func(m MemberView) bool { return m.Replaces == id })
	})
}

// settled holds an action back while a change is under way, or while the voters
// of today, or those that it leads to, have no majority that lives.
func (k *Keeper) settled(a Action, next []uint64, v View) (Action, bool) {
	promoted := a.IDs
	if a.Kind == Replace || a.Kind == Exchange {
		promoted = a.IDs[:1]
	}
	lives := func(id uint64) bool {
		return id == v.Self || slices.ContainsFunc(v.Members, func(m MemberView) bool { return m.ID == id && m.Active })
	}
	switch {
	case v.Busy || v.Conf.Joint():
		k.explain(promoted, "caught up; waits for another membership change")
		return Action{}, false
	case !quorum.Has(v.Conf.Voters, next, lives):
		k.explain(promoted, "caught up; waits until a majority of the voters lives")
		return Action{}, false
	case a.Kind == Replace || a.Kind == Exchange:
		k.explain(promoted, fmt.Sprintf("caught up; takes the place of member %d", a.IDs[1]))
	default:
		k.explain(promoted, "caught up; is being promoted")
	}
	return a, true
}

func (k *Keeper) explain(ids []uint64, reason string) {
	for _, id := range ids {
		k.reasons[id] = reason
	}
}
