package node

import (
	"context"
	"time"

	"chainfire/bodies"
	"chainfire/bodies/external"
)

// tryWithin is how long a trial of an external store may take.
const tryWithin = 30 * time.Second

// openExternal has bodies kept in the store outside of the cluster that the options name, if they
// do. Whether it can be used is found by a trial of which only the log tells: what members do
// besides does not depend on it.
func (n *Node) openExternal(o *bodies.Options) error {
	if n.opts.BlobStore == nil {
		return nil
	}
	where := *n.opts.BlobStore
	where.Cluster, where.Former = n.cluster, n.machine.Former()
	store, err := external.New(where)
	if err != nil {
		return err
	}
	o.External = store
	n.external = &external.Collector{Store: store, State: bodyState{n}, Logger: n.log}
	return nil
}

// tryExternal says in the log whether the external store can be used.
func (n *Node) tryExternal(ctx context.Context, store *external.Store) {
	ctx, cancel := context.WithTimeout(ctx, tryWithin)
	defer cancel()
	switch err := store.Try(ctx); {
	case err == nil:
		n.log.Info("bodies of objects are kept in an external store", "bucket", n.opts.BlobStore.Bucket, "endpoint", n.opts.BlobStore.Endpoint)
	case ctx.Err() != nil && n.stopping():
	default:
		n.log.Error("the external store for bodies of objects cannot be used: objects of more than 64 KiB are refused until it can", "err", err)
	}
}

// useExternal runs until the node stops: tries the external store, and collects in it while this
// member leads.
func (n *Node) useExternal() {
	ctx, cancel := n.untilStop(context.Background())
	defer cancel()
	n.tryExternal(ctx, n.external.Store)
	n.external.Run(ctx)
}
