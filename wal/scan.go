package wal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	scanBytes   = 64 << 10
	searchBytes = 1 << 20
)

// scanner reads the records of a segment in order and checks each.
type scanner struct {
	seg *segment
	r   *bufio.Reader
	// off is where the next record begins, limit where the last one ends, chain
	// the checksum that the next one continues.
	off, limit int64
	chain      uint32
	// seq is the sequence that the next record must have; 0 is any.
	seq uint64
	// durable is the highest sequence that a record read said to be durable.
	durable uint64
	buf     []byte
}

func newScanner(s *segment, off, limit int64, chain uint32) *scanner {
	return &scanner{
		seg: s, off: off, limit: limit, chain: chain,
		r: bufio.NewReaderSize(io.NewSectionReader(s.file, off, limit-off), int(min(scanBytes, limit-off))),
	}
}

// next returns the body of the next record: io.EOF at the limit, a *CorruptError
// for anything that is not the next record, or the error of the disk. The body
// is valid until the next call, or for ever if fresh is set.
func (c *scanner) next(fresh bool) ([]byte, error) {
	if c.off == c.limit {
		return nil, io.EOF
	}
	var head [recordHeaderBytes]byte
	if err := c.read(head[:]); err != nil {
		return nil, err
	}
	h, ok := decodeRecordHeader(head[:], c.seg.seed, c.seg.id, c.off)
	switch {
	case !ok:
		return nil, c.bad("there is no valid record header")
	case c.seq != 0 && h.seq != c.seq:
		return nil, c.bad(fmt.Sprintf("record %d stands in the place of %d", h.seq, c.seq))
	case c.off+recordHeaderBytes+int64(h.length) > c.limit:
		return nil, c.bad("record goes on past the end of the segment")
	}
	p := c.buf
	if fresh || cap(p) < int(h.length) {
		p = make([]byte, h.length)
	}
	p = p[:h.length]
	if !fresh {
		c.buf = p
	}
	if err := c.read(p); err != nil {
		return nil, err
	}
	chain := chained(c.chain, head[:], p)
	if chain != h.chain {
		return nil, c.bad("record fails its checksum")
	}
	c.chain, c.seq = chain, h.seq+1
	c.durable = max(c.durable, h.durable)
	c.off += recordHeaderBytes + int64(h.length)
	return p, nil
}

func (c *scanner) read(p []byte) error {
	_, err := io.ReadFull(c.r, p)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return c.bad("file ends inside a record")
	case err != nil:
		return fmt.Errorf("read %s near %d: %w", c.seg.path, c.off, err)
	}
	return nil
}

func (c *scanner) bad(reason string) *CorruptError {
	return &CorruptError{File: c.seg.path, Offset: c.off, Reason: reason}
}

// remains is what lies in a segment after its last valid record.
type remains struct {
	// proof is the offset of a record which was written after the one missing
	// had become durable; 0 is none.
	proof int64
	// end is the end of the last record header found, or of its body if that
	// is known to be in the file; 0 is none.
	end int64
	// nonzero is the end of the last byte that is not zero.
	nonzero int64
}

// search looks through a segment from off on for headers of records from seq on.
func (s *segment) search(off, limit int64, seq uint64) (remains, error) {
	var r remains
	nonzero, err := s.eachHeader(off, limit, func(at int64, h recordHeader) bool {
		if h.seq < seq {
			return true
		}
		r.end = max(r.end, min(limit, at+recordHeaderBytes+int64(h.length)))
		if h.durable >= seq && r.proof == 0 {
			r.proof = at
		}
		return true
	})
	r.nonzero = nonzero
	return r, err
}

// eachHeader calls fn for every record header from off on, as long as it returns
// true, and returns the end of the last byte seen that is not zero. Only headers
// of this very segment are found: its id is never used again, its seed depends
// on a salt no client knows, and a header names its own offset.
func (s *segment) eachHeader(off, limit int64, fn func(at int64, h recordHeader) bool) (nonzero int64, err error) {
	var id [8]byte
	le.PutUint64(id[:], s.id)
	buf := make([]byte, max(0, min(searchBytes+recordHeaderBytes-1, limit-off)))
	for start := off; start < limit; start += searchBytes {
		b := buf[:min(int64(len(buf)), limit-start)]
		n, err := s.file.ReadAt(b, start)
		if err != nil && !errors.Is(err, io.EOF) {
			return nonzero, fmt.Errorf("read %s at %d: %w", s.path, start, err)
		}
		b = b[:n]
		if k := len(bytes.TrimRight(b, "\x00")); k > 0 {
			nonzero = start + int64(k)
		}
		for at := 0; at+recordHeaderBytes <= len(b); at++ {
			k := bytes.Index(b[at+8:], id[:])
			if at += k; k < 0 || at+recordHeaderBytes > len(b) {
				break
			}
			h, ok := decodeRecordHeader(b[at:], s.seed, s.id, start+int64(at))
			if ok && !fn(start+int64(at), h) {
				return nonzero, nil
			}
		}
	}
	return nonzero, nil
}
