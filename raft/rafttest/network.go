package rafttest

import "chainfire/raft"

// network holds the messages under way. Who delivers, drops, doubles and
// reorders them is the schedule.
type network struct {
	// flying are the places in slots of the messages under way, oldest first.
	flying []int
	slots  []raft.Message
	free   []int
	// stash are messages that are held back, for as long as it takes.
	stash []raft.Message
	// cut are the directions in which nothing arrives.
	cut map[[2]uint64]bool
	// arriving is the message that is being delivered.
	arriving raft.Message
}

func (n *network) put(m *raft.Message) {
	k := len(n.slots)
	if f := len(n.free); f > 0 {
		k = n.free[f-1]
		n.free = n.free[:f-1]
		n.slots[k] = *m
	} else {
		n.slots = append(n.slots, *m)
	}
	n.flying = append(n.flying, k)
}

// at is the i-th message under way.
func (n *network) at(i int) *raft.Message { return &n.slots[n.flying[i]] }

func (n *network) take(i int) raft.Message {
	k := n.flying[i]
	n.flying = append(n.flying[:i], n.flying[i+1:]...)
	n.free = append(n.free, k)
	return n.slots[k]
}

// clear loses every message under way.
func (n *network) clear() { n.flying, n.slots, n.free = nil, nil, nil }

// Cut makes messages in one direction get lost, or arrive again.
func (c *Cluster) Cut(from, to uint64, cut bool) {
	if c.net.cut == nil {
		c.net.cut = map[[2]uint64]bool{}
	}
	if cut {
		c.note(Event{Kind: EventCut, Member: from, Peer: to})
		c.net.cut[[2]uint64{from, to}] = true
	} else {
		c.note(Event{Kind: EventMend, Member: from, Peer: to})
		delete(c.net.cut, [2]uint64{from, to})
	}
}

// Flying lists the messages under way.
func (c *Cluster) Flying() []raft.Message {
	out := make([]raft.Message, len(c.net.flying))
	for i := range out {
		out[i] = *c.net.at(i)
	}
	return out
}

// Take takes the i-th message off the network.
func (c *Cluster) Take(i int) raft.Message { return c.net.take(i) }

// Deliver brings a message to its receiver, unless that way is cut or the
// receiver is down. A MsgSnapshot arrives in two steps: first the receiver's
// host fetches the state of the sender, as it then is; what it fetched goes
// under way again and the second arrival hands it to the core.
func (c *Cluster) Deliver(msg raft.Message) {
	if c.err != nil {
		return
	}
	c.net.arriving = msg
	c.deliver(&c.net.arriving)
}

func (c *Cluster) deliver(msg *raft.Message) {
	m := c.members[msg.To]
	if m == nil || !m.up() || c.refused(msg) || len(c.net.cut) > 0 && c.net.cut[[2]uint64{msg.From, msg.To}] {
		c.note(Event{Kind: EventLost, Message: msg})
		return
	}
	if msg.Type == raft.MsgSnapshot && !c.snapshot(m, msg) {
		return
	}
	c.event(msg.To, func(m *member) {
		c.note(Event{Kind: EventDeliver, Message: msg})
		m.heard(msg)
		m.core.Step(*msg)
		c.checkFollows(m, msg)
	})
}

// snapshot is a step of a snapshot's way, and reports whether it is complete.
func (c *Cluster) snapshot(m *member, msg *raft.Message) bool {
	if msg.Snapshot != nil {
		if _, ok := m.disk.held[msg.Snapshot.Index]; !ok {
			c.note(Event{Kind: EventLostFetched, Message: msg})
			return false
		}
		return true
	}
	from := c.members[msg.From]
	if from == nil || !from.up() || from.machine.Index == 0 {
		c.note(Event{Kind: EventLost, Message: msg})
		return false
	}
	msg.Snapshot = from.machine.meta()
	m.disk.held[msg.Snapshot.Index] = from.machine
	c.note(Event{Kind: EventFetched, Message: msg})
	c.net.put(msg)
	return false
}

// refused reports whether one side of a message does not take the other for who
// it was.
func (c *Cluster) refused(msg *raft.Message) bool {
	from := c.members[msg.From]
	return from != nil && from.refusedByPeers || c.members[msg.To].refusedByPeers
}
