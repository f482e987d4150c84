package raft

import (
	"errors"
	"fmt"
	"slices"

	"chainfire/raft/confchange"
)

// Config is what a core is made from. Zero values of the limits mean the
// defaults named.
type Config struct {
	// ID is this member. It is never 0 and never reused.
	ID uint64
	// HardState is the last one persisted; Applied is the last index that the
	// state machine holds, Conf the configuration in force there.
	HardState HardState
	Applied   uint64
	Conf      ConfState
	// Storage is the durable log.
	Storage Storage
	// ElectionTicks is the base election timeout; the timeout in force is drawn
	// from [ElectionTicks, ElectionTicks+Spread()). Default 10.
	ElectionTicks int
	// HeartbeatTicks is the heartbeat interval. Default 1.
	HeartbeatTicks int
	// Jitter returns a number in [0, n). Chance is an argument.
	Jitter func(n int) int
	// Nonce differs at each start of the member, so that an answer meant for an
	// earlier life is not taken for one of this life.
	Nonce uint64
	// MaxMessageBytes bounds the entries of one append. Default 1 MiB.
	MaxMessageBytes uint64
	// MaxInflight and MaxInflightBytes bound the appends sent to one follower
	// and not acknowledged. Defaults 64 and 16 MiB.
	MaxInflight      int
	MaxInflightBytes uint64
	// MaxUncommittedBytes bounds the leader's own entries that are not applied
	// yet; a proposal above it is refused. Default 256 MiB.
	MaxUncommittedBytes uint64
	// MaxApplyingBytes bounds the entries handed out as committed and not
	// reported applied; at least one entry is always handed out. Default 8 MiB.
	MaxApplyingBytes uint64
	// DiskStallTicks is how long a leader's own disk may hold a write before
	// it gives leadership up. Default 8·ElectionTicks.
	DiskStallTicks int
	// Checked makes the core verify its invariants after every input.
	Checked bool
}

// Spread is how many ticks chance adds to the election timeout, less one: three quarters
// of it (paper §9.3). The whole of it makes a cluster wait longer for the first of its
// followers; much less lets two of them ask for the same votes too often.
func (c *Config) Spread() int { return c.ElectionTicks - c.ElectionTicks/4 }

func (c *Config) fillLimits() error {
	if c.ID == None || c.Storage == nil || c.Jitter == nil {
		return errors.New("raft config needs ID, Storage and Jitter")
	}
	def := func(v *uint64, d uint64) {
		if *v == 0 {
			*v = d
		}
	}
	if c.ElectionTicks == 0 {
		c.ElectionTicks = 10
	}
	if c.HeartbeatTicks == 0 {
		c.HeartbeatTicks = 1
	}
	if c.HeartbeatTicks >= c.ElectionTicks {
		return fmt.Errorf("heartbeat of %d ticks must be shorter than the election timeout of %d", c.HeartbeatTicks, c.ElectionTicks)
	}
	if c.MaxInflight == 0 {
		c.MaxInflight = 64
	}
	if c.DiskStallTicks == 0 {
		c.DiskStallTicks = 8 * c.ElectionTicks
	}
	def(&c.MaxMessageBytes, 1<<20)
	def(&c.MaxInflightBytes, 16<<20)
	def(&c.MaxUncommittedBytes, 256<<20)
	def(&c.MaxApplyingBytes, 8<<20)
	return c.Conf.Validate()
}

// Core is one member's consensus. It belongs to one goroutine. After each group
// of inputs the host takes a Ready and carries it out; every Persist is answered
// by Persisted and every Committed by Applied, in order, whenever they are done.
type Core struct {
	cfg  Config
	id   uint64
	term uint64
	vote uint64
	lead uint64
	role Role
	log  raftLog

	conf ConfState
	// confs are the changes handed out as committed and not yet applied.
	confs []pendingConf
	// refused are the indexes of changes that the state machine refused.
	refused []uint64
	// handouts are the groups of entries handed out and not yet applied.
	handouts []handout

	elapsed int
	timeout int
	votes   map[uint64]bool
	// stall counts the ticks since the oldest write was handed out.
	stall int

	leader leaderState
	reads  readState

	seq     uint64
	handed  HardState
	msgs    []Message
	durable []Message // to be sent once everything so far is durable
	// ownVote is the term of a vote for this member that is not handed out yet.
	ownVote uint64
	amnesia bool
	err     error
}

type pendingConf struct {
	index  uint64
	change confchange.Change
}

type handout struct{ last, bytes uint64 }

