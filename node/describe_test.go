package node

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"chainfire"
	"chainfire/auth"
	"chainfire/internal/sched"
	"chainfire/machine"
	"chainfire/raft"
)

func described(t *testing.T, c machine.Command) string {
	t.Helper()
	c.ID = machine.RequestID{Member: 1, Seq: 7}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	got, err := describeEntry(&raft.Entry{Data: c.AppendTo(nil)})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCommandsAreDescribedWithoutWhatTheyKeep(t *testing.T) {
	secret := []byte("the-secret")
	long := []byte(strings.Repeat("k", 10_000))
	var many []chainfire.Op
	for i := range 100 {
		many = append(many, chainfire.Op{Put: &chainfire.PutRequest{Key: fmt.Appendf(nil, "a-key-of-some-length-%d", i), Value: secret}})
	}
	for want, c := range map[string]machine.Command{
		`header:<ID:7 > put:<key:"k" value_size:10 lease:5 >`: {Put: &chainfire.PutRequest{Key: []byte("k"), Value: secret, Lease: 5}},
		`put:<key:"kkk`:                         {Put: &chainfire.PutRequest{Key: long}},
		`delete_range:<key:"a" range_end:"b" >`: {Delete: &chainfire.DeleteRangeRequest{Key: []byte("a"), RangeEnd: []byte("b")}},
		`txn:<compare:<key:"c" > success:<request_put:<key:"k" value_size:10 > > failure:<request_range:<key:"r" > >>`: {Txn: &chainfire.TxnRequest{
			Compare: []chainfire.Compare{{Key: []byte("c"), Target: chainfire.CompareValue, Value: secret}},
			Success: []chainfire.Op{{Put: &chainfire.PutRequest{Key: []byte("k"), Value: secret}}},
			Failure: []chainfire.Op{{Range: &chainfire.RangeRequest{Key: []byte("r")}}},
		}},
		` more)`:                   {Txn: &chainfire.TxnRequest{Success: many}},
		`compaction:<revision:3 >`: {Compact: &chainfire.CompactRequest{Revision: 3}},
		`header:<ID:7 > auth:<>`:   {Auth: &auth.Change{Op: chainfire.AuthUserAdd, User: "eve", Hash: secret}},
	} {
		got := described(t, c)
		if !strings.Contains(got, want) || strings.Contains(got, "the-secret") || len(got) > 2*maxDescription {
			t.Errorf("%d bytes: %.300s, want %s", len(got), got, want)
		}
	}
}

// clock is a scheduler whose time a test sets.
type clock struct {
	sched.Scheduler
	now time.Time
}

func (c *clock) Now() time.Time { return c.now }

func TestHeartbeatsThatWaitTwoIntervalsAreLate(t *testing.T) {
	c := &clock{Scheduler: sched.Go{}, now: time.Unix(1, 0)}
	n := &Node{opts: Options{HeartbeatTicks: 2, TickInterval: 50 * time.Millisecond}, log: slog.New(slog.DiscardHandler), sched: c, counts: newCounts()}
	var b beats
	beat := []raft.Message{{Type: raft.MsgHeartbeat, To: 2}, {Type: raft.MsgAppend, To: 2}, {Type: raft.MsgHeartbeat, To: 3}}
	for _, step := range []struct {
		after time.Duration
		term  uint64
		late  uint64
	}{
		{0, 1, 0},
		{200 * time.Millisecond, 1, 0},
		{201 * time.Millisecond, 1, 2},
		{time.Hour, 2, 2}, // the first ones of a leader are not late
		{time.Second, 2, 4},
	} {
		c.now = c.now.Add(step.after)
		b.sent(n, step.term, beat[1:2])
		b.sent(n, step.term, beat)
		if got := n.counts.late.Load(); got != step.late {
			t.Errorf("after %v in term %d: %d late, want %d", step.after, step.term, got, step.late)
		}
	}
}
