package machine

import (
	"errors"
	"slices"
	"testing"

	"chainfire"
)

// TestAlarmsRefuseWhatTheyMustAndOutliveARestart raises one after the other.
func TestAlarmsRefuseWhatTheyMustAndOutliveARestart(t *testing.T) {
	k := []byte("k")
	put := &chainfire.PutRequest{Key: k}
	nested := &chainfire.TxnRequest{Success: []chainfire.Op{{Txn: &chainfire.TxnRequest{Failure: []chainfire.Op{{Put: put}}}}}}
	commands := []Command{
		{Put: put},
		{Txn: nested},
		{Txn: &chainfire.TxnRequest{Success: []chainfire.Op{{Delete: &chainfire.DeleteRangeRequest{Key: k}}}}},
		{Delete: &chainfire.DeleteRangeRequest{Key: k}},
		{GrantLease: &GrantLease{ID: 7, TTL: 5}},
		{RevokeLease: &RevokeLease{ID: 7}},
		{Compact: &chainfire.CompactRequest{Revision: 1}},
	}
	const none, space, corrupt = 0, 1, 2
	want := [][]error{
		none:    {nil, nil, nil, nil, nil, nil, nil},
		space:   {chainfire.ErrNoSpace, chainfire.ErrNoSpace, nil, nil, chainfire.ErrNoSpace, chainfire.ErrLeaseNotFound, chainfire.ErrCompacted},
		corrupt: slices.Repeat([]error{chainfire.ErrCorrupt}, len(commands)),
	}
	m, fs := start(t)
	do := func(c Command) Result { return do(t, m, c) }
	check := func(row int) {
		t.Helper()
		for i, c := range commands {
			if r := do(c); !errors.Is(r.Err, want[row][i]) || (r.Err == nil) != (want[row][i] == nil) {
				t.Errorf("command %d with alarms %v: %v, want %v", i, m.Alarms(), r.Err, want[row][i])
			}
		}
	}
	check(none)
	on := func(member uint64, kind chainfire.AlarmType, off bool, changed int) {
		t.Helper()
		if r := do(Command{SetAlarm: &SetAlarm{Member: member, Type: kind, Off: off}}); r.Err != nil || len(r.Alarms) != changed {
			t.Errorf("set alarm: %+v", r)
		}
	}
	on(1, chainfire.AlarmNoSpace, true, 0)
	on(2, chainfire.AlarmNoSpace, false, 1)
	on(1, chainfire.AlarmNoSpace, false, 1)
	on(1, chainfire.AlarmNoSpace, false, 1)
	on(1, chainfire.AlarmNoSpace, true, 1)
	check(space)
	on(1, chainfire.AlarmCorrupt, false, 1)
	check(corrupt)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = reopen(t, fs)
	if got := m.Alarms(); !slices.Equal(got, []chainfire.Alarm{{MemberID: 2, Type: chainfire.AlarmNoSpace}, {MemberID: 1, Type: chainfire.AlarmCorrupt}}) {
		t.Errorf("after a restart: %v", got)
	}
	check(corrupt)
	on(1, chainfire.AlarmCorrupt, true, 1)
	check(space)
	on(2, chainfire.AlarmNoSpace, true, 1)
	if r := do(Command{Put: put}); r.Err != nil {
		t.Errorf("put: %v", r.Err)
	}
}
