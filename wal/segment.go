package wal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"sort"
	"strconv"
	"strings"
	"syscall"

	"chainfire/internal/disk"
	"chainfire/raft"
)

const (
	segmentHeaderBytes = 128
	segmentMagic       = "CFIREWAL"
	segmentVersion     = 1

	// flagReset: the log starts with this segment, older ones are void.
	flagReset = 1 << 0
	// flagRecycled: the file held another segment before.
	flagRecycled  = 1 << 1
	segmentFlags  = flagReset | flagRecycled
	segmentSuffix = ".wal"
	freeSuffix    = ".free"
	tempSuffix    = ".tmp"
)

// segmentHeader stands at the start of a segment. It holds everything that
// older segments could tell, so that they can be released.
type segmentHeader struct {
	flags uint32
	id    uint64
	salt  uint64
	// firstSeq is the sequence of the segment's first record.
	firstSeq uint64
	// prevEnd and prevChain are where the segment before ends and its last
	// checksum: that segment is exactly so long, whatever bytes follow in it.
	prevEnd   int64
	prevChain uint32
	// base is the entry before the first one held; last the log's last entry
	// before this segment.
	base, last Position
	hs         raft.HardState
	floor      uint64
}

// encode returns the seed for the segment's records: the header's checksum.
func (h *segmentHeader) encode(b []byte) uint32 {
	b = b[:segmentHeaderBytes]
	clear(b)
	copy(b, segmentMagic)
	le.PutUint32(b[8:], segmentVersion)
	le.PutUint32(b[12:], h.flags)
	le.PutUint32(b[48:], h.prevChain)
	for i, v := range [...]uint64{h.id, h.salt, h.firstSeq, uint64(h.prevEnd)} {
		le.PutUint64(b[16+8*i:], v)
	}
	for i, v := range [...]uint64{
		h.base.Index, h.base.Term, h.last.Index, h.last.Term,
		h.hs.Term, h.hs.Vote, h.hs.Commit, h.floor,
	} {
		le.PutUint64(b[56+8*i:], v)
	}
	seed := crc32.Checksum(b[:124], castagnoli)
	le.PutUint32(b[124:], seed)
	return seed
}

// decodeSegmentHeader returns the header and the seed for the records, or what
// is wrong with it.
func decodeSegmentHeader(b []byte, id uint64) (h segmentHeader, seed uint32, err error) {
	seed = le.Uint32(b[124:])
	switch {
	case string(b[:8]) != segmentMagic:
		return h, 0, errors.New("not a log segment")
	case crc32.Checksum(b[:124], castagnoli) != seed:
		return h, 0, errors.New("segment header fails its checksum")
	case le.Uint32(b[8:]) != segmentVersion:
		return h, 0, fmt.Errorf("segment has format version %d, this program knows %d", le.Uint32(b[8:]), segmentVersion)
	}
	h = segmentHeader{
		flags:     le.Uint32(b[12:]),
		id:        le.Uint64(b[16:]),
		salt:      le.Uint64(b[24:]),
		firstSeq:  le.Uint64(b[32:]),
		prevEnd:   int64(le.Uint64(b[40:])),
		prevChain: le.Uint32(b[48:]),
		base:      Position{le.Uint64(b[56:]), le.Uint64(b[64:])},
		last:      Position{le.Uint64(b[72:]), le.Uint64(b[80:])},
		hs:        raft.HardState{Term: le.Uint64(b[88:]), Vote: le.Uint64(b[96:]), Commit: le.Uint64(b[104:])},
		floor:     le.Uint64(b[112:]),
	}
	switch {
	case h.id != id:
		return h, 0, fmt.Errorf("file holds segment %d", h.id)
	case h.flags&^segmentFlags != 0 || h.firstSeq == 0 || h.firstSeq > maxIndex ||
		h.prevEnd < 0 || h.base.Index > h.last.Index || h.last.Index > maxIndex ||
		(h.flags&flagReset != 0 && h.base != h.last):
		return h, 0, errors.New("segment header contradicts itself")
	}
	return h, seed, nil
}

// segment is one file of the log.
type segment struct {
	id   uint64
	path string
	file disk.File
	seed uint32
	head segmentHeader
	// The writer's: records written, whether the last one is a seal.
	records int
	sealed  bool

	// Guarded by Log.mu: where the valid records end, and the index.
	end int64
	segmentIndex
}

func (l *Log) segmentPath(id uint64, suffix string) string {
	return l.fs.PathJoin(l.opts.Dir, fmt.Sprintf("%016x%s", id, suffix))
}

