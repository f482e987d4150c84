package etcdfile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"chainfire"
	"chainfire/mvcc"
)

// lockPatience is how long a process that has the file may take to let go of it.
const lockPatience = 200 * time.Millisecond

// ErrInUse says that another process, an etcd, writes the file.
var ErrInUse = errors.New("in use by another process")

// ErrKind says that a file is of another kind.
var ErrKind = errors.New("no file of etcd")

// Locate finds the database file that a path means: the file itself, or, with a data
// directory of etcd, the one in it. copied reports the latter: such a file has no
// checksum of the whole.
func Locate(path string) (file string, copied bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", false, fmt.Errorf("look for what is to be read: %w", err)
	}
	if !info.IsDir() {
		return path, false, nil
	}
	file = filepath.Join(path, "member", "snap", "db")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return "", false, fmt.Errorf("%s is %w: a data directory of etcd has member/snap/db in it", path, ErrKind)
	} else if err != nil {
		return "", false, fmt.Errorf("look for the database of %s: %w", path, err)
	}
	return file, true, nil
}

// File is a database file of etcd that was found whole, held against an etcd that would
// write it. Its methods may be called by one goroutine at a time.
type File struct {
	// Path is the file, Hashed whether it ended in a checksum of the whole, which was
	// right.
	Path   string
	Hashed bool
	// Version is the version of etcd whose format it has, empty for those before 3.6.
	Version string
	// Applied and Term name the last log entry that is in it: etcd's consistent index.
	Applied, Term uint64
	// Revision is the current revision, Compacted the compacted one, or
	// mvcc.NeverCompacted.
	Revision, Compacted int64

	db *bbolt.DB
	tx *bbolt.Tx
}

// OpenOptions say which file is read, and how it is checked.
type OpenOptions struct {
	Path string
	// SkipHash takes a file without a checksum of the whole, as a copy of a database
	// is, and one whose checksum is wrong. Everything else is checked all the same.
	SkipHash bool
}

// Open opens a file and checks it: the checksum of the whole, every page, and bbolt's
// own consistency. It reads it twice, or more, changes nothing, and takes memory for a
// list of its pages. The error names the file, and wraps chainfire.ErrCorrupt if it is
// damaged, ErrKind if it is something else, ErrInUse if it is in use.
func Open(ctx context.Context, o OpenOptions) (_ *File, err error) {
	if err := checkKind(o.Path); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(o.Path, 0o400, &bbolt.Options{ReadOnly: true, Timeout: lockPatience})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s is %w: stop the etcd that has it, or take a snapshot of it with 'etcdctl snapshot save'", o.Path, ErrInUse)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w: %w", o.Path, chainfire.ErrCorrupt, err)
	}
	f := &File{Path: o.Path, db: db}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if f.tx, err = db.Begin(false); err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Path, err)
	}
	if err := f.check(ctx, o.SkipHash); err != nil {
		return nil, err
	}
	if err := f.describe(); err != nil {
		return nil, err
	}
	return f, nil
}

// Close lets go of the file.
func (f *File) Close() error {
	var err error
	if f.tx != nil {
		err = f.tx.Rollback()
	}
	if err := errors.Join(err, f.db.Close()); err != nil {
		return fmt.Errorf("close %s: %w", f.Path, err)
	}
	return nil
}

func (f *File) damaged(format string, args ...any) error {
	return fmt.Errorf("%s: %w: %w", f.Path, chainfire.ErrCorrupt, fmt.Errorf(format, args...))
}

// table is one of the tables, nil if it is not there.
func (f *File) table(name []byte) *bbolt.Bucket { return f.tx.Bucket(name) }

// maxMinor is the last version 3.x whose format is known here.
const maxMinor = 7

// describe reads what is not keys.
func (f *File) describe() error {
	meta := f.table(tableMeta)
	if meta == nil || f.table(tableKey) == nil {
		return fmt.Errorf("%s is %w: it is a database without the tables of one", f.Path, ErrKind)
	}
	f.Version = string(meta.Get([]byte("storageVersion")))
	if f.Version != "" {
		var major, minor int
		if _, err := fmt.Sscanf(f.Version, "%d.%d", &major, &minor); err != nil || major != 3 || minor > maxMinor {
			return fmt.Errorf("%s has the format of etcd %s, this program reads those up to 3.%d: take a newer version of it", f.Path, f.Version, maxMinor)
		}
	}
	for name, to := range map[string]*uint64{"consistent_index": &f.Applied, "term": &f.Term} {
		switch b := meta.Get([]byte(name)); len(b) {
		case 0:
		case 8:
			*to = binary.BigEndian.Uint64(b)
		default:
			return f.damaged("%s has %d bytes", name, len(b))
		}
	}
	f.Compacted = mvcc.NeverCompacted
	// One that is scheduled may not have been finished.
	for _, name := range []string{"finishedCompactRev", "scheduledCompactRev"} {
		b := meta.Get([]byte(name))
		if len(b) == 0 {
			continue
		}
		r, _, err := parseRevision(b)
		if err != nil {
			return f.damaged("%s: %w", name, err)
		}
		f.Compacted = max(f.Compacted, r.Main)
	}
	f.Revision = max(1, f.Compacted)
	if last, _ := f.table(tableKey).Cursor().Last(); last != nil {
		r, _, err := parseRevision(last)
		if err != nil {
			return f.damaged("the last row of the keys: %w", err)
		}
		f.Revision = max(f.Revision, r.Main)
	}
	return nil
}

