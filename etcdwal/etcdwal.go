// Package etcdwal reads the write-ahead log of a stopped etcd, which has what came after
// the last commit of its database, and says what each entry asks for as a command of
// ChainFire's. It changes nothing in the log.
package etcdwal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"chainfire"
)

// Options say which log is read.
type Options struct {
	// Dir is its folder. Nothing in it is changed.
	Dir string
	// After is the last entry that is in the database (its consistent index); what comes
	// after it is read.
	After uint64
	// Voters are those of the cluster after that entry.
	Voters []uint64
}

// Log is a log that was found whole. Its methods may be called by one goroutine at a time.
type Log struct {
	// Member is the member whose log it is.
	Member uint64
	// Last is the last entry that is known to be committed, Options.After if the log has
	// none after it. The log of a cluster's only voter is committed as it is written.
	Last uint64
	// Beyond is how many entries come after Last.
	Beyond uint64
	// Torn is where the log ends in the middle of a record, as a crash leaves it; nil if
	// it ends with a whole one.
	Torn *Torn

	after    uint64
	segments []segment
	// places are where the entries after that one are.
	places []place
	// commit is what the log says is committed, known the last entry or snapshot in it.
	commit, known uint64
}

// Torn is the beginning of a record that was never written to its end, nor acknowledged.
type Torn struct {
	File   string
	Offset int64
}

// place is where an entry is: in which of the segments, at which offset, behind which
// checksum.
type place struct {
	segment int
	at      int64
	before  uint32
	// change is the change of the configuration that the entry makes, if any.
	change *raftpb.ConfChange
}

// Locate is where the log is in a data directory of etcd, unless it was told another place.
func Locate(dataDir string) string { return filepath.Join(dataDir, "member", "wal") }

// Open reads a log from its beginning to its end, and checks every record. It takes
// memory for a list of the entries. The error names file and offset, and wraps
// chainfire.ErrCorrupt if the log is damaged, or something of it is missing, and
// fs.ErrNotExist if there is none.
func Open(ctx context.Context, o Options) (*Log, error) {
	l := &Log{after: o.After}
	var err error
	if l.segments, err = segments(o.Dir, o.After); err != nil {
		return nil, err
	}
	var crc uint32
	for i := range l.segments {
		if crc, err = l.read(ctx, i, crc); err != nil {
			return nil, err
		}
	}
	if err := l.settle(o.Voters); err != nil {
		return nil, err
	}
	return l, nil
}

// read reads one segment and returns the checksum at its end.
func (l *Log) read(ctx context.Context, i int, crc uint32) (_ uint32, err error) {
	s, err := scan(l.segments[i].path, crc)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		rec, err := s.next()
		var broken *brokenError
		switch {
		case errors.Is(err, io.EOF) && i < len(l.segments)-1:
			return s.crc, nil
		case errors.Is(err, io.EOF), errors.As(err, &broken) && broken.torn && i == len(l.segments)-1:
			return s.crc, l.end(ctx, s, broken)
		case err != nil:
			return 0, err
		}
		if err := l.take(i, &rec); err != nil {
			return 0, s.broken(rec.at, err, false)
		}
	}
}

// end is the end of the log, with what there is of a record that is not whole.
func (l *Log) end(ctx context.Context, s *scanner, broken *brokenError) error {
	more, err := s.committedBehind(ctx, s.at, l.known)
	if err != nil {
		return err
	}
	if broken != nil {
		l.Torn = &Torn{s.path, broken.at}
	}
	if !more {
		return nil
	}
	if broken == nil {
		broken = &brokenError{path: s.path, at: s.at, why: errors.New("there is no record")}
	}
	broken.why = fmt.Errorf("%w, and what follows says that it was committed", broken.why)
	return broken
}

// take takes one record over.
func (l *Log) take(i int, rec *record) error {
	switch rec.kind {
	case kindEntry:
		var e raftpb.Entry
		if err := proto.Unmarshal(rec.data, &e); err != nil {
			return fmt.Errorf("an entry: %w", err)
		}
		return l.entry(&e, place{segment: i, at: rec.at, before: rec.before})
	case kindState:
		commit, err := commitOf(*rec)
		l.commit = commit
		return err
	case kindMetadata:
		var m pb.Metadata
		if err := proto.Unmarshal(rec.data, &m); err != nil {
			return fmt.Errorf("whose log it is: %w", err)
		}
		if l.Member != 0 && m.GetNodeID() != l.Member {
			return fmt.Errorf("it is of member %x, and began as that of member %x", m.GetNodeID(), l.Member)
		}
		l.Member = m.GetNodeID()
	case kindSnapshot:
		var m walpb.Snapshot
		if err := proto.Unmarshal(rec.data, &m); err != nil {
			return fmt.Errorf("the mark of a snapshot: %w", err)
		}
		l.known = max(l.known, m.GetIndex())
	}
	return nil
}

