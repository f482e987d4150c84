package node

import (
	"context"
	"errors"
	"fmt"

	"chainfire"
	"chainfire/join"
	"chainfire/pki"
	"chainfire/raft"
	"chainfire/snapshot"
	"chainfire/transport"
)

// run is for a task that only ends with the node; anything else is fatal.
func (n *Node) run(what string, f func() error) {
	err := f()
	select {
	case <-n.stop:
	default:
		if err != nil {
			n.fatal(what+" failed", err)
		}
	}
}

// openPeers starts what members say to each other.
func (n *Node) openPeers() error {
	addrs, err := n.opts.helloAddrs()
	if err != nil {
		return err
	}
	t, err := n.port.Streams(transport.Options{
		Addrs:     addrs,
		ClusterID: n.cluster, LocalID: n.id, Incarnation: n.incarnation, Boots: n.boots.own, BootNonce: n.boots.nonce,
		Handler: handler{n}, Admit: n.admit, Logger: n.log,
	})
	if err != nil {
		return fmt.Errorf("start the transport: %w", err)
	}
	n.streams = t
	n.etcdTurn = make(chan struct{}, 1)
	n.etcdTurn <- struct{}{}
	if err := n.wipe(snapshotDir, etcdDir); err != nil {
		return err
	}
	served := snapshot.ServerOptions{
		FS: n.opts.FS, Dir: n.path(snapshotDir), Cutter: cutter{n}, ClusterID: n.cluster,
		BytesPerSecond: n.opts.SeedRate, Logger: n.log, Sched: n.sched,
	}
	if n.opts.SeedRate == 0 {
		served.Busy, served.YieldBytesPerSecond = (&pace{sched: n.sched, applied: n.appliedIndex.Load}).busy, yieldRate
	}
	n.snapshots, err = snapshot.NewServer(served)
	if err != nil {
		return fmt.Errorf("start the snapshot server: %w", err)
	}
	n.snapshotCalls = snapshot.NewService(n.snapshots, n.cluster)
	n.seeder = newSeeder(n)
	n.watch = newKeeping(n.sched)
	n.lessors = newLessors(n.sched, n.opts.election())
	n.gate = join.NewGate(n.gateOptions())
	n.tasks.Go(func() { n.run("raft streams", t.Serve) })
	return nil
}

// cutter cuts snapshots of the machine.
type cutter struct{ n *Node }

// Cut implements snapshot.Cutter.
func (c cutter) Cut(ctx context.Context, dir string) (raft.SnapshotMeta, error) {
	meta, err := c.n.machine.Checkpoint(ctx, dir)
	return meta, c.n.rotten(err)
}

// Verify implements snapshot.Cutter.
func (c cutter) Verify(ctx context.Context, dir string) error {
	return c.n.rotten(c.n.machine.VerifyCheckpoint(ctx, dir))
}

// rotten stops the member over damage in its store, if others can serve and give
// it back what it lost: a leader that went on could never again bring up a member
// that lags. A sole voter goes on and hands nothing on.
func (n *Node) rotten(err error) error {
	if conf := n.machine.Conf(); errors.Is(err, chainfire.ErrCorrupt) && len(conf.Voters) > 1 {
		n.fatal("the store failed", err)
	}
	return err
}

func (n *Node) gateOptions() join.GateOptions {
	o := join.GateOptions{
		Host: host{n}, Version: n.opts.Version, Logger: n.log, Dial: n.opts.Network.Dial, Sched: n.sched,
		Schemes: n.opts.schemes(), SilenceWait: 2 * n.opts.election(),
		SealKey: func() []byte { return n.sealer.handed },
	}
	if !n.opts.Plain {
		o.ClockTolerance = pki.ClockTolerance
	}
	if n.creds != nil {
		o.Door = door{n}
	}
	return o
}
