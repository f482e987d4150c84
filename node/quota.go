package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"chainfire"
	"chainfire/machine"
)

// What a write takes beside its key and value, about, as etcd counts it.
const (
	keyCost   = 256
	leaseCost = 64
)

// usageEvery is how often the store is asked for its size, at most.
const usageEvery = 100 * time.Millisecond

// quota watches over the size of the store.
type quota struct {
	mu   sync.Mutex
	at   time.Time
	size int64
	// added is what was let in since the store was asked.
	added int64
}

// roomFor refuses a write of about so many bytes where the store would get larger than
// it may, and raises the alarm.
func (n *Node) roomFor(ctx context.Context, cost int64) error {
	if cost == 0 {
		return nil
	}
	if n.disk.low.Load() {
		return chainfire.ErrNoSpace
	}
	if n.opts.QuotaBytes <= 0 {
		return nil
	}
	fits, err := n.quota.take(n, cost)
	if err != nil || fits {
		return err
	}
	alarm := chainfire.Alarm{MemberID: n.id, Type: chainfire.AlarmNoSpace}
	if n.machine.Level() >= machine.AlarmLevel && !slices.Contains(n.machine.Alarms(), alarm) {
		n.log.Warn("the store has come to its quota; the cluster takes no more keys until there is room and the alarm is taken back",
			"quota_bytes", n.opts.QuotaBytes)
		if _, err := n.Alarm(ctx, &chainfire.AlarmRequest{Action: chainfire.AlarmActivate, Alarm: alarm}); err != nil {
			n.log.Warn("the alarm was not raised; the next write that does not fit tries again", "err", err)
		}
	}
	return chainfire.ErrNoSpace
}

// take reports whether a write fits, and counts it if so.
func (q *quota) take(n *Node, cost int64) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := n.sched.Now(); q.at.IsZero() || now.Sub(q.at) >= usageEvery {
		usage, err := n.machine.DiskUsage()
		if err != nil {
			return false, err
		}
		q.at, q.size, q.added = now, usage.DiskBytes+usage.MemBytes, 0
	}
	if q.size+q.added+cost >= n.opts.QuotaBytes {
		return false, nil
	}
	q.added += cost
	return true, nil
}

// give takes back what was counted for a write that was not made.
func (q *quota) give(cost int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.added = max(0, q.added-cost)
}

func putCost(r *chainfire.PutRequest) int64 { return keyCost + int64(len(r.Key)+len(r.Value)) }

// txnCost is that of the way through a transaction that costs more.
func txnCost(r *chainfire.TxnRequest) int64 {
	cost := func(ops []chainfire.Op) (sum int64) {
		for i := range ops {
			switch o := &ops[i]; {
			case o.Put != nil:
				sum += putCost(o.Put)
			case o.Txn != nil:
				sum += txnCost(o.Txn)
			}
		}
		return sum
	}
	return max(cost(r.Success), cost(r.Failure))
}
