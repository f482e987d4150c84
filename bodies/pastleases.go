package bodies

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"chainfire/object"
)

// PastLeases closes write leases under which nothing is written any more: those of earlier starts of a
// member and, where it leads, those of members that are none any more, or were not heard of for long.
// Who is away for so long and comes back has to send its bodies again. It is also for a member that keeps
// no bodies itself. All fields are required.
type PastLeases struct {
	State State
	// Member asks, in its start Boots.
	Member, Boots uint64
	// AbsentFor is how long a member is not heard of before its leases are closed.
	AbsentFor time.Duration
	// Now is the clock.
	Now    func() time.Time
	Logger *slog.Logger
}

// Close closes those that there are. It may be called from any goroutine.
func (p *PastLeases) Close(ctx context.Context) error {
	open, err := p.open(ctx)
	if err != nil {
		return err
	}
	return p.close(ctx, open)
}

func (p *PastLeases) open(ctx context.Context) (open []object.Lease, err error) {
	err = view(ctx, p.State, func(v *object.View) (err error) {
		open, err = v.Leases()
		return err
	})
	return open, err
}

func (p *PastLeases) close(ctx context.Context, open []object.Lease) error {
	leads, earlier := p.State.Leads(), false
	for _, l := range open {
		if l.Member == p.Member {
			earlier = earlier || l.Boots < p.Boots
			continue
		}
		if !leads || !p.State.Absent(l.Member, p.AbsentFor) {
			continue
		}
		if err := p.change(ctx, &object.Change{CloseLease: &object.CloseLease{ID: l.ID}}); err != nil {
			return fmt.Errorf("close write lease %d of member %d: %w", l.ID, l.Member, err)
		}
		p.Logger.Info("a write lease of an absent member was closed", "lease", l.ID, "member", l.Member)
	}
	if !earlier {
		return nil
	}
	return p.change(ctx, &object.Change{CloseLeases: &object.CloseLeases{Member: p.Member, Boots: p.Boots}})
}

func (p *PastLeases) change(ctx context.Context, c *object.Change) error {
	c.Time = p.Now().UnixMilli()
	_, err := p.State.Change(ctx, c)
	return err
}
