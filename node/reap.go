package node

import (
	"context"
	"time"

	"chainfire"
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

// reapObjects runs until the node stops. While this member leads, it has bodies of objects
// let go of that nothing refers to.
func (n *Node) reapObjects() {
	ticks, stop := sched.Tick(n.sched, reapEvery)
	defer stop()
	for n.sched.Wait(n.stop, ticks) == 1 {
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
