package raft

import (
	"fmt"

	"chainfire/raft/confchange"
)

// A configuration takes effect when its entry is applied. One change at a time
// is under way, and none before the leader has committed an entry of its own
// term: without these two rules two majorities could be disjoint (thesis §4.1,
// and Ongaro's note of 2015 on single-server changes).

// confBusy reports whether a membership change must wait.
func (c *Core) confBusy() bool {
	return !c.committedInTerm() || c.leader.lastConf > c.log.applied
}

// ProposeConf appends a membership change to the log of a leader and returns
// where it stands. It returns ErrNotLeader, ErrTransferring, ErrConfPending, or
// ErrBadChange wrapped around the reason, with nothing appended.
func (c *Core) ProposeConf(change confchange.Change) (index, term uint64, err error) {
	switch {
	case c.err != nil:
		return 0, 0, c.err
	case c.role != Leader:
		return 0, 0, ErrNotLeader
	case c.leader.transferee != None || c.leader.leaving:
		return 0, 0, ErrTransferring
	case c.confBusy():
		return 0, 0, ErrConfPending
	}
	if len(change.Steps) > maxSteps {
		return 0, 0, fmt.Errorf("%w: %d steps, at most %d are possible", ErrBadChange, len(change.Steps), maxSteps)
	}
	if _, err := confchange.Apply(c.conf, change); err != nil {
		return 0, 0, fmt.Errorf("%w: %w", ErrBadChange, err)
	}
	return c.appendConf(change), c.term, nil
}

func (c *Core) appendConf(change confchange.Change) uint64 {
	i := c.append(Entry{Type: EntryConf, Data: EncodeChange(change)})
	c.leader.lastConf = i
	c.leader.leaving = c.takesOut(change)
	return i
}

// takesOut reports whether a change takes this member out of the voters.
func (c *Core) takesOut(change confchange.Change) bool {
	next, err := confchange.Apply(c.conf, change)
	return err == nil && !next.IsVoter(c.id)
}

// inheritsLeaving reports whether the uncommitted tail of the log, left by an
// earlier leader, holds a change that takes this member out.
func (c *Core) inheritsLeaving() bool {
	for lo, hi := c.log.committed+1, c.log.last()+1; lo < hi; {
		es, err := c.log.entries(lo, hi, c.cfg.MaxApplyingBytes)
		if err != nil {
			c.fail("read uncommitted entries from %d: %w", lo, err)
			return false
		}
		for i := range es {
			if es[i].Type != EntryConf {
				continue
			}
			change, err := DecodeChange(es[i].Data)
			if err != nil {
				c.fail("entry %d: %w", es[i].Index, err)
				return false
			}
			if c.takesOut(change) {
				return true
			}
		}
		lo = es[len(es)-1].Index + 1
	}
	return false
}

// switchConf brings an applied configuration into force.
func (c *Core) switchConf(next ConfState) {
	c.conf = next
	if c.role != Leader {
		return
	}
	c.syncProgress()
	if t := c.leader.transferee; t != None && !c.conf.IsVoter(t) {
		c.leader.transferee = None
	}
	// A smaller quorum may already hold more.
	c.maybeCommit()
	c.confirmReads()
}

// confSettled goes on after entries were applied: with no change under way any
// more, whatever became of the last one, its effects on this leader are known.
func (c *Core) confSettled() {
	if c.leader.lastConf <= c.log.applied {
		c.leader.leaving = !c.conf.IsVoter(c.id)
	}
	c.maybeLeaveJoint()
}

// maybeHandOver ends the leadership of a leader that is no voter any more, once
// a voter holds the whole log and has applied the change: that one can win by
// the votes of the new configuration alone. A leader that left earlier could
// leave behind voters who do not know that the change is committed, and so need
// the votes of members that are being switched off.
func (c *Core) maybeHandOver() {
	if !c.leader.leaving || c.conf.IsVoter(c.id) {
		return
	}
	for _, id := range c.leader.peers {
		p := c.leader.progress[id]
		if c.conf.IsVoter(id) && p.Match == c.log.last() && p.Applied >= c.leader.lastConf {
			c.send(Message{Type: MsgTimeoutNow, To: id, Session: p.Session})
			c.becomeFollower(c.term, None)
			return
		}
	}
}

// maybeLeaveJoint appends the change that leaves a joint configuration, once:
// the change itself keeps confBusy true until it is applied.
func (c *Core) maybeLeaveJoint() {
	if c.conf.Joint() && c.conf.AutoLeave && !c.confBusy() {
		c.appendConf(confchange.Change{})
	}
}
