package node

import (
	"context"
	"time"

	"chainfire"
	"chainfire/bodies"
	"chainfire/internal/sched"
	"chainfire/machine"
	"chainfire/object"
)

// reapEvery is how often the leader looks whether there are bodies to let go of, and
// reapsPerLook bounds what it then has done: each time object.MaxReleased bodies.
const (
	reapEvery    = time.Second
	reapsPerLook = 4
)

// leaseLooks is how many looks for bodies lie between two for write leases at most: at first, when the
// state may still be to come, there are fewer.
const leaseLooks = 60

// reapObjects runs until the node stops. While this member leads, it has bodies of objects
// let go of that nothing refers to. One that keeps no bodies closes the write leases of the past here.
func (n *Node) reapObjects() {
	ticks, stop := sched.Tick(n.sched, reapEvery)
	defer stop()
	nextLeases := 1
	for look := 1; n.sched.Wait(n.stop, ticks) == 1; look++ {
		if n.bodies == nil && look == nextLeases {
			nextLeases += min(look, leaseLooks)
			n.closePastLeases()
		}
		for range reapsPerLook {
			if n.leadingTerm() == 0 || n.machine.Level() < machine.ObjectLevel || n.raised(chainfire.AlarmCorrupt) {
				break
			}
			garbage, err := n.objectGarbage()
			if err != nil {
				n.fatal("the objects of the store cannot be read", err)
				return
			}
			if !garbage {
				break
			}
			if _, err := n.do(context.Background(), &machine.Command{Object: &object.Change{Time: n.sched.Now().UnixMilli(), Reap: &object.Reap{}}}); err != nil {
				n.log.Debug("bodies that nothing refers to are still there; it is tried again", "err", err)
				break
			}
		}
	}
}

// closePastLeases closes write leases of a member that keeps no bodies any more and, while it leads, of
// absent ones.
func (n *Node) closePastLeases() {
	if n.machine.Level() < machine.ObjectLevel {
		return
	}
	p := &bodies.PastLeases{
		State: bodyState{n}, Member: n.id, Boots: n.boots.own, AbsentFor: bodies.DefaultAbsentFor,
		Now: n.sched.Now, Logger: n.log,
	}
	if err := p.Close(context.Background()); err != nil {
		n.log.Debug("write leases of the past are still open; it is tried again", "err", err)
	}
}

func (n *Node) objectGarbage() (garbage bool, err error) {
	v, err := n.machine.ObjectView()
	if err != nil {
		return false, err
	}
	garbage, err = v.Garbage()
	if cerr := v.Close(); err == nil {
		err = cerr
	}
	return garbage, err
}

// raised reports whether an alarm of a kind stands.
func (n *Node) raised(kind chainfire.AlarmType) bool {
	for _, a := range n.machine.Alarms() {
		if a.Type == kind {
			return true
		}
	}
	return false
}
