package rafttest

import (
	"slices"

	"chainfire/raft"
)

// network holds the messages under way. Who delivers, drops, doubles and
// reorders them is the schedule.
type network struct {
	flying []raft.Message
	// cut are the directions in which nothing arrives.
	cut map[[2]uint64]bool
}

// send puts messages on their way, after a look at what they promise.
func (c *Cluster) send(m *member, msgs []raft.Message) {
	for i := range msgs {
		c.check.message(c, m, &msgs[i])
	}
	c.net.flying = append(c.net.flying, msgs...)
}

// Cut makes messages in one direction get lost, or arrive again.
func (c *Cluster) Cut(from, to uint64, cut bool) {
	c.trace("cut %d -> %d: %v", from, to, cut)
	if c.net.cut == nil {
		c.net.cut = map[[2]uint64]bool{}
	}
	if cut {
		c.net.cut[[2]uint64{from, to}] = true
	} else {
		delete(c.net.cut, [2]uint64{from, to})
	}
}

// Flying lists the messages under way.
func (c *Cluster) Flying() []raft.Message { return c.net.flying }

// Take takes the i-th message off the network.
func (c *Cluster) Take(i int) raft.Message {
	m := c.net.flying[i]
	c.net.flying = slices.Delete(c.net.flying, i, i+1)
	return m
}

// Deliver brings a message to its receiver, unless that way is cut or the
// receiver is down. A MsgSnapshot arrives in two steps: first the receiver's
// host fetches the state of the sender, as it then is; what it fetched goes
// under way again and the second arrival hands it to the core.
func (c *Cluster) Deliver(msg raft.Message) {
	m := c.members[msg.To]
	if c.err != nil {
		return
	}
	if m == nil || !m.up() || c.net.cut[[2]uint64{msg.From, msg.To}] {
		c.trace("lost %s", describeMessage(msg))
		return
	}
	if msg.Type == raft.MsgSnapshot && msg.Snapshot == nil {
		from := c.members[msg.From]
		if from == nil || !from.up() || from.machine.Index == 0 {
			c.trace("lost %s", describeMessage(msg))
			return
		}
		msg.Snapshot = from.machine.meta()
		m.disk.held[msg.Snapshot.Index] = from.machine
		c.trace("fetched %s", describeMessage(msg))
		c.net.flying = append(c.net.flying, msg)
		return
	}
	if msg.Type == raft.MsgSnapshot {
		if _, ok := m.disk.held[msg.Snapshot.Index]; !ok {
			c.trace("lost with the receiver's crash: %s", describeMessage(msg))
			return
		}
	}
	c.event(msg.To, func(m *member) {
		c.trace("deliver %s", describeMessage(msg))
		m.core.Step(msg)
	})
}
