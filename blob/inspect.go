package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"chainfire/internal/disk"
	"chainfire/object"
)

// ErrNoStore says that a directory holds nothing of a blob store.
var ErrNoStore = errors.New("no blob store")

// FaultKind is what is wrong with a part of a store.
type FaultKind string

// The kinds of faults. Only FaultTorn is no damage.
const (
	// FaultTorn is a write that was cut short before it was acknowledged, in the last segment behind
	// what is known to have been synced. Open writes over it.
	FaultTorn FaultKind = "torn"
	// FaultRotten is what is not as it was written.
	FaultRotten FaultKind = "rotten"
	// FaultMissing is a segment that is not there.
	FaultMissing FaultKind = "missing"
	// FaultForeign is a segment of another store, with which Open fails.
	FaultForeign FaultKind = "foreign"
	// FaultIndex is an index that cannot be used. Open makes it anew from the segments.
	FaultIndex FaultKind = "index"
)

// Fault is one thing that is wrong.
type Fault struct {
	Kind FaultKind
	File string
	// Offset is where in the file, Bytes how much; 0 where it's the file as a whole.
	Offset, Bytes int64
	Reason        string
}

// SegmentInfo is what a segment's file holds.
type SegmentInfo struct {
	File string
	ID   uint64
	// Size is that of the file, End where its last record ends that counts.
	Size, End int64
	// Extents are the records of extents in it, and LiveExtents those of them that are not deleted or
	// elsewhere, with LiveBytes: by the index as it lies on disk, and everything that it does not
	// know yet. LiveKnown is false, and they are 0, without an index that can be used.
	Extents, LiveExtents, LiveBytes int64
	LiveKnown                       bool
	// Ended says that nothing is appended to it any more, Closed that its last record is a seal, as
	// of a store that was closed or that wrote nothing when its process ended.
	Ended, Closed bool
	// Faults counts what is wrong with it, damage and torn writes.
	Faults int
}

// Inspection is what a store holds.
type Inspection struct {
	Segments int
	// Salt is that of the store; 0 where neither the index nor a segment tells it.
	Salt uint64
	// Index says that there is one that can be used, NoIndex that there is none at all.
	Index, NoIndex bool
	// Noted is the damage that the store knows of itself: lost extents, and stretches of unknown
	// content.
	Noted int64
}

// InspectOptions say what Inspect reads, and who is told.
type InspectOptions struct {
	// FS is where Dir is; nothing in it is changed.
	FS disk.FS
	// Dir is the directory of a store that nobody has open.
	Dir string
	// File is the name of the one segment in Dir that is read, or empty for all of them.
	File string
	// Segment is told of each segment, in order, after what is wrong with it. Fault is told of all
	// that is wrong. Both are called from the goroutine of Inspect, which ends with their errors.
	Segment func(*SegmentInfo) error
	Fault   func(*Fault) error
}

// Inspect reads the directory of a store that is closed, and checks every byte of it that counts:
// each head, each piece, and the index. It judges as Open does, and changes nothing. Its memory
// is bounded but for a few numbers a segment. ErrNoStore is for a directory without a store,
// ErrNotSegment for a file whose name is not that of a segment.
func Inspect(ctx context.Context, o InspectOptions) (*Inspection, error) {
	o.FS = disk.ReadOnly(o.FS)
	n := &inspector{ctx: ctx, o: o, out: &Inspection{}, rows: map[uint64]segmentCount{}, buf: make([]byte, object.MaxExtent)}
	if err := n.list(); err != nil {
		return nil, err
	}
	err := n.openIndex()
	if err == nil {
		err = n.segments()
	}
	if n.index != nil {
		err = errors.Join(err, n.index.close())
	}
	if err != nil {
		return nil, fmt.Errorf("inspect blob store %s: %w", o.Dir, err)
	}
	return n.out, nil
}

// inspector is one run of Inspect.
type inspector struct {
	ctx context.Context
	o   InspectOptions
	out *Inspection
	ids []uint64
	// only is the segment that is read, or 0 for all of them.
	only uint64
	// index is nil where it cannot be used. known and rows are what it says of the segments, and
	// empty where Open would read them all.
	index *index
	known position
	rows  map[uint64]segmentCount
	buf   []byte
}

// segmentCount is what the index says of a segment.
type segmentCount struct{ end, records int64 }

func (n *inspector) path(name string) string { return n.o.FS.PathJoin(n.o.Dir, name) }

func (n *inspector) list() error {
	names, err := n.o.FS.List(n.o.Dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", n.o.Dir, err)
	}
	for _, name := range names {
		if id, ok := segmentID(name); ok {
			n.ids = append(n.ids, id)
		}
	}
	slices.Sort(n.ids)
	n.out.Segments = len(n.ids)
	n.out.NoIndex = !slices.Contains(names, indexName)
	if n.o.File != "" {
		id, ok := segmentID(n.o.File)
		if !ok || !slices.Contains(n.ids, id) {
			return fmt.Errorf("%s: %w", n.path(n.o.File), ErrNotSegment)
		}
		n.only = id
	}
	if len(n.ids) == 0 && (n.out.NoIndex || !slices.Contains(names, disk.LockName)) {
		return fmt.Errorf("%s: %w", n.o.Dir, ErrNoStore)
	}
	return nil
}