// list returns the segments' ids in order and the paths of left-over files.
func (l *Log) list() (ids []uint64, rest []string, err error) {
	names, err := l.fs.List(l.opts.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("list %s: %w", l.opts.Dir, err)
	}
	sort.Strings(names)
	for _, name := range names {
		if strings.HasSuffix(name, freeSuffix) || strings.HasSuffix(name, tempSuffix) {
			rest = append(rest, l.fs.PathJoin(l.opts.Dir, name))
			continue
		}
		if id, ok := segmentID(name); ok {
			ids = append(ids, id)
		}
	}
	return ids, rest, nil
}

// segmentID is the id in the name of a segment's file.
func segmentID(name string) (id uint64, ok bool) {
	hex, ok := strings.CutSuffix(name, segmentSuffix)
	id, err := strconv.ParseUint(hex, 16, 64)
	return id, ok && err == nil && len(hex) == 16 && id > 0
}

// removeAll removes files and makes that durable.
func (l *Log) removeAll(paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	for _, p := range paths {
		if err := l.fs.Remove(p); err != nil {
			return fmt.Errorf("remove %s: %w", p, err)
		}
	}
	return disk.SyncDir(l.fs, l.opts.Dir)
}

func saltOf(given uint64) (uint64, error) {
	if given != 0 {
		return given, nil
	}
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("draw a salt: %w", err)
	}
	return le.Uint64(b[:]), nil
}

// openSegment makes the next segment, with the record of b in it unless b is
// nil. The file gets its name only once its content is durable, so a segment
// that can be seen is whole. The caller publishes the result.
func (l *Log) openSegment(h segmentHeader, b *body) (*segment, error) {
	h.salt, h.firstSeq = l.salt, l.seq+1
	var path string
	if n := len(l.free); n > 0 {
		path, h.flags = l.free[n-1], h.flags|flagRecycled
		l.free = l.free[:n-1]
	} else {
		path = l.segmentPath(h.id, tempSuffix)
	}
	s := &segment{id: h.id, head: h, path: l.segmentPath(h.id, segmentSuffix)}
	l.buf = grow(l.buf[:0], segmentHeaderBytes)[:segmentHeaderBytes]
	s.seed = h.encode(l.buf)
	s.end = segmentHeaderBytes
	chain := s.seed
	if b != nil {
		l.buf, chain = l.encodeRecord(l.buf, s, chain, b)
	}
	file, err := l.fs.OpenReadWrite(path, disk.Category)
	if err != nil {
		return nil, fmt.Errorf("open %s for writing: %w", path, err)
	}
	if err := l.fillSegment(file, path, s.path, h.flags&flagRecycled == 0); err != nil {
		// The failure itself is what matters; the handle is given up.
		_ = file.Close()
		return nil, err
	}
	s.file, l.cur, l.chain = file, s, chain
	if b != nil {
		l.seq++
		s.records, s.sealed = 1, b.seal()
	}
	l.durable = l.seq
	return s, nil
}

// fillSegment writes l.buf to a new segment's file and gives it its name.
func (l *Log) fillSegment(file disk.File, path, final string, fresh bool) error {
	if fresh {
		// Only a hint, and not known to every file system; but a full disk is
		// better known now than in the middle of a batch.
		if err := file.Preallocate(0, l.opts.SegmentBytes); errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("reserve %d bytes for %s: %w", l.opts.SegmentBytes, path, err)
		}
	}
	if _, err := file.WriteAt(l.buf, 0); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	l.syncs.Add(1)
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	if err := l.fs.Rename(path, final); err != nil {
		return fmt.Errorf("rename %s to %s: %w", path, final, err)
	}
	return disk.SyncDir(l.fs, l.opts.Dir)
}

// retire gives segments away that the log no longer needs, oldest first: kept to
// be written over, or removed. Ordered makes each step durable before the next,
// so that a crash never leaves a gap. The caller holds files for writing.
func (l *Log) retire(segments []*segment, ordered bool) error {
	for _, s := range segments {
		if err := s.file.Close(); err != nil {
			return fmt.Errorf("close segment %s: %w", s.path, err)
		}
		var err error
		if len(l.free) < l.opts.Recycle && s.end <= l.opts.SegmentBytes {
			free := l.segmentPath(s.id, freeSuffix)
			if err = l.fs.Rename(s.path, free); err == nil {
				l.free = append(l.free, free)
			}
		} else {
			err = l.fs.Remove(s.path)
		}
		if err == nil && ordered {
			err = disk.SyncDir(l.fs, l.opts.Dir)
		}
		if err != nil {
			return fmt.Errorf("give segment %s away: %w", s.path, err)
		}
	}
	if ordered || len(segments) == 0 {
		return nil
	}
	return disk.SyncDir(l.fs, l.opts.Dir)
}

// grow returns b with room for n more bytes.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return append(make([]byte, 0, max(2*cap(b), len(b)+n)), b...)
}
