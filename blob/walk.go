package blob

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"chainfire/internal/disk"
)

// searchBytes is how much is read at once to find a record behind damage.
const searchBytes = 1 << 20

// endsInside is what is wrong with an extent whose file is too short.
const endsInside = "the file ends inside an extent"

// visitor is told what a segment holds, in order of offsets.
type visitor struct {
	// record is told of each record.
	record func(off int64, r record) error
	// bad is told of each stretch in which there is no record.
	bad func(from, to int64, reason string) error
}

// walk tells of all that a segment's file holds from off up to limit, and returns where that ends:
// behind the segment's last record or at the limit. ended says that the record was there by
// which a segment ends.
func walk(f disk.File, path string, g *segment, off, limit int64, v visitor) (end int64, ended bool, err error) {
	for off < limit {
		r, err := readHead(f, path, g, off)
		bad := (*CorruptError)(nil)
		reason := ""
		switch {
		case errors.Is(err, io.EOF):
			reason = "the file ends early"
		case errors.As(err, &bad):
			reason = bad.Reason
		case err != nil:
			return off, false, err
		case off+r.size() > limit:
			reason = endsInside
		}
		if reason != "" {
			next, err := search(f, path, g, off+1, limit)
			if err != nil {
				return off, false, err
			}
			if err := v.bad(off, next, reason); err != nil {
				return off, false, err
			}
			off = next
			continue
		}
		if err := v.record(off, r); err != nil {
			return off, false, err
		}
		off += r.size()
		if r.kind == kindEnd {
			return off, true, nil
		}
	}
	return off, false, nil
}

// search finds the next record header from off on, or returns the limit. A client's bytes are no
// header: its checksum begins with what no client knows.
func search(f disk.File, path string, g *segment, off, limit int64) (int64, error) {
	mark := le.AppendUint64([]byte(recordMagic), g.id)
	buf := make([]byte, max(0, min(searchBytes+maxHeadBytes, limit-off)))
	for ; off < limit; off += searchBytes {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), limit-off)], off)
		if err != nil && !errors.Is(err, io.EOF) {
			if bad := (*CorruptError)(nil); errors.As(readError(path, off, err), &bad) {
				continue // bad sectors: look behind them
			}
			return off, readError(path, off, err)
		}
		b := buf[:n]
		for at := 0; at < min(len(b), searchBytes); at++ {
			if at+4 > len(b) {
				break
			}
			i := bytes.Index(b[at+4:], mark)
			if i < 0 {
				break
			}
			if at += i; at >= searchBytes {
				break
			}
			if _, ok := decodeRecord(b[at:], g.seed, g.id, off+int64(at)); ok {
				return off + int64(at), nil
			}
		}
	}
	return limit, nil
}

// fileSize is the size of a segment's file.
func fileSize(f disk.File, path string) (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", path, err)
	}
	return st.Size(), nil
}

// readRecord reads the bytes of an extent's record into buf and checks all of them.
func (s *Store) readRecord(f disk.File, g *segment, off int64, r *record, buf []byte) ([]byte, error) {
	b := buf[:r.length]
	p := place{segment: g.id, offset: off, length: r.length, crc: r.crc}
	return b, readSpan(f, s.segmentPath(g.id), p, r, 0, b)
}