// New makes a core as its member was last durable.
func New(cfg Config) (*Core, error) {
	if err := cfg.Fill(); err != nil {
		return nil, err
	}
	last := cfg.Storage.LastIndex()
	c := &Core{
		cfg: cfg, id: cfg.ID, conf: cfg.Conf.Clone(),
		term: cfg.HardState.Term, vote: cfg.HardState.Vote, handed: cfg.HardState,
		log: newLog(cfg.Storage, cfg.HardState.Commit, cfg.Applied),
	}
	// A crash between a snapshot's installation and the hard state that goes
	// with it leaves a log of a later term, in which this member cannot have
	// voted.
	lastTerm, err := cfg.Storage.Term(last)
	if err != nil {
		return nil, fmt.Errorf("read term of last index %d: %w", last, err)
	}
	if lastTerm > c.term {
		c.term, c.vote = lastTerm, None
	}
	c.reads.batch = cfg.Nonce << 32
	c.becomeFollower(c.term, None)
	return c, nil
}

// Err is the reason for which the core stopped, or nil. A stopped core takes no
// inputs and puts nothing out; the host stops the member.
func (c *Core) Err() error { return c.err }

func (c *Core) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// Tick moves the member's time on by one tick.
func (c *Core) Tick() {
	if c.err != nil {
		return
	}
	c.tickReads()
	if len(c.log.writes) > 0 {
		c.stall++
	}
	if c.role == Leader {
		c.tickLeader()
	} else {
		c.tickFollower()
	}
	c.check()
}

// Step takes in a message of a peer.
func (c *Core) Step(m Message) {
	if c.err != nil || m.From == None || m.From == c.id || m.To != c.id {
		return
	}
	c.learnCommit(m)
	if c.admit(m) {
		c.dispatch(m)
	}
	c.check()
}

// admit applies the rules of terms (paper §5.1) and reports whether the message
// is still of interest.
func (c *Core) admit(m Message) bool {
	switch {
	case m.Term > c.term:
		return c.admitNewer(m)
	case m.Term < c.term:
		c.answerOlder(m)
		return false
	}
	return true
}

func (c *Core) admitNewer(m Message) bool {
	switch m.Type {
	case MsgVote, MsgPreVote:
		// Whoever hears from a leader lets nobody disturb it (thesis §4.2.3).
		if c.hearsLeader() && !m.Transfer {
			return false
		}
		if m.Type == MsgPreVote {
			return true
		}
		// The time until this member's own election runs on unless it gives its
		// vote: else one that nobody may vote for could put it off for ever.
		elapsed, timeout := c.elapsed, c.timeout
		c.becomeFollower(m.Term, None)
		c.elapsed, c.timeout = elapsed, timeout
	case MsgPreVoteResp:
		if !m.Reject {
			// A grant carries the term that is asked for, not one that is.
			return true
		}
		c.becomeFollower(m.Term, None)
	case MsgAppend, MsgHeartbeat, MsgSnapshot:
		c.becomeFollower(m.Term, m.From)
	default:
		c.becomeFollower(m.Term, None)
	}
	return true
}

// hearsLeader reports whether a leader was heard of within the minimal election
// timeout, or is this member.
func (c *Core) hearsLeader() bool {
	return c.lead != None && (c.role == Leader || c.elapsed < c.cfg.ElectionTicks)
}

// answerOlder teaches the current term to those who ask in an older one.
func (c *Core) answerOlder(m Message) {
	switch m.Type {
	case MsgAppend, MsgHeartbeat, MsgSnapshot:
		c.send(Message{Type: MsgAppendResp, To: m.From, Session: m.Session, Index: m.Index, Reject: true})
	case MsgPreVote:
		c.send(c.tellCommit(Message{Type: MsgPreVoteResp, To: m.From, Reject: true}))
	case MsgVote:
		c.send(c.tellCommit(Message{Type: MsgVoteResp, To: m.From, Reject: true}))
	case MsgReadIndex:
		c.send(Message{Type: MsgReadIndexResp, To: m.From, Round: m.Round, Reject: true})
	}
}

func (c *Core) dispatch(m Message) {
	switch m.Type {
	case MsgVote, MsgPreVote:
		c.handleVote(m)
	case MsgVoteResp, MsgPreVoteResp:
		c.handleVoteResp(m)
	case MsgAppend, MsgHeartbeat, MsgSnapshot:
		c.stepFromLeader(m)
	case MsgAppendResp, MsgHeartbeatResp:
		c.stepFromFollower(m)
	case MsgTimeoutNow:
		c.handleTimeoutNow(m)
	case MsgReadIndex:
		c.handleReadIndex(m)
	case MsgReadIndexResp:
		c.handleReadIndexResp(m)
	}
}

// Persisted takes in that the Persist numbered seq, and every one before it, is
// durable.
func (c *Core) Persisted(seq uint64) {
	if c.err != nil {
		return
	}
	vote := c.log.persisted(seq)
	c.stall = 0
	if vote != 0 && vote == c.term && c.role == Candidate {
		c.recordVote(c.id, true)
	}
	if c.role == Leader {
		c.maybeCommit()
	}
	c.check()
}

