package etcdapi

import (
	"context"
	"slices"

	"chainfire"
)

func (f *fakeMember) Alarms() []chainfire.Alarm {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.alarms)
}

func (f *fakeMember) Alarm(ctx context.Context, r *chainfire.AlarmRequest) (*chainfire.AlarmResponse, error) {
	if err := f.enter(ctx, "Alarm"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &chainfire.AlarmResponse{Header: f.header(f.rev)}
	switch r.Action {
	case chainfire.AlarmGet:
		out.Alarms = slices.Clone(f.alarms)
	case chainfire.AlarmActivate:
		f.alarms = append(f.alarms, r.Alarm)
		out.Alarms = []chainfire.Alarm{r.Alarm}
	case chainfire.AlarmDeactivate:
		f.alarms = slices.DeleteFunc(f.alarms, func(a chainfire.Alarm) bool { return a == r.Alarm })
		out.Alarms = []chainfire.Alarm{r.Alarm}
	}
	return out, nil
}