// entry takes an entry over, in the place of those that another leader has replaced with
// it.
func (l *Log) entry(e *raftpb.Entry, p place) error {
	l.known = e.GetIndex()
	if e.GetIndex() <= l.after {
		l.places = l.places[:0]
		return nil
	}
	n := e.GetIndex() - l.after - 1
	if n > uint64(len(l.places)) {
		return fmt.Errorf("entry %d comes after entry %d: what is between is missing", e.GetIndex(), l.after+uint64(len(l.places)))
	}
	switch e.GetType() {
	case raftpb.EntryNormal:
	case raftpb.EntryConfChange:
		p.change = &raftpb.ConfChange{}
		if err := proto.Unmarshal(e.Data, p.change); err != nil {
			return fmt.Errorf("entry %d, a change of the members: %w", e.GetIndex(), err)
		}
	default:
		return fmt.Errorf("entry %d is of type %d, which is not known", e.GetIndex(), e.GetType())
	}
	l.places = append(l.places[:n], p)
	return nil
}

func commitOf(rec record) (uint64, error) {
	if rec.kind != kindState {
		return 0, nil
	}
	var s raftpb.HardState
	if err := proto.Unmarshal(rec.data, &s); err != nil {
		return 0, fmt.Errorf("the state: %w", err)
	}
	return s.GetCommit(), nil
}

// settle finds how far what was read is committed.
func (l *Log) settle(voters []uint64) error {
	end := l.after + uint64(len(l.places))
	last := l.segments[len(l.segments)-1].path
	alone := func() bool { return len(voters) == 1 && voters[0] == l.Member }
	switch {
	case l.commit > end:
		return fmt.Errorf("%s: %w: the log ends with entry %d, and says that entry %d is committed: its end is missing", last, chainfire.ErrCorrupt, end, l.commit)
	case alone() && l.known < l.after:
		return fmt.Errorf("%s: %w: the log ends with entry %d, and the database has entry %d: its end is missing, or it belongs to another one", last, chainfire.ErrCorrupt, l.known, l.after)
	}
	l.Last = l.after
	for _, p := range l.places {
		if l.Last >= l.commit && !alone() {
			break
		}
		l.Last++
		if p.change != nil {
			voters = changed(voters, p.change)
		}
	}
	l.Beyond = end - l.Last
	return nil
}

// changed is who votes after a change of the members.
func changed(voters []uint64, c *raftpb.ConfChange) []uint64 {
	id := c.GetNodeId()
	at := slices.Index(voters, id)
	switch {
	case c.GetType() == raftpb.ConfChangeAddNode && at < 0:
		return append(slices.Clone(voters), id)
	case c.GetType() == raftpb.ConfChangeRemoveNode && at >= 0:
		return slices.Delete(slices.Clone(voters), at, at+1)
	}
	return voters
}

// Entries visits the entries after Options.After up to Last, in order. What it hands
// over is valid until the visit returns.
func (l *Log) Entries(ctx context.Context, visit func(*raftpb.Entry) error) (err error) {
	var f *os.File
	open := -1
	defer func() {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	for i, p := range l.places[:l.Last-l.after] {
		if i%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if p.segment != open {
			if f != nil {
				if err := f.Close(); err != nil {
					return fmt.Errorf("close the write-ahead log of etcd: %w", err)
				}
			}
			if f, err = os.Open(l.segments[p.segment].path); err != nil {
				return fmt.Errorf("open the write-ahead log of etcd: %w", err)
			}
			open = p.segment
		}
		e, err := p.read(f)
		if err == nil && e.GetIndex() != l.after+uint64(i)+1 {
			err = fmt.Errorf("%w: entry %d was here before, and now it is entry %d", chainfire.ErrCorrupt, l.after+uint64(i)+1, e.GetIndex())
		}
		if err != nil {
			return fmt.Errorf("%s at offset %d: %w", f.Name(), p.at, err)
		}
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

// read reads an entry again.
func (p place) read(f *os.File) (*raftpb.Entry, error) {
	var head [frameSize]byte
	if _, err := f.ReadAt(head[:], p.at); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size, _ := frameLength(head[:])
	if size > info.Size()-p.at-frameSize {
		return nil, fmt.Errorf("%w: the record was whole before", chainfire.ErrCorrupt)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, p.at+frameSize); err != nil {
		return nil, err
	}
	var rec record
	e := &raftpb.Entry{}
	if err := rec.decode(b); err != nil || !rec.follows(p.before) {
		return nil, fmt.Errorf("%w: the record was whole before", chainfire.ErrCorrupt)
	}
	if err := proto.Unmarshal(rec.data, e); err != nil {
		return nil, fmt.Errorf("%w: %w", chainfire.ErrCorrupt, err)
	}
	return e, nil
}
