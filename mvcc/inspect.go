package mvcc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"chainfire/internal/disk"
)

// FaultKind is what is wrong with a part of a store.
type FaultKind string

// The kinds.
const (
	// FaultTorn is an unfinished write at the end of the manifest. What it would
	// have said is in the log still: the store is sound.
	FaultTorn FaultKind = "torn"
	// FaultRotten is what is not as it was written, or cannot have been written.
	FaultRotten FaultKind = "rotten"
	// FaultMissing is a file that must be there.
	FaultMissing FaultKind = "missing"
	// FaultUnreadable is what cannot be read for what is wrong elsewhere, or
	// because the disk does not give it.
	FaultUnreadable FaultKind = "unreadable"
	// FaultBehind is a store that holds less than was durable in it once.
	FaultBehind FaultKind = "behind"
)

// Fault is one thing that is wrong with a store.
type Fault struct {
	Kind FaultKind
	// File is the file, or the directory where no single file is at fault.
	File          string
	Offset, Bytes int64
	Reason        string
}

// InspectedFile is one file of a store.
type InspectedFile struct {
	Path  string
	Bytes int64
	// Kind is pointer, manifest, table, marker, options, log, lock or other.
	Kind string
	// Live is set for a file that the store consists of. Others are left-overs,
	// which are not read and which the next start removes.
	Live bool
	// Level and Blocks are a table's: where it stands in the tree, and how many
	// blocks it has. Faults counts what is wrong with it.
	Level, Blocks, Faults int
}

// RowCounts are the numbers of rows by kind.
type RowCounts struct {
	// Keys are those with a version, Live those that are not deleted.
	Keys, Live int64
	// Versions are all of them, Deletions those that are deletions.
	Versions, Deletions int64
	// Changes are the rows of revisions, Meta those of the store and the machine.
	Changes, Meta int64
	// Leases are those granted, Attached the keys that are attached to one.
	Leases, Attached int64
	// Buckets are the rows with counts of live keys, Counted what they come to.
	Buckets, Counted int64
	// Side are the rows beside the key space, SideBytes what they hold.
	Side, SideBytes int64
}

// InspectOptions say what to read, and who is told. A callback that is nil is not
// called; an error of one ends the inspection with that error.
type InspectOptions struct {
	// FS is the file system; nil is the real one. Nothing on it is changed.
	FS FS
	// Dir is a store's directory, or one engine directory, as a snapshot is.
	Dir string
	// Floor is the applied index that the store must hold; 0 is any.
	Floor uint64
	Row   func(*InspectedRow) error
	Fault func(*Fault) error
}

// Inspection is what a store holds, as far as it can be read.
type Inspection struct {
	// Dir is the engine directory in force.
	Dir string
	// Opened says that the engine opened it, so that its rows were read.
	Opened bool
	// State is the state row, if HasState.
	State    State
	HasState bool
	// Reclaimed is the revision up to which superseded versions are gone.
	Reclaimed int64
	// Rows are the counts of what could be read.
	Rows RowCounts
	// Meta are the rows of the machine above.
	Meta []MetaRow
	// SideSum is the sum of the side rows that could be read.
	SideSum uint64
	// Hash is the digest of the key space, if HasHash: it needs every row.
	Hash    Hash
	HasHash bool
	Files   []InspectedFile
	// Damage counts the faults but a torn end of the manifest.
	Damage int
}

// inspectCache is enough: every block is read once or twice, in order.
const inspectCache = 8 << 20

// Inspect reads a store that nobody has open: it checks every block of every
// table, the manifest and the pointer, and reads every row. It changes nothing
// and goes on around what is damaged: a fault is told, not returned. Its memory
// does not grow with the number of rows.
//
// It returns ErrNotExist when there is no store, an error of the disk when the
// directory cannot be listed, and whatever a callback returns.
func Inspect(ctx context.Context, o InspectOptions) (*Inspection, error) {
	if o.FS == nil {
		o.FS = disk.OS()
	}
	o.FS = disk.ReadOnly(o.FS)
	n := &inspector{ctx: ctx, o: o, out: &Inspection{}}
	if err := n.run(); err != nil {
		return nil, fmt.Errorf("inspect store %s: %w", o.Dir, err)
	}
	return n.out, nil
}

// inspector is one run of Inspect.
type inspector struct {
	ctx context.Context
	o   InspectOptions
	out *Inspection
	// holes are the stretches of rows that cannot be read.
	holes []hole
	// cut is the end of the manifest, if that does not check. What it is shows
	// when the store is read without it.
	cut *Fault
	rowState
}