// segments reads what is to be read.
func (n *inspector) segments() error {
	if err := n.findSalt(); err != nil {
		return err
	}
	for i, id := range n.ids {
		if n.only != 0 && id != n.only {
			continue
		}
		s := &segmentInspector{inspector: n, last: i == len(n.ids)-1, info: SegmentInfo{ID: id, File: n.path(segmentName(id)), LiveKnown: n.index != nil}}
		if err := s.read(); err != nil {
			return err
		}
		if err := n.o.Segment(&s.info); err != nil {
			return err
		}
	}
	return nil
}

// findSalt finds the salt in a segment where the index does not tell it.
func (n *inspector) findSalt() error {
	for _, id := range n.ids {
		if n.out.Salt != 0 {
			break
		}
		path := n.path(segmentName(id))
		f, err := n.o.FS.Open(path)
		if err != nil {
			return fmt.Errorf("open %s: %w", path, err)
		}
		salt, err := headerOf(f, path, id)
		err = errors.Join(err, f.Close())
		if bad := (*CorruptError)(nil); err != nil && !errors.As(err, &bad) {
			return err
		}
		n.out.Salt = salt
	}
	return nil
}

// headerOf reads a segment's header and returns the salt in it: a *CorruptError for one that is
// damaged.
func headerOf(f io.ReaderAt, path string, id uint64) (uint64, error) {
	var b [segmentHeaderBytes]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, readError(path, 0, err)
	}
	salt, got, err := decodeSegmentHeader(b[:n])
	switch {
	case errors.Is(err, errVersion):
		return 0, fmt.Errorf("%s: %w", path, err)
	case err != nil:
		return 0, &CorruptError{File: path, Reason: err.Error()}
	case got != id:
		return 0, &CorruptError{File: path, Reason: fmt.Sprintf("the file is of segment %d", got)}
	}
	return salt, nil
}

// openIndex opens the index where it can be used, and reads all of it.
func (n *inspector) openIndex() error {
	if n.out.NoIndex {
		return nil
	}
	dir, fail := n.path(indexName), &firstError{}
	bad := func(reason string) error {
		return n.o.Fault(&Fault{Kind: FaultIndex, File: dir, Reason: reason})
	}
	_, err := n.o.FS.Stat(n.path(distrustName))
	if err == nil {
		return bad("the member found it damaged, and makes it anew at its next start")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for %s: %w", n.path(distrustName), err)
	}
	o, err := Options{FS: n.o.FS, Dir: n.o.Dir}.withDefaults()
	if err != nil {
		return err
	}
	x, err := lookAtIndex(&o, dir, fail.set)
	if err == nil {
		if err = errors.Join(n.readIndex(x), fail.get()); err != nil {
			err = errors.Join(err, x.close())
		}
	}
	switch {
	case n.ctx.Err() != nil:
		return errors.Join(n.ctx.Err(), err)
	case errors.Is(err, fs.ErrPermission):
		return err
	case err != nil:
		n.known, n.rows, n.out.Noted, n.out.Salt = position{}, map[uint64]segmentCount{}, 0, 0
		reason, _, _ := strings.Cut(err.Error(), "\n")
		return bad(reason)
	}
	n.index, n.out.Index = x, true
	return n.lost()
}

// readIndex reads every row, and keeps what is said of segments.
func (n *inspector) readIndex(x *index) error {
	m, _, err := x.meta()
	if err != nil {
		return err
	}
	n.known, n.out.Salt = m.known, m.salt
	err = x.walk(rowSegment, []byte{rowSegment}, func(row, value []byte) (bool, error) {
		id, err := parseNumbers(row[1:], 1)
		if err != nil {
			return false, err
		}
		v, err := parseNumbers(value, 3)
		if err != nil {
			return false, err
		}
		n.rows[id[0]] = segmentCount{end: int64(v[0]), records: int64(v[2])}
		return true, n.ctx.Err()
	})
	for _, kind := range []byte{rowExtent, rowDamage} {
		if err == nil {
			err = x.walk(kind, []byte{kind}, func(row, value []byte) (bool, error) {
				_, ierr := parseExtent(row)
				_, perr := parsePlace(value)
				if kind == rowDamage {
					n.out.Noted++
				}
				return true, errors.Join(ierr, perr, n.ctx.Err())
			})
		}
	}
	if err == nil {
		err = x.walk(rowUnknown, []byte{rowUnknown}, func(row, _ []byte) (bool, error) {
			n.out.Noted++
			_, err := parseNumbers(row[1:], 2)
			return true, err
		})
	}
	return err
}

// lost tells of segments that the index has and that are not there. Open trusts it no more then.
func (n *inspector) lost() error {
	var gone []uint64
	for id, row := range n.rows {
		if _, there := slices.BinarySearch(n.ids, id); !there && row.records > 0 {
			gone = append(gone, id)
		}
	}
	slices.Sort(gone)
	for _, id := range gone {
		reason := fmt.Sprintf("the index has %d extents in this segment, which is not there", n.rows[id].records)
		if err := n.o.Fault(&Fault{Kind: FaultMissing, File: n.path(segmentName(id)), Reason: reason}); err != nil {
			return err
		}
	}
	if len(gone) > 0 {
		n.known, n.rows = position{}, map[uint64]segmentCount{}
	}
	return nil
}
