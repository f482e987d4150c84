package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chainfire"
	"chainfire/internal/sched"
	"chainfire/internal/witness"
	"chainfire/node"
)

// kind is what a client does to a key.
type kind uint8

// The kinds. A swap writes only if the key has the mod revision expected.
const (
	opGet kind = iota
	opPut
	opSwap
	opDelete
)

func (k kind) String() string { return [...]string{"get", "put", "swap", "delete"}[k] }

// keyState is what is seen of one key; the zero value is a key that is not there.
type keyState struct {
	value        string
	mod, version int64
}

func stateOf(kvs []chainfire.KeyValue) keyState {
	if len(kvs) == 0 {
		return keyState{}
	}
	return keyState{string(kvs[0].Value), kvs[0].ModRevision, kvs[0].Version}
}

func previous(kv *chainfire.KeyValue) keyState {
	if kv == nil {
		return keyState{}
	}
	return keyState{string(kv.Value), kv.ModRevision, kv.Version}
}

// outcome is how an operation ended for its client.
type outcome uint8

// A refused operation certainly did nothing; of an open one nobody knows.
const (
	answered outcome = iota
	refused
	open
)

// op is one operation of a client.
type op struct {
	client int
	kind   kind
	key    string
	// value is that of a put or swap; no other operation has it.
	value string
	// expect is the mod revision that a swap wants; 0 is no such key.
	expect int64
	// call and answer are places in the order of everything that happens.
	call, answer int64
	end          outcome
	// wrote says that the answer acknowledges a change, made at revision.
	wrote    bool
	revision int64
	// seen is the key as it was read, or as it was before it was written.
	seen keyState
	// found says that the history holds it, at revision.
	found bool
	// header is the revision of the answer, whole what seen is of.
	header int64
	whole  []witness.KV
}

func (o *op) String() string {
	out := fmt.Sprintf("%s %s %q", o.kind, o.key, o.value)
	if o.kind == opSwap {
		out += fmt.Sprintf(" if mod is %d", o.expect)
	}
	switch {
	case o.end == refused:
		return out + " -> refused"
	case o.end == open:
		return out + fmt.Sprintf(" -> no answer (in the history: %v, revision %d)", o.found, o.revision)
	case o.wrote:
		out += fmt.Sprintf(" -> revision %d,", o.revision)
	default:
		out += " ->"
	}
	return out + fmt.Sprintf(" saw %q of revision %d, version %d", o.seen.value, o.seen.mod, o.seen.version)
}

// client is one of those who use the cluster. It stays with a member until that
// one fails it.
type client struct {
	c    *cluster
	id   int
	host *host
	n    int
	last map[string]int64 // mod revisions seen
}

func (c *cluster) startClient(id int) {
	cl := &client{c: c, id: id, last: map[string]int64{}}
	c.w.outside.Go(func() {
		for !c.quiet {
			c.w.outside.sleep(c.w.between(0, 2*c.think))
			if !c.quiet {
				cl.once()
			}
		}
	})
}

// choose makes the next operation.
func (cl *client) choose() *op {
	w := cl.c.w
	o := &op{client: cl.id, end: open, key: fmt.Sprintf("k%d", w.rng.IntN(cl.c.keys))}
	switch n := w.rng.IntN(100); {
	case n < 30:
		o.kind = opGet
	case n < 75:
		o.kind = opPut
	case n < 92:
		o.kind = opSwap
		o.expect = cl.last[o.key]
	default:
		o.kind = opDelete
	}
	if o.kind == opPut || o.kind == opSwap {
		cl.n++
		o.value = fmt.Sprintf("c%d-%d", cl.id, cl.n)
	}
	return o
}

func (cl *client) once() {
	c := cl.c
	if cl.host == nil || cl.host.retired || c.w.chance(0.02) {
		cl.host = c.anyHost()
	}
	o := cl.choose()
	c.ops = append(c.ops, o)
	o.call = c.moment()
	err := c.do(cl.host, o, c.w.between(c.patience/4, c.patience))
	o.answer = c.moment()
	o.end = classify(err)
	if o.end == answered {
		cl.last[o.key] = o.seen.mod
		if o.wrote {
			cl.last[o.key] = o.revision
		}
		if o.wrote && o.kind == opDelete {
			cl.last[o.key] = 0
		}
	} else {
		cl.host = nil
	}
	c.w.note(uint64(o.call), uint64(o.answer), uint64(o.end), uint64(o.revision))
	if c.w.story.on() {
		c.w.story.tell(fmt.Sprintf("client%d", cl.id), "%s%s", o, reasonOf(err))
	}
}

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

