package lessor

import "time"

// Clock is the time of leases: that for which the leader was awake. A process that was
// stopped, or a machine that slept, could not be asked to renew a lease, so at most Step
// passes between two looks at it.
type Clock struct {
	// Step is more than the time between two looks, and the election timeout at least:
	// after that the others have another leader.
	Step time.Duration

	last time.Time
	now  time.Duration
}

// Now is the time of leases at a moment of the real clock. Moments that lie before an
// earlier one count as that.
func (c *Clock) Now(real time.Time) time.Duration {
	if c.last.IsZero() {
		c.last = real
	}
	if d := real.Sub(c.last); d > 0 {
		c.now += min(d, c.Step)
		c.last = real
	}
	return c.now
}
