package node

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"

	"chainfire/api"
	"chainfire/internal/sniff"
	"chainfire/join"
	"chainfire/raft"
	"chainfire/snapshot"
	"chainfire/transport"
)

// servePeer serves gRPC and the Raft streams on the peer port.
func (n *Node) servePeer(l net.Listener) error {
	n.mux = sniff.New(l, sniff.Options{Logger: n.log})
	streams, err := n.mux.Prefix([]byte(transport.Magic))
	if err != nil {
		return fmt.Errorf("share the peer port: %w", err)
	}
	n.streams = streams
	n.service = &peerService{n: n}
	n.grpc = grpc.NewServer(grpc.MaxRecvMsgSize(4<<20), grpc.MaxConcurrentStreams(256))
	api.RegisterPeerServer(n.grpc, n.service)
	api.RegisterClusterServer(n.grpc, clusterService{n: n})
	calls := n.mux.HTTP2()
	n.wg.Add(2)
	go n.run("peer calls", func() error { return n.grpc.Serve(calls) })
	go n.run("peer port", n.mux.Serve)
	return nil
}

// run is a goroutine that only ends with the node; anything else is fatal.
func (n *Node) run(what string, f func() error) {
	defer n.wg.Done()
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
	addr, err := join.HostPort(n.opts.AdvertisePeer)
	if err != nil {
		return err
	}
	t, err := transport.New(transport.Options{
		Addrs:     []string{addr},
		ClusterID: n.cluster, LocalID: n.id, Incarnation: n.incarnation,
		Handler: handler{n}, Admit: n.admit, Logger: n.log,
	})
	if err != nil {
		return fmt.Errorf("start the transport: %w", err)
	}
	n.transport = t
	if err := n.wipe(snapshotDir); err != nil {
		return err
	}
	n.snapshots, err = snapshot.NewServer(snapshot.ServerOptions{
		FS: n.opts.FS, Dir: n.path(snapshotDir), Cutter: cutter{n}, ClusterID: n.cluster,
		BytesPerSecond: n.opts.SeedRate, Logger: n.log,
	})
	if err != nil {
		return fmt.Errorf("start the snapshot server: %w", err)
	}
	n.snapshotCalls = snapshot.NewService(n.snapshots, n.cluster)
	n.seeder = newSeeder(n)
	n.watch = newKeeping()
	n.gate = join.NewGate(join.GateOptions{Host: host{n}, Version: n.opts.Version, Logger: n.log})
	n.wg.Add(1)
	go n.run("raft streams", func() error { return t.Serve(n.streams) })
	return nil
}

// cutter cuts snapshots of the machine.
type cutter struct{ n *Node }

// Cut implements snapshot.Cutter.
func (c cutter) Cut(ctx context.Context, dir string) (raft.SnapshotMeta, error) {
	return c.n.machine.Checkpoint(ctx, dir)
}
