package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"

	"chainfire/internal/invariant"
	"chainfire/machine"
	"chainfire/raft"
	"chainfire/replica"
	"chainfire/snapshot"
	"chainfire/wal"
)

// The folders of a data directory.
const (
	walDir      = "wal"
	storeDir    = "store"
	snapshotDir = "snapshots"
	seedDir     = "seed"
	blobDir     = "blob"
	// quarantineDir is where a damaged store is set aside.
	quarantineDir = "store-quarantined"
	foundingFile  = "founding.json"
	peersFile     = "peers.json"
	// damageFile is there while the store is known to be damaged.
	damageFile = "store-damaged.json"
)

func (n *Node) path(name string) string { return n.opts.FS.PathJoin(n.opts.Dir, name) }

func (n *Node) walOptions() wal.Options {
	return wal.Options{
		FS: n.opts.FS, Dir: n.path(walDir), Logger: n.log, Salt: n.random(),
		SegmentBytes: n.opts.Bounds.SegmentBytes, CacheBytes: n.opts.Bounds.LogCacheBytes,
	}
}

func (n *Node) machineOptions() machine.Options {
	o := machine.Options{
		FS: n.opts.FS, Dir: n.path(storeDir), Logger: n.log,
		CacheBytes: n.opts.Bounds.StoreCacheBytes, RingBytes: n.opts.Bounds.WatchRingBytes, Still: n.opts.Bounds.Still, Level: n.opts.Bounds.FeatureLevel,
		Fatal: func(err error) { n.fatal("the store failed", err) }, Spawn: n.sched.Go,
	}
	if n.counts != nil {
		o.FlushTook, o.Compacted = n.counts.flushes.Observe, n.counts.compacted
	}
	return o
}

// firstIndex is where the log of every cluster begins: the state that a
// bootstrap writes stands for entry 1 of term 1.
const firstIndex, firstTerm = 1, 1

// found makes an empty directory a member, of a new cluster or of the one to
// join. What an earlier attempt left half done is made again; what looks like a
// member without its identity is not touched.
func (n *Node) found(ctx context.Context) (identity, error) {
	f := n.opts.FS
	begun := false
	for _, mark := range []string{foundingFile, joiningFile} {
		_, err := f.Stat(n.path(mark))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return identity{}, fmt.Errorf("look for %s: %w", n.path(mark), err)
		}
		begun = begun || err == nil
	}
	for _, name := range []string{walDir, storeDir} {
		_, err := f.Stat(n.path(name))
		if err == nil && !begun {
			return identity{}, fmt.Errorf("%s holds data but no %s, so it is not clear which member it is: restore the file from a backup, or give another --data-dir",
				n.opts.Dir, identityFile)
		}
	}
	// What was begun here and not finished may have owed a key.
	if err := remove(f, n.path(firstKeyMark)); err != nil {
		return identity{}, err
	}
	if len(n.opts.Join) > 0 {
		return n.join(ctx)
	}
	if n.opts.ReadReplica {
		return identity{}, errors.New("a read replica joins a cluster that is there: give --join with the address of a member, or leave --read-replica away")
	}
	if _, err := snapshot.Load(f, n.path(seedDir)); !errors.Is(err, snapshot.ErrNotComplete) {
		return identity{}, fmt.Errorf("%s is a seed for a newcomer: start it with --join, or give another --data-dir to begin a new cluster", n.opts.Dir)
	}
	if err := writeSealed(f, n.path(foundingFile), struct{}{}); err != nil {
		return identity{}, err
	}
	begin := n.bootstrap
	if n.opts.Static != nil {
		begin = n.bootstrapStatic
	}
	id, err := begin()
	if err != nil {
		return id, err
	}
	if err := f.Remove(n.path(foundingFile)); err != nil {
		return id, fmt.Errorf("remove %s: %w", n.path(foundingFile), err)
	}
	return id, nil
}

// bootstrap writes the state of the first member of a new cluster.
func (n *Node) bootstrap() (identity, error) {
	id := identity{Cluster: n.random(), Member: 1, Incarnation: n.random(), Name: n.opts.Name}
	if err := n.wipe(walDir, storeDir, sealFile); err != nil {
		return id, err
	}
	tokens, err := n.foundAuthority(id, n.opts.peerURLs())
	if err != nil {
		return id, err
	}
	err = machine.Bootstrap(n.machineOptions(), machine.Init{
		ClusterID: id.Cluster, Tokens: tokens, Conf: raft.ConfState{Voters: []uint64{id.Member}},
		Index: firstIndex, Term: firstTerm,
		Members: []machine.MemberRecord{{
			ID: id.Member, Name: id.Name, PeerURLs: n.opts.peerURLs(),
			ClientURLs: n.opts.AdvertiseClient, Incarnation: id.Incarnation,
			Version: n.opts.Version, Level: n.opts.Bounds.FeatureLevel,
		}},
	})
	if err != nil {
		return id, fmt.Errorf("make the store of a new cluster: %w", err)
	}
	if err := n.createLog(firstIndex, firstTerm, raft.HardState{Term: firstTerm, Commit: firstIndex}); err != nil {
		return id, err
	}
	if err := n.oweFirstKey(); err != nil {
		return id, err
	}
	if err := saveIdentity(n.opts.FS, n.opts.Dir, id); err != nil {
		return id, err
	}
	n.log.Info("new cluster", "cluster", fmt.Sprintf("%x", id.Cluster), "member", id.Member, "name", id.Name)
	return id, nil
}

