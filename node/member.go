package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"chainfire"
	"chainfire/internal/sched"
	"chainfire/join"
	"chainfire/machine"
	"chainfire/raft"
	"chainfire/raft/confchange"
	"chainfire/replica"
)

// The explicit membership calls do what they say. They work on any member: what
// only the leader can do travels to it as a proposal.

func (n *Node) memberChange(added uint64) *chainfire.MemberChange {
	out := &chainfire.MemberChange{Header: n.Header()}
	conf := n.machine.Conf()
	for _, m := range n.machine.Members() {
		if m.Reserved {
			continue
		}
		i := info(m, conf)
		out.Members = append(out.Members, i)
		if m.ID == added {
			out.Member = &i
		}
	}
	return out
}

// Members implements chainfire.Cluster.
func (n *Node) Members(ctx context.Context, linearizable bool) (*chainfire.MemberChange, error) {
	if linearizable {
		ctx, cancel := n.withTimeout(ctx)
		defer cancel()
		if err := n.linearize(ctx); err != nil {
			return nil, err
		}
	}
	return n.memberChange(0), nil
}

// MemberAdd implements chainfire.Cluster.
func (n *Node) MemberAdd(ctx context.Context, r *chainfire.MemberAddRequest) (*chainfire.MemberChange, error) {
	if n.learner() {
		return nil, chainfire.ErrLearner
	}
	for _, u := range r.PeerURLs {
		if err := join.CheckURL(u); err != nil {
			return nil, chainfire.ErrInvalidPeerURL
		}
	}
	if len(r.PeerURLs) == 0 {
		return nil, chainfire.ErrInvalidPeerURL
	}
	if !r.Learner {
		if err := n.wouldLoseQuorum(ctx, n.machine.Conf(), 1); err != nil {
			return nil, err
		}
	}
	kind := confchange.AddVoter
	if r.Learner {
		if err := n.roomForLearner(r.PeerURLs); err != nil {
			return nil, err
		}
		kind = confchange.AddLearner
	}
	id, err := n.addByHand(ctx, &machine.Reserve{PeerURLs: r.PeerURLs, Manual: true}, kind)
	if err != nil {
		return nil, err
	}
	return n.memberChange(id), nil
}

// roomForLearner refuses a learner where there are as many as there may be. A peer URL
// that is taken is refused for that, as by etcd.
func (n *Node) roomForLearner(peerURLs []string) error {
	if n.opts.MaxLearners == 0 || len(n.machine.Conf().Learners) < n.opts.MaxLearners {
		return nil
	}
	taken := slices.ContainsFunc(n.machine.Members(), func(m machine.MemberRecord) bool {
		return slices.ContainsFunc(m.PeerURLs, func(u string) bool { return slices.Contains(peerURLs, u) })
	})
	if taken {
		return chainfire.ErrPeerURLExists
	}
	return chainfire.ErrTooManyLearners
}

// wouldLoseQuorum refuses to add a voter that has not started while the voters
// that are up are no majority of the larger configuration.
func (n *Node) wouldLoseQuorum(ctx context.Context, conf raft.ConfState, added int) error {
	cs, err := n.ClusterStatus(ctx)
	if err != nil {
		return err
	}
	active := 0
	for _, m := range cs.Members {
		if conf.IsVoter(m.ID) && m.Active {
			active++
		}
	}
	if len(conf.Voters) > 1 && active < (len(conf.Voters)+added)/2+1 {
		return chainfire.ErrMemberNotReady
	}
	return nil
}

// MemberUpdate implements chainfire.Cluster.
func (n *Node) MemberUpdate(ctx context.Context, id uint64, peerURLs []string) (*chainfire.MemberChange, error) {
	if n.learner() {
		return nil, chainfire.ErrLearner
	}
	for _, u := range peerURLs {
		if err := join.CheckURL(u); err != nil {
			return nil, chainfire.ErrInvalidPeerURL
		}
	}
	if len(peerURLs) == 0 {
		return nil, chainfire.ErrInvalidPeerURL
	}
	if _, err := n.do(ctx, &machine.Command{UpdateMember: &machine.UpdateMember{ID: id, PeerURLs: peerURLs}}); err != nil {
		return nil, err
	}
	return n.memberChange(id), nil
}

