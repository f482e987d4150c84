package raft

import (
	"errors"
	"slices"

	"chainfire/raft/progress"
	"chainfire/raft/quorum"
)

// leaderState is what only a leader has; it begins and ends with a leadership.
type leaderState struct {
	// progress has one entry per other member; peers is its sorted keys, so
	// that nothing depends on map order.
	progress map[uint64]*progress.Progress
	peers    []uint64
	// sessions counts the sessions of this leadership.
	sessions uint64
	// start is the index of the first entry of this term.
	start uint64
	// lastConf is the index of the last membership change that may be in the
	// log; while it is not applied no other may follow.
	lastConf uint64
	// round is the last read round opened.
	round uint64

	heartbeat   int
	check       int
	uncommitted uint64
	transferee  uint64
	transfer    int
	urged       bool
	// leaving says that a change in the log takes this leader out of the
	// voters. Nothing is appended after it, so that whoever holds that change
	// is up-to-date enough for the vote of this member.
	leaving bool
}

// release takes entries that are handed out to be applied out of the uncommitted
// size, into which only those of this leadership went.
func (l *leaderState) release(es []Entry) {
	for i := range es {
		if es[i].Index < l.start {
			continue
		}
		l.uncommitted -= min(l.uncommitted, es[i].Size())
	}
}

// becomeLeader begins a leadership with an entry of its own term, through which
// everything before it is committed (paper §8).
func (c *Core) becomeLeader() {
	c.role, c.lead, c.votes = Leader, c.id, nil
	c.elapsed, c.stall = 0, 0
	c.leader = leaderState{
		progress: map[uint64]*progress.Progress{},
		start:    c.log.last() + 1,
		// A change of an earlier leader may be in the log's uncommitted tail.
		lastConf: c.log.last(),
	}
	c.leader.leaving = c.inheritsLeaving()
	c.syncProgress()
	c.append(Entry{Type: EntryNormal})
}

// syncProgress gives every other member a progress, and drops those of members
// that are gone. A member that stays keeps its own, also when its role changes.
func (c *Core) syncProgress() {
	l := &c.leader
	l.peers = slices.DeleteFunc(c.conf.IDs(), func(id uint64) bool { return id == c.id })
	for id := range l.progress {
		if !slices.Contains(l.peers, id) {
			delete(l.progress, id)
		}
	}
	for _, id := range l.peers {
		if l.progress[id] != nil {
			continue
		}
		l.sessions++
		p := progress.New(l.sessions, c.log.last()+1, c.cfg.MaxInflight, c.cfg.MaxInflightBytes)
		// A new member counts as heard of until the first check.
		p.Active = true
		l.progress[id] = p
	}
}

// append adds one entry of the leader's own to its log.
func (c *Core) append(e Entry) uint64 {
	e.Index, e.Term = c.log.last()+1, c.term
	c.log.append([]Entry{e})
	c.leader.uncommitted += e.Size()
	return e.Index
}

// Propose appends one command to the log of a leader and returns where it
// stands. It is committed when an entry at that index with this term is. It
// returns ErrNotLeader, ErrTransferring (also while a change that removes this
// leader is under way) or ErrTooMuchUncommitted with nothing appended. The data
// must not change afterwards.
func (c *Core) Propose(data []byte) (index, term uint64, err error) {
	e := Entry{Type: EntryNormal, Data: data}
	switch {
	case c.err != nil:
		return 0, 0, c.err
	case c.role != Leader:
		return 0, 0, ErrNotLeader
	case c.leader.transferee != None || c.leader.leaving:
		return 0, 0, ErrTransferring
	case c.leader.uncommitted+e.Size() > c.cfg.MaxUncommittedBytes && c.leader.uncommitted > 0:
		return 0, 0, ErrTooMuchUncommitted
	}
	return c.append(e), c.term, nil
}

func (c *Core) committedInTerm() bool { return c.log.committed >= c.leader.start }