// oweFirstKey marks the directory of the member that is to make the first access key. It
// comes before the identity, without which the directory is made anew.
func (n *Node) oweFirstKey() error {
	if !n.opts.OweFirstKey {
		return nil
	}
	return writeSealed(n.opts.FS, n.path(firstKeyMark), struct{}{})
}

func (n *Node) createLog(index, term uint64, hs raft.HardState) error {
	log, err := wal.Create(n.walOptions(), index, term, hs)
	if err != nil {
		return fmt.Errorf("make the write-ahead log: %w", err)
	}
	if err := log.Close(); err != nil {
		return fmt.Errorf("close the write-ahead log: %w", err)
	}
	return nil
}

// wipe removes what a start that was cut short may have left. It is never called
// on a directory with an identity.
func (n *Node) wipe(names ...string) error {
	for _, name := range names {
		if err := n.opts.FS.RemoveAll(n.path(name)); err != nil {
			return fmt.Errorf("clear %s: %w", n.path(name), err)
		}
	}
	return nil
}

// open opens log and store and brings them together.
func (n *Node) open(ctx context.Context) (replica.Config, error) {
	var cfg replica.Config
	log, state, err := wal.Open(n.walOptions())
	if err != nil {
		return cfg, fmt.Errorf("open the write-ahead log: %w", err)
	}
	n.wal = log
	if state.Torn != nil {
		n.log.Warn("the last write to the log was cut short and is dropped; it was never acknowledged",
			"file", state.Torn.File, "offset", state.Torn.Offset)
	}
	if err := n.openStore(ctx, max(state.Floor, state.First-1)); err != nil {
		return cfg, err
	}
	if n.opts.Bounds.Opened != nil {
		n.opts.Bounds.Opened(n.machine)
	}
	if n.machine.Removed(n.id) {
		return cfg, fmt.Errorf("member %d was removed from the cluster: %w", n.id, ErrRemoved)
	}
	if err := n.checkRole(); err != nil {
		return cfg, err
	}
	index, term := n.machine.Applied()
	hs := state.HardState
	if held, err := log.Term(index); err != nil || held != term {
		// A snapshot became the state and the member died before its log
		// followed; nothing in the log is newer than the snapshot.
		hs.Commit = index
		if term > hs.Term {
			// In that term this member cannot have voted.
			hs.Term, hs.Vote = term, raft.None
		}
		if err := log.Reset(index, term, hs, index); err != nil {
			return cfg, fmt.Errorf("restart the log after the snapshot at index %d: %w", index, err)
		}
		n.log.Info("log restarted after snapshot", "index", index, "term", term)
	}
	n.floor = state.Floor
	cfg.Raft, cfg.Engine = n.raftConfig(), n.opts.Engine
	cfg.Raft.HardState, cfg.Raft.Applied, cfg.Raft.Conf = hs, index, n.machine.Conf()
	n.tokensFrom.Store(log.LastIndex() + 1)
	n.authRevision.Store(n.machine.Auth().Revision())
	n.log.Info("member opened", "member", n.id, "applied", index, "last", log.LastIndex(), "term", hs.Term,
		"conf", cfg.Raft.Conf.String())
	return cfg, nil
}

func (n *Node) raftConfig() raft.Config {
	rng := mathrand.New(mathrand.NewPCG(n.random(), n.random()))
	c := n.opts.Bounds.Raft
	c.ID, c.Storage, c.Jitter = n.id, n.wal, rng.IntN
	c.ElectionTicks, c.HeartbeatTicks = n.opts.ElectionTicks, n.opts.HeartbeatTicks
	c.Checked = c.Checked || invariant.Enabled
	return c
}

// checkRole compares what the member was started as with what it joined as. The
// state of a newcomer holds its own reservation.
func (n *Node) checkRole() error {
	switch is := n.readReplica(n.id); {
	case n.opts.ReadReplica && !is:
		return fmt.Errorf("member %d joined as one that may vote, and --read-replica does not change that: leave the flag away; or remove the member and join it again with an empty directory", n.id)
	case is && !n.opts.ReadReplica:
		n.log.Info("this member joined as a read replica and stays one", "member", n.id)
	}
	return nil
}
