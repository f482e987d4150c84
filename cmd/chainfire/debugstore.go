package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"chainfire/machine"
	"chainfire/mvcc"
	"chainfire/wal"
)

const storeExpected = "the store folder of a member, its data directory, or one engine directory (store-NNNNNN, or a snapshot folder)"

func newDebugStore(a *app) *cobra.Command {
	d := &debugStore{a: a}
	cmd := &cobra.Command{
		Use:   "store PATH",
		Short: "Check and decode the store of a stopped member",
		Long: `Check every block of every table of a store, its manifest and its pointer, read
every row, and print what it holds: where it stands, the members, how many keys and
versions, the hash of the key space (members that are at the same revision and
compaction must have the same), and its files.

PATH is ` + storeExpected + `.

In a data directory the store is held against the log: one that holds less than the
log knows to have been durable in it is damaged, too.

With -w json: a line for each fault and file, and a summary at the end; with --rows
a line for each row before that, decoded.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.buffered(func() error { return d.run(cmd.Context(), args[0]) })
		},
	}
	cmd.Flags().BoolVar(&d.rows, "rows", false, "print every row, decoded; with -w json only")
	return cmd
}

// debugStore is one run of 'debug store'.
type debugStore struct {
	a      *app
	rows   bool
	target *debugTarget
	report *debugReport
	found  *machine.Inspection
	// floor is what the log says of the store; floorNote why it says nothing.
	floor     uint64
	floorNote string
}

func (d *debugStore) run(ctx context.Context, path string) (err error) {
	if d.rows && d.a.format != formatJSON {
		return errors.New("--rows prints JSON: add -w json")
	}
	if d.target, err = openDebug(path, storeExpected); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.target.close()) }()
	if d.target.file {
		return fmt.Errorf("%s is a file; give %s", path, storeExpected)
	}
	d.report = &debugReport{a: d.a, meaning: d.meaning}
	dir := d.target.path
	if d.target.isMember && !d.target.inMember {
		if dir = d.target.member.Store; dir == "" {
			return fmt.Errorf("%s has no store folder; give %s", path, storeExpected)
		}
	}
	if err := d.readFloor(); err != nil {
		return err
	}
	o := mvcc.InspectOptions{Dir: dir, Floor: d.floor, Fault: d.tell}
	if d.rows {
		o.Row = func(r *mvcc.InspectedRow) error { return d.a.printJSON(newJSONRow(r)) }
	}
	if err := d.report.tellIdentity(d.target); err != nil {
		return err
	}
	d.found, err = machine.Inspect(ctx, o)
	switch {
	case errors.Is(err, mvcc.ErrNotExist):
		return fmt.Errorf("%s holds no store; give %s", path, storeExpected)
	case err != nil:
		return err
	}
	if d.a.format == formatJSON {
		return d.json()
	}
	return d.table()
}

func (d *debugStore) tell(f *mvcc.Fault) error {
	return d.report.tell(debugFault{Fault: string(f.Kind), File: f.File, Offset: f.Offset, Bytes: f.Bytes, Reason: f.Reason})
}

// readFloor asks the log beside the store what the store must hold. It does not
// count for a snapshot in the data directory.
func (d *debugStore) readFloor() error {
	m := &d.target.member
	if !d.target.isMember || m.Log == "" || !d.isMembersStore() {
		return nil
	}
	n, err := wal.Inspect(wal.InspectOptions{Dir: m.Log})
	switch {
	case errors.Is(err, wal.ErrNotExist):
		d.floorNote = "there is no log to hold it against"
	case err != nil:
		return err
	case n.Damage > 0:
		d.floorNote = "the log is damaged and does not say what the store must hold; see 'chainfire debug wal'"
	default:
		d.floor = max(n.Floor, n.Base.Index)
	}
	return nil
}

func (d *debugStore) isMembersStore() bool {
	return !d.target.inMember || belongs(d.target.path, []string{d.target.member.Store})
}

// meaning says what a fault means for this member.
func (d *debugStore) meaning(kind string) string {
	heal := "no other member is known to this one: it does not start, or stops when it reads it; restore the data directory from a backup"
	if d.target.member.Peers {
		heal = "found at a start, the member sets this store aside and rebuilds it from another member by itself; " +
			"found while it runs, it stops, and does so at its next start"
	}
	switch mvcc.FaultKind(kind) {
	case mvcc.FaultTorn:
		return "an unfinished write, which the next start cuts off. What it would have said is in the log still, and nothing is lost."
	case mvcc.FaultRotten:
		return "this is not as it was written; " + heal
	case mvcc.FaultMissing:
		return "a file that must be there is not; put it back if you have it. Else " + heal
	case mvcc.FaultBehind:
		return "files were lost or put back: the store opens, and lacks data; " + heal
	}
	return "there are rows that cannot be read, for the reason that is told with it."
}

func (d *debugStore) table() error {
	if err := d.printHeading(); err != nil {
		return err
	}
	if err := d.printMembers(); err != nil {
		return err
	}
	rows := [][]string{{"FILE", "KIND", "LEVEL", "BYTES", "BLOCKS", "STATE"}}
	for i := range d.found.Files {
		f := &d.found.Files[i]
		level, blocks := "-", "-"
		if f.Kind == "table" && f.Live {
			level, blocks = strconv.Itoa(f.Level), strconv.Itoa(f.Blocks)
		}
		rows = append(rows, []string{filepath.Base(f.Path), f.Kind, level, strconv.FormatInt(f.Bytes, 10), blocks, storeFileState(f)})
	}
	if err := d.a.printf("\nFILES\n"); err != nil {
		return err
	}
	if err := d.a.printTable(rows); err != nil {
		return err
	}
	if err := d.report.print(); err != nil {
		return err
	}
	conclusion := "sound: every block and every row checks"
	if d.report.damage > 0 {
		conclusion = "damaged: " + plural(d.report.damage, "fault")
	}
	if err := d.a.printf("\n%s\n", conclusion); err != nil {
		return err
	}
	return d.report.end()
}

func storeFileState(f *mvcc.InspectedFile) string {
	switch {
	case f.Faults > 0:
		return plural(f.Faults, "fault")
	case !f.Live && f.Kind == "other":
		return "no part of the store; not read"
	case !f.Live:
		return "left over; not read"
	case f.Kind == "table" || f.Kind == "manifest" || f.Kind == "pointer":
		return "sound"
	}
	return "-"
}

func compactedAt(rev int64) string {
	if rev == mvcc.NeverCompacted {
		return "never compacted"
	}
	return fmt.Sprintf("compacted at %d", rev)
}

func (d *debugStore) printHeading() error {
	n, a := d.found, d.a
	errs := []error{a.printf("%s: store in %s%s\n\n", d.report.verdict(), d.found.Dir, d.target.owner())}
	add := func(name, format string, args ...any) { errs = append(errs, a.field(name, format, args...)) }
	if n.HasState {
		add("applied", "index %d of term %d; entries after that are in the log, and applied at the next start", n.State.Applied, n.State.Term)
		add("revision", "%d, %s, space given back up to %d", n.State.Revision, compactedAt(n.State.Compacted), n.Reclaimed)
	} else {
		add("applied", "not known: the state row cannot be read")
	}
	switch {
	case d.floorNote != "":
		add("log", "%s", d.floorNote)
	case d.floor > 0:
		add("log", "says that index %d is durable here", d.floor)
	}
	if n.Opened {
		r, less := &n.Rows, ""
		if !n.HasHash {
			less = " (of what can be read)"
		}
		add("keys", "%d live, %d with a version%s", r.Live, r.Keys, less)
		add("rows", "%d versions (%d of them deletions), %d changes, %d of the store itself", r.Versions, r.Deletions, r.Changes, r.Meta)
		if r.Leases+r.Attached > 0 {
			add("leases", "%d, with %d keys attached", r.Leases, r.Attached)
		}
		if r.Side > 0 {
			add("objects", "%d rows of %d bytes, sum %016x%s", r.Side, r.SideBytes, n.SideSum, less)
		}
	}
	if n.HasHash {
		add("hash", "%016x at revision %d, %s", n.Hash.Sum, n.Hash.Revision, compactedAt(n.Hash.Compacted))
	} else {
		add("hash", "not known: it needs every row")
	}
	if n.ClusterID != 0 {
		add("cluster", "%s", clusterID(n.ClusterID))
		add("configuration", "%s", n.Conf.String())
		add("feature level", "%d", n.Level)
	}
	if len(n.Removed) > 0 {
		add("removed", "member ids %s, which never return", joinIDs(n.Removed))
	}
	if noted := d.target.member.Damage; noted != "" && d.isMembersStore() {
		add("noted", "the member itself found damage: %s", noted)
	}
	return errors.Join(errs...)
}

func joinIDs(ids []uint64) string {
	var out []string
	for _, id := range ids {
		out = append(out, memberID(id))
	}
	return strings.Join(out, ", ")
}

func (d *debugStore) printMembers() error {
	if len(d.found.Members) == 0 {
		return nil
	}
	rows := [][]string{{"ID", "NAME", "ROLE", "PEER ADDRESS", "CLIENT ADDRESS", "NOTE"}}
	for i := range d.found.Members {
		m := &d.found.Members[i]
		rows = append(rows, []string{
			memberID(m.ID), orDash(m.Name), storedRole(d.found, m),
			orDash(strings.Join(m.PeerURLs, ",")), orDash(strings.Join(m.ClientURLs, ",")), memberNote(m),
		})
	}
	if err := d.a.printf("\nMEMBERS\n"); err != nil {
		return err
	}
	return d.a.printTable(rows)
}

func storedRole(n *machine.Inspection, m *machine.MemberRecord) string {
	switch {
	case m.Reserved:
		return "reserved"
	case n.Conf.IsVoter(m.ID):
		return "voter"
	case n.Conf.IsLearner(m.ID):
		return "learner"
	}
	return "-"
}

func memberNote(m *machine.MemberRecord) string {
	var notes []string
	if m.Incarnation == 0 {
		notes = append(notes, "not started")
	}
	if m.Manual {
		notes = append(notes, "added by hand")
	}
	if m.ReadReplica {
		notes = append(notes, "read replica")
	}
	if m.ReservedIndex > 0 {
		notes = append(notes, fmt.Sprintf("the log is kept for it from index %d on", m.ReservedIndex))
	}
	if m.Replaces != 0 {
		notes = append(notes, fmt.Sprintf("takes the place of member %d when it has caught up", m.Replaces))
	}
	return orDash(strings.Join(notes, "; "))
}
