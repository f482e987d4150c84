package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"chainfire/object"
)

// lookups is how often a reader looks where an extent is that compaction moves meanwhile.
const lookups = 8

// spans are buffers for reads that do not begin and end with pieces.
var spans = sync.Pool{New: func() any { return new([object.MaxExtent]byte) }}

// lookup finds where an extent is, synced or not.
func (s *Store) lookup(id object.ExtentID) (place, bool, error) {
	s.mu.Lock()
	p, found := s.pending[id]
	s.mu.Unlock()
	if found {
		return p.at, true, nil
	}
	return s.durable(id)
}

// durable finds where an extent is that is on disk.
func (s *Store) durable(id object.ExtentID) (place, bool, error) {
	for before := (place{}); ; {
		p, found, err := s.index.place(id)
		if err != nil {
			return p, false, s.indexFailed(err)
		}
		if !found {
			return p, false, nil
		}
		s.mu.Lock()
		_, there := s.segments[p.segment]
		s.mu.Unlock()
		// Compaction writes where an extent is now before it takes the old segment away, and
		// may have done both since the look into the index.
		if there || p == before {
			return p, there, nil
		}
		before = p
	}
}

// Info is what the store knows of an extent without reading it.
type Info struct{ Size, CRC uint32 }

// Stat tells of an extent that is on disk, or returns ErrNotFound. An extent that was put and
// not synced is not on disk.
func (s *Store) Stat(id object.ExtentID) (Info, error) {
	if err := s.enter(); err != nil {
		return Info{}, err
	}
	defer s.users.Done()
	p, found, err := s.durable(id)
	if err != nil {
		return Info{}, err
	}
	if !found {
		return Info{}, fmt.Errorf("look for extent %v: %w", id, ErrNotFound)
	}
	return Info{Size: p.length, CRC: p.crc}, nil
}

// Has reports whether an extent is on disk.
func (s *Store) Has(id object.ExtentID) (bool, error) {
	_, err := s.Stat(id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Get reads len(dst) bytes of an extent from off on, and checks every piece that they are in.
// It returns ErrNotFound, ErrRange for bytes past the end, and a *CorruptError for damage, after
// which the extent is not there any more. After an error dst holds nothing.
func (s *Store) Get(id object.ExtentID, off int64, dst []byte) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.users.Done()
	return s.get(id, nil, off, dst)
}

// GetOf is Get of an extent that is what it should be as a whole, or else ErrConflict.
func (s *Store) GetOf(id object.ExtentID, want Info, off int64, dst []byte) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.users.Done()
	return s.get(id, &want, off, dst)
}

// get is Get, or GetOf where something is wanted; with no dst it looks at the head of the record
// alone.
func (s *Store) get(id object.ExtentID, want *Info, off int64, dst []byte) error {
	var err error
	for range lookups {
		p, found, lerr := s.lookup(id)
		if lerr != nil {
			return lerr
		}
		if !found {
			return fmt.Errorf("get extent %v: %w", id, ErrNotFound)
		}
		if have := (Info{p.length, p.crc}); want != nil && have != *want {
			return fmt.Errorf("get extent %v: it is %d bytes of checksum %08x, not %d of %08x: %w", id, have.Size, have.CRC, want.Size, want.CRC, ErrConflict)
		}
		if off < 0 || off+int64(len(dst)) > int64(p.length) {
			return fmt.Errorf("get %d bytes at %d of extent %v of %d: %w", len(dst), off, id, p.length, ErrRange)
		}
		if err = s.read(id, p, off, dst); err == nil {
			return nil
		}
		clear(dst)
		moved, merr := s.moved(id, p)
		if merr != nil {
			return merr
		}
		if moved {
			continue // compaction took the file away
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = &CorruptError{File: s.segmentPath(p.segment), Offset: p.offset, Reason: "the file is not there"}
		}
		break
	}
	if bad := (*CorruptError)(nil); errors.As(err, &bad) {
		p, found, lerr := s.lookup(id)
		if lerr == nil && found && s.segmentPath(p.segment) == bad.File {
			lerr = s.damage(id, p, bad)
		}
		return errors.Join(err, lerr)
	}
	return err
}

// moved reports whether an extent is elsewhere by now, or nowhere.
func (s *Store) moved(id object.ExtentID, p place) (bool, error) {
	now, found, err := s.lookup(id)
	return !found || now != p, err
}

