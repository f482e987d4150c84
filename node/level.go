package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"chainfire"
	"chainfire/internal/sched"
	"chainfire/machine"
	"chainfire/raft"
)

// maxIntroduceWait bounds the time between two attempts of introduceProgram.
const maxIntroduceWait = 10 * time.Second

// introduceProgram tells the cluster which version and feature level this member
// runs, and where clients reach it, if its record says something else, as after an upgrade. It begins when the
// member is in the configuration, and tries until it is told or the node stops.
func (n *Node) introduceProgram() {
	ctx, cancel := n.untilStop(context.Background())
	defer cancel()
	wait := n.opts.election()
	for {
		err := n.tryIntroduce(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, chainfire.ErrStopped) {
			return
		}
		n.log.Warn("the version of this member is not known to the cluster yet", "version", n.opts.Version, "retry_in", wait, "err", err)
		if n.pause(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, maxIntroduceWait)
	}
}

// tryIntroduce compares the record as the cluster has it, not as this member did
// before it was stopped: another version may have run here since.
func (n *Node) tryIntroduce(ctx context.Context) error {
	if err := n.untilLeader(ctx, func(lead uint64) bool { return lead != raft.None }); err != nil {
		return err
	}
	ctx, cancel := n.withTimeout(ctx)
	defer cancel()
	if err := n.linearize(ctx); err != nil {
		return err
	}
	members := n.machine.Members()
	i := slices.IndexFunc(members, func(m machine.MemberRecord) bool { return m.ID == n.id })
	if i < 0 {
		return chainfire.ErrMemberNotFound
	}
	version, level := n.opts.Version, n.opts.Bounds.FeatureLevel
	urls := n.opts.AdvertiseClient
	if len(urls) == 0 || slices.Equal(members[i].ClientURLs, urls) {
		urls = nil
	}
	var incarnation uint64
	if members[i].Incarnation == 0 {
		incarnation = n.incarnation // it began the cluster with others, by a list
	}
	if members[i].Version == version && members[i].Level == level && urls == nil && incarnation == 0 {
		return nil
	}
	_, err := n.do(ctx, &machine.Command{UpdateMember: &machine.UpdateMember{
		ID: n.id, Version: version, Level: level, ClientURLs: urls, Incarnation: incarnation,
	}})
	if err == nil {
		n.log.Info("the cluster knows the version of this member", "version", version, "feature_level", level)
	}
	return err
}

// raiseLevel has the feature level raised, once every member knows a higher one. A
// leader does not go beyond what it knows itself, whatever is still written of it.
func (n *Node) raiseLevel() {
	to := min(n.machine.RaisableTo(), n.opts.Bounds.FeatureLevel)
	if to <= n.machine.Level() || !n.watch.beginRaising() {
		return
	}
	n.tasks.Go(func() {
		defer n.watch.endRaising()
		ctx, cancel := sched.WithTimeout(context.Background(), n.sched, n.opts.RequestTimeout, nil)
		defer cancel()
		if _, err := n.do(ctx, &machine.Command{RaiseLevel: &machine.RaiseLevel{Level: to}}); err != nil {
			n.log.Warn("the feature level was not raised; it is tried again", "feature_level", to, "err", err)
			return
		}
		n.log.Info("the feature level of the cluster is raised", "feature_level", to)
	})
}

// beginRaising reports whether nobody raises the level yet, and claims it.
func (k *keeping) beginRaising() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	began := !k.raising
	k.raising = true
	return began
}

func (k *keeping) endRaising() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.raising = false
}