// Applied takes in that the state machine holds everything up to index. The
// membership changes among it come into force now.
func (c *Core) Applied(index uint64) {
	if c.err != nil || index <= c.log.applied {
		return
	}
	if index > c.log.applying {
		c.fail("index %d was applied but only %d was handed out", index, c.log.applying)
		return
	}
	c.log.applied = index
	for len(c.handouts) > 0 && c.handouts[0].last <= index {
		c.handouts = c.handouts[1:]
	}
	for len(c.confs) > 0 && c.confs[0].index <= index {
		at, change := c.confs[0].index, c.confs[0].change
		c.confs = c.confs[1:]
		next, err := confchange.Apply(c.conf, change)
		if err != nil || slices.Contains(c.refused, at) {
			// Every member finds the same misfit and leaves things as they are.
			continue
		}
		c.switchConf(next)
	}
	if len(c.confs) == 0 {
		c.refused = nil
	}
	if c.role == Leader {
		c.confSettled()
	}
	c.check()
}

// RefuseConf takes in, before Applied of its index, that the state machine
// refused the membership change at that index, as it does on every member alike.
// The configuration stays as it is. A change that leaves a joint configuration
// must not be refused.
func (c *Core) RefuseConf(index uint64) { c.refused = append(c.refused, index) }

// Ready takes what the inputs so far have led to.
func (c *Core) Ready() Ready {
	if c.err != nil {
		return Ready{}
	}
	c.flushReads()
	if c.role == Leader {
		c.pumpAll()
	}
	if c.err != nil {
		return Ready{}
	}
	rd := Ready{Committed: c.takeCommitted()}
	rd.Persist = c.takePersist()
	rd.Messages, c.msgs = c.msgs, nil
	rd.Reads, c.reads.done = c.reads.done, nil
	if c.err != nil {
		return Ready{}
	}
	return rd
}

func (c *Core) hardState() HardState {
	return HardState{Term: c.term, Vote: c.vote, Commit: c.log.committed}
}

func (c *Core) takePersist() *Persist {
	hs := c.hardState()
	l := &c.log
	changed := hs.Term != c.handed.Term || hs.Vote != c.handed.Vote || c.handed.Commit < l.awaited
	snap := l.snap
	for i := range l.writes {
		if l.writes[i].snap == snap {
			snap = nil
		}
	}
	if !changed && snap == nil && l.handed == l.last() && len(c.durable) == 0 {
		return nil
	}
	c.seq++
	p := &Persist{Seq: c.seq, Snapshot: snap, Messages: c.durable}
	c.durable = nil
	if !changed && snap == nil && l.handed == l.last() {
		hs = c.handed // a commit index alone is not worth a sync, unless a change waits for it
	}
	if hs != c.handed {
		p.HardState = &hs
		c.handed = hs
	}
	if n := l.last() - l.handed; n > 0 {
		p.Entries = l.unstable[l.handed+1-l.offset:]
		p.Entries = p.Entries[:n:n]
		l.handed = l.last()
	}
	if len(l.writes) == 0 {
		c.stall = 0
	}
	l.writes = append(l.writes, write{
		seq: c.seq, last: l.last(), vote: c.ownVote, commit: c.handed.Commit, snap: snap,
	})
	c.ownVote = 0
	return p
}

func (c *Core) takeCommitted() []Entry {
	lo, hi := c.log.toApply()
	var out uint64
	for _, h := range c.handouts {
		out += h.bytes
	}
	if lo > hi || out >= c.cfg.MaxApplyingBytes {
		return nil
	}
	es, err := c.log.entries(lo, hi+1, c.cfg.MaxApplyingBytes-out)
	if err != nil {
		c.fail("read committed entries [%d, %d]: %w", lo, hi, err)
		return nil
	}
	var size uint64
	for i := range es {
		if es[i].Type == EntryConf && es[i].Index > c.log.sure {
			c.log.awaited = es[i].Index
			es = es[:i:i]
			break
		}
		size += es[i].Size()
		if es[i].Type != EntryConf {
			continue
		}
		change, err := DecodeChange(es[i].Data)
		if err != nil {
			c.fail("entry %d: %w", es[i].Index, err)
			return nil
		}
		c.confs = append(c.confs, pendingConf{es[i].Index, change})
	}
	if len(es) == 0 {
		return nil
	}
	c.log.applying = es[len(es)-1].Index
	c.handouts = append(c.handouts, handout{c.log.applying, size})
	c.leader.release(es)
	return es
}

// send queues a message that promises nothing about the disk.
func (c *Core) send(m Message) {
	m.From = c.id
	if m.Term == 0 {
		m.Term = c.term
	}
	c.msgs = append(c.msgs, m)
}

// sendDurable queues a message that may leave only once everything up to now is
// durable (paper, figure 2: "updated on stable storage before responding").
func (c *Core) sendDurable(m Message) {
	l := &c.log
	if len(l.writes) == 0 && l.handed == l.last() && l.snap == nil &&
		c.term == c.handed.Term && c.vote == c.handed.Vote {
		c.send(m)
		return
	}
	m.From, m.Term = c.id, c.term
	c.durable = append(c.durable, m)
}
