package etcdraft

import (
	"slices"

	"chainfire/raft"
)

// The election timer of a member that does not lead. The reference has one too,
// which never runs out here: TickQuiesced moves it on, for what depends on when a
// leader was last heard of, without looking at it.

func (e *engine) resetElection() {
	e.elapsed = 0
	e.timeout = e.cfg.ElectionTicks + e.cfg.Jitter(e.cfg.Spread())
}

// Tick moves the member's time on by one tick.
func (e *engine) Tick() {
	e.input(func() {
		e.tickReads()
		if len(e.log.writes) > 0 {
			e.stall++
		}
		if e.leader != nil {
			e.tickLeader()
		} else {
			e.tickFollower()
		}
	})
}

func (e *engine) tickFollower() {
	e.elapsed++
	e.node.TickQuiesced()
	switch {
	case !e.promotable():
	case e.SoleVoter():
		// It waits for nobody; but a vote that its own disk still writes must
		// not be outdated by the next one.
		if e.now.role != raft.Candidate {
			e.campaign()
		}
	case e.elapsed >= e.timeout:
		e.campaign()
	}
}

// promotable reports whether this member may ask for votes. That no committed
// membership change is unapplied, the reference sees to.
func (e *engine) promotable() bool {
	return e.conf.IsVoter(e.id) && e.log.snap == nil && e.stall < e.cfg.DiskStallTicks
}

// Campaign starts an election at once, with a pre-vote.
func (e *engine) Campaign() {
	e.input(func() {
		if e.leader == nil && e.promotable() {
			e.campaign()
		}
	})
}

func (e *engine) campaign() {
	// The reference refuses by doing nothing.
	_ = e.node.Campaign()
	e.drain()
	if e.now.role != raft.Follower {
		e.rejectReads()
		e.resetElection()
	}
}

// LeaderGone tells the engine that the host knows the leader's process to be
// gone: the member asks for votes after a short random wait.
func (e *engine) LeaderGone(id uint64) {
	e.input(func() {
		if e.now.role != raft.Follower || id == raft.None || e.now.lead != id {
			return
		}
		for range e.cfg.ElectionTicks - e.elapsed {
			e.node.TickQuiesced()
		}
		e.elapsed = max(e.elapsed, e.cfg.ElectionTicks)
		e.timeout = min(e.timeout, e.elapsed+1+e.cfg.Jitter(e.cfg.ElectionTicks/2+1))
	})
}

// SoleVoter reports whether this member alone decides everything.
func (e *engine) SoleVoter() bool {
	return !e.conf.Joint() && slices.Equal(e.conf.Voters, []uint64{e.id})
}
