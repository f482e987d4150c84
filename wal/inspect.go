package wal

import (
	"errors"
	"fmt"
	"io/fs"

	"chainfire/internal/disk"
	"chainfire/raft"
)

// FaultKind is what is wrong at a place of a log.
type FaultKind string

// The kinds.
const (
	// FaultTorn is an unfinished write at the very end. It was never
	// acknowledged, and Open cuts it off: the log is sound.
	FaultTorn FaultKind = "torn"
	// FaultRotten is what was durable once and is not as it was written. Open
	// refuses the log.
	FaultRotten FaultKind = "rotten"
	// FaultMissing is a segment that must have been there. Open refuses the log.
	FaultMissing FaultKind = "missing"
	// FaultUnreadable is what the disk did not give. Open fails.
	FaultUnreadable FaultKind = "unreadable"
)

// Fault is one place of a log where something is wrong.
type Fault struct {
	Kind FaultKind
	File string
	// Offset is where it begins, and Bytes how far it is to what can be read
	// again, or to the end of what the file held; 0 when that is not known.
	Offset, Bytes int64
	Reason        string
}

// SegmentState is what a file in the directory of a log is.
type SegmentState string

// The states.
const (
	// SegmentLive is a part of the log.
	SegmentLive SegmentState = "live"
	// SegmentVoid came before the log was started again; Open removes it.
	SegmentVoid SegmentState = "void"
	// SegmentFree was released and waits to be written over.
	SegmentFree SegmentState = "free"
	// SegmentUnfinished was being made when the process ended.
	SegmentUnfinished SegmentState = "unfinished"
	// SegmentForeign has a name that the log does not give; it is left alone.
	SegmentForeign SegmentState = "foreign"
)

// InspectedSegment is what was found in one file. Only File, State and
// FileBytes are set for a file that is not live.
type InspectedSegment struct {
	File      string
	State     SegmentState
	FileBytes int64
	ID        uint64
	// Header says whether the header is as it was written, and that what comes
	// from it is set: Reset (the log starts with this segment), Recycled (the
	// file held another segment before), FirstSeq, Base and Before (the entry
	// before the first one held, and the last one before this segment),
	// HardState and Floor at its beginning.
	Header          bool
	Reset, Recycled bool
	FirstSeq        uint64
	Base, Before    Position
	HardState       raft.HardState
	Floor           uint64
	// Records is the number of those that could be read, End where the last one
	// ends, and Sealed whether that was written when the log was closed.
	Records int
	End     int64
	Sealed  bool
	// First and Last are the lowest and the highest index of an entry in it; 0
	// when there is none.
	First, Last uint64
	// Faults counts what is wrong in it, a torn tail too.
	Faults int
}

// InspectedRecord is one record. It is valid until the callback returns.
type InspectedRecord struct {
	File   string
	Offset int64
	// Bytes is its size with its header, Seq its sequence, Durable the highest
	// sequence that a sync covered when it was written.
	Bytes        int64
	Seq, Durable uint64
	// Unchecked is set for a record whose header checks, but whose body cannot be
	// checked, because the record before it is damaged.
	Unchecked bool
	// HardState and Floor are nil where the record does not change them. A
	// record with nothing in it at all is a seal: the log was closed.
	HardState *raft.HardState
	Floor     *uint64
	Entries   []raft.Entry
	// Replaces is the number of entries that Entries took the place of.
	Replaces uint64
}

// Seal reports whether the record says that the log was closed.
func (r *InspectedRecord) Seal() bool {
	return r.HardState == nil && r.Floor == nil && len(r.Entries) == 0
}

// InspectOptions say what to read, and who is told. A callback that is nil is
// not called; an error of one ends the inspection with that error.
type InspectOptions struct {
	// FS is the disk; nil is the real one. Nothing on it is changed.
	FS disk.FS
	// Dir holds the log. File, if set, is the name of the one segment in it to
	// look at.
	Dir, File string
	// Segment is told of a file once what is in it was told.
	Segment func(*InspectedSegment) error
	Record  func(*InspectedRecord) error
	Fault   func(*Fault) error
}

// Span is entries First to Last.
type Span struct{ First, Last uint64 }

