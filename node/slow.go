package node

import (
	"fmt"
	"strings"
	"time"

	"chainfire/machine"
	"chainfire/raft"
)

const (
	// How many lines about slow rounds there are in a second, and at once.
	slowLines, slowBurst = 5, 20
	// lateInterval is how often late heartbeats are logged, at most.
	lateInterval = 10 * time.Second
	// slowReadIndex is how long a round for linearizable reads takes that is slow: after as
	// long etcd asks again.
	slowReadIndex = 500 * time.Millisecond
)

// appliedIn looks at how long a round of applying took.
func (n *Node) appliedIn(took time.Duration, es []raft.Entry, results []machine.Result) {
	if n.opts.SlowApply <= 0 || took <= n.opts.SlowApply {
		return
	}
	c := n.counts
	c.slowApplies.Add(1)
	if !c.slowLines.AllowN(n.sched.Now(), 1) {
		c.slowLeftOut++
		return
	}
	e := largest(es)
	request, err := describeEntry(e)
	if err != nil {
		request = err.Error() // it was applied, so that this is a matter of words
	}
	attrs := []any{
		"took", took, "limit", n.opts.SlowApply, "kind", "", "request", request,
		"response", describeResult(e.Index, results), "entries", len(es), "index", e.Index,
	}
	for i := range results {
		if results[i].Index == e.Index && results[i].Err != nil {
			attrs = append(attrs, "err", results[i].Err)
		}
	}
	if c.slowLeftOut > 0 {
		attrs = append(attrs, "left_out", c.slowLeftOut)
		c.slowLeftOut = 0
	}
	n.log.Warn("applying took long", attrs...)
}

// largest is the entry that most of a round is likely about.
func largest(es []raft.Entry) *raft.Entry {
	out := &es[0]
	for i := range es {
		if len(es[i].Data) > len(out.Data) {
			out = &es[i]
		}
	}
	return out
}

func describeResult(index uint64, results []machine.Result) string {
	for i := range results {
		switch r := &results[i]; {
		case r.Index != index:
		case r.Delete != nil:
			return fmt.Sprintf("deleted:%d", r.Delete.Deleted)
		case r.Txn != nil:
			return fmt.Sprintf("succeeded:%t responses:%d", r.Txn.Succeeded, len(r.Txn.Responses))
		}
	}
	return ""
}

// beats finds out whether heartbeats go out in time. It is the loop's own.
type beats struct {
	term uint64
	last time.Time
}

// sent takes the messages that go out in a term. Those that come more than two intervals
// after the ones before are late: the leader was held up.
func (b *beats) sent(n *Node, term uint64, msgs []raft.Message) {
	var to []string
	for i := range msgs {
		if msgs[i].Type == raft.MsgHeartbeat {
			to = append(to, fmt.Sprintf("%x", msgs[i].To))
		}
	}
	if len(to) == 0 {
		return
	}
	now := n.sched.Now()
	every := time.Duration(n.opts.HeartbeatTicks) * n.opts.TickInterval
	gap := now.Sub(b.last)
	again := b.term == term
	b.term, b.last = term, now
	if !again || gap <= 2*every {
		return
	}
	n.counts.late.Add(uint64(len(to)))
	if n.counts.lateLines.AllowN(now, 1) {
		n.log.Warn("heartbeats go out late", "to", strings.Join(to, ","), "heartbeat", every, "limit", 2*every, "exceeded", gap-2*every)
	}
}
