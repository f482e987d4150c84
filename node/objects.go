package node

import (
	"context"
	"errors"

	"chainfire"
	"chainfire/machine"
	"chainfire/object"
)

// Objects are the buckets and objects of a running member.
type Objects struct{ n *Node }

var _ object.Service = (*Objects)(nil)

// Objects are those of this member.
func (n *Node) Objects() *Objects { return &Objects{n} }

// Change implements object.Service. Without a time the change gets that of this member. A
// learner does not take it.
func (o *Objects) Change(ctx context.Context, c *object.Change) (*object.Result, error) {
	n := o.n
	if n.learner() {
		return nil, chainfire.ErrLearner
	}
	if lagging(n.commit.Load(), n.appliedIndex.Load()) {
		return nil, chainfire.ErrTooManyRequests
	}
	ctx, cancel := n.withTimeout(ctx)
	defer cancel()
	cmd := &machine.Command{Object: c}
	if err := n.untilLevel(ctx, cmd.Level()); err != nil {
		return nil, err
	}
	cost := objectCost(c)
	if err := n.roomFor(ctx, cost); err != nil {
		return nil, err
	}
	if c.Time == 0 {
		timed := *c
		timed.Time = n.sched.Now().UnixMilli()
		cmd.Object = &timed
	}
	res, err := n.do(ctx, cmd)
	if err != nil {
		n.quota.give(cost)
		if errors.Is(err, context.DeadlineExceeded) && errors.Is(context.Cause(ctx), errRequestTimeout) {
			err = chainfire.ErrNoLeader // as etcd has it said in other words
		}
		return nil, err
	}
	return res.Object, nil
}

// View implements object.Service. A learner that is to vote does not serve it, a read replica
// does.
func (o *Objects) View(ctx context.Context) (*object.View, error) {
	n := o.n
	if !n.servesAllReads() {
		return nil, chainfire.ErrLearner
	}
	ctx, cancel := n.withTimeout(ctx)
	defer cancel()
	if err := n.linearizeOr(ctx, chainfire.ErrNoLeader); err != nil {
		return nil, err
	}
	return n.machine.ObjectView()
}

// Local implements object.Service.
func (o *Objects) Local(context.Context) (*object.View, error) { return o.n.machine.ObjectView() }

// Seal implements object.Service.
func (o *Objects) Seal(id, secret string) ([]byte, error) { return o.n.sealer.seal(id, secret) }

// Unseal implements object.Service.
func (o *Objects) Unseal(id string, sealed []byte) (string, error) {
	return o.n.sealer.unseal(id, sealed)
}

// objectCost is what a change takes of the store, about; nothing for one that takes no room.
func objectCost(c *object.Change) int64 {
	if !machine.ObjectNeedsRoom(c) {
		return 0
	}
	cost := int64(keyCost)
	switch {
	case c.Put != nil:
		cost += int64(len(c.Put.Key)) + bodyCost(&c.Put.Body) + attributesCost(&c.Put.Attributes)
	case c.PutPart != nil:
		cost += int64(len(c.PutPart.Key)) + bodyCost(&c.PutPart.Body)
	case c.Copy != nil:
		cost += int64(len(c.Copy.Key)) + attributesCost(&c.Copy.Attributes)
	case c.CreateUpload != nil:
		cost += int64(len(c.CreateUpload.Key)) + attributesCost(&c.CreateUpload.Attributes)
	case c.Complete != nil:
		cost += int64(len(c.Complete.Key)) + partCost*int64(len(c.Complete.Parts))
	}
	return cost
}

// What a part of a manifest, and an extent of a body, takes in the store.
const (
	partCost   = 64
	extentCost = 16
)

func bodyCost(b *object.Body) int64 { return int64(len(b.Inline)) + extentCost*int64(len(b.Extents)) }

func attributesCost(a *object.Attributes) (sum int64) {
	for _, s := range [...]string{
		a.ContentType, a.CacheControl, a.ContentDisposition, a.ContentEncoding, a.ContentLanguage, a.Expires, a.WebsiteRedirect, a.StorageClass,
	} {
		sum += int64(len(s))
	}
	for _, list := range [2][]object.Pair{a.Meta, a.Tags} {
		for _, p := range list {
			sum += int64(len(p.Name) + len(p.Value))
		}
	}
	return sum
}

// serveObjects begins what is done for objects in the background.
func (n *Node) serveObjects() {
	n.tasks.Go(n.reapObjects)
	n.tasks.Go(n.expireObjects)
	if n.external != nil {
		n.tasks.Go(n.useExternal)
	}
}