// Inspection is what a log holds, as far as it can be read.
type Inspection struct {
	// State is what Open would return. In a damaged log, which Open refuses, it
	// is what the readable records lead to.
	State
	// Segments are those of the log, Records those that could be read.
	Segments int
	Records  uint64
	// Sealed says that the log was closed, and nothing written since.
	Sealed bool
	// Damage counts the faults but a torn tail: Open succeeds if it is 0.
	Damage int
	// Lost are the entries that must have been in records that cannot be read.
	// What such records replaced is not known.
	Lost []Span

	cuts []cutRecord
}

// cutRecord is a record that replaced the entries from an index on.
type cutRecord struct{ seq, first uint64 }

// Replaced reports whether an entry that stood in the record of that sequence
// was replaced by a later record.
func (n *Inspection) Replaced(seq, index uint64) bool {
	for _, c := range n.cuts {
		// Sequences and indexes both rise: the first one after the record is the
		// one that reaches back farthest.
		if c.seq > seq {
			return c.first <= index
		}
	}
	return false
}

// cut notes a record that replaced entries. What an earlier one replaced is
// forgotten where this one reaches as far back.
func (n *Inspection) cut(seq, first uint64) {
	for len(n.cuts) > 0 && n.cuts[len(n.cuts)-1].first >= first {
		n.cuts = n.cuts[:len(n.cuts)-1]
	}
	n.cuts = append(n.cuts, cutRecord{seq, first})
}

// Inspect reads the log in a directory that nobody writes to. It checks all that
// Open checks, by the same rules, but changes nothing and goes on behind what is
// damaged: a fault is told, not returned. It holds one record at a time.
//
// It returns ErrNotExist when there is no log, ErrNotSegment when the one file
// asked for is no segment, an error of the disk when the directory cannot be
// listed, and whatever a callback returns.
func Inspect(o InspectOptions) (*Inspection, error) {
	if o.FS == nil {
		o.FS = disk.OS()
	}
	o.FS = disk.ReadOnly(o.FS)
	l, err := newLog(Options{FS: o.FS, Dir: o.Dir, CacheBytes: -1})
	if err != nil {
		return nil, err
	}
	i := &inspector{o: o, l: l, r: recovery{l: l}, out: &Inspection{}}
	if o.File != "" {
		err = i.inspectFile()
	} else {
		err = i.inspectDir()
	}
	if err != nil {
		return nil, fmt.Errorf("inspect log in %s: %w", o.Dir, err)
	}
	return i.out, nil
}

func (i *inspector) inspectDir() error {
	ids, rest, err := i.l.list()
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(ids) == 0) {
		return ErrNotExist
	}
	if err != nil {
		return err
	}
	heads := make([]*head, len(ids))
	for k, id := range ids {
		if heads[k], err = i.load(i.l.segmentPath(id, segmentSuffix), id); err != nil {
			return err
		}
	}
	// The log starts with the last segment that says so.
	start := 0
	for k, h := range heads {
		if h.fault == nil && h.seg.head.flags&flagReset != 0 {
			start = k
		}
	}
	for _, h := range heads[:start] {
		if err := i.aside(h.seg.path, SegmentVoid); err != nil {
			return err
		}
	}
	if err := i.run(heads[start:]); err != nil {
		return err
	}
	return i.others(ids, rest)
}

// others tells of the files that are not of the log, or not any more.
func (i *inspector) others(ids []uint64, rest []string) error {
	known := map[string]bool{}
	for _, id := range ids {
		known[i.l.segmentPath(id, segmentSuffix)] = true
	}
	for _, path := range rest {
		known[path] = true
		state := SegmentFree
		if len(path) > len(tempSuffix) && path[len(path)-len(tempSuffix):] == tempSuffix {
			state = SegmentUnfinished
		}
		if err := i.aside(path, state); err != nil {
			return err
		}
	}
	names, err := i.o.FS.List(i.o.Dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", i.o.Dir, err)
	}
	for _, name := range names {
		if path := i.o.FS.PathJoin(i.o.Dir, name); !known[path] {
			if err := i.aside(path, SegmentForeign); err != nil {
				return err
			}
		}
	}
	return nil
}

// aside tells of a file that is not read.
func (i *inspector) aside(path string, state SegmentState) error {
	if i.o.Segment == nil {
		return nil
	}
	info, err := i.o.FS.Stat(path)
	if err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	return i.o.Segment(&InspectedSegment{File: path, State: state, FileBytes: info.Size()})
}
