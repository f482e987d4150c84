package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"chainfire/internal/disk"
	"chainfire/machine"
	"chainfire/mvcc"
	"chainfire/raft"
	"chainfire/raft/confchange"
	"chainfire/wal"
)

// tableEntries is how many entries a table shows when nothing else is asked for.
const tableEntries = 50

const walExpected = "the wal folder of a member, its data directory, or one segment file (NNNNNNNNNNNNNNNN.wal)"

func newDebugWAL(a *app) *cobra.Command {
	d := &debugWAL{a: a}
	cmd := &cobra.Command{
		Use:   "wal PATH",
		Short: "Check and decode the write-ahead log of a stopped member",
		Long: `Check every record of a write-ahead log, and print where it stands, its segments,
its entries down to their commands, and the changes of membership, term and vote.

PATH is ` + walExpected + `.

Entries are committed (a majority holds them, as far as this member knew), open
(not known to be committed), replaced (by a later leader's) or released (the store
holds them, and only their segment is still there). Without --from the last ones
are shown. Configurations are derived from the store, or from the beginning of the
log where that is the cluster's.

With -w json: a line for each segment, fault, record and entry, and a summary at
the end. Entries have every field; keys and values that are not UTF-8 are in base64.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d.limited = cmd.Flags().Changed("limit")
			return a.buffered(func() error { return d.run(cmd.Context(), args[0]) })
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&d.from, "from", 0, "first entry to print, by index")
	f.Uint64Var(&d.to, "to", 0, "last entry to print, by index (default: the last there is)")
	f.Uint64Var(&d.limit, "limit", 0, fmt.Sprintf("how many entries to print: from --from on, or the last ones; 0 is all (default: %d in a table, all in JSON)", tableEntries))
	f.BoolVar(&d.keys, "keys", false, "show keys in the table, not only their sizes")
	f.BoolVar(&d.records, "records", false, "list the records, too")
	return cmd
}

// debugWAL is one run of 'debug wal'.
type debugWAL struct {
	a               *app
	from, to, limit uint64
	limited         bool
	keys, records   bool

	// interrupted is the error that ends the command when its user does.
	interrupted func() error

	target   *debugTarget
	log      wal.InspectOptions
	report   *debugReport
	found    *wal.Inspection
	segments []wal.InspectedSegment
	confs    confTracker
	printed  uint64
	entries  streamTable
	members  streamTable
	// hs is the hard state so far, changes the last of them for a table, dropped
	// how many came before.
	hs      raft.HardState
	changes []string
	dropped int
}

func (d *debugWAL) run(ctx context.Context, path string) (err error) {
	d.interrupted = func() error { return context.Cause(ctx) }
	if d.to > 0 && d.to < d.from {
		return fmt.Errorf("--to %d is before --from %d", d.to, d.from)
	}
	if d.target, err = openDebug(path, walExpected); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.target.close()) }()
	d.report = &debugReport{a: d.a, meaning: d.meaning}
	d.log = wal.InspectOptions{Dir: d.target.path}
	switch {
	case d.target.file:
		d.log.Dir, d.log.File = filepath.Dir(d.target.path), filepath.Base(d.target.path)
	case d.target.isMember && !d.target.inMember:
		if d.log.Dir = d.target.member.Log; d.log.Dir == "" {
			return fmt.Errorf("%s has no wal folder; give %s", path, walExpected)
		}
	}
	if err := d.check(path); err != nil {
		return err
	}
	if err := d.report.tellIdentity(d.target); err != nil {
		return err
	}
	if d.a.format == formatJSON {
		return d.json()
	}
	return d.table()
}

// check reads the whole log once and finds out where it stands.
func (d *debugWAL) check(path string) error {
	o := d.log
	o.Fault = func(f *wal.Fault) error {
		return d.report.tell(debugFault{Fault: string(f.Kind), File: f.File, Offset: f.Offset, Bytes: f.Bytes, Reason: f.Reason})
	}
	o.Segment = func(s *wal.InspectedSegment) error {
		if d.a.format == formatJSON {
			return d.a.printJSON(newJSONSegment(s))
		}
		d.segments = append(d.segments, *s)
		return nil
	}
	o.Record = func(*wal.InspectedRecord) error { return d.interrupted() }
	var err error
	d.found, err = wal.Inspect(o)
	switch {
	case errors.Is(err, wal.ErrNotExist):
		return fmt.Errorf("%s holds no write-ahead log; give %s", path, walExpected)
	case errors.Is(err, wal.ErrNotSegment):
		return fmt.Errorf("%s is no segment of a write-ahead log; give %s", path, walExpected)
	case err != nil:
		return err
	}
	if d.limit == 0 && !d.limited && d.a.format != formatJSON {
		d.limit = tableEntries
	}
	if last := d.lastWanted(); d.from == 0 && d.limit > 0 {
		if last > d.limit {
			d.from = last - d.limit + 1
		}
		d.limit = 0
	}
	d.confs.begin(d.found.Base)
	if d.target.member.Store != "" {
		d.confs.readStore(d.target.member.Store)
	}
	return nil
}

func (d *debugWAL) lastWanted() uint64 {
	if d.to > 0 {
		return min(d.to, d.found.Last)
	}
	return d.found.Last
}

// meaning says what a fault means for this member.
func (d *debugWAL) meaning(kind string) string {
	again := "no other member is known to this one: restore the whole data directory from a backup"
	if d.target.member.Peers {
		again = "the other members hold what was committed: take this member out ('chainfire member remove'), clear its data directory " +
			"and let it join again. Do not put an older copy of the log in its place: it would forget votes and entries that it acknowledged"
	}
	switch wal.FaultKind(kind) {
	case wal.FaultTorn:
		return "an unfinished write that was never acknowledged. The next start cuts it off, and nothing is lost. " +
			"(A last record that has rotted looks the same.)"
	case wal.FaultRotten:
		return "this was durable once and is not as it was written. The member does not start on it; " + again
	case wal.FaultMissing:
		return "a file that must be there is not, and the member does not start. Put that very file back if it was moved; else " + again
	}
	return "the disk did not give what is there. Look at the disk and its log before anything else; then " + again
}

// each reads the log again, record by record. What is wrong was told before.
func (d *debugWAL) each(record func(*wal.InspectedRecord) error) error {
	o := d.log
	o.Record = func(r *wal.InspectedRecord) error {
		if err := d.interrupted(); err != nil {
			return err
		}
		return record(r)
	}
	_, err := wal.Inspect(o)
	return err
}

// wanted reports whether an entry is to be printed.
func (d *debugWAL) wanted(index uint64) bool {
	return index >= d.from && (d.to == 0 || index <= d.to) && (d.limit == 0 || d.printed < d.limit)
}

// entryState says how an entry stands.
func (d *debugWAL) entryState(seq, index uint64) string {
	switch {
	case d.found.Replaced(seq, index):
		return "replaced"
	case index < d.found.First:
		return "released"
	case index <= d.found.HardState.Commit:
		return "committed"
	}
	return "open"
}

// decodedEntry is an entry as it is printed.
type decodedEntry struct {
	raft.Entry
	machine.DecodedEntry
	state string
	// err says why it could not be decoded.
	err error
	// conf is the configuration after it, if it changes that and it is known;
	// refused why it does not change it.
	conf    *raft.ConfState
	refused error
}

func (d *debugWAL) decode(seq uint64, e *raft.Entry) decodedEntry {
	out := decodedEntry{Entry: *e, state: d.entryState(seq, e.Index)}
	out.DecodedEntry, out.err = machine.DecodeEntry(e)
	if out.Change != nil && out.state != "replaced" {
		out.conf, out.refused = d.confs.apply(e.Index, *out.Change)
	}
	return out
}

// request is who waits for the result.
func (e *decodedEntry) request() string {
	if e.ID == (machine.RequestID{}) {
		return "-"
	}
	return fmt.Sprintf("%s/%d", memberID(e.ID.Member), e.ID.Seq)
}

// confTracker follows the configuration through the log.
type confTracker struct {
	conf  raft.ConfState
	known bool
	// store is the configuration that the store holds after the entry at index.
	store    raft.ConfState
	index    uint64
	hasStore bool
	// position is where the store stands, zero if that is not known.
	position jsonPosition
}

// begin sets the configuration where the log begins, if that is the cluster's
// beginning: it stands for entry 1, and member 1 is all there is.
func (c *confTracker) begin(base wal.Position) {
	if base == (wal.Position{Index: 1, Term: 1}) {
		c.conf, c.known = raft.ConfState{Voters: []uint64{1}}, true
	}
}

// readStore takes the configuration from the store, if that can be read; what is
// wrong with it is for 'debug store' to say.
func (c *confTracker) readStore(dir string) {
	fsys := disk.ReadOnly(disk.OS())
	current, err := mvcc.Current(fsys, dir)
	if err != nil {
		return
	}
	meta, _, err := machine.CheckpointMeta(fsys, current)
	if err != nil {
		return
	}
	c.store, c.index, c.hasStore = meta.Conf, meta.Index, true
	c.position = jsonPosition{meta.Index, meta.Term}
}

// apply returns the configuration after a change, nil if it is not known, or why
// the change does not fit.
func (c *confTracker) apply(index uint64, change confchange.Change) (*raft.ConfState, error) {
	if c.hasStore && index > c.index {
		c.conf, c.known, c.hasStore = c.store, true, false
	}
	if !c.known {
		return nil, nil
	}
	next, err := confchange.Apply(c.conf, change)
	if err != nil {
		return nil, err
	}
	c.conf = next
	conf := next.Clone()
	return &conf, nil
}
