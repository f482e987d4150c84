package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"chainfire/internal/witness"
)

// record is what everyone sees of a cluster, for package witness to judge.
type record struct {
	t     *testing.T
	start time.Time

	mu      sync.Mutex
	history witness.History
	leases  []clientv3.LeaseID // those that are likely to live
	// acks counts acknowledged writes, shown is the highest revision anyone saw.
	acks, shown atomic.Int64
	// compacted is the last revision that was compacted, goal where everyone is done.
	compacted, goal atomic.Int64
	watches         []*seenWatch
}

func (r *record) now() int64 { return int64(time.Since(r.start)) }

func (r *record) saw(revision int64) {
	for {
		at := r.shown.Load()
		if revision <= at || r.shown.CompareAndSwap(at, revision) {
			return
		}
	}
}

func (r *record) add(o *witness.Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Ops = append(r.history.Ops, *o)
}

// versionOf is a version of a key, as a history has it.
func versionOf(kv *mvccpb.KeyValue) witness.KV {
	return witness.KV{
		Key: string(kv.Key), Value: string(kv.Value), Create: kv.CreateRevision, Mod: kv.ModRevision,
		Version: kv.Version, Lease: kv.Lease,
	}
}

func versionsOf(kvs ...*mvccpb.KeyValue) []witness.KV {
	var out []witness.KV
	for _, kv := range kvs {
		if kv != nil {
			out = append(out, versionOf(kv))
		}
	}
	return out
}

// seenClient does one operation after the other.
type seenClient struct {
	*record
	who    string
	client *clientv3.Client
	rng    *rand.Rand
	puts   int
	// known is the last version that it saw of each key.
	known map[string]int64
}

// clientPatience is for how long a client waits for an answer.
const clientPatience = time.Second

// run asks until the context ends; what is under way then is not cut short.
func (c *seenClient) run(ctx context.Context, pace time.Duration) {
	every(ctx, pace, func() { c.do(ctx, c.choose()) })
}

func (c *seenClient) key() string {
	return [...]string{"a/0", "a/1", "a/2", "a/3", "a/4", "b/0", "b/1", "b/2", "b/3", "c/0", "c/1"}[c.rng.IntN(11)]
}

func (c *seenClient) put(key string) witness.Step {
	c.puts++
	s := witness.Step{Kind: witness.Put, Key: key, Value: fmt.Sprintf("%s %d", c.who, c.puts)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.leases); n > 0 && c.rng.IntN(5) == 0 {
		s.Lease = int64(c.leases[c.rng.IntN(n)])
	}
	return s
}

// choose makes an operation of any kind.
func (c *seenClient) choose() *witness.Op {
	o := &witness.Op{Who: c.who}
	key, other := c.key(), c.key()
	get, del := witness.Step{Key: key}, witness.Step{Kind: witness.Delete, Key: key}
	all := witness.Step{Key: "a/", End: "a0", Limit: c.rng.Int64N(4)}
	switch p := c.rng.IntN(100); {
	case p < 10:
		o.Then, o.Serializable = []witness.Step{get}, c.rng.IntN(2) == 0
	case p < 16:
		o.Then, o.Serializable = []witness.Step{all, {Key: "b/", End: "\x00"}}, c.rng.IntN(2) == 0
	case p < 22:
		o.Then, o.Serializable = []witness.Step{all}, c.rng.IntN(2) == 0
		o.At = max(1, c.shown.Load()-c.rng.Int64N(150))
	case p < 55:
		o.Then = []witness.Step{c.put(key)}
	case p < 62:
		o.Then = []witness.Step{del}
	case p < 65:
		del.Key, del.End = "b/", "b0"
		o.Then = []witness.Step{del}
	case p < 75:
		o.If = []witness.Compare{{Key: key, Target: witness.TargetVersion, Relation: witness.Greater}}
		o.Then, o.Else = []witness.Step{del}, []witness.Step{c.put(key)}
	case p < 85 && key != other:
		o.Then = []witness.Step{c.put(key), {Kind: witness.Delete, Key: other}, {Key: "", End: "\x00"}}
	default:
		o.If = []witness.Compare{{Key: key, Target: witness.TargetMod, Number: c.known[key]}}
		if key[0] == 'a' {
			o.If = append(o.If, witness.Compare{Key: "c/0", Target: witness.TargetValue, Relation: witness.NotEqual, Value: "nothing"})
		}
		o.Then, o.Else = []witness.Step{c.put(key), {Kind: witness.Delete, Key: "c/0", End: "c0"}}, []witness.Step{get, all}
		if key[0] == 'c' {
			o.Then = []witness.Step{c.put(key), c.put("a/0"), c.put("b/0"), get}
		}
	}
	return o
}

