package node

import (
	"context"
	"errors"
	"slices"

	"chainfire"
	"chainfire/auth"
	"chainfire/internal/courtesy"
	"chainfire/internal/sched"
	"chainfire/machine"
	"chainfire/raft/confchange"
	"chainfire/replica"

	"chainfire/raft"
)

// withTimeout bounds a request by the member's own timeout, also where its caller has more
// time: who asks a member that is cut off is to hear of it while it can still ask another.
func (n *Node) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return sched.WithTimeout(ctx, n.sched, n.opts.RequestTimeout, errRequestTimeout)
}

// withDeadline gives a request that has no deadline the member's own.
func (n *Node) withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return n.withTimeout(ctx)
}

var errRequestTimeout = errors.New("the member's own request timeout")

// timeoutError is what a request that ran out of time is told: the caller's own
// error where the caller set the limit, else that it took too long, or what is said where
// there is no leader. As with etcd, that is another error for each kind of request.
func (n *Node) timeoutError(ctx context.Context, leaderless error) error {
	if !errors.Is(context.Cause(ctx), errRequestTimeout) {
		return ctx.Err()
	}
	if n.lead.Load() == raft.None {
		return leaderless
	}
	return chainfire.ErrTimeout
}

// propose puts a proposal on its way and waits until it is applied here.
func (n *Node) propose(ctx context.Context, id uint64, kind replica.Kind, data []byte) (machine.Result, error) {
	o := n.waiters.add(id)
	n.inbox.put(func(in *inputs) {
		in.proposals = append(in.proposals, replica.Proposal{ID: id, Kind: kind, Data: data})
	})
	switch n.sched.Wait(o.done, n.stop, ctx.Done()) {
	case 0:
		return o.result, o.err
	case 1:
		n.waiters.forget(id)
		return machine.Result{}, chainfire.ErrStopped
	default:
		n.counts.failed.Add(1)
		n.waiters.forget(id)
		n.inbox.put(func(in *inputs) { in.cancels = append(in.cancels, id) })
		return machine.Result{}, n.timeoutError(ctx, context.DeadlineExceeded)
	}
}

// do runs one command through the log.
func (n *Node) do(ctx context.Context, c *machine.Command) (machine.Result, error) {
	ctx, cancel := n.withTimeout(ctx)
	defer cancel()
	c.ID = machine.RequestID{Member: n.id, Seq: n.nextID.Add(1)}
	// What is in the log must be applied by every member; whatever cannot be
	// never gets there.
	if err := c.Validate(); err != nil {
		return machine.Result{}, err
	}
	began := n.sched.Now()
	r, err := n.propose(ctx, c.ID.Seq, replica.Command, c.AppendTo(nil))
	if err == nil && writesKeys(&r) {
		n.courtesy.Took(courtesy.Answer, n.sched.Now().Sub(began))
	}
	return r, err
}

// writesKeys reports whether a result is that of a write of keys.
func writesKeys(r *machine.Result) bool { return r.Put != nil || r.Delete != nil || r.Txn != nil }

// change runs one membership change through the log, whoever votes then.
func (n *Node) change(ctx context.Context, c confchange.Change) error {
	return n.changeFor(ctx, nil, c)
}

// changeFor runs one membership change through the log that was decided on for these
// voters: if there are others by its turn it changes nothing, and the error is
// machine.ErrVotersChanged. While another is under way it waits its turn, within the
// context.
func (n *Node) changeFor(ctx context.Context, voters []uint64, c confchange.Change) error {
	ctx, cancel := n.withDeadline(ctx)
	defer cancel()
	for {
		mc := machine.MemberContext{ID: machine.RequestID{Member: n.id, Seq: n.nextID.Add(1)}, Voters: voters}
		c.Context = mc.AppendTo(nil)
		_, err := n.propose(ctx, mc.ID.Seq, replica.Conf, raft.EncodeChange(c))
		if !errors.Is(err, chainfire.ErrConfChangePending) {
			return err
		}
		if err := n.pause(ctx, n.opts.TickInterval); err != nil {
			return chainfire.ErrConfChangePending
		}
	}
}

// linearize waits until this member's state reflects every write that was
// acknowledged before the call.
func (n *Node) linearize(ctx context.Context) error {
	return n.linearizeOr(ctx, chainfire.ErrTimeout)
}

// linearizeOr is linearize with what is said where there is no leader.
func (n *Node) linearizeOr(ctx context.Context, leaderless error) error {
	began := n.sched.Now()
	g, opened := n.readers.join()
	if opened {
		n.inbox.put(func(in *inputs) { in.reads = append(in.reads, g.id) })
	}
	err := n.await(ctx, g.done, leaderless)
	switch {
	case !opened:
	case err != nil:
		n.counts.failedReads.Add(1)
	case n.sched.Now().Sub(began) > slowReadIndex:
		n.counts.slowReads.Add(1)
	}
	return err
}

