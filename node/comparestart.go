package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrDiffers says that what this member holds is not what the others do.
var ErrDiffers = errors.New("the key space of this member differs from that of the others")

// compareAtStart holds what this member has in its store, before it takes part, against
// what those have that run. Only a majority keeps it from going on; where there is none,
// or nobody can be compared with, the leader will compare it later.
func (n *Node) compareAtStart(ctx context.Context) error {
	others := n.others()
	if !n.opts.CompareAtStart || len(others) == 0 {
		return nil
	}
	p := pointOf(n.machine.State())
	own, answers, err := newComparison(n).gather(ctx, others, p, false)
	if err != nil {
		return fmt.Errorf("hash the key space of this member: %w", err)
	}
	// The others are ahead by what this one is yet to hear of.
	conf := n.machine.Conf()
	v := judge(p, point{math.MaxUint64, math.MaxInt64, math.MaxInt64}, conf.IsVoter, append(answers, answer{n.id, own}))
	switch {
	case slices.Contains(v.wrong, n.id):
		return fmt.Errorf("%w: at revision %d, compacted %d, the hashes by member are %v; move %s out of the way and start again, and the store is made anew from another member (docs/operate/corrupt.md)",
			ErrDiffers, p.rev, p.compacted, v.sums(), n.path(storeDir))
	case len(v.wrong) > 0:
		n.log.Warn("members differ in the key space", "members", v.wrong, "revision", p.rev, "compacted", p.compacted, "hashes", v.sums())
	case len(v.opinions) > 1:
		n.log.Info("the key space is that of the other members", "members", v.members(), "revision", p.rev, "compacted", p.compacted)
	default:
		n.log.Info("no other member could be compared with at the start", "moved", v.moved)
	}
	return nil
}