// parseRevision reads what revisionKey writes.
func parseRevision(b []byte) (r mvcc.Revision, deleted bool, err error) {
	if deleted = len(b) == 18 && b[17] == 't'; len(b) != 17 && !deleted || b[8] != '_' {
		return r, false, fmt.Errorf("%x is no revision", b)
	}
	main, sub := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[9:])
	if main > math.MaxInt64 || sub > math.MaxUint32 {
		return r, false, fmt.Errorf("%x is no revision", b)
	}
	return mvcc.Revision{Main: int64(main), Sub: uint32(sub)}, deleted, nil
}

// cancelEvery is how many rows are read between two looks at the context.
const cancelEvery = 1024

// Versions visits the versions of all keys in the order of their revisions, in memory
// that does not grow with them. Whether they follow on one another is for the visitor to
// say. What etcdutl leaves where it moved the revision on is no version of a key.
func (f *File) Versions(ctx context.Context, visit func(*mvcc.Version) error) error {
	c := f.table(tableKey).Cursor()
	n := 0
	for row, content := c.First(); row != nil; row, content = c.Next() {
		if n++; n%cancelEvery == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		v, err := f.version(row, content)
		if err != nil {
			return err
		}
		if len(v.Key) == 0 {
			if v.Revision.Main <= f.Compacted {
				continue
			}
			return f.damaged("revision %d.%d has no key", v.Revision.Main, v.Revision.Sub)
		}
		if err := visit(v); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return nil
}

func (f *File) version(row, content []byte) (*mvcc.Version, error) {
	r, deleted, err := parseRevision(row)
	if err != nil {
		return nil, f.damaged("a row of the keys: %w", err)
	}
	var kv mvccpb.KeyValue
	if err := proto.Unmarshal(content, &kv); err != nil {
		return nil, f.damaged("revision %d.%d: %w", r.Main, r.Sub, err)
	}
	v := &mvcc.Version{Revision: r, Key: kv.Key, Deleted: deleted}
	if deleted || len(v.Key) == 0 {
		return v, nil
	}
	if kv.ModRevision != r.Main {
		return nil, f.damaged("revision %d.%d says that it is of revision %d", r.Main, r.Sub, kv.ModRevision)
	}
	v.Value, v.Create, v.Count, v.Lease = kv.Value, kv.CreateRevision, kv.Version, kv.Lease
	return v, nil
}

// Leases reads the leases, with what the last checkpoint left of them.
func (f *File) Leases() (leases []mvcc.Lease, err error) {
	return leases, f.each(tableLease, func(id, content []byte) error {
		l, err := parseLease(content)
		if err == nil && (len(id) != 8 || uint64(l.ID) != binary.BigEndian.Uint64(id)) {
			err = fmt.Errorf("it says that it is lease %s", chainfire.LeaseID(l.ID))
		}
		if err != nil {
			return f.damaged("lease %x: %w", id, err)
		}
		leases = append(leases, l)
		return nil
	})
}

// parseLease reads what putLeases writes.
func parseLease(b []byte) (l mvcc.Lease, err error) {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return l, protowire.ParseError(n)
		}
		b = b[n:]
		if kind != protowire.VarintType || num > 3 {
			if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
				return l, protowire.ParseError(n)
			}
			b = b[n:]
			continue
		}
		x, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return l, protowire.ParseError(n)
		}
		b = b[n:]
		*[...]*int64{&l.ID, &l.TTL, &l.Remaining}[num-1] = int64(x)
	}
	// A lease that was shortened keeps what a checkpoint said before.
	l.Remaining = min(l.Remaining, l.TTL)
	return l, nil
}

// Alarms reads the alarms that are raised.
func (f *File) Alarms() (alarms []chainfire.Alarm, err error) {
	return alarms, f.each([]byte("alarm"), func(row, _ []byte) error {
		var a pb.AlarmMember
		if err := proto.Unmarshal(row, &a); err != nil {
			return f.damaged("alarm %x: %w", row, err)
		}
		switch a.Alarm {
		case pb.AlarmType_NOSPACE:
			alarms = append(alarms, chainfire.Alarm{MemberID: a.MemberID, Type: chainfire.AlarmNoSpace})
		case pb.AlarmType_CORRUPT:
			alarms = append(alarms, chainfire.Alarm{MemberID: a.MemberID, Type: chainfire.AlarmCorrupt})
		default:
			return f.damaged("alarm %x is of type %d, which is not known", row, a.Alarm)
		}
		return nil
	})
}

// each visits the rows of a table; one that is not there has none.
func (f *File) each(table []byte, visit func(k, v []byte) error) error {
	b := f.table(table)
	if b == nil {
		return nil
	}
	return b.ForEach(visit)
}

// What a file begins with that is given by mistake.
const ownSnapshot = "SNAPSHOT\x00"

// checkKind refuses what is no database at all.
func checkKind(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open what is to be read: %w", err)
	}
	head := make([]byte, 64<<10+64)
	n, rerr := f.ReadAt(head, 0)
	info, err := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	if head = head[:n]; n == 0 {
		if info.Size() == 0 {
			return fmt.Errorf("%s is %w: it is empty", path, ErrKind)
		}
		return fmt.Errorf("read %s: %w", path, rerr)
	}
	if strings.HasPrefix(string(head), ownSnapshot) {
		return fmt.Errorf("%s is %w: it is one of 'chainfire snapshot save', in ChainFire's own format; 'etcdctl snapshot save' makes one that is read here", path, ErrKind)
	}
	if !hasMagic(head) {
		return fmt.Errorf("%s is %w: give a file of 'etcdctl snapshot save', a copy of member/snap/db, or a data directory of etcd", path, ErrKind)
	}
	return nil
}
