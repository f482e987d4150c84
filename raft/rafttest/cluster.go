// Package rafttest runs bare cores as a cluster on one thread, with simulated
// disks, network and time, under scripts and under random schedules, and checks
// the promises of consensus after every event. The same seed gives the same run.
package rafttest

import (
	"slices"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// Cluster is a set of simulated members. It belongs to one goroutine. After an
// event that breaks a promise Err returns which, and nothing happens any more.
type Cluster struct {
	cfg     raft.Config
	engine  func(id uint64) raft.NewEngine
	early   bool
	jitter  func(id uint64, n int) int
	members map[uint64]*member
	// order and list are the members in the order in which they came.
	order []uint64
	list  []*member
	net   network
	check checker
	// trace, when set, is called with each event.
	trace  func(format string, args ...any)
	watch  func(*Event)
	hash   hash
	events int
	err    error
	reads  uint64
	// outboxes makes messages wait at their sender until they are sent.
	outboxes bool
	// rounds counts the ticks that passed for everyone.
	rounds int
	// moved says that something was applied or crashed.
	moved bool
	// now is the status that the checks look at.
	now raft.Status
	// lazy makes Settle leave writes queued.
	lazy bool
}

// Options says how the members of a cluster are made.
type Options struct {
	// Config is the template; ID, storage, state and Jitter are filled in.
	Config raft.Config
	// Engine chooses the engine of a member at each of its starts; nil makes
	// all of them raft.Core.
	Engine func(id uint64) raft.NewEngine
	// EarlyReads lets a core read its queued writes before they are durable.
	EarlyReads bool
	// Jitter draws the election timeouts; nil makes them differ by id.
	Jitter func(id uint64, n int) int
	// Trace, when set, is called with a line for each event.
	Trace func(format string, args ...any)
	// Watch, when set, is called with each event, which it may keep; what the
	// event points to is only good during the call.
	Watch func(*Event)
}

// New makes a cluster without members.
func New(o Options) *Cluster {
	c := &Cluster{
		cfg: o.Config, engine: o.Engine, early: o.EarlyReads, jitter: o.Jitter, trace: o.Trace,
		watch: o.Watch, hash: newHash(), members: map[uint64]*member{}, check: newChecker(),
	}
	if c.engine == nil {
		c.engine = func(uint64) raft.NewEngine { return raft.NewCore }
	}
	if c.jitter == nil {
		c.jitter = func(id uint64, n int) int { return int(id) % n }
	}
	c.cfg.Checked = true
	return c
}

// Start starts a member from its disk.
func (c *Cluster) Start(id uint64) {
	m := c.members[id]
	if c.err != nil || m.up() {
		return
	}
	d := &m.disk.durable
	m.life++
	cfg := c.cfg
	cfg.ID, cfg.Nonce = id, m.life
	cfg.HardState, cfg.Applied, cfg.Conf = d.hard, d.machine.Index, d.machine.Conf
	cfg.Storage = &m.disk.written
	cfg.Jitter = func(n int) int { return c.jitter(id, n) }
	core, err := c.engine(id)(cfg)
	if err != nil {
		c.breaks(coreRuns, "start of %d: %w", id, err)
		return
	}
	m.core, m.machine, m.applying = core, d.machine, nil
	m.statusTo = nil
	if s, ok := core.(interface{ StatusTo(s *raft.Status) }); ok {
		m.statusTo = s.StatusTo
	}
	m.view, m.paused = d.log.clone(), false
	m.reached = max(m.reached, m.machine.Index)
	m.phase, m.ticks, m.stall = 0, 0, 0
	m.seen = seen{term: core.Term(), commit: core.Commit()}
	m.fresh = true
	c.note(Event{
		Kind: EventStart, Member: id, Term: core.Term(), Commit: core.Commit(), Applied: d.machine.Index,
		First: d.log.FirstIndex(), Index: d.log.LastIndex(), N: m.life,
	})
	c.checkTermOfLog(m)
	c.checkLedger(m)
	c.observe(m)
}

// Crash stops a member. Of its queued writes the first n are durable; half says
// that of the next one only a snapshot was installed.
func (c *Cluster) Crash(id uint64, n int, half bool) {
	m := c.members[id]
	if c.err != nil || !m.up() {
		return
	}
	n = min(n, len(m.disk.queue))
	c.note(Event{Kind: EventCrash, Member: id, Index: uint64(n), N: uint64(len(m.disk.queue))})
	for range n {
		if _, err := m.disk.complete(); err != nil {
			c.breaks(soundWrites, "disk of %d: %w", id, err)
			return
		}
		c.checkBallot(m)
	}
	c.down(m, half)
}

// CrashTorn stops a member while its host writes everything that is queued in
// one batch: term and vote are durable, and the first n entries.
func (c *Cluster) CrashTorn(id uint64, n int) {
	m := c.members[id]
	if c.err != nil || !m.up() {
		return
	}
	c.note(Event{Kind: EventTorn, Member: id, Index: uint64(n), N: uint64(len(m.disk.queue))})
	if err := m.disk.tear(n); err != nil {
		c.breaks(soundWrites, "disk of %d: %w", id, err)
		return
	}
	c.checkBallot(m)
	c.down(m, false)
}

func (c *Cluster) down(m *member, half bool) {
	c.moved = true
	m.disk.crash(half)
	m.core, m.statusTo, m.outbox = nil, nil, nil
	m.written, m.applied, m.refused = 0, 0, nil
	c.check.forget(m)
}

// Wipe empties the disk of a member that is down.
func (c *Cluster) Wipe(id uint64) {
	m := c.members[id]
	m.lost = append(m.lost, m.disk)
	m.disk = newDisk(c.early)
	c.check.wiped[id] = true
	c.note(Event{Kind: EventWipe, Member: id})
}

// Refuse makes the others take no connection of a member any more, as they do
// when its disk is not the one that they know. What is under way is lost.
func (c *Cluster) Refuse(id uint64) {
	c.members[id].refusedByPeers = true
	for i := 0; i < len(c.net.flying); {
		if msg := c.net.at(i); msg.From == id || msg.To == id {
			c.note(Event{Kind: EventLost, Message: msg})
			c.net.take(i)
			continue
		}
		i++
	}
}

// event runs an input of a core and checks the outcome.
func (c *Cluster) event(id uint64, input func(m *member)) {
	m := c.members[id]
	if c.err != nil || m == nil || !m.up() {
		return
	}
	input(m)
	m.fresh = true
	c.observe(m)
}

// Tick moves one member's time on.
func (c *Cluster) Tick(id uint64) {
	c.event(id, func(m *member) {
		term, role := m.core.Term(), m.core.Role()
		m.ticks++
		if m.writing() {
			m.stall++
		}
		m.core.Tick()
		e := Event{Kind: EventTick, Member: id, Role: m.core.Role(), Term: m.core.Term()}
		if e.Term != term || e.Role != role {
			e.N = 1
		}
		c.note(e)
		if e.Role == raft.Leader && role == raft.Leader && m.core.Err() == nil {
			c.checkOffice(m, c.status(m))
		}
	})
}

// Campaign makes a member ask for votes now.
func (c *Cluster) Campaign(id uint64) {
	c.event(id, func(m *member) {
		c.note(Event{Kind: EventCampaign, Member: id})
		m.core.Campaign()
	})
}

// Unreachable tells a member that another cannot be reached.
func (c *Cluster) Unreachable(id, peer uint64) {
	c.event(id, func(m *member) {
		c.note(Event{Kind: EventUnreachable, Member: id, Peer: peer})
		m.core.Unreachable(peer)
	})
}

// LeaderGone tells a member that the leader's process is gone.
func (c *Cluster) LeaderGone(id, leader uint64) {
	c.event(id, func(m *member) {
		c.note(Event{Kind: EventLeaderGone, Member: id, Peer: leader})
		m.core.LeaderGone(leader)
	})
}

// Transfer asks a member to hand leadership to another.
func (c *Cluster) Transfer(id, to uint64) (err error) {
	c.event(id, func(m *member) {
		err = m.core.TransferLeader(to)
		c.note(Event{Kind: EventTransfer, Member: id, Peer: to, Err: err})
	})
	return err
}

// Propose gives data to a member and returns where it stands in its log.
func (c *Cluster) Propose(id uint64, data []byte) (index, term uint64, err error) {
	c.event(id, func(m *member) {
		index, term, err = m.core.Propose(data)
		c.note(Event{Kind: EventPropose, Member: id, Data: data, Index: index, Term: term, Err: err})
	})
	return index, term, err
}

// ProposeConf gives a membership change to a member.
func (c *Cluster) ProposeConf(id uint64, change confchange.Change) (index, term uint64, err error) {
	c.event(id, func(m *member) {
		index, term, err = m.core.ProposeConf(change)
		c.note(Event{Kind: EventProposeConf, Member: id, Change: &change, Index: index, Term: term, Err: err})
		if err == nil {
			c.checkBegins(m, index)
		}
	})
	return index, term, err
}

// Read asks a member for a read index and returns the read's id.
func (c *Cluster) Read(id uint64) uint64 {
	c.event(id, func(m *member) {
		c.reads++
		c.check.ask(m, c.reads)
		c.note(Event{Kind: EventRead, Member: id, N: c.reads})
		m.core.ReadIndex(c.reads)
	})
	return c.reads
}

// Core is a member's engine, nil while it is down.
func (c *Cluster) Core(id uint64) raft.Engine { return c.members[id].core }

// Members lists the members that ever were, in the order in which they came.
func (c *Cluster) Members() []uint64 { return c.order }

// Applied is the last index that a member's state machine holds.
func (c *Cluster) Applied(id uint64) uint64 { return c.members[id].machine.Index }

// Log is a member's log as far as the core has handed it out to be written.
func (c *Cluster) Log(id uint64) []raft.Entry { return slices.Clone(c.members[id].view.entries) }

// Leader is the running leader of the highest term, or raft.None.
func (c *Cluster) Leader() uint64 {
	var lead, term uint64
	for _, m := range c.list {
		if m.leads() && m.core.Term() > term {
			lead, term = m.id, m.core.Term()
		}
	}
	return lead
}
