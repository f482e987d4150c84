package blob

import (
	"errors"
	"fmt"
	"io"

	"chainfire/internal/disk"
	"chainfire/object"
)

// SegmentInfo is what a segment's file says of itself.
type SegmentInfo struct {
	ID, Salt uint64
	// Size is that of the file, End where its last record ends. What is between was cut short,
	// or holds what was refused for want of room.
	Size, End int64
	// Ended says that nothing is appended to it any more.
	Ended   bool
	Extents int
}

// Found is one thing in a segment's file.
type Found struct {
	Offset, Bytes int64
	// What is "extent", "seal", "end" or "damage".
	What   string
	Extent object.ExtentID
	Size   uint32
	CRC    uint32
	// Err is what is wrong with it, nil where nothing is.
	Err *CorruptError
}

// Inspect reads one segment's file, checks all of it, and calls f with what is in it, in order. It
// changes nothing, and needs no store. ErrNotSegment is for a file that is none; a damaged header
// is an error, because without it nothing can be checked.
func Inspect(fsys disk.FS, path string, f func(Found)) (info SegmentInfo, err error) {
	file, err := fsys.Open(path)
	if err != nil {
		return info, fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var b [segmentHeaderBytes]byte
	n, err := file.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return info, readError(path, 0, err)
	}
	if info.Salt, info.ID, err = decodeSegmentHeader(b[:n]); err != nil {
		return info, fmt.Errorf("%s: %w", path, err)
	}
	if info.Size, err = fileSize(file, path); err != nil {
		return info, err
	}
	g := &segment{id: info.ID, seed: seedOf(info.Salt, info.ID)}
	buf := make([]byte, object.MaxExtent)
	info.End = segmentHeaderBytes
	_, info.Ended, err = walk(file, path, g, segmentHeaderBytes, info.Size, visitor{
		record: func(off int64, r record) error {
			found := Found{Offset: off, Bytes: r.size(), What: "extent", Extent: r.id, Size: r.length, CRC: r.crc}
			info.End = off + r.size()
			switch r.kind {
			case kindSeal:
				found.What = "seal"
			case kindEnd:
				found.What = "end"
			default:
				info.Extents++
				at := place{segment: g.id, offset: off, length: r.length, crc: r.crc}
				err := readSpan(file, path, at, &r, 0, buf[:r.length])
				if err != nil && !errors.As(err, &found.Err) {
					return err
				}
			}
			f(found)
			return nil
		},
		bad: func(from, to int64, reason string) error {
			f(Found{Offset: from, Bytes: to - from, What: "damage", Err: &CorruptError{File: path, Offset: from, Reason: reason}})
			return nil
		},
	})
	return info, err
}