func (n *inspector) tell(f Fault) error {
	if f.Kind != FaultTorn {
		n.out.Damage++
	}
	for i := range n.out.Files {
		if n.out.Files[i].Path == f.File {
			n.out.Files[i].Faults++
		}
	}
	if n.o.Fault == nil {
		return nil
	}
	return n.o.Fault(&f)
}

func (n *inspector) run() error {
	if err := n.locate(); err != nil {
		return err
	}
	if n.out.Dir == "" {
		return nil // the pointer is damaged, which was told
	}
	if err := n.list(); err != nil {
		return err
	}
	if err := n.manifest(); err != nil {
		return err
	}
	db, err := n.open()
	if err != nil {
		return err
	}
	if db == nil {
		// Which tables count, only the engine could tell.
		err = n.checkTables(nil)
	} else {
		n.out.Opened = true
		err = errors.Join(n.read(db), db.Close())
	}
	if err != nil {
		return err
	}
	return n.tellCut()
}

// tellCut tells of the end of the manifest. A write that a crash cut short leaves
// a store that is whole without it; a record that was whole once is missed.
func (n *inspector) tellCut() error {
	if n.cut == nil {
		return nil
	}
	if !n.out.Opened || !n.out.HasState || n.out.State.Applied < n.o.Floor {
		n.cut.Kind = FaultRotten
		n.cut.Reason = "the last record is cut short or fails its checksum, and the store is not whole without it"
	}
	return n.tell(*n.cut)
}

// read checks the tables of an open engine and then reads its rows.
func (n *inspector) read(db *pebble.DB) error {
	levels, err := db.SSTables()
	if err != nil {
		return fmt.Errorf("list the tables: %w", err)
	}
	if err := n.checkTables(levels); err != nil {
		return err
	}
	if b, ok, err := getRow(db, metaRow(formatName)); err == nil && ok && (len(b) != 1 || b[0] != formatVersion) {
		// A row that cannot be read is told of with the others.
		return fmt.Errorf("store has format %x, this program reads format %d", b, formatVersion)
	}
	if err := n.readRows(db); err != nil {
		return err
	}
	if n.out.HasState && n.readAll() {
		return n.hash(db)
	}
	return nil
}

func (n *inspector) hash(db *pebble.DB) error {
	st := n.out.State
	sum, err := hashRows(n.ctx, db, st.Revision, st.Compacted, nil)
	if n.ctx.Err() != nil {
		return err
	}
	if err != nil {
		return n.tell(Fault{Kind: FaultUnreadable, File: n.out.Dir, Reason: err.Error()})
	}
	n.out.Hash, n.out.HasHash = Hash{Sum: sum, Revision: st.Revision, Compacted: st.Compacted}, true
	return nil
}

// locate finds the engine directory in force.
func (n *inspector) locate() error {
	f := n.o.FS
	pointer := f.PathJoin(n.o.Dir, pointerName)
	number, err := readPointer(f, n.o.Dir)
	switch {
	case err == nil:
		if err := n.addFile(pointer, "pointer", true); err != nil {
			return err
		}
		n.out.Dir = f.PathJoin(n.o.Dir, engineName(number))
		return n.leftovers(engineName(number))
	case errors.Is(err, ErrNotExist):
		desc, perr := pebble.Peek(n.o.Dir, f)
		if errors.Is(perr, fs.ErrNotExist) || perr == nil && !desc.Exists {
			return err
		}
		if perr != nil {
			return fmt.Errorf("look for an engine directory: %w", perr)
		}
		n.out.Dir = n.o.Dir
		return nil
	case errors.Is(err, errCorruptRow):
		return n.guess(pointer)
	}
	return err
}

// guess goes on with the newest engine directory when the pointer is damaged.
func (n *inspector) guess(pointer string) error {
	if err := n.addFile(pointer, "pointer", true); err != nil {
		return err
	}
	names, err := n.o.FS.List(n.o.Dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", n.o.Dir, err)
	}
	newest := ""
	for _, name := range names {
		if strings.HasPrefix(name, enginePrefix) {
			newest = max(newest, name)
		}
	}
	fault := Fault{Kind: FaultRotten, File: pointer, Bytes: n.out.Files[0].Bytes, Reason: "pointer to the directory in force fails its checksum"}
	if newest != "" {
		n.out.Dir = n.o.FS.PathJoin(n.o.Dir, newest)
		fault.Reason += "; what follows is of " + newest + ", which is the newest"
	}
	return n.tell(fault)
}

