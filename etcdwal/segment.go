package etcdwal

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"google.golang.org/protobuf/proto"

	"chainfire"
)

// The kinds of records.
const (
	kindMetadata = iota + 1
	kindEntry
	kindState
	kindCRC
	kindSnapshot
)

// A record is behind the length of what follows: in the lower 56 bits that of the record,
// and if the topmost bit is set the bytes of padding behind it in three bits of the
// topmost byte. Thus all records begin at multiples of 8. Its checksum goes over the data
// of all records before it.
const (
	frameSize  = 8
	sectorSize = 512
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segment is one file. seq counts them; index is that of the entry that was the next one
// when it was begun.
type segment struct {
	path       string
	seq, index uint64
}

// segments lists the files that hold what comes after an index, in order.
func segments(dir string, after uint64) ([]segment, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the write-ahead log of etcd: %w", err)
	}
	var all []segment
	for _, name := range names {
		s := segment{path: filepath.Join(dir, name.Name())}
		// Others are files that were being made, or were set aside as broken.
		if _, err := fmt.Sscanf(name.Name(), "%016x-%016x.wal", &s.seq, &s.index); err == nil && name.Name() == fmt.Sprintf("%016x-%016x.wal", s.seq, s.index) {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no write-ahead log of etcd: %w", dir, os.ErrNotExist)
	}
	slices.SortFunc(all, func(a, b segment) int { return cmp.Compare(a.seq, b.seq) })
	first := len(all) - 1
	for first > 0 && all[first].index > after {
		first--
	}
	if all[first].index > after {
		return nil, fmt.Errorf("%s: %w: the log begins with entry %d, and the database ends with entry %d: what is between is lost, or a file is missing",
			all[first].path, chainfire.ErrCorrupt, all[first].index, after)
	}
	for i := first + 1; i < len(all); i++ {
		if all[i].seq != all[i-1].seq+1 {
			return nil, fmt.Errorf("%s: %w: file %d of the log follows on file %d, %s: what is between is missing",
				all[i].path, chainfire.ErrCorrupt, all[i].seq, all[i-1].seq, all[i-1].path)
		}
	}
	return all[first:], nil
}

// record is one record. Its data is valid until the next is read.
type record struct {
	kind int64
	data []byte
	crc  uint32
	// at is where it begins in its file, before the checksum before it.
	at     int64
	before uint32
}

// brokenError is a record that is not whole.
type brokenError struct {
	path string
	at   int64
	why  error
	// torn says that it looks as one does of which not everything came to the disk.
	torn bool
}

func (e *brokenError) Error() string {
	return fmt.Sprintf("%s at offset %d: %v: %v", e.path, e.at, chainfire.ErrCorrupt, e.why)
}

func (e *brokenError) Unwrap() []error { return []error{chainfire.ErrCorrupt, e.why} }

// scanner reads the records of one file.
type scanner struct {
	path string
	file *os.File
	r    *bufio.Reader
	size int64
	// at is where the next record begins, crc the checksum up to there.
	at  int64
	crc uint32
	buf []byte
}

// scan opens a file, whose first record is to go on from a checksum; 0 is any.
func scan(path string, crc uint32) (*scanner, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the write-ahead log of etcd: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("look at %s: %w", path, err), f.Close())
	}
	s := &scanner{path: path, file: f, r: bufio.NewReaderSize(f, 256<<10), size: info.Size()}
	rec, err := s.next()
	if errors.Is(err, io.EOF) {
		err = s.broken(0, errors.New("it is empty"), false)
	}
	if err == nil && (rec.kind != kindCRC || crc != 0 && rec.crc != crc) {
		err = s.broken(0, fmt.Errorf("it does not go on from the file before it, which ends with the checksum %08x", crc), false)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

func (s *scanner) close() error {
	if err := s.file.Close(); err != nil {
		return fmt.Errorf("close %s: %w", s.path, err)
	}
	return nil
}

func (s *scanner) broken(at int64, why error, torn bool) error {
	return &brokenError{s.path, at, why, torn}
}

// next reads a record. It returns io.EOF at the end, and a brokenError.
func (s *scanner) next() (record, error) {
	rec := record{at: s.at, before: s.crc}
	size, whole, err := s.length()
	if err != nil {
		return rec, err
	}
	if int64(cap(s.buf)) < whole {
		s.buf = make([]byte, whole)
	}
	b := s.buf[:whole]
	if _, err := io.ReadFull(s.r, b); err != nil {
		return rec, fmt.Errorf("read %s: %w", s.path, err)
	}
	if err := rec.decode(b[:size]); err != nil {
		return rec, s.broken(s.at, err, zeroSector(b, s.at+frameSize))
	}
	if rec.kind == kindCRC {
		if s.at > 0 && rec.crc != s.crc {
			return rec, s.broken(s.at, fmt.Errorf("the checksum up to here is %08x, and should be %08x", s.crc, rec.crc), false)
		}
	} else if !rec.follows(s.crc) {
		return rec, s.broken(s.at, fmt.Errorf("the checksum of the record is not %08x", rec.crc), zeroSector(b, s.at+frameSize))
	}
	s.crc = rec.crc
	s.at += frameSize + whole
	return rec, nil
}

// length reads how long the next record is, and how long with its padding.
func (s *scanner) length() (size, whole int64, err error) {
	var head [frameSize]byte
	switch n, err := io.ReadFull(s.r, head[:]); {
	case n == 0 && errors.Is(err, io.EOF):
		return 0, 0, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return 0, 0, s.broken(s.at, errors.New("the file ends in the middle of a record"), true)
	case err != nil:
		return 0, 0, fmt.Errorf("read %s: %w", s.path, err)
	}
	size, whole = frameLength(head[:])
	switch {
	case size == 0 && whole == 0:
		return 0, 0, io.EOF
	case whole%frameSize != 0:
		return 0, 0, s.broken(s.at, fmt.Errorf("a record of %d bytes with its padding, which no record has", whole), false)
	case whole > s.size-s.at-frameSize:
		return 0, 0, s.broken(s.at, fmt.Errorf("a record of %d bytes, of which the file has %d", whole, s.size-s.at-frameSize), true)
	}
	return size, whole, nil
}

func frameLength(head []byte) (size, whole int64) {
	n := binary.LittleEndian.Uint64(head)
	size = int64(n << 8 >> 8)
	whole = size
	if n>>63 == 1 {
		whole += int64(n >> 56 & 7)
	}
	return size, whole
}

func (r *record) decode(b []byte) error {
	var rec walpb.Record
	if err := proto.Unmarshal(b, &rec); err != nil {
		return err
	}
	r.kind, r.crc, r.data = rec.GetType(), rec.GetCrc(), rec.Data
	if r.kind < kindMetadata || r.kind > kindSnapshot {
		return fmt.Errorf("a record of kind %d, which is not known", r.kind)
	}
	return nil
}

// follows reports whether the checksum of a record is the one that follows from that of
// the record before it.
func (r *record) follows(before uint32) bool {
	return crc32.Update(before, castagnoli, r.data) == r.crc
}

// zeroSector reports whether one of the sectors that b, at an offset of a file, lies in
// has nothing of it: it never came to the disk.
func zeroSector(b []byte, at int64) bool {
	for len(b) > 0 {
		n := min(sectorSize-at%sectorSize, int64(len(b)))
		if !slices.ContainsFunc(b[:n], func(x byte) bool { return x != 0 }) {
			return true
		}
		b, at = b[n:], at+n
	}
	return false
}

// maxBehind is how much behind the end of a log is looked at, more than a segment.
const maxBehind = 128 << 20

// committedBehind reports whether behind a place where the log seems to end there is a
// record that says that more than the entries up to last were committed: then what is
// missing was on the disk once. Records count that are two in a row, the second with the
// checksum that follows from the first.
func (s *scanner) committedBehind(ctx context.Context, at int64, last uint64) (bool, error) {
	buf := make([]byte, min(max(s.size-at, 0), maxBehind))
	if _, err := s.file.ReadAt(buf, at); err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read %s: %w", s.path, err)
	}
	for from := frameSize; from+frameSize < len(buf); from += frameSize {
		if ctx.Err() != nil { // what is there may be anything, and take long
			return false, context.Cause(ctx)
		}
		rec, n, ok := recordIn(buf[from:])
		if !ok {
			continue
		}
		for to := from + n; ; to += n {
			crc := rec.crc
			if rec, n, ok = recordIn(buf[min(to, len(buf)):]); !ok || !rec.follows(crc) {
				break
			}
			if commit, err := commitOf(rec); err == nil && commit > last {
				return true, nil
			}
			from = to // they need not be looked at again
		}
	}
	return false, nil
}

// recordIn is the record at the beginning of b, if there is one, and how long it is there.
func recordIn(b []byte) (rec record, n int, ok bool) {
	// Each is written with its kind first, and then its checksum.
	if len(b) < frameSize+4 || b[8] != 0x08 || b[10] != 0x10 {
		return rec, 0, false
	}
	size, whole := frameLength(b)
	if size < 4 || whole > int64(len(b)-frameSize) {
		return rec, 0, false
	}
	return rec, frameSize + int(whole), rec.decode(b[frameSize:frameSize+size]) == nil
}
