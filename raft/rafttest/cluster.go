// Package rafttest runs bare cores as a cluster on one thread, with simulated
// disks, network and time, under scripts and under random schedules, and checks
// the promises of consensus after every event. The same seed gives the same run.
package rafttest

import (
	"fmt"
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
	// order lists the members in the order in which they came.
	order []uint64
	net   network
	check checker
	// trace, when set, is called with each event.
	trace  func(format string, args ...any)
	watch  func(*Event)
	hash   hash
	events int
	err    error
	reads  uint64
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

// Err is the first broken promise, or nil.
func (c *Cluster) Err() error { return c.err }

func (c *Cluster) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
		c.note(Event{Kind: EventFailed, Err: c.err})
	}
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
		c.fail("start of %d: %w", id, err)
		return
	}
	m.core, m.machine, m.applying = core, d.machine, nil
	m.view, m.paused = d.log.clone(), false
	m.seen = seen{term: core.Term(), commit: core.Commit(), conf: core.Status().Conf}
	m.fresh = true
	c.note(Event{
		Kind: EventStart, Member: id, Term: core.Term(), Commit: core.Commit(), Applied: d.machine.Index,
		First: d.log.FirstIndex(), Index: d.log.LastIndex(),
	})
	c.observe(m)
}

// Crash stops a member. Of its queued writes the first n are durable; half says
// that of the next one only a snapshot was installed.
func (c *Cluster) Crash(id uint64, n int, half bool) {
	m := c.members[id]
	if c.err != nil || !m.up() {
		return
	}
	c.note(Event{Kind: EventCrash, Member: id, Index: uint64(n), N: uint64(len(m.disk.queue))})
	for range min(n, len(m.disk.queue)) {
		if _, err := m.disk.complete(); err != nil {
			c.fail("disk of %d: %w", id, err)
			return
		}
	}
	c.moved = true
	m.disk.crash(half)
	m.core = nil
	c.check.forget(m)
}

// Wipe empties the disk of a member that is down.
func (c *Cluster) Wipe(id uint64) {
	m := c.members[id]
	m.disk = newDisk(c.early)
	c.check.wiped[id] = true
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
		m.core.Tick()
		e := Event{Kind: EventTick, Member: id, Role: m.core.Role(), Term: m.core.Term()}
		if e.Term != term || e.Role != role {
			e.N = 1
		}
		c.note(e)
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

// Ready takes a member's Ready and sends, queues and hands on its parts.
func (c *Cluster) Ready(id uint64) (busy bool) {
	c.event(id, func(m *member) {
		m.ready = m.core.Ready()
		rd := &m.ready
		busy = len(rd.Messages)+len(rd.Committed)+len(rd.Reads) > 0 || rd.Persist != nil
		if !busy {
			return
		}
		c.note(Event{Kind: EventReady, Member: id, Ready: rd})
		c.send(m, rd.Messages)
		if p := rd.Persist; p != nil {
			c.check.persist(c, m, p)
			if err := writeLog(&m.view, p); err != nil {
				c.fail("view of %d: %w", id, err)
			}
			if err := m.disk.submit(p); err != nil {
				c.fail("disk of %d: %w", id, err)
			}
		}
		m.applying = append(m.applying, rd.Committed...)
		c.check.committed(c, m)
		c.check.handedOut(c, m, rd.Committed)
		c.check.answers(c, m, rd.Reads)
	})
	if m := c.members[id]; m != nil {
		m.fresh = false
	}
	return busy
}

// Persist makes up to n of a member's queued writes durable, sends what waited
// for them and tells the core of the last.
func (c *Cluster) Persist(id uint64, n int) (done int) {
	c.event(id, func(m *member) {
		var seq uint64
		for done < n && len(m.disk.queue) > 0 {
			p, err := m.disk.complete()
			if err != nil {
				c.fail("disk of %d: %w", id, err)
				return
			}
			if p.Snapshot != nil {
				m.machine, c.moved = m.disk.durable.machine, true
				m.applying = nil
			}
			seq = p.Seq
			done++
			c.note(Event{Kind: EventPersisted, Member: id, N: seq})
			c.check.promises(c, m, p.Messages)
			c.send(m, p.Messages)
		}
		if done > 0 {
			m.core.Persisted(seq)
		}
	})
	return done
}

// Apply applies up to n of the entries that were handed to a member's state
// machine.
func (c *Cluster) Apply(id uint64, n int) (done int) {
	c.event(id, func(m *member) {
		for done < n && len(m.applying) > 0 {
			e := &m.applying[0]
			m.applying = m.applying[1:]
			refused, err := m.machine.apply(e)
			if err != nil {
				c.fail("state machine of %d: %w", id, err)
				return
			}
			if refused {
				m.core.RefuseConf(e.Index)
			}
			done++
			c.check.applied(c, m, e)
		}
		if done == 0 {
			return
		}
		c.moved = true
		c.note(Event{Kind: EventApplied, Member: id, Index: m.machine.Index})
		m.core.Applied(m.machine.Index)
		// A snapshot that is being installed has brought its configuration.
		s := c.status(m)
		if m.core.Err() == nil && s.First <= m.machine.Index+1 && !s.Conf.Equal(m.machine.Conf) {
			c.fail("%d: core has %v at index %d, the state machine %v", id, s.Conf, m.machine.Index, m.machine.Conf)
		}
	})
	return done
}

// Flush makes a member's state machine durable as it stands.
func (c *Cluster) Flush(id uint64) {
	c.event(id, func(m *member) {
		if m.machine.Index >= m.disk.durable.machine.Index {
			m.disk.durable.machine = m.machine
			c.note(Event{Kind: EventFlush, Member: id, Index: m.machine.Index})
		}
	})
}

// Compact drops a member's log up to an index, as far as its state machine is
// durable.
func (c *Cluster) Compact(id, index uint64) {
	c.event(id, func(m *member) {
		m.disk.compact(index)
		l := &m.disk.durable.log
		c.note(Event{Kind: EventCompact, Member: id, First: l.FirstIndex(), Index: l.LastIndex()})
	})
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
	for _, id := range c.order {
		if m := c.members[id]; m.runs() && m.core.Role() == raft.Leader && m.core.Term() > term {
			lead, term = id, m.core.Term()
		}
	}
	return lead
}