// read reads bytes of the record at a place and checks the pieces that they are in.
func (s *Store) read(id object.ExtentID, p place, off int64, dst []byte) error {
	f, err := s.files.get(p.segment)
	if err != nil {
		return err
	}
	defer s.files.put(f)
	r, err := s.headOf(f, id, p)
	if err != nil || len(dst) == 0 {
		return err
	}
	end := off + int64(len(dst))
	first := off / PieceBytes
	from, to := first*PieceBytes, min(int64(p.length), (end+PieceBytes-1)/PieceBytes*PieceBytes)
	span := dst
	if from != off || to != end {
		buf := spans.Get().(*[object.MaxExtent]byte)
		defer spans.Put(buf)
		span = buf[:to-from]
	}
	if err := readSpan(f, s.segmentPath(p.segment), p, &r, from, span); err != nil {
		return err
	}
	if from != off || to != end {
		copy(dst, span[off-from:])
	}
	return nil
}

// headOf reads the head of the record at a place, which must be what the index says.
func (s *Store) headOf(f io.ReaderAt, id object.ExtentID, p place) (record, error) {
	path := s.segmentPath(p.segment)
	bad := &CorruptError{File: path, Offset: p.offset}
	var b [maxHeadBytes]byte
	n, err := f.ReadAt(b[:], p.offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return record{}, readError(path, p.offset, err)
	}
	r, ok := decodeRecord(b[:n], seedOf(s.salt, p.segment), p.segment, p.offset)
	switch {
	case !ok:
		bad.Reason = "there is no valid record header"
	case r.kind != kindExtent || r.id != id || r.length != p.length || r.crc != p.crc:
		bad.Reason = "the record is not that of the extent"
	default:
		return r, nil
	}
	return r, bad
}

// readSpan reads whole pieces of a record, from an offset of its bytes on, and checks them.
func readSpan(f io.ReaderAt, path string, p place, r *record, from int64, span []byte) error {
	at := p.offset + r.headSize() + from
	n, err := f.ReadAt(span, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return readError(path, at, err)
	}
	if n < len(span) {
		return &CorruptError{File: path, Offset: at + int64(n), Reason: endsInside}
	}
	if i := r.checkPieces(int(from/PieceBytes), span); i >= 0 {
		return &CorruptError{File: path, Offset: at + int64(i), Reason: "a piece of an extent fails its checksum"}
	}
	return nil
}

// IDs lists at most limit extents that are on disk, in their order, after one; with the zero
// value it begins with the first, the zero value itself being none.
func (s *Store) IDs(after object.ExtentID, limit int) ([]object.ExtentID, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.users.Done()
	var ids []object.ExtentID
	err := s.index.walk(rowExtent, extentRow(rowExtent, after), func(row, value []byte) (bool, error) {
		id, err := parseExtent(row)
		if err != nil || id == after {
			return true, err
		}
		p, err := parsePlace(value)
		if err != nil {
			return false, err
		}
		s.mu.Lock()
		_, there := s.segments[p.segment]
		s.mu.Unlock()
		if there {
			ids = append(ids, id)
		}
		return len(ids) < limit, nil
	})
	return ids, s.indexFailed(err)
}

// Delete lets extents go. It does not wait for the disk: after a crash some may be there again.
// What is not there is deleted.
func (s *Store) Delete(ctx context.Context, ids ...object.ExtentID) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.users.Done()
	for len(ids) > 0 {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("delete extents: %w", err)
		}
		n := min(len(ids), maxBatch)
		if err := s.delete(ids[:n]); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// Flush makes what was deleted before the call stay so, also after a crash.
func (s *Store) Flush() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.users.Done()
	if err := s.index.flush(); err != nil {
		return fmt.Errorf("make deletions durable: %w", err)
	}
	return nil
}

// maxBatch is how many extents are changed in one step.
const maxBatch = 1000

func (s *Store) delete(ids []object.ExtentID) error {
	if s.index.full.Load() {
		return s.indexFull()
	}
	if err := s.failure(); err != nil {
		return err
	}
	s.indexing.Lock()
	defer s.indexing.Unlock()
	s.mu.Lock()
	for _, id := range ids {
		delete(s.pending, id)
	}
	s.mu.Unlock()
	c := s.newChange()
	for _, id := range ids {
		err := c.drop(id)
		if err == nil {
			err = c.healed(id)
		}
		if err != nil {
			return errors.Join(s.indexFailed(err), c.discard())
		}
	}
	return c.commit(nil)
}
