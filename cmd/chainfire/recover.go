package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"chainfire/internal/disk"
	"chainfire/join"
	"chainfire/node"
)

func newRecover(a *app) *cobra.Command {
	r := &recovering{a: a}
	cmd := &cobra.Command{
		Use:   "recover --data-dir DIR",
		Short: "Make a new cluster of one survivor, when the majority is lost for good",
		Long: `Make the data directory of one stopped member that of a NEW cluster, of which it is
the only voter. It is for a cluster whose majority is lost for good; while a
majority can be brought back, bring it back instead.

Entries of the log that are not known to be committed are kept, too. What only the
lost members had acknowledged is lost: so compare the survivors first, and take the
one with the newest log. --show prints what a directory holds and changes nothing;
with several --data-dir it says which is the newest.

Cluster id, member id, authority, certificate and join token are new: members of the
old cluster cannot come in, and the new one does not listen to them. Their data
directories must be wiped, or moved away, before they join it with the new token.

The revision moves on by --bump-revision, and everything before is compacted:
clients that saw later revisions at the lost members would else be shown other
changes under the same numbers, or wait in silence. Their watches end with the error
"compacted", after which they read anew.

A crash on the way leaves the directory as it was, or a new one that the same
command, or the next start, completes. What the directory was is kept in it, in the
folder before-recovery-CLUSTER.

The exit code is 2 when a directory is damaged: nothing is made of it then.`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&r.dirs, "data-dir", nil, "data directory of a stopped member; several to compare, with --show")
	f.BoolVar(&r.show, "show", false, "print what the directories hold, and do nothing")
	f.StringVar(&r.confirm, "confirm", "", "id of the cluster that is given up, in place of typing it")
	f.Int64Var(&r.bump, "bump-revision", node.DefaultBumpRevision, "by how much the revision moves on; 0 leaves it, and compacts nothing")
	f.StringVar(&r.peer, "advertise-peer", "", "address at which others reach the member from now on, HOST:PORT (default: as it was)")
	f.StringSliceVar(&r.client, "advertise-client", nil, "address at which clients reach the member from now on (default: as it was)")
	return cmd
}

// recovering is one run of recover.
type recovering struct {
	a       *app
	dirs    []string
	show    bool
	confirm string
	bump    int64
	// peer and client are the addresses as they were given, peerURL and clientURLs
	// what they mean.
	peer       string
	client     []string
	peerURL    string
	clientURLs []string
	held       []io.Closer
}

func (r *recovering) run(ctx context.Context) (err error) {
	if len(r.dirs) == 0 {
		return errors.New("--data-dir is missing: name the data directory of the survivor; with --show you may name several, to compare them")
	}
	if r.bump < 0 || r.bump > node.MaxBumpRevision {
		return fmt.Errorf("--bump-revision %d: give between 0 and %d", r.bump, int64(node.MaxBumpRevision))
	}
	if len(r.dirs) > 1 && !r.show {
		return fmt.Errorf("%d directories are given: compare them with --show, then recover the newest alone", len(r.dirs))
	}
	defer func() {
		for _, h := range r.held {
			err = errors.Join(err, h.Close())
		}
	}()
	if r.show {
		survivors, err := r.survey(ctx)
		if err != nil {
			return err
		}
		return r.a.printSurvivors(survivors)
	}
	return r.recover(ctx)
}