// do runs an operation and notes how it went.
func (c *seenClient) do(ctx context.Context, o *witness.Op) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clientPatience)
	defer cancel()
	o.Call = c.now()
	err := c.request(ctx, o)
	o.Return = c.now()
	c.note(o, err)
}

// note records an operation that ended with an error, or without.
func (c *seenClient) note(o *witness.Op, err error) {
	switch {
	case err == nil:
		c.saw(o.Revision)
		for _, f := range o.Found {
			for _, kv := range f.KVs {
				c.known[kv.Key] = kv.Mod
			}
		}
		if o.Succeeded && len(o.Then) > 0 && o.Then[0].Kind != witness.Get {
			c.known[o.Then[0].Key] = o.Revision
			c.acks.Add(1)
		}
	case errors.Is(err, rpctypes.ErrCompacted):
		o.Outcome = witness.Compacted
	case errors.Is(err, rpctypes.ErrLeaseNotFound), errors.Is(err, rpctypes.ErrFutureRev):
		o.Outcome = witness.Refused
	default:
		// Whatever it says, a write may have been on its way.
		o.Outcome = witness.Ambiguous
	}
	c.add(o)
}

// request asks for an operation: alone, where it can be, or as a transaction.
func (c *seenClient) request(ctx context.Context, o *witness.Op) error {
	if len(o.Then) == 1 && len(o.If) == 0 && (o.At != 0 || c.rng.IntN(3) > 0) {
		r, err := c.client.Do(ctx, opOf(o, o.Then[0]))
		if err != nil {
			return err
		}
		o.Succeeded = true
		switch {
		case r.Get() != nil:
			o.Revision, o.Found = r.Get().Header.Revision, []witness.Found{foundByGet((*pb.RangeResponse)(r.Get()))}
		case r.Put() != nil:
			o.Revision, o.Found = r.Put().Header.Revision, []witness.Found{{KVs: versionsOf(r.Put().PrevKv)}}
		default:
			o.Revision, o.Found = r.Del().Header.Revision, []witness.Found{{KVs: versionsOf(r.Del().PrevKvs...), Count: r.Del().Deleted}}
		}
		return nil
	}
	var branches [2][]clientv3.Op
	for i, steps := range [...][]witness.Step{o.Then, o.Else} {
		for _, s := range steps {
			branches[i] = append(branches[i], opOf(o, s))
		}
	}
	r, err := c.client.Txn(ctx).If(conditionsOf(o)...).Then(branches[0]...).Else(branches[1]...).Commit()
	if err != nil {
		return err
	}
	o.Revision, o.Succeeded = r.Header.Revision, r.Succeeded
	for _, a := range r.Responses {
		switch {
		case a.GetResponseRange() != nil:
			o.Found = append(o.Found, foundByGet(a.GetResponseRange()))
		case a.GetResponsePut() != nil:
			o.Found = append(o.Found, witness.Found{KVs: versionsOf(a.GetResponsePut().PrevKv)})
		default:
			d := a.GetResponseDeleteRange()
			o.Found = append(o.Found, witness.Found{KVs: versionsOf(d.PrevKvs...), Count: d.Deleted})
		}
	}
	return nil
}

func foundByGet(r *pb.RangeResponse) witness.Found {
	return witness.Found{KVs: versionsOf(r.Kvs...), Count: r.Count}
}

func opOf(o *witness.Op, s witness.Step) clientv3.Op {
	var opts []clientv3.OpOption
	if s.End == "\x00" && s.Key == "" {
		s.Key = "\x00"
	}
	if s.End != "" {
		opts = append(opts, clientv3.WithRange(s.End))
	}
	switch s.Kind {
	case witness.Put:
		return clientv3.OpPut(s.Key, s.Value, clientv3.WithPrevKV(), clientv3.WithLease(clientv3.LeaseID(s.Lease)))
	case witness.Delete:
		return clientv3.OpDelete(s.Key, append(opts, clientv3.WithPrevKV())...)
	}
	if o.Serializable {
		opts = append(opts, clientv3.WithSerializable())
	}
	return clientv3.OpGet(s.Key, append(opts, clientv3.WithLimit(s.Limit), clientv3.WithRev(o.At))...)
}

