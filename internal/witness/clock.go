package witness

import (
	"cmp"
	"slices"
)

// clock holds revisions to the order of time.
func (c *checker) clock() {
	for i := range c.h.Ops {
		o, wrote := &c.h.Ops[i], c.wrote[i]
		if wrote != 0 {
			if first := c.turns[wrote].first; first <= o.Call {
				c.violate(RuleCause, wrote, o.key(), "somebody was shown it %dns before it was asked for: %s", o.Call-first, o)
			}
		}
		shown := c.shownBefore(o.Call)
		switch {
		case wrote != 0 && wrote <= shown:
			c.violate(RuleClock, shown, o.key(), "somebody was shown it before a write began that made revision %d: %s", wrote, o)
		case o.Outcome == Answered && !o.Serializable && o.Revision < shown:
			c.violate(RuleClock, shown, o.key(), "somebody was shown it before this began, which is of revision %d: %s", o.Revision, o)
		}
	}
}

// shownBefore is the highest revision that anybody was shown before a moment.
func (c *checker) shownBefore(moment int64) int64 {
	n, _ := slices.BinarySearchFunc(c.sights, moment, func(s sight, m int64) int { return cmp.Compare(s.when, m) })
	if n == 0 {
		return 0
	}
	return c.sights[n-1].revision
}

// compactions demands that reads are refused for compacted history when it is, and
// only then.
func (c *checker) compactions() {
	for i := range c.h.Ops {
		o := &c.h.Ops[i]
		if o.At == 0 {
			continue
		}
		asked, done := false, false
		for _, p := range c.h.Compactions {
			if p.Revision > o.At {
				asked = asked || p.Call < o.Return
				done = done || p.Acknowledged && p.Return < o.Call
			}
		}
		switch {
		case o.Outcome == Compacted && !asked:
			c.violate(RuleCompacted, o.At, o.key(), "nobody has asked for it to be compacted: %s", o)
		case o.Outcome == Answered && !o.Serializable && done:
			c.violate(RuleCompacted, o.At, o.key(), "it had been compacted: %s", o)
		}
	}
}
