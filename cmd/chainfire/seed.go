package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"chainfire/internal/disk"
	"chainfire/join"
	"chainfire/node"
	"chainfire/snapshot"
)

func newSeed(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "seed",
		Short: "State for a newcomer to start from: export it, make it of a copied data directory, or push it",
		Long: `A seed is a folder with a member's state, and nothing that makes it a member. A
newcomer that is started on it, with 'chainfire serve --data-dir DIR --join HOST',
pulls nothing of what it has: it is checked like any newcomer, gets an id of its own,
replicates what came after the seed, and votes once it has caught up.

With -w json: {"data_dir":"..","cluster_id":"..","index":N,"term":N,"files":N,"bytes":N}`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSeedExport(a), newSeedPrepare(a), newSeedPush(a))
	return cmd
}

func newSeedExport(a *app) *cobra.Command {
	var dataDir string
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "export DIR",
		Short: "Copy a member's state into a folder that a newcomer can start on",
		Long: `Copy a member's state into DIR, which is new or empty, as a seed.

With --data-dir the state is that of a stopped member, as its store holds it on the
disk; the directory is left as it is, and refused if it is damaged or in use. Without,
it is pulled from the first of --endpoints that answers, and holds every write that
was acknowledged before the command began; a pull that was cut goes on when the
command is run again.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dataDir == "" {
				return a.exportRunning(cmd.Context(), args[0], within)
			}
			return a.exportStopped(cmd.Context(), dataDir, args[0])
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "data directory of a stopped member (default: ask a running one)")
	cmd.Flags().DurationVar(&within, "within", time.Hour, "how long a pull may take")
	return cmd
}

func newSeedPrepare(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "prepare DIR",
		Short: "Make a copied data directory a seed, in place",
		Long: `Make a COPY of a data directory a seed, in place. The state stays, as the store holds
it; identity, vote, log, keys, token and everything else are removed, so that it can
never be taken for the member that it was copied from.

A directory that is in use is refused, and so is one that is damaged, or torn, as a
copy is that was made while the member ran. A crash on the way leaves the directory
as it was, or one that the same command completes.

Do not prepare the directory that a member is to go on with.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			dir := args[0]
			if _, err := disk.OS().Stat(dir); err != nil {
				return fmt.Errorf("look for the data directory: %w", err)
			}
			lock, err := disk.Lock(disk.OS(), dir)
			if err != nil {
				return inUse(dir, err)
			}
			defer func() { err = errors.Join(err, lock.Close()) }()
			m, err := node.PrepareSeed(cmd.Context(), disk.OS(), dir)
			if err != nil {
				return fmt.Errorf("prepare a seed: %w", err)
			}
			return a.printSeed(dir, m)
		},
	}
}

func (a *app) exportStopped(ctx context.Context, dataDir, dir string) (err error) {
	lock, err := disk.LockShared(dataDir)
	if err != nil {
		return inUse(dataDir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	m, err := node.ExportSeed(ctx, disk.OS(), dataDir, dir)
	if err != nil {
		return err
	}
	return a.printSeed(dir, m)
}

// exportRunning pulls the seed of a member that runs.
func (a *app) exportRunning(ctx context.Context, dir string, within time.Duration) error {
	if within <= 0 {
		return fmt.Errorf("--within %v: give a time above 0, as 1h", within)
	}
	if err := node.EmptySeedDir(disk.OS(), dir); err != nil {
		return err
	}
	var from snapshotSave
	if err := a.locate(ctx, &from); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	bar, err := newProgress(progressAuto, a.errOut)
	if err != nil {
		return err
	}
	seed := node.SeedDir(disk.OS(), dir)
	err = a.pull(ctx, &from, seed, func(done, total int64) {
		bar.show(progressEvent{Step: string(join.StepSeed), Text: "from " + from.endpoint, Done: done, Total: total})
	})
	if err := errors.Join(err, bar.Close()); err != nil {
		return err
	}
	m, err := snapshot.Load(disk.OS(), seed)
	if err != nil {
		return fmt.Errorf("load what was pulled: %w", err)
	}
	return a.printSeed(dir, m)
}

func (a *app) printSeed(dir string, m *snapshot.Manifest) error {
	if a.format == formatJSON {
		return a.printJSON(struct {
			Dir     string `json:"data_dir"`
			Cluster string `json:"cluster_id"`
			Index   uint64 `json:"index"`
			Term    uint64 `json:"term"`
			Files   int    `json:"files"`
			Bytes   int64  `json:"bytes"`
		}{dir, clusterID(m.Meta.ClusterID), m.Meta.Index, m.Meta.Term, len(m.Files), m.TotalBytes()})
	}
	return a.printf(`%s is a seed: %s, log index %d of term %d, of cluster %s, checked
Start a newcomer on it with 'chainfire serve --data-dir %s --join HOST --token-file FILE'.
`, dir, bytesText(m.TotalBytes()), m.Meta.Index, m.Meta.Term, clusterID(m.Meta.ClusterID), dir)
}
