package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"chainfire/internal/disk"
	"chainfire/machine"
	"chainfire/mvcc"
	"chainfire/snapshot"
)

const (
	// seedNewDir is where a seed is made; it counts for nothing.
	seedNewDir = "seed.new"
	// preparingFile is there from when a directory is decided to become a seed until
	// it is nothing else.
	preparingFile = "preparing.json"
)

// broughtSeed is the complete snapshot that a newcomer has in its directory, with
// every block of it checked; nil is none. begun says that a join was begun here:
// then a damaged one is only what was pulled, and is pulled again.
func (n *Node) broughtSeed(ctx context.Context, begun bool) (*snapshot.Meta, error) {
	dir := n.path(seedDir)
	m, err := snapshot.Load(n.opts.FS, dir)
	if errors.Is(err, snapshot.ErrNotComplete) {
		return nil, nil
	}
	if err == nil {
		err = snapshot.Verify(ctx, n.opts.FS, dir, m)
	}
	switch {
	case err == nil:
		return &m.Meta, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case begun:
		return nil, n.wipe(seedDir)
	}
	return nil, fmt.Errorf("the seed in %s is damaged: %w; export it again, or remove the folder so that a whole one is pulled", dir, err)
}

// makeSeed copies the state of a stopped member into a folder that is not there yet,
// checks the copy, and makes it a complete snapshot.
func makeSeed(ctx context.Context, f disk.FS, store, dir string) (*snapshot.Manifest, error) {
	if err := f.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("clear %s: %w", dir, err)
	}
	if err := machine.CopyStopped(f, store, dir, snapshot.OwnName); err != nil {
		return nil, err
	}
	meta, cluster, err := machine.CheckpointMeta(f, dir)
	if err != nil {
		return nil, err
	}
	if err := mvcc.VerifyCheckpoint(ctx, f, dir); err != nil {
		return nil, err
	}
	m, err := snapshot.BuildManifest(ctx, f, dir, snapshot.Meta{SnapshotMeta: meta, ClusterID: cluster})
	if err != nil {
		return nil, err
	}
	return m, snapshot.Mark(f, dir, m)
}

// SeedDir is where the seed lies in a directory of ExportSeed or PrepareSeed.
func SeedDir(f disk.FS, dir string) string { return f.PathJoin(dir, seedDir) }

// ExportSeed makes dst, which is empty or not there, a seed with the state of the
// stopped member of a data directory, which it leaves as it is and the caller holds
// against a start. A damaged directory is refused.
func ExportSeed(ctx context.Context, f disk.FS, dataDir, dst string) (*snapshot.Manifest, error) {
	s, err := Survey(ctx, f, dataDir)
	if err != nil {
		return nil, err
	}
	if err := s.Damage(); err != nil {
		return nil, err
	}
	if err := EmptySeedDir(f, dst); err != nil {
		return nil, err
	}
	if err := disk.MkdirAll(f, dst); err != nil {
		return nil, err
	}
	m, err := makeSeed(ctx, f, f.PathJoin(dataDir, storeDir), f.PathJoin(dst, seedNewDir))
	if err != nil {
		return nil, fmt.Errorf("export a seed: %w", err)
	}
	if err := f.Rename(f.PathJoin(dst, seedNewDir), SeedDir(f, dst)); err != nil {
		return nil, fmt.Errorf("export a seed: %w", err)
	}
	return m, disk.SyncDir(f, dst)
}

// EmptySeedDir refuses a folder for a seed that holds anything but what an export
// that was cut short left there.
func EmptySeedDir(f disk.FS, dir string) error {
	names, err := f.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, name := range names {
		switch name {
		case seedNewDir, disk.LockName:
			continue
		case seedDir:
			if _, err := snapshot.Load(f, SeedDir(f, dir)); errors.Is(err, snapshot.ErrNotComplete) {
				continue
			}
		}
		return fmt.Errorf("%s is not empty: it holds %s; give a new folder for the seed", dir, name)
	}
	return nil
}

// PrepareSeed makes a copied data directory a seed, in place: the state stays, and
// identity, vote, log, keys and everything else go. The caller holds the directory
// with disk.Lock. It refuses one that is damaged, or torn, as a copy is that was made
// while the member ran. A crash leaves the directory as it was, or one that
// PrepareSeed, and the next Start, complete.
func PrepareSeed(ctx context.Context, f disk.FS, dir string) (*snapshot.Manifest, error) {
	if err := settlePreparation(f, dir); err != nil {
		return nil, err
	}
	if _, found, err := LookAt(f, dir); err != nil {
		return nil, err
	} else if !found {
		m, err := snapshot.Load(f, SeedDir(f, dir))
		if errors.Is(err, snapshot.ErrNotComplete) {
			return nil, fmt.Errorf("%s is %w", dir, ErrNoMember)
		}
		return m, err // it is one already
	}
	s, err := Survey(ctx, f, dir)
	if err != nil {
		return nil, err
	}
	if err := s.Damage(); err != nil {
		return nil, err
	}
	if s.Torn {
		return nil, fmt.Errorf("%s ends in an unfinished write, as a copy does that was made while the member ran: stop the member with SIGTERM, copy it again, and prepare that; "+
			"or take 'chainfire seed export' from the running member", dir)
	}
	m, err := makeSeed(ctx, f, f.PathJoin(dir, storeDir), f.PathJoin(dir, seedNewDir))
	if err != nil {
		return nil, fmt.Errorf("make a seed of %s, which is as it was: %w", dir, err)
	}
	if err := writeSealed(f, f.PathJoin(dir, preparingFile), struct{}{}); err != nil {
		return nil, err
	}
	return m, settlePreparation(f, dir)
}

// settlePreparation completes a preparation that was decided, and clears away one
// that was not.
func settlePreparation(f disk.FS, dir string) error {
	fresh := f.PathJoin(dir, seedNewDir)
	decided, err := exists(f, f.PathJoin(dir, preparingFile))
	if err != nil {
		return err
	}
	if !decided {
		if there, err := exists(f, fresh); err != nil || !there {
			return err
		}
		return remove(f, fresh)
	}
	names, err := f.List(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	// The identity goes first: what is left of it must not start.
	if err := remove(f, f.PathJoin(dir, identityFile)); err != nil {
		return err
	}
	if err := disk.SyncDir(f, dir); err != nil {
		return err
	}
	for _, name := range names {
		if part(name) {
			if err := remove(f, f.PathJoin(dir, name)); err != nil {
				return err
			}
		}
	}
	if there, err := exists(f, fresh); err != nil {
		return err
	} else if there {
		if err := remove(f, SeedDir(f, dir)); err != nil {
			return err
		}
		if err := f.Rename(fresh, SeedDir(f, dir)); err != nil {
			return fmt.Errorf("put the seed in its place: %w", err)
		}
	}
	if err := disk.SyncDir(f, dir); err != nil {
		return err
	}
	if err := remove(f, f.PathJoin(dir, preparingFile)); err != nil {
		return err
	}
	return disk.SyncDir(f, dir)
}

// part reports whether a name in a data directory is of what makes it a member's.
func part(name string) bool {
	for _, list := range [][]string{exchanged, kept, {snapshotDir, etcdDir, quarantineDir, recoveringDir, firstKeyFile, firstKeyMark}} {
		for _, x := range list {
			if name == x {
				return true
			}
		}
	}
	return strings.HasPrefix(name, keptPrefix)
}

// remove removes a file or a folder, if it is there.
func remove(f disk.FS, path string) error {
	if err := f.RemoveAll(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}
