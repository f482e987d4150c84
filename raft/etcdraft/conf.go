package etcdraft

import (
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// applyConfs brings the membership changes up to index into force, except those
// that do not fit and those that the state machine refused.
func (e *engine) applyConfs(index uint64) {
	for len(e.confs) > 0 && e.confs[0].index <= index && e.err == nil {
		at, change := e.confs[0].index, e.confs[0].change
		e.confs = e.confs[1:]
		next, err := confchange.Apply(e.conf, change)
		if err != nil || slices.Contains(e.refused, at) {
			// Every member finds the same misfit and leaves things as they are.
			continue
		}
		e.switchConf(at, change, next)
	}
	if len(e.confs) == 0 {
		e.refused = nil
	}
}

// switchConf leads the reference to the next configuration.
func (e *engine) switchConf(index uint64, change confchange.Change, next raft.ConfState) {
	for _, cc := range toChanges(change, next.Joint()) {
		got := fromConf(e.node.ApplyConfChange(cc))
		e.conf = got
	}
	if !e.conf.Equal(next) {
		e.fail("the change at index %d leads the reference to %v and not to %v", index, e.conf, next)
		return
	}
	if e.leader != nil {
		e.syncPeers()
	}
}

// toChanges is a change as the reference makes it. A change of several steps that
// does not lead into a joint configuration changes only learners, or is the first
// of all; it is made step by step, voters first.
func toChanges(change confchange.Change, joint bool) []*pb.ConfChangeV2 {
	if change.Leave() {
		return []*pb.ConfChangeV2{{}}
	}
	var steps, later []*pb.ConfChangeSingle
	for _, s := range change.Steps {
		cc := &pb.ConfChangeSingle{Type: kinds[s.Kind].Enum(), NodeId: new(s.ID)}
		if joint || s.Kind == confchange.AddVoter {
			steps = append(steps, cc)
		} else {
			later = append(later, cc)
		}
	}
	if joint {
		return []*pb.ConfChangeV2{{Transition: pb.ConfChangeTransitionJointImplicit.Enum(), Changes: steps}}
	}
	var out []*pb.ConfChangeV2
	for _, cc := range append(steps, later...) {
		out = append(out, &pb.ConfChangeV2{Changes: []*pb.ConfChangeSingle{cc}})
	}
	return out
}

var kinds = map[confchange.Kind]pb.ConfChangeType{
	confchange.AddVoter: pb.ConfChangeAddNode, confchange.AddLearner: pb.ConfChangeAddLearnerNode,
	confchange.Remove: pb.ConfChangeRemoveNode,
}

// confSettled goes on after entries were applied: with no change under way any
// more, its effects on this leader are known.
func (e *engine) confSettled() {
	if l := e.leader; l != nil && l.lastConf <= e.applied {
		l.leaving = !e.conf.IsVoter(e.id)
	}
}