func (c *Core) tickLeader() {
	l := &c.leader
	for _, id := range l.peers {
		c.tickProgress(id, l.progress[id])
	}
	if l.check++; l.check >= c.cfg.ElectionTicks {
		l.check = 0
		if !c.checkQuorum() {
			c.becomeFollower(c.term, None)
			return
		}
	}
	if c.stall >= c.cfg.DiskStallTicks {
		// Heartbeats alone would keep a leader in office that can write nothing.
		c.becomeFollower(c.term, None)
		return
	}
	if l.transferee != None {
		if l.transfer++; l.transfer >= c.cfg.ElectionTicks {
			l.transferee = None
		}
	}
	if l.heartbeat++; l.heartbeat >= c.cfg.HeartbeatTicks {
		c.broadcastHeartbeat()
	}
}

func (c *Core) tickProgress(id uint64, p *progress.Progress) {
	p.SilentTicks++
	if p.State != progress.Snapshot {
		return
	}
	if p.SnapshotTicks++; p.SnapshotTicks%(4*c.cfg.ElectionTicks) == 0 {
		c.sendSnapshot(id, p)
	}
}

// checkQuorum reports whether a quorum was heard of since the last check
// (thesis §6.2).
func (c *Core) checkQuorum() bool {
	ok := quorum.Has(c.conf.Voters, c.conf.Outgoing, func(id uint64) bool {
		if id == c.id {
			return true
		}
		p := c.leader.progress[id]
		return p != nil && p.Active
	})
	for _, p := range c.leader.progress {
		p.Active = false
	}
	return ok
}

func (c *Core) broadcastHeartbeat() {
	c.leader.heartbeat = 0
	for _, id := range c.leader.peers {
		p := c.leader.progress[id]
		c.send(Message{
			Type: MsgHeartbeat, To: id, Session: p.Session, Round: c.leader.round,
			Commit: min(p.Match, c.log.committed),
		})
	}
}

// stepFromFollower handles what followers answer to this leader.
func (c *Core) stepFromFollower(m Message) {
	if c.role != Leader {
		return
	}
	p := c.leader.progress[m.From]
	if p == nil || p.Session != m.Session {
		return
	}
	p.Heard()
	p.Applied = max(p.Applied, m.Applied)
	if m.Round > p.Round && m.Round <= c.leader.round {
		p.Round = m.Round
		c.confirmReads()
	}
	switch {
	case m.Type == MsgHeartbeatResp:
		c.handleBeat(m, p)
	case m.Reject:
		c.handleReject(m, p)
	default:
		c.handleAck(m, p)
	}
	c.maybeHandOver()
}

func (c *Core) handleBeat(m Message, p *progress.Progress) {
	if p.State == progress.Snapshot && m.Applied+1 >= c.log.first() {
		// It has got there, and the acknowledgement was lost, as in a crash right
		// after the snapshot was in place. What is applied is durable.
		m.Index = m.Applied
		c.handleAck(m, p)
		return
	}
	if p.Beat() {
		c.pump(m.From, p, true)
	}
}

func (c *Core) handleAck(m Message, p *progress.Progress) {
	if p.State == progress.Quarantined {
		// It was sent before the loss, or says nothing of what was lost.
		return
	}
	if m.Index > c.log.last() {
		c.fail("%d acknowledged index %d but this leader's log ends at %d", m.From, m.Index, c.log.last())
		return
	}
	news := p.Acknowledge(m.Index, m.Round)
	switch p.State {
	case progress.Probe:
		p.BecomeReplicate()
	case progress.Snapshot:
		switch {
		case p.Match+1 >= c.log.first():
			p.BecomeReplicate()
		case news:
			// While that snapshot was on its way the log was compacted further.
			c.sendSnapshot(m.From, p)
		}
	}
	if news {
		c.maybeCommit()
	}
	c.urgeTransferee(m.From, p)
}

func (c *Core) handleReject(m Message, p *progress.Progress) {
	hint := m.Hint
	if m.HintTerm != 0 {
		hint, _ = c.log.meeting(min(hint, c.log.last()), m.HintTerm)
	}
	switch p.Reject(m.Index, hint, m.Round) {
	case progress.Suspect:
		c.leader.round++
		p.Challenge(c.leader.round)
	case progress.Lost:
		p.Quarantine()
	}
}