// await waits until a channel is closed, within the context and the node's life. What is
// said where there is no leader is the caller's; see timeoutError.
func (n *Node) await(ctx context.Context, c <-chan struct{}, leaderless error) error {
	switch n.sched.Wait(c, n.stop, ctx.Done()) {
	case 1:
		return chainfire.ErrStopped
	case 2:
		return n.timeoutError(ctx, leaderless)
	}
	return nil
}

// learner reports whether this member does not vote, and so serves no more than
// serializable reads, and as a read replica all reads.
func (n *Node) learner() bool { return !n.machine.Conf().IsVoter(n.id) }

// readReplica reports whether a member is to stay a learner.
func (n *Node) readReplica(id uint64) bool {
	return slices.ContainsFunc(n.machine.Members(), func(m machine.MemberRecord) bool { return m.ID == id && m.ReadReplica })
}

// servesAllReads reports whether this member serves linearizable reads.
func (n *Node) servesAllReads() bool { return !n.learner() || n.readReplica(n.id) }

func (n *Node) header(h *chainfire.Header) {
	h.ClusterID, h.MemberID, h.RaftTerm = n.cluster, n.id, n.term.Load()
}

// Range implements chainfire.KV.
func (n *Node) Range(ctx context.Context, r *chainfire.RangeRequest) (*chainfire.RangeResponse, error) {
	if !r.Serializable {
		if !n.servesAllReads() {
			return nil, chainfire.ErrLearner
		}
		ctx, cancel := n.withTimeout(ctx)
		defer cancel()
		if err := n.linearize(ctx); err != nil {
			return nil, err
		}
	}
	var out *chainfire.RangeResponse
	err := n.permitted(ctx,
		func(s *auth.State, id auth.Identity) error { return s.PermitRead(id, r.Key, r.RangeEnd) },
		func() (err error) {
			began := n.sched.Now()
			out, err = n.machine.Range(ctx, r)
			n.counts.ranged(n.sched.Now().Sub(began), err)
			return err
		})
	if err != nil {
		return nil, err
	}
	n.header(&out.Header)
	return out, nil
}

// Put implements chainfire.KV.
func (n *Node) Put(ctx context.Context, r *chainfire.PutRequest) (*chainfire.PutResponse, error) {
	if n.learner() {
		return nil, chainfire.ErrLearner
	}
	res, err := n.doWithRoom(ctx, putCost(r), &machine.Command{Put: r})
	if err != nil {
		return nil, err
	}
	n.header(&res.Put.Header)
	return res.Put, nil
}

// DeleteRange implements chainfire.KV.
func (n *Node) DeleteRange(ctx context.Context, r *chainfire.DeleteRangeRequest) (*chainfire.DeleteRangeResponse, error) {
	if n.learner() {
		return nil, chainfire.ErrLearner
	}
	res, err := n.doFor(ctx, &machine.Command{Delete: r})
	if err != nil {
		return nil, err
	}
	n.header(&res.Delete.Header)
	return res.Delete, nil
}

// Txn implements chainfire.KV.
func (n *Node) Txn(ctx context.Context, r *chainfire.TxnRequest) (*chainfire.TxnResponse, error) {
	if !r.IsReadOnly() {
		if n.learner() {
			return nil, chainfire.ErrLearner
		}
		res, err := n.doWithRoom(ctx, txnCost(r), &machine.Command{Txn: r})
		if err != nil {
			return nil, err
		}
		n.header(&res.Txn.Header)
		return res.Txn, nil
	}
	if !r.IsSerializable() {
		if !n.servesAllReads() {
			return nil, chainfire.ErrLearner
		}
		ctx, cancel := n.withTimeout(ctx)
		defer cancel()
		if err := n.linearize(ctx); err != nil {
			return nil, err
		}
	}
	var out *chainfire.TxnResponse
	err := n.permitted(ctx,
		func(s *auth.State, id auth.Identity) error { return machine.PermitTxn(s, id, r) },
		func() (err error) {
			if out, err = n.machine.ReadTxn(ctx, r); err == nil {
				n.counts.ops(out)
			}
			return err
		})
	if err != nil {
		return nil, err
	}
	n.header(&out.Header)
	return out, nil
}

// Compact implements chainfire.KV.
func (n *Node) Compact(ctx context.Context, r *chainfire.CompactRequest) (*chainfire.CompactResponse, error) {
	if n.learner() {
		return nil, chainfire.ErrLearner
	}
	res, err := n.do(ctx, &machine.Command{Compact: r})
	if err != nil {
		return nil, err
	}
	n.header(&res.Compact.Header)
	if r.Physical {
		if err := n.machine.WaitCompacted(ctx, r.Revision); err != nil {
			return nil, err
		}
	}
	return res.Compact, nil
}

// NewWatchStream implements chainfire.Watcher.
func (n *Node) NewWatchStream() chainfire.WatchStream { return n.machine.NewWatchStream() }

// Revision implements chainfire.Watcher.
func (n *Node) Revision() int64 { return n.machine.Revision() }

// Header implements chainfire.Watcher.
func (n *Node) Header() chainfire.Header {
	h := chainfire.Header{Revision: n.machine.Revision()}
	n.header(&h)
	return h
}
