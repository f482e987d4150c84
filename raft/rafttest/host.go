package rafttest

import "chainfire/raft"

// What a member's host does is cut into the steps between which it can crash:
//
//	Ready ─┬─ Send                    messages that promise nothing
//	       ├─ Write ── Send ── Report what is durable, and its messages
//	       └─ Apply ── Flush
//	             └──── Settled
//
// Persist is Write and Report at once. Unless the cluster has outboxes, a message
// is on its way as soon as it may be.

// Ready takes a member's Ready and queues and hands on its parts.
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
			c.checkWrite(m, p)
			if err := writeLog(&m.view, p); err != nil {
				c.breaks(soundWrites, "view of %d: %w", id, err)
			}
			if !m.writing() {
				m.stall = 0
			}
			if err := m.disk.submit(p); err != nil {
				c.breaks(soundWrites, "disk of %d: %w", id, err)
			}
		}
		c.checkTermOfLog(m)
		m.seen.lead.handed = true
		m.applying = append(m.applying, rd.Committed...)
		c.checkLedger(m)
		c.checkHandedOut(m, rd.Committed)
		c.checkAnswers(m, rd.Reads)
	})
	if m := c.members[id]; m != nil {
		m.fresh = false
	}
	return busy
}

// Write makes up to n of a member's queued writes durable and sends what waited
// for them. The core does not know yet.
func (c *Cluster) Write(id uint64, n int) (done int) {
	m := c.members[id]
	if c.err != nil || !m.up() {
		return 0
	}
	for done < n && len(m.disk.queue) > 0 {
		p, err := m.disk.complete()
		if err != nil {
			c.breaks(soundWrites, "disk of %d: %w", id, err)
			return done
		}
		if p.Snapshot != nil {
			m.machine, m.applying = m.disk.durable.machine, nil
			m.reached = max(m.reached, m.machine.Index)
			c.moved = true
			c.checkInstalled(m)
		}
		m.written = p.Seq
		done++
		c.note(Event{Kind: EventPersisted, Member: id, N: p.Seq})
		c.checkBallot(m)
		c.checkTerm(m, p.Messages)
		c.send(m, p.Messages)
	}
	return done
}

// Report tells a member's core of all that is durable.
func (c *Cluster) Report(id uint64) {
	c.event(id, func(m *member) {
		if m.written == 0 {
			return
		}
		c.note(Event{Kind: EventReported, Member: id, N: m.written})
		seq := m.written
		m.written, m.stall = 0, 0
		m.core.Persisted(seq)
	})
}

// Persist makes up to n of a member's queued writes durable, sends what waited
// for them and tells the core of the last.
func (c *Cluster) Persist(id uint64, n int) (done int) {
	if done = c.Write(id, n); done == 0 {
		return 0
	}
	c.event(id, func(m *member) {
		seq := m.written
		m.written, m.stall = 0, 0
		m.core.Persisted(seq)
	})
	return done
}

// Send puts up to n messages of a member's outbox on their way.
func (c *Cluster) Send(id uint64, n int) {
	m := c.members[id]
	n = min(n, len(m.outbox))
	if c.err != nil || n == 0 {
		return
	}
	c.note(Event{Kind: EventSent, Member: id, N: uint64(n)})
	for i := range n {
		c.net.put(&m.outbox[i])
	}
	m.outbox = m.outbox[n:]
}

// run applies up to n of the entries that were handed to a member's state
// machine. The core does not know yet.
func (c *Cluster) run(m *member, n int) (done int) {
	for done < n && len(m.applying) > 0 && c.err == nil {
		e := &m.applying[0]
		m.applying = m.applying[1:]
		refused, err := m.machine.apply(e)
		if err != nil {
			c.breaks(appliedInOrder, "state machine of %d: %w", m.id, err)
			return done
		}
		if refused {
			m.refused = append(m.refused, e.Index)
		}
		m.applied = e.Index
		m.reached = max(m.reached, e.Index)
		done++
		c.checkApplied(m, e)
	}
	if done > 0 {
		c.moved = true
		c.note(Event{Kind: EventApplied, Member: m.id, Index: m.machine.Index})
	}
	return done
}

// settled tells a member's core of all that is applied.
func (c *Cluster) settled(m *member) {
	index := m.applied
	if index == 0 || c.err != nil {
		return
	}
	for _, i := range m.refused {
		m.core.RefuseConf(i)
	}
	m.applied, m.refused = 0, nil
	m.core.Applied(index)
}

// Apply applies up to n of the entries that were handed to a member's state
// machine and tells the core.
func (c *Cluster) Apply(id uint64, n int) (done int) {
	c.event(id, func(m *member) {
		if done = c.run(m, n); done > 0 {
			c.settled(m)
		}
	})
	return done
}

// ApplyQuietly is Apply of which the core does not know yet; Settled tells it.
func (c *Cluster) ApplyQuietly(id uint64, n int) (done int) {
	if m := c.members[id]; c.err == nil && m.up() {
		done = c.run(m, n)
	}
	return done
}

// Settled tells a member's core of everything that is applied.
func (c *Cluster) Settled(id uint64) {
	c.event(id, func(m *member) {
		if m.applied > 0 {
			c.note(Event{Kind: EventSettled, Member: id, Index: m.applied})
			c.settled(m)
		}
	})
}

// Flush makes a member's state machine durable as it stands.
func (c *Cluster) Flush(id uint64) {
	m := c.members[id]
	if c.err == nil && m.up() && m.machine.Index >= m.disk.durable.machine.Index {
		m.disk.durable.machine = m.machine
		c.note(Event{Kind: EventFlush, Member: id, Index: m.machine.Index})
	}
}

// Compact drops a member's log up to an index, as far as its state machine is
// durable.
func (c *Cluster) Compact(id, index uint64) {
	m := c.members[id]
	if c.err == nil && m.up() {
		if !m.ours() {
			// Members keep what their engine does not know applied. Core does without
			// it too; the reference reads from there when it is to campaign.
			index = min(index, m.core.Status().Applied)
		}
		m.disk.compact(index)
		l := &m.disk.durable.log
		c.note(Event{Kind: EventCompact, Member: id, First: l.FirstIndex(), Index: l.LastIndex()})
	}
}

// send lets messages go that a core has put out.
func (c *Cluster) send(m *member, msgs []raft.Message) {
	for i := range msgs {
		c.checkMessage(m, &msgs[i])
		if !c.outboxes {
			c.net.put(&msgs[i])
		}
	}
	if c.outboxes {
		m.outbox = append(m.outbox, msgs...)
	}
}
