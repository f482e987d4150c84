package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/join"
	"chainfire/machine"
	"chainfire/mvcc"
	"chainfire/node"
)

func newSnapshotRestore(a *app) *cobra.Command {
	r := &snapshotRestore{a: a}
	cmd := &cobra.Command{
		Use:   "restore FILE|DIR --data-dir DIR",
		Short: "Make a data directory of a snapshot of etcd's",
		Long: `Make a new data directory of a file in etcd's format: one that 'etcdctl snapshot save'
took of an etcd up to 3.7 or of ChainFire, or the data directory of a stopped etcd. It
is that of the first member of a NEW cluster, which 'chainfire serve' starts and others
join.

Revisions stay as they were, and so does all history that was not compacted, with the
compacted revision, the leases, with what was left of them, and the alarms, which are
the new member's, and users and roles. Members of the old cluster are not taken over.

With the data directory of an etcd its database is taken, member/snap/db, and what its
write-ahead log holds beyond that, member/wal, as after a crash: all that this etcd
would have after a start. Nothing there is changed. Of a cluster of several members the
log of one says less than all of them know: start that etcd, if it still can, and take
the directory once it has stopped. Where the log lies elsewhere (etcd's --wal-dir), name
that folder with --etcd-wal-dir. While an etcd has the directory it is refused.

Before anything is made the file is checked: its SHA-256, every page, and that the
revisions follow on one another. A copy of member/snap/db has no SHA-256: for that, add
--skip-hash-check. An interrupted restore leaves nothing that starts; run it again.

Clients that saw later revisions than those in the file, because they went on after it
was taken, would be shown other changes under the same numbers, or wait in silence: for
them move the revision on with --bump-revision N --mark-compacted, by more than was
written since. Their watches end with the error "compacted", and they read anew.

The exit code is 2 when the file is damaged: nothing is made of it then.

With -w json: {"data_dir":"..","file":"..","cluster_id":"..","member_id":"..",..}`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.from = args[0]
			return r.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	r.memberFlags(f)
	f.BoolVar(&r.skipHash, "skip-hash-check", false, "take a file that does not end in a checksum, as a copy of member/snap/db")
	f.StringVar(&r.logDir, "etcd-wal-dir", "", "the folder of that etcd's write-ahead log (default: member/wal in a data directory, none with a file)")
	f.Int64Var(&r.bump, "bump-revision", 0, "by how much the revision moves on; goes with --mark-compacted")
	f.BoolVar(&r.compacted, "mark-compacted", false, "with --bump-revision: everything before is compacted")
	return cmd
}

// snapshotRestore is one run of snapshot restore.
type snapshotRestore struct {
	a               *app
	from, dir, name string
	peer            string
	client          []string
	logDir          string
	skipHash        bool
	bump            int64
	compacted       bool
}

// memberFlags are those of the member that is made.
func (r *snapshotRestore) memberFlags(f *pflag.FlagSet) {
	f.StringVar(&r.dir, "data-dir", "", "the data directory to make; it is empty or not there")
	f.StringVar(&r.name, "name", "", "name of the member (default: its peer address)")
	f.StringVar(&r.peer, "advertise-peer", "", "address at which others will reach the member, HOST:PORT, or http://HOST:PORT where members speak without TLS (default "+defaultPeerAddr+")")
	f.StringSliceVar(&r.client, "advertise-client", nil, "address at which clients will reach the member (default "+defaultClientAddr+")")
}

// restoration reads the flags.
func (r *snapshotRestore) restoration() (node.Restoration, error) {
	out := node.Restoration{
		From: r.from, LogDir: r.logDir, Dir: r.dir, SkipHash: r.skipHash, Name: r.name, BumpRevision: r.bump, Version: productVersion(),
	}
	switch {
	case r.dir == "":
		return out, errors.New("--data-dir is missing: name the folder that is to be the data directory")
	case r.bump < 0 || r.bump > node.MaxBumpRevision:
		return out, fmt.Errorf("--bump-revision %d: give between 0 and %d", r.bump, int64(node.MaxBumpRevision))
	case r.bump > 0 != r.compacted:
		return out, errors.New("--bump-revision and --mark-compacted go together: revisions that nothing was written in must not be read, nor waited for; give both, or none")
	case len(out.Version) > machine.MaxVersionLen:
		return out, fmt.Errorf("the version of this program has %d bytes, at most %d: build it with a shorter one", len(out.Version), machine.MaxVersionLen)
	}
	scheme := join.SchemeTLS
	if strings.HasPrefix(r.peer, join.SchemePlain+"://") {
		scheme = join.SchemePlain
	}
	var err error
	if out.AdvertisePeer, err = advertised("--advertise-peer", scheme, r.peer, defaultPeerAddr); err != nil {
		return out, err
	}
	clients := r.client
	if len(clients) == 0 {
		clients = []string{defaultClientAddr}
	}
	for _, c := range clients {
		u, err := advertised("--advertise-client", join.SchemePlain, c, "")
		if err != nil {
			return out, err
		}
		out.AdvertiseClient = append(out.AdvertiseClient, u)
	}
	return out, nil
}

func (r *snapshotRestore) run(ctx context.Context) error {
	o, err := r.restoration()
	if err != nil {
		return err
	}
	if o.Logger, err = r.a.logger(r.a.errOut); err != nil {
		return err
	}
	done, err := node.Restore(ctx, o)
	if errors.Is(err, node.ErrNoLog) {
		err = fmt.Errorf("%w; name its folder with --etcd-wal-dir (etcd's --wal-dir), or restore its member/snap/db alone, with --skip-hash-check: then what only the log has is lost", err)
	}
	return r.finish(done, err)
}

// finish tells what came of it.
func (r *snapshotRestore) finish(done *node.Restored, err error) error {
	switch {
	case errors.Is(err, disk.ErrInUse):
		return inUse(r.dir, err)
	case errors.Is(err, chainfire.ErrCorrupt):
		return &exitError{code: exitDamaged, err: fmt.Errorf("restore: %w", err)}
	case err != nil:
		return fmt.Errorf("restore: %w", err)
	}
	return r.a.printRestored(r, done)
}

// jsonRestored is a restore as -w json prints it.
type jsonRestored struct {
	Dir         string   `json:"data_dir"`
	File        string   `json:"file"`
	Hashed      bool     `json:"hash_checked"`
	Copied      bool     `json:"of_data_dir"`
	Applied     uint64   `json:"consistent_index"`
	Term        uint64   `json:"term"`
	Log         *jsonLog `json:"wal,omitempty"`
	Cluster     string   `json:"cluster_id"`
	Member      string   `json:"member_id"`
	Name        string   `json:"name"`
	PeerURLs    []string `json:"peer_urls"`
	OldRevision int64    `json:"old_revision"`
	Revision    int64    `json:"revision"`
	Compacted   int64    `json:"compact_revision"`
	Versions    int64    `json:"versions"`
	Leases      int      `json:"leases"`
	Alarms      int      `json:"alarms"`
	Users       int      `json:"users"`
	Auth        bool     `json:"auth"`
	TokenFile   string   `json:"token_file,omitempty"`
}

// jsonLog is what was read of an etcd's write-ahead log.
type jsonLog struct {
	Dir     string `json:"dir"`
	Last    uint64 `json:"last_entry"`
	Entries uint64 `json:"entries"`
	Beyond  uint64 `json:"not_committed"`
	Torn    string `json:"torn,omitempty"`
}

func newJSONLog(l *node.RestoredLog) *jsonLog {
	if l == nil {
		return nil
	}
	out := &jsonLog{Dir: l.Dir, Last: l.Last, Entries: l.Entries, Beyond: l.Beyond}
	if l.Torn != nil {
		out.Torn = fmt.Sprintf("%s at offset %d", l.Torn.File, l.Torn.Offset)
	}
	return out
}

func (a *app) printRestored(r *snapshotRestore, d *node.Restored) error {
	if a.format == formatJSON {
		return a.printJSON(jsonRestored{
			Dir: r.dir, File: d.File, Hashed: d.Hashed, Copied: d.Copied, Applied: d.Applied, Term: d.Term, Log: newJSONLog(d.Log),
			Cluster: clusterID(d.Cluster), Member: memberID(d.Member), Name: d.Name, PeerURLs: orEmpty(d.PeerURLs),
			OldRevision: d.OldRevision, Revision: d.Revision, Compacted: d.Compacted,
			Versions: d.Versions, Leases: d.Leases, Alarms: d.Alarms, Users: d.Users, Auth: d.Auth, TokenFile: d.TokenFile,
		})
	}
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-14s%s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "restored: %s is the first member of a new cluster\n\n", r.dir)
	line("cluster", "%s", clusterID(d.Cluster))
	line("member", "%s (%s)", memberID(d.Member), d.Name)
	line("file", "%s, with everything up to entry %d of term %d (its consistent index)", d.File, d.Applied, d.Term)
	if l := d.Log; l != nil {
		line("log", "%s, %d entries, up to entry %d", l.Dir, l.Entries, l.Last)
		if l.Beyond > 0 {
			line("", "%d entries after that are NOT taken over: the log does not say whether they were committed", l.Beyond)
		}
		if l.Torn != nil {
			line("", "its last record was cut short by a crash and never acknowledged: %s at offset %d", l.Torn.File, l.Torn.Offset)
		}
	}
	line("keys", "%d versions in the file", d.Versions)
	moved := ""
	if d.Revision != d.OldRevision {
		moved = fmt.Sprintf(", which was %d", d.OldRevision)
	}
	compacted := "nothing is compacted"
	if d.Compacted != mvcc.NeverCompacted {
		compacted = fmt.Sprintf("compacted up to %d", d.Compacted)
	}
	line("revision", "%d%s; %s", d.Revision, moved, compacted)
	line("leases", "%d, which count on once the member serves", d.Leases)
	if d.Alarms > 0 {
		line("alarms", "%d, which stay raised until they are taken back", d.Alarms)
	}
	switch {
	case d.Auth:
		line("users", "%d, and authentication is enabled", d.Users)
	case d.Users > 0:
		line("users", "%d, and authentication is not enabled", d.Users)
	}
	if d.TokenFile != "" {
		line("join token", "%s", d.TokenFile)
	}
	fmt.Fprintf(&b, "\nStart it with '%s', and let others join it.\n", r.serveLine())
	return a.printf("%s", b.String())
}

// serveLine is the command that starts the member, at the addresses that were given.
func (r *snapshotRestore) serveLine() string {
	line := []string{r.a.program, "serve", "--data-dir", r.dir}
	given, plain := strings.CutPrefix(cmp.Or(r.peer, defaultPeerAddr), join.SchemePlain+"://")
	if given = strings.TrimPrefix(given, join.SchemeTLS+"://"); given != defaultPeerAddr || plain {
		if plain {
			given = join.SchemePlain + "://" + given
		}
		line = append(line, "--listen-peer", given)
	}
	if len(r.client) > 0 && r.client[0] != defaultClientAddr {
		line = append(line, "--listen-client", strings.TrimPrefix(r.client[0], join.SchemePlain+"://"))
	}
	remote := func(addr string) bool {
		host, _, err := net.SplitHostPort(strings.TrimPrefix(addr, join.SchemePlain+"://"))
		return err == nil && !isLoopback(host)
	}
	if plain && remote(given) || len(r.client) > 0 && remote(r.client[0]) {
		line = append(line, "--insecure-listen-remote")
	}
	return strings.Join(line, " ")
}