// leftovers lists the other engine directories, which the next start removes.
func (n *inspector) leftovers(current string) error {
	names, err := n.o.FS.List(n.o.Dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", n.o.Dir, err)
	}
	slices.Sort(names)
	found := false
	for _, name := range names {
		found = found || name == current
		if name != pointerName && name != current {
			if err := n.addFile(n.o.FS.PathJoin(n.o.Dir, name), "other", false); err != nil {
				return err
			}
		}
	}
	if found {
		return nil
	}
	n.out.Dir = ""
	return n.tell(Fault{Kind: FaultMissing, File: n.o.FS.PathJoin(n.o.Dir, current), Reason: "the directory in force is not there"})
}

func (n *inspector) addFile(name, kind string, live bool) error {
	info, err := n.o.FS.Stat(name)
	if err != nil {
		return fmt.Errorf("look at %s: %w", name, err)
	}
	n.out.Files = append(n.out.Files, InspectedFile{Path: name, Bytes: info.Size(), Kind: kind, Live: live})
	return nil
}

// list notes the files of the engine directory. Which tables are live is known
// later.
func (n *inspector) list() error {
	names, err := n.o.FS.List(n.out.Dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", n.out.Dir, err)
	}
	slices.Sort(names)
	for _, name := range names {
		kind := "other"
		switch {
		case strings.HasPrefix(name, "MANIFEST-"):
			kind = "manifest"
		case strings.HasPrefix(name, "OPTIONS-"):
			kind = "options"
		case strings.HasPrefix(name, "marker."):
			kind = "marker"
		case path.Ext(name) == tableExt:
			kind = "table"
		case name == lockName:
			kind = "lock"
		case path.Ext(name) == ".log":
			kind = "log" // the engine makes one, and writes nothing to it
		}
		if err := n.addFile(n.o.FS.PathJoin(n.out.Dir, name), kind, kind != "table" && kind != "manifest" && kind != "other"); err != nil {
			return err
		}
	}
	return nil
}

// manifest checks the manifest in force.
func (n *inspector) manifest() (err error) {
	desc, err := pebble.Peek(n.out.Dir, n.o.FS)
	if err != nil || !desc.Exists {
		reason := "no manifest is named"
		if err != nil {
			reason = err.Error()
		}
		return n.tell(Fault{Kind: FaultMissing, File: n.out.Dir, Reason: reason})
	}
	f, err := n.o.FS.Open(desc.ManifestFilename)
	if err != nil {
		kind := FaultUnreadable
		if errors.Is(err, fs.ErrNotExist) {
			kind = FaultMissing
		}
		return n.tell(Fault{Kind: kind, File: desc.ManifestFilename, Reason: err.Error()})
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var size int64
	for i := range n.out.Files {
		if x := &n.out.Files[i]; x.Path == desc.ManifestFilename {
			x.Live, size = true, x.Bytes
		}
	}
	bad, rotten, err := badChunk(f)
	fault := Fault{Kind: FaultTorn, File: desc.ManifestFilename, Offset: bad, Bytes: size - bad, Reason: "unfinished write of a record"}
	switch {
	case err != nil:
		return n.tell(Fault{Kind: FaultUnreadable, File: desc.ManifestFilename, Reason: err.Error()})
	case rotten:
		fault.Kind = FaultRotten
		fault.Reason = "record fails its checksum; what follows is the store as of the records before it"
	case bad < 0:
		return nil
	default:
		n.cut = &fault
		return nil
	}
	return n.tell(fault)
}

// open opens the engine directory, or tells why that cannot be done.
func (n *inspector) open() (*pebble.DB, error) {
	opts, err := Options{FS: n.o.FS, Dir: n.out.Dir, CacheBytes: inspectCache, MemTableBytes: 1 << 20}.withDefaults()
	if err != nil {
		return nil, err
	}
	cache := opts.newCache()
	defer cache.Unref()
	// What the engine reports is found by reading, too.
	o := engineOptions(&opts, newFailure(&opts), cache)
	o.ReadOnly, o.ErrorIfNotExists = true, true
	db, err := openPebble(n.out.Dir, o)
	if err == nil {
		return db, nil
	}
	return nil, n.tell(Fault{Kind: FaultUnreadable, File: n.out.Dir, Reason: "the engine does not open it, so that no row is read: " + firstLine(err)})
}
