package machine

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"chainfire"
	"chainfire/internal/record"
	"chainfire/mvcc"
)

// AlarmLevel is the feature level from which on the log and the store may hold alarms.
const AlarmLevel uint64 = 2

// maxAlarms bounds the alarms of a cluster.
const maxAlarms = 1000

// SetAlarm raises an alarm, or takes it back. Raising is refused with
// chainfire.ErrTooManyAlarms; what is as it is to be stays so.
type SetAlarm struct {
	Member uint64
	Type   chainfire.AlarmType
	Off    bool
}

func (q *SetAlarm) check() error {
	if q.Type != chainfire.AlarmNoSpace && q.Type != chainfire.AlarmCorrupt {
		return chainfire.ErrUnknownAlarm
	}
	return nil
}

func messageSetAlarm() record.Message {
	return record.New("set alarm", record.Number, record.Number, record.Flag)
}

func appendSetAlarm(b []byte, q *SetAlarm) []byte {
	b = record.AppendUint(b, 1, q.Member)
	b = record.AppendUint(b, 2, uint64(q.Type))
	return record.AppendBool(b, 3, q.Off)
}

func decodeSetAlarm(b []byte) (*SetAlarm, error) {
	q := &SetAlarm{}
	m := messageSetAlarm()
	return q, m.Read(b, func(x record.Field) (err error) {
		switch x.Num {
		case 1:
			q.Member = x.N
		case 2:
			var n uint8
			n, err = m.Enum(x, uint8(chainfire.AlarmCorrupt))
			q.Type = chainfire.AlarmType(n)
		case 3:
			q.Off = x.N == 1
		}
		return err
	})
}

// rowAlarm begins the row of an alarm; the type, in one byte, and the member follow. It
// holds one byte, the version.
const (
	rowAlarm     = "alarm/"
	alarmVersion = 1
)

func alarmRow(a chainfire.Alarm) string {
	return memberRow(rowAlarm+string([]byte{byte(a.Type)}), a.MemberID)
}

func isAlarmRow(name string) bool {
	return len(name) == len(rowAlarm)+9 && name[:len(rowAlarm)] == rowAlarm
}

func (c *cluster) loadAlarm(row mvcc.MetaRow) error {
	if len(row.Value) != 1 || row.Value[0] != alarmVersion {
		return fmt.Errorf("%w: alarm row", ErrNewer)
	}
	b := []byte(row.Name[len(rowAlarm):])
	a := chainfire.Alarm{MemberID: binary.BigEndian.Uint64(b[1:]), Type: chainfire.AlarmType(b[0])}
	if err := (&SetAlarm{Member: a.MemberID, Type: a.Type}).check(); err != nil {
		return fmt.Errorf("%w: %w", ErrNewer, err)
	}
	c.setAlarm(a, true)
	return nil
}

func compareAlarms(a, b chainfire.Alarm) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.MemberID, b.MemberID))
}

// setAlarm raises an alarm or takes it back.
func (c *cluster) setAlarm(a chainfire.Alarm, on bool) {
	i, found := slices.BinarySearchFunc(c.alarms, a, compareAlarms)
	switch {
	case found == on:
	case on:
		c.alarms = slices.Insert(c.alarms, i, a)
	default:
		c.alarms = slices.Delete(c.alarms, i, i+1)
	}
}

func (c *cluster) raised(t chainfire.AlarmType) bool {
	return slices.ContainsFunc(c.alarms, func(a chainfire.Alarm) bool { return a.Type == t })
}

func (r *round) setAlarm(q *SetAlarm) ([]chainfire.Alarm, error) {
	if err := q.check(); err != nil {
		return nil, refuse(err)
	}
	a := chainfire.Alarm{MemberID: q.Member, Type: q.Type}
	_, found := slices.BinarySearchFunc(r.cluster.alarms, a, compareAlarms)
	switch {
	case found && !q.Off:
		return []chainfire.Alarm{a}, nil
	case !found && q.Off:
		return nil, nil
	case !found && len(r.cluster.alarms) >= maxAlarms:
		return nil, refuse(chainfire.ErrTooManyAlarms)
	}
	r.editing().setAlarm(a, !q.Off)
	if q.Off {
		return []chainfire.Alarm{a}, r.w.DeleteMeta(alarmRow(a))
	}
	return []chainfire.Alarm{a}, r.w.SetMeta(alarmRow(a), []byte{alarmVersion})
}

// alarmed refuses what the alarms that are raised do not let pass, as in etcd.
func (r *round) alarmed(c *Command) error {
	if len(r.cluster.alarms) == 0 {
		return nil
	}
	writes := c.Put != nil || c.Delete != nil || c.Txn != nil || c.Compact != nil || c.GrantLease != nil || c.RevokeLease != nil
	room := c.Put != nil || c.GrantLease != nil || c.Txn != nil && puts(c.Txn)
	if o := c.Object; o != nil {
		// As users may be changed, so may access keys.
		writes, room = o.SetKey == nil && o.DeleteKey == nil, ObjectNeedsRoom(o)
	}
	switch {
	case writes && r.cluster.raised(chainfire.AlarmCorrupt):
		return refuse(chainfire.ErrCorrupt)
	case room && r.cluster.raised(chainfire.AlarmNoSpace):
		return refuse(chainfire.ErrNoSpace)
	}
	return nil
}

// puts reports whether any way through a transaction puts a key.
func puts(q *chainfire.TxnRequest) bool {
	put := func(o chainfire.Op) bool { return o.Put != nil || o.Txn != nil && puts(o.Txn) }
	return slices.ContainsFunc(q.Success, put) || slices.ContainsFunc(q.Failure, put)
}

// Alarms are the alarms that are raised, by type and member. They must not be changed.
// Any goroutine.
func (m *Machine) Alarms() []chainfire.Alarm { return m.cluster.Load().alarms }