// survey looks at every directory, held against a member that would start on it.
func (r *recovering) survey(ctx context.Context) ([]*node.Survivor, error) {
	var out []*node.Survivor
	for _, dir := range r.dirs {
		lock, err := disk.LockShared(dir)
		if err != nil {
			return nil, inUse(dir, err)
		}
		r.held = append(r.held, lock)
		s, err := node.Survey(ctx, disk.OS(), dir)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// inUse says what to do about a directory that somebody has.
func inUse(dir string, err error) error {
	if errors.Is(err, disk.ErrInUse) {
		return fmt.Errorf("%s is in use by a running member: stop that member first (%w)", dir, err)
	}
	return err
}

func (r *recovering) recover(ctx context.Context) error {
	dir := r.dirs[0]
	if _, found, err := node.LookAt(disk.OS(), dir); err != nil {
		return err
	} else if !found {
		if _, err := node.Survey(ctx, disk.OS(), dir); err != nil {
			return err // before a lock is left in a directory that is something else
		}
	}
	lock, err := disk.Lock(disk.OS(), dir)
	if err != nil {
		return inUse(dir, err)
	}
	r.held = append(r.held, lock)
	resumed, err := node.ResumeRecovery(disk.OS(), dir)
	if err != nil {
		return err
	}
	if resumed != nil {
		return r.a.printRecovered(dir, resumed)
	}
	s, err := node.Survey(ctx, disk.OS(), dir)
	if err != nil {
		return err
	}
	if s.RecoveredFrom != 0 && r.confirm == clusterID(s.RecoveredFrom) {
		done, err := node.EarlierRecovery(disk.OS(), dir)
		if err != nil {
			return err
		}
		return r.a.printRecovered(dir, done)
	}
	if err := s.Damage(); err != nil {
		return &exitError{code: exitDamaged, err: err}
	}
	if err := r.addresses(s); err != nil {
		return err
	}
	if err := r.ask(ctx, s); err != nil {
		return err
	}
	log, err := r.a.logger(r.a.errOut)
	if err != nil {
		return err
	}
	done, err := node.Recover(ctx, node.Recovery{
		Dir: dir, BumpRevision: r.bump, AdvertisePeer: r.peerURL, AdvertiseClient: r.clientURLs, Logger: log,
	})
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	return r.a.printRecovered(dir, done)
}

// addresses reads the flags that change the member's addresses.
func (r *recovering) addresses(s *node.Survivor) (err error) {
	if r.peer != "" {
		scheme := join.SchemeTLS
		if s.Plain {
			scheme = join.SchemePlain
		}
		if r.peerURL, err = advertised("--advertise-peer", scheme, r.peer, ""); err != nil {
			return err
		}
	}
	for _, c := range r.client {
		u, err := advertised("--advertise-client", join.SchemePlain, c, "")
		if err != nil {
			return err
		}
		r.clientURLs = append(r.clientURLs, u)
	}
	return nil
}

// ask makes sure that the one who gave the command means this cluster.
func (r *recovering) ask(ctx context.Context, s *node.Survivor) error {
	want := clusterID(s.Cluster)
	if r.confirm != "" {
		if r.confirm != want {
			return fmt.Errorf("--confirm %s: %s is of cluster %s; 'chainfire recover --data-dir %s --show' prints what it holds", r.confirm, s.Dir, want, s.Dir)
		}
		return nil
	}
	if !isTerminal(r.a.in) {
		return fmt.Errorf("nobody is there to be asked: look at 'chainfire recover --data-dir %s --show', then give --confirm with the id of the cluster that is given up", s.Dir)
	}
	// A person is asked also where the answer goes elsewhere as JSON.
	r.a.complain("%s", survivorText(s))
	r.a.complain(`
This makes a NEW cluster of %s alone. Do it only when the majority of the old one is
lost for good, and no other survivor has a newer log. Members of the old cluster
must be wiped before they join the new one.

Type the id of the old cluster (%s) to go on: `, s.Dir, want)
	line, err := readLine(ctx, r.a.in)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if line != want {
		return fmt.Errorf("%q is not the cluster's id: nothing was changed", line)
	}
	return nil
}

// readLine reads what a person types, until the context ends.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	type answer struct {
		text string
		err  error
	}
	typed := make(chan answer, 1)
	go func() {
		text, err := bufio.NewReader(in).ReadString('\n')
		typed <- answer{strings.TrimSpace(text), err}
	}()
	select {
	case t := <-typed:
		return t.text, t.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// jsonRecovered is a recovery as -w json prints it.
type jsonRecovered struct {
	Dir         string   `json:"data_dir"`
	Cluster     string   `json:"cluster_id"`
	Member      string   `json:"member_id"`
	Name        string   `json:"name"`
	PeerURLs    []string `json:"peer_urls"`
	OldCluster  string   `json:"old_cluster_id"`
	OldMember   string   `json:"old_member_id,omitempty"`
	Applied     uint64   `json:"applied,omitempty"`
	Unsure      uint64   `json:"not_known_committed"`
	OldRevision int64    `json:"old_revision,omitempty"`
	Revision    int64    `json:"revision,omitempty"`
	TokenFile   string   `json:"token_file,omitempty"`
	Kept        string   `json:"kept,omitempty"`
}

func (a *app) printRecovered(dir string, d *node.Recovered) error {
	if a.format == formatJSON {
		return a.printJSON(jsonRecovered{
			Dir: dir, Cluster: clusterID(d.Cluster), Member: memberID(d.Member), Name: d.Name, PeerURLs: orEmpty(d.PeerURLs),
			OldCluster: clusterID(d.OldCluster), OldMember: idOrNone(d.OldMember), Applied: d.Applied, Unsure: d.Unsure,
			OldRevision: d.OldRevision, Revision: d.Revision, TokenFile: d.TokenFile, Kept: d.Kept,
		})
	}
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-14s%s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "recovered: %s is the only member of a new cluster\n\n", dir)
	line("cluster", "%s, which was %s", clusterID(d.Cluster), clusterID(d.OldCluster))
	line("member", "%s (%s)", memberID(d.Member), d.Name)
	if d.OldMember != 0 {
		unsure := "all of them committed"
		if d.Unsure > 0 {
			unsure = fmt.Sprintf("the last %d of them not known to be committed before", d.Unsure)
		}
		line("log", "everything up to entry %d was applied, %s", d.Applied, unsure)
		line("revision", "%d, which was %d", d.Revision, d.OldRevision)
	}
	if d.TokenFile != "" {
		line("join token", "%s; those of the old cluster are void", d.TokenFile)
	}
	if d.Kept != "" {
		line("kept", "%s holds what the directory was; remove it when all is well", d.Kept)
	}
	fmt.Fprintf(&b, `
Start it with 'chainfire serve' and the flags that it had. On every other machine of
the old cluster wipe the data directory, or move it away, before it joins this one
with 'chainfire serve --join HOST --token-file FILE': an old directory belongs to the
old cluster for good.
`)
	return a.printf("%s", b.String())
}