var errNotServing = errors.New("the member does not serve yet")

// classify says what an error means for the operation.
func classify(err error) outcome {
	switch {
	case err == nil:
		return answered
	case errors.Is(err, errNotServing), errors.Is(err, chainfire.ErrLearner), errors.Is(err, chainfire.ErrTooManyRequests):
		return refused
	}
	return open
}

// moment numbers everything that happens.
func (c *cluster) moment() int64 {
	c.moments++
	return c.moments
}

// at runs f on a member, over the network.
func (c *cluster) at(h *host, patience time.Duration, f func(context.Context, *node.Node) error) error {
	p := c.w.outside
	ctx, cancel := sched.WithTimeout(context.Background(), p, patience, nil)
	defer cancel()
	return c.net.call(ctx, p, "outside", h.addr, func(ctx context.Context, _ *proc, _ *port) error {
		if h.node == nil {
			return errNotServing
		}
		return f(ctx, h.node)
	})
}

// answer is what an operation brought, before it is the client's.
type answer struct {
	wrote    bool
	revision int64
	seen     keyState
	header   int64
	whole    []witness.KV
}

func (c *cluster) do(h *host, o *op, patience time.Duration) error {
	var a answer
	err := c.at(h, patience, func(ctx context.Context, n *node.Node) (err error) {
		a, err = perform(ctx, n, o)
		return err
	})
	if err == nil {
		o.wrote, o.revision, o.seen, o.header, o.whole = a.wrote, a.revision, a.seen, a.header, a.whole
	}
	return err
}

func perform(ctx context.Context, n *node.Node, o *op) (answer, error) {
	key := []byte(o.key)
	switch o.kind {
	case opGet:
		r, err := n.Range(ctx, &chainfire.RangeRequest{Key: key})
		if err != nil {
			return answer{}, err
		}
		return answer{seen: stateOf(r.KVs), header: r.Header.Revision, whole: wholeOf(r.KVs...)}, nil
	case opPut:
		r, err := n.Put(ctx, &chainfire.PutRequest{Key: key, Value: []byte(o.value), PrevKV: true})
		if err != nil {
			return answer{}, err
		}
		return written(r.Header.Revision, r.PrevKV), nil
	case opDelete:
		r, err := n.DeleteRange(ctx, &chainfire.DeleteRangeRequest{Key: key, PrevKV: true})
		if err != nil {
			return answer{}, err
		}
		return answer{wrote: r.Deleted > 0, revision: r.Header.Revision, seen: stateOf(r.PrevKVs), header: r.Header.Revision, whole: wholeOf(r.PrevKVs...)}, nil
	}
	r, err := n.Txn(ctx, &chainfire.TxnRequest{
		Compare: []chainfire.Compare{{Key: key, Target: chainfire.CompareMod, Result: chainfire.CompareEqual, Number: o.expect}},
		Success: []chainfire.Op{{Put: &chainfire.PutRequest{Key: key, Value: []byte(o.value), PrevKV: true}}},
		Failure: []chainfire.Op{{Range: &chainfire.RangeRequest{Key: key}}},
	})
	switch {
	case err != nil:
		return answer{}, err
	case r.Succeeded:
		return written(r.Header.Revision, r.Responses[0].Put.PrevKV), nil
	}
	kvs := r.Responses[0].Range.KVs
	return answer{seen: stateOf(kvs), header: r.Header.Revision, whole: wholeOf(kvs...)}, nil
}

// written is the answer to a put that replaced a version, or none.
func written(revision int64, prev *chainfire.KeyValue) answer {
	a := answer{wrote: true, revision: revision, seen: previous(prev), header: revision}
	if prev != nil {
		a.whole = wholeOf(*prev)
	}
	return a
}
