package mvcc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// Pebble keeps the list of its tables in a manifest and, when it opens one, takes
// the first chunk that does not check for the end of the file. That is right for
// a write that a crash cut short. Of a rotten chunk in the middle it makes a store
// that lost what came later, without a word. So the manifest is read here first.
//
// Each record is synced before the next is written: after a chunk that was cut
// short there is no beginning of a record. Where there is one, the chunk is rotten.

// The record format of a manifest: blocks, in which chunks never span two, each a
// checksum, a length and a kind, then its part of a record.
const (
	manifestBlock  = 32 << 10
	manifestHeader = 7
	chunkFull      = 1
	chunkFirst     = 2
	chunkLast      = 4
)

// checkManifest reads the manifest in force of an engine directory and returns
// an error that wraps chainfire.ErrCorrupt, and names file and offset, if it is
// rotten.
func checkManifest(fsys FS, dir string) (err error) {
	desc, err := pebble.Peek(dir, fsys)
	if err != nil {
		return fmt.Errorf("look for the manifest of %s: %w", dir, err)
	}
	if !desc.Exists {
		return fmt.Errorf("%w: no manifest in %s", errCorruptRow, dir)
	}
	f, err := fsys.Open(desc.ManifestFilename)
	if err != nil {
		return fmt.Errorf("open manifest: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	bad, err := rottenChunk(f)
	if err != nil {
		return fmt.Errorf("read manifest %s: %w", desc.ManifestFilename, err)
	}
	if bad >= 0 {
		return fmt.Errorf("%w: manifest %s at offset %d: checksum mismatch", errCorruptRow, desc.ManifestFilename, bad)
	}
	return nil
}

// rottenChunk returns the offset of the first chunk that does not check although
// a record begins after it, or -1.
func rottenChunk(r io.Reader) (int64, error) {
	bad, rotten, err := badChunk(r)
	if !rotten || err != nil {
		return -1, err
	}
	return bad, nil
}

// badChunk returns the offset of the first chunk that does not check, or -1, and
// whether a record begins after it. Zeros at the end are no chunk.
func badChunk(r io.Reader) (bad int64, rotten bool, err error) {
	block := make([]byte, manifestBlock)
	bad = -1
	written := false
	for base := int64(0); ; base += manifestBlock {
		n, err := io.ReadFull(r, block)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return -1, false, err
		}
		b := block[:n]
		at := 0
		for at+manifestHeader <= n {
			size, begins := chunk(b[at:])
			switch {
			case size > 0 && begins && bad >= 0:
				return bad, true, nil
			case size > 0:
				at += size
				continue
			case bad < 0:
				bad = base + int64(at)
			}
			// Where the next chunk begins is not known any more.
			written = written || b[at] != 0
			at++
		}
		if err == nil {
			continue // what is left of a block is not used
		}
		for ; at < n; at++ {
			if written = written || b[at] != 0; bad < 0 {
				bad = base + int64(at)
			}
		}
		if !written {
			bad = -1
		}
		return bad, false, nil
	}
}

// chunk is the size of the chunk that b starts with, 0 if that does not check,
// and whether a record begins with it.
func chunk(b []byte) (size int, begins bool) {
	kind := b[6]
	size = manifestHeader + int(binary.LittleEndian.Uint16(b[4:]))
	if kind < chunkFull || kind > chunkLast || size > len(b) {
		return 0, false
	}
	if maskedSum(b[6:size]) != binary.LittleEndian.Uint32(b) {
		return 0, false
	}
	return size, kind == chunkFull || kind == chunkFirst
}

// maskedSum is the checksum of chunks and of the blocks of tables: CRC-32C under
// the mask of LevelDB's log format.
func maskedSum(b []byte) uint32 {
	sum := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	return (sum>>15 | sum<<17) + 0xa282ead8
}