func conditionsOf(o *witness.Op) []clientv3.Cmp {
	var out []clientv3.Cmp
	relation := map[witness.Relation]string{witness.Equal: "=", witness.NotEqual: "!=", witness.Less: "<", witness.Greater: ">"}
	for _, c := range o.If {
		switch c.Target {
		case witness.TargetValue:
			out = append(out, clientv3.Compare(clientv3.Value(c.Key), relation[c.Relation], c.Value))
		case witness.TargetMod:
			out = append(out, clientv3.Compare(clientv3.ModRevision(c.Key), relation[c.Relation], c.Number))
		default:
			out = append(out, clientv3.Compare(clientv3.Version(c.Key), relation[c.Relation], c.Number))
		}
	}
	return out
}

// leaseholder grants leases, renews some, lets others end, and revokes some.
func (c *seenClient) leaseholder(ctx context.Context) {
	every(ctx, 150*time.Millisecond, func() {
		try, cancel := context.WithTimeout(context.WithoutCancel(ctx), clientPatience)
		c.mu.Lock()
		held := slices.Clone(c.leases)
		c.mu.Unlock()
		switch p := c.rng.IntN(10); {
		case p < 4 || len(held) == 0:
			c.grant(try)
		case p < 8:
			c.renew(try, held[c.rng.IntN(len(held))])
		default:
			c.revoke(try, held[0])
		}
		cancel()
	})
}

func (c *seenClient) holds(id clientv3.LeaseID, ttl, call int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history.Renewals = append(c.history.Renewals, witness.Renewal{Lease: int64(id), TTL: ttl * int64(time.Second), Call: call})
	if !slices.Contains(c.leases, id) {
		c.leases = append(c.leases, id)
	}
	if len(c.leases) > 6 {
		c.leases = c.leases[1:] // it ends by itself
	}
}

func (c *seenClient) grant(ctx context.Context) {
	call := c.now()
	if r, err := c.client.Grant(ctx, 1); err == nil {
		c.holds(r.ID, r.TTL, call)
	}
}

func (c *seenClient) renew(ctx context.Context, id clientv3.LeaseID) {
	call := c.now()
	switch r, err := c.client.KeepAliveOnce(ctx, id); {
	case err == nil && r.TTL > 0:
		c.holds(id, r.TTL, call)
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		c.lets(id)
	}
}

func (c *seenClient) lets(id clientv3.LeaseID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leases = slices.DeleteFunc(c.leases, func(l clientv3.LeaseID) bool { return l == id })
}

// errGoneBefore says that a lease was gone when it was to be revoked. Etcd's client asks
// again by itself when a connection is lost: it may have been revoked the first time.
var errGoneBefore = errors.New("the lease is gone")

func (c *seenClient) revoke(ctx context.Context, id clientv3.LeaseID) {
	o := &witness.Op{Who: c.who, Revoke: int64(id), Call: c.now()}
	r, err := c.client.Revoke(ctx, id)
	o.Return = c.now()
	if err == nil {
		o.Revision, o.Succeeded = r.Header.Revision, true
	}
	c.lets(id)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		err = errGoneBefore
	}
	c.note(o, err)
}

// compactor drops history, but never what no watch of everything has shown yet.
func (c *seenClient) compactor(ctx context.Context) {
	every(ctx, 250*time.Millisecond, func() {
		at := int64(0)
		for _, w := range c.watches {
			if w.everything() {
				at = max(at, w.through.Load())
			}
		}
		if at -= 40 + c.rng.Int64N(120); at <= c.compacted.Load() {
			return
		}
		try, cancel := context.WithTimeout(context.WithoutCancel(ctx), clientPatience)
		p := witness.Compaction{Revision: at, Call: c.now()}
		_, err := c.client.Compact(try, at)
		p.Return, p.Acknowledged = c.now(), err == nil
		cancel()
		c.mu.Lock()
		c.history.Compactions = append(c.history.Compactions, p)
		c.mu.Unlock()
		c.compacted.Store(at)
	})
}
