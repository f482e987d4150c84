package join

import (
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire/api"
)

// ClockWarning is by how much the clocks of a newcomer and of the leader may differ
// without a warning at both: far more than machines that keep time differ by, far
// less than what certificates and tokens tolerate.
const ClockWarning = 5 * time.Second

// ahead is by how much another clock is ahead of this one, at least, when its time
// was taken between two moments of this one; negative is behind. Neither is known
// better than that.
func ahead(theirs, before, after time.Time) time.Duration {
	switch {
	case theirs.After(after):
		return theirs.Sub(after)
	case theirs.Before(before):
		return theirs.Sub(before)
	}
	return 0
}

// skewText says whose clock is ahead of whose.
func skewText(ahead time.Duration, theirs, ours string) string {
	word := "ahead of"
	if ahead < 0 {
		ahead, word = -ahead, "behind"
	}
	return fmt.Sprintf("the clock of %s is %v %s that of %s", theirs, ahead.Round(time.Millisecond), word, ours)
}

// self names this member in texts about the leader.
func (g *Gate) self() string {
	id, _ := g.opts.Host.Identity()
	return fmt.Sprintf("the leader (member %d)", id)
}

// newcomerName names a newcomer in texts.
func newcomerName(q *api.JoinRequest) string {
	if urls := q.GetPeerUrls(); len(urls) > 0 {
		return "the newcomer at " + urls[0]
	}
	return "the newcomer"
}

// checkClock refuses a newcomer for whom certificates and tokens would begin and end
// at other times than for the members. The way of its request is short beside what
// is tolerated.
func (g *Gate) checkClock(q *api.JoinRequest) error {
	limit := g.opts.ClockTolerance
	if q.GetClockUnixMillis() == 0 || limit == 0 {
		return nil
	}
	now := g.opts.Sched.Now()
	d := ahead(time.UnixMilli(q.GetClockUnixMillis()), now, now)
	if d.Abs() <= limit {
		return nil
	}
	return status.Errorf(codes.FailedPrecondition,
		"%s; certificates and join tokens begin and end by the clock, so no more than %v is let in: set the clocks of both machines (as by NTP), then join again",
		skewText(d, newcomerName(q), g.self()), limit)
}

// compareClocks warns of a newcomer whose clock differs, as it told when it was called
// back.
func (g *Gate) compareClocks(asked time.Time, theirs int64, peerURL string) {
	if theirs == 0 {
		return
	}
	if d := ahead(time.UnixMilli(theirs), asked, g.opts.Sched.Now()); d.Abs() > ClockWarning {
		g.opts.Logger.Warn("clocks differ: "+skewText(d, "the newcomer at "+peerURL, "this member, the leader"), "ahead", d)
	}
}

// compareClocks warns of a leader whose clock differs from this newcomer's.
func (c *Newcomer) compareClocks(asked time.Time, theirs int64) {
	if theirs == 0 {
		return
	}
	if d := ahead(time.UnixMilli(theirs), asked, c.opts.Sched.Now()); d.Abs() > ClockWarning {
		c.opts.Logger.Warn("clocks differ: "+skewText(d, "the leader of the cluster", "this newcomer"), "ahead", d)
	}
}
