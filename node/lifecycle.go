package node

import (
	"context"
	"errors"
	"time"

	"chainfire/internal/sched"
	"chainfire/machine"
	"chainfire/object"
	"chainfire/object/lifecycle"
)

// How often the leader does what the rules of buckets ask for, and for how long each version
// that it looks at is paid for by a pause.
const (
	lifecycleEvery = time.Hour
	lifecyclePause = 100 * time.Microsecond
)

// errLeads ends a walk over a bucket at a member that leads no more.
var errLeads = errors.New("the member leads no more")

// expireObjects runs until the node stops. While this member leads, objects are deleted and uploads
// aborted as the rules of their buckets ask for.
func (n *Node) expireObjects() {
	every := n.opts.Bounds.LifecycleEvery
	if every == 0 {
		every = lifecycleEvery
	}
	ticks, stop := sched.Tick(n.sched, every)
	defer stop()
	for n.sched.Wait(n.stop, ticks) == 1 {
		term := n.leadingTerm()
		if term == 0 || n.machine.Level() < machine.ObjectLevel {
			continue
		}
		buckets, err := n.ruledBuckets()
		if err != nil {
			n.fatal("the buckets of the store cannot be read", err)
			return
		}
		for _, name := range buckets {
			if !n.expireBucket(term, name) {
				break
			}
		}
	}
}

// expireBucket walks over one bucket, and reports whether others may follow.
func (n *Node) expireBucket(term uint64, name string) bool {
	began := n.sched.Now()
	pace := func(ctx context.Context, items int) error {
		if n.leadingTerm() != term {
			return errLeads
		}
		return n.pause(ctx, time.Duration(items)*lifecyclePause)
	}
	done, err := lifecycle.Run(context.Background(), n.Objects(), name, n.sched.Now, pace)
	if done.Expired+done.Removed+done.Aborted > 0 {
		n.log.Info("the lifecycle of a bucket was applied", "bucket", name, "expired", done.Expired, "removed", done.Removed, "aborted", done.Aborted,
			"held", done.Held, "refused", done.Refused, "took", n.sched.Now().Sub(began))
	}
	if err != nil && n.leadingTerm() == term && !n.stopping() {
		n.log.Warn("the lifecycle of a bucket could not be applied to all of it; it is tried again", "bucket", name, "err", err)
	}
	return n.leadingTerm() == term && !n.stopping()
}

func (n *Node) stopping() bool {
	select {
	case <-n.stop:
		return true
	default:
		return false
	}
}

// ruledBuckets are the names of the buckets that have rules.
func (n *Node) ruledBuckets() (names []string, err error) {
	v, err := n.machine.ObjectView()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	for after := ""; ; {
		page, err := v.Buckets("", after, object.MaxPage)
		if err != nil {
			return nil, err
		}
		for i := range page {
			_, found, err := v.Config(&page[i], lifecycle.ConfigName)
			if err != nil {
				return nil, err
			}
			if found {
				names = append(names, page[i].Name)
			}
		}
		if len(page) < object.MaxPage {
			return names, nil
		}
		after = page[len(page)-1].Name
	}
}
