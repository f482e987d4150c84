package blob

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"chainfire"
	"chainfire/internal/disk"
)

const (
	segmentHeaderBytes = 64
	segmentMagic       = "CFIREBLB"
	segmentVersion     = 1
	segmentPrefix      = "SEG-"
	tempSuffix         = ".tmp"
)

// segment is one file of the store.
type segment struct {
	id   uint64
	seed uint32

	// Guarded by Store.mu: where the records end, the bytes of the extents in it that are
	// there with their heads, and how many they are.
	end, live, records int64
	// bad says that the header is damaged, so that the segment is better compacted.
	bad bool

	// The appender's: up to where it is known to be on disk, and the end that the last
	// seal marked. synced is written with Store.mu held.
	synced, sealed int64
}

// seedOf is what the checksums of a segment's records begin with.
func seedOf(salt, id uint64) uint32 {
	return crc32.Checksum(le.AppendUint64(le.AppendUint64(nil, salt), id), castagnoli)
}

func encodeSegmentHeader(salt, id uint64) []byte {
	b := make([]byte, segmentHeaderBytes)
	copy(b, segmentMagic)
	le.PutUint32(b[8:], segmentVersion)
	le.PutUint64(b[16:], id)
	le.PutUint64(b[24:], salt)
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

// decodeSegmentHeader returns the store's salt and the segment's id, or what is wrong.
func decodeSegmentHeader(b []byte) (salt, id uint64, err error) {
	switch {
	case len(b) < segmentHeaderBytes:
		return 0, 0, errors.New("segment header is cut")
	case string(b[:8]) != segmentMagic:
		return 0, 0, ErrNotSegment
	case crc32.Checksum(b[:60], castagnoli) != le.Uint32(b[60:]):
		return 0, 0, errors.New("segment header fails its checksum")
	case le.Uint32(b[8:]) != segmentVersion:
		return 0, 0, fmt.Errorf("%w %d, this program knows %d", errVersion, le.Uint32(b[8:]), segmentVersion)
	}
	return le.Uint64(b[24:]), le.Uint64(b[16:]), nil
}

// errVersion is in the error of a segment that a newer program wrote.
var errVersion = errors.New("segment has format version")

func segmentName(id uint64) string { return fmt.Sprintf("%s%08d", segmentPrefix, id) }

// segmentID is the id in the name of a segment's file.
func segmentID(name string) (id uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, segmentPrefix)
	id, err := strconv.ParseUint(digits, 10, 64)
	return id, ok && err == nil && id > 0 && segmentName(id) == name
}

func (s *Store) segmentPath(id uint64) string { return s.fs.PathJoin(s.opts.Dir, segmentName(id)) }

// list returns the segments' ids in order, and removes segments in the making.
func (s *Store) list() ([]uint64, error) {
	names, err := s.fs.List(s.opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.opts.Dir, err)
	}
	var ids []uint64
	removed := false
	for _, name := range names {
		if id, ok := segmentID(name); ok {
			ids = append(ids, id)
		}
		if base, ok := strings.CutSuffix(name, tempSuffix); ok && strings.HasPrefix(base, segmentPrefix) {
			if err := s.fs.Remove(s.fs.PathJoin(s.opts.Dir, name)); err != nil {
				return nil, fmt.Errorf("remove %s: %w", name, err)
			}
			removed = true
		}
	}
	slices.Sort(ids)
	if removed {
		if err := disk.SyncDir(s.fs, s.opts.Dir); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func saltOf(given uint64) uint64 {
	if given != 0 {
		return given
	}
	var b [8]byte
	// crypto/rand.Read never fails: it ends the program instead.
	_, _ = rand.Read(b[:])
	return le.Uint64(b[:])
}

// noRoom reports whether a write failed because the disk is full.
func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// roll begins a new segment, and ends the one before for good. Where the disk is full nothing has
// changed. The caller is the appender.
func (s *Store) roll() error {
	if err := s.syncAll(); err != nil {
		return err
	}
	s.mu.Lock()
	id, old := s.last+1, s.active
	s.mu.Unlock()
	temp := s.segmentPath(id) + tempSuffix
	file, err := s.newFile(temp, id)
	if err != nil {
		return err
	}
	if old != nil {
		if err = s.write(old, record{kind: kindEnd}, nil); err == nil {
			err = s.syncAll()
		}
	}
	if err != nil {
		return errors.Join(err, file.Close(), s.fs.Remove(temp))
	}
	if err = s.fs.Rename(temp, s.segmentPath(id)); err == nil {
		err = disk.SyncDir(s.fs, s.opts.Dir)
	}
	if err != nil {
		_ = file.Close() // the failure itself is what matters
		return s.fail(fmt.Errorf("begin segment %s: %w", s.segmentPath(id), err))
	}
	g := &segment{id: id, seed: seedOf(s.salt, id), end: segmentHeaderBytes, synced: segmentHeaderBytes}
	if old != nil {
		s.files.unpin(old.id)
	}
	s.files.pin(id, file)
	s.mu.Lock()
	s.segments[id], s.active, s.last = g, g, id
	s.mu.Unlock()
	s.index.flushSoon()
	return nil
}

// newFile makes the file of a segment under another name, on disk.
func (s *Store) newFile(temp string, id uint64) (disk.File, error) {
	file, err := s.fs.OpenReadWrite(temp, disk.Category)
	if noRoom(err) {
		return nil, fmt.Errorf("make segment %s: %w: %w", temp, chainfire.ErrNoRoom, err)
	}
	if err != nil {
		return nil, s.fail(fmt.Errorf("make segment %s: %w", temp, err))
	}
	_, err = file.WriteAt(encodeSegmentHeader(s.salt, id), 0)
	if err == nil {
		err = file.Sync()
	}
	switch {
	case err == nil:
		return file, nil
	case noRoom(err):
		// Nothing that was promised is in this file, so that it is just given up.
		return nil, errors.Join(fmt.Errorf("make segment %s: %w: %w", temp, chainfire.ErrNoRoom, err), file.Close(), s.fs.Remove(temp))
	}
	_ = file.Close() // the failure itself is what matters
	return nil, s.fail(fmt.Errorf("make segment %s: %w", temp, err))
}

// readHead reads the head of the record at an offset: io.EOF at the end of the file, a
// *CorruptError for anything that is none, or the error of the disk.
func readHead(f disk.File, path string, g *segment, off int64) (record, error) {
	var b [maxHeadBytes]byte
	n, err := f.ReadAt(b[:], off)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return record{}, readError(path, off, err)
	case n == 0:
		return record{}, io.EOF
	}
	r, ok := decodeRecord(b[:n], g.seed, g.id, off)
	if !ok {
		return r, &CorruptError{File: path, Offset: off, Reason: "there is no valid record header"}
	}
	return r, nil
}

// readError is a failed read: a bad sector is damage, anything else the disk's.
func readError(path string, off int64, err error) error {
	if errors.Is(err, syscall.EIO) {
		return &CorruptError{File: path, Offset: off, Reason: err.Error()}
	}
	return fmt.Errorf("read %s at %d: %w", path, off, err)
}