// maybeCommit commits what a quorum holds, if it is of this term: entries of
// earlier terms are committed only through it (paper §5.4.2).
func (c *Core) maybeCommit() {
	i := quorum.Committed(c.conf.Voters, c.conf.Outgoing, func(id uint64) uint64 {
		if id == c.id {
			return c.log.stable
		}
		if p := c.leader.progress[id]; p != nil {
			return p.Match
		}
		return 0
	})
	if i <= c.log.committed || !c.log.matches(i, c.term) {
		return
	}
	first := !c.committedInTerm()
	c.log.commitTo(i)
	if first && c.committedInTerm() {
		c.maybeLeaveJoint()
	}
}

// pumpAll sends every follower what it may be sent now.
func (c *Core) pumpAll() {
	for _, id := range c.leader.peers {
		c.pump(id, c.leader.progress[id], false)
	}
}

// pump sends entries within the in-flight limits; and an append without entries
// where it finds the meeting point, tells of a commit, or is asked for.
func (c *Core) pump(id uint64, p *progress.Progress, ask bool) {
	for !p.Blocked() && c.err == nil {
		more := p.Next <= c.log.last()
		tell := p.State == progress.Replicate && p.CommitSent < min(c.log.committed, p.Next-1)
		if !more && !tell && !ask && p.State != progress.Probe {
			return
		}
		if !c.sendAppend(id, p) {
			return
		}
		ask = false
	}
}

func (c *Core) sendAppend(id uint64, p *progress.Progress) bool {
	prev := p.Next - 1
	prevTerm, err := c.log.term(prev)
	var es []Entry
	if err == nil && p.Next <= c.log.last() {
		es, err = c.log.entries(p.Next, c.log.last()+1, c.cfg.MaxMessageBytes)
	}
	switch {
	case errors.Is(err, ErrCompacted):
		p.BecomeSnapshot()
		c.sendSnapshot(id, p)
		return false
	case err != nil:
		c.fail("read log from index %d for %d: %w", prev, id, err)
		return false
	case len(es) > 0 && (es[0].Index != prev+1 || es[0].Term < prevTerm):
		c.fail("log returned entry %d of term %d after entry %d of term %d", es[0].Index, es[0].Term, prev, prevTerm)
		return false
	}
	var size uint64
	for i := range es {
		size += es[i].Size()
	}
	c.send(Message{
		Type: MsgAppend, To: id, Session: p.Session, Round: c.leader.round,
		Index: prev, LogTerm: prevTerm, Commit: c.log.committed, Entries: es,
	})
	last := prev + uint64(len(es))
	p.CommitSent = max(p.CommitSent, min(c.log.committed, last))
	p.Sent(last, size)
	return true
}

func (c *Core) sendSnapshot(id uint64, p *progress.Progress) {
	c.send(Message{Type: MsgSnapshot, To: id, Session: p.Session, Round: c.leader.round})
}

// Unreachable takes in that messages to a member may have been lost; sending
// goes on carefully.
func (c *Core) Unreachable(id uint64) {
	if c.err != nil || c.role != Leader {
		return
	}
	if p := c.leader.progress[id]; p != nil && p.State == progress.Replicate {
		p.BecomeProbe()
	}
}

// TransferLeader hands leadership to a voter: proposals are refused until it
// has caught up and taken over, or an election timeout has passed (thesis
// §3.10). It returns ErrNotLeader or ErrNotMember.
func (c *Core) TransferLeader(to uint64) error {
	switch {
	case c.err != nil:
		return c.err
	case c.role != Leader:
		return ErrNotLeader
	case to == c.id:
		c.leader.transferee = None
		return nil
	case !c.conf.IsVoter(to) || c.leader.progress[to] == nil:
		return ErrNotMember
	}
	l := &c.leader
	l.transferee, l.transfer, l.urged = to, 0, false
	c.urgeTransferee(to, l.progress[to])
	return nil
}

func (c *Core) urgeTransferee(id uint64, p *progress.Progress) {
	l := &c.leader
	if l.transferee != id || l.urged || p.Match != c.log.last() {
		return
	}
	l.urged = true
	c.send(Message{Type: MsgTimeoutNow, To: id, Session: p.Session})
}