// MemberPromote implements chainfire.Cluster.
func (n *Node) MemberPromote(ctx context.Context, id uint64) (*chainfire.MemberChange, error) {
	out, err := n.promote(ctx, id)
	n.counts.promotion(err)
	return out, err
}

func (n *Node) promote(ctx context.Context, id uint64) (*chainfire.MemberChange, error) {
	if n.learner() {
		return nil, chainfire.ErrLearner
	}
	conf := n.machine.Conf()
	switch {
	case conf.IsVoter(id):
		return nil, chainfire.ErrMemberNotLearner
	case !conf.IsLearner(id):
		return nil, chainfire.ErrMemberNotFound
	}
	if n.readReplica(id) {
		return nil, chainfire.ErrReadReplica
	}
	cs, err := n.ClusterStatus(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range cs.Members {
		if m.ID == id && !caughtUp(&m, cs.CommitIndex) {
			return nil, chainfire.ErrLearnerNotReady
		}
	}
	c := confchange.Change{Steps: []confchange.Step{{Kind: confchange.AddVoter, ID: id}}}
	if i := slices.IndexFunc(n.machine.Members(), func(m machine.MemberRecord) bool { return m.ID == id && m.Replaces != 0 }); i >= 0 {
		// It was promised the place of another, which goes with the same change.
		c.Joint = true
		c.Steps = append(c.Steps, confchange.Step{Kind: confchange.Remove, ID: n.machine.Members()[i].Replaces})
	}
	if err := n.change(ctx, c); err != nil {
		return nil, err
	}
	return n.memberChange(id), nil
}

// caughtUp reports whether a learner may be promoted by hand, as the leader sees
// it. It must have acknowledged and applied something in this leadership: a new
// leader counts everyone as heard of, and knows nothing of those that are gone or
// never came. What the leader's log held is the bar, less what no member could
// have applied in the time of one round trip.
func caughtUp(m *chainfire.MemberStatus, commit uint64) bool {
	held := min(m.MatchIndex, m.AppliedIndex)
	return m.Active && held > 0 && held+maxPromoteLag >= commit
}

// maxPromoteLag is how many entries a learner that is promoted by hand may be
// behind.
const maxPromoteLag = 1000

// MoveLeader implements chainfire.Maintenance.
func (n *Node) MoveLeader(ctx context.Context, target uint64) error {
	if n.lead.Load() != n.id {
		return chainfire.ErrNotLeader
	}
	var err error
	if !n.inLoop(func(r *replica.Replica) { err = r.Core().TransferLeader(target) }) {
		return chainfire.ErrStopped
	}
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return chainfire.ErrNotLeader
	case err != nil:
		return chainfire.ErrBadLeaderTransferee
	}
	ctx, cancel := sched.WithTimeout(ctx, n.sched, 2*n.opts.election(), nil)
	defer cancel()
	if err := n.untilLeader(ctx, func(lead uint64) bool { return lead == target }); err != nil {
		return chainfire.ErrTimeoutTransfer
	}
	return nil
}

// untilLeader waits until the leader this member knows satisfies ok.
func (n *Node) untilLeader(ctx context.Context, ok func(lead uint64) bool) error {
	for {
		n.leaderMu.Lock()
		c := n.leaderSignal
		n.leaderMu.Unlock()
		if ok(n.lead.Load()) {
			return nil
		}
		switch n.sched.Wait(c, n.stop, ctx.Done()) {
		case 1:
			return chainfire.ErrStopped
		case 2:
			return ctx.Err()
		}
	}
}

// pause waits, unless the context or the node ends first.
func (n *Node) pause(ctx context.Context, d time.Duration) error {
	switch {
	case sched.Sleep(ctx, n.sched, d, n.stop):
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return chainfire.ErrStopped
}

// handOver gives leadership to the voter that is furthest, as before a stop.
func (n *Node) handOver(ctx context.Context) {
	st := n.status()
	var best raft.PeerStatus
	for _, p := range st.Peers {
		if st.Conf.IsVoter(p.ID) && p.Active && p.Match > best.Match {
			best = p
		}
	}
	if best.ID == raft.None {
		return
	}
	if err := n.MoveLeader(ctx, best.ID); err != nil {
		n.log.Warn("leadership was not handed over before the stop", "to", best.ID, "err", err)
	}
}
