package node

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"chainfire"
	"chainfire/internal/sched"
	"chainfire/machine"
)

// diskLookEvery is how often the free space of the disk is looked at.
const diskLookEvery = 500 * time.Millisecond

// maxReserveShare is what part of a small disk is kept free at most: one of so many.
const maxReserveShare = 4

// diskGuard knows whether the disk of this member is about to be full. A log that cannot
// be written ends the member, so the cluster stops to take keys before that.
type diskGuard struct{ low atomic.Bool }

// guardDisk looks at the disk until the node stops.
func (n *Node) guardDisk() {
	ticks, stop := sched.Tick(n.sched, diskLookEvery)
	defer stop()
	told := false
	for {
		free, reserve, err := n.diskSpace()
		switch {
		case err != nil && !told:
			n.log.Warn("the free space of the disk is not known, so that nothing is done before it is full", "err", err)
			told = true
		case err == nil:
			n.lookAtDisk(free, reserve)
		}
		if n.sched.Wait(n.stop, ticks) == 0 {
			return
		}
	}
}

// diskSpace is what is free for this process, and what is to stay so.
func (n *Node) diskSpace() (free, reserve uint64, err error) {
	u, err := n.opts.FS.GetDiskUsage(n.opts.Dir)
	if err != nil {
		return 0, 0, fmt.Errorf("ask for the free space: %w", err)
	}
	return u.AvailBytes, min(uint64(n.opts.DiskReserve), u.TotalBytes/maxReserveShare), nil
}

// lookAtDisk raises the alarm, and again where it was taken back too early.
func (n *Node) lookAtDisk(free, reserve uint64) {
	low := free < reserve
	if was := n.disk.low.Swap(low); was != low {
		if low {
			n.log.Warn("the disk is about to be full; the cluster takes no more keys until there is room and the alarm is taken back",
				"dir", n.opts.Dir, "free_bytes", free, "reserve_bytes", reserve)
		} else {
			n.log.Info("the disk has room again", "dir", n.opts.Dir, "free_bytes", free, "reserve_bytes", reserve)
		}
	}
	alarm := chainfire.Alarm{MemberID: n.id, Type: chainfire.AlarmNoSpace}
	if !low || n.machine.Level() < machine.AlarmLevel || slices.Contains(n.machine.Alarms(), alarm) || !n.machine.Conf().Contains(n.id) {
		return
	}
	ctx, cancel := n.untilStop(context.Background())
	defer cancel()
	if _, err := n.Alarm(ctx, &chainfire.AlarmRequest{Action: chainfire.AlarmActivate, Alarm: alarm}); err != nil {
		n.log.Warn("the alarm was not raised; it is tried again", "alarm", alarm.Type.String(), "err", err)
	}
}
