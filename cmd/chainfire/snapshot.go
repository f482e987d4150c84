package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"chainfire/api"
	"chainfire/internal/disk"
	"chainfire/join"
	"chainfire/snapshot"
)

func newSnapshot(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Save the state of the cluster, and begin a new one with it",
		Args:  needArgs(0, 0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSnapshotSave(a), newSnapshotRestore(a))
	return cmd
}

func newSnapshotSave(a *app) *cobra.Command {
	var s snapshotSave
	cmd := &cobra.Command{
		Use:   "save FILE",
		Short: "Save a member's state into a file",
		Long: `Pull a snapshot of a member and save it as FILE. It holds every write that was
acknowledged before the command began. What is pulled is checked block by block,
and FILE.tmp is a folder that is used meanwhile; an interrupted save goes on there
when it is run again. FILE appears once it is complete, durable and read back.

FILE is in ChainFire's own format, not etcd's: a tar of the files of the store and
of the manifest SNAPSHOT, with the checksums of all of them.

The first of --endpoints that answers is the member whose state is saved.

With -w json: {"file":"..","bytes":N,"cluster_id":"..","index":N,"term":N,"files":N}`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.file = args[0]
			return a.saveSnapshot(cmd.Context(), &s)
		},
	}
	cmd.Flags().BoolVar(&s.force, "force", false, "write over FILE")
	cmd.Flags().DurationVar(&s.within, "within", time.Hour, "how long the whole may take")
	return cmd
}

// snapshotSave is one save.
type snapshotSave struct {
	file   string
	force  bool
	within time.Duration
	// endpoint is the member that answered.
	endpoint string
	// What the cluster said.
	cluster, member, index uint64
}

func (s *snapshotSave) tmp() string { return s.file + ".tmp" }

func (a *app) saveSnapshot(ctx context.Context, s *snapshotSave) error {
	if !s.force && pathExists(s.file) {
		return fmt.Errorf("%s exists: choose another name, or add --force to write over it", s.file)
	}
	if s.within <= 0 {
		return fmt.Errorf("--within %v: give a time above 0, as 1h", s.within)
	}
	if err := a.locate(ctx, s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.within)
	defer cancel()
	bar, err := newProgress(progressAuto, a.errOut)
	if err != nil {
		return err
	}
	// The folder may be one that a save before this one left; it is never one
	// that holds anything else.
	if err := checkSaveFolder(s.tmp()); err != nil {
		return err
	}
	err = a.pull(ctx, s, s.tmp(), func(done, total int64) {
		bar.show(progressEvent{Step: string(join.StepSeed), Text: "from " + s.endpoint, Done: done, Total: total})
	})
	if err := errors.Join(err, bar.Close()); err != nil {
		return err
	}
	m, err := snapshot.Load(disk.OS(), s.tmp())
	if err != nil {
		return fmt.Errorf("load what was pulled: %w", err)
	}
	size, err := writeArchive(ctx, s.tmp(), s.file, m)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(s.tmp()); err != nil {
		return fmt.Errorf("remove the folder used meanwhile: %w", err)
	}
	return a.printSaved(s, m, size)
}

// locate asks the endpoints in turn who they are, and for an index that holds everything acknowledged so far.
func (a *app) locate(ctx context.Context, s *snapshotSave) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if err := a.reachable(ctx); err != nil {
		return err
	}
	var errs []error
	for _, e := range a.endpoints {
		err := a.askSaved(ctx, s, e)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", e, err))
	}
	return fmt.Errorf("no member can tell what to save: %w", errors.Join(errs...))
}

func (a *app) askSaved(ctx context.Context, s *snapshotSave, endpoint string) (err error) {
	// A client of this member alone: once it has answered a linearizable read,
	// it has applied everything that was acknowledged before.
	c, err := a.etcdClient(ctx, []string{endpoint})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if _, err := c.Get(ctx, "\x00", clientv3.WithCountOnly()); err != nil {
		return err
	}
	st, err := c.Status(ctx, endpoint)
	if err != nil {
		return err
	}
	s.cluster, s.member, s.index = st.Header.GetClusterId(), st.Header.GetMemberId(), st.RaftAppliedIndex
	s.endpoint = endpoint
	return nil
}

// checkSaveFolder refuses a folder that is not one of an earlier save.
func checkSaveFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the folder for the pull: %w", err)
	}
	if len(entries) == 0 {
		return nil
	}
	for _, e := range entries {
		if name := e.Name(); name == snapshot.MarkName || filepath.Ext(name) == ".partial" {
			return nil
		}
	}
	return fmt.Errorf("%s is in the way and is not what an earlier save left; move it, or choose another FILE", dir)
}

func (a *app) pull(ctx context.Context, s *snapshotSave, dir string, show func(done, total int64)) (err error) {
	conn, err := a.dialOwn(s.endpoint)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	_, err = snapshot.Fetch(ctx, snapshot.FetchOptions{
		FS: disk.OS(), Dir: dir, ClusterID: s.cluster, MinIndex: s.index, Progress: show,
		Source: &snapshot.GRPCSource{
			Client: api.NewClusterClient(conn), Label: "member " + memberID(s.member) + " at " + s.endpoint, ClusterID: s.cluster, MemberID: s.member,
		},
	})
	if err != nil {
		return fmt.Errorf("pull the snapshot: %w; run the command again to go on, or name another member with --endpoints", err)
	}
	return nil
}

func (a *app) printSaved(s *snapshotSave, m *snapshot.Manifest, size int64) error {
	if a.format == formatJSON {
		return a.printJSON(struct {
			File    string `json:"file"`
			Bytes   int64  `json:"bytes"`
			Cluster string `json:"cluster_id"`
			Index   uint64 `json:"index"`
			Term    uint64 `json:"term"`
			Files   int    `json:"files"`
		}{s.file, size, clusterID(m.Meta.ClusterID), m.Meta.Index, m.Meta.Term, len(m.Files)})
	}
	return a.printf("saved %s: %s, log index %d of term %d, %d files, checked\n",
		s.file, bytesText(size), m.Meta.Index, m.Meta.Term, len(m.Files))
}
