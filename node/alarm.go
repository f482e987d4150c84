package node

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"chainfire"
	"chainfire/machine"
)

// Alarms implements chainfire.Maintenance.
func (n *Node) Alarms() []chainfire.Alarm { return n.machine.Alarms() }

// Alarm implements chainfire.Maintenance.
func (n *Node) Alarm(ctx context.Context, r *chainfire.AlarmRequest) (*chainfire.AlarmResponse, error) {
	ctx, cancel := n.withTimeout(ctx)
	defer cancel()
	out := &chainfire.AlarmResponse{}
	if r.Action == chainfire.AlarmGet {
		if err := n.linearizeOr(ctx, context.DeadlineExceeded); err != nil {
			return nil, err
		}
		out.Alarms = slices.DeleteFunc(slices.Clone(n.machine.Alarms()), func(a chainfire.Alarm) bool {
			return r.Type != chainfire.AlarmNone && a.Type != r.Type
		})
	} else if r.Type != chainfire.AlarmNone {
		if err := n.untilLevel(ctx, machine.AlarmLevel); err != nil {
			return nil, err
		}
		q := &machine.SetAlarm{Member: r.MemberID, Type: r.Type, Off: r.Action == chainfire.AlarmDeactivate}
		res, err := n.do(ctx, &machine.Command{SetAlarm: q})
		if err != nil {
			return nil, err
		}
		out.Alarms = res.Alarms
		if len(res.Alarms) > 0 {
			n.log.Warn("alarm set", "alarm", r.Type.String(), "member", r.MemberID, "raised", !q.Off)
		}
	}
	out.Header = n.Header()
	return out, nil
}

// alarmNote says which alarms stand for a member; those for nobody the leader says.
func (n *Node) alarmNote(id uint64) string {
	var notes []string
	for _, a := range n.machine.Alarms() {
		if a.MemberID != id && (a.MemberID != nobody || id != n.id) {
			continue
		}
		whose, effect := "it", "no writes"
		if a.MemberID == nobody {
			whose = "the whole cluster"
		}
		if a.Type == chainfire.AlarmNoSpace {
			effect = "no more keys"
		}
		notes = append(notes, fmt.Sprintf("the alarm %v stands for %s: the cluster takes %s", a.Type, whose, effect))
	}
	return strings.Join(notes, "; ")
}
