package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"

	"chainfire/internal/disk"
	"chainfire/machine"
	"chainfire/migrate"
	"chainfire/node"
)

func newMigrate(a *app) *cobra.Command {
	m := &migration{restore: snapshotRestore{a: a}}
	cmd := &cobra.Command{
		Use:   "migrate --from HOST:PORT --data-dir DIR",
		Short: "Make a data directory of a running etcd, and follow it until clients are cut over",
		Long: `Take a snapshot of a running etcd, make a new data directory of it, and follow what
that etcd writes meanwhile, with every revision under its number, until it is cut over:
after the first interrupt (Ctrl-C, SIGTERM), after --until-idle, or, with --cut-over, at
once. Stop the clients of the etcd first: it ends only when everything is here and
nothing is written there any more. A second interrupt gives up.

At the end the leases are taken over with the time that is left of them, the compacted
revision is that of the etcd, and etcd's hash of the key space is compared at the last
revision. Then the data directory is that of the first member of a NEW cluster, which
'chainfire serve' starts, and clients may go there.

Nothing is written to the etcd. A migration that was interrupted or failed leaves
nothing that starts: run it again, from the beginning. The snapshot is in the folder
DIR.migrating meanwhile.

How far it is comes on the error output, about once a second; with -w json as lines
{"step":"snapshot|follow|cut-over","revision":N,"current":N}, and the end as 'snapshot
restore' prints it.`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return m.run(cmd.Context()) },
	}
	m.source.flags(cmd.Flags())
	m.restore.memberFlags(cmd.Flags())
	cmd.Flags().BoolVar(&m.cutOver, "cut-over", false, "the clients are stopped: end as soon as everything is here")
	cmd.Flags().DurationVar(&m.idle, "until-idle", 0, "end once nothing was written for so long, as 10s")
	return cmd
}

// sourceOptions say how the etcd that is followed is reached, beside the global flags for
// TLS and for who asks.
type sourceOptions struct {
	endpoint string
}

func (o *sourceOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.endpoint, "from", "", "client address of the member of the etcd that is read, HOST:PORT, over TLS https://HOST:PORT")
}

func (o *sourceOptions) config(a *app) (clientv3.Config, error) {
	if o.endpoint == "" {
		return clientv3.Config{}, errors.New("--from is missing: name the client address of one member of the etcd, HOST:PORT")
	}
	if strings.Contains(o.endpoint, ",") {
		return clientv3.Config{}, fmt.Errorf("--from %s: name one member; it is read alone", o.endpoint)
	}
	endpoints, t := []string{o.endpoint}, a.trust
	t.secure = false
	if err := t.settle(endpoints); err != nil {
		return clientv3.Config{}, fmt.Errorf("--from: %w", err)
	}
	cfg, err := t.config()
	if err != nil {
		return clientv3.Config{}, err
	}
	return clientv3.Config{
		Endpoints: endpoints, DialTimeout: 5 * time.Second, TLS: cfg, Username: a.user.name, Password: a.user.password,
	}, nil
}

// migration is one run of migrate.
type migration struct {
	restore snapshotRestore
	source  sourceOptions
	cutOver bool
	idle    time.Duration
}

// followed lets a data directory be made of a source.
type followed struct{ *migrate.Source }

// End implements node.Follower.
func (f followed) End() (machine.ImportEnd, uint32) {
	e := f.Source.End()
	return machine.ImportEnd{Leases: e.Leases, Revision: e.Revision, Compacted: e.Compacted}, e.Hash
}

func (m *migration) run(ctx context.Context) (err error) {
	o, err := m.restore.restoration()
	if err != nil {
		return err
	}
	if o.Logger, err = m.restore.a.logger(m.restore.a.errOut); err != nil {
		return err
	}
	// Before a snapshot is pulled for it.
	if err := node.EmptyForRestore(disk.OS(), o.Dir); err != nil {
		return err
	}
	config, err := m.source.config(m.restore.a)
	if err != nil {
		return err
	}
	if m.idle < 0 || m.cutOver && m.idle > 0 {
		return fmt.Errorf("--until-idle %v: give a time above 0, as 10s, and not with --cut-over", m.idle)
	}
	end := make(chan struct{})
	if m.cutOver {
		close(end)
	} else {
		defer context.AfterFunc(ctx, func() { close(end) })()
		ctx = context.WithoutCancel(ctx) // the second interrupt ends the process
	}
	if err := greetSource(ctx, config.Endpoints[0], config.TLS); err != nil {
		return err
	}
	src, err := migrate.Open(ctx, migrate.Options{Client: config, CutOver: end, Idle: m.idle, Report: m.report})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	folder := filepath.Clean(m.restore.dir) + ".migrating"
	o.From, o.Follow = filepath.Join(folder, "snapshot.db"), followed{src}
	if err := makeMigrationFolder(folder, o.From); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if err := src.Save(ctx, o.From); err != nil {
		return err
	}
	return m.restore.finish(node.Restore(ctx, o))
}

// makeMigrationFolder makes the folder used meanwhile, also in the place of one that an
// earlier migration left; never of one that holds anything else.
func makeMigrationFolder(folder, file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the snapshot of an earlier migration: %w", err)
	}
	if err := os.Remove(folder); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is used meanwhile, and holds something else: move that away, or give another --data-dir: %w", folder, err)
	}
	return disk.MkdirAll(disk.OS(), folder)
}

// report tells how far it is.
func (m *migration) report(p migrate.Progress) {
	a := m.restore.a
	switch {
	case a.format == formatJSON:
		// As with what is complained about, there is nowhere to report a failure.
		a.complain("{\"step\":%q,\"revision\":%d,\"current\":%d}\n", p.Step, p.Revision, p.Current)
	case p.Step == migrate.StepSnapshot:
		a.complain("taking a snapshot of %s\n", m.source.endpoint)
	case p.Step == migrate.StepFollow:
		a.complain("at revision %d of %d; stop the clients, then interrupt to cut over\n", p.Revision, p.Current)
	default:
		a.complain("cutting over: at revision %d of %d; it ends when nothing is written any more\n", p.Revision, p.Current)
	}
}
